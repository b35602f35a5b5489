"""The whole loop on one machine: Apache Kafka, ClickHouse's engine and our processes."""
