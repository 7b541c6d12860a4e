// A small shop in which every page has something to show, and the pages by name.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Relay } from './relay.mjs';
import { Server, eventually } from './server.mjs';

const json = async (url, options) => {
  const answer = await fetch(url, { headers: { accept: 'application/json' }, ...options });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
};

/** Makes one order that is finished, one that is held and one that is cancelled; the address of each page by its name. */
export async function scene(server) {
  // one of them to an address that is wider than a phone
  const [finished, held, cancelled] = [await server.place('1080'), await server.place('1050', 'ana.of.the.longest.street@branch.example.org'), await server.place('1100')];
  await server.change(held, 'hold');
  await server.change(cancelled, 'cancel');
  for (let state = 1; state < 4; state += 1) await server.change(finished, 'advance');
  await eventually('the end of the first order', async () => (await json(server.tracking(`/orders/${finished.orderid}`))).finished);
  const track = ({ handle }) => server.tracking(`/track/${handle}`);
  return {
    'shop-start': server.shop('/'),
    shop: server.shop('/?q=cuaderno'),
    'shop-docs': server.shop('/docs'),
    'shop-empty': server.shop('/?q=zzzzzzzz'),
    checkout: server.shop('/checkout?product=1080'),
    'track-finished': track(finished),
    'track-held': track(held),
    'track-cancelled': track(cancelled),
    'track-cancel': `${track(held)}/cancel`,
    lookup: server.tracking('/lookup'),
    'lookup-sent': server.tracking('/lookup/sent'),
    'track-unknown': server.tracking('/track/none'),
    'track-docs': server.tracking('/docs'),
    'desk-now': server.ops('/'),
    'desk-orders': server.ops('/orders'),
    'desk-order': server.ops(`/orders/${held.orderid}`),
    'desk-act': server.ops(`/orders/${held.orderid}/cancel`),
    'desk-failures': server.ops('/failures'),
    'desk-log': server.ops('/log'),
    'desk-log-read': server.ops('/log?topic=compra_confirmada'),
    'desk-mailbox': server.ops('/mailbox'),
    'desk-mail': server.ops(await mailOf(server, finished)),
    'desk-ledger': server.ops('/ledger'),
    'desk-capacity': server.ops('/capacity'),
    'desk-gallery': server.ops('/mailbox/gallery'),
    'desk-docs': server.ops('/docs'),
  };
}

/** Where the mailbox shows a mail about an order. */
async function mailOf(server, { orderid }) {
  return eventually('a mail in the mailbox', async () => {
    const list = await (await fetch(server.ops(`/mailbox?q=${orderid}`))).text();
    return list.replaceAll('&#x2f;', '/').match(/"(\/mailbox\/\d[^"]*)"/)?.[1];
  });
}

/** As if orders had come for five weeks. */
export const givePast = (server) => execFileSync('python3', [fileURLToPath(new URL('past.py', import.meta.url)), join(server.folder, 'encargo-data', 'store.db')]);

/** A shop with a past, whose mail server knows some customers no more: the address of each page that tells of that, and what ends it all. */
export async function trouble() {
  const relay = await Relay.start();
  const server = await Server.start({ ENCARGO_MAIL: relay.url });
  givePast(server);
  await server.place('1080');
  await eventually('a mail that is taken', () => relay.taken.length > 0); // a server that refuses everybody is believed less
  for (const [product, unknown] of [['1050', 'rosa@example.org'], ['1100', 'leo@example.org']]) {
    relay.unknown.add(unknown);
    await server.place(product, unknown);
  }
  await eventually('two failures', async () => (await json(server.ops('/ledger'))).mails.dead === 2);
  const pages = {
    'desk-now-todo': server.ops('/'),
    'desk-failures-two': server.ops('/failures'),
    'desk-failures-confirm': server.ops('/failures/decide?do=redrive'),
    'desk-capacity-foretold': server.ops('/capacity'),
    'desk-ledger-two': server.ops('/ledger'),
  };
  return { pages, async end() { await server.end(); relay.end(); } };
}

/** The same page in another language. */
export const inLanguage = (address, lang) => {
  const url = new URL(address);
  url.searchParams.set('lang', lang);
  return url.href;
};
