"""Replicas wanted per pool: demand queried from ClickHouse, decisions published to Kafka."""
