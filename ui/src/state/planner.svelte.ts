// What the user wants planned, and the newest answer. Every change plans at once; the old plan stays until the new one is there.
import type {
  Alternative,
  Alternatives,
  AppError,
  Backend,
  CommandView,
  Fix,
  Frame,
  GpuFacts,
  GpuId,
  ModelRef,
  ModelView,
  PlanAsk,
  PlanView,
  RecentModel,
} from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import { valueOf } from "../gpu/readings";
import { GIB, MIB } from "../format/units";
import { Follower } from "./follower.svelte";
import { Asker } from "./latest.svelte";
import { isVariant, keyOf } from "./source";
import { askOf, CONTEXT_FIRST, FIRST_WISH, fixed, NO_SPLIT, pinned, usedOf, withGpu, type Wish } from "./wish";

/** Memory in use may move this much before the plan counts as out of date. */
const DRIFT_MAX = 0.25 * GIB;
/** Stands in until a plan has told the default reserve. */
const RESERVE_FALLBACK = 512 * MIB;

/** What the planner knows of the machine. */
export interface Surroundings {
  frame: () => Frame | null;
  gpus: () => readonly GpuFacts[];
}

export class Planner {
  recent = $state.raw<RecentModel[]>([]);
  /** Path of a file as typed. */
  path = $state("");
  model = $state.raw<ModelView | null>(null);
  opening = $state(false);
  openError = $state.raw<AppError | null>(null);

  wish = $state.raw<Wish>(FIRST_WISH);
  /** The alternative that is shown instead of the best plan; any change of the wish ends that. */
  chosen = $state.raw<Alternative | null>(null);
  readonly alternatives: Follower<Alternatives>;
  readonly commands: Follower<CommandView[]>;

  view = $state.raw<PlanView | null>(null);
  /** The question that `view` answers. */
  answered = $state.raw<PlanAsk | null>(null);
  planError = $state.raw<AppError | null>(null);

  /** Whether `view` answers what is asked now: nothing is under way, and the last question was answered. */
  current = $derived(this.view !== null && !this.planning && this.planError === null);

  #backend: Backend;
  #around: Surroundings;
  #plans: Asker<PlanAsk, PlanView>;
  #opened = 0;
  #usedAtPlan: ReadonlyMap<GpuId, number> = new Map();

