"""The end of a search: the best plans and all engines measured side by side, and the result."""
