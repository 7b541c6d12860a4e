"""Someone else's intake that writes by a schema registry: a serialiser puts the number of the schema before each order.

It registers its schema as those serialisers do, writes so many orders, and prints them, a line of JSON for each.
"""

import argparse
import json

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TEXTS = ("gameid", "name", "usermail")

JSON = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "required": ["orderid", "price", *TEXTS],
    "properties": {"orderid": {"type": "integer"}, "price": {"type": "string"}, **{name: {"type": "string"} for name in TEXTS}},
}
# the price as those who use Avro have it, and what Encargo does not know
AVRO = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "orderid", "type": "long"},
        *({"name": name, "type": "string"} for name in TEXTS),
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "lang", "type": ["null", {"type": "enum", "name": "Lang", "symbols": ["es", "en"]}], "default": None},
        {"name": "parcels", "type": {"type": "array", "items": "int"}, "default": []},
    ],
}


def serialiser(kind, registry):
    if kind == "json":
        return JSONSerializer(json.dumps(JSON), registry)
    return AvroSerializer(registry, json.dumps(AVRO))


def as_avro(order):
    from decimal import Decimal

    return {**order, "price": Decimal(order["price"]), "lang": "en", "parcels": [1, 2]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True, help="bootstrap list")
    parser.add_argument("--registry", required=True, help="address of the registry's API")
    parser.add_argument("--orders", required=True, help="the orders' topic")
    parser.add_argument("--kind", choices=("json", "avro"), required=True)
    parser.add_argument("--first-id", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()

    serialise = serialiser(given.kind, SchemaRegistryClient({"url": given.registry}))
    producer = Producer({"bootstrap.servers": given.brokers})
    failures = []
    for number in range(given.first_id, given.first_id + given.count):
        order = {"orderid": number, "gameid": "3170", "name": "Ñandú de peluche", "price": "7.90", "usermail": "cliente@example.org"}
        value = serialise(as_avro(order) if given.kind == "avro" else order, SerializationContext(given.orders, MessageField.VALUE))
        producer.produce(given.orders, value, key=str(number), on_delivery=lambda error, _: error and failures.append(error))
        print(json.dumps(order), flush=True)
    if producer.flush(60) or failures:
        raise RuntimeError(f"not delivered: {failures or 'timed out'}")


if __name__ == "__main__":
    main()
