"""The end of a search: the contest of the best plans and all engines, and what is written."""
