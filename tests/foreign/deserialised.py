"""Someone else's reader that goes by a schema registry: reads topics to their ends, has each record deserialised, which holds it
against the schema whose number it bears, and prints a line of JSON for each.
"""

import argparse
import json

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

import dump


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True, help="bootstrap list")
    parser.add_argument("--registry", required=True, help="address of the registry's API")
    parser.add_argument("topics", nargs="+")
    given = parser.parse_args()
    deserialise = JSONDeserializer(None, schema_registry_client=SchemaRegistryClient({"url": given.registry}))
    for message in dump.messages(given.brokers, given.topics):
        context = SerializationContext(message.topic(), MessageField.VALUE)
        print(json.dumps({"topic": message.topic(), "value": deserialise(message.value(), context)}))


if __name__ == "__main__":
    main()
