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
  #waiting: LogBatch[] = [];
  #asked = false;

  take(batch: LogBatch): void {
    if (this.loading) {
      this.#waiting.push(batch);
      return;
    }
    this.ring.push(batch.lines);
    this.dropped = batch.dropped;
    this.version += 1;
  }

  /** Reads what is kept, once; again after a failure or when events were missed. */
  async load(backend: Backend, session: SessionId, again = false): Promise<void> {
    if (this.loading || (this.#asked && !again)) return;
    this.#asked = true;
    this.loading = true;
    this.error = null;
    try {
      let from = this.ring.lastSeq + 1;
      for (;;) {
        const batch = await backend.sessionLog(session, from, LOG_PAGE);
        this.ring.push(batch.lines);
        this.dropped = batch.dropped;
        from = this.ring.lastSeq + 1;
        if (batch.lines.length < LOG_PAGE) break;
      }
    } catch (thrown) {
      this.error = asAppError(thrown);
      this.#asked = false;
    } finally {
      this.loading = false;
    }
    for (const batch of this.#waiting.splice(0)) this.take(batch);
    this.version += 1;
  }
}

/** A plan that was taken over to the Launcher. */
export interface Draft {
  ask: PlanAsk;
  view: PlanView;
}

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

  /** What the Launcher shows: what was chosen while it is there, else the draft, else the newest that runs, else the newest. */
  selected: Selection = $derived.by(() => {
    const chosen = this.chosen;
    if (chosen === "draft" && this.draft !== null) return "draft";
    if (typeof chosen === "number" && this.list.some((session) => session.id === chosen)) return chosen;
    if (this.draft !== null) return "draft";
    const running = this.list.findLast((session) => session.state.state !== "stopped" && session.state.state !== "failed");
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
    for (const [id, log] of this.#logs) {
      if (list.some((session) => session.id === id)) void log.load(this.#backend, id, true);
      else this.#logs.delete(id);
    }
  }

  onSession(session: SessionView): void {
    const known = this.list.find((other) => other.id === session.id);
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
      this.onSession(session);
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