  constructor(backend: Backend, around: Surroundings) {
    this.#backend = backend;
    this.#around = around;
    this.alternatives = new Follower((ask) => backend.alternatives(ask));
    this.commands = new Follower((ask) => backend.commands(ask));
    this.#plans = new Asker<PlanAsk, PlanView>({
      question: () => (this.model === null ? null : this.ask(this.model.source)),
      command: (ask) => backend.plan(ask),
      answered: (view, ask) => this.#answer(view, ask),
      failed: (thrown) => (this.planError = asAppError(thrown)),
    });
  }

  /** Whether a plan is being made. */
  get planning(): boolean {
    return this.#plans.asking;
  }

  /** Tokens asked for, or planned where the largest was asked for. */
  contextTokens = $derived(this.wish.context.kind === "tokens" ? this.wish.context.tokens : (this.view?.plan.context ?? 0));

  /** Opens a file by its path, as typed. */
  async openFile(path: string): Promise<void> {
    const wanted = path.trim();
    if (wanted === "") return;
    this.path = wanted;
    await this.open({ kind: "file", path: wanted });
  }

  async open(source: ModelRef): Promise<void> {
    const number = ++this.#opened;
    this.opening = true;
    this.openError = null;
    try {
      const model = await this.#backend.openModel(source);
      if (number === this.#opened) this.#take(model);
    } catch (thrown) {
      if (number === this.#opened) this.openError = asAppError(thrown);
    } finally {
      if (number === this.#opened) this.opening = false;
    }
  }

  /** Plans a model that is known already; a file that is still being opened loses to it. */
  take(model: ModelView): void {
    this.#opened += 1;
    this.opening = false;
    this.openError = null;
    this.#take(model);
  }

  #take(model: ModelView): void {
    const before = this.model;
    this.model = model;
    if (model.source.kind === "file") {
      this.path = model.source.path;
      this.#remember(model, model.source.path);
    }
    const other = before === null || !isVariant(before.source, model.source);
    let { context, split, order } = this.wish;
    if (other) {
      this.#void();
      context = { kind: "tokens", tokens: CONTEXT_FIRST };
    }
    if (other || before.layers !== model.layers) ({ split, order } = NO_SPLIT);
    if (context.kind === "tokens" && context.tokens > model.context_trained) {
      context = { kind: "tokens", tokens: model.context_trained };
    }
    this.set({ context, split, order });
  }

  ask(model: ModelRef): PlanAsk {
    const ask = askOf(this.wish, model, (gpu) => this.reserveOf(gpu));
    return this.chosen === null ? ask : pinned(ask, this.chosen, this.#around.gpus());
  }

  /** Bytes kept free on a GPU: as set, else as the last plan had it. */
  reserveOf(gpu: GpuId): number {
    const planned = this.view?.plan.request.devices.find((device) => device.gpu === gpu)?.reserve;
    return this.wish.gpus[gpu]?.reserve ?? planned ?? RESERVE_FALLBACK;
  }

  usedOf(gpu: GpuId): boolean {
    return usedOf(this.wish, gpu);
  }

  set(change: Partial<Wish>): void {
    this.wish = { ...this.wish, ...change };
    this.chosen = null;
    void this.replan();
  }

  setUsed(gpu: GpuId, used: boolean): void {
    this.set(withGpu(this.wish, gpu, { used }));
  }

  setReserve(gpu: GpuId, reserve: number): void {
    this.set(withGpu(this.wish, gpu, { reserve }));
  }

  applyFix(fix: Fix): void {
    this.set(fixed(this.wish, fix, this.#around.gpus()));
  }

  /** Shows an alternative; null: the best plan again. */
  choose(alternative: Alternative | null): void {
    if (alternative === this.chosen) return;
    this.chosen = alternative;
    void this.replan();
  }

  /** Other cards mean other wishes, and no plan until there is one for them. */
  machineChanged(): void {
    this.#void();
    this.set({ gpus: {}, ...NO_SPLIT });
  }

  #void(): void {
    this.view = null;
    this.answered = null;
    this.alternatives.clear();
    this.commands.clear();
  }

  /** Whether others took or freed so much memory since the plan that it may no longer hold. */
  drifted(frame: Frame | null): boolean {
    return (frame?.gpus ?? []).some((sample) => {
      const then = this.#usedAtPlan.get(sample.gpu);
      const now = valueOf(sample, "memory_used_bytes");
      return then !== undefined && now !== null && Math.abs(now - then) > DRIFT_MAX;
    });
  }

  /** Plans what is asked now, on the machine as it is now. */
  async replan(): Promise<void> {
    await this.#plans.ask();
  }

  #answer(view: PlanView, ask: PlanAsk): void {
    if (this.model === null || keyOf(this.model.source) !== keyOf(ask.model)) return;
    this.view = view;
    this.answered = ask;
    this.planError = null;
    this.#rememberUse();
    this.commands.follow(ask);
    if (this.chosen === null) this.alternatives.follow(ask);
  }

  #rememberUse(): void {
    const used = new Map<GpuId, number>();
    for (const sample of this.#around.frame()?.gpus ?? []) {
      const value = valueOf(sample, "memory_used_bytes");
      if (value !== null) used.set(sample.gpu, value);
    }
    this.#usedAtPlan = used;
  }

  #remember(model: ModelView, path: string): void {
    const entry = { path, name: model.name, quant: model.quant, file_bytes: model.file_bytes, present: true };
    this.recent = [entry, ...this.recent.filter((other) => other.path !== path)].slice(0, 12);
  }
}
