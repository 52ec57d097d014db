"""Accuracy, the user's own: data, metrics, and what a plan loses of them."""
