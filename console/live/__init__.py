"""The live view: what the loop is doing now, folded from its own topics."""
