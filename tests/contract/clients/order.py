"""Places, follows and cancels an order with the clients that a generator made of the OpenAPI documents.

python order.py INTAKE TRACKING      (addresses; the packages `intake` and `tracking` lie beside this file's copy)
"""

import sys
import time

import intake
import tracking
from intake.api.default import place_order
from intake.models import Accepted, Order
from intake.models import Problem as Refusal
from tracking.api.default import cancel_order, track_order
from tracking.models import CancelOrderBody, Outcome, Problem
from tracking.models import Order as Tracked

shop = intake.Client(base_url=sys.argv[1])
customer = tracking.Client(base_url=sys.argv[2])

refused = place_order.sync(client=shop, body=Order(product="no such product", email="ana@example.org"))
assert isinstance(refused, Refusal) and refused.status == 422, refused

placed = place_order.sync(client=shop, body=Order(product="1010", email="ana@example.org"), idempotency_key="python")
assert isinstance(placed, Accepted), placed
again = place_order.sync(client=shop, body=Order(product="1010", email="ana@example.org"), idempotency_key="python")
assert isinstance(again, Accepted) and again.orderid == placed.orderid, again


def track():
    """The order, once it is projected."""
    deadline = time.monotonic() + 60
    while not isinstance(order := track_order.sync(placed.handle, client=customer), Tracked):
        assert time.monotonic() < deadline, order
        time.sleep(0.1)
    return order


order = track()
assert (order.estado, order.finished, order.name) == ("recibido", False, "Linterna de bolsillo \"Faro\""), order
unconfirmed = cancel_order.sync(placed.handle, client=customer, body=CancelOrderBody(), idempotency_key="no")
assert isinstance(unconfirmed, Problem) and unconfirmed.status == 422, unconfirmed
cancelled = cancel_order.sync(placed.handle, client=customer, body=CancelOrderBody(confirm=True), idempotency_key="yes")
assert isinstance(cancelled, Outcome), cancelled
assert track().closes == "cancelled"
