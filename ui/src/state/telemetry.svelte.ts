// What the GPUs do now and did lately. One writer: events and the overview come in, views read.
import type {
  Backend,
  Frame,
  GpuFacts,
  GpuId,
  GpuSample,
  Machine,
  Overview,
  SourceChoice,
  SourceHealth,
  SourceView,
  Why,
} from "../ipc/backend";
import { silentWhy } from "../gpu/readings";
import { CHARTED, Columns, followUp, POINTS_MAX } from "./columns";
import type { Clock } from "./clock.svelte";

/** Least time between two requests for the whole history: a slow page must not make itself slower. */
const RESYNC_EVERY_MS = 2000;
/** A sample older than this many intervals is shown as old. */
const STALE_INTERVALS = 3;

/** One GPU as shown: its facts, its last answer, and whether that answer is still current. */
export interface GpuLive {
  facts: GpuFacts;
  /** The last sample with values, else the newest without any; null before the first frame. */
  sample: GpuSample | null;
  /** Why the GPU says nothing now; null while it answers. */
  silent: Why | null;
  /** Age of the last answer, milliseconds; null while it never answered. */
  ageMs: number | null;
  /** Whether the values must not be read as current. */
  old: boolean;
}

export class Telemetry {
  choice = $state.raw<SourceChoice>({ kind: "nvml" });
  health = $state.raw<SourceHealth>({ state: "starting" });
  machine = $state.raw<Machine | null>(null);
  frame = $state.raw<Frame | null>(null);
  intervalMs = $state(1000);
  /** Grows whenever `columns` change. */
  version = $state(0);
  readonly columns = new Columns();

  #backend: Backend;
  #clock: Clock;
  #answers = $state.raw<ReadonlyMap<GpuId, GpuSample>>(new Map());
  #receivedAt = $state(0);
  #loading = false;
  #queued: Frame[] = [];
  #resyncedAt = -Infinity;
  /** How often the whole history was asked for. */
  #asked = 0;

  constructor(backend: Backend, clock: Clock) {
    this.#backend = backend;
    this.#clock = clock;
  }

  simulated = $derived(this.machine?.source === "simulated");

  gpus: GpuLive[] = $derived.by(() => {
    const frame = this.frame;
    const sinceMs = Math.max(0, this.#clock.nowMs - this.#receivedAt);
    return (this.machine?.gpus ?? []).map((facts) => {
      const now = frame?.gpus.find((sample) => sample.gpu === facts.id) ?? null;
      const sample = this.#answers.get(facts.id) ?? now;
      const silent = now === null ? null : silentWhy(now);
      const answered = now?.answered_at ?? sample?.answered_at ?? null;
      const ageMs = answered === null || frame === null ? null : Math.max(0, frame.at.mono_ms - answered.mono_ms) + sinceMs;
      const old = silent !== null || (ageMs !== null && ageMs > STALE_INTERVALS * Math.max(this.intervalMs, 1000));
      return { facts, sample, silent, ageMs, old };
    });
  });

  /** Takes over a whole overview: at the start, and after events were missed. */
  async take(overview: Overview): Promise<void> {
    this.intervalMs = overview.interval_ms;
    this.#source(overview);
    if (overview.frame !== null) this.#show(overview.frame);
    await this.#resync();
  }

  onSource(source: SourceView): void {
    if (this.#source(source)) void this.#resync();
  }

  onFrame(frame: Frame): void {
    this.#show(frame);
    if (this.#loading) {
      this.#queued.push(frame);
      return;
    }
    const next = followUp(this.columns.lastSeq, frame.seq);
    if (next === "ignore") return;
    if (next === "resync" && performance.now() - this.#resyncedAt >= RESYNC_EVERY_MS) {
      void this.#resync();
      return;
    }
    this.#append(frame);
  }

  /** Takes the source over; whether it is another one, or describes other cards, so that what is kept is void. */
  #source(source: SourceView): boolean {
    const fresh = JSON.stringify(source.choice) !== JSON.stringify(this.choice);
    const machine = JSON.stringify(source.machine) !== JSON.stringify(this.machine);
    this.choice = source.choice;
    this.health = source.health;
    this.machine = source.machine;
    if (!fresh && !machine) return false;
    this.columns.clear();
    this.version += 1;
    if (fresh) {
      this.frame = null;
      this.#answers = new Map();
      this.#queued = [];
    }
    return true;
  }

  #show(frame: Frame): void {
    this.frame = frame;
    this.#receivedAt = Date.now();
    const answers = new Map(this.#answers);
    for (const sample of frame.gpus) if (silentWhy(sample) === null) answers.set(sample.gpu, sample);
    this.#answers = answers;
  }

  /** Longest time between two samples that still belong to one line. */
  get #gapMs(): number {
    return STALE_INTERVALS * Math.max(this.intervalMs, 1000);
  }

  #append(frame: Frame): void {
    this.columns.append(frame, this.#gapMs);
    this.version += 1;
  }

  async #fill(): Promise<void> {
    const query = { window_ms: null, points: POINTS_MAX, metrics: [...CHARTED] };
    try {
      this.columns.fill(await this.#backend.history(query), this.#gapMs);
    } catch {
      // History is a comfort: without it the chart starts now. Whatever ails the product shows elsewhere.
      this.columns.clear();
    }
  }

  async #resync(): Promise<void> {
    this.#asked += 1;
    if (this.#loading) return;
    this.#loading = true;
    let asked: number;
    do {
      // An answer to a question from before another source or a gap is not the last word.
      asked = this.#asked;
      this.#resyncedAt = performance.now();
      await this.#fill();
    } while (asked !== this.#asked);
    this.#loading = false;
    const lastSeq = this.columns.lastSeq;
    for (const frame of this.#queued.splice(0)) if (lastSeq === null || frame.seq > lastSeq) this.#append(frame);
    this.version += 1;
  }
}
