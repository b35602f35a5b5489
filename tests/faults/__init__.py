"""The fault campaign: real servers, real processes, kills, and one oracle for the sums."""
