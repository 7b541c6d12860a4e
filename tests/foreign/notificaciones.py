"""Plays the old notifications: notes every state, "mails" it, and answers `GET /?value=ID` with the order's latest.

A mail is a line of JSON in --mails. As in the old service an update lands on the order that came last, whichever it is
about. What it answers for an id that it does not know is the old text, with the old status 200.
"""

import json
import threading

from flask import jsonify, request

import clients
import players

UNKNOWN = "ERROR: No existe ninguna transaccion con ese numero ID"


def main():
    parser = players.arguments(__doc__)
    parser.add_argument("--group", default="notificaciones")
    parser.add_argument("--mails", required=True, help="file to which mails are appended")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    orders = []
    app = players.application()

    @app.get("/")
    def answer():
        for order in orders:
            if str(order["orderid"]) == request.args.get("value"):
                return jsonify(order)
        return UNKNOWN

    server = players.serve(app, options.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    players.ready(listening=f"127.0.0.1:{server.port}")
    with open(options.mails, "a", encoding="utf-8") as mails:
        for value in clients.values(options.library, options.brokers, options.states, options.group):
            state = json.loads(value)
            if state["estado"] == "recibido":
                orders.append(state)
            elif orders:
                orders[-1]["estado"] = state["estado"]
            print(json.dumps({"to": state["usermail"], **state}), file=mails, flush=True)


if __name__ == "__main__":
    main()
