// The built program in a real window: its own X server, bus, home and process namespace, driven through WebDriver.
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { processes, until, type Process } from "../support/processes";
import { artefact, desktop, freshUser, scratch } from "../support/places";

const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";

export interface DeskOptions {
  args?: string[];
  env?: Record<string, string>;
  size?: { width: number; height: number };
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

/** `unshare` with a process namespace, where this user may make one: nothing can then outlive the desk. */
function namespaced(): string[] {
  const flags = ["--pid", "--fork", "--kill-child", "--mount-proc"];
  for (const extra of [[], ["--user", "--map-root-user"]]) {
    if (spawnSync("unshare", [...extra, ...flags, "true"]).status === 0) return ["unshare", ...extra, ...flags];
  }
  return [];
}

export class Desk {
  private constructor(
    private readonly child: ChildProcess,
    private readonly base: string,
    private readonly home: string,
    readonly display: string,
  ) {}

  static async open({ args = [], env = {}, size = { width: 1440, height: 900 } }: DeskOptions = {}): Promise<Desk> {
    const home = scratch();
    const port = await freePort();
    mkdirSync(join(home, "run"), { mode: 0o700 });
    const [program, ...rest] = [
      ...namespaced(),
      join(import.meta.dirname, "desk.sh"),
      String(port),
      `${size.width}x${size.height}`,
    ];
    const child = spawn(program ?? "", rest, {
      detached: true,
      stdio: ["ignore", "pipe", openSync(artefact("desk.log"), "a")],
      env: freshUser(home, {
        XDG_RUNTIME_DIR: join(home, "run"),
        GDK_BACKEND: "x11",
        GSETTINGS_BACKEND: "memory",
        NO_AT_BRIDGE: "1",
        // Element screenshots are black, and start-up twice as slow, with the DMA-BUF renderer on a virtual display.
        WEBKIT_DISABLE_DMABUF_RENDERER: "1",
        TAURI_WEBVIEW_AUTOMATION: "true",
        ...env,
      }),
    });
    try {
      return await Desk.seated(child, port, home, args);
    } catch (error) {
      await Desk.clear(child, home);
      throw error;
    }
  }

  /** Waits for the X server and the driver, and opens the program. */
  private static async seated(child: ChildProcess, port: number, home: string, args: string[]): Promise<Desk> {
    let said = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (said += text));
    const display = (await until("the X server", 20, () => /display (:\d+)/.exec(said)))[1] ?? "";
    const driver = `http://127.0.0.1:${port}`;
    await until("WebKitWebDriver", 20, () =>
      fetch(`${driver}/status`).then((response) => response.ok, () => false),
    );
    const created = await request<{ sessionId: string }>("POST", `${driver}/session`, {
      capabilities: { alwaysMatch: { "webkitgtk:browserOptions": { binary: desktop(), args } } },
    });
    const desk = new Desk(child, `${driver}/session/${created.sessionId}`, home, display);
    await desk.see("[data-testid=nav-dashboard]", 30);
    return desk;
  }

  /** Ends everything on the desk. */
  async close(): Promise<void> {
    await Desk.clear(this.child, this.home);
  }

  private static async clear(child: ChildProcess, home: string): Promise<void> {
    const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
    if (child.pid !== undefined && !ended()) process.kill(-child.pid, "SIGKILL");
    await until("the desk's end", 10, ended);
    rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  /** The desktop program's own process: the one that is no sampler and no warden. */
  app(): Process {
    const all = processes();
    const mine = new Set([this.child.pid ?? -1]);
    for (let grown = true; grown; ) {
      grown = false;
      for (const { pid, parent } of all) if (mine.has(parent) && !mine.has(pid)) grown = !!mine.add(pid);
    }
    const found = all.find(({ pid, command }) => mine.has(pid) && command.startsWith(desktop()) && !command.includes(" __"));
    if (!found) throw new Error("the desktop program does not run");
    return found;
  }

  async see(css: string, seconds = 15): Promise<string> {
    return until(css, seconds, () => this.find(css));
  }

  async gone(css: string, seconds = 15): Promise<void> {
    await until(`${css} gone`, seconds, async () => (await this.find(css)) === undefined);
  }

  async click(css: string): Promise<void> {
    const element = await this.see(css);
    await until(`${css} enabled`, 15, () => this.ask<boolean>("GET", `/element/${element}/enabled`));
    await this.ask("POST", `/element/${element}/click`, {});
  }

  async type(css: string, text: string): Promise<void> {
    const element = await this.see(css);
    await this.ask("POST", `/element/${element}/clear`, {});
    await this.ask("POST", `/element/${element}/value`, { text });
  }

  /** Presses keys with the focus on an element; `\uE014` is the right arrow (WebDriver's key codes). */
  async keys(css: string, text: string): Promise<void> {
    await this.ask("POST", `/element/${await this.see(css)}/value`, { text });
  }

  /** The text of an element, whitespace folded; WebKit's own rendered text leaves out what it takes for clipped. */
  async text(css: string): Promise<string> {
    const text = await this.ask<string>("GET", `/element/${await this.see(css)}/property/textContent`);
    return text.replaceAll(/\s+/g, " ").trim();
  }

  async attribute(css: string, name: string): Promise<string | null> {
    return this.ask<string | null>("GET", `/element/${await this.see(css)}/attribute/${name}`);
  }

  /** Waits until the text of an element matches. */
  async reads(css: string, pattern: RegExp, seconds = 15): Promise<string> {
    let last = "";
    return until(`${css} to read ${pattern}`, seconds, async () => {
      last = await this.text(css).catch(() => last);
      return pattern.test(last) ? last : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; it reads "${last}"`);
    });
  }

  async run<T>(script: string): Promise<T> {
    return this.ask<T>("POST", "/execute/sync", { script, args: [] });
  }

  /** A picture of the whole screen, as a person sees it. */
  async picture(path: string): Promise<void> {
    // One frame of drawing after the last change.
    await pause(250);
    const png = execFileSync("import", ["-window", "root", "png:-"], {
      env: { ...process.env, DISPLAY: this.display },
      maxBuffer: 64 << 20,
    });
    writeFileSync(path, png);
  }

  private async find(css: string): Promise<string | undefined> {
    const found = await this.ask<Record<string, string>[]>("POST", "/elements", { using: "css selector", value: css });
    return found[0]?.[ELEMENT];
  }

  private ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    return request<T>(method, this.base + path, body);
  }
}

async function request<T>(method: string, url: string, body?: unknown): Promise<T> {
  const response = await fetch(url, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const { value } = (await response.json()) as { value: T & { error?: string; message?: string } };
  if (!response.ok) throw new Error(`${method} ${url}: ${value.error ?? response.status} ${value.message ?? ""}`);
  return value;
}
