"""Real servers for the runs, by scripts/kafka-local and scripts/postgres-local. Loopback only."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType,
)

ROOT = Path(__file__).resolve().parents[2]


def need(condition, text):
    if not condition:
        raise SystemExit(f"scripts/faults: {text}")


def wait_for(what, state, seconds=300):
    """Asks again and again until `state` gives something true; returns it."""
    end, last = time.time() + seconds, None
    while time.time() < end:
        try:
            if found := state():
                return found
        except Exception as error:  # a server that is not back yet fails in many ways
            last = error
        time.sleep(0.1)
    raise RuntimeError(f"waited {seconds} s for {what}: {last}")


def free_ports(count=60):
    """The first of so many ports on which nobody listens, below those that the system hands out."""
    def is_free(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0
    while True:
        first = random.randrange(20_000, 32_000 - count)
        if all(is_free(port) for port in range(first, first + count)):
            return first


# What docs/kafka.md recommends, so that a broker that falls is noticed soon, also where it was the active controller.
NOTICED_SOON = " ".join([
    "broker.session.timeout.ms=1500", "broker.heartbeat.interval.ms=300",
    "controller.quorum.fetch.timeout.ms=1000", "controller.quorum.election.timeout.ms=500",
    "controller.quorum.request.timeout.ms=1000",
])


class Kafka:
    NODES = (1, 2, 3)

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.tool = ROOT / "scripts" / "kafka-local"
        need(shutil.which("java"), "no Java: install a JRE, 17 or later")
        need(self.tool.exists(), f"no {self.tool}")
        self.brokers = ",".join(f"127.0.0.1:{self.port_of(node)}" for node in self.NODES)
        self.proxied = ",".join(f"127.0.0.1:{self.port_of(node) + 5}" for node in self.NODES)
        self._admin = None

    def port_of(self, node):
        return self.port + 10 * (node - 1)

    def run(self, *arguments):
        env = {
            # the quick compiler alone: brokers that start again and again would spend both cores on the other one
            "KAFKA_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1", "KAFKA_EXTRA": NOTICED_SOON, **os.environ,
            "KAFKA_DIR": str(self.folder), "KAFKA_PORT": str(self.port),
        }
        done = subprocess.run([self.tool, *map(str, arguments)], env=env, capture_output=True, text=True)
        need(done.returncode == 0, f"kafka-local {arguments}: {done.stderr.strip()}")

    def start(self):
        self.run("start", 3)

    def listen_for_proxies(self):
        """A second listener, whose advertised addresses are those of the proxies (port + 5, they lead to port + 2)."""
        self.stop()
        for node in self.NODES:
            port = self.port_of(node)
            inner = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}"
            with open(self.folder / f"n{node}" / "server.properties", "a") as file:
                file.write(f"listeners={inner},CLIENT://127.0.0.1:{port + 2}\n")
                file.write(f"advertised.listeners={inner},CLIENT://127.0.0.1:{port + 5}\n")
                file.write("listener.security.protocol.map="
                           "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CLIENT:PLAINTEXT\n")
        self.start()

    def stop(self):
        self.run("stop")

    def wipe(self):
        self.run("wipe")

    def pid(self, node):
        return int((self.folder / f"n{node}" / "pid").read_text())

    def kill(self, node):
        self.run("kill9", node)

    def terminate(self, node):
        pid = self.pid(node)
        os.kill(pid, signal.SIGTERM)
        wait_for(f"node {node} to end", lambda: not Path(f"/proc/{pid}").exists())

    def restart(self, node):
        self.run("restart", node)

    @property
    def admin(self):
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
        return self._admin

    def partitions(self, topic):
        found = self.admin.list_topics(topic, timeout=60).topics[topic].partitions
        return [found[number] for number in sorted(found)]

    def leader(self, topic, partition):
        return wait_for(f"a leader of {topic}/{partition}",
                        lambda: max(0, self.partitions(topic)[partition].leader))

    def transaction_coordinator(self, transactional_id):
        """The leader of the id's partition of the transaction log (Utils.abs(hashCode) % partitions)."""
        code = 0
        for char in transactional_id:
            code = (31 * code + ord(char)) & 0xFFFFFFFF
        topic = "__transaction_state"
        return self.leader(topic, (code & 0x7FFFFFFF) % len(self.partitions(topic)))

    def group_coordinator(self, group):
        def coordinator():
            # a client asks for a group's coordinator once, and then goes on asking that one
            admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
            return admin.describe_consumer_groups([group])[group].result(timeout=60).coordinator.id
        return wait_for(f"the coordinator of {group}", coordinator)

    def wait_in_sync(self, topics):
        """Until every replica of these topics is in sync again."""
        def whole():
            return all(len(p.isrs) == len(p.replicas) for topic in topics for p in self.partitions(topic))
        wait_for("all replicas in sync", whole)

    def set_min_in_sync(self, topics, number):
        entry = ConfigEntry("min.insync.replicas", str(number), incremental_operation=AlterConfigOpType.SET)
        wanted = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry]) for topic in topics]
        for done in self.admin.incremental_alter_configs(wanted).values():
            done.result(timeout=60)


class Postgres:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.tool = ROOT / "scripts" / "postgres-local"
        self.url = f"postgres://encargo@127.0.0.1:{port}/encargo"

    def run(self, *arguments):
        env = {**os.environ, "PG_DIR": str(self.folder), "PG_PORT": str(self.port)}
        done = subprocess.run([self.tool, *arguments], env=env, capture_output=True, text=True)
        need(done.returncode == 0, f"postgres-local {arguments}: {done.stderr.strip()}")

    def start(self):
        self.run("start")

    def stop_immediately(self):
        """What `pg_ctl -m immediate stop` does."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_for("the database to end", lambda: not Path(f"/proc/{pid}").exists())

    def wipe(self):
        self.run("wipe")
