"""Rival policies: small models, each with its flaws shown."""
