"""Applications on the host: their configuration, and the folders that boards run."""
