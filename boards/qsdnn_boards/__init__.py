"""Board specs, transports, and the client of the measuring server."""
