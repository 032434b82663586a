// All state of the page, and the one place where events are shared out to it.
import { getContext, setContext } from "svelte";

import type { AppError, AppEvent, Backend, SourceChoice, SourceHealth } from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import { Clock } from "./clock.svelte";
import { Planner } from "./planner.svelte";
import { Route } from "./route.svelte";
import { Sessions } from "./sessions.svelte";
import { Telemetry } from "./telemetry.svelte";
import { Theme } from "./theme.svelte";
import { Toasts } from "./toasts.svelte";

const KEY = Symbol("app");

export class AppState {
  readonly clock = new Clock();
  readonly route = new Route();
  readonly theme = new Theme();
  readonly toasts = new Toasts();
  readonly telemetry: Telemetry;
  readonly sessions: Sessions;
  readonly planner: Planner;

  version = $state("");
  loaded = $state(false);
  loadError = $state.raw<AppError | null>(null);
  /** Whether the product can be reached; a browser page may lose it. */
  linked = $state(true);
  /** Whether a file is being dragged over the window. */
  dropping = $state(false);
  /** Whether a change of the source is under way. */
  switching = $state(false);

  constructor(readonly backend: Backend) {
    this.telemetry = new Telemetry(backend, this.clock);
    this.sessions = new Sessions(backend, this.toasts);
    this.planner = new Planner(backend, () => this.telemetry.frame);
  }

  /** Starts listening and loads everything; returns the way to stop. */
  run(): () => void {
    const stops = [
      this.clock.run(),
      this.backend.onLink((up) => (this.linked = up)),
      this.backend.subscribe((event) => this.#on(event)),
    ];
    void this.load();
    return () => stops.forEach((stop) => stop());
  }

  async load(): Promise<void> {
    try {
      const overview = await this.backend.overview();
      this.version = overview.version;
      this.planner.recent = overview.recent_models;
      this.sessions.take(overview.sessions, overview.engine);
      this.loadError = null;
      await this.telemetry.take(overview);
      this.#announce(overview.health);
      this.loaded = true;
    } catch (thrown) {
      this.loadError = asAppError(thrown);
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

  #on(event: AppEvent): void {
    switch (event.kind) {
      case "frame": {
        this.telemetry.onFrame(event.data);
        const problem = event.data.problems[0];
        if (problem !== undefined) this.toasts.say("warning", problem);
        return;
      }
      case "source": {
        const before = this.telemetry.machine?.gpus.map((gpu) => gpu.id).join();
        this.telemetry.onSource(event.data);
        if (before !== event.data.machine?.gpus.map((gpu) => gpu.id).join()) this.planner.machineChanged();
        return this.#announce(event.data.health);
      }
      case "session":
        return this.sessions.onSession(event.data);
      case "session_gone":
        return this.sessions.onGone(event.data);
      case "log":
        return this.sessions.onLog(event.data);
      case "engine":
        this.sessions.engine = event.data;
        return;
      case "resync":
        void this.load();
    }
  }

  #announce(health: SourceHealth): void {
    switch (health.state) {
      case "starting":
        return this.toasts.say("normal", "Looking for GPUs");
      case "live": {
        const n = this.telemetry.machine?.gpus.length;
        return this.toasts.say("normal", n === undefined ? "GPUs answer" : `${n} GPU${n === 1 ? "" : "s"} found`);
      }
      case "absent":
        return this.toasts.say("critical", health.message);
      case "recovering":
        return this.toasts.say("warning", health.message);
      case "failed":
        return this.toasts.say("critical", health.message);
    }
  }
}

export function provideApp(app: AppState): AppState {
  return setContext(KEY, app);
}

export function useApp(): AppState {
  return getContext<AppState>(KEY);
}
