import { cleanup, fireEvent, render, screen, within } from "@testing-library/svelte";
import { afterEach, describe, expect, it, vi } from "vitest";

import type { DevicePlan, Fix, Line, PlanView } from "../../ipc/backend";
import Figures from "./Figures.svelte";
import Fixes from "./Fixes.svelte";
import { fixPrice, fixTitle, fixWords, lacking } from "./fixes";
import { bytesOf, PARTS, partsOf } from "./parts";
import Why from "./Why.svelte";
import { reasonOf, textOf } from "./why";

const GIB = 1024 ** 3;
const device = (index: number, short = 0): DevicePlan => ({
  gpu: `GPU-${index}`,
  index,
  name: "RTX 3090",
  total: 24 * GIB,
  layer_begin: 0,
  layer_end: 40,
  has_output: false,
  driver_context: { low: 0.1 * GIB, high: 0.5 * GIB, source: { kind: "published", cards: "the RTX 3090" } },
  memory: {
    weights: 19 * GIB,
    kv_cache: 2 * GIB,
    compute: GIB,
    output: 0,
    experts: 0,
    driver_context: 0.5 * GIB,
    others: 0,
    reserve: 0.5 * GIB,
    free: short > 0 ? 0 : GIB,
    short,
  },
});
const lines: Line[] = [
  {
    device: 0,
    part: "kv_cache",
    bytes: 2 * GIB,
    formula: "KV cache: 40 layers × 8 heads × 128 × 2 (K, V) × 16,384 cells × 2 bytes (f16)",
    terms: [
      { what: "K: 40 layers", bytes: GIB },
      { what: "V: 40 layers", bytes: GIB },
    ],
  },
  {
    device: 0,
    part: "compute",
    bytes: GIB,
    formula: "Compute buffer: the most at once",
    terms: [{ what: "Compute buffer: the most at once", bytes: GIB }],
  },
  { device: null, part: "output", bytes: 512, formula: "Logits: 128 values × 4 bytes × 1 slot", terms: [] },
];
const view = (short = 0): PlanView =>
  ({
    explanation: lines,
    plan: {
      devices: [device(0, short), device(1)],
      context: 16_384,
      layers_in_ram: 0,
      host: { weights: 0, experts: 0, kv_cache: 0, compute: 0, output: 512 },
      request: { cache_k: "f16", micro_batch: 512, parallel: 1 },
      verdict: {
        kind: "does_not_fit",
        short,
        gpu: 0,
        reason: "At 16,384 tokens GPU 0 lacks 1 GiB.",
        fixes: [
          { kind: "cache", cache: "q8_0", tokens: 16_384 },
          { kind: "context", tokens: 8192 },
        ],
      },
    },
  }) as unknown as PlanView;

afterEach(cleanup);

describe("why a figure is what it is", () => {
  it("is the planner's line for that part of that GPU, with its formula, terms and whose rule it is", () => {
    const reason = reasonOf(view(), { place: "gpu", device: 0, part: "kv_cache" });
    expect(reason).toMatchObject({ title: "KV cache on GPU 0", bytes: 2 * GIB });
    expect(reason?.source).toBe("llama.cpp: llama_kv_cache, llama_memory_recurrent");
    expect(reason?.formula).toBe("40 layers × 8 heads × 128 × 2 (K, V) × 16,384 cells × 2 bytes (f16)");
    expect(reason?.terms).toHaveLength(2);
  });
  it("does not say a formula twice", () => {
    expect(reasonOf(view(), { place: "gpu", device: 0, part: "compute" })?.terms).toEqual([]);
  });
  it("says that nothing is there rather than nothing, and makes nothing up", () => {
    const none = reasonOf(view(), { place: "gpu", device: 0, part: "others" });
    expect(none).toMatchObject({ bytes: 0, formula: "Nothing of this kind lies here." });
    expect(reasonOf(view(), { place: "gpu", device: 1, part: "kv_cache" })).toBeNull();
    expect(reasonOf(view(), { place: "host", part: "output" })?.title).toBe("Output in system RAM");
  });
  it("adds up what is left of a card, or lacks on it", () => {
    const cases = [[0, "Free on GPU 0", GIB], [3 * GIB, "Lacking on GPU 0", 3 * GIB]] as const;
    for (const [short, title, bytes] of cases) {
      const reason = reasonOf(view(short), { place: "gpu", device: 0, part: "free" });
      expect(reason).toMatchObject({ title, bytes });
      expect(reason?.terms.reduce((sum, term) => sum + term.bytes, 0)).toBe(23 * GIB);
      expect(reason?.terms.map((term) => term.what)).not.toContain("Others");
    }
  });
  it("tells experts apart from the other weights", () => {
    const moe = view();
    moe.plan.devices[0] = { ...device(0), memory: { ...device(0).memory, experts: 15 * GIB } };
    expect(reasonOf(moe, { place: "gpu", device: 0, part: "experts" })).toMatchObject({ title: "Experts on GPU 0", bytes: 15 * GIB });
    expect(reasonOf(moe, { place: "gpu", device: 0, part: "weights" })).toBeNull();
    expect(bytesOf(moe.plan.devices[0].memory, "weights")).toBe(4 * GIB);
    expect(reasonOf(moe, { place: "gpu", device: 0, part: "free" })?.terms.reduce((sum, term) => sum + term.bytes, 0)).toBe(23 * GIB);
    expect(partsOf(moe.plan).map(({ key }) => key)).toContain("experts");
    expect(partsOf(view().plan).map(({ key }) => key)).not.toContain("experts");
  });
  it("is text that can be sent to somebody", () => {
    const reason = reasonOf(view(), { place: "gpu", device: 0, part: "kv_cache" });
    expect(reason && textOf(reason)).toContain(`  ${GIB}  K: 40 layers\n`);
  });
  it("opens beside the figure, takes the keyboard, and gives it back", async () => {
    const anchor = document.createElement("button");
    document.body.append(anchor);
    const reason = reasonOf(view(), { place: "gpu", device: 0, part: "kv_cache" });
    if (reason === null) throw new Error("no reason");
    const onclose = vi.fn();
    const { unmount } = render(Why, { props: { reason, anchor, onclose } });
    const panel = screen.getByRole("dialog", { name: "Why: KV cache on GPU 0" });
    expect(document.activeElement).toBe(panel);
    const buttons = within(panel).getAllByRole("button");
    buttons.at(-1)?.focus();
    await fireEvent.keyDown(buttons.at(-1) ?? panel, { key: "Tab" });
    expect(document.activeElement).toBe(buttons[0]);
    await fireEvent.keyDown(panel, { key: "Escape" });
    await fireEvent.pointerDown(document.body);
    expect(onclose).toHaveBeenCalledTimes(2);
    unmount();
    expect(document.activeElement).toBe(anchor);
    anchor.remove();
  });
});

