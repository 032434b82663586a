// Where axes begin and end, and which values they name. Pure: no canvas, no clock.

export interface Range {
  min: number;
  max: number;
}

export interface YRule {
  /** The axis never goes below or above these. */
  floor?: number;
  ceil?: number;
  /** Least height of the axis, in the unit of the data: noise must not look like drama. */
  spanMin: number;
  /** What axis names are round in, such as a GiB; 1 when absent. */
  base?: number;
  /** The nearest of these stays in view when the data comes this close to it. */
  keep?: { at: readonly number[]; within: number };
}

type Values = readonly (number | null | undefined)[];

/** Smallest and largest value of all columns between two indices; null where there is none. */
export function extent(columns: readonly Values[], from: number, to: number): Range | null {
  let min = Infinity;
  let max = -Infinity;
  for (const column of columns) {
    for (let i = Math.max(0, from); i <= to; i += 1) {
      const value = column[i];
      if (value === null || value === undefined) continue;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  return min > max ? null : { min, max };
}

/** The axis over what is seen: padded, never flatter than the rule allows, with the nearest threshold in view. */
export function yRange(seen: Range | null, rule: YRule): Range {
  const { floor = -Infinity, ceil = Infinity, spanMin, keep } = rule;
  let { min, max } = seen ?? { min: Number.isFinite(floor) ? floor : 0, max: (Number.isFinite(floor) ? floor : 0) + spanMin };
  const top = max;
  const near = keep?.at.filter((at) => at > top && at - top <= keep.within).sort((a, b) => a - b)[0];
  if (near !== undefined) max = near;
  const pad = (max - min) * 0.08;
  min -= pad;
  max += pad;
  const lack = spanMin - (max - min);
  if (lack > 0) {
    min -= lack / 2;
    max += lack / 2;
  }
  if (min < floor) {
    max = Math.max(max, floor + spanMin);
    min = floor;
  }
  if (max > ceil) {
    min = Math.max(floor, Math.min(min, ceil - spanMin));
    max = ceil;
  }
  return { min, max };
}

/** Round values inside a range, at most `most`, at steps of 1, 2 or 5 times a power of ten. */
export function ticks(range: Range, most: number): number[] {
  const span = range.max - range.min;
  if (!(span > 0) || most < 1) return [];
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw) ?? 10 * power;
  const first = Math.ceil(range.min / step - 1e-9);
  const last = Math.floor(range.max / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Steps of a time axis, seconds. */
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

/** Moments on a time axis at whole steps of the wall clock. `offset` turns an x into wall-clock seconds. */
export function timeTicks(range: Range, offset: number, most: number): number[] {
  const span = range.max - range.min;
  if (!(span > 0)) return [];
  const step = TIME_STEPS.find((s) => span / s <= most) ?? 3600;
  const out: number[] = [];
  for (let wall = Math.ceil((range.min + offset) / step) * step; wall <= range.max + offset; wall += step) out.push(wall - offset);
  return out;
}

/** Index of the first value at or above `x` in a sorted axis. */
export function lowerBound(axis: readonly number[], x: number): number {
  let low = 0;
  let high = axis.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((axis[mid] ?? Infinity) < x) low = mid + 1;
    else high = mid;
  }
  return low;
}
