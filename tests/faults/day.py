"""A day in 24 minutes that follows /scale: instances are started and stopped as it wants, under the orders of a day with a fourfold
peak, beside an oracle that has at each moment just what the orders of that moment take: scripts/day."""

import itertools
import json
import math
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import chart
import verdict
from fleet import Fleet
from roles import ROLES

# orders per second by the hour of the day, straight in between
DAY = {0: 20, 6: 20, 9: 32, 11: 42, 12: 66, 13: 80, 14: 74, 16: 44, 18: 44, 20: 68, 21: 68, 23: 32, 24: 20}
# what is set for an instance: small, so that the machine is not what is measured
ORDERS_PER_S = 30
PER_ORDER = {"intake": 1, "fulfilment": 1, "tracking": 4, "mail": 4}
# to which part an instance is loaded (scale.load)
LOADED = 0.7
ASK_EVERY = 5.0  # seconds, as an autoscaler does
LATE_MAX = 1.0  # seconds that 99 % of the transitions may have at most
OF_ORACLE_MAX = 1.3


def rate(hour):
    """Orders per second."""
    hours = sorted(DAY)
    after = next((place for place in range(1, len(hours)) if hours[place] >= hour), len(hours) - 1)
    a, b = hours[after - 1], hours[after]
    return DAY[a] + (DAY[b] - DAY[a]) * min(1, (hour - a) / (b - a))


def oracle(hour):
    """Instances of each role."""
    return math.ceil(rate(hour) / (ORDERS_PER_S * LOADED))


class Supervisor:
    """Does what an autoscaler does: asks /scale, and starts and stops processes."""

    def __init__(self, fleet, customers):
        self.fleet, self.customers = fleet, customers
        self.began, self.done = time.time(), threading.Event()
        self.stopping, self.ended, self.seen = {}, [], []
        self.targets = None
        self.rotate()

    def run(self):
        while not self.done.wait(ASK_EVERY):
            self.rotate()
            try:
                said = self.ask()
            except OSError as error:  # what runs stays while nobody answers
                print(f"  /scale: {error}", file=sys.stderr)
                continue
            for kind in said:
                self.follow(kind, said[kind])
            self.seen.append((time.time(), len(self.fleet.roles)))

    def ask(self):
        ops = self.fleet.instances("tracking")[0].listen["ops"]
        with urllib.request.urlopen(f"http://{ops}/scale?lang=en", timeout=30) as answer:
            return json.load(answer)

    def follow(self, kind, said):
        there, wanted = self.fleet.instances(kind), max(1, said["foreseen"])
        if wanted != len(there):
            print(f"  {kind} {len(there)} → {wanted}: {said['reason']}", file=sys.stderr)
        taken = {role.slot for role in [*there, *self.stopping] if role.kind == kind}
        free = (slot for slot in itertools.count() if slot not in taken)
        for slot in itertools.islice(free, max(0, wanted - len(there))):
            self.fleet.add(kind, slot)
        for role in there[wanted:]:
            self.fleet.roles.remove(role)
            self.rotate()
            self.stopping[role] = threading.Thread(target=self.stop, args=(role,))
            self.stopping[role].start()

    def stop(self, role):
        self.fleet.complain(role.stop())
        self.ended.append((role, time.time()))
        del self.stopping[role]

    def rotate(self):
        """Customers go to the instances of intake that are ready, as a load balancer has it."""
        ready = [role.listen["intake"] for role in self.fleet.instances("intake") if is_ready(role)]
        if ready and ready != self.targets:
            self.targets = ready
            self.customers.say(",".join(ready))

    def instance_seconds(self):
        """Of each role, from the start of each process to its end."""
        for stopping in list(self.stopping.values()):
            stopping.join()
        now = time.time()
        lives = [*self.ended, *((role, now) for role in self.fleet.roles)]
        return {kind: sum(end - max(role.began, self.began) for role, end in lives if role.kind == kind) for kind in ROLES}


