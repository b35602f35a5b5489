"""History against a real Kafka broker and ClickHouse's engine behind its HTTP interface."""
