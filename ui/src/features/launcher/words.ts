// What a session's state is called, and how long things lasted.
import type { Exit, SessionView } from "../../ipc/backend";
import { span } from "../../format/time";

export const STATE_WORD = {
  starting: "Starting",
  loading: "Loading the model",
  ready: "Ready",
  stopping: "Stopping",
  stopped: "Stopped",
  failed: "Failed",
} as const;

/** How a process ended: exit code 1, signal 9; empty where nothing is known. */
export function exitWords(exit: Exit): string {
  if (exit.signal !== null) return `signal ${exit.signal}`;
  return exit.code === null ? "" : `exit code ${exit.code}`;
}

/** How long a session has run, or ran. */
export const lifetime = (session: SessionView, nowMs: number): string => span((session.ended_at_ms ?? nowMs) - session.started_at_ms);

/** Seconds until a stop is forced; 0 when it is due. */
export const secondsLeft = (forceAtMs: number, nowMs: number): number => Math.max(0, Math.ceil((forceAtMs - nowMs) / 1000));
