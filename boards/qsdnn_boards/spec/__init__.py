"""Kinds of boards, and the user's address book of boards."""
