// What is told beside a plan: its alternatives, its commands. Asked for once the wish has settled, so that a slider that is
// being dragged does not ask.
import type { AppError, PlanAsk } from "../ipc/backend";
import { asAppError } from "../ipc/backend";
import { Asker } from "./latest.svelte";

/** Quiet time after the last plan. */
export const SETTLE_MS = 120;

export class Follower<A> {
  value = $state.raw<A | null>(null);
  /** The question that `value` answers. */
  answered = $state.raw<PlanAsk | null>(null);
  error = $state.raw<AppError | null>(null);

  #asker: Asker<PlanAsk, A>;
  #question: PlanAsk | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(command: (ask: PlanAsk) => Promise<A>) {
    this.#asker = new Asker<PlanAsk, A>({
      question: () => this.#question,
      command,
      answered: (value, ask) => {
        if (this.#question === null) return;
        this.value = value;
        this.answered = ask;
        this.error = null;
      },
      failed: (thrown) => {
        if (this.#question !== null) this.error = asAppError(thrown);
      },
    });
  }

  /** Asks what belongs to the plan that answers a question; what belonged to the old one stays until it is there. */
  follow(ask: PlanAsk): void {
    this.#question = ask;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#asker.ask(), SETTLE_MS);
  }

  clear(): void {
    this.#question = null;
    clearTimeout(this.#timer);
    this.value = null;
    this.answered = null;
    this.error = null;
  }
}
