// Chromium, and what no page of ours may do in it: complain on its console, or ask anybody else for anything.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { PATIENCE } from './server.mjs';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Started by root in a container, Chromium has no sandbox to put its processes in. */
export const launch = (more = []) => chromium.launch({
  timeout: PATIENCE,
  executablePath: process.env.ENCARGO_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...more],
});

/** A reader with cookies of their own; `options` are Playwright's. `expected` are console lines that belong to a test. */
export async function reader(browser, options = {}, expected = []) {
  const context = await browser.newContext({ locale: 'es-ES', timezoneId: 'Europe/Madrid', ...options });
  context.setDefaultTimeout(PATIENCE);
  const wrong = [];
  context.on('page', (page) => {
    page.on('console', (line) => { if (line.type() === 'error' && !expected.some((known) => known.test(line.text()))) wrong.push(line.text()); });
    page.on('pageerror', (error) => wrong.push(String(error)));
    page.on('request', (request) => {
      const { hostname, protocol } = new URL(request.url());
      if (protocol !== 'data:' && hostname !== '127.0.0.1') wrong.push(`a request to ${hostname}`);
    });
  });
  const page = await context.newPage();
  return { context, page, async close() { await context.close(); assert.deepEqual(wrong, []); } };
}

/** What axe objects to on a page, in words. Its script is let past the page's policy, so the context has `bypassCSP`. */
export async function violations(page) {
  await page.addScriptTag({ path: AXE });
  const found = await page.evaluate((tags) => axe.run(document, { runOnly: tags }), TAGS);
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(' | ')}`);
}
