"""The start of a search: uniform plans raced and profiled, first random plans, what is known."""
