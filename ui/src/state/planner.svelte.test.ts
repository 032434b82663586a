import { describe, expect, it, vi } from "vitest";

import type { Alternative, ModelRef, ModelView, PlanAsk, PlanView } from "../ipc/backend";
import { BackendError } from "../ipc/backend";
import { fakeBackend } from "./fake";
import { Planner } from "./planner.svelte";
import { isVariant, keyOf } from "./source";

const file = (path: string): ModelRef => ({ kind: "file", path });
const model: ModelView = {
  source: file("/m.gguf"),
  name: "M",
  arch: "llama",
  quant: "Q4_K",
  parameters: 1,
  layers: 8,
  context_trained: 8192,
  file_bytes: 1,
  shards: 1,
  problems: [],
};
const answer = (ask: PlanAsk) => ({ model, command: JSON.stringify(ask), planned_in_us: 1, plan: { request: { devices: [] } } }) as unknown as PlanView;
const NOWHERE = { frame: () => null, gpus: () => [] };
const openModel = (source: ModelRef) => Promise.resolve({ ...model, source });

/** A backend whose plans are answered by hand. */
function slow() {
  const waiting: { ask: PlanAsk; resolve: (view: PlanView) => void }[] = [];
  const plan = vi.fn((ask: PlanAsk) => new Promise<PlanView>((resolve) => waiting.push({ ask, resolve })));
  const next = () => {
    const first = waiting.shift();
    first?.resolve(answer(first.ask));
  };
  return { backend: fakeBackend({ openModel, plan }), plan, next };
}

