// Where the built programs, the models and the engine of the tests lie.
import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../../..");

function built(path: string, by: string): string {
  const full = join(root, path);
  if (!existsSync(full)) throw new Error(`${path} is missing; \`${by}\` makes it.`);
  return full;
}

export const desktop = (): string => built("target/debug/dualgpuopt-desktop", "make build-tests");
export const cli = (): string => built("target/debug/dualgpuopt", "make build-tests");
export const nvmlLibrary = (): string => built("target/debug/libnvidia_ml.so", "make build-tests");
export const model = (name: string): string => built(`.cache/models/${name}`, "make build-tests");
export const malformed = (name: string): string => join(root, "tests/fixtures/malformed", name);

/** A folder that holds the real engine's start script under the name that the product looks for. */
export const engineDir = (): string => join(root, "tests/engine");

/** A fresh folder for one test's files. */
export function scratch(): string {
  return mkdtempSync(join(tmpdir(), "dualgpuopt-"));
}

/** Where a test's pictures are kept. */
export function artefact(name: string): string {
  mkdirSync(join(root, "artifacts/screens"), { recursive: true });
  return join(root, "artifacts/screens", name);
}

/** The environment of a user who has nothing of ours yet, with `more` on top. */
export function freshUser(home: string, more: Record<string, string> = {}): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    ([name, value]) => value !== undefined && !/^(DUALGPUOPT_|XDG_|DBUS_|WAYLAND_|DISPLAY$)/.test(name),
  ) as [string, string][];
  return {
    ...Object.fromEntries(inherited),
    HOME: home,
    XDG_CONFIG_HOME: join(home, ".config"),
    XDG_DATA_HOME: join(home, ".local/share"),
    XDG_CACHE_HOME: join(home, ".cache"),
    PATH: `${engineDir()}:${process.env["PATH"] ?? ""}`,
    LC_ALL: "C.UTF-8",
    ...more,
  };
}
