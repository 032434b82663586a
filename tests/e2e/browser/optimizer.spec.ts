// Choosing a model from each of the four sources, asking why, and what to do when a plan does not fit.
import type { Page } from "@playwright/test";

import { modelFolder } from "../support/library";
import { artefact } from "../support/places";
import { accessible, expect, test } from "./bridge";

async function optimizer(page: Page): Promise<void> {
  await page.getByTestId("nav-optimizer").click();
}

/** Opens the Optimizer with a folder of models in the library. */
async function library(page: Page): Promise<void> {
  await optimizer(page);
  await expect(page.getByTestId("library-empty")).toContainText("No models found");
  await page.getByTestId("folder-path").fill(modelFolder());
  await page.getByTestId("folder-add").click();
  await expect(page.getByTestId("library-list")).toBeVisible();
}

test("the library marks what fits, what does not and by how much, and what is no whole model", async ({ open }) => {
  const page = await open();
  await library(page);
  const options = page.getByTestId("library-list").getByRole("option");
  await expect(options).toHaveCount(4);
  const mark = (name: RegExp) => options.filter({ hasText: name }).getByTestId("fit-mark");
  await expect(mark(/8b/i)).toHaveText(/fits/);
  await expect(mark(/70b/i)).toHaveText(/too large by \d+\.\d\sGiB/);
  await expect(mark(/still-coming|cut/i)).toHaveText(/incomplete/);
  await expect(mark(/not-a-model/i)).toHaveText(/unreadable/);
  await accessible(page);
  await page.screenshot({ path: artefact("browser-library.png") });

  // By keyboard alone: filter, down to the list, choose.
  await page.getByTestId("library-filter").focus();
  await page.keyboard.type("8b q4");
  await expect(options).toHaveCount(1);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("plan-verdict")).toContainText("Fits");
  await expect(options.first()).toHaveAttribute("aria-selected", "true");
  await page.getByTestId("library-filter").focus();
  await page.keyboard.press("Escape");
  await expect(options).toHaveCount(4);

  // A folder that is taken off takes its models along; the plan stays.
  await page.getByTestId("folders").click();
  await page.getByRole("button", { name: /Look no more in/ }).click();
  await expect(page.getByTestId("library-empty")).toBeVisible();
  await expect(page.getByTestId("plan-verdict")).toContainText("Fits");
});

test("a folder that is not there is refused in words, and nothing else changes", async ({ open }) => {
  const page = await open();
  await optimizer(page);
  await page.getByTestId("folder-path").fill("/nonexistent/models");
  await page.getByTestId("folder-add").click();
  await expect(page.getByTestId("folder-error")).toContainText("/nonexistent/models");
  await expect(page.getByTestId("library-empty")).toBeVisible();
});

test("every figure can be asked why, and nothing moves for the answer", async ({ open }) => {
  const page = await open();
  await library(page);
  await page.getByTestId("library-list").getByRole("option").filter({ hasText: /8b/i }).click();
  const figure = page.getByTestId("figure-0-kv_cache");
  await expect(figure).toBeVisible();
  // The other plans come a moment after the plan, and with them their card.
  await expect(page.getByTestId("alternative-1")).toBeVisible();
  const parts = page.locator("main .card, main aside section");
  const places = () => parts.evaluateAll((all) => all.map((one) => JSON.stringify(one.getBoundingClientRect())));
  const before = await places();

  await page.getByTestId("figure-0-weights").focus();
  await page.keyboard.press("ArrowRight");
  await expect(figure).toBeFocused();
  await page.keyboard.press("Enter");
  const why = page.getByTestId("why");
  await expect(why).toBeFocused();
  await expect(page.getByTestId("why-formula")).toHaveText(/\d+ layers × 8 heads × 128 × 2 \(K, V\) × [\d,]+ cells × 2 bytes/);
  await expect(why).toContainText("llama_kv_cache");
  expect(await places()).toEqual(before);
  await accessible(page);
  await page.screenshot({ path: artefact("browser-why.png") });
  await page.keyboard.press("Escape");
  await expect(why).toHaveCount(0);
  await expect(figure).toBeFocused();

  // The pointer goes from one figure to the next without closing first.
  for (const key of ["weights", "compute", "driver_context", "others", "reserve", "free"]) {
    await page.getByTestId(`figure-1-${key}`).click();
    await expect(why).toHaveCount(1);
    await expect(page.getByTestId("why-formula")).not.toBeEmpty();
  }
  await page.getByTestId("figure-host-weights").click();
  await expect(why).toContainText("Token embedding in system RAM");
  await page.mouse.click(5, 5);
  await expect(why).toHaveCount(0);
});

