// The one place that scales quantities and names their units.
import type { Metric } from "../ipc/backend";
import { fixed, NBSP, whole } from "./number";

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;

export interface Quantity {
  text: string;
  unit: string;
}

/** Bytes as GiB with two decimals, without the unit: for columns that share one. */
export const gib = (bytes: number): string => fixed(bytes / GIB, 2);

/** Bytes with unit: GiB from 1 GiB on, else MiB. Rounded MiB never reads 1,024. */
export function memory(bytes: number): string {
  const inMib = Math.round(bytes / MIB);
  return Math.abs(inMib) < 1024 ? `${whole(inMib)}${NBSP}MiB` : `${gib(bytes)}${NBSP}GiB`;
}

/** File sizes read in one decimal. */
export const fileSize = (bytes: number): string =>
  bytes >= GIB ? `${fixed(bytes / GIB, 1)}${NBSP}GiB` : `${whole(bytes / MIB)}${NBSP}MiB`;

/** Bytes each second, 1000-based as links are sold. */
export function rate(bytesPerSecond: number): Quantity {
  const steps: [number, string][] = [
    [1e9, "GB/s"],
    [1e6, "MB/s"],
    [1e3, "KB/s"],
  ];
  for (const [size, unit] of steps) {
    if (bytesPerSecond >= size * 0.9995) {
      const scaled = bytesPerSecond / size;
      return { text: fixed(scaled, scaled < 9.995 && unit === "GB/s" ? 2 : 0), unit };
    }
  }
  return { text: whole(bytesPerSecond), unit: "B/s" };
}

/** A metric's value in the unit that people read. */
export function quantity(metric: Metric, value: number): Quantity {
  switch (metric) {
    case "memory_used_bytes":
    case "memory_free_bytes":
    case "memory_total_bytes":
    case "memory_reserved_bytes":
      return { text: gib(value), unit: "GiB" };
    case "gpu_utilization_percent":
    case "memory_utilization_percent":
    case "fan_percent":
      return { text: whole(value), unit: "%" };
    case "temperature_c":
      return { text: whole(value), unit: "°C" };
    case "power_w":
    case "power_limit_w":
      return { text: whole(value), unit: "W" };
    case "sm_clock_mhz":
    case "memory_clock_mhz":
      return { text: whole(value), unit: "MHz" };
    case "pcie_receive_bytes_per_s":
    case "pcie_send_bytes_per_s":
      return rate(value);
    default:
      return { text: whole(value), unit: "" };
  }
}

export const percent = (ratio: number): string => `${whole(ratio * 100)}${NBSP}%`;
