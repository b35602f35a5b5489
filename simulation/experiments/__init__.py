"""Experiments: the paper's two and what-if questions, every policy over many seeds."""
