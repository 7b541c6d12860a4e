"""What the three players share: their arguments, their HTTP server, and how they tell that they are ready."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


def serve(port, get=None, post=None):
    """An HTTP server; `get` and `post` take path and body, and return status and text."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, reply):
            length = int(self.headers.get("Content-Length") or 0)
            status, text = reply(self.path, self.rfile.read(length).decode()) if reply else (405, "")
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer(get)

        def do_POST(self):
            self.answer(post)

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
