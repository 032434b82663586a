// Predicted rates in words: the value, and ± what may be wrong about it.
import type { Predicted } from "../ipc/backend";
import { fixed, NBSP } from "./number";

/** From this uncertainty on the first decimal says nothing. */
const COARSE = 5;

export interface Rate {
  /** `17.4` */
  value: string;
  /** `± 1.2` */
  margin: string;
  /** Both ends, in words. */
  range: string;
}

/** Tokens per second; null where nothing is predicted. The margin is that of the farther end. */
export function rateOf({ value, low, high }: Predicted): Rate | null {
  if (value === null) return null;
  const margin = Math.max(value - (low ?? value), (high ?? value) - value);
  const decimals = value < 100 && margin < COARSE ? 1 : 0;
  const show = (number: number): string => fixed(number, decimals);
  return {
    value: show(value),
    margin: `±${NBSP}${show(margin)}`,
    range: `${show(low ?? value)} to ${show(high ?? value)}${NBSP}tok/s`,
  };
}

/** A rate without its margin, for a column. */
export const rateShort = (rate: Predicted): string => rateOf(rate)?.value ?? "—";
