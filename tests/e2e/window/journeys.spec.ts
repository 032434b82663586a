// What a person does, in the built program's real window.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { modelFolder } from "../support/library";
import { hang, machine } from "../support/nvml";
import { artefact, malformed, model, nvmlLibrary, scratch } from "../support/places";
import { running, until } from "../support/processes";
import { Desk, type DeskOptions } from "./desk";

const by = (id: string): string => `[data-testid=${id}]`;

async function at<T>(options: DeskOptions, journey: (desk: Desk) => Promise<T>): Promise<T> {
  const desk = await Desk.open(options);
  try {
    return await journey(desk);
  } catch (error) {
    await desk.picture(artefact("failed.png")).catch(() => undefined);
    throw error;
  } finally {
    await desk.close();
  }
}

/** Opens a model by its path in the Optimizer. */
async function open(desk: Desk, path: string): Promise<void> {
  await desk.click(by("nav-optimizer"));
  await desk.click(by("source-file"));
  await desk.type(by("model-path"), path);
  await desk.click(by("model-open"));
}

/** Plans a model, applies the plan and waits until the engine is ready. */
async function start(desk: Desk, path: string): Promise<void> {
  await open(desk, path);
  await desk.reads(by("plan-verdict"), /^Fits/);
  await desk.click(by("plan-apply"));
  await desk.click(by("start"));
  await desk.reads(by("session-state"), /Ready(?! to launch)/, 60);
}

/** A copy of the tiny model under a name that no other process holds in its command line. */
function tinyModel(): string {
  const path = join(scratch(), "journey-tiny.gguf");
  copyFileSync(model("tiny.gguf"), path);
  return path;
}

test("open a model, see the plan, apply, start, get an answer, stop", async () => {
  const path = tinyModel();
  await at({ args: ["--mock"] }, async (desk) => {
    await desk.see(`${by("gpu-card")}[data-gpu-index="1"]`);
    await desk.picture(artefact("window-dashboard.png"));
    await open(desk, path);
    await desk.reads(by("plan-verdict"), /^Fits/);
    expect(await desk.text(by("plan-command"))).toContain("--split-mode none");
    await desk.picture(artefact("window-optimizer.png"));
    await desk.click(by("plan-apply"));
    await desk.click(by("start"));
    await desk.reads(by("session-state"), /Ready(?! to launch)/, 60);
    await desk.picture(artefact("window-launcher.png"));
    const [engine] = running(path).filter(({ command }) => command.includes("--port"));
    const port = /--port (\d+)/.exec(engine?.command ?? "")?.[1];
    const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages: [{ role: "user", content: "hello" }], max_tokens: 8 }),
    });
    expect(answer.status).toBe(200);
    const body = (await answer.json()) as { usage: { completion_tokens: number } };
    expect(body.usage.completion_tokens).toBeGreaterThan(0);
    await desk.click(by("stop"));
    await desk.reads(by("session-state"), /Stopped/, 30);
    expect(running(path)).toEqual([]);
  });
});

test("a 70B model falls on two cards, and the context follows the keyboard", async () => {
  await at({ args: ["--mock"] }, async (desk) => {
    await open(desk, model("llama-3.3-70b-q4_k_m.gguf"));
    await desk.reads(by("plan-verdict"), /Does not fit/);
    await desk.picture(artefact("window-does-not-fit.png"));
    // Whichever way out comes first; here it is the smaller cache that is wanted.
    await desk.run(`[...document.querySelectorAll("[data-testid^=fix-]")].find((it) => it.textContent.startsWith("Use q8_0")).click()`);
    await desk.reads(by("plan-verdict"), /^Fits/);
    await desk.reads(by("plan-command"), /-ctk q8_0/);
    expect(await desk.text(by("plan-command"))).toMatch(/--tensor-split \d+,\d+/);
    await desk.keys('[role=slider][aria-label="Context"]', "\uE014");
    await desk.reads(by("plan-command"), /-c 16640/);
    // Another plan is drawn when it is chosen, and the one asked for comes back.
    await desk.reads(by("plan-generation"), /\d ± \d/);
    await desk.click(by("alternative-1"));
    await desk.see(`${by("alternative-1")}[aria-pressed=true]`);
    await desk.picture(artefact("window-optimizer-70b.png"));
    await desk.click(by("alternative-none"));
    await desk.reads(by("plan-command"), /-c 16640/);
  });
});