test("a plan that does not fit says what lacks where, and each way out is one click", async ({ open }) => {
  const page = await open();
  await library(page);
  await page.getByTestId("library-list").getByRole("option").filter({ hasText: /8b/i }).click();
  const verdict = page.getByTestId("plan-verdict");
  await expect(verdict).toContainText("Fits");
  await page.getByRole("checkbox", { name: "Use GPU 0" }).uncheck();
  await page.getByTestId("context-input").fill("131072");
  await page.keyboard.press("Enter");
  await expect(verdict).toContainText(/Does not fit, \d+\.\d\d\sGiB short/);
  await expect(verdict).toContainText(/GPU\s1 needs \d+\.\d\d of 12\.00\sGiB/);
  const fixes = page.getByTestId("fixes");
  await expect(fixes).toContainText(/GPU\s1 lacks \d+\.\d\d\sGiB of 12\.00/);
  const titles = await fixes.getByRole("listitem").allTextContents();
  expect(titles.length).toBeGreaterThan(1);
  await accessible(page);
  await page.screenshot({ path: artefact("browser-fixes.png") });
  // What others hold is not ours to free.
  const ways = titles.flatMap((title, way) => (title.includes("Look again") ? [] : [way]));
  for (const way of ways) {
    await page.getByTestId(`fix-${way}`).click();
    await expect(verdict).toContainText("Fits");
    await expect(fixes).toHaveCount(0);
    await page.getByRole("checkbox", { name: "Use GPU 0" }).uncheck();
    if ((await page.getByTestId("ram").getAttribute("aria-checked")) === "true") await page.getByTestId("ram").click();
    await page.getByRole("radio", { name: "f16" }).click();
    await page.getByTestId("context-input").fill("131072");
    await page.keyboard.press("Enter");
    await expect(fixes.getByRole("listitem")).toHaveCount(titles.length);
  }
});

test("a goal is chosen, other plans are drawn at a letter, and the proof is told", async ({ open }) => {
  const page = await open();
  await library(page);
  await page.getByTestId("library-list").getByRole("option").filter({ hasText: /8b/i }).click();
  const verdict = page.getByTestId("plan-verdict");
  await expect(verdict).toContainText("Fits");
  for (const rate of ["plan-generation", "plan-prompt"]) await expect(page.getByTestId(rate)).toContainText(/\d\s+±\s\d/);
  await expect(page.getByTestId("certificate")).not.toBeEmpty();

  const rows = page.getByTestId("alternatives").getByRole("row");
  const [a, b] = [page.getByTestId("alternative-0"), page.getByTestId("alternative-1")];
  await expect(b).toBeVisible();
  expect(await rows.count()).toBeLessThanOrEqual(10);
  const command = page.getByTestId("plan-command");
  await verdict.click(); // nobody is typing
  await page.keyboard.press("a");
  await expect(a).toHaveAttribute("aria-pressed", "true");
  const best = await command.textContent();
  await page.keyboard.press("b");
  await expect(b).toHaveAttribute("aria-pressed", "true");
  await expect(command).not.toHaveText(best ?? "");
  await accessible(page);
  await page.screenshot({ path: artefact("browser-alternatives.png") });
  await b.focus();
  await page.keyboard.press("ArrowUp");
  await expect(a).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(a).toHaveAttribute("aria-pressed", "true");
  await expect(command).toHaveText(best ?? "");
  await page.getByTestId("alternative-none").click();
  await expect(page.getByTestId("alternative-none")).toHaveCount(0);

  // A letter that is typed is no choice.
  await page.getByTestId("library-filter").focus();
  await page.keyboard.type("b");
  await expect(page.getByTestId("alternative-none")).toHaveCount(0);

  await page.getByTestId("goal").selectOption("headroom");
  await expect(page.getByTestId("goal")).toHaveValue("headroom");
  await expect(verdict).toContainText("Fits");
});

