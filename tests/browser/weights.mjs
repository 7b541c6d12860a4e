// What pages weigh, and what a search, people who watch their orders and an open desk cost: `scripts/weights`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { launch, reader } from './browser.mjs';
import { scene } from './scene.mjs';
import { eventually, Server } from './server.mjs';

/** Bytes that a page may make a reader load who was never there: everything it loads, compressed, with all headers. */
export const limit = (name) => (name.startsWith('desk-') ? 120_000 : 50_000);

/** Bytes that a page makes a reader load who was never there. */
export async function firstLoad(browser, address) {
  const { context, page, close } = await reader(browser, {}, [/404/]);
  const wire = await context.newCDPSession(page);
  let bytes = 0;
  wire.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
  await wire.send('Network.enable');
  await page.goto(address, { waitUntil: 'load' });
  await close();
  return bytes;
}

const SEARCHES = 1000, WATCHERS = 1000, SECONDS = 20, TICKS = 100;
const ACCEPTED = 'encargo_orders_accepted_total{via="json"}';
const RATE = 1500, PAIRS = 12, WINDOW = 4, WARM = 10;
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

/** Megabytes in memory now, and seconds of CPU so far, of a process. */
async function usage({ pid }) {
  const [status, stat] = await Promise.all(['status', 'stat'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8')));
  const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number);
  return { memory: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024, cpu: (user + system) / TICKS };
}

/** What is searched for: words of the catalogue, every other one with a letter missing. */
async function words(catalog) {
  const rows = (await readFile(catalog, 'utf8')).split('\n').slice(1);
  const names = rows.map((row) => /[\p{L}\d]{4,}/u.exec(row.slice(row.indexOf(',')))?.[0]).filter(Boolean);
  const chosen = names.filter((_, row) => row % Math.ceil(names.length / SEARCHES) === 0);
  return chosen.map((word, index) => (index % 2 ? word : word.slice(0, 2) + word.slice(3)));
}

/** Asks one after the other on one connection, and reads all of it; milliseconds of each, sorted. */
async function ask(addresses) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times = [];
  for (const address of addresses) {
    const begun = performance.now();
    await new Promise((resolve, reject) => {
      get(address, { agent, headers: { accept: 'text/html' } }, (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`${address}: ${answer.statusCode}`));
        answer.on('end', resolve).resume();
      }).on('error', reject);
    });
    times.push(performance.now() - begun);
  }
  agent.destroy();
  return times.sort((one, other) => one - other);
}

async function pagesWeigh(browser) {
  const server = await Server.start();
  try {
    for (const [name, address] of Object.entries(await scene(server))) {
      const bytes = await firstLoad(browser, address);
      console.log(`${name.padEnd(16)} ${(bytes / 1000).toFixed(1).padStart(6)} kB of ${limit(name) / 1000}`);
    }
  } finally {
    await server.end();
  }
}

async function searchCosts(catalog) {
  const server = await Server.start({ ENCARGO_CATALOG: catalog });
  try {
    const searches = (await words(catalog)).map((word) => server.shop(`/?q=${encodeURIComponent(word)}`));
    await ask(searches.slice(0, 100));
    const before = await usage(server.child);
    const times = await ask(searches);
    const { cpu } = await usage(server.child);
    const quantile = (part) => times[Math.floor(times.length * part)].toFixed(1);
    const each = ((cpu - before.cpu) * 1000) / times.length;
    console.log(`search           ${each.toFixed(1)} ms of CPU each; answered in ${quantile(0.5)} ms (median), ${quantile(0.99)} ms (99 %), ${times.length} searches`);
  } finally {
    await server.end();
  }
}

async function watchersCost() {
  const server = await Server.start({ ENCARGO_HTTP_CONNECTIONS_MAX: String(WATCHERS * 2) });
  const streams = [];
  try {
    const { handle } = await server.place('1080');
    await eventually('the order shows', async () => (await fetch(server.tracking(`/track/${handle}`))).ok);
    const open = async () => {
      const stream = await new Promise((resolve, reject) => {
        get(server.tracking(`/track/${handle}/events`), { agent: false }, resolve).on('error', reject);
      });
      if (stream.statusCode !== 200) throw new Error(`a stream is refused: ${stream.statusCode}`);
      stream.on('error', () => {}).resume();
      streams.push(stream);
    };
    await pause(2);
    const [alone, idle] = [await usage(server.child), (await pause(SECONDS), await usage(server.child))];
    for (let opened = 0; opened < WATCHERS; opened += 50) await Promise.all(Array.from({ length: 50 }, open));
    await pause(2);
    const before = await usage(server.child);
    await pause(SECONDS);
    const after = await usage(server.child);
    const share = (from, to) => ((to.cpu - from.cpu) / SECONDS) * 100;
    console.log(`${WATCHERS} watchers    ${(after.memory - idle.memory).toFixed(1)} MB, ${(share(before, after) - share(alone, idle)).toFixed(1)} % of a core, ${SECONDS} s without news`);
  } finally {
    for (const stream of streams) stream.destroy();
    await server.end();
  }
}

/** What the server computes for each order in every other window, in which a desk is open, and in those between. */
export async function deskCosts() {
  const server = await Server.start({ ENCARGO_FLOW_FILE: undefined, ENCARGO_MAIL: 'none:' });
  const load = spawn(process.env.ENCARGO_BINARY, [
    'bench', '--target', server.shop(''), '--ops', server.ops(''), '--unaudited', '--no-mail', '--rate', `${RATE}`,
    '--duration', `${WARM + 2 * PAIRS * (WINDOW + 1)}s`,
  ], { stdio: 'ignore' });
  try {
    await pause(WARM);
    const windows = { shut: [], open: [] };
    for (let window = 0; window < 2 * PAIRS; window += 1) {
      const isOpen = window % 4 === 1 || window % 4 === 2; // shut, open, open, shut: what drifts counts for both
      const desk = isOpen ? get(server.ops('/'), { agent: false, headers: { accept: 'text/event-stream' } }, (events) => events.resume()) : null;
      desk?.on('error', () => {});
      await pause(0.5);
      const [before, from] = [await usage(server.child), await server.metric(ACCEPTED)];
      await pause(WINDOW);
      const [after, to] = [await usage(server.child), await server.metric(ACCEPTED)];
      windows[isOpen ? 'open' : 'shut'].push(((after.cpu - before.cpu) * 1e6) / (to - from));
      desk?.destroy();
      await pause(0.5);
    }
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const pairs = windows.open.map((open, pair) => open / windows.shut[pair] - 1);
    const more = mean(pairs);
    const error = Math.sqrt(mean(pairs.map((pair) => (pair - more) ** 2)) / (PAIRS - 1));
    console.log(`an open desk     ${mean(windows.open).toFixed(0)} µs of CPU an order beside ${mean(windows.shut).toFixed(0)} at ${RATE}/s: ${(100 * more).toFixed(1)} % more (± ${(100 * error).toFixed(1)}), ${PAIRS} pairs`);
  } finally {
    const ended = load.exitCode === null ? once(load, 'exit') : null;
    load.kill();
    await ended;
    await server.end();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const browser = await launch();
  try {
    await pagesWeigh(browser);
  } finally {
    await browser.close();
  }
  if (process.argv[2]) await searchCosts(process.argv[2]);
  await watchersCost();
  await deskCosts();
}
