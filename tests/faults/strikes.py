"""What is struck, how hard, and when it is whole again. Each strike returns once it is healed."""

import time

from fleet import SESSION, TOPICS
from servers import Kafka

GROUP = "encargo-fulfilment"
INTERNAL = ["__transaction_state", "__consumer_offsets"]


def broker_down(fleet, node, seconds=4):
    fleet.kafka.kill(node)
    time.sleep(seconds)
    fleet.kafka.restart(node)
    fleet.kafka.wait_in_sync(TOPICS + INTERNAL)


def leader(fleet, round_):
    broker_down(fleet, fleet.kafka.leader("compra_confirmada", round_ % 12))


def transaction_coordinator(fleet, round_):
    slot = fleet.instances("fulfilment")[round_ % 2].slot
    broker_down(fleet, fleet.kafka.transaction_coordinator(f"{GROUP}-{slot}"))


def group_coordinator(fleet, _):
    broker_down(fleet, fleet.kafka.group_coordinator(GROUP))


def killed(kind):
    def strike(fleet, round_):
        """Every second time it is back at once, otherwise only when the others must have taken over."""
        role = fleet.instances(kind)[round_ % len(fleet.instances(kind))]
        role.kill()
        time.sleep(1 if round_ % 2 else SESSION + 3)
        role.start()
    return strike


def stall(fleet, round_):
    """Not the same instance again and again: fenced three times within a minute, it takes its slot for doubly used."""
    role = fleet.instances("fulfilment")[round_ % 2]
    role.stall(SESSION + 3, time.sleep)


def rolling(fleet, _):
    for node in Kafka.NODES:
        fleet.kafka.terminate(node)
        fleet.kafka.restart(node)
        fleet.kafka.wait_in_sync(TOPICS + INTERNAL)


def cut(fleet, round_):
    """Instance 1 of every role loses one broker, the brokers see each other: resets, or silence."""
    node, way = Kafka.NODES[round_ % 3], ("cut", "hold")[round_ % 2]
    fleet.proxy.tell(f"{way} {node}")
    time.sleep(8)
    fleet.proxy.tell("heal")


def churn(fleet, _):
    """One instance of fulfilment and tracking joins, and 5 s later the oldest one leaves."""
    for kind in ("fulfilment", "tracking"):
        used = {role.slot for role in fleet.instances(kind)}
        fleet.add(kind, min(set(range(9)) - used))
    time.sleep(5)
    for kind in ("fulfilment", "tracking"):
        fleet.remove(fleet.instances(kind)[0])
    time.sleep(5)


def update(fleet, _):
    """A rolling update: every process ends in order and starts again, the next one when it is ready."""
    for role in list(fleet.roles):
        fleet.complain(role.stop())
        role.start()


def too_few_in_sync(fleet, round_):
    """Every replica must confirm, and one node is down."""
    fleet.kafka.set_min_in_sync(TOPICS, 3)
    broker_down(fleet, Kafka.NODES[round_ % 3], 8)
    fleet.kafka.set_min_in_sync(TOPICS, 2)


def postgres(fleet, _):
    fleet.postgres.stop_immediately()
    time.sleep(2)
    fleet.postgres.start()


def kafka(fleet, _):
    fleet.kafka.stop()
    time.sleep(30)
    fleet.kafka.start()


class Fault:
    def __init__(self, strike, text, late_max=None, recovery_max=None, calm=6, proxied=False, together=True):
        self.strike, self.text, self.calm, self.proxied = strike, text, calm, proxied
        # seconds: how late a timer may fire, how long after its return all must be as ever, and how long it is left in
        # peace before the next strike, which should be enough for that
        self.late_max, self.recovery_max = late_max, recovery_max
        self.together = together  # may be struck in one run with others


MOVED = SESSION + 2

FAULTS = {
    "leader": Fault(leader, "kill -9 of a partition's leader", MOVED, 10, calm=24),
    "transactions": Fault(transaction_coordinator, "kill -9 of the transaction coordinator", MOVED, 10, calm=24),
    "group": Fault(group_coordinator, "kill -9 of the group coordinator", MOVED, 10, calm=24),
    "intake": Fault(killed("intake"), "kill -9 of an intake", MOVED, 10),
    "fulfilment": Fault(killed("fulfilment"), "kill -9 of a fulfilment", MOVED, 10),
    "tracking": Fault(killed("tracking"), "kill -9 of a tracking", MOVED, 10),
    "mail": Fault(killed("mail"), "kill -9 of a mail", MOVED, 10),
    "stall": Fault(stall, "SIGSTOP of a fulfilment past its session", MOVED, 10, calm=24),
    "rolling": Fault(rolling, "clean restart of every broker in turn", None, 10),
    "cut": Fault(cut, "instance 1 cut off from one broker", None, 10, proxied=True),
    "churn": Fault(churn, "an instance joins and one leaves every 5 s", MOVED, 10, calm=0),
    "update": Fault(update, "every process replaced in order", MOVED, 10),
    "in-sync": Fault(too_few_in_sync, "one in-sync replica too few", None, 10),
    "postgres": Fault(postgres, "PostgreSQL stopped -m immediate", 2, 10),
    "kafka": Fault(kafka, "Kafka stopped for 30 s", None, 10, calm=15, together=False),
}
