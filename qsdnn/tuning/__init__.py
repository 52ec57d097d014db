"""The search: learn, measure, learn."""
