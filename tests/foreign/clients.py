"""The two Kafka libraries of the Python world behind one small face, set up as the old services set them up.

Records have no key and no headers, so the library chooses the partition; offsets are committed by a timer, whatever
became of the message. `auto_offset_reset` alone differs: a test wants every record, whenever its player joined.
"""

LIBRARIES = ("kafka-python", "confluent-kafka")


def producer(library, brokers, compression="none"):
    """Something with `send(topic, value)`, which returns once the broker has the record."""
    return (_KafkaPythonProducer if library == "kafka-python" else _ConfluentProducer)(brokers, compression)


def values(library, brokers, topic, group):
    """The values of a topic's records, for ever."""
    read = _kafka_python_values if library == "kafka-python" else _confluent_values
    return read(brokers, topic, group)


class _KafkaPythonProducer:
    def __init__(self, brokers, compression):
        from kafka import KafkaProducer

        kind = None if compression == "none" else compression
        self._producer = KafkaProducer(bootstrap_servers=brokers.split(","), compression_type=kind)

    def send(self, topic, value):
        self._producer.send(topic, value).get(timeout=300)


class _ConfluentProducer:
    def __init__(self, brokers, compression):
        from confluent_kafka import Producer

        self._producer = Producer({"bootstrap.servers": brokers, "compression.type": compression})

    def send(self, topic, value):
        failures = []
        self._producer.produce(topic, value, on_delivery=lambda error, _: error and failures.append(error))
        if self._producer.flush(30) or failures:
            raise RuntimeError(f"not delivered to {topic}: {failures or 'timed out'}")


def _kafka_python_values(brokers, topic, group):
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic, bootstrap_servers=brokers.split(","), group_id=group, auto_offset_reset="earliest",
        auto_commit_interval_ms=500,
    )
    for message in consumer:
        yield message.value


def _confluent_values(brokers, topic, group):
    from confluent_kafka import Consumer

    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest",
        "auto.commit.interval.ms": 500, "isolation.level": "read_uncommitted",
    })
    consumer.subscribe([topic])
    while True:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(str(message.error()))
        yield message.value()
