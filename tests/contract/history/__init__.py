"""The rows fit the tables, and every choice in a table has its reason."""
