import { describe, expect, it } from "vitest";

import { spread } from "./paint";
import { extent, lowerBound, ticks, timeTicks, yRange } from "./range";
import { shifted, zoomed } from "./view.svelte";

describe("the y axis", () => {
  it("ignores gaps", () => {
    expect(extent([[null, 3, undefined, 7], [5, null, null, 1]], 0, 2)).toEqual({ min: 3, max: 5 });
    expect(extent([[null]], 0, 0)).toBeNull();
  });
  it("never makes noise look like drama", () => {
    const range = yRange({ min: 22.1, max: 22.12 }, { spanMin: 1 });
    expect(range.max - range.min).toBeCloseTo(1);
  });
  it("keeps a threshold in view that is near, not one that is far", () => {
    const rule = { spanMin: 1, keep: { at: [80, 90], within: 8 } };
    expect(yRange({ min: 60, max: 74 }, rule).max).toBeGreaterThan(80);
    expect(yRange({ min: 60, max: 70 }, rule).max).toBeLessThan(80);
  });
  it("stays between floor and ceiling, also without data", () => {
    expect(yRange({ min: 0, max: 100 }, { floor: 0, ceil: 100, spanMin: 100 })).toEqual({ min: 0, max: 100 });
    expect(yRange(null, { floor: 0, ceil: 100, spanMin: 100 })).toEqual({ min: 0, max: 100 });
    expect(yRange({ min: 0, max: 3 }, { floor: 0, spanMin: 40 })).toEqual({ min: 0, max: 40 });
  });
  it("names round values", () => {
    expect(ticks({ min: 0, max: 100 }, 2)).toEqual([0, 50, 100]);
    expect(ticks({ min: 21.7, max: 23.1 }, 3)).toEqual([22, 22.5, 23]);
    expect(ticks({ min: 5, max: 5 }, 3)).toEqual([]);
  });
});

describe("the time axis", () => {
  it("has ticks at whole minutes of the wall clock, whatever the monotonic clock says", () => {
    expect(timeTicks({ min: 7, max: 187 }, 53, 4).map((x) => (x + 53) % 60)).toEqual([0, 0, 0, 0]);
  });
  it("finds places by halving", () => {
    expect([0, 10, 15, 99].map((x) => lowerBound([10, 20, 30], x))).toEqual([0, 0, 1, 3]);
  });
});

describe("zoom and pan", () => {
  const data = { min: 0, max: 600 };
  it("hold the point under the cursor", () => {
    const next = zoomed({ min: 300, max: 600 }, data, 0.5, 375, 5);
    expect(next).toEqual({ min: 337.5, max: 487.5 });
  });
  it("stop at the fewest samples and at all the data", () => {
    expect(zoomed({ min: 100, max: 106 }, data, 0.1, 103, 5)).toEqual({ min: 100.5, max: 105.5 });
    expect(zoomed({ min: 0, max: 500 }, data, 4, 250, 5)).toEqual(data);
  });
  it("do not leave the data", () => {
    expect(shifted({ min: 0, max: 60 }, data, -100)).toEqual({ min: 0, max: 60 });
    expect(shifted({ min: 500, max: 560 }, data, 100)).toEqual({ min: 540, max: 600 });
  });
});

describe("end badges", () => {
  it("never overlap and never leave the plot", () => {
    const placed = spread([50, 50, 52, 98], 14, 7, 93);
    const sorted = [...placed].sort((a, b) => a - b);
    for (let i = 1; i < sorted.length; i += 1) expect((sorted[i] ?? 0) - (sorted[i - 1] ?? 0)).toBeGreaterThanOrEqual(14 - 1e-9);
    expect(Math.max(...placed)).toBeLessThanOrEqual(93);
  });
  it("stay where they are when there is room", () => {
    expect(spread([20, 60], 14, 7, 93)).toEqual([20, 60]);
  });
});
