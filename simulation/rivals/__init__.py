"""Rivals: small models of other ways to admit, so that the same world can judge them."""
