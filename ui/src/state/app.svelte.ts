// All state of the page, and the one place where events are shared out to it.
import { getContext, setContext } from "svelte";

import type { AppError, AppEvent, Backend, Frame, Link, SourceChoice, SourceHealth } from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import { count } from "../format/number";
import type { Level } from "../gpu/levels";
import { Clock } from "./clock.svelte";
import { CustomDraft } from "./custom.svelte";
import { Library } from "./library.svelte";
import { Planner } from "./planner.svelte";
import { Route } from "./route.svelte";
import { Sessions } from "./sessions.svelte";
import { Telemetry } from "./telemetry.svelte";
import { Theme } from "./theme.svelte";
import { Toasts } from "./toasts.svelte";

/** An event that an overview may already know, or may be older than. */
type StateEvent = Exclude<AppEvent, { kind: "log" | "resync" }>;

const KEY = Symbol("app");

export class AppState {
  readonly clock = new Clock();
  readonly route = new Route();
  readonly theme = new Theme();
  readonly toasts = new Toasts();
  readonly telemetry: Telemetry;
  readonly sessions: Sessions;
  readonly planner: Planner;
  readonly library: Library;
  readonly custom: CustomDraft;

  version = $state("");
  loaded = $state(false);
  loadError = $state.raw<AppError | null>(null);
  /** Whether the product can be reached; a browser page may lose it. */
  link = $state<Link>("up");
  /** Whether a file is being dragged over the window. */
  dropping = $state(false);
  /** Whether a change of the source is under way. */
  switching = $state(false);

  #loads = 0;
  /** What came while an overview is under way; null while none is. */
  #held: StateEvent[] | null = null;
  #problem: string | null = null;
  #health = "";

  constructor(readonly backend: Backend) {
    this.telemetry = new Telemetry(backend, this.clock);
    this.sessions = new Sessions(backend, this.toasts);
    this.planner = new Planner(backend, {
      frame: () => this.telemetry.frame,
      gpus: () => this.telemetry.machine?.gpus ?? [],
    });
    this.library = new Library(backend);
    this.custom = new CustomDraft(backend, (model) => this.planner.take(model));
  }

  /** Starts listening, and loads everything once events arrive; returns the way to stop. */
  run(): () => void {
    const stops = [
      this.clock.run(),
      this.backend.onLink((link) => this.#onLink(link)),
      this.backend.subscribe((event) => this.#on(event)),
    ];
    return () => stops.forEach((stop) => stop());
  }

  /** Events wait while an overview is under way, so that it cannot undo what is newer. Of two loads the later counts. */
  async load(): Promise<void> {
    const number = ++this.#loads;
    this.#held = [];
    try {
      const overview = await this.backend.overview();
      if (number !== this.#loads) return;
      this.version = overview.version;
      this.planner.recent = overview.recent_models;
      this.sessions.take(overview.sessions, overview.engine);
      const history = this.#changing(() => this.telemetry.take(overview));
      this.#announce(overview.health);
      this.#release(overview.frame);
      this.sessions.prune();
      this.loadError = null;
      await history;
      this.loaded = true;
    } catch (thrown) {
      if (number !== this.#loads) return;
      if (this.loaded) this.toasts.fail(thrown);
      else this.loadError = asAppError(thrown);
      this.#release(null);
    }
  }

  async selectSource(choice: SourceChoice): Promise<void> {
    if (this.switching) return;
    this.switching = true;
    try {
      await this.backend.selectSource(choice);
    } catch (thrown) {
      this.toasts.fail(thrown);
    } finally {
      this.switching = false;
    }
  }

  #onLink(link: Link): void {
    this.link = link;
    if (link === "refused") this.toasts.say("critical", "Access refused: this page's token is not valid any more");
    // Why nothing can be shown is what an overview would say.
    if (link !== "up" && !this.loaded) void this.load();
  }

  #on(event: AppEvent): void {
    switch (event.kind) {
      case "log": // finds its own place
        return this.sessions.onLog(event.data);
      case "resync":
        this.sessions.missed();
        void this.load();
        return;
      default:
        if (this.#held === null) this.#apply(event);
        else this.#held.push(event);
    }
  }

  #apply(event: StateEvent): void {
    switch (event.kind) {
      case "frame":
        this.telemetry.onFrame(event.data);
        return this.#onProblem(event.data.problems[0] ?? null);
      case "source":
        this.#changing(() => this.telemetry.onSource(event.data));
        return this.#announce(event.data.health);
      case "session":
        return this.sessions.onSession(event.data);
      case "session_gone":
        return this.sessions.onGone(event.data);
      case "engine":
        this.sessions.engine = event.data;
    }
  }

  /** Applies what waited. Of the source and of the frames only the last says something, and only if it is news. */
  #release(known: Frame | null): void {
    const held = this.#held ?? [];
    this.#held = null;
    const source = held.findLastIndex((event) => event.kind === "source");
    const frame = held.findLastIndex((event) => event.kind === "frame");
    held.forEach((event, i) => {
      if (event.kind === "source" && i !== source) return;
      if (event.kind === "frame") {
        if (i !== frame || i < source) return;
        if (known !== null && event.data.at.mono_ms <= known.at.mono_ms) return;
      }
      this.#apply(event);
    });
  }

  /** Does what may bring other cards; then plans for the old ones are void. */
  #changing<T>(change: () => T): T {
    const cards = (): string | undefined => this.telemetry.machine?.gpus.map((gpu) => gpu.id).join();
    const before = cards();
    const done = change();
    if (before !== cards()) {
      this.planner.machineChanged();
      this.library.machineChanged();
    }
    return done;
  }

  /** A problem that stands comes with every frame; it is news once. */
  #onProblem(problem: string | null): void {
    if (problem !== null && problem !== this.#problem) this.toasts.say("warning", problem);
    this.#problem = problem;
  }

  /** The health comes with every change of the source and every overview; it too is news once. */
  #announce(health: SourceHealth): void {
    const [level, text] = this.#healthWords(health);
    if (text !== this.#health) this.toasts.say(level, text);
    this.#health = text;
  }

  #healthWords(health: SourceHealth): [Level, string] {
    switch (health.state) {
      case "starting":
        return ["normal", "Looking for GPUs"];
      case "live": {
        const gpus = this.telemetry.machine?.gpus;
        return ["normal", gpus === undefined ? "GPUs answer" : `${count(gpus.length, "GPU")} found`];
      }
      case "recovering":
        return ["warning", health.message];
      case "absent":
      case "failed":
        return ["critical", health.message];
    }
  }
}

export function provideApp(app: AppState): AppState {
  return setContext(KEY, app);
}

export function useApp(): AppState {
  return getContext<AppState>(KEY);
}
