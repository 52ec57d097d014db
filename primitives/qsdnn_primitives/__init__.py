"""The host halves of the engines."""
