"""Unit: each rule of admission by itself."""
