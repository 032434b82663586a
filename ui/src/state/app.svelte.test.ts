import { afterEach, describe, expect, it, vi } from "vitest";

import type { AppEvent, Frame, Link, Overview, SessionView, SourceView } from "../ipc/backend";
import { BackendError } from "../ipc/backend";
import { AppState } from "./app.svelte";
import { fakeBackend, machine, overview } from "./fake";

const frame = (seq: number, problems: string[] = []): Frame => ({
  seq,
  at: { mono_ms: seq * 1000, wall_ms: 0 },
  gpus: [],
  problems,
});
const session = (id: number, state: SessionView["state"]): SessionView => ({
  id,
  spec: { title: `M${id}`, program: "", args: [], env: [], host: "127.0.0.1", port: 8080, health_path: "/health" },
  state,
  pid: null,
  started_at_ms: 0,
  ready_at_ms: null,
  ended_at_ms: null,
  containment: null,
});
const view = (sessions: SessionView[], newest: Frame | null = null): Overview => ({ ...overview(newest), sessions });
const states = (app: AppState) => app.sessions.list.map((s) => `${s.id} ${s.state.state}`);

/** Ends what the pages of a test began. */
const stops: (() => void)[] = [];
afterEach(() => stops.splice(0).forEach((stop) => stop()));

/** A page whose overviews are answered by hand. */
function page() {
  let send: (event: AppEvent) => void = () => undefined;
  let link: (link: Link) => void = () => undefined;
  const asked: { answer: (overview: Overview) => void; fail: (error: unknown) => void }[] = [];
  const backend = fakeBackend({
    overview: vi.fn(() => new Promise<Overview>((answer, fail) => asked.push({ answer, fail }))),
    history: () => Promise.resolve({ mono_ms: [], wall_ms: [], series: [], last_seq: 0 }),
    subscribe(cb) {
      send = cb;
      return () => undefined;
    },
    onLink(cb) {
      link = cb;
      return () => undefined;
    },
  });
  const app = new AppState(backend);
  stops.push(app.run());
  const answer = async (n: number, with_: Overview): Promise<void> => {
    asked[n]?.answer(with_);
    await vi.waitFor(() => expect(app.loaded).toBe(true));
  };
  return { app, asked, answer, send: (event: AppEvent) => send(event), link: (to: Link) => link(to) };
}

describe("the page's state", () => {
  it("asks for the overview only once events can arrive", () => {
    const { asked, send } = page();
    expect(asked).toHaveLength(0);
    send({ kind: "resync" });
    expect(asked).toHaveLength(1);
  });

  it("keeps what happened while the overview was on its way", async () => {
    const { app, send, answer } = page();
    send({ kind: "resync" });
    send({ kind: "session", data: session(1, { state: "ready" }) });
    send({ kind: "session", data: session(2, { state: "starting" }) });
    expect(states(app)).toEqual([]);
    await answer(0, view([session(1, { state: "loading" })]));
    expect(states(app)).toEqual(["1 ready", "2 starting"]);
  });

  it("does not go back behind an overview that knew more than the events before it", async () => {
    const { app, send, answer } = page();
    send({ kind: "resync" });
    send({ kind: "session", data: session(1, { state: "starting" }) });
    send({ kind: "frame", data: frame(3) });
    send({ kind: "frame", data: frame(4) });
    await answer(0, view([session(1, { state: "ready" })], frame(5)));
    expect(states(app)).toEqual(["1 ready"]);
    expect(app.telemetry.frame?.seq).toBe(5);
  });

  it("shows the newest of the frames that waited", async () => {
    const { app, send, answer } = page();
    send({ kind: "resync" });
    for (const seq of [5, 6, 7]) send({ kind: "frame", data: frame(seq) });
    await answer(0, view([], frame(5)));
    expect(app.telemetry.frame?.seq).toBe(7);
  });

  it("takes the later of two overviews, whichever is answered first", async () => {
    const { app, asked } = page();
    const loads = [app.load(), app.load()];
    asked[1]?.answer(view([session(1, { state: "ready" })]));
    await loads[1];
    asked[0]?.answer(view([]));
    await loads[0];
    expect(states(app)).toEqual(["1 ready"]);
  });

  it("loses no event when the overview fails, and says why", async () => {
    const { app, asked, send, answer } = page();
    send({ kind: "resync" });
    await answer(0, view([session(1, { state: "loading" })]));
    send({ kind: "resync" });
    send({ kind: "session", data: session(1, { state: "ready" }) });
    asked[1]?.fail(new BackendError({ code: "internal", message: "No overview.", hint: "", detail: "" }));
    await vi.waitFor(() => expect(states(app)).toEqual(["1 ready"]));
    expect(app.toasts.list.map((toast) => toast.error.message)).toEqual(["No overview."]);
  });

  it("says why nothing is shown when it never got through", async () => {
    const { app, asked, link } = page();
    link("refused");
    asked[0]?.fail(new BackendError({ code: "bad_request", message: "No token.", hint: "", detail: "" }));
    await vi.waitFor(() => expect(app.loadError?.message).toBe("No token."));
    expect(app.link).toBe("refused");
  });

  it("plans afresh when an overview brings other cards", async () => {
    const { app, asked, send, answer } = page();
    send({ kind: "resync" });
    await answer(0, view([]));
    app.planner.wish = { ...app.planner.wish, split: [1, 2] };
    send({ kind: "resync" });
    asked[1]?.answer({ ...view([]), machine: { ...machine, gpus: machine.gpus.slice(0, 1) } });
    await vi.waitFor(() => expect(app.planner.wish.split).toBeNull());
  });
});

describe("the status line", () => {
  it("tells a standing problem once, and again when it came back", async () => {
    const { app, send, answer } = page();
    send({ kind: "resync" });
    await answer(0, view([]));
    send({ kind: "frame", data: frame(1, ["The fan of GPU 0 cannot be read."]) });
    expect(app.toasts.latest?.text).toContain("fan");
    send({ kind: "session", data: session(1, { state: "ready" }) });
    send({ kind: "frame", data: frame(2, ["The fan of GPU 0 cannot be read."]) });
    expect(app.toasts.latest?.text).toContain("M1 is ready");
    send({ kind: "frame", data: frame(3) });
    send({ kind: "frame", data: frame(4, ["The fan of GPU 0 cannot be read."]) });
    expect(app.toasts.latest?.text).toContain("fan");
  });

  it("tells the health when it changes, not with every word of the source", async () => {
    const { app, send, answer } = page();
    const source: SourceView = { choice: { kind: "simulated", cards: [] }, health: { state: "live" }, machine };
    send({ kind: "resync" });
    await answer(0, view([]));
    expect(app.toasts.latest?.text).toBe("2\u00a0GPUs found");
    send({ kind: "session", data: session(1, { state: "ready" }) });
    send({ kind: "source", data: source });
    expect(app.toasts.latest?.text).toContain("ready");
    send({ kind: "source", data: { ...source, health: { state: "failed", message: "The driver hangs." } } });
    expect(app.toasts.latest?.text).toBe("The driver hangs.");
  });
});
