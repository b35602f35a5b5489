"""Plots: plain numbers as PNG or SVG; the only place where matplotlib is imported."""
