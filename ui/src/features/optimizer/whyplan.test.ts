import { cleanup, render, screen } from "@testing-library/svelte";
import { afterEach, describe, expect, it } from "vitest";

import type { Plan } from "../../ipc/backend";
import WhyPlan from "./WhyPlan.svelte";

const rate = { value: 17.4, low: 16, high: 19 };
const plan = {
  certificate: {
    bound: 57_000,
    reached: 57_400,
    covered: 81,
    words: "None of 81 placements takes less.",
    others: [{ what: "GPU 0 alone", why: "Lacks 16 GiB.", decode: null }, { what: "By layers 41 | 40", why: "0.3 % slower.", decode: 17.3 }],
  },
  speed: {
    decode: rate,
    throughput: rate,
    prefill: rate,
    parts: [{ what: "Weights", us: 52_700 }, { what: "Hop", us: 40 }, { what: "Nothing", us: 0 }],
    basis: "From physics.",
  },
} as unknown as Plan;
const items = () => screen.getAllByRole("listitem").map((item) => item.textContent.replaceAll("\u00a0", " "));

afterEach(cleanup);

describe("why this plan", () => {
  it("tells the proof, what was not taken, and where the time goes", () => {
    render(WhyPlan, { plan });
    expect(screen.getByTestId("certificate").textContent).toBe("None of 81 placements takes less.");
    expect(items()).toEqual(["GPU 0 aloneLacks 16 GiB.", "By layers 41 | 4017.3 tok/s0.3 % slower.", "Weights52.70 ms", "Hop40 µs"]);
    expect(screen.getByText("From physics.")).toBeTruthy();
  });
  it("says that a split by hand was not weighed against others", () => {
    render(WhyPlan, { plan: { ...plan, certificate: null } });
    expect(screen.getByText(/set by hand/)).toBeTruthy();
  });
  it("is not there where nothing is known", () => {
    render(WhyPlan, { plan: { ...plan, certificate: null, speed: null } });
    expect(screen.queryByTestId("why-plan")).toBeNull();
  });
});
