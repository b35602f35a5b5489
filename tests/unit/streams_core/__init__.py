"""The pure tick: who gets what, and how it is split."""
