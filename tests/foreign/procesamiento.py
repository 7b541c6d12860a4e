"""Plays the old fulfilment: takes orders and publishes each one's states, a dwell apart.

The old service walks one order at a time and sleeps between its states; fields that it does not know it passes on.
--at-once stands for several of them, so that a test can stop this player in the middle of their states.
"""

import json
import threading
import time

import clients
import players

STATES = ("recibido", "preparando", "entregando", "finalizado")


def main():
    parser = players.arguments(__doc__)
    parser.add_argument("--group", default="procesamiento")
    parser.add_argument("--dwell", type=float, default=8.0, help="seconds in each state")
    parser.add_argument("--at-once", type=int, default=1, help="orders that are walked at the same time")
    options = parser.parse_args()
    producer = clients.producer(options.library, options.brokers, options.compression)
    lock, free = threading.Lock(), threading.Semaphore(options.at_once)

    def walk(order):
        for estado in STATES:
            with lock:
                producer.send(options.states, json.dumps({**order, "estado": estado}).encode("utf-8"))
            time.sleep(options.dwell)
        free.release()

    players.ready(group=options.group)
    for value in clients.values(options.library, options.brokers, options.orders, options.group):
        free.acquire()
        threading.Thread(target=walk, args=(json.loads(value),), daemon=True).start()


if __name__ == "__main__":
    main()
