// The shop's people at the desk: what has failed, and what is in the log.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, reader } from './browser.mjs';
import { Relay } from './relay.mjs';
import { PATIENCE, Server, eventually } from './server.mjs';

const STORY = { timeout: 3 * PATIENCE };
let browser; let relay; let server;
before(async () => {
  browser = await launch();
  relay = await Relay.start();
  server = await Server.start({ ENCARGO_MAIL: relay.url });
}, STORY);
after(async () => { await browser.close(); await server.end(); relay.end(); });

test('a mail that was refused for good is tried again at the desk, and arrives', STORY, async () => {
  const { page, close } = await reader(browser);
  await server.place('1080');
  await eventually('a mail that is taken', () => relay.taken.includes('ana@example.org'));
  relay.unknown.add('rosa@example.org');
  await server.place('1080', 'rosa@example.org');
  await eventually('the failure on the desk', async () => {
    await page.goto(server.ops('/failures?lang=es'));
    return page.getByText('r***@example.org').count();
  });
  relay.unknown.clear(); // her mailbox is there now
  await page.getByRole('link', { name: /Reintentar/ }).first().click();
  await page.getByRole('button', { name: /Reintentar/ }).click();
  await page.getByRole('status').getByText(/intentan? otra vez/).waitFor();
  await page.getByRole('heading', { level: 1, name: 'Nada ha fallado' }).waitFor();
  await eventually('the mail', () => relay.taken.includes('rosa@example.org'));
  await close();
});

test('the record of an order is found in the log, and leads to the order', STORY, async () => {
  const { page, close } = await reader(browser);
  const [, sought] = [await server.place('1080'), await server.place('1050', 'eva@example.org')];
  await page.goto(server.ops('/log?lang=es'));
  await page.locator('#topic').selectOption('compra_confirmada');
  await page.locator('#holds').fill(String(sought.orderid));
  await page.locator('#read form button').click();
  const record = page.locator('#read details.msg');
  await record.first().waitFor();
  assert.equal(await record.count(), 1, 'of all orders the one that was asked for');
  assert.ok(!(await page.content()).includes('eva@example.org'), 'the address is masked');
  await record.getByRole('link', { name: 'pedido' }).click();
  await page.waitForURL(new RegExp(`/orders/${sought.orderid}$`));
  await close();
});
