"""A whole set-up for one run: three brokers, a database, an SMTP sink, instances of every role, customers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roles import ROLES, Helper, Role
from servers import ROOT, Kafka, Postgres, need

HERE = Path(__file__).resolve().parent
STATES = ("recibido", "preparando", "entregando")  # those that are left again
TOPICS = ["compra_detalle", "compra_confirmada", "encargo_ids"]
SESSION = 6.0  # seconds; the default of log.session_timeout
DWELL = 1.0


class Fleet:
    def __init__(self, options, proxied, settings=None):
        self.options, self.proxied, self.more = options, proxied, settings or {}
        self.folder = Path(tempfile.mkdtemp(prefix="encargo-faults-"))
        self.folder.chmod(0o711)  # the database's own user passes through
        self.kafka = Kafka(self.folder / "kafka", options.port)
        self.postgres = Postgres(self.folder / "postgres", options.port + 50)
        self.roles, self.helpers, self.complaints = [], [], []
        self.listen = {}  # where an instance of that kind and slot was
        self.load = self.proxy = self.sink = None

    @property
    def mails(self):
        return self.folder / "mails.jsonl"

    @property
    def acknowledged(self):
        return self.folder / "acknowledged.jsonl"

    @property
    def commanded(self):
        return self.folder / "commanded.jsonl"

    def start(self):
        self.kafka.start()
        if self.proxied:
            self.kafka.listen_for_proxies()
            ports = [self.kafka.port_of(node) for node in Kafka.NODES]
            pairs = [f"{node}={port + 5}:{port + 2}" for node, port in zip(Kafka.NODES, ports)]
            self.proxy = self.helper(sys.executable, "-u", HERE / "proxy.py", *pairs)
            self.proxy.line()
        self.postgres.start()
        self.sink = self.helper(self.options.binary, "bench", "sink", "--mails", self.mails)
        smtp = json.loads(self.sink.line())["smtp"]
        self.settings = {
            "ENCARGO_LOG": f"kafka://{self.kafka.brokers}", "ENCARGO_STORE": self.postgres.url,
            "ENCARGO_MAIL": f"smtp://{smtp}?connections=10", "ENCARGO_DWELL": f"{DWELL:g}s",
            "ENCARGO_LOG_PARTITIONS": "12", "ENCARGO_LOGGING_FORMAT": "text", **self.more,
        }
        self.encargo("log", "init")
        for slot in range(self.options.instances):
            for kind in ROLES:
                self.add(kind, slot)
        for role in self.roles:
            role.wait_ready()

    def helper(self, *command):
        helper = Helper(*command)
        self.helpers.append(helper)
        return helper

    def encargo(self, *arguments):
        env = {**os.environ, **self.settings}
        done = subprocess.run([self.options.binary, *arguments], env=env, capture_output=True, text=True)
        need(done.returncode == 0, f"encargo {arguments}: {done.stderr.strip()}")
        return done.stdout

    def add(self, kind, slot):
        """Starts another instance. Those of slot 1 reach the brokers through the proxies, if there are any."""
        settings = dict(self.settings)
        if self.proxied and slot == 1:
            settings["ENCARGO_LOG"] = f"kafka://{self.kafka.proxied}"
        role = Role(self.options.binary, kind, slot, settings, self.folder)
        # customers know where it was, and ask there again
        role.listen |= self.listen.get((kind, slot), {})
        role.start(ready=False)
        self.listen[kind, slot] = role.listen
        self.roles.append(role)
        return role

    def remove(self, role):
        self.roles.remove(role)
        self.complain(role.stop())

    def instances(self, kind):
        return [role for role in self.roles if role.kind == kind]

    def complain(self, text):
        if text:
            self.complaints.append(text)

    def customers(self, *arguments):
        """Customers of the instances of intake that there are."""
        intake = ",".join(role.listen["intake"] for role in self.instances("intake"))
        command = [self.options.binary, "bench", "load", "--even", "--intake", intake, "--acknowledged", self.acknowledged]
        return self.helper(*command, *arguments)

    def begin_load(self, rate):
        tracking = ",".join(role.listen["tracking"] for role in self.instances("tracking"))
        changes = ["--tracking", tracking, "--commanded", self.commanded]
        self.load = self.customers("--rate", rate, "--duration", "7d", *changes)

    def check(self):
        """Every process that should run does."""
        for role in self.roles:
            if not role.runs:
                self.complain(f"{role.name} ended by itself with {role.process.returncode}")
                role.start(ready=False)

    def settle(self, orders, seconds=600):
        """Waits until every acknowledged order was mailed, none is in flight, none waits in the ledger, and no more come: at
        most for a while longer than the lease of a mail, since others take over what a killed mailer held only then."""
        end, known = time.time() + seconds, None
        while time.time() < end:
            mails = self.mails.read_text().splitlines()
            if len(mails) == known and len({json.loads(mail)["id"] for mail in mails}) >= orders and self.is_at_rest():
                return
            known = len(mails)
            time.sleep(3)

    def is_at_rest(self):
        """Every order's life is over, and every mail was sent or given up."""
        in_flight = (self.encargo("list", "--json", "--limit", "1", "--state", state) for state in STATES)
        return not any(in_flight) and not self.instances("mail")[0].open_mails()

    def stop(self):
        for role in self.roles:
            if role.runs:
                self.complain(role.stop())
        self.roles.clear()
        if self.sink.process.poll() is None:
            self.sink.finish()  # and with it all that came is written down

    def clean_up(self, keep):
        for role in self.roles:
            if role.runs:
                role.kill()
        for helper in self.helpers:
            helper.end()
        for end in (self.kafka.wipe, self.postgres.wipe):
            try:
                end()
            except SystemExit as error:
                print(error, file=sys.stderr)
        if keep:
            print(f"logs are kept in {self.folder}", file=sys.stderr)
        else:
            subprocess.run(["rm", "-rf", self.folder], check=False)
