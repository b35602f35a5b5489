"""The nine laws of the design, as checks on a running world: a broken law is a value."""
