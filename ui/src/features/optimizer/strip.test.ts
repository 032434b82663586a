import { describe, expect, it } from "vitest";

import type { DevicePlan, Plan } from "../../ipc/backend";
import { inOrder, outOfOrder } from "./split";
import { placeWords, stripOf } from "./strip";

const devices = [0, 1].map((index) => ({ index })) as DevicePlan[];
const plan = (more: Partial<Plan> = {}): Plan =>
  ({ devices, order: [0, 1], mode: "layer", layers_in_ram: 0, experts_in_ram: [], ...more }) as Plan;

describe("the strip of layers", () => {
  it("has a cell for each layer and one for the output", () => {
    const strip = stripOf(plan(), [2, 3], 4);
    expect(strip.rows).toEqual([{ label: "", owners: [0, 0, 1, 1, 1] }]);
    expect(strip.words.replaceAll("\u00a0", " ")).toBe("2 layers on GPU 0, 2 layers on GPU 1");
  });
  it("follows the engine's order, and leaves out GPUs that it does not use", () => {
    expect(stripOf(plan({ order: [1, 0] }), [2, 3], 4).rows[0]?.owners).toEqual([1, 1, 1, 0, 0]);
    const alone = stripOf(plan({ order: [1] }), [0, 5], 4);
    expect([alone.units, alone.rows[0]?.owners]).toEqual([[5], [1, 1, 1, 1, 1]]);
  });
  it("begins with the layers in RAM, and shows experts in a row of their own", () => {
    const strip = stripOf(plan({ layers_in_ram: 1, experts_in_ram: [0, 1] }), [2, 2], 4);
    expect(strip.rows).toEqual([
      { label: "Attention", owners: [null, 0, 0, 1, 1] },
      { label: "Experts", owners: [null, null, 0, 1] },
    ]);
    expect(strip.words.replaceAll("\u00a0", " ")).toBe(
      "1 layer in system RAM, 2 layers on GPU 0, 1 layer on GPU 1, experts of 2 layers in system RAM",
    );
  });
  it("has a row for each GPU where they share every layer, and no border to move", () => {
    const strip = stripOf(plan({ mode: "tensor" }), [1, 1], 2);
    expect(strip.rows.map(({ owners }) => owners)).toEqual([[0, 0, 0], [1, 1, 1]]);
    expect(strip.movable).toBe(false);
  });
  it("takes units to the engine's order and back", () => {
    expect(inOrder([4, 0, 5], [2, 0])).toEqual([5, 4]);
    expect(outOfOrder([5, 4], [2, 0], 3)).toEqual([4, 0, 5]);
  });
});

describe("where a model lies, in words", () => {
  const words = (more: Partial<Plan>) => placeWords(plan(more)).replaceAll("\u00a0", " ");
  it("names the way of sharing and what stays in RAM", () => {
    expect(words({})).toBe("by layers");
    expect(words({ mode: "tensor" })).toBe("by tensors");
    expect(words({ order: [1] })).toBe("on GPU 1 alone");
    expect(words({ experts_in_ram: [0, 1, 2] })).toBe("by layers, experts of layers 0 to 2 in system RAM");
    expect(words({ experts_in_ram: [4] })).toBe("by layers, experts of layer 4 in system RAM");
    expect(words({ experts_in_ram: [0, 5], layers_in_ram: 1 })).toBe(
      "by layers, the first 1 layer and experts of 2 layers in system RAM",
    );
  });
});
