"""Translation of records into rows, migrations as text, and settings, without a server."""
