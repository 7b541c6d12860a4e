// A page of somebody else, open in the same browser: under a name of its own, and under that name on our ports.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { launch } from './browser.mjs';
import { PATIENCE, Server, eventually } from './server.mjs';

const FOREIGN = 'evil.example'; // which leads to this machine, as after DNS rebinding
let browser, server, site, page, placed, asPlaced;

const order = async () => (await fetch(server.tracking(`/orders/${placed.orderid}`))).json();
const foreign = (url) => url.replace('127.0.0.1', FOREIGN);
const neighbour = () => `http://127.0.0.1:${site.address().port}`; // another port of this machine, which is of the same site
const pages = () => [server.shop('/'), server.tracking(`/track/${placed.handle}`), server.tracking('/nowhere'), server.ops('/'), server.ops('/mailbox')];

before(async () => {
  browser = await launch([`--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`]);
  server = await Server.start();
  site = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html><title>evil</title>'));
  await once(site.listen(0, '127.0.0.1'), 'listening');
  placed = await server.place('1080');
  asPlaced = await eventually('the order', async () => { const is = await order(); return is.estado && is; });
  const context = await browser.newContext({ locale: 'en-GB' });
  context.setDefaultTimeout(PATIENCE);
  page = await context.newPage();
  // who is attacked has been here before
  for (const url of [server.shop('/'), server.tracking(`/track/${placed.handle}`), server.ops('/')]) assert.ok((await page.goto(url)).ok());
});
after(async () => {
  await browser.close();
  site.close();
  await server.end();
});

/** Sends a form of the page that is open, without anybody's doing; the answer. */
async function post(action, enctype) {
  const [answer] = await Promise.all([page.waitForNavigation(), page.evaluate((attributes) => {
    const form = Object.assign(document.createElement('form'), { method: 'post', ...attributes });
    form.innerHTML = '<input name="confirm" value="yes"><input name="value" value="1">';
    document.body.append(form);
    form.submit();
  }, { action, enctype })]);
  return answer;
}

const frame = (url) => page.evaluate((src) => document.body.append(Object.assign(document.createElement('iframe'), { src })), url);

test('no form of a foreign page changes anything', { timeout: 2 * PATIENCE }, async () => {
  const { orderid, handle } = placed;
  for (const action of [
    server.shop('/'), server.shop('/orders'), server.shop('/checkout'),
    server.tracking(`/track/${handle}/cancel`), server.tracking(`/orders/${orderid}/cancel`), server.tracking('/lookup'),
    server.ops(`/orders/${orderid}/cancel`), server.ops('/failures/decide'),
  ]) {
    for (const kind of ['application/x-www-form-urlencoded', 'text/plain']) {
      await page.goto(foreign(neighbour()));
      assert.equal((await post(action, kind)).status(), 403, `${action} as ${kind}`);
    }
  }
  const { seq, waits } = await order();
  assert.deepEqual({ seq, waits }, { seq: asPlaced.seq, waits: asPlaced.waits });
  assert.equal((await server.place('1080')).orderid, orderid + 1, 'nothing was ordered');
});

test('no page of ours shows in a frame', { timeout: 2 * PATIENCE }, async () => {
  for (const url of pages()) {
    await page.goto(foreign(neighbour()));
    const refused = page.waitForResponse((answer) => answer.url() === url);
    await frame(url);
    assert.equal((await refused).status(), 403, url);
    // of the same site it is answered, and the browser keeps to the page's policy
    await page.goto(neighbour());
    const blocked = page.waitForEvent('requestfailed', (request) => request.url() === url);
    await frame(url);
    assert.equal((await blocked).failure().errorText, 'net::ERR_BLOCKED_BY_RESPONSE', url);
  }
});

test('a foreign page reads nothing, whatever its name leads to', { timeout: 2 * PATIENCE }, async () => {
  await page.goto(foreign(neighbour()));
  for (const url of pages()) {
    const read = await page.evaluate((from) => fetch(from).then((answer) => answer.text(), (error) => String(error)), url);
    assert.match(read, /Failed to fetch/, url);
  }
  for (const url of [...pages(), server.shop('/products'), server.tracking(`/?value=${placed.orderid}`), server.ops('/metrics')]) {
    assert.equal((await page.goto(foreign(url))).status(), 403, url);
    assert.doesNotMatch(await page.content(), /ana@|Cafetera|encargo_/);
  }
});
