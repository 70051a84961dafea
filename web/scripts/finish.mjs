// What the bundler does not write: the page, and the licences of the fonts.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const out = new URL("../../src/eyeline/server/static/", import.meta.url);
const web = new URL("../", import.meta.url);
writeFileSync(new URL("index.html", out), readFileSync(new URL("index.html", web)));

const fonts = ["inter", "source-serif-4", "jetbrains-mono"];
const licences = fonts.map((font) => {
  const text = readFileSync(
    new URL(`node_modules/@fontsource-variable/${font}/LICENSE`, web),
    "utf8",
  );
  return `== ${font}\n\n${text.trim()}\n`;
});
writeFileSync(new URL("fonts/LICENSES.txt", out), licences.join("\n"));

const size = gzipSync(readFileSync(new URL("app.js", out))).length;
console.log(`app.js: ${(size / 1024).toFixed(1)} KB gzipped`);
if (size > 150 * 1024) throw new Error("app.js must stay within 150 KB gzipped");
