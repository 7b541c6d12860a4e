// Pictures of all pages into a folder: NAME-LANG-SCHEME-WIDTH.png.
import { launch, reader } from './browser.mjs';
import { inLanguage, scene, trouble } from './scene.mjs';
import { Server } from './server.mjs';

const folder = process.argv[2];
const widths = (process.env.WIDTHS ?? '360,1280,2560').split(',').map(Number);
const langs = (process.env.LANGS ?? 'es,en').split(',');
const schemes = (process.env.SCHEMES ?? 'light,dark').split(',');
const browser = await launch();
const [server, troubled] = [await Server.start(), await trouble()];
try {
  const pages = { ...await scene(server), ...troubled.pages };
  for (const colorScheme of schemes) {
    for (const width of widths) {
      const { page, close } = await reader(browser, { colorScheme, viewport: { width, height: 900 } }, [/404/]);
      for (const lang of langs) {
        for (const [name, address] of Object.entries(pages)) {
          await page.goto(inLanguage(address, lang));
          // frames are loaded and painted when they come into view: all of them are brought there
          const [height, frames] = await page.evaluate(() => [document.documentElement.scrollHeight, document.querySelectorAll('iframe').length]);
          if (frames) {
            await page.setViewportSize({ width, height });
            await page.waitForLoadState('networkidle');
          }
          await page.screenshot({ path: `${folder}/${name}-${lang}-${colorScheme}-${width}.png`, fullPage: true });
          await page.setViewportSize({ width, height: 900 });
        }
      }
      await close();
    }
  }
} finally {
  await server.end();
  await troubled.end();
  await browser.close();
}
