"""Plays a shop that writes and reads CloudEvents with their official SDK.

`write TOPIC` sends what stands in a file, a line of JSON for each event: its mode (`structured`, `binary`, or `base64`, which is
structured with the data as bytes), its key and its data. `read TOPIC…` prints the events of topics to their ends.
"""

import argparse
import json
import sys

from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Producer

import dump

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("verb", choices=("write", "read"))
    parser.add_argument("topics", nargs="+")
    parser.add_argument("--events", type=argparse.FileType(encoding="utf-8"))
    options = parser.parse_args()
    if options.verb == "write":
        write(options.brokers, options.topics[0], [json.loads(line) for line in options.events])
    else:
        for message in dump.messages(options.brokers, options.topics):
            print(json.dumps(shown(message)))


def write(brokers, topic, events):
    # the keys of an order and of a command about it must lead to the same partition, as with other people's clients
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    failures = []
    for number, event in enumerate(events):
        mode, data = event["mode"], event["data"]
        attributes = {
            "type": "org.example.shop.asked", "source": "https://shop.example.org", "id": f"{topic}-{number}",
            "datacontenttype": "application/json", "partitionkey": event["key"], "traceparent": TRACE,
        }
        if mode == "base64":
            message = kafka.to_structured_event(CloudEvent(attributes, json.dumps(data).encode("utf-8")))
        else:
            message = (kafka.to_binary_event if mode == "binary" else kafka.to_structured_event)(CloudEvent(attributes, data))
        producer.produce(
            topic, message.value, message.key, headers=list(message.headers.items()),
            on_delivery=lambda error, _: error and failures.append(error),
        )
    if producer.flush(300) or failures:
        sys.exit(f"not delivered to {topic}: {failures or 'timed out'}")


def shown(message):
    """The event as the SDK reads it; what it takes from the key is left to the headers."""
    value, headers = message.value(), dict(message.headers() or [])
    event = kafka.from_kafka(kafka.KafkaMessage(headers, None, value), JSONFormat())
    attributes = {name: text(attribute) for name, attribute in event.get_attributes().items()}
    data = event.get_data()
    return {
        "topic": message.topic(), "key": dump.text(message.key()), "attributes": attributes,
        "data": json.loads(data) if isinstance(data, bytes) else data,
    }


def text(attribute):
    return attribute if isinstance(attribute, str) else attribute.isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main()
