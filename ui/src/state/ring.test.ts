import { describe, expect, it } from "vitest";

import type { LogLine } from "../ipc/backend";
import { LogRing } from "./ring";

const lines = (...seqs: number[]): LogLine[] =>
  seqs.map((seq) => ({ seq, at_ms: 0, stream: "err", level: "info", text: `line ${seq}`, truncated: false }));
const seqs = (ring: LogRing) => ring.lines.map((line) => line.seq);

describe("the log ring", () => {
  it("takes each line once, in order, whichever way it came", () => {
    const ring = new LogRing();
    ring.push(lines(5, 6));
    ring.push(lines(0, 1, 2, 3, 4, 5, 6));
    ring.push(lines(6, 7));
    expect(seqs(ring)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
  it("drops the oldest and counts them", () => {
    const ring = new LogRing(3);
    ring.push(lines(0, 1));
    ring.push(lines(2, 3, 4));
    expect(seqs(ring)).toEqual([2, 3, 4]);
    expect(ring.trimmed).toBe(2);
    expect(ring.lastSeq).toBe(4);
  });
  it("fills a gap in its middle", () => {
    const ring = new LogRing();
    ring.push(lines(0, 1, 8, 9));
    ring.push(lines(1, 2, 3, 7, 8, 10));
    expect(seqs(ring)).toEqual([0, 1, 2, 3, 7, 8, 9, 10]);
  });
  it("does not take back what fell off", () => {
    const ring = new LogRing(3);
    ring.push(lines(4, 5, 6, 7));
    ring.push(lines(0, 1, 2, 3, 4));
    expect(seqs(ring)).toEqual([5, 6, 7]);
    expect(ring.trimmed).toBe(1);
  });
  it("keeps a gap as a gap", () => {
    const ring = new LogRing();
    ring.push(lines(0));
    ring.push(lines(9));
    expect(seqs(ring)).toEqual([0, 9]);
  });
});
