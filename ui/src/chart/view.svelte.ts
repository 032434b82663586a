// What part of time the tracks of one screen show together, and where the cursor stands.
import type { Range } from "./range";

export const WINDOWS = [
  { label: "30 s", seconds: 30 },
  { label: "1 m", seconds: 60 },
  { label: "5 m", seconds: 300 },
  { label: "All", seconds: null },
] as const;

/** Zoom stops where fewer samples than this would be seen. */
const SAMPLES_MIN = 5;

/** A range zoomed about a point, kept within the data and above the least span. */
export function zoomed(range: Range, data: Range, factor: number, about: number, spanMin: number): Range {
  const span = Math.max(spanMin, (range.max - range.min) * factor);
  if (span >= data.max - data.min) return data;
  const share = (about - range.min) / (range.max - range.min);
  return shifted({ min: about - share * span, max: about - share * span + span }, data, 0);
}

/** A range moved in time, as far as the data goes. */
export function shifted(range: Range, data: Range, by: number): Range {
  const span = range.max - range.min;
  const min = Math.max(data.min, Math.min(range.min + by, data.max - span));
  return { min, max: min + span };
}

export class ChartView {
  window = $state<number | null>(300);
  /** Set while the user looks at a part of the past; null follows the newest sample. */
  past = $state.raw<Range | null>(null);
  data = $state.raw<Range>({ min: 0, max: 1 });
  intervalS = $state(1);
  /** Index of the sample under the cursor; null when the pointer is elsewhere. */
  cursor = $state<number | null>(null);

  live = $derived(this.past === null);

  visible: Range = $derived.by(() => {
    if (this.past !== null) return this.past;
    const { min, max } = this.data;
    const span = this.window ?? Math.max(max - min, this.#spanMin);
    return { min: max - span, max };
  });

  get #spanMin(): number {
    return SAMPLES_MIN * this.intervalS;
  }

  setWindow(seconds: number | null): void {
    this.window = seconds;
    this.past = null;
  }

  follow(): void {
    this.past = null;
  }

  zoom(factor: number, about?: number): void {
    const from = this.visible;
    const within = { min: Math.min(this.data.min, from.min), max: this.data.max };
    const next = zoomed(from, within, factor, about ?? (from.min + from.max) / 2, this.#spanMin);
    this.past = next.min <= this.data.min && next.max >= this.data.max ? null : next;
  }

  zoomTo(range: Range): void {
    if (range.max - range.min < this.#spanMin) return;
    this.past = range;
  }

  /** Moves by a share of what is seen; at the newest sample it follows again. */
  pan(share: number): void {
    const from = this.visible;
    const span = from.max - from.min;
    const next = shifted(from, { min: Math.min(this.data.min, from.min), max: this.data.max }, share * span);
    this.past = share > 0 && next.max >= this.data.max && span === this.window ? null : next;
  }
}
