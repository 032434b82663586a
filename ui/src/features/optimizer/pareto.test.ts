import { cleanup, fireEvent, render, screen, within } from "@testing-library/svelte";
import { afterEach, describe, expect, it, vi } from "vitest";

import type { Alternative } from "../../ipc/backend";
import AlternativesTable from "./AlternativesTable.svelte";
import { lettered, planeOf, type Box } from "./pareto";
import ParetoPlot from "./ParetoPlot.svelte";

const GIB = 1024 ** 3;
const box: Box = { left: 0, right: 100, top: 0, bottom: 100 };
const rate = (value: number, margin: number) => ({ value, low: value - margin, high: value + margin });
const plan = (context_limit: number, value: number | null, more: Partial<Alternative> = {}): Alternative => ({
  title: `Plan of ${context_limit}`,
  request: { parallel: 1, mode: "layer" } as Alternative["request"],
  context_limit,
  reaches_context: context_limit >= 16_384,
  speed: value === null ? null : { decode: rate(value, 1), throughput: rate(2 * value, 2), prefill: rate(400, 60), parts: [], basis: "" },
  ram: 0,
  spare: GIB,
  ...more,
});

afterEach(cleanup);

describe("the plane of alternatives", () => {
  it("has doublings of context at equal distances, and every point with its whisker inside", () => {
    const plane = planeOf([plan(16_384, 20), plan(32_768, 18), plan(65_536, 16)], 16_384, box);
    const [a, b, c] = plane?.points ?? [];
    if (!a || !b || !c) throw new Error("no points");
    expect(b.x - a.x).toBeCloseTo(c.x - b.x);
    for (const point of [a, b, c]) {
      expect(point.top).toBeGreaterThan(0);
      expect(point.bottom).toBeLessThan(100);
      expect(point.top).toBeLessThan(point.y);
    }
    expect(plane?.asked).toBeCloseTo(a.x);
    expect(plane?.x.map(({ label }) => label)).toEqual(["16k", "32k", "64k"]);
    expect(plane?.y.map(({ label }) => label)).toEqual(["16", "18", "20"]);
  });
  it("joins those that none beats in both", () => {
    const plane = planeOf([plan(16_384, 20), plan(8192, 25), plan(8192, 19), plan(65_536, 16), plan(16_384, 20)], 16_384, box);
    expect(plane?.front.map(({ letter }) => letter)).toEqual(["B", "A", "D"]);
  });
  it("keeps its letters where one has no speed, and is none where none has", () => {
    expect(planeOf([plan(8192, null), plan(16_384, 20)], 8192, box)?.points.map(({ letter }) => letter)).toEqual(["B"]);
    expect(planeOf([plan(8192, null)], 8192, box)).toBeNull();
    expect(planeOf([], 8192, box)).toBeNull();
  });
  it("has finite places for one point, for equal ones, and for a plan of nothing", () => {
    const plane = planeOf([plan(8192, 5), plan(8192, 5), plan(0, 9)], 0, box);
    expect(plane?.points).toHaveLength(2);
    expect(JSON.stringify(plane)).not.toContain("null");
  });
  it("counts all requests together where there are several", () => {
    const many = plan(8192, 10, { request: { parallel: 4, mode: "layer" } as Alternative["request"] });
    const [one, all] = [planeOf([plan(8192, 10), plan(8192, 20)], 8192, box), planeOf([many, plan(8192, 20)], 8192, box)];
    expect(one?.points[0]?.y).not.toBeCloseTo(one?.points[1]?.y ?? 0);
    expect(all?.points[0]?.y).toBeCloseTo(all?.points[1]?.y ?? 0);
  });
  it("is pressed where a plan is", async () => {
    const onchoose = vi.fn();
    render(ParetoPlot, { plans: [plan(8192, 20), plan(16_384, 18)], asked: 16_384, chosen: 0, onchoose });
    const image = screen.getByRole("img", { name: "Context limit against generation speed of 2 plans" });
    await fireEvent.click(within(image).getByText("B"));
    expect(onchoose).toHaveBeenCalledWith(1);
  });
});

describe("letters", () => {
  it("name plans that are there", () => {
    expect([lettered("a", 3), lettered("C", 3), lettered("d", 3), lettered("Enter", 3), lettered("1", 3)]).toEqual([0, 2, null, null, null]);
  });
});

describe("the table of alternatives", () => {
  it("is one stop of the Tab key, walked by arrows, and chosen by a click", async () => {
    const onchoose = vi.fn();
    render(AlternativesTable, { plans: [plan(30_208, 17.4), plan(8192, 25, { ram: 2 * GIB })], chosen: 0, onchoose });
    const [a, b] = [screen.getByTestId("alternative-0"), screen.getByTestId("alternative-1")];
    expect([a.tabIndex, b.tabIndex]).toEqual([0, -1]);
    expect([a.getAttribute("aria-pressed"), b.getAttribute("aria-pressed")]).toEqual(["true", "false"]);
    a.focus();
    await fireEvent.keyDown(a, { key: "ArrowDown" });
    expect(document.activeElement).toBe(b);
    await fireEvent.click(b);
    expect(onchoose).toHaveBeenCalledExactlyOnceWith(1);
  });
  it("says in words what falls short of the context asked for, and shows RAM only where some is used", () => {
    const { rerender } = render(AlternativesTable, { plans: [plan(30_208, 17.4)], chosen: 0, onchoose: vi.fn() });
    expect(screen.queryByRole("columnheader", { name: "RAM GiB" })).toBeNull();
    void rerender({ plans: [plan(30_208, 17.4), plan(8192, null, { ram: 2 * GIB })] });
    return vi.waitFor(() => {
      const row = screen.getAllByRole("row")[2];
      if (!row) throw new Error("no row");
      expect(within(row).getByRole("img", { name: "less than was asked for" })).toBeTruthy();
      expect(within(row).getAllByRole("cell").map((cell) => cell.textContent.trim())).toEqual(["8,192", "—", "—", "2.00", "1.00"]);
    });
  });
});
