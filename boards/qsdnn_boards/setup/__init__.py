"""Setting boards up and checking them."""