/** What WebDriver calls keys. */
const KEY = { enter: "\uE007", escape: "\uE00C", down: "\uE015", right: "\uE014" };

test("the library by keyboard, a figure asked why, too much context and a way out of it", async () => {
  // What LM Studio keeps is found without being told.
  const home = scratch();
  mkdirSync(join(home, ".lmstudio"));
  symlinkSync(modelFolder(), join(home, ".lmstudio/models"));
  await at({ args: ["--mock"], env: { HOME: home } }, async (desk) => {
    await desk.click(by("nav-optimizer"));
    await desk.reads(by("library-list"), /LM Studio/);
    await desk.reads(by("library-list"), /unreadable/);
    await desk.reads(by("library-list"), /incomplete/);
    await desk.picture(artefact("window-no-model.png"));
    await desk.keys(by("library-filter"), `70b${KEY.down}`);
    await desk.keys(by("library-list"), KEY.enter);
    await desk.reads(by("plan-verdict"), /^(Fits|Does not fit)/);
    await desk.picture(artefact("window-library.png"));

    await desk.keys(by("figure-0-weights"), KEY.right);
    await desk.keys(by("figure-0-kv_cache"), KEY.enter);
    await desk.reads(by("why-formula"), /layers × 8 heads × 128/);
    await desk.picture(artefact("window-why.png"));
    await desk.keys(by("why"), KEY.escape);
    await desk.gone(by("why"));

    // So much that a smaller cache has room to spare: what simulated programs hold moves.
    await desk.type(by("context-input"), "16384");
    await desk.reads(by("plan-verdict"), /Does not fit, \d+\.\d\d\sGiB short/);
    await desk.reads(by("fixes"), /GPU \d lacks \d+\.\d\d GiB/);
    await desk.picture(artefact("window-fixes.png"));
    await desk.click(by("fix-0"));
    await desk.reads(by("plan-verdict"), /^Fits/);
  });
});

test("a catalogue model is planned before any download, and one typed by hand when its numbers are sound", async () => {
  await at({ args: ["--mock"] }, async (desk) => {
    await desk.click(by("nav-optimizer"));
    await desk.click(by("source-catalogue"));
    await desk.keys(by("catalogue-filter"), `qwen3 32b${KEY.enter}`);
    await desk.reads(by("plan-verdict"), /^Fits/);
    await desk.reads(by("catalogue-chosen"), /huggingface\.co\/Qwen\/Qwen3-32B/);
    await desk.picture(artefact("window-catalogue.png"));
    await desk.click(by("plan-apply"));
    await desk.click(by("start"));
    await desk.reads(by("start-error"), /no file/);

    await desk.click(by("nav-optimizer"));
    await desk.click(by("source-custom"));
    const numbers = { layers: "32", embedding: "4096", feed_forward: "14336", vocab: "128256", context: "131072", heads: "30" };
    for (const [field, text] of Object.entries(numbers)) await desk.type(`#custom-${field}`, text);
    await desk.reads(by("custom-state"), /Values per head/);
    await desk.picture(artefact("window-custom.png"));
    await desk.type("#custom-heads", "32");
    await desk.reads(by("custom-state"), /planned/);
    await desk.reads(by("plan-verdict"), /^Fits/);
  });
});

