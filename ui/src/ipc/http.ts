// The Backend over loopback HTTP and a WebSocket, as `dualgpuopt serve` offers them. No file dialog, no file drops:
// a browser does not tell the path of a file.
import type { AppError, AppEvent } from "./bindings";
import type { Backend } from "./backend";
import { BackendError } from "./backend";

const TOKEN_KEY = "dualgpuopt-token";
/** Waits between attempts to reconnect; the last one repeats. */
export const RECONNECT_MS = [250, 500, 1000, 2000, 5000] as const;

/** Takes the token out of the address bar, so that it is not in the history, a bookmark or a shared link. */
export function takeToken(location: Location, history: History, storage: Storage): string | null {
  const fragment = new URLSearchParams(location.hash.replace(/^#/, ""));
  const token = fragment.get("token");
  if (token === null || token === "") return storage.getItem(TOKEN_KEY);
  storage.setItem(TOKEN_KEY, token);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

function isAppError(value: unknown): value is AppError {
  return typeof value === "object" && value !== null && "code" in value && "message" in value && "hint" in value;
}

const unreachable = (detail: string): BackendError =>
  new BackendError({
    code: "internal",
    message: "DualGPUOptimizer does not answer.",
    hint: "Check that it still runs on the machine with the GPUs.",
    detail,
  });

const refused = (): BackendError =>
  new BackendError({
    code: "bad_request",
    message: "This page was opened without a valid access token.",
    hint: "Open the whole address that the server printed when it started; it ends in #token= and a long word.",
    detail: "",
  });

export function httpBackend(token: string | null, origin: string = window.location.origin): Backend {
  async function call<T>(command: string, args: Record<string, unknown> = {}): Promise<T> {
    if (token === null) throw refused();
    let response: Response;
    try {
      response = await fetch(`${origin}/api/${command}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify(args),
      });
    } catch (error) {
      throw unreachable(String(error));
    }
    const text = await response.text();
    let body: unknown;
    try {
      body = text === "" ? null : JSON.parse(text);
    } catch {
      body = text;
    }
    if (response.ok) return body as T;
    if (isAppError(body)) throw new BackendError({ ...body, detail: body.detail ?? "" });
    if (response.status === 401 || response.status === 403) throw refused();
    throw unreachable(`${command}: HTTP ${response.status}`);
  }

  const socket = eventSocket(origin, token);
  return {
    overview: () => call("overview"),
    selectSource: (choice) => call("select_source", { choice }),
    history: (query) => call("history", { query }),
    openModel: (path) => call("open_model", { path }),
    plan: (ask) => call("plan", { ask }),
    setEngine: (path) => call("set_engine", { path }),
    start: (ask) => call("start", { ask }),
    stop: (session, force) => call("stop", { session, force }),
    forget: (session) => call("forget", { session }),
    sessionLog: (session, fromSeq, max) => call("session_log", { session, from_seq: fromSeq, max }),
    subscribe: socket.subscribe,
    onLink: socket.onLink,
    canPick: false,
    pickModelFile: () => Promise.resolve(null),
    onFileDrop: () => () => undefined,
  };
}

/** One socket for all listeners. After a break it says `resync`, because events were missed meanwhile. */
function eventSocket(origin: string, token: string | null) {
  const listeners = new Set<(event: AppEvent) => void>();
  const links = new Set<(up: boolean) => void>();
  let attempt = 0;
  let opened = false;

  const tellLink = (up: boolean) => links.forEach((cb) => cb(up));

  function connect(): void {
    if (token === null) return;
    const url = `${origin.replace(/^http/, "ws")}/events?token=${encodeURIComponent(token)}`;
    const socket = new WebSocket(url);
    socket.onopen = () => {
      attempt = 0;
      tellLink(true);
      if (opened) listeners.forEach((cb) => cb({ kind: "resync" }));
      opened = true;
    };
    socket.onmessage = (message: MessageEvent<string>) => {
      const event = JSON.parse(message.data) as AppEvent;
      listeners.forEach((cb) => cb(event));
    };
    socket.onclose = () => {
      tellLink(false);
      const wait = RECONNECT_MS[Math.min(attempt, RECONNECT_MS.length - 1)];
      attempt += 1;
      setTimeout(connect, wait);
    };
  }

  return {
    subscribe(cb: (event: AppEvent) => void): () => void {
      if (listeners.size === 0 && !opened && attempt === 0) connect();
      listeners.add(cb);
      return () => listeners.delete(cb);
    },
    onLink(cb: (up: boolean) => void): () => void {
      links.add(cb);
      return () => links.delete(cb);
    },
  };
}
