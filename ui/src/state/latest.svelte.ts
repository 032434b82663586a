// A command that is asked again and again. One question is under way at a time; of those that came up meanwhile only the
// last is asked, and it is put together when its turn comes.

export interface Latest<Q, A> {
  /** The question as it is now; null where there is none. */
  question: () => Q | null;
  command: (question: Q) => Promise<A>;
  answered: (answer: A, question: Q) => void;
  /** Called for the last question only: what an older one failed of is no news. */
  failed: (thrown: unknown) => void;
}

export class Asker<Q, A> {
  /** Whether a question is under way. */
  asking = $state(false);
  #again = false;

  constructor(private readonly of: Latest<Q, A>) {}

  async ask(): Promise<void> {
    this.#again = true;
    if (this.asking) return;
    this.asking = true;
    try {
      while (this.#again) await this.#once();
    } finally {
      this.asking = false;
    }
  }

  async #once(): Promise<void> {
    this.#again = false;
    const question = this.of.question();
    if (question === null) return;
    let answer: A;
    try {
      answer = await this.of.command(question);
    } catch (thrown) {
      // Changed while it was under way, which the compiler does not see.
      if (!(this.#again as boolean)) this.of.failed(thrown);
      return;
    }
    this.of.answered(answer, question);
  }
}
