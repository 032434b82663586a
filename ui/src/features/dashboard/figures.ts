// Words for figures that come from more than one metric.
import type { GpuSample } from "../../ipc/backend";
import { rate } from "../../format/units";
import { readingOf, throttleWords, valueOf, WHY_WORD } from "../../gpu/readings";

/** Why a metric has no number, in words; null when it has one. */
export function whyWords(sample: GpuSample | null, metric: Parameters<typeof readingOf>[1]): string | null {
  if (sample === null) return "waiting";
  const reading = readingOf(sample, metric);
  return "missing" in reading && reading.missing !== undefined ? WHY_WORD[reading.missing] : null;
}

/** `PCIe 4 ×8`, as far as it is known. */
export function linkName(sample: GpuSample | null): string {
  const generation = valueOf(sample, "pcie_generation");
  const width = valueOf(sample, "pcie_width_lanes");
  return ["PCIe", generation === null ? "" : String(generation), width === null ? "" : `×${width}`].filter(Boolean).join(" ");
}

/** `↓24 MB/s ↑18 MB/s`; null where neither way is known. */
export function linkTraffic(sample: GpuSample | null): string | null {
  const down = valueOf(sample, "pcie_receive_bytes_per_s");
  const up = valueOf(sample, "pcie_send_bytes_per_s");
  if (down === null && up === null) return null;
  const word = (arrow: string, value: number | null): string => {
    if (value === null) return "";
    const { text, unit } = rate(value);
    return `${arrow}${text}\u00a0${unit}`;
  };
  return [word("↓", down), word("↑", up)].filter(Boolean).join(" ");
}

/** What holds the clocks down, first letter large; "No" when nothing does. */
export function throttle(mask: number): string {
  const words = throttleWords(mask).join(", ");
  return words === "" ? "No" : words.charAt(0).toUpperCase() + words.slice(1);
}
