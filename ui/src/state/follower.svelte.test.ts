import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { PlanAsk } from "../ipc/backend";
import { BackendError } from "../ipc/backend";
import { Follower, SETTLE_MS } from "./follower.svelte";

const ask = (parallel: number) => ({ parallel }) as PlanAsk;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("what follows a plan", () => {
  it("is asked for once, when the wish has settled", async () => {
    const command = vi.fn((question: PlanAsk) => Promise.resolve(question.parallel));
    const follower = new Follower(command);
    for (const n of [1, 2, 3]) follower.follow(ask(n));
    await vi.advanceTimersByTimeAsync(SETTLE_MS - 1);
    expect(command).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(command).toHaveBeenCalledTimes(1);
    expect([follower.value, follower.answered]).toEqual([3, ask(3)]);
  });
  it("stays while the next is asked for, and when that fails", async () => {
    const error = { code: "internal", message: "No.", hint: "", detail: "" } as const;
    const follower = new Follower((question) =>
      question.parallel === 1 ? Promise.resolve("one") : Promise.reject(new BackendError(error)),
    );
    follower.follow(ask(1));
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    follower.follow(ask(2));
    expect(follower.value).toBe("one");
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    expect([follower.value, follower.error]).toEqual(["one", error]);
    follower.follow(ask(1));
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    expect(follower.error).toBeNull();
  });
  it("forgets an answer that comes after it was cleared", async () => {
    let answer: (value: string) => void = () => undefined;
    const follower = new Follower(() => new Promise<string>((resolve) => (answer = resolve)));
    follower.follow(ask(1));
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    follower.clear();
    answer("late");
    await vi.advanceTimersByTimeAsync(0);
    expect(follower.value).toBeNull();
  });
});
