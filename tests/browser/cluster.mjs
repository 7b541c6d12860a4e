// Roles as processes of their own, on a log and a store of which tests/it/browser.rs tells by the environment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch, reader } from './browser.mjs';
import { PATIENCE, Server, eventually } from './server.mjs';

const GONE = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
const projected = async (tracking) => (await tracking.metric('encargo_events_projected_total{result="accepted"}')) || 0;

/** Places orders until one goes to a partition of the second process. */
async function orderOf(intake, first, second) {
  const counts = () => Promise.all([first, second].map(projected));
  return eventually('an order that the second process projects', async () => {
    const before = await counts();
    const placed = await intake.place('1080');
    const after = await eventually('its first event', async () => {
      const now = await counts();
      return now[0] + now[1] > before[0] + before[1] && now;
    });
    return after[1] > before[1] && placed;
  });
}

test('a page follows what another process projects, also after its own was killed', { timeout: 4 * PATIENCE }, async () => {
  const browser = await launch();
  const servers = [];
  const start = async (role, slot = 0) => {
    const server = await Server.start({ ENCARGO_SLOT: String(slot) }, role);
    servers.push(server);
    return server;
  };
  try {
    const [intake, , serving, other] = [await start('intake'), await start('fulfilment'), await start('tracking'), await start('tracking', 1)];
    const placed = await orderOf(intake, serving, other);
    // what the desk of one process says of the work that they share, and of what another one projected
    const shown = async (path) => (await fetch(serving.ops(`${path}?lang=en`))).text();
    const growth = await eventually('who reads the orders', async () => {
      const card = (await shown('/capacity')).match(/<b class="big n">(\d+)<\/b> workers at most.*<dt>Reading now<\/dt><dd>1<\/dd>/);
      return card && Number(card[1]);
    });
    assert.ok(growth > 1, `${growth} partitions`);
    assert.match((await shown(`/orders/${placed.orderid}`)).replaceAll('&#x2f;', '/'), /<code>compra_confirmada\S*\/\d+ · \d+<\/code>/);
    const own = await projected(serving);
    const readers = [await reader(browser, {}, GONE), await reader(browser)];
    const [page, beside] = readers.map((one) => one.page);
    const heading = (shown, name) => shown.getByRole('heading', { level: 1, name }).waitFor();
    await page.goto(serving.tracking(`/track/${placed.handle}`));
    await beside.goto(other.tracking(`/track/${placed.handle}`));
    await Promise.all([heading(page, 'Lo tenemos'), heading(beside, 'Lo tenemos')]);

    await other.change(placed, 'advance');
    await Promise.all([heading(page, 'Lo estamos preparando'), heading(beside, 'Lo estamos preparando')]);
    assert.equal(await projected(serving), own, 'the page was served by a process that projected nothing of this');

    await serving.kill();
    await page.getByText('Reconectando…').first().waitFor();
    await other.change(placed, 'advance');
    await heading(beside, 'Va en camino');
    await serving.again();
    await heading(page, 'Va en camino');
    await serving.change(placed, 'advance');
    await Promise.all([heading(page, 'Está completo'), heading(beside, 'Está completo')]);
    for (const one of readers) await one.close();
  } finally {
    for (const server of servers) await server.end();
    await browser.close();
  }
});
