"""The fault campaign's own parts: it must be able to fail."""
