"""A network as layers."""
