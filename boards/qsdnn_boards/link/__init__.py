"""The link to a measuring server: its client, its transports, and how it is started."""
