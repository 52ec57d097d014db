"""The optimum of a cost model, proven, or a bound on it."""
