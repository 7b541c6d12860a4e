// Whether people can use every page: by axe, in both languages and schemes, on a phone and on a desk.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, reader, violations } from './browser.mjs';
import { inLanguage, scene, trouble } from './scene.mjs';
import { PATIENCE, Server } from './server.mjs';
import { firstLoad, limit } from './weights.mjs';

let browser; let server; let troubled; let guarded; let pages;
before(async () => {
  browser = await launch();
  server = await Server.start();
  troubled = await trouble();
  pages = { ...await scene(server), ...troubled.pages };
  guarded = await Server.start({ ENCARGO_OPS_TOKEN: 'let-me-in-0123456789' });
  pages['desk-login'] = guarded.ops('/login');
}, { timeout: 2 * PATIENCE });
after(async () => { await browser.close(); await server.end(); await troubled.end(); await guarded.end(); });

/** In the page: what is wider than the box that hides the rest of it, and does not say so by an ellipsis. A box of a pixel is for screen readers. */
const cut = () => [...document.querySelectorAll('main, main *')]
  .filter((box) => getComputedStyle(box).overflowX === 'hidden' && getComputedStyle(box).textOverflow !== 'ellipsis' && box.clientWidth > 1 && box.scrollWidth > box.clientWidth + 1)
  .map((box) => `${box.tagName}.${box.className} is cut off: ${box.scrollWidth} of ${box.clientWidth} px`);

for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    for (const lang of ['es', 'en']) {
      test(`no barrier on any page: ${lang}, ${colorScheme}, ${width} px`, { timeout: 5 * PATIENCE }, async () => {
        // axe's script is not ours; that the policy stops nothing of ours is seen in the story
        const { page, close } = await reader(browser, { colorScheme, viewport: { width, height: 900 }, bypassCSP: true }, [/404/]);
        const found = {};
        for (const [name, address] of Object.entries(pages)) {
          await page.goto(inLanguage(address, lang));
          const wrong = await violations(page);
          const [language, wide] = await page.evaluate(() => [document.documentElement.lang, document.documentElement.scrollWidth]);
          if (language !== lang) wrong.push(`is in ${language}`);
          if (wide > width) wrong.push(`is ${wide} px wide`);
          wrong.push(...await page.evaluate(cut));
          if (wrong.length) found[name] = wrong;
        }
        assert.deepEqual(found, {});
        await close();
      });
    }
  }
}

test('no page is heavy for somebody who comes for the first time', { timeout: 2 * PATIENCE }, async () => {
  for (const [name, address] of Object.entries(pages)) {
    const bytes = await firstLoad(browser, address);
    assert.ok(bytes > 1000 && bytes <= limit(name), `${name}: ${bytes} bytes`);
  }
});

test('people log in, and are led on to where a link on another site leads', { timeout: PATIENCE }, async () => {
  const { page, close } = await reader(browser, { bypassCSP: true }, [/401/]);
  const elsewhere = `data:text/html,${encodeURIComponent(`<a href="${guarded.ops('/orders?q=x')}">a link</a>`)}`;
  const follow = async () => { await page.goto(elsewhere); await page.click('a'); };
  await follow();
  for (const token of ['wrong', 'let-me-in-0123456789']) {
    await page.waitForURL(/\/login\?next=/);
    await page.fill('#token', token);
    await page.click('main button');
    if (token === 'wrong') {
      await page.waitForSelector('#token-e');
      assert.deepEqual(await violations(page), []);
    }
  }
  await page.waitForURL(guarded.ops('/orders?q=x'));
  await follow();
  await page.waitForURL(guarded.ops('/orders?q=x')); // the cookie does not come with the link, but is not asked for again
  await page.click('form[action="/logout"] button');
  await page.waitForURL(guarded.ops('/login'));
  await close();
});
