"""Laws that hold for every input that Hypothesis can think of."""
