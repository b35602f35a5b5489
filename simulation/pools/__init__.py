"""Token pools under a virtual clock: the product's own functions, joined by a simulated Kafka."""
