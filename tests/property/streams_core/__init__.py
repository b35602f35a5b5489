"""Laws of demand, debt, allocation and shares."""
