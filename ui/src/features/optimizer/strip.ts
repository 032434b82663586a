// What the strip of layers shows: rows of cells, each owned by a GPU or by system RAM. Pure.
import type { DevicePlan, Plan } from "../../ipc/backend";
import { count } from "../../format/number";
import { deviceOf, inOrder, layersOf } from "./split";

/** A GPU's number; null: system RAM. */
export type Owner = number | null;

export interface Row {
  /** What it shows; empty where there is but one row. */
  label: string;
  /** One owner per layer, and one for the output where the row has one. */
  owners: readonly Owner[];
}

export interface Strip {
  /** The GPUs used, in the engine's order. */
  devices: readonly DevicePlan[];
  /** Units of each of them. */
  units: readonly number[];
  /** Layers before the first unit on a GPU. */
  inRam: number;
  rows: readonly Row[];
  /** Whether the borders between GPUs can be moved. */
  movable: boolean;
  words: string;
}

/** The strip of a plan; `split` is its own or one that is being dragged, in the order of the devices. */
export function stripOf(plan: Plan, split: readonly number[], layers: number): Strip {
  const devices = plan.order.flatMap((at) => plan.devices[at] ?? []);
  const units = inOrder(split, plan.order);
  if (plan.mode === "tensor") return tensor(devices, units, layers);
  const inRam = Math.min(layers, plan.layers_in_ram);
  const owner = (unit: number): Owner => (unit < inRam ? null : (devices[deviceOf(units, unit - inRam)]?.index ?? null));
  const whole = Array.from({ length: layers + 1 }, (_, unit) => owner(unit));
  const apart = new Set(plan.experts_in_ram);
  const experts = whole.slice(0, layers).map((own, layer) => (apart.has(layer) ? null : own));
  const rows = apart.size === 0 ? [{ label: "", owners: whole }] : [{ label: "Attention", owners: whole }, { label: "Experts", owners: experts }];
  return { devices, units, inRam, rows, movable: true, words: words(devices, units, layers, inRam, apart.size) };
}

/** Every layer lies on every GPU. */
function tensor(devices: readonly DevicePlan[], units: readonly number[], layers: number): Strip {
  const rows = devices.map(({ index }) => ({ label: "", owners: Array.from({ length: layers + 1 }, () => index) }));
  const names = devices.map(({ index }) => `GPU ${index}`).join(" and ");
  return { devices, units, inRam: 0, rows, movable: false, words: `A part of each of ${count(layers, "layer")} on ${names}` };
}

function words(devices: readonly DevicePlan[], units: readonly number[], layers: number, inRam: number, experts: number): string {
  const shares = layersOf(units, layers - inRam);
  const parts = devices.map(({ index }, i) => `${count(shares[i] ?? 0, "layer")} on GPU ${index}`);
  if (inRam > 0) parts.unshift(`${count(inRam, "layer")} in system RAM`);
  if (experts > 0) parts.push(`experts of ${count(experts, "layer")} in system RAM`);
  return parts.join(", ");
}

/** Where the model lies, in a few words. */
export function placeWords(plan: Pick<Plan, "mode" | "order" | "devices" | "layers_in_ram" | "experts_in_ram">): string {
  const [first] = plan.order;
  const only = plan.order.length === 1 && first !== undefined ? plan.devices[first] : undefined;
  const how = plan.mode === "tensor" ? "by tensors" : only ? `on GPU ${only.index} alone` : "by layers";
  const ram = [];
  if (plan.layers_in_ram > 0) ram.push(`the first ${count(plan.layers_in_ram, "layer")}`);
  if (plan.experts_in_ram.length > 0) ram.push(`experts of ${rangeWords(plan.experts_in_ram)}`);
  return ram.length === 0 ? how : `${how}, ${ram.join(" and ")} in system RAM`;
}

/** `layers 0 to 11`, or how many where they do not follow one another. */
function rangeWords(layers: readonly number[]): string {
  const [first = 0] = layers;
  const last = layers.at(-1) ?? first;
  if (last - first + 1 !== layers.length) return count(layers.length, "layer");
  return first === last ? `layer ${first}` : `layers ${first} to ${last}`;
}
