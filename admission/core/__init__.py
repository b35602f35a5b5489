"""Pure rules of admission: no clock, no randomness, no I/O, no framework."""
