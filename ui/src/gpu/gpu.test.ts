import { describe, expect, it } from "vitest";

import { NO_SPEED_FACTS } from "../state/fake";
import type { GpuSample, Metric, Reading } from "../ipc/backend";
import { levelOf, MEMORY_THRESHOLDS, TEMPERATURE_THRESHOLDS, worst } from "./levels";
import { memoryOf, oldWords } from "./live";
import { silentWhy, throttleWords, valueOf, whyOf } from "./readings";

const sample = (metrics: Partial<Record<Metric, Reading>>): GpuSample => ({ gpu: "GPU-a", answered_at: null, metrics: metrics as GpuSample["metrics"] });
const facts = { id: "GPU-a", index: 0, name: "X", pci_bus_id: null, memory_total: 100, compute_capability: null, pcie_generation_max: null, pcie_width_max: null, speed_facts: NO_SPEED_FACTS };

describe("levels", () => {
  it("begin exactly at their thresholds", () => {
    expect([74.9, 75, 90, 95].map((p) => levelOf(p, MEMORY_THRESHOLDS))).toEqual(["normal", "warning", "critical", "emergency"]);
    expect([69.9, 70, 80, 90].map((t) => levelOf(t, TEMPERATURE_THRESHOLDS))).toEqual(["normal", "warning", "critical", "emergency"]);
  });
  it("do not take an absent value for a good one or a bad one", () => {
    expect(levelOf(null, MEMORY_THRESHOLDS)).toBe("normal");
    expect(memoryOf({ facts, sample: sample({}), silent: null, ageMs: null, old: false }).percent).toBeNull();
  });
  it("have a worst", () => {
    expect(worst(["warning", "emergency", "critical"])).toBe("emergency");
    expect(worst([])).toBe("normal");
  });
});

describe("readings", () => {
  it("tell a value from a reason, and zero from neither", () => {
    const s = sample({ power_w: { value: 0 }, fan_percent: { missing: "no_permission" } });
    expect(valueOf(s, "power_w")).toBe(0);
    expect(valueOf(s, "fan_percent")).toBeNull();
    expect(whyOf(s, "fan_percent")).toBe("no_permission");
    expect(whyOf(s, "temperature_c")).toBe("not_supported");
  });
  it("make a silent GPU only when all share one reason", () => {
    expect(silentWhy(sample({ power_w: { missing: "timed_out" }, fan_percent: { missing: "timed_out" } }))).toBe("timed_out");
    expect(silentWhy(sample({ power_w: { missing: "timed_out" }, fan_percent: { missing: "lost" } }))).toBeNull();
    expect(silentWhy(sample({ power_w: { missing: "timed_out" }, fan_percent: { value: 30 } }))).toBeNull();
  });
  it("name what holds the clocks down, also above 32 bits", () => {
    expect(throttleWords(0)).toEqual([]);
    expect(throttleWords(0x1)).toEqual([]);
    expect(throttleWords(0x4 | 0x40)).toEqual(["power cap", "hardware thermal"]);
    expect(throttleWords(0x8000)).toEqual(["other"]);
    expect(throttleWords(2 ** 40)).toEqual(["other"]);
  });
  it("say why and how old", () => {
    const live = { facts, sample: null, ageMs: 12_400 };
    expect(oldWords({ ...live, silent: "timed_out", old: true })).toBe("timed out · 12\u00a0s");
    expect(oldWords({ ...live, silent: null, old: true })).toBe("12\u00a0s old");
    expect(oldWords({ ...live, silent: null, old: false })).toBeNull();
  });
});
