"""Unit tests of the simulator: the world, rival policies, replicas."""
