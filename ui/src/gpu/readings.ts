// A reading is a number or the reason why there is none; here it is taken apart for display.
import type { GpuSample, Metric, Reading, Why } from "../ipc/backend";

export const WHY_WORD: Record<Why, string> = {
  not_supported: "not supported",
  no_permission: "no permission",
  lost: "lost",
  timed_out: "timed out",
  asleep: "asleep",
  stale: "stale",
  failed: "failed",
};

/** A metric that was not asked for reads as not supported. */
export function readingOf(sample: GpuSample | null, metric: Metric): Reading {
  const found: Reading | undefined = sample?.metrics[metric];
  return found ?? { missing: "not_supported" };
}

export function valueOf(sample: GpuSample | null, metric: Metric): number | null {
  const reading = readingOf(sample, metric);
  return "value" in reading && typeof reading.value === "number" ? reading.value : null;
}

export function whyOf(sample: GpuSample | null, metric: Metric): Why | null {
  const reading = readingOf(sample, metric);
  return "missing" in reading ? (reading.missing ?? null) : null;
}

/** The one reason that all metrics share when not a single one has a value. */
export function silentWhy(sample: GpuSample): Why | null {
  let shared: Why | null = null;
  for (const metric of Object.keys(sample.metrics) as Metric[]) {
    if (valueOf(sample, metric) !== null) return null;
    const why = whyOf(sample, metric);
    if (shared !== null && why !== shared) return null;
    shared = why;
  }
  return shared;
}

/** `nvml.h`, `nvmlClocksEventReason*`; idle (0x1) is not throttling, bits unknown to us read "other". */
const THROTTLE: readonly [number, string][] = [
  [0x2, "application clocks"],
  [0x4, "power cap"],
  [0x8, "hardware slowdown"],
  [0x10, "sync boost"],
  [0x20, "software thermal"],
  [0x40, "hardware thermal"],
  [0x80, "power brake"],
  [0x100, "display clocks"],
];
const THROTTLE_KNOWN = 0x1ff;

/** What holds the clocks down, in words; empty when nothing does. The mask may use more than 32 bits. */
export function throttleWords(mask: number): string[] {
  const low = mask % 2 ** 32;
  const words = THROTTLE.filter(([bit]) => (low & bit) !== 0).map(([, word]) => word);
  if (mask >= 2 ** 32 || (low & ~THROTTLE_KNOWN) !== 0) words.push("other");
  return words;
}

/** A GPU keeps its hue by index; beyond eight they repeat, and the number tells them apart. */
export const hueOf = (index: number): string => `var(--gpu-${index % 8})`;
