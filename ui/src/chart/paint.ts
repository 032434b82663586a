// What uPlot does not draw: threshold lines, and the GPU's number at the end of its line.
import type uPlot from "uplot";

export interface Line {
  at: number;
  color: string;
  label: string;
}

export interface Badge {
  /** Index of the series in uPlot, from 1. */
  series: number;
  text: string;
  color: string;
}

const BADGE = 13;

/** A token's value, for the canvas, which cannot read custom properties. */
export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function paintThresholds(u: uPlot, lines: readonly Line[], font: string): void {
  const { ctx, bbox } = u;
  const dpr = window.devicePixelRatio;
  ctx.save();
  ctx.lineWidth = dpr;
  ctx.font = font;
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  for (const line of lines) {
    const y = Math.round(u.valToPos(line.at, "y", true)) + 0.5;
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.globalAlpha = 0.7;
    ctx.strokeStyle = line.color;
    ctx.setLineDash([3 * dpr, 3 * dpr]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.fillStyle = line.color;
    if (y - bbox.top > 12 * dpr) ctx.fillText(line.label, bbox.left + 8 * dpr, y - 1 * dpr);
  }
  ctx.restore();
}

/** Spreads positions so that none is closer than `gap` to the next, within a span. Keeps their order. */
export function spread(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((y, i) => ({ y: Math.min(high, Math.max(low, y)), i })).sort((a, b) => a.y - b.y || a.i - b.i);
  for (let k = 1; k < order.length; k += 1) {
    const before = order[k - 1];
    const here = order[k];
    if (before && here && here.y - before.y < gap) here.y = before.y + gap;
  }
  const last = order.at(-1);
  let over = last ? Math.max(0, last.y - high) : 0;
  for (let k = order.length - 1; k >= 0 && over > 0; k -= 1) {
    const here = order[k];
    const before = order[k - 1];
    if (!here) break;
    here.y -= over;
    over = before ? Math.max(0, gap - (here.y - before.y)) : 0;
  }
  const out = [...wanted];
  for (const { y, i } of order) out[i] = y;
  return out;
}

export function paintBadges(u: uPlot, badges: readonly Badge[], ink: string, family: string): void {
  const { ctx, bbox } = u;
  const dpr = window.devicePixelRatio;
  const size = BADGE * dpr;
  const right = u.valToIdx(u.scales["x"]?.max ?? 0);
  const ends = badges.flatMap((badge) => {
    const series = u.series[badge.series];
    if (!series?.show) return [];
    const value = lastValue(u.data[badge.series] ?? [], right);
    return value === null ? [] : [{ badge, y: u.valToPos(value.value, "y", true), x: u.valToPos(u.data[0][value.at] ?? 0, "x", true) }];
  });
  const ys = spread(
    ends.map((end) => end.y),
    size + dpr,
    bbox.top + size / 2,
    bbox.top + bbox.height - size / 2,
  );
  ctx.save();
  ctx.font = `700 ${10 * dpr}px ${family}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ends.forEach(({ badge, x: end }, i) => {
    const y = ys[i] ?? 0;
    const x = Math.min(bbox.left + bbox.width, end) - size;
    ctx.fillStyle = badge.color;
    ctx.beginPath();
    ctx.roundRect(x, y - size / 2, size, size, 2 * dpr);
    ctx.fill();
    ctx.fillStyle = ink;
    ctx.fillText(badge.text, x + size / 2, y + 0.5 * dpr);
  });
  ctx.restore();
}

function lastValue(column: ArrayLike<number | null | undefined>, from: number): { value: number; at: number } | null {
  for (let i = Math.min(from, column.length - 1); i >= 0; i -= 1) {
    const value = column[i];
    if (value !== null && value !== undefined) return { value, at: i };
  }
  return null;
}
