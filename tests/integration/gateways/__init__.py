"""The processes against Apache Kafka and ClickHouse's engine themselves."""
