"""The operator's view: command line, live view, replay, reports."""
