// Readings as columns over one time axis: what charts draw. Filled from history, grown by frames, bounded.
import type { Frame, GpuId, HistoryView, Metric } from "../ipc/backend";
import { valueOf } from "../gpu/readings";

/** The metrics that charts show. */
export const CHARTED: readonly Metric[] = ["gpu_utilization_percent", "memory_used_bytes", "temperature_c", "power_w"];
/** Most points kept; older ones fall off in blocks, so that not every frame moves the whole array. */
export const POINTS_MAX = 5000;
const POINTS_DROP = 500;

/** What to do with a frame, given the newest one that is in. */
export function followUp(lastSeq: number | null, seq: number): "append" | "ignore" | "resync" {
  if (lastSeq === null || seq === lastSeq + 1) return "append";
  return seq === lastSeq ? "ignore" : "resync";
}

export type Column = (number | null)[];

export class Columns {
  /** Monotonic seconds of each point. */
  x: number[] = [];
  /** Sequence number of the newest frame that is in; null before the first. */
  lastSeq: number | null = null;
  /** Wall clock minus monotonic clock at the newest point, milliseconds: turns an x into a time of day. */
  wallOffsetMs = 0;
  #columns = new Map<string, Column>();

  /** The column of one metric of one GPU; as long as `x`. */
  column(gpu: GpuId, metric: Metric): Column {
    const key = `${gpu} ${metric}`;
    let column = this.#columns.get(key);
    if (column === undefined) {
      column = this.x.map(() => null);
      this.#columns.set(key, column);
    }
    return column;
  }

  clear(): void {
    this.x = [];
    this.lastSeq = null;
    this.#columns.clear();
  }

  /** Replaces everything by what the product kept; gaps longer than `gapMs` break the lines, as in `append`. */
  fill(history: HistoryView, gapMs: number): void {
    this.clear();
    const times = history.mono_ms;
    // Thinned history has wider steps: what counts as a gap grows with them.
    const step = times.length < 2 ? 0 : ((times.at(-1) ?? 0) - (times[0] ?? 0)) / (times.length - 1);
    const gap = Math.max(gapMs, 3 * step);
    const columns = history.series.map((series) => ({ key: `${series.gpu} ${series.metric}`, from: series.values, to: [] as Column }));
    times.forEach((ms, i) => {
      const before = times[i - 1];
      if (before !== undefined && ms - before > gap) {
        this.x.push((before + ms) / 2000);
        for (const { to } of columns) to.push(null);
      }
      this.x.push(ms / 1000);
      for (const { from, to } of columns) to.push(finite(from[i] ?? null));
    });
    for (const { key, to } of columns) this.#columns.set(key, to);
    const last = history.mono_ms.length - 1;
    this.wallOffsetMs = (history.wall_ms[last] ?? 0) - (history.mono_ms[last] ?? 0);
    this.lastSeq = history.mono_ms.length === 0 ? null : history.last_seq;
  }

  /** Adds a frame at the end. Where more than `gapMs` passed since the last, an empty point breaks the line. */
  append(frame: Frame, gapMs: number): void {
    const x = frame.at.mono_ms / 1000;
    const last = this.x.at(-1);
    if (last !== undefined && x <= last) {
      this.lastSeq = frame.seq;
      return;
    }
    if (last !== undefined && (x - last) * 1000 > gapMs) this.#point((last + x) / 2, () => null);
    const samples = new Map(frame.gpus.map((sample) => [sample.gpu, sample]));
    for (const sample of frame.gpus) for (const metric of CHARTED) this.column(sample.gpu, metric);
    this.#point(x, (gpu, metric) => valueOf(samples.get(gpu) ?? null, metric));
    this.lastSeq = frame.seq;
    this.wallOffsetMs = frame.at.wall_ms - frame.at.mono_ms;
    if (this.x.length > POINTS_MAX) {
      this.x.splice(0, POINTS_DROP);
      for (const column of this.#columns.values()) column.splice(0, POINTS_DROP);
    }
  }

  #point(x: number, value: (gpu: GpuId, metric: Metric) => number | null): void {
    this.x.push(x);
    for (const [key, column] of this.#columns) {
      const space = key.lastIndexOf(" ");
      column.push(value(key.slice(0, space), key.slice(space + 1) as Metric));
    }
  }
}

const finite = (value: number | null): number | null => (value !== null && Number.isFinite(value) ? value : null);
