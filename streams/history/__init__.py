"""ClickHouse: the sink that stores rows by position, and the queries that read them back."""
