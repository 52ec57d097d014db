"""The rounds of a search: learn on the cost model, measure what is promising, refit."""
