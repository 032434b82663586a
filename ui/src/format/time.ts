// Times of day and spans of time, in words.
import { NBSP } from "./number";

const two = (n: number): string => String(n).padStart(2, "0");

/** Local time of day, 24 h, with seconds. */
export function timeOfDay(wallMs: number): string {
  const at = new Date(wallMs);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A span in its two largest units: 12 s, 4 m 05 s, 3 h 12 m, 2 d 4 h. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}${NBSP}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${NBSP}m${NBSP}${two(s % 60)}${NBSP}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}${NBSP}h${NBSP}${two(Math.floor(s / 60) % 60)}${NBSP}m`;
  return `${Math.floor(s / 86_400)}${NBSP}d${NBSP}${Math.floor(s / 3600) % 24}${NBSP}h`;
}

/** Seconds between samples: 1.0 s, 0.2 s. */
export const interval = (ms: number): string => `${(ms / 1000).toFixed(1)}${NBSP}s`;
