import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: "ui",
  // Relative addresses: the page is served by the window's own protocol and by `dualgpuopt serve` alike.
  base: "./",
  cacheDir: "../node_modules/.vite",
  plugins: [svelte({ configFile: false })],
  // Vitest would otherwise resolve Svelte's server build.
  resolve: process.env["VITEST"] === undefined ? {} : { conditions: ["browser"] },
  server: { port: 5173, strictPort: true },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    // The content security policy allows files of ours only: no data: fonts, no inline preload script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "happy-dom",
    restoreMocks: true,
  },
});
