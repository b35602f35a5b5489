"""The streams process against the real broker: kills, hand-overs, totals from the changelog."""
