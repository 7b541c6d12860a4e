"""Customers: places orders at a rate, and notes what each one was told.

Every order goes to an address of its own. Most carry an Idempotency-Key and are tried again until they are
acknowledged, as a careful client does; every fifth has none and is tried once. Some keys are asked about once more
after their answer, which must not change. Some orders are changed (changes.py). SIGTERM ends the placing; what is open is
then settled.
"""

import argparse
import asyncio
import json
import random
import signal
import time

from changes import Changes

OPEN_MAX = 600  # orders without an answer; beyond it new ones are not placed, so that an outage stays bounded
PER_REQUEST = 12.0
SETTLE = 300.0  # only ends what would wait for ever: a busy machine takes its time over what is open
RETRY = (0.5, 1.5)


class Load:
    def __init__(self, options):
        self.targets = options.intake.split(",")
        self.rate, self.run = options.rate, options.run
        self.idle = {}
        self.counts = dict.fromkeys(
            ("acknowledged", "refused_503", "other", "no_answer", "skipped", "unsettled", "asked_again", "changed"), 0
        )
        self.out = open(options.acknowledged, "a", encoding="utf-8")
        self.changes = Changes(options.tracking.split(","), self.ask, options.commanded)
        self.stopping = asyncio.Event()

    async def main(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        open_orders, number, start = set(), 0, loop.time()
        print("placing", flush=True)
        while not self.stopping.is_set():
            await asyncio.sleep(max(0, start + number / self.rate - loop.time()))
            self.begin(number, open_orders)
            number += 1
        await self.settle(open_orders)
        self.changes.close()
        print(json.dumps({**self.counts, "commands": self.changes.told}), flush=True)

    def begin(self, number, open_orders):
        """Begins an order, unless too many have no answer yet."""
        if len(open_orders) < OPEN_MAX:
            order = asyncio.create_task(self.order(number))
            open_orders.add(order)
            order.add_done_callback(open_orders.discard)
        else:
            self.counts["skipped"] += 1

    async def settle(self, open_orders):
        if open_orders:
            await asyncio.wait(open_orders, timeout=SETTLE)
        self.counts["unsettled"] = len(open_orders)
        self.out.close()

    async def order(self, number):
        email = f"{self.run}n{number}@example.org"
        key = None if number % 5 == 4 else f"{self.run}-{number}"
        target = number
        while True:
            status, answer = await self.place(self.targets[target % len(self.targets)], email, key)
            if status in (200, 202):
                self.note(answer["orderid"], email)
                if key and number % 25 == 0:
                    await self.ask_again(email, key, answer["orderid"])
                await self.changes.change(answer["orderid"], email)
                return
            kind = {None: "no_answer", 503: "refused_503"}.get(status, "other")
            self.counts[kind] += 1
            if key is None:
                return
            target += 1
            await asyncio.sleep(random.uniform(*RETRY))

    def note(self, orderid, email):
        self.counts["acknowledged"] += 1
        line = {"orderid": orderid, "product": "1010", "email": email, "at": int(time.time() * 1000)}
        self.out.write(json.dumps(line) + "\n")

    async def ask_again(self, email, key, orderid):
        self.counts["asked_again"] += 1
        status, answer = await self.place(self.targets[0], email, key)
        if status in (200, 202) and answer["orderid"] != orderid:
            self.counts["changed"] += 1

    async def place(self, target, email, key):
        return await self.ask(target, "/orders", {"product": "1010", "email": email}, key)

    async def ask(self, target, path, body, key):
        """Status and answer; `(None, None)` when there was none."""
        body = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/json\r\n"
        head += f"Idempotency-Key: {key}\r\n" if key else ""
        request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        pool, stream = self.idle.setdefault(target, []), None
        try:
            async with asyncio.timeout(PER_REQUEST):
                stream = pool.pop() if pool else await asyncio.open_connection(*target.rsplit(":", 1))
                stream[1].write(request)
                status, answer = await read_answer(stream[0])
                pool.append(stream)
                return status, answer
        except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            if stream:
                stream[1].close()
            return None, None


async def read_answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head[9:12])
    length = next(line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length:"))
    body = await reader.readexactly(int(length))
    return status, json.loads(body) if status < 300 else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--intake", required=True, help="HOST:PORT of the instances, with commas")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--run", default="run", help="goes into addresses and keys")
    parser.add_argument("--acknowledged", required=True)
    parser.add_argument("--tracking", required=True, help="HOST:PORT of the instances, with commas")
    parser.add_argument("--commanded", required=True)
    asyncio.run(Load(parser.parse_args()).main())
