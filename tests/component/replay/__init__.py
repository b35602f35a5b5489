"""Several of our parts together, without a broker, a database or the network."""
