"""Property: the laws that admission keeps, whatever is asked of it."""
