"""Sets a group's offsets to the end of a topic, as kafka-consumer-groups.sh --reset-offsets --to-latest does."""

import sys

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

brokers, group, topic = sys.argv[1:]
consumer = KafkaConsumer(bootstrap_servers=brokers.split(","), group_id=group, enable_auto_commit=False)
partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
consumer.assign(partitions)
ends = consumer.end_offsets(partitions)
consumer.commit({partition: OffsetAndMetadata(ends[partition], "") for partition in partitions})
consumer.close(autocommit=False)
