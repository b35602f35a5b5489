"""Traces: recorded requests in our own format and three published ones, told apart by line 1."""
