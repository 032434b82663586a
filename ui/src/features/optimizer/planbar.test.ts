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
  ({ planned_in_us: 900, plan: { ...plan, host: { ...plan.host }, verdict } }) as unknown as PlanView;

function show(verdict: Verdict, state: { planning?: boolean; old?: boolean; added?: string[] } = {}) {
  const [onapply, onfix] = [vi.fn(), vi.fn()];
  const props = { view: view(verdict), planning: false, old: false, added: [], onapply, onfix, ...state };
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

  it("does not let a plan be applied that counts on cards which are not here", () => {
    show(fits, { added: ["RTX 4090"] });
    expect(screen.getByTestId<HTMLButtonElement>("plan-apply").disabled).toBe(true);
    expect(screen.getByTestId("plan-verdict").textContent).toContain("What if: RTX 4090 were here");
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

  it("shows rates with what may be wrong about them, and why where there are none", async () => {
    const rate = (value: number, margin: number) => ({ value, low: value - margin, high: value + margin });
    const { rerender } = show(fits);
    const generation = screen.getByTestId("plan-generation");
    expect(generation.textContent).toContain("—");
    expect(generation.title).toContain("not known");
    const speed = { decode: rate(17.4, 1.2), throughput: rate(30, 2), prefill: rate(412, 60), parts: [], basis: "From physics." };
    const one = view(fits);
    one.plan.speed = speed;
    await rerender({ view: one });
    expect(generation.textContent.replaceAll("\u00a0", " ")).toContain("17.4 ± 1.2");
    expect(generation.title).toContain("From physics.");
    expect(screen.getByTestId("plan-prompt").textContent).toContain("412");
    const many = view(fits);
    many.plan.speed = speed;
    many.plan.request = { ...many.plan.request, parallel: 2 };
    await rerender({ view: many });
    expect(screen.getByTestId("plan-generation").textContent).toContain("30.0");
  });

  it("says how much lies in RAM, and offers first what a button can do", () => {
    const ram = view(fits);
    ram.plan.experts_in_ram = [0];
    ram.plan.host.weights = 19.5 * GIB;
    const { unmount } = render(PlanBar, { view: ram, planning: false, old: false, added: [], onapply: vi.fn(), onfix: vi.fn() });
    expect(screen.getByTestId("plan-verdict").textContent.replaceAll("\u00a0", " ")).toContain("Fits with 19.50 GiB in RAM");
    unmount();
    show({ ...short, fixes: [{ kind: "others", gpu: 0, bytes: GIB }, fix] });
    expect(screen.getByTestId("plan-fix").textContent).toBe("Use 8,192 tokens");
  });
});
