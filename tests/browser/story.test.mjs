// A customer and a shop, from the first search to the last mail, as they meet the pages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, reader } from './browser.mjs';
import { PATIENCE, Server, eventually } from './server.mjs';

const STORY = { timeout: 3 * PATIENCE };
const heading = (page, name) => page.getByRole('heading', { level: 1, name });
let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

async function withServer(settings, story) {
  const server = await Server.start(settings);
  try { await story(server); } finally { await server.end(); }
}

/** From the shop's first page to the tracking page, as somebody does who types. */
async function order(page, server, { words = 'cafetera', email = 'ana@example.org' } = {}) {
  await page.goto(server.shop('/'));
  await page.getByRole('searchbox').fill(words);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: /cafetera/i }).first().click();
  await page.getByLabel('Tu correo').fill(email);
  await page.getByRole('button', { name: /^Pedir/ }).click();
  await page.waitForURL(/\/track\/[^/]+$/);
}

test('an order is found, placed, followed to its end, and its mails are read', STORY, () => withServer({ ENCARGO_DWELL: '2s' }, async (server) => {
  const { page, close } = await reader(browser);
  await order(page, server, { words: 'cafetra' }); // a typo
  const follower = await reader(browser);
  await follower.page.goto(page.url());
  for (const state of ['Lo estamos preparando', 'Va en camino', 'Está completo']) {
    await Promise.all([heading(page, state).waitFor(), heading(follower.page, state).waitFor()]); // both live
  }
  assert.match(await page.title(), /^(Está completo|Completado)/);
  assert.ok(!(await page.content()).includes('ana@example.org'), 'the address is masked');
  await page.goto(server.ops('/mailbox?lang=es'));
  await eventually('four mails', async () => { await page.reload(); return (await page.getByText(/ana@example\.org/).count()) >= 4; });
  await follower.close();
  await close();
}));

test('without JavaScript, on a phone, everything works by links and forms', STORY, () => withServer({ ENCARGO_DWELL: '20s' }, async (server) => {
  const { page, close } = await reader(browser, { javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
  await order(page, server);
  await heading(page, 'Lo tenemos').waitFor();
  await page.getByRole('link', { name: /Cancelar el pedido/ }).click();
  await page.getByRole('button', { name: 'Sí, cancelar' }).click();
  await heading(page, /cancelado/i).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'no page is wider than the phone');
  await close();
}));

test('however often the button is pressed, one order is placed', STORY, () => withServer({ ENCARGO_DWELL: '20s' }, async (server) => {
  const { page, close } = await reader(browser);
  await page.goto(server.shop('/'));
  await page.getByRole('searchbox').fill('cafetera');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: /cafetera/i }).first().click();
  await page.getByLabel('Tu correo').fill('ana@example.org');
  const checkout = page.url();
  await page.getByRole('button', { name: /^Pedir/ }).dblclick();
  await page.waitForURL(/\/track\/[^/]+$/);
  const first = page.url();
  await page.reload();
  await page.goto(checkout); // back, and once more
  await page.getByLabel('Tu correo').fill('ana@example.org');
  await page.getByRole('button', { name: /^Pedir/ }).click();
  await page.waitForURL(/\/track\/[^/]+$/);
  assert.equal(page.url(), first);
  await close();
}));

test('a page that is open while the server dies comes back, and is right', STORY, () => withServer({ ENCARGO_DWELL: '4s' }, async (server) => {
  const { page, close } = await reader(browser, {}, [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/]);
  await order(page, server);
  await heading(page, 'Lo estamos preparando').waitFor();
  await server.kill();
  await page.getByText('Reconectando…').first().waitFor();
  await server.again();
  await heading(page, 'Está completo').waitFor();
  await close();
}));

test('the empty desk fills with the first order, whose page follows it to its end', STORY, () => withServer({ ENCARGO_DWELL: '2s' }, async (server) => {
  const { page, close } = await reader(browser);
  await page.goto(server.ops('/?lang=es'));
  await page.locator('#first').waitFor();
  const { orderid } = await server.place('1080');
  await page.locator('#equation').getByText('Cuadra.').waitFor();
  assert.equal(await page.locator('#first').count(), 0);
  await eventually('the order on the desk', async () => (await page.goto(server.ops(`/orders/${orderid}?lang=es`))).ok());
  await page.locator('#facts .state', { hasText: 'Completado' }).waitFor();
  await page.locator('#why', { hasText: 'Está completo' }).waitFor();
  await close();
}));

test('the shop holds an order on the desk, lets it go on, and cancels another', STORY, () => withServer({ ENCARGO_DWELL: '5s' }, async (server) => {
  const { page, close } = await reader(browser);
  const [first, second] = [await server.place('1080'), await server.place('1050')];
  const act = async ({ orderid }, action, shown) => {
    await eventually(`order ${orderid} on the desk`, async () => (await page.goto(server.ops(`/orders/${orderid}?lang=es`))).ok());
    await page.getByRole('link', { name: action, exact: true }).click();
    await page.getByRole('button', { name: action, exact: true }).click();
    await page.getByText(shown).first().waitFor();
  };
  await act(first, 'Detener', 'Está detenido.');
  await act(second, 'Cancelar el pedido', 'Cancelado');
  await act(first, 'Reanudar', 'Reanudado');
  await page.goto(server.tracking(`/track/${first.handle}?lang=es`));
  await heading(page, 'Está completo').waitFor();
  await page.goto(server.tracking(`/track/${second.handle}?lang=es`));
  await heading(page, 'Pedido cancelado').waitFor();
  await close();
}));
