"""Traffic and engines: trace readers, seeded workloads and engine models."""
