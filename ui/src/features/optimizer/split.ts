// Layers over GPUs as the engine counts them: one unit per layer, and one more at the end for the output. Pure.

/** Width of the output's cell, in layer cells. */
export const OUTPUT_CELLS = 2.2;

/** Units before each inner border: `[40, 41]` has one, at 40. */
export function borders(split: readonly number[]): number[] {
  let sum = 0;
  return split.slice(0, -1).map((units) => (sum += units));
}

/** The split with one border moved to a unit; it stops at its neighbours. */
export function moved(split: readonly number[], border: number, to: number): number[] {
  const all = borders(split);
  const total = split.reduce((sum, units) => sum + units, 0);
  const low = all[border - 1] ?? 0;
  const high = all[border + 1] ?? total;
  all[border] = Math.min(high, Math.max(low, Math.round(to)));
  return [...all, total].map((end, i) => end - (i === 0 ? 0 : (all[i - 1] ?? 0)));
}

/** Where a border lies on the strip, 0 to 1, given the number of layers. */
export const borderShare = (unit: number, layers: number): number => (unit > layers ? 1 : unit / (layers + OUTPUT_CELLS));

/** The border nearest to a place on the strip. */
export function unitAt(share: number, layers: number): number {
  const cells = share * (layers + OUTPUT_CELLS);
  return cells > layers + OUTPUT_CELLS / 2 ? layers + 1 : Math.min(layers, Math.max(0, Math.round(cells)));
}

/** Layers of each device under a split; the last unit is the output, no layer. */
export function layersOf(split: readonly number[], layers: number): number[] {
  let at = 0;
  return split.map((units) => {
    const from = Math.min(at, layers);
    at += units;
    return Math.min(at, layers) - from;
  });
}

/** Which device a unit lies on. */
export function deviceOf(split: readonly number[], unit: number): number {
  const all = borders(split);
  const found = all.findIndex((end) => unit < end);
  return found === -1 ? split.length - 1 : found;
}

/** Units of each GPU in the engine's order, given those in the order of the devices. */
export const inOrder = (split: readonly number[], order: readonly number[]): number[] => order.map((device) => split[device] ?? 0);

/** The way back: units per device, none for those that the engine does not use. */
export function outOfOrder(units: readonly number[], order: readonly number[], devices: number): number[] {
  const out = Array.from({ length: devices }, () => 0);
  order.forEach((device, i) => (out[device] = units[i] ?? 0));
  return out;
}
