// The page in Chromium, on the real backend: wider than the window tests, and stricter about what the page does.
import { copyFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";

import type { Locator, Page } from "@playwright/test";

import { artefact, malformed, model, scratch } from "../support/places";
import { hang } from "../support/nvml";
import { running, until } from "../support/processes";
import { accessible, expect, test } from "./bridge";

async function plan(page: Page, path: string): Promise<Locator> {
  await page.getByTestId("nav-optimizer").click();
  await page.getByTestId("source-file").click();
  await page.getByTestId("model-path").fill(path);
  await page.getByTestId("model-open").click();
  return page.getByTestId("plan-verdict");
}

test("the dashboard shows what the driver says, and nothing it does not say", async ({ open }) => {
  const page = await open();
  const card = page.getByTestId("gpu-card").first();
  await expect(card).toContainText("RTX 3090");
  await expect(card).toContainText("1.50");
  await expect(card).toContainText("61");
  await expect(card).toContainText("Power cap");
  await expect(page.getByTestId("status-source")).toContainText("NVML");
  await accessible(page);
  await page.screenshot({ path: artefact("browser-dashboard.png") });
});

test("a hung card dims with its age and comes back; the other goes on", async ({ open, bridge }) => {
  const page = await open();
  const [first, second] = [page.getByTestId("gpu-card").nth(0), page.getByTestId("gpu-card").nth(1)];
  await expect(second).toHaveAttribute("data-state", "live");
  bridge.describe([hang(1, 3000)]);
  await expect(second).toHaveAttribute("data-state", "timed_out");
  await expect(second).toContainText(/timed out.*\d+\s+s/);
  await expect(first).toHaveAttribute("data-state", "live");
  await expect(second).toHaveAttribute("data-state", "live");
});

test("context by keyboard, cache type, a plan that does not fit, and its fix", async ({ open }) => {
  const page = await open();
  const verdict = await plan(page, model("llama-3.1-8b-q4_k_m.gguf"));
  await expect(verdict).toContainText("Fits");
  const slider = page.getByRole("slider", { name: "Context" });
  await slider.focus();
  await page.keyboard.press("Home");
  const least = Number(await slider.getAttribute("aria-valuenow"));
  await page.keyboard.press("ArrowRight");
  await expect(slider).toHaveAttribute("aria-valuenow", String(least + 256));
  await page.keyboard.press("PageUp");
  await expect(slider).toHaveAttribute("aria-valuenow", String(least + 256 + 4096));
  await expect(page.getByTestId("plan-command")).toContainText(`-c ${least + 256 + 4096}`);
  await expect(page.getByTestId("plan-command")).toContainText("CUDA_VISIBLE_DEVICES=GPU-00000000");
  await accessible(page);

  // All of the trained context on the small card alone is too much.
  await page.getByRole("checkbox", { name: "Use GPU 0" }).uncheck();
  await page.getByTestId("context-input").fill("131072");
  await page.keyboard.press("Enter");
  await expect(verdict).toContainText("Does not fit");
  await expect(page.getByTestId("plan-apply")).toHaveCount(0);
  await page.screenshot({ path: artefact("browser-does-not-fit.png") });
  await page.getByTestId("plan-fix").click();
  await expect(verdict).toContainText("Fits");
  await expect(page.getByTestId("plan-command")).toContainText("CUDA_VISIBLE_DEVICES=GPU-00000001");
});

test("the border between the cards moves one layer per key, and back", async ({ open }) => {
  const page = await open();
  await plan(page, model("llama-3.3-70b-q4_k_m.gguf"));
  // Only layers have a border that can be moved; too large for one card, so that there is one.
  await page.getByTestId("mode").selectOption("layer");
  const command = page.getByTestId("plan-command");
  await page.getByTestId("context-input").fill("8192");
  await page.keyboard.press("Enter");
  const split = async (): Promise<string> => / --tensor-split (\S+)/.exec((await command.textContent()) ?? "")?.[1] ?? "";
  await expect(command).toContainText("-c 8192");
  await expect(command).toContainText("--split-mode layer");
  const best = await split();
  const [first = 0, second = 0] = best.split(",").map(Number);
  expect(first + second).toBe(81);
  await page.getByRole("slider", { name: /Border between/ }).focus();
  await page.keyboard.press("ArrowLeft");
  await expect(command).toContainText(`--tensor-split ${first - 1},${second + 1}`);
  await page.getByRole("button", { name: "Reset split" }).click();
  await expect(command).toContainText(`--tensor-split ${best}`);
});

test("what is no model is told calmly, as text", async ({ open }) => {
  const page = await open();
  const error = page.getByTestId("model-error");
  await plan(page, malformed("13-huge-tensor-count.gguf"));
  await expect(error).toContainText("tensors");
  await plan(page, "/tmp/<img src=x onerror=document.title='owned'>.gguf");
  await expect(error).toContainText("<img src=x onerror=");
  await expect(page).not.toHaveTitle("owned");
  await accessible(page);
});

test("apply, start, read the log, reload, stop, forget", async ({ open }) => {
  const path = join(scratch(), "browser-tiny.gguf");
  copyFileSync(model("tiny.gguf"), path);
  const page = await open();
  await expect(await plan(page, path)).toContainText("Fits");
  await page.getByTestId("plan-apply").click();
  await page.getByTestId("start").click();
  const state = page.getByTestId("session-state");
  await expect(state).toContainText("Ready", { timeout: 60_000 });
  await expect(page.getByTestId("log-line").first()).toContainText("Started");
  await page.getByRole("searchbox").or(page.getByPlaceholder("Search")).fill("listening");
  await expect(page.getByRole("log")).toContainText("listening");
  await accessible(page);
  await page.reload();
  await page.getByTestId("nav-launcher").click();
  await expect(state).toContainText("Ready");
  await expect(page.getByTestId("log-line").first()).toContainText("Started");
  await page.getByTestId("stop").click();
  await expect(state).toContainText("Stopped", { timeout: 30_000 });
  expect(running(path)).toEqual([]);
  await page.getByTestId("forget").click();
  await expect(state).toHaveCount(0);
});

test("only this machine's page with the token gets in", async ({ bridge }) => {
  const { origin } = new URL(bridge.url);
  const token = /token=(\w+)/.exec(bridge.url)?.[1] ?? "";
  const ask = (headers: Record<string, string>): Promise<number> =>
    fetch(`${origin}/api/overview`, { method: "POST", headers, body: "{}" }).then(({ status }) => status);
  const right = { authorization: `Bearer ${token}` };
  expect(await ask(right)).toBe(200);
  expect(await ask({})).toBe(401);
  expect(await ask({ authorization: `Bearer ${token.slice(1)}x` })).toBe(401);
  expect(await ask({ ...right, origin: "http://evil.example" })).toBe(403);
  const refused = new Promise((resolve) => {
    const upgrade = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" };
    get(`${origin}/events?token=wrong`, { headers: upgrade }, ({ statusCode }) => resolve(statusCode)).on("upgrade", () => resolve("let in"));
  });
  expect(await refused).toBe(401);
});

test("a backend that ends is said, not hidden", async ({ page, bridge }) => {
  await page.goto(bridge.url);
  await expect(page.getByTestId("gpu-card")).toHaveCount(2);
  bridge.child.kill("SIGTERM");
  await until("the end of serve", 20, () => bridge.child.exitCode !== null);
  await expect(page.getByRole("status").filter({ hasText: /not connected/i }).first()).toBeVisible();
});
