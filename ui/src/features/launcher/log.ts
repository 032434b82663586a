// What the log view shows of a log, and where each line lies. Pure.
import type { LogLine } from "../../ipc/backend";

export type LogFilter = "all" | "warning" | "error";

/** Height of a row; as in the styles. */
export const ROW_PX = 18;
/** Rows drawn above and below what is seen. */
const OVERSCAN = 10;
/** Wrapped lines take no more rows than this; the whole text is in the copy. */
const ROWS_MAX = 40;

/** Lines at or above a level. What the product itself says is always there. */
export function filtered(lines: readonly LogLine[], filter: LogFilter): LogLine[] {
  if (filter === "all") return [...lines];
  return lines.filter((line) => line.level === "error" || (filter === "warning" && line.level === "warning"));
}

export function countLevels(lines: readonly LogLine[]): { warnings: number; errors: number } {
  let warnings = 0;
  let errors = 0;
  for (const { level } of lines) {
    if (level === "warning") warnings += 1;
    else if (level === "error") errors += 1;
  }
  return { warnings, errors };
}

/** Indices of the lines that hold a text, whatever its case. */
export function matches(lines: readonly LogLine[], needle: string): number[] {
  if (needle === "") return [];
  const small = needle.toLowerCase();
  return lines.flatMap((line, i) => (line.text.toLowerCase().includes(small) ? [i] : []));
}

export interface Part {
  text: string;
  hit: boolean;
}

/** A text cut at every place where the needle stands. */
export function parts(text: string, needle: string): Part[] {
  if (needle === "") return [{ text, hit: false }];
  const small = text.toLowerCase();
  const sought = needle.toLowerCase();
  // Lower case may change the length (İ); then places no longer agree and nothing is marked.
  if (small.length !== text.length) return [{ text, hit: false }];
  const out: Part[] = [];
  let at = 0;
  for (let hit = small.indexOf(sought); hit !== -1; hit = small.indexOf(sought, at)) {
    if (hit > at) out.push({ text: text.slice(at, hit), hit: false });
    out.push({ text: text.slice(hit, hit + sought.length), hit: true });
    at = hit + sought.length;
  }
  if (at < text.length) out.push({ text: text.slice(at), hit: false });
  return out;
}

/** First row of each line, and the count of all rows at the end. Unwrapped, each line is one row. */
export function rowStarts(lines: readonly LogLine[], columns: number | null): number[] {
  const starts = [0];
  let row = 0;
  for (const line of lines) {
    row += columns === null ? 1 : Math.min(ROWS_MAX, Math.max(1, Math.ceil(line.text.length / Math.max(columns, 1))));
    starts.push(row);
  }
  return starts;
}

/** The lines to draw for a scrolled view: from (in) and to (out). */
export function seen(starts: readonly number[], scrollPx: number, heightPx: number): { from: number; to: number } {
  const lines = starts.length - 1;
  const firstRow = Math.floor(scrollPx / ROW_PX) - OVERSCAN;
  const lastRow = Math.ceil((scrollPx + heightPx) / ROW_PX) + OVERSCAN;
  return { from: Math.max(0, lineAt(starts, firstRow)), to: Math.min(lines, lineAt(starts, lastRow) + 1) };
}

/** The line that holds a row. */
function lineAt(starts: readonly number[], row: number): number {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if ((starts[mid] ?? 0) <= row) low = mid;
    else high = mid - 1;
  }
  return Math.max(0, low);
}
