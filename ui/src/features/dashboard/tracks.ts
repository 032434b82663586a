// Which tracks the history shows, and how each scales.
import type { Metric } from "../../ipc/backend";
import { fixed, whole } from "../../format/number";
import { GIB } from "../../format/units";
import { MEMORY_THRESHOLDS, TEMPERATURE_THRESHOLDS } from "../../gpu/levels";
import type { PlotThreshold } from "../../chart/Plot.svelte";
import type { YRule } from "../../chart/range";

export interface Track {
  title: string;
  unit: string;
  metric: Metric;
  rule: YRule;
  thresholds: PlotThreshold[];
  /** A value in the head of the track. */
  value: (raw: number) => string;
  /** A name on the axis. */
  tick: (raw: number) => string;
}

/** The default tracks. `totals` are the cards' memories: only where they agree do levels of memory have one place. */
export function tracks(totals: readonly (number | null)[]): Track[] {
  const total = totals[0] ?? null;
  const same = total !== null && totals.every((other) => other === total);
  const largest = Math.max(...totals.map((t) => t ?? 0), GIB);
  const memoryLevels: PlotThreshold[] = same
    ? MEMORY_THRESHOLDS.map(({ level, at }) => ({ at: (at / 100) * total, token: `--alert-${level}`, label: `${at} %` }))
    : [];
  const heat: PlotThreshold[] = TEMPERATURE_THRESHOLDS.map(({ level, at }) => ({ at, token: `--alert-${level}`, label: `${at} °C` }));
  const keep = (lines: PlotThreshold[], within: number) => ({ at: lines.map((line) => line.at), within });
  return [
    { title: "Utilization", unit: "%", metric: "gpu_utilization_percent", rule: { floor: 0, ceil: 100, spanMin: 100 }, thresholds: [], value: whole, tick: whole },
    {
      title: "Memory",
      unit: "GiB",
      metric: "memory_used_bytes",
      rule: { floor: 0, ceil: largest, spanMin: GIB, base: GIB, keep: keep(memoryLevels, 0.06 * largest) },
      thresholds: memoryLevels,
      value: (raw) => fixed(raw / GIB, 2),
      tick: (raw) => fixed(raw / GIB, Math.abs(raw / GIB - Math.round(raw / GIB)) < 1e-6 ? 0 : 1),
    },
    { title: "Temperature", unit: "°C", metric: "temperature_c", rule: { floor: 0, spanMin: 10, keep: keep(heat, 8) }, thresholds: heat, value: whole, tick: whole },
    { title: "Power", unit: "W", metric: "power_w", rule: { floor: 0, spanMin: 40 }, thresholds: [], value: whole, tick: whole },
  ];
}
