// Whether people can use every page: by axe, in both languages and schemes, on a phone and on a desk.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, reader, violations } from './browser.mjs';
import { inLanguage, scene } from './scene.mjs';
import { PATIENCE, Server } from './server.mjs';

let browser; let server; let pages;
before(async () => {
  browser = await launch();
  server = await Server.start();
  pages = await scene(server);
}, { timeout: 2 * PATIENCE });
after(async () => { await browser.close(); await server.end(); });

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
          if (wrong.length) found[name] = wrong;
        }
        assert.deepEqual(found, {});
        await close();
      });
    }
  }
}
