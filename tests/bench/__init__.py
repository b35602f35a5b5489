"""Measurements, not part of ``make test``: ``make bench`` runs them and prints what they found."""
