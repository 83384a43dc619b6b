"""Committed offsets of a group, asked for from outside of it."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from millrace.embedded.readyfile import Addresses
from millrace.kafka.committed import open_committed


async def test_they_are_those_that_a_member_has_committed_last(stack: Addresses, unique: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(unique, num_partitions=2, replication_factor=1)])
    await admin.close()
    member = AIOKafkaConsumer(unique, bootstrap_servers=stack.kafka, group_id=unique, enable_auto_commit=False)
    await member.start()
    try:
        async with open_committed(stack.cluster, unique) as committed:
            asked = [(unique, 0), (unique, 1)]
            assert await committed.offsets(asked) == {}
            for offset in (3, 7):
                await member.commit({TopicPartition(unique, 1): offset})
                assert await committed.offsets(asked) == {(unique, 1): offset}
    finally:
        await member.stop()
