"""Kinds of boards, as TOML files describe them."""
