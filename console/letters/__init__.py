"""Dead letters as an operator handles them: named, shown and replayed."""
