"""How fast fulfilment works off a full input, with one instance and with two: scripts/faults --scale."""

import json
import statistics
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from fleet import Fleet
from roles import Role
from servers import need, wait_for

ORDERS = 40_000
# the machine slows down and speeds up, so neither number is always the earlier one
RUNS = (1, 2, 2, 1, 1, 2, 2, 1)


def fill(brokers, topic):
    """Orders as old services write them: no key, any partition."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "batch.num.messages": 500})
    for number in range(ORDERS):
        order = {"orderid": number + 1, "gameid": "1010", "name": "Linterna", "price": "12.50",
                 "usermail": f"c{number}@example.org"}
        while True:
            try:
                # round robin: the library's own choice sticks to one partition for a batch
                producer.produce(topic, json.dumps(order).encode(), partition=number % 12)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)


def measure(fleet, number, instances):
    """Orders per second, from the first order's append to the last event."""
    topics = {name: f"scale_{name.lower()}_{number}" for name in ("ORDERS", "STATES", "DEAD", "IDS")}
    settings = {**fleet.settings, **{f"ENCARGO_TOPICS_{name}": topic for name, topic in topics.items()}}
    settings["ENCARGO_DWELL"] = "100ms"
    fleet.settings = settings
    fleet.encargo("log", "init")
    # all join while there is nothing to do yet, so that the work alone is measured
    roles = [Role(fleet.options.binary, "fulfilment", slot, settings, fleet.folder) for slot in range(instances)]
    fleet.roles.extend(roles)
    for role in roles:
        role.start()
    wait_for("a calm group", lambda: is_calm(fleet, instances))
    began = time.time()
    fill(fleet.kafka.brokers, topics["ORDERS"])
    wait_until_finished(fleet, topics["STATES"])
    took = time.time() - began
    fleet.stop()
    # copying between brokers costs by the partition, whether anything is written there or not
    for deleted in fleet.kafka.admin.delete_topics(list(topics.values())).values():
        deleted.result(timeout=30)
    return ORDERS / took


def is_calm(fleet, instances):
    group = fleet.kafka.admin.describe_consumer_groups(["encargo-fulfilment"])["encargo-fulfilment"].result(timeout=5)
    return len(group.members) == instances and group.state.name == "STABLE"


def wait_until_finished(fleet, topic):
    """Reads along until every order has its last state."""
    consumer = Consumer({
        "bootstrap.servers": fleet.kafka.brokers, "group.id": "scale", "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(12)])
    end, finished = time.time() + 300, 0
    while finished < ORDERS:
        need(time.time() < end, f"{finished} of {ORDERS} orders finished within 300 s")
        messages = consumer.consume(1000, 1)
        finished += sum(b'"estado":"finalizado"' in message.value() for message in messages if not message.error())
    consumer.close()


def main(options):
    fleet = Fleet(options, proxied=False)
    try:
        fleet.start()
        for role in list(fleet.roles):
            fleet.remove(role)
        rates = {1: [], 2: []}
        for number, instances in enumerate(RUNS):
            rates[instances].append(measure(fleet, number, instances))
            print(f"{instances} fulfilment: {rates[instances][-1]:.0f} orders/s through all states", flush=True)
    finally:
        fleet.clean_up(options.keep)
    one, two = (statistics.median(rates[instances]) for instances in (1, 2))
    print(f"median of {len(rates[1])}: one {one:.0f}/s, two {two:.0f}/s, two beside one {two / one:.2f}")
