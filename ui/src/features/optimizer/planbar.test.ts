import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { afterEach, describe, expect, it, vi } from "vitest";

import type { Fix, PlanSpeed, PlanView, Verdict } from "../../ipc/backend";
import PlanBar from "./PlanBar.svelte";

const GIB = 1024 ** 3;
const fits: Verdict = { kind: "fits", spare: 2 * GIB, tightest: 0 };
const fix: Fix = { kind: "context", tokens: 8192 };
const short: Verdict = { kind: "does_not_fit", short: GIB, gpu: 1, reason: "GPU 1 is full.", fixes: [fix] };
const devices = [0, 1].map((index) => ({ index, total: 24 * GIB, memory: { short: index * GIB } }));
const plan = {
  devices,
  context: 8192,
  context_limit: 9000,
  speed: null as PlanSpeed | null,
  request: { parallel: 1 },
  layers_in_ram: 0,
  experts_in_ram: [] as number[],
  host: { weights: 0, experts: 0, kv_cache: 0, compute: 0, output: 0 },
};
const view = (verdict: Verdict) =>
  ({ planned_in_us: 900, plan: { ...plan, verdict } }) as unknown as PlanView;

function show(verdict: Verdict, state: { planning?: boolean; old?: boolean } = {}) {
  const [onapply, onfix] = [vi.fn(), vi.fn()];
  const props = { view: view(verdict), planning: false, old: false, onapply, onfix, ...state };
  return { ...render(PlanBar, props), onapply, onfix };
}

afterEach(cleanup);

describe("the plan's bar", () => {
  it("lets a plan be applied that answers what is asked now", async () => {
    const { onapply } = show(fits);
    await fireEvent.click(screen.getByTestId("plan-apply"));
    expect(onapply).toHaveBeenCalledTimes(1);
  });

  it("holds Apply back while another plan is under way, and after one failed", async () => {
    const { rerender } = show(fits, { planning: true });
    const apply = screen.getByTestId<HTMLButtonElement>("plan-apply");
    expect(apply.disabled).toBe(true);
    await rerender({ planning: false, old: true });
    expect(apply.disabled).toBe(true);
    expect(screen.getByTestId("plan-verdict").textContent).toContain("before the last change");
    await rerender({ old: false });
    expect(apply.disabled).toBe(false);
  });

  it("says by how much a plan does not fit, and on which GPU", () => {
    show(short);
    const words = screen.getByTestId("plan-verdict").textContent.replaceAll("\u00a0", " ");
    expect(words).toContain("Does not fit, 1.00 GiB short");
    expect(words).toContain("GPU 1 needs 25.00 of 24.00 GiB");
  });

  it("keeps the keyboard's place when a fix makes the plan fit", async () => {
    const { rerender, onfix } = show(short);
    const button = screen.getByTestId<HTMLButtonElement>("plan-fix");
    button.focus();
    await fireEvent.click(button);
    expect(onfix).toHaveBeenCalledWith(fix);
    await rerender({ planning: true });
    expect(document.activeElement).toBe(button);
    await rerender({ planning: false, view: view(fits) });
    expect(document.activeElement).toBe(screen.getByTestId("plan-apply"));
  });
});
