// What the user wants planned, as a question to the planner. Pure.
import type {
  Alternative,
  CacheType,
  ContextWish,
  Fix,
  Goal,
  GpuChoice,
  GpuFacts,
  GpuId,
  ModelRef,
  Plan,
  PlanAsk,
  PlanMode,
  PlanRequest,
} from "../ipc/backend";
import { GIB } from "../format/units";

/** What a new model is first asked for; less where it was trained for less. */
export const CONTEXT_FIRST = 16_384;
/** System RAM that is first allowed when it is allowed at all. */
const RAM_FIRST = 16 * GIB;

export interface GpuWish {
  used: boolean;
  /** Bytes; null until the user sets it: then the default applies. */
  reserve: number | null;
}

export interface Wish {
  goal: Goal;
  context: ContextWish;
  cache: CacheType;
  parallel: number;
  microBatch: number;
  /** Tokens in the cache for which speed is told. */
  depth: number;
  /** Null: the planner chooses. */
  mode: PlanMode | null;
  /** System RAM for layers or experts, and whether it may be used. */
  ram: { used: boolean; bytes: number };
  allGpus: boolean;
  gpus: Readonly<Record<GpuId, GpuWish>>;
  /** Cards that are not here, by name: the plan is then a what-if. They count as the last GPUs. */
  added: readonly string[];
  /** Units per GPU set by hand. */
  split: readonly number[] | null;
  /** The engine's order of the GPUs, where a split by hand belongs to one. */
  order: readonly number[] | null;
}

export const FIRST_WISH: Wish = {
  goal: "fastest",
  context: { kind: "tokens", tokens: CONTEXT_FIRST },
  cache: "f16",
  parallel: 1,
  microBatch: 512,
  depth: 0,
  mode: null,
  ram: { used: false, bytes: RAM_FIRST },
  allGpus: false,
  gpus: {},
  added: [],
  split: null,
  order: null,
};

/** What ends a split by hand, because it counts units of other GPUs or other layers. */
export const NO_SPLIT = { split: null, order: null };

export const usedOf = (wish: Wish, gpu: GpuId): boolean => wish.gpus[gpu]?.used ?? true;

/** The wish with one GPU changed. What a split by hand means depends on which GPUs are used, so a change of that ends it. */
export function withGpu(wish: Wish, gpu: GpuId, change: Partial<GpuWish>): Wish {
  const gpus = { ...wish.gpus, [gpu]: { used: usedOf(wish, gpu), reserve: wish.gpus[gpu]?.reserve ?? null, ...change } };
  return { ...wish, gpus, ...(change.used === undefined ? {} : NO_SPLIT) };
}

/** The wish as a question about a model. */
export function askOf(wish: Wish, model: ModelRef, reserveOf: (gpu: GpuId) => number): PlanAsk {
  return {
    model,
    goal: wish.goal,
    context: wish.context,
    cache_k: wish.cache,
    cache_v: wish.cache,
    parallel: wish.parallel,
    micro_batch: wish.microBatch,
    depth: wish.depth,
    mode: wish.mode,
    ram: wish.ram.used ? { bytes: wish.ram.bytes, bandwidth_mb_s: null } : null,
    all_gpus: wish.allGpus,
    experts_in_ram: null,
    gpus: Object.entries(wish.gpus).map(([gpu, { used, reserve }]) => ({ gpu, used, reserve: reserve ?? reserveOf(gpu), most: null })),
    added: [...wish.added],
    only_added: false,
    split: wish.split === null ? null : [...wish.split],
    order: wish.order === null ? null : [...wish.order],
    port: null,
  };
}

/** The question that gives exactly an alternative: every choice pinned, and no GPU but its own. */
export function pinned(ask: PlanAsk, { request }: Alternative, gpus: readonly GpuFacts[]): PlanAsk {
  const { devices, ...choices } = request;
  const mine = devices.map(({ gpu, reserve }): GpuChoice => ({ gpu, used: true, reserve, most: null }));
  const own = new Set(mine.map(({ gpu }) => gpu));
  const others = gpus.filter(({ id }) => !own.has(id)).map(({ id }): GpuChoice => ({ gpu: id, used: false, reserve: 0, most: null }));
  return { ...ask, ...choices, gpus: [...mine, ...others] };
}

/** Whether an alternative is a plan: the same flags, the same layers and experts in the same places. */
export function isPlan({ request }: Alternative, plan: Plan): boolean {
  const asked = plan.request;
  const flags = (of: PlanRequest) => [of.cache_k, of.cache_v, of.micro_batch, of.parallel].join();
  const experts = (plan.experts_in_ram.at(-1) ?? -1) + 1;
  return (
    flags(request) === flags(asked) &&
    request.mode === plan.mode &&
    request.split?.join() === plan.split.join() &&
    (request.experts_in_ram ?? 0) === experts
  );
}

/** The wish with a fix applied; what only the user can do (end another program) changes nothing. */
export function fixed(wish: Wish, fix: Fix, gpus: readonly GpuFacts[]): Wish {
  switch (fix.kind) {
    case "context":
      return { ...wish, context: { kind: "tokens", tokens: fix.tokens } };
    case "cache":
      return { ...wish, cache: fix.cache, context: { kind: "tokens", tokens: fix.tokens } };
    case "ram":
      // A split by hand counts layers on GPUs, of which there are now fewer.
      return { ...wish, ram: { used: true, bytes: Math.max(wish.ram.bytes, fix.bytes) }, ...NO_SPLIT };
    case "gpus":
      return gpus.filter(({ index }) => fix.indices.includes(index)).reduce((to, { id }) => withGpu(to, id, { used: true }), wish);
    case "micro_batch":
      return { ...wish, microBatch: fix.tokens };
    case "parallel":
      return { ...wish, parallel: fix.requests };
    case "others":
      return wish;
  }
}
