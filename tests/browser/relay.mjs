// A mail relay, as far as a shop's relay needs it: it takes every mail, except to addresses that it does not know.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

export class Relay {
  /** Listens on a port of its own. `unknown` are the addresses that it refuses, `taken` those whose mails it has. */
  static async start() {
    const relay = new Relay();
    relay.unknown = new Set();
    relay.taken = [];
    relay.sockets = new Set();
    relay.listener = createServer((socket) => relay.#serve(socket)).listen(0, '127.0.0.1');
    await once(relay.listener, 'listening');
    relay.url = `smtp://127.0.0.1:${relay.listener.address().port}?connections=1`;
    return relay;
  }

  async #serve(socket) {
    this.sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.sockets.delete(socket)); // the server may be killed at any moment
    const say = (reply) => socket.write(`${reply}\r\n`);
    let [to, inData] = [null, false];
    say('220 relay.example ESMTP');
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      if (inData) {
        if (line !== '.') continue;
        inData = false;
        this.taken.push(to);
        say('250 2.0.0 taken');
      } else if (/^RCPT TO:/i.test(line)) {
        to = line.match(/<(.*)>/)[1];
        say(this.unknown.has(to) ? `550 5.1.1 <${to}>: User unknown` : '250 2.1.5 fine');
      } else if (/^DATA/i.test(line)) {
        inData = true;
        say('354 go on');
      } else if (/^QUIT/i.test(line)) {
        socket.end('221 2.0.0 bye\r\n');
      } else {
        say('250 relay.example');
      }
    }
  }

  end() {
    this.listener.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
