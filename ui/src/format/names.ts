// Names as people say them.

/** `NVIDIA GeForce RTX 3090` is an RTX 3090. */
export const gpuName = (name: string): string =>
  name.replace(/^NVIDIA\s+/i, "").replace(/^GeForce\s+/i, "");

/** `00000000:01:00.0` without the domain that is always zero. */
export const busId = (id: string): string => id.replace(/^0+:/, "");

/** `2 × RTX 3090`, `RTX 4090 and RTX 3060`, `4 × RTX 3090 and RTX 3060`. */
export function machineName(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(gpuName(name), (counts.get(gpuName(name)) ?? 0) + 1);
  const words = [...counts].map(([name, n]) => (n === 1 ? name : `${n} × ${name}`));
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** The last part of a path, POSIX or Windows. */
export const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;
