"""Every client of ours against a broker that wants TLS, passwords or certificates."""
