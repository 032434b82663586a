// Alternatives on a plane: context limit (logarithmic) against generation speed. Pure.
import type { Alternative, Predicted } from "../../ipc/backend";
import { tokensShort } from "../../format/number";

export const LETTERS = "ABCDEFGHIJ";

/** The alternative that a key names; null for keys that name none. */
export function lettered(key: string, length: number): number | null {
  const at = key.length === 1 ? LETTERS.indexOf(key.toUpperCase()) : -1;
  return at >= 0 && at < length ? at : null;
}

/** What of a plan is generated: of one request, or of all of them together. */
export const generationOf = ({ request, speed }: Alternative): Predicted | null =>
  speed === null ? null : request.parallel > 1 ? speed.throughput : speed.decode;

export interface Point {
  /** Position in the list of alternatives. */
  index: number;
  letter: string;
  x: number;
  y: number;
  /** Ends of the whisker. */
  top: number;
  bottom: number;
  reaches: boolean;
}

export interface Mark {
  at: number;
  label: string;
}

export interface Plane {
  points: readonly Point[];
  /** Indices of those that none beats in both, from left to right. */
  front: readonly Point[];
  /** Where the context that was asked for lies. */
  asked: number;
  x: readonly Mark[];
  y: readonly Mark[];
}

export interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Room at either end of an axis, as a share of its length. */
const PAD = 0.08;
/** Steps that people count in. */
const STEPS = [1, 2, 2.5, 5, 10];
const Y_MARKS_MAX = 5;
const X_MARKS_MAX = 4;

/** Null where no alternative has a speed. */
export function planeOf(plans: readonly Alternative[], askedTokens: number, box: Box): Plane | null {
  const rated = plans.slice(0, LETTERS.length).flatMap((plan, index) => {
    const rate = generationOf(plan);
    const value = rate?.value ?? null;
    if (rate === null || value === null || plan.context_limit <= 0) return [];
    return [{ index, tokens: plan.context_limit, value, low: rate.low ?? value, high: rate.high ?? value, reaches: plan.reaches_context }];
  });
  if (rated.length === 0) return null;
  const across = axis([...rated.map(({ tokens }) => Math.log2(tokens)), Math.log2(Math.max(1, askedTokens))], 1);
  const up = axis(rated.flatMap(({ low, high }) => [low, high]), 1);
  const x = (tokens: number): number => box.left + across.share(Math.log2(Math.max(1, tokens))) * (box.right - box.left);
  const y = (rate: number): number => box.bottom - up.share(rate) * (box.bottom - box.top);
  const points = rated.map(({ index, tokens, value, low, high, reaches }): Point => ({
    index,
    letter: LETTERS[index] ?? "",
    x: x(tokens),
    y: y(value),
    top: y(high),
    bottom: y(low),
    reaches,
  }));
  return {
    points,
    front: frontOf(points),
    asked: x(askedTokens),
    x: contexts(across.from, across.to).map((tokens) => ({ at: x(tokens), label: tokensShort(tokens) })),
    y: rates(up.from, up.to).map((rate) => ({ at: y(rate), label: String(rate) })),
  };
}

/** An axis over some values, with room at its ends; `least` keeps equal values apart from nothing. */
function axis(values: readonly number[], least: number): { from: number; to: number; share: (value: number) => number } {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(least, high - low) * PAD;
  const [from, to] = [low - room, high + room];
  return { from, to, share: (value) => (value - from) / (to - from) };
}

/** Y grows downwards. Of equal ones the first counts. */
function frontOf(points: readonly Point[]): Point[] {
  const beaten = (one: Point, at: number): boolean =>
    points.some((other, i) => other.x >= one.x && other.y <= one.y && (other.x > one.x || other.y < one.y || i < at));
  return points.filter((point, at) => !beaten(point, at)).sort((a, b) => a.x - b.x);
}

/** Powers of two between two logarithms, thinned. */
function contexts(from: number, to: number): number[] {
  const first = Math.ceil(from);
  const all = Array.from({ length: Math.max(0, Math.floor(to) - first + 1) }, (_, i) => 2 ** (first + i));
  const every = Math.ceil(all.length / X_MARKS_MAX);
  return all.filter((_, i) => i % every === 0);
}

/** Round rates between two ends. */
function rates(from: number, to: number): number[] {
  const rough = (to - from) / Y_MARKS_MAX;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * (STEPS.find((one) => one * unit >= rough) ?? 10);
  const first = Math.max(0, Math.ceil(from / step));
  const count = Math.max(0, Math.floor(to / step) - first + 1);
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}
