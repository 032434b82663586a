// The Backend over loopback HTTP and a WebSocket, as `dualgpuopt serve` offers them. No file dialog, no file drops:
// a browser does not tell the path of a file.
import type { AppError, AppEvent } from "./bindings";
import type { Backend, Link } from "./backend";
import { BackendError } from "./backend";

const TOKEN_KEY = "dualgpuopt-token";
/** Waits between attempts to reconnect; the last one repeats. */
export const RECONNECT_MS = [250, 500, 1000, 2000, 5000] as const;

function tokenIn(location: Location): string | null {
  const token = new URLSearchParams(location.hash.replace(/^#/, "")).get("token");
  return token === "" ? null : token;
}

/** Takes the token out of the address bar, so that it is not in the history, a bookmark or a shared link. */
export function takeToken(location: Location, history: History, storage: Storage): string | null {
  const token = tokenIn(location);
  if (token === null) return storage.getItem(TOKEN_KEY);
  storage.setItem(TOKEN_KEY, token);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** A new address in the same tab may differ in its token only, and that alone loads nothing. */
export function reloadOnToken(window: Window): void {
  window.addEventListener("hashchange", () => {
    if (tokenIn(window.location) !== null) window.location.reload();
  });
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

/** The product is there, but this page's token is not its token. */
class Refused extends BackendError {
  constructor() {
    super({
      code: "bad_request",
      message: "This page has no valid access token.",
      hint:
        "Open the whole address that dualgpuopt serve printed when it was last started; it ends in #token= and a " +
        "long word. Each start has a new one.",
      detail: "",
    });
  }
}

export function httpBackend(token: string | null, origin: string = window.location.origin): Backend {
  async function call<T>(command: string, args: Record<string, unknown> = {}): Promise<T> {
    if (token === null) throw new Refused();
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
    if (response.status === 401 || response.status === 403) throw new Refused();
    throw unreachable(`${command}: HTTP ${response.status}`);
  }

  const admitted = (): Promise<boolean> =>
    call("overview").then(
      () => true,
      (error: unknown) => !(error instanceof Refused),
    );
  const socket = eventSocket(origin, token, admitted);
  return {
    overview: () => call("overview"),
    selectSource: (choice) => call("select_source", { choice }),
    history: (query) => call("history", { query }),
    openModel: (model) => call("open_model", { model }),
    checkCustom: (model) => call("check_custom", { model }),
    library: () => call("library"),
    addLibraryFolder: (path) => call("add_library_folder", { path }),
    removeLibraryFolder: (path) => call("remove_library_folder", { path }),
    catalogue: () => call("catalogue"),
    plan: (ask) => call("plan", { ask }),
    alternatives: (ask) => call("alternatives", { ask }),
    commands: (ask) => call("commands", { ask }),
    setEngine: (path) => call("set_engine", { path }),
    start: (ask) => call("start", { ask }),
    stop: (session, force) => call("stop", { session, force }),
    forget: (session) => call("forget", { session }),
    sessionLog: (session, fromSeq, max) => call("session_log", { session, from_seq: fromSeq, max }),
    subscribe: socket.subscribe,
    onLink: socket.onLink,
    canPick: false,
    pickModelFile: () => Promise.resolve(null),
    pickFolder: () => Promise.resolve(null),
    onFileDrop: () => () => undefined,
  };
}

/**
 * One socket for all listeners. When a connection cannot even be made, `admitted` tells why: a product that was started
 * again has another token, and then no retry helps.
 */
function eventSocket(origin: string, token: string | null, admitted: () => Promise<boolean>) {
  const listeners = new Set<(event: AppEvent) => void>();
  const links = new Set<(link: Link) => void>();
  let begun = false;
  let attempt = 0;
  let link: Link = "down";

  function tell(next: Link): void {
    link = next;
    for (const cb of links) cb(next);
  }

  function connect(): void {
    if (token === null) return tell("refused");
    let opened = false;
    const socket = new WebSocket(`${origin.replace(/^http/, "ws")}/events?token=${encodeURIComponent(token)}`);
    socket.onopen = () => {
      opened = true;
      attempt = 0;
      tell("up");
      for (const cb of listeners) cb({ kind: "resync" });
    };
    socket.onmessage = (message: MessageEvent<string>) => {
      const event = JSON.parse(message.data) as AppEvent;
      for (const cb of listeners) cb(event);
    };
    socket.onclose = () => {
      if (link === "refused") return;
      tell("down");
      const retry = setTimeout(connect, RECONNECT_MS[Math.min(attempt, RECONNECT_MS.length - 1)]);
      attempt += 1;
      if (opened) return;
      void admitted().then((yes) => {
        if (yes || link !== "down") return;
        clearTimeout(retry);
        tell("refused");
      });
    };
  }

  return {
    subscribe(cb: (event: AppEvent) => void): () => void {
      listeners.add(cb);
      if (!begun) {
        begun = true;
        connect();
      } else if (link === "up") {
        cb({ kind: "resync" });
      }
      return () => listeners.delete(cb);
    },
    onLink(cb: (link: Link) => void): () => void {
      links.add(cb);
      return () => links.delete(cb);
    },
  };
}
