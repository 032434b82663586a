import { describe, expect, it, vi } from "vitest";

import type { LogBatch, LogLine, SessionView } from "../ipc/backend";
import { fakeBackend } from "./fake";
import { SessionLog, Sessions } from "./sessions.svelte";
import { Toasts } from "./toasts.svelte";

const line = (seq: number): LogLine => ({ seq, at_ms: 0, stream: "err", level: "info", text: `${seq}`, truncated: false });
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
});
