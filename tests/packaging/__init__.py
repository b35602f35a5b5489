"""What is installed: the wheel, the locks, the top-level names, the layout."""
