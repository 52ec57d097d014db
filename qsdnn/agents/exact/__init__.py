"""The exact agent: the optimum of a cost model, proven, or a bound on it."""
