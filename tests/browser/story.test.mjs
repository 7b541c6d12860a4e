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

async function withServer(story) {
  const server = await Server.start();
  try { await story(server); } finally { await server.end(); }
}

/** Where the desk shows an order, once it does. */
async function onDesk(server, orderid) {
  const address = server.ops(`/orders/${orderid}?lang=es`);
  await eventually(`order ${orderid} on the desk`, async () => (await fetch(address)).ok);
  return address;
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
  return (await fetch(page.url(), { headers: { accept: 'application/json' } })).json();
}

test('an order is found, placed, followed to its end, and its mails are read', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser);
  const placed = await order(page, server, { words: 'cafetra' }); // a typo
  const follower = await reader(browser);
  await follower.page.goto(page.url());
  for (const state of ['Lo estamos preparando', 'Va en camino', 'Está completo']) {
    await server.change(placed, 'advance');
    await Promise.all([heading(page, state).waitFor(), heading(follower.page, state).waitFor()]); // both live
  }
  assert.match(await page.title(), /^(Está completo|Completado)/);
  assert.ok(!(await page.content()).includes('ana@example.org'), 'the address is masked');
  await page.goto(server.ops('/mailbox?lang=es'));
  await page.locator('.mail-list li').nth(3).waitFor(); // they come by themselves
  const times = page.locator('.mail-list time'); // the server's are of UTC
  const told = (at) => new Date(at).toLocaleTimeString('es', { timeZone: 'Europe/Madrid', hourCycle: 'h23', hour: '2-digit', minute: '2-digit' });
  const shown = new RegExp(`(^|, )${told(await times.first().getAttribute('datetime'))}(:\\d\\d)?$`); // after midnight with its day
  assert.match(await times.first().textContent(), shown);
  await page.locator('[data-zone]').getByText('Europe/Madrid').waitFor();
  await page.locator('.mail-list a').last().click();
  const frame = page.locator('#mail iframe');
  await frame.contentFrame().getByRole('link', { name: 'Seguir mi pedido' }).waitFor();
  await frame.evaluate((shown) => { shown.isSame = true; });
  await server.place('1080', 'eva@example.org');
  await page.locator('.mail-list').getByText('eva@example.org').waitFor(); // beside the mail, which stays as it is
  assert.ok(await frame.evaluate((shown) => shown.isSame));
  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual([await page.locator('.mail-list').isVisible(), await frame.isVisible()], [false, true]);
  await page.getByRole('link', { name: 'Buzón', exact: true }).click();
  await page.locator('.mail-list').waitFor();
  await follower.close();
  await close();
}));

test('without JavaScript, on a phone, everything works by links and forms', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser, { javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
  await order(page, server);
  await heading(page, 'Lo tenemos').waitFor();
  await page.getByRole('link', { name: /Cancelar el pedido/ }).click();
  await page.getByRole('button', { name: 'Sí, cancelar' }).click();
  await heading(page, /cancelado/i).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'no page is wider than the phone');
  await close();
}));

test('who has lost the link asks for it, and finds it in the mailbox', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser, { viewport: { width: 360, height: 740 } });
  const placed = await server.place('1080');
  await eventually('the page of the order', async () => (await fetch(server.tracking(`/track/${placed.handle}`))).ok);
  await page.goto(server.shop('/'));
  await page.getByRole('link', { name: 'Mi pedido' }).click();
  const ask = async (number, email) => {
    await page.getByLabel('Número de pedido').fill(String(number));
    await page.getByLabel('Tu correo').fill(email);
    await page.getByRole('button', { name: 'Enviarme el enlace' }).click();
    await heading(page, 'Mira tu correo').waitFor();
    return page.locator('main').innerHTML();
  };
  const told = await ask(placed.orderid, 'eva@example.org');
  await page.getByRole('link', { name: 'Probar con otros datos' }).click();
  assert.equal(await ask(placed.orderid, 'ana@example.org'), told);
  assert.ok(!told.includes(placed.handle));
  await eventually('the mail', async () => {
    await page.goto(server.ops('/mailbox?lang=es'));
    return page.getByText(/El enlace a tu pedido/).count();
  });
  await page.getByText(/El enlace a tu pedido/).first().click();
  const link = page.frameLocator('iframe').getByRole('link', { name: 'Seguir mi pedido' });
  await page.goto(await link.getAttribute('href'));
  await heading(page, 'Lo tenemos').waitFor();
  await close();
}));

