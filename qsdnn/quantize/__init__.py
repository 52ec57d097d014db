"""What layers lose in lower precisions, and what a plan saves by them."""
