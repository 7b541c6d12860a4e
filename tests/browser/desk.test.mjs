// The shop's people at the desk: what goes on, what has failed, and what is in the log.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
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
  const wide = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'no page is wider than the phone');
  await page.setViewportSize(wide);
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

test('a list of orders is downloaded as it is filtered', STORY, async () => {
  const { page, close } = await reader(browser);
  const { orderid } = await server.place('1080', 'iris@example.org');
  await page.goto(server.ops('/orders?lang=es'));
  await orders(page, { orderid }).waitFor();
  await page.getByRole('searchbox').fill('iris@example.org');
  await page.getByRole('button', { name: 'Buscar' }).click();
  await page.getByText('1–1 de 1', { exact: true }).waitFor();
  const coming = page.waitForEvent('download');
  await page.getByRole('link', { name: 'CSV' }).click();
  const file = await coming;
  assert.equal(file.suggestedFilename(), 'orders.csv');
  const lines = (await readFile(await file.path(), 'utf8')).split('\r\n');
  assert.equal(lines[0], '\ufeffPedido,Producto,Precio,Cliente,Estado,Desde,Siguiente');
  assert.match(lines[1], new RegExp(`^${orderid},.*,iris@example\\.org,Recibido,`));
  assert.deepEqual(lines.slice(2), ['']);
  await close();
});

const OUTAGE = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
const orders = (page, { orderid }) => page.getByRole('rowheader', { name: String(orderid), exact: true });
const live = (page, words) => page.getByRole('status').getByText(words, { exact: true }).waitFor();

test('a page of the desk follows what happens, until it is paused', STORY, async () => {
  const [{ page, close }, other] = [await reader(browser), await reader(browser)];
  const asked = [];
  page.on('request', (request) => asked.push(request.resourceType()));
  for (const each of [page, other.page]) await each.goto(server.ops('/orders?lang=es'));
  await live(page, 'En directo');
  const first = await server.place('1080');
  await orders(page, first).waitFor();
  assert.deepEqual(asked.filter((kind) => ['document', 'eventsource', 'fetch'].includes(kind)), ['document', 'eventsource']);
  const clock = await page.locator('#clock').textContent();
  await page.waitForFunction((then) => document.getElementById('clock').textContent !== then, clock);
  await page.getByRole('button', { name: 'Pausar' }).click();
  await live(page, 'En pausa');
  const held = await page.locator('main').innerHTML();
  const second = await server.place('1080');
  await orders(other.page, second).waitFor(); // whoever has not paused sees it
  assert.equal(await page.locator('main').innerHTML(), held);
  await page.getByRole('button', { name: 'Seguir' }).click();
  await orders(page, second).waitFor();
  await live(page, 'En directo');
  await other.close();
  await close();
});

test('what has the focus keeps it while orders come in', STORY, async () => {
  const { page, close } = await reader(browser);
  const first = await server.place('1080');
  await page.goto(server.ops('/orders?lang=es'));
  await orders(page, first).getByRole('link').focus();
  await orders(page, await server.place('1080')).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), String(first.orderid));
  await close();
});

test('an open desk says that it has lost touch, and is right again when the server is back', STORY, async () => {
  const { page, close } = await reader(browser, {}, OUTAGE);
  await page.goto(server.ops('/orders?lang=es'));
  await live(page, 'En directo');
  await server.kill();
  await live(page, 'Reconectando…');
  await server.again();
  await orders(page, await server.place('1080')).waitFor();
  await live(page, 'En directo');
  await close();
});

test('where no stream is to be had, the page is asked for', STORY, async () => {
  const { page, close } = await reader(browser, {}, [/ERR_FAILED/]);
  await page.route('**', (route) => (route.request().resourceType() === 'eventsource' ? route.abort() : route.continue()));
  await page.goto(server.ops('/orders?lang=es'));
  await orders(page, await server.place('1080')).waitFor();
  await live(page, 'En directo');
  await close();
});

test('a desk that nobody sees rests, and an order\'s page is only asked for', STORY, async () => {
  const { page, close } = await reader(browser);
  const order = await server.place('1080');
  const hide = (isHidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
  const address = server.tracking(`/track/${order.handle}?lang=es`);
  await eventually('the page of the order', async () => (await fetch(address)).ok);
  await page.goto(address);
  await page.getByText('En directo').waitFor();
  await hide(true);
  const isAsked = page.waitForRequest((request) => request.resourceType() === 'fetch');
  await server.change(order, 'advance');
  await isAsked;
  await page.getByRole('heading', { level: 1, name: 'Lo estamos preparando' }).waitFor();
  await page.goto(server.ops('/orders?lang=es'));
  await live(page, 'En directo');
  await hide(true);
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  const other = await reader(browser);
  await other.page.goto(server.ops('/orders?lang=es'));
  const late = await server.place('1080');
  await orders(other.page, late).waitFor();
  assert.deepEqual([await orders(page, late).count(), asked], [0, []]);
  await hide(false);
  await orders(page, late).waitFor();
  await other.close();
  await close();
});
