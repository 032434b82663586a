// The Launcher's list: the draft first, then what runs, what failed, what stopped; the newest first in each.
import type { SessionView } from "../../ipc/backend";
import type { Draft } from "../../state/sessions.svelte";

export interface Entry {
  key: "draft" | number;
  title: string;
  state: "draft" | SessionView["state"]["state"];
  session: SessionView | null;
}

const ORDER = { ready: 0, loading: 0, starting: 0, stopping: 0, failed: 1, stopped: 2 };

export function entriesOf(draft: Draft | null, list: readonly SessionView[]): Entry[] {
  const sessions = [...list]
    .sort((a, b) => ORDER[a.state.state] - ORDER[b.state.state] || b.started_at_ms - a.started_at_ms)
    .map((session): Entry => ({ key: session.id, title: session.spec.title, state: session.state.state, session }));
  return draft === null ? sessions : [{ key: "draft", title: draft.view.model.name, state: "draft", session: null }, ...sessions];
}
