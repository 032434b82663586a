import { describe, expect, it, vi } from "vitest";

import type { LogBatch, LogLine, SessionView } from "../ipc/backend";
import { fakeBackend } from "./fake";
import { SessionLog, Sessions, type Draft } from "./sessions.svelte";
import { Toasts } from "./toasts.svelte";

const line = (seq: number): LogLine => ({
  seq,
  at_ms: 0,
  stream: "err",
  level: "info",
  text: `${seq}`,
  truncated: false,
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

/** A product that keeps these lines. */
const kept = (all: LogLine[]) =>
  vi.fn((session: number, from: number, max: number) =>
    Promise.resolve<LogBatch>({ session, lines: all.filter((l) => l.seq >= from).slice(0, max), dropped: 0 }),
  );
const numbers = (log: SessionLog) => log.ring.lines.map((l) => l.seq);

describe("a session's log", () => {
  it("takes lines that arrive while the kept ones are read, each once", async () => {
    let answer: (batch: LogBatch) => void = () => undefined;
    const backend = fakeBackend({ sessionLog: () => new Promise((resolve) => (answer = resolve)) });
    const log = new SessionLog();
    const loading = log.load(backend, 1);
    log.take({ session: 1, lines: [line(1), line(2)], dropped: 0 });
    answer({ session: 1, lines: [line(0), line(1)], dropped: 0 });
    await loading;
    expect(log.ring.lines.map((l) => l.seq)).toEqual([0, 1, 2]);
  });

  it("reads on until a page is not full", async () => {
    const all = Array.from({ length: 1500 }, (_, seq) => line(seq));
    const sessionLog = vi.fn((_: number, from: number, max: number) => Promise.resolve({ session: 1, lines: all.slice(from, from + max), dropped: 4 }));
    const log = new SessionLog();
    await log.load(fakeBackend({ sessionLog }), 1);
    expect(log.ring.lines).toHaveLength(1500);
    expect(log.dropped).toBe(4);
    expect(sessionLog).toHaveBeenCalledTimes(2);
  });

  it("has the lines from before its first live ones, however many", async () => {
    const all = Array.from({ length: 2500 }, (_, seq) => line(seq));
    const log = new SessionLog();
    log.take({ session: 1, lines: all.slice(2480), dropped: 0 });
    await log.load(fakeBackend({ sessionLog: kept(all) }), 1);
    expect(numbers(log)).toEqual(all.map((l) => l.seq));
  });

  it("fills the gap that missed events left, and only reads from there", async () => {
    const all = Array.from({ length: 30 }, (_, seq) => line(seq));
    const sessionLog = kept(all.slice(0, 5));
    const log = new SessionLog();
    const backend = fakeBackend({ sessionLog });
    await log.load(backend, 1);
    log.take({ session: 1, lines: all.slice(5, 10), dropped: 0 });
    sessionLog.mockImplementation(kept(all.slice(0, 28)));
    log.missed(backend, 1);
    expect(log.loading).toBe(true);
    log.take({ session: 1, lines: all.slice(26, 30), dropped: 0 });
    await vi.waitFor(() => expect(log.loading).toBe(false));
    expect(sessionLog).toHaveBeenLastCalledWith(1, 10, expect.any(Number));
    expect(numbers(log)).toEqual(all.map((l) => l.seq));
  });

  it("reads once more when events were missed while it was read", async () => {
    const all = Array.from({ length: 9 }, (_, seq) => line(seq));
    const answers: (() => void)[] = [];
    const sessionLog = vi.fn(
      (session: number, from: number) =>
        new Promise<LogBatch>((resolve) => {
          const lines = all.slice(from, answers.length === 0 ? 3 : 7);
          answers.push(() => resolve({ session, lines, dropped: 0 }));
        }),
    );
    const log = new SessionLog();
    const backend = fakeBackend({ sessionLog });
    const loading = log.load(backend, 1);
    log.missed(backend, 1);
    log.take({ session: 1, lines: all.slice(7), dropped: 0 });
    answers[0]?.();
    await vi.waitFor(() => expect(sessionLog).toHaveBeenCalledTimes(2));
    answers[1]?.();
    await loading;
    expect(numbers(log)).toEqual(all.map((l) => l.seq));
  });

  it("closes the gap behind a failed reading when it is read again", async () => {
    const all = Array.from({ length: 9 }, (_, seq) => line(seq));
    const sessionLog = kept(all).mockRejectedValueOnce(new Error("gone"));
    const log = new SessionLog();
    const backend = fakeBackend({ sessionLog });
    const loading = log.load(backend, 1);
    log.take({ session: 1, lines: all.slice(6), dropped: 0 });
    await loading;
    expect(numbers(log)).toEqual([6, 7, 8]);
    await log.load(backend, 1);
    expect(numbers(log)).toEqual(all.map((l) => l.seq));
  });

  it("can be read again after it failed", async () => {
    const sessionLog = vi.fn().mockRejectedValueOnce(new Error("gone")).mockResolvedValue({ session: 1, lines: [line(0)], dropped: 0 });
    const log = new SessionLog();
    await log.load(fakeBackend({ sessionLog }), 1);
    expect(log.error).not.toBeNull();
    await log.load(fakeBackend({ sessionLog }), 1);
    expect(log.error).toBeNull();
    expect(log.ring.lines).toHaveLength(1);
  });
});

describe("the sessions", () => {
  it("show what was chosen while it is there, else what runs", () => {
    const sessions = new Sessions(fakeBackend(), new Toasts());
    sessions.onSession(session(1, { state: "ready" }));
    sessions.onSession(session(2, { state: "failed", message: "m", hint: "" }));
    expect(sessions.selected).toBe(1);
    sessions.chosen = 2;
    expect(sessions.selected).toBe(2);
    sessions.onGone(2);
    expect(sessions.selected).toBe(1);
  });

  it("change in place", () => {
    const sessions = new Sessions(fakeBackend(), new Toasts());
    sessions.onSession(session(1, { state: "starting" }));
    sessions.onSession(session(1, { state: "ready" }));
    expect(sessions.list).toHaveLength(1);
    expect(sessions.list[0]?.state.state).toBe("ready");
  });

  it("never go back to what is older", () => {
    const sessions = new Sessions(fakeBackend(), new Toasts());
    sessions.onSession(session(1, { state: "ready" }));
    sessions.onSession(session(1, { state: "loading" }));
    expect(sessions.list[0]?.state.state).toBe("ready");
  });

  it("keep what events said of an engine that failed before its start was answered", async () => {
    let answer: (view: SessionView) => void = () => undefined;
    const toasts = new Toasts();
    const sessions = new Sessions(fakeBackend({ start: () => new Promise((resolve) => (answer = resolve)) }), toasts);
    sessions.apply({ ask: {}, view: {} } as unknown as Draft);
    const starting = sessions.start();
    sessions.onSession(session(1, { state: "failed", message: "No memory.", hint: "" }));
    answer(session(1, { state: "starting" }));
    await starting;
    expect(sessions.list.map((s) => s.state.state)).toEqual(["failed"]);
    expect(sessions.selected).toBe(1);
    expect(toasts.latest?.text).toContain("failed");
  });

  it("take the answer of a start where no event came yet", async () => {
    const view = session(1, { state: "starting" });
    const sessions = new Sessions(fakeBackend({ start: () => Promise.resolve(view) }), new Toasts());
    sessions.apply({ ask: {}, view: {} } as unknown as Draft);
    await sessions.start();
    expect(sessions.list).toEqual([view]);
    expect(sessions.draft).toBeNull();
  });
});
