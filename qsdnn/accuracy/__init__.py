"""The accuracy of plans: the user's data and metrics, and what a plan loses of them."""
