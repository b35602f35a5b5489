"""The operator's checks against a real broker, a real engine, a real worker and history."""
