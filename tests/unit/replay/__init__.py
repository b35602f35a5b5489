"""One function at a time: tables of sentences."""
