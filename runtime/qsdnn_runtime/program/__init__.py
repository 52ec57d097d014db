"""Packages: their manifest and files, and the memory that their tensors share."""