test("the command comes in the form that is wanted, and a card that is not here is planned with but never started", async ({ open }) => {
  const page = await open();
  await library(page);
  await page.getByTestId("library-list").getByRole("option").filter({ hasText: /8b/i }).click();
  const command = page.getByTestId("plan-command");
  await page.getByRole("radio", { name: "systemd" }).click();
  await expect(command).toContainText("[Service]");
  await page.getByRole("radio", { name: "PowerShell" }).click();
  await expect(command).not.toContainText("[Service]");
  await page.getByRole("radio", { name: "bash" }).click();
  await expect(command).toContainText("llama-server");

  await page.getByTestId("what-if").click();
  await page.getByTestId("what-if-card").fill("RTX 4090");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("plan-verdict")).toContainText("What if: RTX 4090 were here");
  await expect(page.getByTestId("figure-2-free")).toBeVisible();
  await expect(page.getByTestId("plan-apply")).toBeDisabled();
  await accessible(page);
  await page.screenshot({ path: artefact("browser-what-if.png") });
  await page.getByRole("button", { name: "Plan without RTX 4090" }).click();
  await expect(page.getByTestId("plan-apply")).toBeEnabled();
});

test("system RAM takes what the GPUs cannot hold, and says so", async ({ open }) => {
  const page = await open();
  await library(page);
  await page.getByTestId("library-filter").fill("70b");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const verdict = page.getByTestId("plan-verdict");
  await expect(verdict).toContainText("Does not fit");
  await page.getByTestId("ram").click();
  await page.getByTestId("ram-input").fill("64");
  await page.keyboard.press("Enter");
  await expect(verdict).toContainText(/Fits with \d+\.\d\d\sGiB in RAM/);
  await expect(page.getByRole("img", { name: /^System RAM: / })).toBeVisible();
  await accessible(page);
  await page.screenshot({ path: artefact("browser-ram.png") });
});

test("a model of the catalogue is planned without a file; Start says where the file is", async ({ open }) => {
  const page = await open();
  await optimizer(page);
  await page.getByTestId("source-catalogue").click();
  await page.getByTestId("catalogue-filter").fill("llama 3.1 8b");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("plan-verdict")).toContainText("Fits");
  const quants = page.getByTestId("quant-list").getByRole("option");
  await expect(quants.filter({ has: page.getByTestId("fit-mark") })).not.toHaveCount(0);
  await quants.filter({ hasText: "Q4_K_M" }).click();
  await expect(page.getByTestId("plan-command")).toContainText("Q4_K_M");
  await accessible(page);
  await page.screenshot({ path: artefact("browser-catalogue.png") });
  await page.getByTestId("plan-apply").click();
  await expect(page.getByText("There is no file of this model yet.")).toBeVisible();
  await page.getByTestId("start").click();
  await expect(page.getByTestId("start-error")).toContainText("huggingface.co/meta-llama/Llama-3.1-8B");
});

test("a model typed by hand is checked at every key, and planned when it is sound", async ({ open }) => {
  const page = await open();
  await optimizer(page);
  await page.getByTestId("source-custom").click();
  const state = page.getByTestId("custom-state");
  await expect(state).toContainText("Still to fill");
  const field = (label: string) => page.getByRole("textbox", { name: label, exact: true });
  // Llama 3.1 8B, with one number wrong.
  const shape = { Layers: "32", Width: "4096", "Feed-forward width": "14336", Vocabulary: "128256", "Trained context": "131072" };
  for (const [label, text] of Object.entries({ ...shape, "KV heads": "7", Heads: "32" })) await field(label).fill(text);
  await expect(field("KV heads")).toHaveAccessibleDescription(/cannot share 7 key\/value heads/);
  await expect(page.getByTestId("plan-verdict")).toHaveCount(0);
  await field("Layers").fill("many");
  await expect(field("Layers")).toHaveAccessibleDescription(/whole number/);
  await accessible(page);
  await page.screenshot({ path: artefact("browser-custom.png") });
  await field("Layers").fill("32");
  await field("KV heads").fill("8");
  await expect(page.getByTestId("plan-verdict")).toContainText("Fits");
  await expect(state).toContainText("planned");
  const weights = await page.getByTestId("figure-0-weights").textContent();

  // The plan is that of the same model in the catalogue.
  await page.getByTestId("source-catalogue").click();
  await page.getByTestId("catalogue-filter").fill("llama 3.1 8b");
  await page.keyboard.press("Enter");
  await page.getByTestId("quant-list").getByRole("option").filter({ hasText: "Q4_K_M" }).click();
  await expect(page.getByTestId("plan-command")).toContainText("Q4_K_M");
  await expect(page.getByTestId("figure-0-weights")).toHaveText(weights ?? "");
});
