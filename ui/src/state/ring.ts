// The log lines of one engine that the page keeps: the newest ones, in order, each once.
import type { LogLine } from "../ipc/backend";

/** Most lines kept in the page; the product keeps its own, longer log. */
export const LINES_MAX = 5000;

export class LogRing {
  lines: LogLine[] = [];
  /** Lines that fell off here, so that the view can hold still while it scrolls. */
  trimmed = 0;
  /** Number of the newest line that fell off. */
  #gone = -1;

  constructor(readonly max: number = LINES_MAX) {}

  get lastSeq(): number {
    return this.lines.at(-1)?.seq ?? -1;
  }

  /** Adds lines where they belong, each once. What fell off here does not come back. */
  push(batch: readonly LogLine[]): void {
    const fresh = batch.filter((line) => line.seq > this.#gone);
    const first = fresh[0];
    if (first === undefined) return;
    if (first.seq > this.lastSeq) this.lines.push(...fresh);
    else this.lines = merge(this.lines, fresh);
    const over = this.lines.length - this.max;
    if (over <= 0) return;
    this.#gone = this.lines[over - 1]?.seq ?? this.#gone;
    this.lines = this.lines.slice(over);
    this.trimmed += over;
  }
}

/** Two runs in order as one; a line that is in both is taken once. */
function merge(one: readonly LogLine[], other: readonly LogLine[]): LogLine[] {
  const out: LogLine[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const [a, b] = [one[i], other[j]];
    if (a === undefined) return out.concat(other.slice(j));
    if (b === undefined) return out.concat(one.slice(i));
    if (a.seq <= b.seq) {
      out.push(a);
      i += 1;
      if (a.seq === b.seq) j += 1;
    } else {
      out.push(b);
      j += 1;
    }
  }
}
