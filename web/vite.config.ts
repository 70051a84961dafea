import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// One script, one style sheet, three fonts, all with fixed names: the bundle is committed.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: {
    outDir: "../src/eyeline/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: "src/main.ts",
      preserveEntrySignatures: "exports-only",
      output: {
        entryFileNames: "app.js",
        codeSplitting: false,
        assetFileNames: (asset) =>
          asset.names[0]?.endsWith(".css") ? "app.css" : "fonts/[name][extname]",
      },
    },
  },
});
