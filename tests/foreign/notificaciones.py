"""Plays the old notifications: notes every state, "mails" it, and answers `GET /?value=ID` with the order's latest.

A mail is a line of JSON in --mails. What it answers for an id that it does not know is the old text, with the old
status 200.
"""

import json
import threading
from urllib.parse import parse_qs, urlsplit

import clients
import players

UNKNOWN = "ERROR: No existe ninguna transaccion con ese numero ID"


def main():
    parser = players.arguments(__doc__)
    parser.add_argument("--group", default="notificaciones")
    parser.add_argument("--mails", required=True, help="file to which mails are appended")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    latest = {}

    def answer(path, _):
        value = parse_qs(urlsplit(path).query).get("value", [""])[0]
        order = latest.get(value)
        return 200, json.dumps(order, sort_keys=True) if order else UNKNOWN

    server = players.serve(options.port, get=answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    players.ready(listening=f"127.0.0.1:{server.server_port}")
    with open(options.mails, "a", encoding="utf-8") as mails:
        for value in clients.values(options.library, options.brokers, options.states, options.group):
            state = json.loads(value)
            names = ("orderid", "gameid", "name", "price", "usermail", "estado")
            latest[str(state["orderid"])] = {name: state[name] for name in names}
            print(json.dumps({"to": state["usermail"], **latest[str(state["orderid"])]}), file=mails, flush=True)


if __name__ == "__main__":
    main()
