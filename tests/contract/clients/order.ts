// Places, follows and cancels an order with clients whose types a generator made of the OpenAPI documents.
//
// node order.js INTAKE TRACKING      (addresses; `intake.ts` and `tracking.ts` lie beside this file's copy)
import createClient from 'openapi-fetch';
import type { paths as Intake } from './intake.js';
import type { components, paths as Tracking } from './tracking.js';

const [, , intake, tracking] = process.argv;
const shop = createClient<Intake>({ baseUrl: intake });
const customer = createClient<Tracking>({ baseUrl: tracking });

function check(isTrue: boolean, seen: unknown): asserts isTrue {
  if (!isTrue) throw new Error(JSON.stringify(seen));
}

const key = (name: string) => ({ 'Idempotency-Key': name });

/** The order, once it is projected. */
async function track(path: { handle: string }): Promise<components['schemas']['Order']> {
  for (const begun = Date.now(); ;) {
    const { data, error } = await customer.GET('/track/{handle}', { params: { path } });
    if (data) return data;
    check(Date.now() - begun < 60_000, error);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

async function main() {
  const refused = await shop.POST('/orders', { body: { product: 'no such product', email: 'ana@example.org' } });
  check(refused.error?.status === 422, refused);

  const place = () => shop.POST('/orders', { body: { product: '1010', email: 'ana@example.org' }, params: { header: key('typescript') } });
  const { data: placed, error } = await place();
  check(placed !== undefined, error);
  check((await place()).data?.orderid === placed.orderid, placed);

  const path = { handle: placed.handle };
  const order = await track(path);
  check(order.estado === 'recibido' && !order.finished && order.name === 'Linterna de bolsillo "Faro"', order);
  const unconfirmed = await customer.POST('/track/{handle}/cancel', { params: { path, header: key('no') }, body: {} });
  check(unconfirmed.error?.status === 422, unconfirmed);
  const cancelled = await customer.POST('/track/{handle}/cancel', { params: { path, header: key('yes') }, body: { confirm: true } });
  check(cancelled.data?.orderid === placed.orderid, cancelled);
  check((await track(path)).closes === 'cancelled', order);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