test('however often the button is pressed, one order is placed', STORY, () => withServer(async (server) => {
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
  assert.equal(await server.metric('encargo_orders_accepted_total{via="page"}'), 1);
  await close();
}));

test('a page that is open while the server dies comes back, and is right', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser, {}, [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/]);
  const placed = await order(page, server);
  await server.change(placed, 'advance');
  await heading(page, 'Lo estamos preparando').waitFor();
  await server.kill();
  await page.getByText('Reconectando…').first().waitFor();
  await server.again();
  for (let state = 2; state < 4; state += 1) await server.change(placed, 'advance');
  await heading(page, 'Está completo').waitFor();
  await close();
}));

test('the empty desk fills with the first order, whose page follows it to its end', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser);
  await page.goto(server.ops('/?lang=es'));
  await page.locator('#first').waitFor();
  const placed = await server.place('1080');
  const { orderid } = placed;
  await page.locator('#equation').getByText('Cuadra.').waitFor();
  assert.equal(await page.locator('#first').count(), 0);
  await page.goto(await onDesk(server, orderid));
  for (let state = 1; state < 4; state += 1) await server.change(placed, 'advance');
  await page.locator('#facts .state', { hasText: 'Completado' }).waitFor();
  assert.match(await page.locator('#line li').first().textContent(), /Pedido aceptado/, 'nothing comes before');
  await page.locator('#why', { hasText: 'Está completo' }).waitFor();
  await close();
}));

test('the shop holds an order on the desk, lets it go on, and cancels another', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser);
  const [first, second] = [await server.place('1080'), await server.place('1050')];
  const act = async ({ orderid }, action, shown) => {
    await page.goto(await onDesk(server, orderid));
    await page.getByRole('link', { name: action, exact: true }).click();
    await page.getByRole('button', { name: action, exact: true }).click();
    await page.getByText(shown).first().waitFor();
  };
  await act(first, 'Detener', 'Está detenido.');
  await act(second, 'Cancelar el pedido', 'Cancelado');
  await act(first, 'Reanudar', 'Reanudado');
  for (let state = 1; state < 4; state += 1) await server.change(first, 'advance');
  await page.goto(server.tracking(`/track/${first.handle}?lang=es`));
  await heading(page, 'Está completo').waitFor();
  await page.goto(server.tracking(`/track/${second.handle}?lang=es`));
  await heading(page, 'Pedido cancelado').waitFor();
  await close();
}));

test('the page of a late order is asked for once more, not for ever', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser);
  const placed = await server.place('1080');
  const address = server.tracking(`/track/${placed.handle}`);
  await eventually('the page of the order', async () => (await fetch(address)).ok);
  const due = Date.now() - 60_000;
  let asked = 0;
  await page.route(address, async (route) => {
    asked += 1;
    const html = (await (await route.fetch()).text()).replace(/data-due="\d+"/, `data-due="${due}"`);
    await route.fulfill({ body: html, contentType: 'text/html; charset=utf-8' });
  });
  await page.goto(address);
  await eventually('the page once more', () => asked > 1);
  const ticks = 10; // of this page's clock, as its script has them
  await page.evaluate((last) => new Promise((resolve) => {
    let n = 0;
    const ticking = setInterval(() => { n += 1; if (n === last) { clearInterval(ticking); resolve(); } }, 1000);
  }), ticks);
  assert.ok(asked < ticks / 2, `asked ${asked} times`); // its mails may have changed
  await close();
}));

test('an order that got no answer in time is said to be uncertain', STORY, () => withServer(async (server) => {
  const { page, close } = await reader(browser, {}, [/503/]);
  await page.route(/\/checkout/, async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    const body = JSON.stringify({ type: 'urn:encargo:problem:timeout', status: 503 });
    return route.fulfill({ status: 503, contentType: 'application/problem+json', headers: { 'retry-after': '3600' }, body });
  });
  await page.goto(server.shop('/checkout?product=1080&lang=es'));
  await page.getByLabel('Tu correo').fill('ana@example.org');
  await page.getByRole('button', { name: /^Pedir/ }).click();
  await page.locator('#note').getByText('No sabemos si tu pedido está hecho').waitFor();
  await close();
}));
