import { existsSync } from "node:fs";

import { defineConfig } from "@playwright/test";

const browsers = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/snap/bin/chromium"];

export default defineConfig({
  outputDir: "../../artifacts/e2e",
  timeout: 90_000,
  expect: { timeout: 15_000 },
  forbidOnly: true,
  retries: 0,
  workers: 1,
  reporter: [["list"]],
  use: {
    viewport: { width: 1440, height: 900 },
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: browsers.find((path) => existsSync(path)),
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
    },
  },
  projects: [
    { name: "browser", testDir: "browser" },
    { name: "window", testDir: "window" },
    { name: "pictures", testDir: "pictures" },
  ],
});
