"""The world: tenants, gateways, replicas, measures."""
