import { describe, expect, it } from "vitest";

import { pieces } from "./command";
import { axisOf, flagsOf, keyed, shareOf, snap, ticksOf, tokensAt } from "./slider";
import { borders, borderShare, deviceOf, layersOf, moved, unitAt } from "./split";

describe("the context slider", () => {
  const axis = axisOf(131_072);

  it("is logarithmic: each doubling takes the same way", () => {
    expect(axis).toEqual({ min: 2048, max: 131_072 });
    expect([2048, 16_384, 131_072].map((t) => shareOf(axis, t))).toEqual([0, 0.5, 1]);
    expect(shareOf(axis, 1)).toBe(0);
    expect(shareOf(axis, 1e9)).toBe(1);
  });
  it("gives whole steps, and the very ends", () => {
    expect(tokensAt(axis, 0.5)).toBe(16_384);
    expect(tokensAt(axis, 0.501) % 256).toBe(0);
    expect(tokensAt(axis, -1)).toBe(2048);
    expect(tokensAt(axis, 2)).toBe(131_072);
    expect(snap(axisOf(5000), 4999)).toBe(5000);
  });
  it("goes back to where it came from for every step", () => {
    for (let tokens = axis.min; tokens < axis.max; tokens += 256 * 7) expect(tokensAt(axis, shareOf(axis, tokens))).toBe(tokens);
  });
  it("moves by keys, and End means the limit", () => {
    const key = (name: string, at = 16_384) => keyed(axis, at, name, 30_208);
    expect(key("ArrowRight")).toBe(16_640);
    expect(key("PageDown")).toBe(12_288);
    expect(key("Home")).toBe(2048);
    expect(key("End")).toBe(30_208);
    expect(keyed(axis, 16_384, "End", 0)).toBe(131_072);
    expect(key("ArrowLeft", 2048)).toBe(2048);
    expect(key("a")).toBeNull();
  });
  it("fits short models too", () => {
    const small = axisOf(2048);
    expect(small.min).toBeLessThan(small.max);
    expect(ticksOf(small, 600).at(-1)).toEqual({ share: 1, label: "2k" });
  });
  it("names the limit always, and others only where there is room", () => {
    const others = [
      { cache: "f16" as const, context_limit: 15_872 },
      { cache: "q8_0" as const, context_limit: 16_128 },
      { cache: "q4_0" as const, context_limit: 57_088 },
    ];
    const flags = flagsOf(axis, 15_872, others, "f16", 700);
    expect(flags.map((flag) => [flag.key, flag.mute])).toEqual([["limit", false], ["q8_0", true], ["q4_0", false]]);
    expect(flagsOf(axis, 131_072, [], "f16", 700)[0]?.before).toBe(true);
    expect(flagsOf(axis, 0, [], "f16", 700)).toEqual([]);
  });
});

describe("a split", () => {
  it("has its borders where units end", () => {
    expect(borders([40, 41])).toEqual([40]);
    expect(borders([27, 27, 14, 13])).toEqual([27, 54, 68]);
  });
  it("keeps its sum when a border moves, and stops at its neighbours", () => {
    expect(moved([40, 41], 0, 38)).toEqual([38, 43]);
    expect(moved([40, 41], 0, -3)).toEqual([0, 81]);
    expect(moved([40, 41], 0, 99)).toEqual([81, 0]);
    expect(moved([27, 27, 14, 13], 1, 80)).toEqual([27, 41, 0, 13]);
    expect(moved([27, 27, 14, 13], 1, 3)).toEqual([27, 0, 41, 13]);
  });
  it("counts the output as a unit, not as a layer", () => {
    expect(layersOf([40, 41], 80)).toEqual([40, 40]);
    expect(layersOf([81, 0], 80)).toEqual([80, 0]);
    expect(deviceOf([40, 41], 80)).toBe(1);
    expect(deviceOf([81, 0], 80)).toBe(0);
  });
  it("is found again where its border is drawn", () => {
    for (let unit = 0; unit <= 81; unit += 1) expect(unitAt(borderShare(unit, 80), 80)).toBe(unit);
  });
});

describe("a command in pieces", () => {
  const command = "A=1 /usr/bin/llama-server \\\n  --model '/a b/c.gguf' \\\n  --tensor-split 40,41 \\\n  -c 16384 \\\n  --flash-attn on";
  it("is the command again when it is joined", () => {
    expect(pieces(command).map((piece) => piece.text).join("")).toBe(command);
  });
  it("marks what the plan set, and only that", () => {
    expect(pieces(command).filter((piece) => piece.planned).map((piece) => piece.text)).toEqual(["40,41", "16384"]);
  });
});
