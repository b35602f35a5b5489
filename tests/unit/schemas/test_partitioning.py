"""Do we place a pool where Kafka's own clients place its key?"""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from schemas.partitioning import partition_of


@given(pool=st.text(min_size=1, max_size=63), partitions=st.integers(1, 64))
def test_a_pool_lies_where_kafkas_default_partitioner_puts_its_key(
    pool: str, partitions: int
) -> None:
    every = list(range(partitions))

    assert partition_of(pool, partitions) == DefaultPartitioner()(pool.encode(), every, every)
