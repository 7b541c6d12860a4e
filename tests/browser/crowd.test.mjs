// Many people who follow their orders at the same time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch, reader } from './browser.mjs';
import { PATIENCE, Server, eventually } from './server.mjs';

const READERS = 4;
const TABS = 5; // of each: Chromium opens six connections to a server for one reader, and every tab keeps one
const STREAMS = 9; // of each order, besides the one of its page

/** Opens a page, and its stream with it. */
async function show(page, address) {
  const stream = page.waitForResponse((answer) => answer.url().includes('/events') && answer.ok());
  await Promise.all([stream, page.goto(address)]);
}

test('two hundred streams at once tell each of its order to the end, and others are served', { timeout: 5 * PATIENCE }, async () => {
  const [browser, server] = [await launch(), await Server.start()];
  try {
    const [readers, tabs] = [[], []];
    while (readers.length < READERS) {
      const one = await reader(browser);
      readers.push(one);
      tabs.push(one.page);
      while (tabs.length < readers.length * TABS) tabs.push(await one.context.newPage());
    }
    const orders = await Promise.all(tabs.map((_, n) => server.place('1080', `customer${n}@example.org`)));
    const addresses = orders.map(({ handle }) => server.tracking(`/track/${handle}`));
    for (const address of addresses) await eventually('the page of an order', async () => (await fetch(address)).ok);
    for (const [n, address] of addresses.entries()) await show(tabs[n], address);
    const open = orders.flatMap(({ orderid }, n) => Array.from({ length: STREAMS }, async () => ({ orderid, answer: await fetch(`${addresses[n]}/events`) })));
    const streams = await Promise.all(open);
    assert.equal(tabs.length + streams.filter(({ answer }) => answer.ok).length, 200);
    let ended = 0;
    const told = streams.map(async ({ orderid, answer }) => {
      const text = await answer.text(); // to its end, to which the server brings it
      ended += 1;
      return { orderid, text };
    });

    const newcomer = await reader(browser);
    for (const state of ['Lo estamos preparando', 'Va en camino', 'Está completo']) {
      assert.equal(ended, 0, 'all are still open');
      await Promise.all(orders.map((order) => server.change(order, 'advance')));
      await Promise.all(tabs.map((tab) => tab.getByRole('heading', { level: 1, name: state }).waitFor()));
      await newcomer.page.goto(server.shop('/'));
      await newcomer.page.goto(addresses[0]);
      await newcomer.page.getByRole('heading', { level: 1, name: state }).waitFor();
    }
    for (const { orderid, text } of await Promise.all(told)) {
      assert.match(text, /"estado":"finalizado"[^]*event: end\n/);
      assert.deepEqual([...new Set(text.match(/"orderid":\d+/g))], [`"orderid":${orderid}`], 'of its own order');
    }
    for (const one of [...readers, newcomer]) await one.close();
  } finally {
    await server.end();
    await browser.close();
  }
});
