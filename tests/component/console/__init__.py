"""The commands that simulate, from the command line to tables, pictures and JSON."""
