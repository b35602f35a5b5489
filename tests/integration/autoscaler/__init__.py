"""The autoscaler against a real Kafka broker and ClickHouse's engine."""
