import { beforeEach, describe, expect, it } from "vitest";

import type { Frame, GpuSample, HistoryView } from "../ipc/backend";
import { Columns, followUp, POINTS_MAX } from "./columns";

const frame = (seq: number, ms: number, power: number | null): Frame => ({
  seq,
  at: { mono_ms: ms, wall_ms: ms + 1_000_000 },
  gpus: [{ gpu: "a", answered_at: null, metrics: { power_w: power === null ? { missing: "timed_out" } : { value: power } } as GpuSample["metrics"] }],
  problems: [],
});
const history = (times: number[], values: (number | null)[]): HistoryView => ({
  mono_ms: times,
  wall_ms: times.map((t) => t + 1_000_000),
  series: [{ gpu: "a", metric: "power_w", values }],
  last_seq: times.length,
});

describe("a frame", () => {
  it("follows, repeats, or shows that something is missing", () => {
    expect(followUp(null, 7)).toBe("append");
    expect(followUp(6, 7)).toBe("append");
    expect(followUp(7, 7)).toBe("ignore");
    expect(followUp(5, 7)).toBe("resync");
    expect(followUp(900, 1)).toBe("resync");
  });
});

describe("columns", () => {
  let columns: Columns;
  beforeEach(() => (columns = new Columns()));

  it("are as long as their axis, whatever comes when", () => {
    columns.fill(history([1000, 2000], [100, 110]), 3000);
    columns.append(frame(3, 3000, 120), 3000);
    expect(columns.column("a", "power_w")).toEqual([100, 110, 120]);
    expect(columns.column("a", "temperature_c")).toEqual([null, null, null]);
    expect(columns.column("b", "power_w")).toHaveLength(3);
    expect(columns.lastSeq).toBe(3);
    expect(columns.wallOffsetMs).toBe(1_000_000);
  });

  it("break the line where samples are missing, in history and after it", () => {
    columns.fill(history([1000, 2000, 9000, 10_000, 11_000, 12_000], [1, 2, 3, 4, 5, 6]), 3000);
    expect(columns.column("a", "power_w")).toEqual([1, 2, null, 3, 4, 5, 6]);
    columns.append(frame(7, 20_000, 7), 3000);
    expect(columns.column("a", "power_w").slice(-2)).toEqual([null, 7]);
    expect(columns.x.slice(-2)).toEqual([16, 20]);
  });

  it("keep a missing reading as a gap, not as zero", () => {
    columns.append(frame(1, 1000, 50), 3000);
    columns.append(frame(2, 2000, null), 3000);
    expect(columns.column("a", "power_w")).toEqual([50, null]);
  });

  it("never go back in time", () => {
    columns.append(frame(1, 5000, 50), 3000);
    columns.append(frame(2, 4000, 60), 3000);
    expect(columns.x).toEqual([5]);
    expect(columns.lastSeq).toBe(2);
  });

  it("stay bounded", () => {
    for (let i = 1; i <= POINTS_MAX + 700; i += 1) columns.append(frame(i, i * 1000, i), 3000);
    expect(columns.x.length).toBeLessThanOrEqual(POINTS_MAX);
    expect(columns.column("a", "power_w")).toHaveLength(columns.x.length);
    expect(columns.column("a", "power_w").at(-1)).toBe(POINTS_MAX + 700);
  });
});
