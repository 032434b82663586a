import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Frame, GpuSample, HistoryView, Reading } from "../ipc/backend";
import { Clock } from "./clock.svelte";
import { fakeBackend, machine, overview } from "./fake";
import { Telemetry } from "./telemetry.svelte";

const empty: HistoryView = { mono_ms: [], wall_ms: [], series: [], last_seq: 0 };
const T0 = 10_000;

function frame(seq: number, reading: Reading = { value: 200 }): Frame {
  const at = { mono_ms: T0 + seq * 1000, wall_ms: 0 };
  const answered = "value" in reading ? at : { mono_ms: T0, wall_ms: 0 };
  return {
    seq,
    at,
    gpus: machine.gpus.map((gpu) => ({ gpu: gpu.id, answered_at: answered, metrics: { power_w: reading } as GpuSample["metrics"] })),
    problems: [],
  };
}

describe("telemetry", () => {
  const history = vi.fn<() => Promise<HistoryView>>();
  let telemetry: Telemetry;

  beforeEach(async () => {
    history.mockReset().mockResolvedValue(empty);
    telemetry = new Telemetry(fakeBackend({ history }), new Clock());
    await telemetry.take(overview(null));
  });

  it("loads history once and then grows by frames", () => {
    telemetry.onFrame(frame(1));
    telemetry.onFrame(frame(2));
    expect(history).toHaveBeenCalledTimes(1);
    expect(telemetry.columns.column("GPU-0", "power_w")).toEqual([200, 200]);
  });

  it("asks for history again after a gap, but not for every gap of a slow page", async () => {
    vi.spyOn(performance, "now").mockReturnValue(1e9);
    telemetry.onFrame(frame(1));
    telemetry.onFrame(frame(4));
    expect(history).toHaveBeenCalledTimes(2);
    await vi.waitFor(() => expect(telemetry.columns.lastSeq).toBeNull());
    telemetry.onFrame(frame(5));
    telemetry.onFrame(frame(9));
    expect(history).toHaveBeenCalledTimes(2);
    expect(telemetry.columns.lastSeq).toBe(9);
  });

  it("loses no frame that arrives while history is on its way", async () => {
    vi.spyOn(performance, "now").mockReturnValue(1e9);
    telemetry.onFrame(frame(1));
    let answer: (view: HistoryView) => void = () => undefined;
    history.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    telemetry.onFrame(frame(4));
    telemetry.onFrame(frame(5));
    telemetry.onFrame(frame(6));
    answer({ mono_ms: [T0 + 5000], wall_ms: [0], series: [{ gpu: "GPU-0", metric: "power_w", values: [150] }], last_seq: 5 });
    await vi.waitFor(() => expect(telemetry.columns.lastSeq).toBe(6));
    expect(telemetry.columns.column("GPU-0", "power_w")).toEqual([150, 200]);
  });

  it("shows the last values of a GPU that fell silent, with why and a growing age", () => {
    telemetry.onFrame(frame(1));
    telemetry.onFrame(frame(6, { missing: "timed_out" }));
    const gpu = telemetry.gpus[0];
    expect(gpu).toMatchObject({ silent: "timed_out", old: true });
    expect(gpu?.sample?.metrics.power_w).toEqual({ value: 200 });
    expect(gpu?.ageMs).toBeGreaterThanOrEqual(6000);
  });

  it("does not keep the history of the source before", async () => {
    const answers: ((view: HistoryView) => void)[] = [];
    history.mockImplementation(() => new Promise((resolve) => answers.push(resolve)));
    const taking = telemetry.take(overview(null));
    telemetry.onSource({ choice: { kind: "nvml" }, health: { state: "live" }, machine });
    answers[0]?.({ mono_ms: [T0], wall_ms: [0], series: [], last_seq: 900 });
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    answers[1]?.(empty);
    await taking;
    telemetry.onFrame(frame(1));
    expect(telemetry.columns.column("GPU-0", "power_w")).toEqual([200]);
    expect(telemetry.columns.lastSeq).toBe(1);
  });

  it("starts afresh when the source is another one", () => {
    telemetry.onFrame(frame(1));
    telemetry.onSource({ choice: { kind: "nvml" }, health: { state: "absent", message: "", looked_for: [] }, machine: null });
    expect(telemetry.gpus).toEqual([]);
    expect(telemetry.frame).toBeNull();
  });
});
