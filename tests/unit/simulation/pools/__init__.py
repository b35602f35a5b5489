"""Token pools under a virtual clock."""
