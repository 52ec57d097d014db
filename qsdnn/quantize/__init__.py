"""The accuracy that layers lose in lower precisions, and what a plan saves by them."""
