// What happened last, for the status bar, and failures that belong to no place on the screen.
import type { AppError } from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import type { Level } from "../gpu/levels";

/** How long a failure stays on screen unasked. */
const SHOWN_MS = 8000;
const SHOWN_MAX = 3;

export interface Happening {
  at: number;
  level: Level;
  text: string;
}

export interface Toast {
  id: number;
  error: AppError;
}

export class Toasts {
  latest = $state.raw<Happening | null>(null);
  list = $state.raw<Toast[]>([]);
  #next = 1;

  say(level: Level, text: string): void {
    if (this.latest?.text === text) return;
    this.latest = { at: Date.now(), level, text };
  }

  fail(thrown: unknown): void {
    const error = asAppError(thrown);
    this.say("critical", error.message);
    if (this.list.some((toast) => toast.error.message === error.message)) return;
    const id = this.#next++;
    this.list = [...this.list, { id, error }].slice(-SHOWN_MAX);
    setTimeout(() => this.close(id), SHOWN_MS);
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}
