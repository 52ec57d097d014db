"""Networks to try things on, built here with seeded random weights."""
