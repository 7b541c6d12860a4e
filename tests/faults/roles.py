"""The processes under test: any number of instances of each role, on one log and one store."""

import json
import os
import signal
import subprocess
import time
import urllib.request

from servers import need, wait_for

ROLES = ("intake", "fulfilment", "tracking", "mail")


class Role:
    """One instance; `slot` stays its own over restarts."""

    def __init__(self, binary, kind, slot, settings, folder):
        self.binary, self.kind, self.slot = binary, kind, slot
        self.settings, self.folder = settings, folder
        self.listen = {name: "127.0.0.1:0" for name in ("intake", "tracking", "ops")}
        self.process = self.began = None

    @property
    def name(self):
        return f"{self.kind}-{self.slot}"

    def start(self, ready=True):
        env = {**os.environ, **self.settings, "ENCARGO_SLOT": str(self.slot), "ENCARGO_DATA": str(self.folder / "data")}
        env |= {f"ENCARGO_{name.upper()}_LISTEN": address for name, address in self.listen.items()}
        self.began = time.time()
        with open(self.folder / f"{self.name}.log", "a") as log:
            command = [self.binary, self.kind, "--json"]
            self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        need(line, f"{self.name} ended at its start, see {self.folder / self.name}.log")
        # a port once given stays: customers and the next start use it again
        self.listen |= {name: address for name, address in json.loads(line).items() if name in self.listen}
        if ready:
            self.wait_ready()

    def wait_ready(self):
        def is_ready():
            with urllib.request.urlopen(f"http://{self.listen['ops']}/readyz", timeout=30) as answer:
                return answer.status == 200
        wait_for(f"{self.name} to be ready", is_ready)

    def open_mails(self):
        """Of a mailer: how many mails of the ledger were neither sent nor given up."""
        with urllib.request.urlopen(f"http://{self.listen['ops']}/ledger", timeout=30) as answer:
            mails = json.load(answer)["mails"]
        return mails["pending"] + mails["sending"]

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """An orderly stop; says what is wrong with it, if anything."""
        self.process.terminate()
        try:
            code = self.process.wait(timeout=300)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.name} did not stop within 300 s"
        return f"{self.name} ended with {code}" if code else None

    def stall(self, seconds, pause):
        self.signal(signal.SIGSTOP)
        pause(seconds)
        self.signal(signal.SIGCONT)


class Helper:
    """A program beside the roles, ended by its id."""

    def __init__(self, *command):
        self.name = " ".join(map(str, command[:3]))
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        said = self.process.stdout.readline().strip()
        need(said, f"{self.name} has ended, or never began")
        return said

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def tell(self, line):
        self.say(line)
        return self.line()

    def finish(self, seconds=900):
        """Asks it to end; its last words."""
        self.process.terminate()
        return self.wait(seconds)

    def wait(self, seconds=900):
        said, _ = self.process.communicate(timeout=seconds)
        need(self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}")
        return said.strip()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