describe("figures", () => {
  it("are one stop of the Tab key, walked by arrows", async () => {
    const onask = vi.fn();
    render(Figures, { device: device(0, 2 * GIB), parts: PARTS.filter(({ key }) => key !== "experts"), open: null, onask });
    const buttons = screen.getAllByRole("button");
    expect(buttons.map((button) => button.tabIndex)).toEqual([0, -1, -1, -1, -1, -1, -1]);
    buttons[0]?.focus();
    await fireEvent.keyDown(buttons[0] ?? document.body, { key: "End" });
    expect(document.activeElement).toBe(buttons[6]);
    expect(buttons[6]?.textContent).toBe("−2.00");
    await fireEvent.click(buttons[1] ?? document.body);
    expect(onask).toHaveBeenCalledWith("kv_cache", buttons[1]);
  });
});

describe("ways to make it fit", () => {
  it("stand in the planner's order, each with its price and one click away", async () => {
    const onfix = vi.fn();
    render(Fixes, { view: view(GIB), onfix });
    const items = screen.getAllByRole("listitem").map((item) => item.textContent);
    expect(items[0]).toContain("K and V in 8.5 bits instead of 16, the context stays");
    expect(items[1]).toContain("8,192 tokens of context fewer, the KV cache stays f16");
    await fireEvent.click(screen.getByTestId("fix-1"));
    expect(onfix).toHaveBeenCalledWith({ kind: "context", tokens: 8192 });
  });
  it("name every GPU that lacks memory, the worst first", () => {
    const both = view(GIB);
    both.plan.devices = [device(0, GIB), device(1, 2 * GIB), device(2)];
    expect(lacking(both).replaceAll("\u00a0", " ")).toBe("GPU 1 lacks 2.00 GiB of 24.00 and GPU 0 lacks 1.00 GiB of 24.00.");
    const price = fixPrice({ kind: "cache", cache: "q4_0", tokens: 4096 }, 8192, { cache_k: "q8_0", micro_batch: 512, parallel: 1 });
    expect(price).toBe("K and V in 4.5 bits instead of 8.5, 4,096 tokens of context fewer");
  });
  it("have words and a price of every kind", () => {
    const request = { cache_k: "f16", micro_batch: 512, parallel: 4 } as const;
    const told = (fix: Fix) => [fixTitle(fix), fixPrice(fix, 8192, request), fixWords(fix)].map((text) => text.replaceAll("\u00a0", " "));
    expect(told({ kind: "ram", expert_layers: 12, layers: 0, bytes: 2 * GIB })).toEqual([
      "Experts of 12 layers in system RAM",
      "2.00 GiB are read from system RAM, which is slower; the context stays",
      "Use 2.00 GiB of RAM",
    ]);
    expect(told({ kind: "ram", expert_layers: 0, layers: 1, bytes: GIB })[0]).toBe("1 layer in system RAM");
    expect(told({ kind: "gpus", indices: [1, 2] })).toEqual(["GPU 1 and GPU 2 as well", "Nothing else changes", "Use GPU 1 and GPU 2"]);
    expect(told({ kind: "others", gpu: 0, bytes: GIB })).toEqual([
      "Free 1.00 GiB on GPU 0",
      "End what holds it, then look again; nothing else changes",
      "Look again",
    ]);
    expect(told({ kind: "micro_batch", tokens: 128 })[2]).toBe("Use batches of 128");
    expect(told({ kind: "parallel", requests: 1 })).toEqual(["1 request at once", "3 fewer, the context stays", "Use 1 request"]);
  });
});
