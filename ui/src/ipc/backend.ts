// The one port through which the page reaches the product. Features see this file's types and nothing behind them.
import type {
  Alternatives,
  AppError,
  AppEvent,
  CatalogueRow,
  CommandView,
  CustomModel,
  CustomView,
  EngineView,
  HistoryQuery,
  HistoryView,
  LibraryView,
  LogBatch,
  ModelRef,
  ModelView,
  Overview,
  PlanAsk,
  PlanView,
  SessionId,
  SessionView,
  SourceChoice,
} from "./bindings";

export type * from "./bindings";

/** A file dragged over the window or dropped on it. */
export type FileDrop = { kind: "over" } | { kind: "leave" } | { kind: "drop"; path: string };

/** Why a command gave no answer, as the user meets it. */
export class BackendError extends Error {
  constructor(readonly error: AppError) {
    super(error.message);
    this.name = "BackendError";
  }
}

/** Whether events arrive. "refused": this page's token is not the product's, or no longer; nothing more is tried. */
export type Link = "up" | "down" | "refused";

export interface Backend {
  overview(): Promise<Overview>;
  selectSource(choice: SourceChoice): Promise<void>;
  history(query: HistoryQuery): Promise<HistoryView>;
  openModel(model: ModelRef): Promise<ModelView>;
  checkCustom(model: CustomModel): Promise<CustomView>;
  library(): Promise<LibraryView>;
  addLibraryFolder(path: string): Promise<LibraryView>;
  removeLibraryFolder(path: string): Promise<LibraryView>;
  catalogue(): Promise<CatalogueRow[]>;
  plan(ask: PlanAsk): Promise<PlanView>;
  alternatives(ask: PlanAsk): Promise<Alternatives>;
  commands(ask: PlanAsk): Promise<CommandView[]>;
  setEngine(path: string | null): Promise<EngineView>;
  start(ask: PlanAsk): Promise<SessionView>;
  stop(session: SessionId, force: boolean): Promise<void>;
  forget(session: SessionId): Promise<void>;
  sessionLog(session: SessionId, fromSeq: number, max: number): Promise<LogBatch>;
  /**
   * Calls back with every event from now on; returns the way to stop. `resync` comes as soon as events can arrive, at
   * the start and after each break: an overview that is asked for then misses nothing.
   */
  subscribe(cb: (event: AppEvent) => void): () => void;
  /** Calls back when the product stops or starts being reachable. */
  onLink(cb: (link: Link) => void): () => void;
  /** Whether file and folder dialogs exist; in a browser they do not, because the files lie on the other machine. */
  readonly canPick: boolean;
  /** Asks for a model file; null when the user thought better of it. */
  pickModelFile(): Promise<string | null>;
  /** Asks for a folder; null when the user thought better of it. */
  pickFolder(): Promise<string | null>;
  onFileDrop(cb: (drop: FileDrop) => void): () => void;
}

/** Anything thrown, as an error that can be shown. */
export function asAppError(thrown: unknown): AppError {
  if (thrown instanceof BackendError) return thrown.error;
  const detail = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return { code: "internal", message: "The page met an error of its own.", hint: "Reload the page and try again.", detail };
}
