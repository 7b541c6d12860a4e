"""What the three players share: their arguments, their HTTP server, and how they tell that they are ready."""

import argparse
import json

from flask import Flask
from werkzeug.serving import make_server

import clients


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--brokers", required=True, help="bootstrap list")
    parser.add_argument("--library", choices=clients.LIBRARIES, default="kafka-python")
    parser.add_argument("--orders", default="compra_detalle", help="the orders' topic")
    parser.add_argument("--states", default="compra_confirmada", help="the states' topic")
    parser.add_argument("--compression", choices=("none", "gzip", "snappy", "lz4", "zstd"), default="none")
    return parser


def ready(**facts):
    """One line of JSON on standard output: the player works from now on."""
    print(json.dumps(facts), flush=True)


def application():
    """Flask as the old services run it; the reloader alone is left out, since it would start a second process."""
    app = Flask(__name__)
    app.debug = True
    return app


def serve(app, port):
    """The application on a port of its own; not yet running."""
    return make_server("127.0.0.1", port, app, threaded=True)
