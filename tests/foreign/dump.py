"""The second opinion: reads topics to their ends with `read_committed` and prints a line of JSON for each record.

Written in another language and on another client than what it is compared with. A value that is not UTF-8 is printed
as a list of numbers, and so is a key.
"""

import argparse
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("topics", nargs="+")
    options = parser.parse_args()
    for record in read(options.brokers, options.topics):
        print(json.dumps(record), file=sys.stdout)


def read(brokers, topics):
    """The records, each partition in its order, ended by the stable ends."""
    return map(record, messages(brokers, topics))


def messages(brokers, topics):
    """The same as the client gives them."""
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "second-opinion", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })
    metadata = consumer.list_topics(timeout=300)
    missing = [topic for topic in topics if topic not in metadata.topics]
    if missing:
        sys.exit(f"no topics {missing}")
    parts = {(topic, p) for topic in topics for p in metadata.topics[topic].partitions}
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in parts])
    while parts:
        message = consumer.poll(30)
        if message is None:
            sys.exit(f"no record and no end within 30 s from {sorted(parts)}")
        if message.error() is None:
            yield message
        elif message.error().code() == KafkaError._PARTITION_EOF:
            parts.discard((message.topic(), message.partition()))
        elif not message.error().retriable():
            sys.exit(str(message.error()))
    consumer.close()


def record(message):
    return {
        "topic": message.topic(), "partition": message.partition(), "offset": message.offset(),
        "at": message.timestamp()[1], "key": text(message.key()), "value": text(message.value()),
    }


def text(data):
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return list(data)


if __name__ == "__main__":
    main()
