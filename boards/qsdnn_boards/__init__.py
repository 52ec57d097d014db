"""Board specs, transports, and the client of the measuring agent."""
