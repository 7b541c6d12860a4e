"""The shop: changes some of the orders that customers place, and notes what each command was answered.

A command is asked again under its id until it is known whether it was done, as a careful client does. What is held is let
go on in any case, so that every order comes to an end.
"""

import asyncio
import json
import random

CHANGED = 4  # every so many orders
WITHIN = 2.5  # seconds after the acknowledgement, in which a fault's orders go through all their states
AGAIN = (0.3, 1.0)
BODIES = {"delay": lambda email: {"for": "700ms"}, "address": lambda email: {"usermail": f"new-{email}"}}


class Changes:
    def __init__(self, targets, ask, path):
        self.targets, self.ask = targets, ask
        self.out = open(path, "a", encoding="utf-8")
        self.told = 0

    async def change(self, order, email):
        """Changes an order at random, or leaves it alone."""
        if order % CHANGED:
            return
        await asyncio.sleep(random.uniform(0, WITHIN))
        verb = random.choice(["cancel", "cancel", "advance", "hold", "delay", "address"])
        await self.command(order, verb, BODIES.get(verb, lambda _: {})(email))
        if verb == "hold":
            await asyncio.sleep(random.uniform(0, WITHIN))
            await self.command(order, random.choice(["resume", "cancel"]), {})

    async def command(self, order, verb, body):
        command, target = f"{verb}-{order}", order
        while True:
            address = self.targets[target % len(self.targets)]
            status, _ = await self.ask(address, f"/orders/{order}/{verb}", body, command)
            if status in (200, 409):
                break
            target += 1  # not known yet, or that instance is gone
            await asyncio.sleep(random.uniform(*AGAIN))
        self.told += 1
        self.out.write(json.dumps({"orderid": order, "command": command, "done": status == 200}) + "\n")

    def close(self):
        self.out.close()
