import { cleanup, render, screen } from "@testing-library/svelte";
import { afterEach, describe, expect, it } from "vitest";

import { NO_SPEED_FACTS } from "../../state/fake";
import type { GpuSample } from "../../ipc/backend";
import type { GpuLive } from "../../state/telemetry.svelte";
import { lineWords, linkTraffic, throttle } from "./figures";
import GpuCard from "./GpuCard.svelte";
import { tracks } from "./tracks";

const GIB = 1024 ** 3;
const sample = (metrics: object): GpuSample => ({ gpu: "GPU-0", answered_at: null, metrics: metrics as GpuSample["metrics"] });
const gpu = (metrics: object, rest: Partial<GpuLive> = {}): GpuLive => ({
  facts: { id: "GPU-0", index: 0, name: "NVIDIA GeForce RTX 3090", pci_bus_id: "00000000:01:00.0", memory_total: 24 * GIB, compute_capability: [8, 6], pcie_generation_max: 4, pcie_width_max: 16, speed_facts: NO_SPEED_FACTS },
  sample: sample(metrics),
  silent: null,
  ageMs: 0,
  old: false,
  ...rest,
});

afterEach(cleanup);

describe("a GPU's card", () => {
  it("says why a figure is missing and never shows zero for it", () => {
    render(GpuCard, { gpu: gpu({ fan_percent: { missing: "not_supported" }, power_w: { missing: "no_permission" }, memory_used_bytes: { value: 6 * GIB } }) });
    const card = screen.getByTestId("gpu-card");
    expect(card.dataset["state"]).toBe("live");
    expect(card.textContent).toContain("no permission");
    expect(card.textContent).toContain("not supported");
    expect(card.textContent).not.toMatch(/(^|\D)0\s?%/);
    expect(screen.getByRole("img").getAttribute("aria-label")).toContain("in use 6.00\u00a0GiB");
  });

  it("draws no bar for memory whose use is unknown, and says why", () => {
    render(GpuCard, { gpu: gpu({ memory_used_bytes: { missing: "no_permission" } }) });
    expect(screen.queryByRole("img")).toBeNull();
    expect(screen.getByRole("region", { name: "Memory" }).textContent).toContain("no permission");
  });

  it("leaves the driver's share out where the driver does not tell it", () => {
    render(GpuCard, { gpu: gpu({ memory_used_bytes: { value: 6 * GIB } }) });
    expect(screen.getByRole("img").getAttribute("aria-label")).not.toContain("driver");
    cleanup();
    const metrics = { memory_used_bytes: { value: 6 * GIB }, memory_reserved_bytes: { value: GIB } };
    render(GpuCard, { gpu: gpu(metrics) });
    expect(screen.getByRole("img").getAttribute("aria-label")).toBe(
      "GPU 0: in use 6.00\u00a0GiB, driver 1.00\u00a0GiB, free 17.00\u00a0GiB of 24.00\u00a0GiB",
    );
  });

  it("names the level of memory and heat in words", () => {
    render(GpuCard, { gpu: gpu({ memory_used_bytes: { value: 22.6 * GIB }, temperature_c: { value: 78 } }) });
    expect(screen.getByTestId("gpu-card").textContent).toMatch(/Warning\s+78\s°C/);
    expect(screen.getByTestId("gpu-card").textContent).toMatch(/Critical\s+memory/);
  });

  it("shows old values as old, without levels", () => {
    render(GpuCard, { gpu: gpu({ memory_used_bytes: { value: 23.9 * GIB } }, { silent: "timed_out", ageMs: 12_000, old: true }) });
    const card = screen.getByTestId("gpu-card");
    expect(card.dataset["state"]).toBe("timed_out");
    expect(card.textContent).toContain("timed out · 12\u00a0s");
    expect(card.textContent).toContain("23.90");
    expect(card.textContent).not.toContain("Emergency");
  });
});

describe("a line of the history, in words", () => {
  const [track] = tracks([24 * GIB]);
  const words = (live: GpuLive, newest: number | null) => (track === undefined ? "" : lineWords(live, track, newest));
  it("is its newest value, or why there is none, and never a made-up zero", () => {
    expect(words(gpu({}), 42)).toBe("GPU 0 42 %");
    expect(words(gpu({}), 0)).toBe("GPU 0 0 %");
    const missing = gpu({ gpu_utilization_percent: { missing: "not_supported" } });
    expect(words(missing, null)).toBe("GPU 0 not supported");
    const before = gpu({ gpu_utilization_percent: { value: 7 } }, { silent: "timed_out" });
    expect(words(before, null)).toBe("GPU 0 timed out");
    expect(words({ ...missing, sample: null }, null)).toBe("GPU 0 waiting");
    expect(words(gpu({ gpu_utilization_percent: { value: 7 } }), null)).toBe("GPU 0 no sample");
  });
});

describe("figures of two metrics", () => {
  it("share one unit", () => {
    expect(linkTraffic(sample({ pcie_receive_bytes_per_s: { value: 1.5e9 }, pcie_send_bytes_per_s: { value: 2e7 } }))).toEqual({ text: "↓1.50 ↑0.02", unit: "GB/s" });
    expect(linkTraffic(sample({ pcie_send_bytes_per_s: { value: 18e6 } }))).toEqual({ text: "↑18", unit: "MB/s" });
    expect(linkTraffic(sample({}))).toBeNull();
  });
  it("read as a sentence", () => {
    expect(throttle(0)).toBe("No");
    expect(throttle(0x24)).toBe("Power cap, software thermal");
  });
});
