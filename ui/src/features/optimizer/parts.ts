// The parts of a GPU's memory in the order and the words of the screen. Pure.
import type { DevicePlan, HostPlan, MemoryParts, Plan } from "../../ipc/backend";
import { gib } from "../../format/units";
import type { Segment, Texture } from "../../gpu/MemoryBar.svelte";

export type PartKey = Exclude<keyof MemoryParts, "output" | "short">;

export interface PartFacts {
  key: PartKey;
  label: string;
  texture: Texture;
}

export const PARTS: readonly PartFacts[] = [
  { key: "weights", label: "Weights", texture: "weights" },
  { key: "experts", label: "Experts", texture: "experts" },
  { key: "kv_cache", label: "KV cache", texture: "kv" },
  { key: "compute", label: "Compute", texture: "compute" },
  { key: "driver_context", label: "Overhead", texture: "overhead" },
  { key: "others", label: "Others", texture: "others" },
  { key: "reserve", label: "Kept free", texture: "reserve" },
  { key: "free", label: "Free", texture: "free" },
];

/** The parts that a plan has; a model without experts has no column for them. */
export function partsOf(plan: Pick<Plan, "devices" | "host">): readonly PartFacts[] {
  const experts = plan.host.experts + plan.devices.reduce((sum, device) => sum + device.memory.experts, 0);
  return experts > 0 ? PARTS : PARTS.filter(({ key }) => key !== "experts");
}

/** Bytes of a part. The experts are a part of the weights that is shown apart. */
export const bytesOf = (memory: MemoryParts, key: PartKey): number =>
  key === "weights" ? memory.weights - memory.experts : memory[key];

export type HostKey = keyof HostPlan;

export interface HostPart {
  key: HostKey;
  label: string;
  texture: Texture;
}

export const HOST_PARTS: readonly HostPart[] = [
  { key: "weights", label: "weights", texture: "weights" },
  { key: "experts", label: "experts", texture: "experts" },
  { key: "kv_cache", label: "KV cache", texture: "kv" },
  { key: "compute", label: "compute", texture: "compute" },
  { key: "output", label: "output", texture: "overhead" },
];

/** What lies in RAM: the three that every plan has, and what of the model was put there. */
export function hostPartsOf(host: HostPlan): readonly HostPart[] {
  const extra = host.experts + host.kv_cache > 0;
  return HOST_PARTS.filter(({ key }) => (key !== "experts" && key !== "kv_cache") || host[key] > 0).map((part) =>
    part.key === "weights" && !extra ? { ...part, label: "token embedding" } : part,
  );
}

export const hostBytesOf = (host: HostPlan, key: HostKey): number => (key === "weights" ? host.weights - host.experts : host[key]);

export const hostTotal = (host: HostPlan): number => host.weights + host.kv_cache + host.compute + host.output;

/** Whether layers or experts of the model lie in system RAM, beyond what every plan keeps there. */
export const usesRam = (plan: Pick<Plan, "layers_in_ram" | "experts_in_ram">): boolean =>
  plan.layers_in_ram > 0 || plan.experts_in_ram.length > 0;

export const segmentsOf = (device: DevicePlan): Segment[] =>
  PARTS.map(({ key, label, texture }) => ({ key, texture, label: label.toLowerCase(), bytes: bytesOf(device.memory, key) }));

export const hostSegmentsOf = (host: HostPlan): Segment[] =>
  HOST_PARTS.map(({ key, label, texture }) => ({ key, texture, label, bytes: hostBytesOf(host, key) }));

/** A figure of the table: GiB, or what lacks where nothing is free. */
export const figureOf = (memory: MemoryParts, key: PartKey): string =>
  key === "free" && memory.short > 0 ? `−${gib(memory.short)}` : gib(bytesOf(memory, key));
