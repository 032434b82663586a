// Figures of one GPU that several places show.
import type { GpuLive } from "../state/telemetry.svelte";
import { span } from "../format/time";
import { levelOf, MEMORY_THRESHOLDS, TEMPERATURE_THRESHOLDS, type Level } from "./levels";
import { valueOf, WHY_WORD } from "./readings";

export interface MemoryFigures {
  used: number | null;
  reserved: number | null;
  total: number | null;
  /** Percent of the card; null where either side is unknown. */
  percent: number | null;
  level: Level;
}

export function memoryOf({ sample, facts }: GpuLive): MemoryFigures {
  const used = valueOf(sample, "memory_used_bytes");
  const total = facts.memory_total ?? valueOf(sample, "memory_total_bytes");
  const percent = used === null || total === null || total === 0 ? null : (used / total) * 100;
  return { used, reserved: valueOf(sample, "memory_reserved_bytes"), total, percent, level: levelOf(percent, MEMORY_THRESHOLDS) };
}

export interface MemoryPart {
  key: "used" | "reserved" | "free";
  label: string;
  bytes: number;
}

/** A card's memory by who holds it; null where the use or the total is unknown. A share that is unknown is left out. */
export function memoryParts({ used, reserved, total }: MemoryFigures): MemoryPart[] | null {
  if (used === null || total === null) return null;
  const parts: MemoryPart[] = [{ key: "used", label: "In use", bytes: used }];
  if (reserved !== null) parts.push({ key: "reserved", label: "Driver", bytes: reserved });
  parts.push({ key: "free", label: "Free", bytes: Math.max(0, total - used - (reserved ?? 0)) });
  return parts;
}

export interface TemperatureFigures {
  value: number | null;
  level: Level;
}

export function temperatureOf({ sample }: GpuLive): TemperatureFigures {
  const value = valueOf(sample, "temperature_c");
  return { value, level: levelOf(value, TEMPERATURE_THRESHOLDS) };
}

/** Why the values shown are not current, with their age: "timed out · 12 s"; null while they are. */
export function oldWords(gpu: GpuLive): string | null {
  if (!gpu.old) return null;
  const age = gpu.ageMs === null ? "" : span(gpu.ageMs);
  if (gpu.silent !== null) return age === "" ? WHY_WORD[gpu.silent] : `${WHY_WORD[gpu.silent]} · ${age}`;
  return `${age} old`;
}

/** The state of a GPU in one word, for tests and styles. */
export const stateOf = (gpu: GpuLive): string => gpu.silent ?? (gpu.old ? "stale" : gpu.sample === null ? "waiting" : "live");
