"""A TCP proxy before each broker, so that a client can be cut off from one of them.

`proxy.py 1=LISTEN:TARGET 2=…` with ports on loopback; standard input takes `cut N` (connections are reset, new ones
too), `hold N` (they stay and nothing passes, as when packets are lost) and `heal`.
"""

import asyncio
import sys


class Proxy:
    def __init__(self, target):
        self.target, self.way, self.pairs = target, "open", set()
        self.passes = asyncio.Event()
        self.passes.set()

    def set(self, way):
        self.way = way
        if way == "hold":
            self.passes.clear()
            return
        self.passes.set()
        for writer in list(self.pairs):
            writer.transport.abort()  # after a hold as well: the other side has long given these up

    async def connection(self, reader, writer):
        if self.way == "cut":
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.pairs |= {writer, there}
        await asyncio.gather(self.pump(reader, there), self.pump(there_reader, writer))
        self.pairs -= {writer, there}

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.passes.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


async def main(arguments):
    proxies = {}
    for argument in arguments:
        name, _, ports = argument.partition("=")
        listen, _, target = ports.partition(":")
        proxies[name] = Proxy(int(target))
        await asyncio.start_server(proxies[name].connection, "127.0.0.1", int(listen))
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        for name, proxy in proxies.items():
            if line[0] == "heal" and proxy.way != "open":
                proxy.set("open")
            elif line[1:] == [name]:
                proxy.set(line[0])
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