test("a file that is no model gives a calm panel that says what and where", async () => {
  const cut = join(scratch(), "cut.gguf");
  copyFileSync(malformed("10-truncated-in-tensor-infos.gguf"), cut);
  await at({ args: ["--mock"] }, async (desk) => {
    for (const [path, words] of [
      [cut, /ends|truncated|cut/i],
      [malformed("01-empty.gguf"), /empty|0 bytes|ends/i],
      [malformed("02-bad-magic.gguf"), /GGUF/],
      [malformed("13-huge-tensor-count.gguf"), /tensor/i],
      ["/nonexistent/model.gguf", /nonexistent/],
    ] as const) {
      await open(desk, path);
      await desk.reads(by("model-error"), words);
    }
    await desk.picture(artefact("window-model-error.png"));
    truncateSync(cut, 0);
    await desk.click(by("nav-dashboard"));
    await desk.see(by("gpu-card"));
  });
});

test("without a driver the window says what was looked for and offers simulated GPUs", async () => {
  // In the plain C locale too, in which WebKitGTK reports a language that is none.
  const env = { DUALGPUOPT_NVML_LIBRARY: "/nonexistent/libnvidia-ml.so.1", LC_ALL: "C", LANG: "C" };
  await at({ env }, async (desk) => {
    expect(await desk.reads(by("no-driver"), /NVML/i)).toContain("/nonexistent/libnvidia-ml.so.1");
    await desk.picture(artefact("window-no-driver.png"));
    await desk.click(by("use-simulated"));
    await desk.see(`${by("gpu-card")}[data-gpu-index="1"]`);
    await desk.reads(by("status-source"), /Simulated/);
  });
});

test("a driver that hangs in one call for 10 s: that GPU says timed out with its age, and recovers", async () => {
  const script = join(scratch(), "nvml.json");
  writeFileSync(script, JSON.stringify(machine()));
  const env = { DUALGPUOPT_NVML_LIBRARY: nvmlLibrary(), DUALGPUOPT_TEST_NVML: script, DUALGPUOPT_POLL_INTERVAL: "0.5" };
  await at({ env }, async (desk) => {
    const card = (index: number): string => `${by("gpu-card")}[data-gpu-index="${index}"]`;
    const state = (index: number): Promise<string | null> => desk.attribute(card(index), "data-state");
    await desk.see(card(1));
    await until("both cards live", 15, async () => (await state(0)) === "live" && (await state(1)) === "live");
    writeFileSync(script, JSON.stringify(machine([hang(1, 10_000)])));
    await until("GPU 1 timed out", 15, async () => (await state(1)) === "timed_out");
    await desk.reads(card(1), /timed out.*\d+ s/is);
    expect(await state(0)).toBe("live");
    // The window keeps answering meanwhile.
    const began = Date.now();
    await desk.click(by("nav-optimizer"));
    await desk.click(by("nav-dashboard"));
    expect(Date.now() - began).toBeLessThan(3000);
    await desk.picture(artefact("window-timed-out.png"));
    await until("GPU 1 live again", 30, async () => (await state(1)) === "live");
  });
});

test("killing the program with SIGKILL while a model runs leaves no engine", async () => {
  const path = tinyModel();
  await at({ args: ["--mock"] }, async (desk) => {
    await start(desk, path);
    expect(running(path).length).toBeGreaterThan(0);
    process.kill(desk.app().pid, "SIGKILL");
    await until("no engine process", 30, () => running(path).length === 0);
  });
});

test("closing the window ends the engine and then the program", async () => {
  const path = tinyModel();
  await at({ args: ["--mock"] }, async (desk) => {
    await start(desk, path);
    const { pid } = desk.app();
    const closer = join(import.meta.dirname, "close_window.py");
    const asked = spawnSync("/usr/bin/python3", [closer, "DualGPUOptimizer"], {
      env: { ...process.env, DISPLAY: desk.display },
      encoding: "utf8",
    });
    expect(asked.stderr + String(asked.status)).toBe("0");
    await until("no engine process", 30, () => running(path).length === 0);
    await until("the program's end", 30, () => !running("dualgpuopt-desktop").some((process) => process.pid === pid));
  });
});
