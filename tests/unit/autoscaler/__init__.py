"""The scaling rule, the window of ticks and what an evaluation looks at."""
