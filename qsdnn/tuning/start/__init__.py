"""The start of a search: uniform plans raced and profiled, random plans, and earlier knowledge."""
