"""Seeded runs of traffic and engine models."""
