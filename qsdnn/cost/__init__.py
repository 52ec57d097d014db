"""The cost model and how it is fitted."""
