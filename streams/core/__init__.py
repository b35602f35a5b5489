"""Pure rules of metering and sharing: no clock, no randomness, no I/O, no framework."""
