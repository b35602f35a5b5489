"""The local servers themselves, started and stopped by these tests."""
