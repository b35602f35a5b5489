"""What others rely on: message bytes, SQL, HTTP, settings and file formats."""
