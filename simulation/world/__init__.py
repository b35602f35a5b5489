"""The world: tenants, an engine and faults under a virtual clock, around any policy."""