describe("the planner", () => {
  it("asks no more than the model was trained for", async () => {
    const { backend } = slow();
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("  /m.gguf ");
    expect(planner.wish.context).toEqual({ kind: "tokens", tokens: 8192 });
  });

  it("keeps one question under way and then asks only the last of many", async () => {
    const { backend, plan, next } = slow();
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("/m.gguf");
    for (const tokens of [1024, 2048, 4096]) planner.set({ context: { kind: "tokens", tokens } });
    expect(plan).toHaveBeenCalledTimes(1);
    next();
    await vi.waitFor(() => expect(plan).toHaveBeenCalledTimes(2));
    expect(plan.mock.calls[1]?.[0].context).toEqual({ kind: "tokens", tokens: 4096 });
    expect(planner.view).not.toBeNull(); // the old plan stays meanwhile
    next();
    await vi.waitFor(() => expect(planner.planning).toBe(false));
    expect(planner.answered?.context).toEqual({ kind: "tokens", tokens: 4096 });
  });

  it("has a plan for what is asked now only while nothing is under way and nothing failed", async () => {
    let answered: Promise<PlanView>;
    const plan = vi.fn(() => answered);
    const planner = new Planner(fakeBackend({ openModel, plan }), NOWHERE);
    answered = Promise.resolve(answer({} as PlanAsk));
    expect(planner.current).toBe(false);
    await planner.openFile("/m.gguf");
    await vi.waitFor(() => expect(planner.current).toBe(true));
    answered = Promise.reject(new BackendError({ code: "no_gpus", message: "No GPUs.", hint: "", detail: "" }));
    planner.set({ context: { kind: "tokens", tokens: 1024 } });
    expect(planner.current).toBe(false);
    await vi.waitFor(() => expect(planner.planError).not.toBeNull());
    expect(planner.view).not.toBeNull();
    expect(planner.current).toBe(false);
    answered = Promise.resolve(answer({} as PlanAsk));
    await planner.replan();
    expect(planner.current).toBe(true);
  });

  it("ends a split by hand when the GPUs change", async () => {
    const { backend } = slow();
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("/m.gguf");
    planner.set({ split: [4, 5] });
    planner.setUsed("GPU-1", false);
    expect(planner.wish.split).toBeNull();
    expect(planner.ask(file("/m.gguf")).gpus).toEqual([expect.objectContaining({ gpu: "GPU-1", used: false })]);
  });

  it("shows the answer to the file opened last", async () => {
    let first: (view: ModelView) => void = () => undefined;
    const plan = (ask: PlanAsk) => Promise.resolve(answer(ask));
    const backend = fakeBackend({ plan, openModel: (source) => (keyOf(source) === "file /slow.gguf" ? new Promise((resolve) => (first = resolve)) : openModel(source)) });
    const planner = new Planner(backend, NOWHERE);
    const opening = planner.openFile("/slow.gguf");
    await planner.openFile("/m.gguf");
    first({ ...model, source: file("/slow.gguf") });
    await opening;
    expect(planner.model?.source).toEqual(file("/m.gguf"));
  });

  it("keeps what it has when a file cannot be read", async () => {
    const error = { code: "model_invalid", message: "Not a model.", hint: "", detail: "" } as const;
    const plan = (ask: PlanAsk) => Promise.resolve(answer(ask));
    const backend = fakeBackend({ plan, openModel: (source) => (keyOf(source) === "file /bad" ? Promise.reject(new BackendError(error)) : openModel(source)) });
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("/m.gguf");
    await planner.openFile("/bad");
    expect(planner.openError).toEqual(error);
    expect(planner.model?.source).toEqual(file("/m.gguf"));
    expect(planner.opening).toBe(false);
  });

  it("keeps what was asked for another quantisation of the same model, and drops it for another model", async () => {
    const quant = (id: string, name: string): ModelRef => ({ kind: "catalogue", id, quant: name });
    const plan = (ask: PlanAsk) => Promise.resolve(answer(ask));
    const planner = new Planner(fakeBackend({ plan, openModel }), NOWHERE);
    await planner.open(quant("llama", "Q8_0"));
    planner.set({ context: { kind: "tokens", tokens: 1024 } });
    planner.set({ split: [4, 5] });
    await planner.open(quant("llama", "Q4_K_M"));
    expect(planner.wish.context).toEqual({ kind: "tokens", tokens: 1024 });
    expect(planner.wish.split).toEqual([4, 5]);
    await planner.open(quant("qwen", "Q4_K_M"));
    expect(planner.wish.context).toEqual({ kind: "tokens", tokens: 8192 });
    expect(planner.wish.split).toBeNull();
  });

  it("cuts the context, and a split by hand, to what an edited model still has", async () => {
    const custom = (layers: number, trained: number): ModelView => ({
      ...model,
      source: { kind: "custom", model: { layers } as never },
      layers,
      context_trained: trained,
    });
    const planner = new Planner(fakeBackend({ plan: (ask) => Promise.resolve(answer(ask)) }), NOWHERE);
    planner.take(custom(8, 8192));
    planner.set({ split: [4, 5] });
    planner.take(custom(8, 4096));
    expect([planner.wish.context, planner.wish.split]).toEqual([{ kind: "tokens", tokens: 4096 }, [4, 5]]);
    planner.take(custom(12, 8192));
    expect([planner.wish.context, planner.wish.split]).toEqual([{ kind: "tokens", tokens: 4096 }, null]);
    await vi.waitFor(() => expect(planner.current).toBe(true));
    expect(planner.answered?.model).toEqual(custom(12, 8192).source);
  });

  it("shows an alternative with its choices pinned, until the wish changes", async () => {
    const { backend, plan, next } = slow();
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("/m.gguf");
    next();
    await vi.waitFor(() => expect(planner.current).toBe(true));
    const other = { request: { ...plan.mock.calls[0]?.[0], split: [8, 1], micro_batch: 1024, devices: [] } } as unknown as Alternative;
    planner.choose(other);
    planner.choose(other);
    expect(plan).toHaveBeenCalledTimes(2);
    expect(plan.mock.calls[1]?.[0]).toMatchObject({ split: [8, 1], micro_batch: 1024 });
    next();
    await vi.waitFor(() => expect(planner.current).toBe(true));
    expect(planner.answered?.split).toEqual([8, 1]);
    planner.set({ parallel: 2 });
    expect(planner.chosen).toBeNull();
    expect(plan.mock.calls[2]?.[0]).toMatchObject({ split: null, micro_batch: 512, parallel: 2 });
  });

  it("asks for alternatives to the best plan only", async () => {
    const alternatives = vi.fn(() => Promise.resolve({ plans: [], hidden: 0 }));
    const backend = fakeBackend({ openModel, plan: (ask) => Promise.resolve(answer(ask)), alternatives, commands: () => Promise.resolve([]) });
    const planner = new Planner(backend, NOWHERE);
    await planner.openFile("/m.gguf");
    await vi.waitFor(() => expect(planner.alternatives.value).not.toBeNull());
    planner.choose({ request: { ...planner.answered, devices: [] } } as unknown as Alternative);
    await vi.waitFor(() => expect(planner.commands.answered).toBe(planner.answered));
    expect(alternatives).toHaveBeenCalledTimes(1);
  });

  it("tells models apart by what they are, not by where they came up", () => {
    expect(keyOf(file("/a"))).not.toBe(keyOf(file("/b")));
    expect(isVariant(file("/a"), file("/a"))).toBe(true);
    expect(isVariant(file("/a"), file("/b"))).toBe(false);
    expect(isVariant(file("/a"), { kind: "catalogue", id: "/a", quant: "" })).toBe(false);
  });
});
