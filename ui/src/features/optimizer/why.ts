// Why a figure is what it is: the planner's explanation of one part, found and put into words. Pure.
import type { DevicePlan, Line, Part, PlanView, Term } from "../../ipc/backend";
import { memory } from "../../format/units";
import { bytesOf, PARTS, type HostKey, type PartKey } from "./parts";

/** A figure that was asked about: a part of a GPU, or of system RAM. */
export type Asked = { place: "gpu"; device: number; part: PartKey } | { place: "host"; part: HostKey };

export interface Reason {
  title: string;
  bytes: number;
  formula: string;
  /** What it adds up from; empty where the formula says all. */
  terms: readonly Term[];
  /** Whose rule or reading it is. */
  source: string;
}

/** Where the rules of the core were read; its modules say the same. */
const SOURCE: Record<Part, string> = {
  weights: "llama.cpp: llama_model::load_tensors",
  kv_cache: "llama.cpp: llama_kv_cache, llama_memory_recurrent",
  compute: "llama.cpp: the model's graph, ggml_backend_sched, ggml_gallocr",
  output: "llama.cpp: llama_context::output_reserve",
  driver_context: "The driver; no rule of llama.cpp gives it",
  others: "The GPU's reading when this was planned",
  reserve: "Your setting under GPUs",
};

const HOST_TITLE = { weights: "Weights", kv_cache: "KV cache", compute: "Compute", output: "Output" } as const;

export function reasonOf(view: PlanView, asked: Asked): Reason | null {
  if (asked.place === "host") {
    const { part } = asked;
    if (part === "experts") return experts(view.plan.host.experts, "in system RAM");
    const line = view.explanation.find((other) => other.device === null && other.part === part);
    if (!line) return null;
    const only = part === "weights" && view.plan.layers_in_ram === 0 && view.plan.host.experts === 0;
    return told(`${only ? "Token embedding" : HOST_TITLE[part]} in system RAM`, line);
  }
  const device = view.plan.devices[asked.device];
  if (device === undefined) return null;
  const { part } = asked;
  const where = `on GPU ${device.index}`;
  if (part === "free") return rest(device);
  if (part === "experts") return experts(device.memory.experts, where);
  const line = view.explanation.find((other) => other.device === asked.device && other.part === part);
  const title = `${labelOf(part)}${part === "weights" && device.memory.experts > 0 ? " and experts" : ""} ${where}`;
  if (line) return told(title, line);
  if (device.memory[part] > 0) return null;
  return { title, bytes: 0, formula: "Nothing of this kind lies here.", terms: [], source: SOURCE[part] };
}

/** The planner explains all weights of a place as one; the experts are told as their share of it. */
const experts = (bytes: number, where: string): Reason => ({
  title: `Experts ${where}`,
  bytes,
  formula: bytes > 0 ? "Tensors of the routed experts, as allocated; the figure of the weights explains each" : "No experts lie here.",
  terms: [],
  source: SOURCE.weights,
});

const labelOf = (key: PartKey): string => PARTS.find((part) => part.key === key)?.label ?? key;

function told(title: string, line: Line): Reason {
  const [only] = line.terms;
  const terms = line.terms.length === 1 && only?.what === line.formula ? [] : line.terms;
  // The title names the part already.
  const formula = line.formula.replace(/^[^:×]{1,24}: /, "");
  return { title, bytes: line.bytes, formula: formula.charAt(0).toUpperCase() + formula.slice(1), terms, source: SOURCE[line.part] };
}

/** What is left of a card, or lacks on it. */
function rest(device: DevicePlan): Reason {
  const { memory: parts, index, total } = device;
  const taken = PARTS.filter(({ key }) => key !== "free" && bytesOf(parts, key) > 0).map(({ key, label }) => ({
    what: label,
    bytes: bytesOf(parts, key),
  }));
  const lacks = parts.short > 0;
  return {
    title: lacks ? `Lacking on GPU ${index}` : `Free on GPU ${index}`,
    bytes: lacks ? parts.short : parts.free,
    formula: lacks ? `These parts exceed the card's ${memory(total)}` : `The card's ${memory(total)}, less these parts`,
    terms: taken,
    source: "The sum of the other figures",
  };
}

/** All of it as text, for a report or a question. */
export const textOf = (reason: Reason): string =>
  [
    `${reason.title}: ${memory(reason.bytes)} (${reason.bytes} bytes)`,
    reason.formula,
    ...reason.terms.map((term) => `  ${term.bytes}  ${term.what}`),
    `Source: ${reason.source}`,
  ].join("\n");
