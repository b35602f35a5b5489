"""Experiments on the screen: progress while they run, tables, pictures and JSON afterwards."""
