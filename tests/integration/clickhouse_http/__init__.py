"""The behaviours of ClickHouse's HTTP interface that our code relies on.

Run against the local engine always, and against a real server as well where
``TOKENPOOLS_TEST_CLICKHOUSE_DSN`` names one.
"""
