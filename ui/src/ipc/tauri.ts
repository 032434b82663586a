// The Backend over the desktop window: generated commands, one event, the native file dialog and file drops.
import { getCurrentWebview } from "@tauri-apps/api/webview";
import { open } from "@tauri-apps/plugin-dialog";

import type { AppError, AppEvent } from "./bindings";
import { commands, events } from "./bindings";
import type { Backend, FileDrop, Link } from "./backend";
import { BackendError } from "./backend";

type Answer<T> = { status: "ok"; data: T } | { status: "error"; error: AppError };

async function unwrap<T>(answer: Promise<Answer<T>>): Promise<T> {
  const got = await answer;
  if (got.status === "error") throw new BackendError(got.error);
  return got.data;
}

const done = async (answer: Promise<Answer<unknown>>): Promise<void> => {
  await unwrap(answer);
};

/** Turns a listener that is registered later into one that can be taken back now. */
function undoable(listening: Promise<() => void>): () => void {
  return () =>
    void listening.then(
      (stop) => stop(),
      () => undefined, // what was never registered needs no end
    );
}

export function tauriBackend(): Backend {
  const links = new Set<(link: Link) => void>();
  const tell = (link: Link): void => links.forEach((cb) => cb(link));
  return {
    overview: () => unwrap(commands.overview()),
    selectSource: (choice) => done(commands.selectSource(choice)),
    history: (query) => unwrap(commands.history(query)),
    openModel: (model) => unwrap(commands.openModel(model)),
    checkCustom: (model) => unwrap(commands.checkCustom(model)),
    library: () => unwrap(commands.library()),
    addLibraryFolder: (path) => unwrap(commands.addLibraryFolder(path)),
    removeLibraryFolder: (path) => unwrap(commands.removeLibraryFolder(path)),
    catalogue: () => unwrap(commands.catalogue()),
    plan: (ask) => unwrap(commands.plan(ask)),
    alternatives: (ask) => unwrap(commands.alternatives(ask)),
    commands: (ask) => unwrap(commands.commands(ask)),
    setEngine: (path) => unwrap(commands.setEngine(path)),
    start: (ask) => unwrap(commands.start(ask)),
    stop: (session, force) => done(commands.stop(session, force)),
    forget: (session) => done(commands.forget(session)),
    sessionLog: (session, fromSeq, max) => unwrap(commands.sessionLog(session, fromSeq, max)),

    subscribe(cb: (event: AppEvent) => void) {
      const listening = events.appEventMessage.listen((message) => cb(message.payload));
      listening.then(
        () => {
          tell("up"); // and so it stays: the window and the product are one process
          cb({ kind: "resync" });
        },
        () => tell("down"),
      );
      return undoable(listening);
    },
    onLink(cb: (link: Link) => void) {
      links.add(cb);
      return () => links.delete(cb);
    },

    canPick: true,
    async pickModelFile() {
      const picked = await open({ multiple: false, directory: false, filters: [{ name: "GGUF model", extensions: ["gguf"] }] });
      return typeof picked === "string" ? picked : null;
    },
    async pickFolder() {
      const picked = await open({ multiple: false, directory: true });
      return typeof picked === "string" ? picked : null;
    },
    onFileDrop: (cb: (drop: FileDrop) => void) =>
      undoable(
        getCurrentWebview().onDragDropEvent(({ payload }) => {
          if (payload.type === "drop") {
            const path = payload.paths[0];
            cb(path === undefined ? { kind: "leave" } : { kind: "drop", path });
          } else {
            cb({ kind: payload.type === "leave" ? "leave" : "over" });
          }
        }),
      ),
  };
}
