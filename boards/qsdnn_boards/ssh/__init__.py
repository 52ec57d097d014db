"""Boards over SSH: addresses, keys, logging in."""
