import { describe, expect, it } from "vitest";

import type { Alternative, Fix, Plan, PlanAsk, PlanRequest } from "../ipc/backend";
import { machine } from "./fake";
import { askOf, FIRST_WISH, fixed, isPlan, pinned, withGpu } from "./wish";

const GIB = 1024 ** 3;
const file = { kind: "file", path: "/m.gguf" } as const;
const ask = (wish = FIRST_WISH): PlanAsk => askOf(wish, file, () => GIB);

describe("a wish", () => {
  it("asks for the fastest plan, leaves the split to the planner and system RAM alone", () => {
    expect(ask()).toMatchObject({ goal: "fastest", mode: null, ram: null, all_gpus: false, split: null, depth: 0 });
  });
  it("offers system RAM only while that is switched on, and says nothing of its speed", () => {
    const ram = { used: true, bytes: 4 * GIB };
    expect(ask({ ...FIRST_WISH, ram }).ram).toEqual({ bytes: 4 * GIB, bandwidth_mb_s: null });
    expect(ask({ ...FIRST_WISH, ram: { ...ram, used: false } }).ram).toBeNull();
  });
  it("counts on cards that are not here only where they are named", () => {
    expect(ask()).toMatchObject({ added: [], only_added: false });
    expect(ask({ ...FIRST_WISH, added: ["RTX 4090"] }).added).toEqual(["RTX 4090"]);
  });
  it("ends a split by hand when GPUs come or go, not when they keep more free", () => {
    const wish = { ...FIRST_WISH, split: [4, 5] };
    expect(withGpu(wish, "GPU-1", { used: false }).split).toBeNull();
    expect(withGpu(wish, "GPU-1", { reserve: GIB }).split).toEqual([4, 5]);
    expect(ask(withGpu(FIRST_WISH, "GPU-1", { used: false })).gpus).toEqual([{ gpu: "GPU-1", used: false, reserve: GIB, most: null }]);
  });
});

describe("an alternative", () => {
  const request = {
    context: { kind: "tokens", tokens: 8192 },
    cache_k: "q8_0",
    cache_v: "q8_0",
    parallel: 2,
    micro_batch: 1024,
    devices: [{ gpu: "GPU-1", reserve: 5 }],
    split: [33],
    goal: "context",
    mode: "layer",
    ram: null,
    all_gpus: false,
    experts_in_ram: 3,
    depth: 0,
  } as unknown as PlanRequest;
  it("is asked for with every choice pinned, and with no GPU but its own", () => {
    const to = pinned({ ...ask(), port: 8081 }, { request } as Alternative, machine.gpus);
    for (const [choice, value] of Object.entries(request)) {
      if (choice !== "devices") expect(to).toHaveProperty(choice, value);
    }
    expect(to.gpus).toEqual([
      { gpu: "GPU-1", used: true, reserve: 5, most: null },
      { gpu: "GPU-0", used: false, reserve: 0, most: null },
    ]);
    expect([to.model, to.port]).toEqual([file, 8081]);
  });
});

describe("a plan among the alternatives", () => {
  const flags = { cache_k: "f16", cache_v: "f16", micro_batch: 512, parallel: 1 };
  const plan = { request: flags, mode: "layer", split: [4, 5], experts_in_ram: [0, 1] } as unknown as Plan;
  const alternative = (more: object) => ({ request: { ...flags, mode: "layer", split: [4, 5], experts_in_ram: 2, ...more } }) as unknown as Alternative;
  it("is the one with the same flags, and all in the same place", () => {
    expect(isPlan(alternative({}), plan)).toBe(true);
    const others = [{ cache_v: "q8_0" }, { micro_batch: 256 }, { mode: "tensor" }, { split: [5, 4] }, { split: null }, { experts_in_ram: 1 }, { experts_in_ram: null }];
    for (const other of others) expect(isPlan(alternative(other), plan)).toBe(false);
  });
});

describe("a fix", () => {
  const wish = withGpu({ ...FIRST_WISH, split: [4, 5] }, "GPU-1", { used: false });
  const after = (fix: Fix) => fixed(wish, fix, machine.gpus);
  it("changes what it names and nothing else", () => {
    const cases: [Fix, object][] = [
      [{ kind: "context", tokens: 512 }, { context: { kind: "tokens", tokens: 512 } }],
      [{ kind: "cache", cache: "q4_0", tokens: 512 }, { cache: "q4_0", context: { kind: "tokens", tokens: 512 } }],
      [{ kind: "micro_batch", tokens: 128 }, { microBatch: 128 }],
      [{ kind: "parallel", requests: 1 }, { parallel: 1 }],
      [{ kind: "others", gpu: 0, bytes: GIB }, {}],
    ];
    for (const [fix, change] of cases) expect(after(fix)).toEqual({ ...wish, ...change });
  });
  it("lets RAM be used, as much as is needed and not less than was allowed", () => {
    const ram = (bytes: number) => after({ kind: "ram", expert_layers: 3, layers: 0, bytes }).ram;
    expect(ram(99 * GIB)).toEqual({ used: true, bytes: 99 * GIB });
    expect(ram(1)).toEqual({ used: true, bytes: FIRST_WISH.ram.bytes });
  });
  it("switches GPUs on by their numbers", () => {
    expect(after({ kind: "gpus", indices: [1] }).gpus).toMatchObject({ "GPU-1": { used: true } });
  });
});
