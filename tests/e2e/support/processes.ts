// What runs on this machine, read from /proc.
import { readFileSync, readdirSync } from "node:fs";

export interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Every process that can be read now. */
export function processes(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        // A zombie has ended; only its parent has not asked yet.
        if (rest[0] === "Z") return [];
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        return [{ pid: Number(name), parent: Number(rest[1]), command }];
      } catch {
        return []; // It ended between the listing and the reading.
      }
    });
}

/** Processes whose command line holds `part`. */
export const running = (part: string): Process[] => processes().filter(({ command }) => command.includes(part));

/** Waits until `holds` gives something truthy; fails with `what` after `seconds`. */
export async function until<T>(what: string, seconds: number, holds: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
