"""Plays the old intake: `POST /` with `value=N` publishes row N of a CSV file (its header is row 0) as an order.

Ids count from 1, or from --first-id, for as long as the process lives. The answer is the old one.
"""

import csv
import itertools
import json
import threading

from flask import request

import clients
import players


def main():
    parser = players.arguments(__doc__)
    parser.add_argument("--catalog", required=True, help="CSV with appid,name,price")
    parser.add_argument("--usermail", default="cliente@example.org")
    parser.add_argument("--first-id", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with open(options.catalog, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    producer = clients.producer(options.library, options.brokers, options.compression)
    ids, lock = itertools.count(options.first_id), threading.Lock()

    app = players.application()

    @app.post("/")
    def place():
        row = rows[int(request.form["value"])]
        with lock:
            order = {
                "orderid": next(ids), "gameid": row[0], "name": row[1], "price": row[2],
                "usermail": options.usermail,
            }
            producer.send(options.orders, json.dumps(order).encode("utf-8"))
        return "Transaccion enviada!"

    server = players.serve(app, options.port)
    players.ready(listening=f"127.0.0.1:{server.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
