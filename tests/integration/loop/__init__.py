"""The whole loop through its command line: run, up, kill -9, Ctrl-C."""
