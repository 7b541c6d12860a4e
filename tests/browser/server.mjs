// The real binary as a child process, on a folder and ports of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** How long anything may take before the test fails: a busy machine takes its time. */
export const PATIENCE = 120_000;

// The states of always, in which an order stays until somebody moves it on: nothing has to be seen in time.
const FLOW = `name = "patient"\nversion = 1\n${['recibido', 'preparando', 'entregando']
  .map((state) => `[[step]]\nstate = "${state}"\nleave = "either"\ndwell = "1h"\n`).join('')}[[step]]\nstate = "finalizado"\n`;

export class Server {
  /** Starts `encargo up`, or one role, with settings of the environment, and waits until it is ready. Orders wait for `change`. */
  static async start(settings = {}, role = 'up') {
    const server = new Server();
    server.role = role;
    server.folder = await mkdtemp(join(tmpdir(), 'encargo-browser-'));
    server.settings = { ENCARGO_FLOW_FILE: 'flow.toml', ...settings };
    await writeFile(join(server.folder, 'flow.toml'), FLOW);
    server.listen = { intake: '127.0.0.1:0', tracking: '127.0.0.1:0', ops: '127.0.0.1:0' };
    await server.#spawn();
    return server;
  }

  async #spawn() {
    const env = { ...process.env, ...this.settings };
    for (const [name, address] of Object.entries(this.listen)) env[`ENCARGO_${name.toUpperCase()}_LISTEN`] = address;
    this.child = spawn(process.env.ENCARGO_BINARY, [this.role, '--json'], { env, cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = '';
    this.child.stderr.on('data', (text) => { this.log += text; });
    for await (const line of createInterface({ input: this.child.stdout })) {
      const said = JSON.parse(line);
      // a port once given stays; a role has some of the listeners
      for (const name of Object.keys(this.listen)) this.listen[name] = said[name] ?? this.listen[name];
      break;
    }
    await eventually('the server is ready', async () => (await fetch(this.ops('/readyz'))).ok, () => this.log);
  }

  shop(path) { return `http://${this.listen.intake}${path}`; }
  tracking(path) { return `http://${this.listen.tracking}${path}`; }
  ops(path) { return `http://${this.listen.ops}${path}`; }

  /** Places an order as a program does; its answer. */
  async place(product, email = 'ana@example.org') {
    const body = JSON.stringify({ product, email });
    const answer = await fetch(this.shop('/orders'), { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Changes an order as the shop does: `advance`, `hold`, `cancel`. */
  async change({ orderid }, verb) {
    const headers = { accept: 'application/json', 'idempotency-key': crypto.randomUUID() }; // once, however often it is asked
    await eventually(`${verb} of ${orderid}`, async () => {
      const answer = await fetch(this.tracking(`/orders/${orderid}/${verb}`), { method: 'POST', headers });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      return true;
    });
  }

  /** A metric's value. */
  async metric(sample) {
    const line = (await (await fetch(this.ops('/metrics'))).text()).split('\n').find((text) => text.startsWith(`${sample} `));
    return Number(line?.split(' ')[1]);
  }

  /** `kill -9`. */
  async kill() {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  /** The same on the same folder and ports, after `kill`. */
  async again() { await this.#spawn(); }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true });
  }
}

/** Asks until the answer is truthy; what stands in the way at the end goes into the error. */
export async function eventually(what, ask, more = () => '') {
  const end = Date.now() + PATIENCE;
  let last;
  while (Date.now() < end) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  throw new Error(`not within ${PATIENCE} ms: ${what}: ${last}\n${more()}`);
}
