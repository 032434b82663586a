// The context slider's axis: logarithmic, in steps of 256 tokens. Pure.
import type { CacheLimit, CacheType } from "../../ipc/backend";
import { tokensShort, whole } from "../../format/number";

export const STEP = 256;
export const PAGE = 4096;
/** Left end of the axis, where the model was trained for more. */
const AXIS_MIN = 2048;
/** A label needs about this width; nearer ones would collide. */
const LABEL_PX = 88;

export interface Axis {
  min: number;
  max: number;
}

export function axisOf(trained: number): Axis {
  const max = Math.max(trained, 2 * STEP);
  return { min: Math.min(AXIS_MIN, Math.max(STEP, 2 ** Math.floor(Math.log2(max / 8)))), max };
}

/** Where tokens lie on the axis, 0 to 1. */
export function shareOf(axis: Axis, tokens: number): number {
  const share = Math.log2(Math.max(1, tokens) / axis.min) / Math.log2(axis.max / axis.min);
  return Math.min(1, Math.max(0, share));
}

/** A whole number of steps within the axis; its very ends are allowed as they are. */
export function snap(axis: Axis, tokens: number): number {
  if (tokens >= axis.max) return axis.max;
  return Math.min(axis.max, Math.max(axis.min, Math.round(tokens / STEP) * STEP));
}

export const tokensAt = (axis: Axis, share: number): number => snap(axis, axis.min * (axis.max / axis.min) ** Math.min(1, Math.max(0, share)));

/** What a key does; null for keys that mean nothing here. End goes to the limit, where one fits. */
export function keyed(axis: Axis, tokens: number, key: string, limit: number): number | null {
  switch (key) {
    case "ArrowRight":
    case "ArrowUp":
      return snap(axis, tokens + STEP);
    case "ArrowLeft":
    case "ArrowDown":
      return snap(axis, tokens - STEP);
    case "PageUp":
      return snap(axis, tokens + PAGE);
    case "PageDown":
      return snap(axis, tokens - PAGE);
    case "Home":
      return axis.min;
    case "End":
      return limit >= axis.min ? Math.min(limit, axis.max) : axis.max;
    default:
      return null;
  }
}

export interface Tick {
  share: number;
  label: string;
}

/** Powers of two from the left end, and the right end by name. */
export function ticksOf(axis: Axis, widthPx: number): Tick[] {
  const out: Tick[] = [];
  const doublings = Math.log2(axis.max / axis.min);
  const every = Math.max(1, Math.ceil((doublings * 40) / Math.max(widthPx, 1)));
  for (let k = 0; k < doublings - 0.3; k += every) out.push({ share: k / doublings, label: tokensShort(axis.min * 2 ** k) });
  out.push({ share: 1, label: tokensShort(axis.max) });
  return out;
}

export interface Flag {
  key: string;
  share: number;
  label: string;
  quiet: boolean;
  /** The label stands left of its line. */
  before: boolean;
  /** Another label lies there: the line stays, its words are in the tooltip. */
  mute: boolean;
}

/** The limit of this plan, and where other cache types would end. */
export function flagsOf(axis: Axis, limit: number, others: readonly CacheLimit[], current: CacheType, widthPx: number): Flag[] {
  const flags: Flag[] = [];
  const taken: [number, number][] = [];
  const add = (key: string, tokens: number, words: string, quiet: boolean): void => {
    const share = shareOf(axis, tokens);
    const at = share * widthPx;
    const before = at + LABEL_PX > widthPx;
    const range: [number, number] = before ? [at - LABEL_PX, at] : [at, at + LABEL_PX];
    const mute = taken.some(([from, to]) => range[0] < to && from < range[1]);
    if (!mute) taken.push(range);
    flags.push({ key, share, label: words, quiet, before, mute });
  };
  if (limit >= axis.min) add("limit", limit, `${whole(limit)} fits`, false);
  for (const { cache, context_limit: tokens } of others) {
    if (cache === current || tokens < axis.min || tokens === limit) continue;
    add(cache, tokens, `${cache} ${whole(tokens)}`, true);
  }
  return flags;
}
