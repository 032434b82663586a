// Words for figures that come from more than one metric.
import type { GpuSample } from "../../ipc/backend";
import type { GpuLive } from "../../state/telemetry.svelte";
import type { Track } from "./tracks";
import { rateIn, rateUnit, type Quantity } from "../../format/units";
import { readingOf, throttleWords, valueOf, WHY_WORD } from "../../gpu/readings";

/** Why a metric has no number, in words; null when it has one. */
export function whyWords(sample: GpuSample | null, metric: Parameters<typeof readingOf>[1]): string | null {
  if (sample === null) return "waiting";
  const reading = readingOf(sample, metric);
  return "missing" in reading && reading.missing !== undefined ? WHY_WORD[reading.missing] : null;
}

/** One GPU's newest value in words for those who do not see the line: `GPU 0 42 %`, or why there is none. */
export function lineWords(
  gpu: Pick<GpuLive, "facts" | "sample" | "silent">,
  track: Pick<Track, "metric" | "unit" | "value">,
  newest: number | null,
): string {
  const name = `GPU ${gpu.facts.index}`;
  if (newest !== null) return `${name} ${track.value(newest)} ${track.unit}`;
  const why = gpu.silent === null ? whyWords(gpu.sample, track.metric) : WHY_WORD[gpu.silent];
  return `${name} ${why ?? "no sample"}`;
}

/** `PCIe 4 ×8`, as far as it is known. */
export function linkName(sample: GpuSample | null): string {
  const generation = valueOf(sample, "pcie_generation");
  const width = valueOf(sample, "pcie_width_lanes");
  return ["PCIe", generation === null ? "" : String(generation), width === null ? "" : `×${width}`].filter(Boolean).join(" ");
}

/** `↓24 ↑18` in one unit for both ways; null where neither is known. */
export function linkTraffic(sample: GpuSample | null): Quantity | null {
  const down = valueOf(sample, "pcie_receive_bytes_per_s");
  const up = valueOf(sample, "pcie_send_bytes_per_s");
  if (down === null && up === null) return null;
  const { unit, size } = rateUnit(Math.max(down ?? 0, up ?? 0));
  const word = (arrow: string, value: number | null): string => (value === null ? "" : `${arrow}${rateIn(value, unit, size)}`);
  return { text: [word("↓", down), word("↑", up)].filter(Boolean).join(" "), unit };
}

/** What holds the clocks down, first letter large; "No" when nothing does. */
export function throttle(mask: number): string {
  const words = throttleWords(mask).join(", ");
  return words === "" ? "No" : words.charAt(0).toUpperCase() + words.slice(1);
}
