"""Lines, prices and rounding."""
