"""Whether a run kept the promises: the auditor decides; how long things took is read from what customers saw."""

import json
import subprocess
import sys
from pathlib import Path

SLOW_MS = 2_000  # a first mail later than this after the acknowledgement: not as ever


def audit(fleet, late_max):
    """The auditor's report, with a second reader's dump of the topics."""
    dump = fleet.folder / "dump.jsonl"
    reader = Path(__file__).resolve().parents[1] / "foreign" / "dump.py"
    with open(dump, "w") as out:
        command = [sys.executable, reader, "--brokers", fleet.kafka.brokers, "compra_detalle", "compra_confirmada"]
        subprocess.run(command, stdout=out, check=True)
    auditor = fleet.options.binary.with_name("encargo-audit")
    settings = fleet.settings
    command = [
        auditor, "--json", "--log", settings["ENCARGO_LOG"], "--store", settings["ENCARGO_STORE"],
        "--dwell", settings["ENCARGO_DWELL"], "--acknowledged", fleet.acknowledged, "--mails", fleet.mails,
        "--commanded", fleet.commanded,
        "--second-opinion", dump, "--one-order-each",
    ]
    if late_max is not None:
        command += ["--late-max", f"{int(late_max * 1000)}ms"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        return {"objections": [f"the auditor failed: {done.stderr.strip()}"]}
    return json.loads(done.stdout)


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Times:
    """When orders were acknowledged, and when their first mail came; milliseconds."""

    def __init__(self, mails, acknowledged):
        first = {}
        for mail in mails:
            first.setdefault(mail["id"], mail["at"])
        acknowledged = sorted((line["at"], line["orderid"]) for line in acknowledged)
        self.orders = [(at, first.get(order, at + 10**6) - at) for at, order in acknowledged]

    def worst_wait(self):
        """The longest from an acknowledgement to the first mail, in seconds."""
        return max((wait for _, wait in self.orders), default=0) / 1000

    def worst_gap(self):
        """The longest time in which no order was acknowledged, in seconds."""
        times = [at for at, _ in self.orders]
        return max((b - a for a, b in zip(times, times[1:])), default=0) / 1000

    def recovery(self, healed, until):
        """Seconds from the moment when all was whole again until the last order that still had to wait; infinite when that
        was the last one of all, since then nobody saw it end."""
        after = [(at, wait) for at, wait in self.orders if healed <= at < until]
        if not after or after[-1][1] > SLOW_MS:
            return float("inf")
        slow = [at for at, wait in after if wait > SLOW_MS]
        return max([after[0][0], *slow]) / 1000 - healed / 1000


def recoveries(times, strikes):
    """The worst recovery of each kind of strike; `strikes` are (name, struck, healed), in order. An order that the next
    strike could have kept waiting does not count."""
    worst = {}
    for this, following in zip(strikes, [*strikes[1:], None]):
        name, _, healed = this
        until = following[1] - SLOW_MS if following else float("inf")
        took = times.recovery(healed, until) if until > healed else 0  # struck again before anything could be seen
        worst[name] = max(worst.get(name, 0), took)
    return worst
