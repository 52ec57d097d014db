"""The host half of each engine."""
