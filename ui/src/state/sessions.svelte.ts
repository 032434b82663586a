// Engines that run or ran, their logs, and the plan that waits to be started.
import type { AppError, Backend, EngineView, LogBatch, PlanAsk, PlanView, SessionId, SessionView } from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import { LogRing } from "./ring";
import type { Toasts } from "./toasts.svelte";

/** Lines asked for at once when a log is opened. */
const LOG_PAGE = 1000;

export class SessionLog {
  readonly ring = new LogRing();
  /** Grows with every change of `ring`. */
  version = $state(0);
  dropped = $state(0);
  loading = $state(false);
  error = $state.raw<AppError | null>(null);
  /** What came while the log was being read. */
  #waiting: LogBatch[] = [];
  /** Every kept line below this number is here; above it lines may be missing. */
  #next = 0;
  /** Whether the log was read to its end and no event was missed since. */
  #whole = false;
  #opened = false;
  /** How often events were missed. */
  #breaks = 0;

  take(batch: LogBatch): void {
    if (this.loading) {
      this.#waiting.push(batch);
      return;
    }
    this.#add(batch);
    if (this.#whole) this.#advance(batch);
  }

  /** Reads what is kept, once; again after a failure. */
  async load(backend: Backend, session: SessionId): Promise<void> {
    if (this.loading || this.#whole) return;
    this.#opened = true;
    this.loading = true;
    this.error = null;
    try {
      let breaks: number;
      do {
        breaks = this.#breaks;
        await this.#readOn(backend, session);
      } while (breaks !== this.#breaks);
      this.#whole = true;
    } catch (thrown) {
      this.error = asAppError(thrown);
    } finally {
      this.loading = false;
    }
    for (const batch of this.#waiting.splice(0)) this.take(batch);
    this.version += 1;
  }

  /** Events were missed: an open log is read on from the last line that has no gap before it. */
  missed(backend: Backend, session: SessionId): void {
    this.#whole = false;
    this.#breaks += 1;
    if (this.#opened) void this.load(backend, session);
  }

  async #readOn(backend: Backend, session: SessionId): Promise<void> {
    for (;;) {
      const batch = await backend.sessionLog(session, this.#next, LOG_PAGE);
      this.#add(batch);
      this.#advance(batch);
      if (batch.lines.length < LOG_PAGE) return;
    }
  }

  #add(batch: LogBatch): void {
    this.ring.push(batch.lines);
    this.dropped = Math.max(this.dropped, batch.dropped);
    this.version += 1;
  }

  #advance(batch: LogBatch): void {
    const last = batch.lines.at(-1);
    if (last !== undefined) this.#next = Math.max(this.#next, last.seq + 1);
  }
}

/** A plan that was taken over to the Launcher. */
export interface Draft {
  ask: PlanAsk;
  view: PlanView;
}

/** How far each state is; a session never goes back. */
const STEP: Record<SessionView["state"]["state"], number> = {
  starting: 0,
  loading: 1,
  ready: 2,
  stopping: 3,
  stopped: 4,
  failed: 4,
};

export type Selection = "draft" | SessionId | null;

export class Sessions {
  list = $state.raw<SessionView[]>([]);
  engine = $state.raw<EngineView>({ program: null, set_by_user: false, problem: null });
  draft = $state.raw<Draft | null>(null);
  chosen = $state<Selection>(null);
  starting = $state(false);
  startError = $state.raw<AppError | null>(null);

  #backend: Backend;
  #toasts: Toasts;
  #logs = new Map<SessionId, SessionLog>();

  constructor(backend: Backend, toasts: Toasts) {
    this.#backend = backend;
    this.#toasts = toasts;
  }

  /**
   * What the Launcher shows: what was chosen while it is there, else the draft, else the newest that runs, else the
   * newest.
   */
  selected: Selection = $derived.by(() => {
    const chosen = this.chosen;
    if (chosen === "draft" && this.draft !== null) return "draft";
    if (typeof chosen === "number" && this.#has(chosen)) return chosen;
    if (this.draft !== null) return "draft";
    const running = this.list.findLast((session) => STEP[session.state.state] < STEP.stopped);
    return (running ?? this.list.at(-1))?.id ?? null;
  });

  log(session: SessionId): SessionLog {
    let log = this.#logs.get(session);
    if (log === undefined) {
      log = new SessionLog();
      this.#logs.set(session, log);
    }
    return log;
  }

  openLog(session: SessionId): void {
    void this.log(session).load(this.#backend, session);
  }

  take(list: SessionView[], engine: EngineView): void {
    this.list = list;
    this.engine = engine;
  }

  /** Lets go of the logs of sessions that are no more. */
  prune(): void {
    for (const id of this.#logs.keys()) if (!this.#has(id)) this.#logs.delete(id);
  }

  /** Events were missed: every open log is read on at once, so that nothing lands behind a gap. */
  missed(): void {
    for (const [id, log] of this.#logs) log.missed(this.#backend, id);
  }

  onSession(session: SessionView): void {
    const known = this.list.find((other) => other.id === session.id);
    // What comes late, after an overview that knew more, is old.
    if (known !== undefined && STEP[session.state.state] < STEP[known.state.state]) return;
    this.list =
      known === undefined
        ? [...this.list, session]
        : this.list.map((other) => (other.id === session.id ? session : other));
    if (known?.state.state !== session.state.state) this.#announce(session);
  }

  onGone(id: SessionId): void {
    this.list = this.list.filter((session) => session.id !== id);
    this.#logs.delete(id);
  }

  onLog(batch: LogBatch): void {
    this.log(batch.session).take(batch);
  }

  apply(draft: Draft): void {
    this.draft = draft;
    this.chosen = "draft";
    this.startError = null;
  }

  discardDraft(): void {
    this.draft = null;
    this.startError = null;
  }

  async start(): Promise<void> {
    const draft = this.draft;
    if (draft === null || this.starting) return;
    this.starting = true;
    this.startError = null;
    try {
      const session = await this.#backend.start(draft.ask);
      // Events may have been faster, and then they know more.
      if (!this.#has(session.id)) this.onSession(session);
      this.draft = null;
      this.chosen = session.id;
    } catch (thrown) {
      this.startError = asAppError(thrown);
      this.#toasts.say("critical", this.startError.message);
    } finally {
      this.starting = false;
    }
  }

  async stop(id: SessionId, force: boolean): Promise<void> {
    try {
      await this.#backend.stop(id, force);
    } catch (thrown) {
      this.#toasts.fail(thrown);
    }
  }

  async forget(id: SessionId): Promise<void> {
    try {
      await this.#backend.forget(id);
      this.onGone(id);
    } catch (thrown) {
      this.#toasts.fail(thrown);
    }
  }

  /** Sets the engine's program; throws what is wrong with it. */
  async setEngine(path: string | null): Promise<void> {
    this.engine = await this.#backend.setEngine(path);
  }

  #has(id: SessionId): boolean {
    return this.list.some((session) => session.id === id);
  }

  #announce(session: SessionView): void {
    const title = session.spec.title;
    const state = session.state;
    switch (state.state) {
      case "starting":
      case "loading":
        return this.#toasts.say("normal", `${title} is starting`);
      case "ready":
        return this.#toasts.say("normal", `${title} is ready on port ${session.spec.port}`);
      case "stopping":
        return this.#toasts.say("normal", `${title} is stopping`);
      case "stopped":
        return this.#toasts.say("normal", `${title} stopped`);
      case "failed":
        return this.#toasts.say("critical", `${title} failed. ${state.message}`);
    }
  }
}
