"""Faust agents: bare loops that feed batches to the pure core and publish what it returns."""
