"""Integration: admitters as real processes, fed and read over a real broker."""
