"""What is deployed in containers names only what exists in the code."""
