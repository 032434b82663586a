// The log lines of one engine that the page keeps: the newest ones, in order, each once.
import type { LogLine } from "../ipc/backend";

/** Most lines kept in the page; the product keeps its own, longer log. */
export const LINES_MAX = 5000;

export class LogRing {
  lines: LogLine[] = [];
  /** Lines that fell off here, so that the view can hold still while it scrolls. */
  trimmed = 0;

  constructor(readonly max: number = LINES_MAX) {}

  get lastSeq(): number {
    return this.lines.at(-1)?.seq ?? -1;
  }

  /** Adds lines that are newer than all here, and older ones in front; the same line twice is taken once. */
  push(batch: readonly LogLine[]): void {
    const first = this.lines[0]?.seq ?? Infinity;
    const last = this.lastSeq;
    const older = this.lines.length === 0 ? [] : batch.filter((line) => line.seq < first);
    const newer = batch.filter((line) => line.seq > last);
    if (older.length > 0) this.lines = [...older, ...this.lines];
    this.lines.push(...newer);
    const over = this.lines.length - this.max;
    if (over > 0) {
      this.lines = this.lines.slice(over);
      this.trimmed += over;
    }
  }
}