def is_ready(role):
    try:
        with urllib.request.urlopen(f"http://{role.listen['ops']}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def lateness(dump):
    """When each transition was due that a timer brought about, and by how many seconds its record is later; in order."""
    due, late = {}, []
    for record in verdict.lines(dump):
        if record["topic"] == "compra_confirmada":
            event = json.loads(record["value"])
            if since := due.pop(event["orderid"], None):
                late.append((since, record["at"] / 1000 - since))
            if event.get("next_at"):
                due[event["orderid"]] = datetime.fromisoformat(event["next_at"]).timestamp()
    return sorted(late)


def p99(values):
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(len(values) * 0.99) - 1)] if values else 0.0


def main(options):
    hour = options.day
    settings = {f"ENCARGO_SCALE_{kind.upper()}": str(ORDERS_PER_S * work) for kind, work in PER_ORDER.items()}
    # an instance of this machine works within seconds, and the day is short
    settings |= {"ENCARGO_SCALE_START": "5s", "ENCARGO_SCALE_DOWN_AFTER": f"{round(hour / 2)}s"}
    options.instances = 1
    fleet = Fleet(options, proxied=False, settings=settings)
    keep = True
    try:
        fleet.start()
        Path(fleet.commanded).touch()
        rates = ",".join(f"{orders}@{round(at * hour * 1000)}ms" for at, orders in DAY.items())
        customers = fleet.customers("--rates", rates, "--follow")
        supervisor = Supervisor(fleet, customers)
        with ThreadPoolExecutor() as threads:
            follows = threads.submit(supervisor.run)
            try:
                counts = json.loads(customers.process.stdout.readline())
            finally:
                supervisor.done.set()
            follows.result()
            customers.wait()
        took, spent = time.time() - supervisor.began, supervisor.instance_seconds()
        fleet.settle(counts["acknowledged"])
        fleet.stop()
        failed = tell(fleet, counts, supervisor, (took, spent), options)
        keep = failed or options.keep
    finally:
        fleet.clean_up(keep)
    sys.exit(failed)


def tell(fleet, counts, supervisor, measured, options):
    (took, spent), began, hour = measured, supervisor.began, options.day
    report = verdict.audit(fleet, None)
    late = lateness(fleet.folder / "dump.jsonl")
    least = sum(oracle(second / hour) for second in range(round(took)))
    used, of_oracle = sum(spent.values()), sum(spent.values()) / (least * len(ROLES))
    whole = p99(seconds for _, seconds in late)
    print(f"{counts['acknowledged']:,} orders in {took:.0f} s, {len(late):,} transitions: "
          f"99 % within {whole * 1000:.0f} ms, the worst {max((s for _, s in late), default=0):.2f} s")
    print(f"{used / 3600:.2f} instance-hours, an oracle {least * len(ROLES) / 3600:.2f}: {of_oracle:.2f} times; "
          + ", ".join(f"{kind} {spent[kind] / least:.2f}" for kind in ROLES))
    print(f"customers: {json.dumps(counts)}")
    wrong = [*report["objections"], *fleet.complaints]
    wrong += [f"99 % of the transitions within {whole:.2f} s"] if whole > LATE_MAX else []
    wrong += [f"{of_oracle:.2f} times the oracle's instance-hours"] if of_oracle > OF_ORACLE_MAX else []
    for text in wrong:
        print(f"    {text}")
    if options.plot:
        options.plot.write_text(plot(supervisor, late, hour), encoding="utf-8")
    return bool(wrong)


def plot(supervisor, late, hour):
    began, quarters = supervisor.began, {}
    for due, seconds in late:
        if due < began + 24 * hour:
            quarters.setdefault(int((due - began) / hour * 4), []).append(seconds)
    minutes = [minute / 60 for minute in range(24 * 60 + 1)]
    run = [((at - began) / hour, running) for at, running in supervisor.seen]
    slow = [(quarter / 4, p99(seconds) * 1000) for quarter, seconds in sorted(quarters.items())]
    return chart.svg(24, "hour of the day", [
        chart.Panel("Orders per second", [("orders", [(at, rate(at)) for at in minutes])]),
        chart.Panel("Instances of all roles", [("run", run), ("oracle", [(at, 4 * oracle(at)) for at in minutes])], steps=True),
        chart.Panel("99 % of the transitions within, ms", [("late", slow)], limit=LATE_MAX * 1000),
    ])
