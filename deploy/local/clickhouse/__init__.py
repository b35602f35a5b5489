"""ClickHouse's engine on one machine, behind ClickHouse's own HTTP interface."""
