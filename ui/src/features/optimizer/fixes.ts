// What would make a plan fit, in words, and what it costs. Pure.
import type { CacheType, Fix, PlanRequest, PlanView } from "../../ipc/backend";
import { count, NBSP, whole } from "../../format/number";
import { GIB, gib, memory } from "../../format/units";

/** Short by less than this would read as 0.00 GiB, which is no shortage at all. */
const SHORT_SHOWN_MIN = 0.01 * GIB;

export const shortage = (bytes: number): string => `${gib(Math.max(bytes, SHORT_SHOWN_MIN))}${NBSP}GiB`;

const gpus = (indices: readonly number[]): string => {
  const names = indices.map((index) => `GPU${NBSP}${index}`);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
};

/** A button names its result. */
export function fixWords(fix: Fix): string {
  switch (fix.kind) {
    case "context":
      return `Use ${whole(fix.tokens)} tokens`;
    case "cache":
      return `Use ${fix.cache}, ${whole(fix.tokens)}`;
    case "ram":
      return `Use ${memory(fix.bytes)} of RAM`;
    case "gpus":
      return `Use ${gpus(fix.indices)}`;
    case "others":
      return "Look again";
    case "micro_batch":
      return `Use batches of ${whole(fix.tokens)}`;
    case "parallel":
      return fix.requests === 1 ? "Use 1 request" : `Use ${whole(fix.requests)} requests`;
  }
}

export function fixTitle(fix: Fix): string {
  switch (fix.kind) {
    case "context":
      return `Context of ${whole(fix.tokens)} tokens`;
    case "cache":
      return `KV cache in ${fix.cache}`;
    case "ram":
      return fix.expert_layers > 0
        ? `Experts of ${count(fix.expert_layers, "layer")} in system RAM`
        : `${count(fix.layers, "layer")} in system RAM`;
    case "gpus":
      return `${gpus(fix.indices)} as well`;
    case "others":
      return `Free ${memory(fix.bytes)} on GPU${NBSP}${fix.gpu}`;
    case "micro_batch":
      return `Micro-batches of ${whole(fix.tokens)} tokens`;
    case "parallel":
      return `${count(fix.requests, "request")} at once`;
  }
}

/** Bits that a value takes, block scales included. ggml-common.h: block_q8_0 and its neighbours. */
const BITS: Record<CacheType, number> = { f32: 32, f16: 16, bf16: 16, q8_0: 8.5, q5_1: 6, q5_0: 5.5, q4_1: 5, q4_0: 4.5, iq4_nl: 4.5 };

/** What a fix changes, and what stays. */
export function fixPrice(fix: Fix, asked: number, request: Pick<PlanRequest, "cache_k" | "micro_batch" | "parallel">): string {
  const { cache_k: cache, micro_batch: batch, parallel } = request;
  const fewer = (tokens: number): string =>
    asked > tokens ? `${whole(asked - tokens)} tokens of context fewer` : "the context stays";
  switch (fix.kind) {
    case "context": {
      const words = fewer(fix.tokens);
      return `${words.charAt(0).toUpperCase()}${words.slice(1)}, the KV cache stays ${cache}`;
    }
    case "cache":
      return `K and V in ${BITS[fix.cache]} bits instead of ${BITS[cache]}, ${fewer(fix.tokens)}`;
    case "ram":
      return `${memory(fix.bytes)} are read from system RAM, which is slower; the context stays`;
    case "gpus":
      return "Nothing else changes";
    case "others":
      return "End what holds it, then look again; nothing else changes";
    case "micro_batch":
      return `Prompts are read in smaller pieces than ${whole(batch)}, which is slower; the context stays`;
    case "parallel":
      return `${whole(parallel - fix.requests)} fewer, the context stays`;
  }
}

/** The fix of the one button: the best that a button can do. */
export const firstFix = (fixes: readonly Fix[]): Fix | undefined => fixes.find(({ kind }) => kind !== "others") ?? fixes[0];

/** `GPU 0 lacks 1.20 GiB and GPU 1 lacks 0.31 GiB.` */
export function lacking({ plan }: PlanView): string {
  const short = plan.devices.filter((device) => device.memory.short > 0).sort((a, b) => b.memory.short - a.memory.short);
  const words = short.map((device) => `GPU${NBSP}${device.index} lacks ${shortage(device.memory.short)} of ${gib(device.total)}`);
  return words.length < 2 ? `${words.join("")}.` : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}.`;
}
