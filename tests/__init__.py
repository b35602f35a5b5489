"""The laws of the design as tests, one folder for each kind."""
