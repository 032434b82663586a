import { describe, expect, it } from "vitest";

import type { LogLine } from "../../ipc/backend";
import { countLevels, filtered, matches, parts, rowStarts, seen } from "./log";
import { exitWords, secondsLeft } from "./words";

const line = (seq: number, text: string, level: LogLine["level"] = "info"): LogLine => ({ seq, at_ms: 0, stream: "err", level, text, truncated: false });
const log = [line(0, "load_tensors: CUDA0 buffer size"), line(1, "slow", "warning"), line(2, "Buffer SIZE again"), line(3, "out of memory", "error")];

describe("the log", () => {
  it("filters by level upwards", () => {
    expect(filtered(log, "all")).toHaveLength(4);
    expect(filtered(log, "warning").map((l) => l.seq)).toEqual([1, 3]);
    expect(filtered(log, "error").map((l) => l.seq)).toEqual([3]);
    expect(countLevels(log)).toEqual({ warnings: 1, errors: 1 });
  });
  it("finds text whatever its case, and everywhere in a line", () => {
    expect(matches(log, "buffer size")).toEqual([0, 2]);
    expect(matches(log, "")).toEqual([]);
    expect(parts("aXbxc", "x")).toEqual([
      { text: "a", hit: false },
      { text: "X", hit: true },
      { text: "b", hit: false },
      { text: "x", hit: true },
      { text: "c", hit: false },
    ]);
  });
  it("takes search text as text, not as a pattern", () => {
    expect(matches([line(0, "a.b"), line(1, "axb")], ".")).toEqual([0]);
  });
  it("draws only what is seen of many lines", () => {
    const many = Array.from({ length: 5000 }, (_, i) => line(i, "x"));
    const { from, to } = seen(rowStarts(many, null), 18 * 2000, 360);
    expect(from).toBe(1990);
    expect(to).toBeLessThan(2040);
    expect(seen(rowStarts(many, null), 18 * 4980, 360).to).toBe(5000);
    expect(seen(rowStarts([], null), 0, 360)).toEqual({ from: 0, to: 0 });
  });
  it("gives a wrapped line as many rows as its text needs", () => {
    expect(rowStarts([line(0, "x".repeat(25)), line(1, ""), line(2, "xx")], 10)).toEqual([0, 3, 4, 5]);
  });
});

describe("a state in words", () => {
  it("says how a process ended, where that is known", () => {
    expect(exitWords({ code: 0, signal: null })).toBe("exit code 0");
    expect(exitWords({ code: null, signal: 9 })).toBe("signal 9");
    expect(exitWords({ code: null, signal: null })).toBe("");
  });
  it("counts down to nothing, not below", () => {
    expect(secondsLeft(20_000, 500)).toBe(20);
    expect(secondsLeft(20_000, 25_000)).toBe(0);
  });
});
