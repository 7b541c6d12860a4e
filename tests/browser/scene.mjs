// A small shop in which every page has something to show, and the pages by name.
import { eventually } from './server.mjs';

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
    'shop-empty': server.shop('/?q=zzzzzzzz'),
    checkout: server.shop('/checkout?product=1080'),
    'track-finished': track(finished),
    'track-held': track(held),
    'track-cancelled': track(cancelled),
    'track-cancel': `${track(held)}/cancel`,
    lookup: server.tracking('/lookup'),
    'lookup-sent': server.tracking('/lookup/sent'),
    'track-unknown': server.tracking('/track/none'),
    'desk-now': server.ops('/'),
    'desk-orders': server.ops('/orders'),
    'desk-order': server.ops(`/orders/${held.orderid}`),
    'desk-failures': server.ops('/failures'),
    'desk-log': server.ops('/log'),
    'desk-log-read': server.ops('/log?topic=compra_confirmada'),
    'desk-mailbox': server.ops('/mailbox'),
    'desk-ledger': server.ops('/ledger'),
    'desk-capacity': server.ops('/capacity'),
    'desk-gallery': server.ops('/mailbox/gallery'),
  };
}

/** The same page in another language. */
export const inLanguage = (address, lang) => {
  const url = new URL(address);
  url.searchParams.set('lang', lang);
  return url.href;
};
