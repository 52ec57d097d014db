"""The cost model, how it is fitted, and its file."""
