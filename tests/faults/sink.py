"""An SMTP server that keeps nothing but a line of JSON per mail, in the order of arrival, before it says 250."""

import argparse
import asyncio
import json
import time


class Sink:
    def __init__(self, path):
        self.out = open(path, "a", encoding="utf-8")

    async def session(self, reader, writer):
        try:
            writer.write(b"220 sink\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    self.note(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 noted\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def note(self, mail):
        headers = {}
        for line in mail[: mail.index(b"\r\n\r\n")].decode().split("\r\n"):
            name, found, value = line.partition(": ")
            if found and not line[0].isspace():
                headers.setdefault(name.lower(), value)
        line = {
            "id": int(headers["x-order-id"]), "estado": headers.get("x-order-state", ""),
            "message_id": headers["message-id"], "to": headers["to"].rpartition("<")[2].rstrip(">"),
            "at": int(time.time() * 1000),
        }
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", required=True)
    options = parser.parse_args()
    sink = Sink(options.mails)
    server = await asyncio.start_server(sink.session, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
