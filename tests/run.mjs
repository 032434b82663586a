// Runs the suites one after another, shows one line for each, and closes with the totals.
//   node tests/run.mjs              every suite
//   node tests/run.mjs rust window  these only
// The whole output of a suite is kept in artifacts/logs/NAME.log; of a failed one the end is shown as well.
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { setTimeout as later } from "node:timers";

const LOGS = "artifacts/logs";
const TAIL_LINES = 60;

/** Sums `N word` over all matches of a pattern with named groups passed, failed, skipped. */
function sum(text, pattern) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { groups } of text.matchAll(pattern)) {
    for (const key of Object.keys(total)) total[key] += Number(groups[key] ?? 0);
  }
  return total;
}

const cargo = (text) =>
  sum(text, /^test result: \w+\. (?<passed>\d+) passed; (?<failed>\d+) failed; (?<skipped>\d+) ignored/gm);
const vitest = (text) =>
  sum(text, /^\s+Tests\s+(?:(?<failed>\d+) failed)?(?: \| )?(?:(?<passed>\d+) passed)?(?: \| )?(?:(?<skipped>\d+) skipped)?/gm);
const playwright = (text) => {
  const count = (word) => [...text.matchAll(new RegExp(`^\\s+(\\d+) ${word}`, "gm"))].reduce((n, m) => n + Number(m[1]), 0);
  return { passed: count("passed"), failed: count("failed") + count("flaky"), skipped: count("skipped") + count("did not run") };
};
/** A check without tests of its own counts as one. */
const check = null;

const e2e = (project) => ["npx", "playwright", "test", "--config", "tests/e2e/playwright.config.ts", "--project", project];

const SUITES = [
  { name: "fmt", what: "Rust formatting", argv: ["cargo", "fmt", "--all", "--check"], count: check, minutes: 2 },
  {
    name: "clippy",
    what: "Rust lints",
    argv: ["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    count: check,
    minutes: 25,
  },
  { name: "ui-check", what: "Svelte and TypeScript types", argv: ["npm", "run", "check"], count: check, minutes: 5 },
  { name: "ui-lint", what: "page lints", argv: ["npm", "run", "lint"], count: check, minutes: 5 },
  { name: "ui-unit", what: "page unit tests", argv: ["npm", "test"], count: vitest, minutes: 5 },
  { name: "rust", what: "Rust unit and integration tests", argv: ["cargo", "test", "--workspace"], count: cargo, minutes: 30 },
  { name: "browser", what: "page in a browser, real backend", argv: e2e("browser"), count: playwright, minutes: 10 },
  { name: "window", what: "built program in a real window", argv: e2e("window"), count: playwright, minutes: 10 },
];

/** The suite that runs now; it has a process group of its own, so an interrupt must be passed on. */
let current;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    if (current !== undefined) process.kill(-current, "SIGKILL");
    process.exit(130);
  });
}

/** Runs a suite to its end; resolves with what it printed, whether it succeeded, and its seconds. */
function run(suite) {
  return new Promise((resolve) => {
    const began = Date.now();
    const path = `${LOGS}/${suite.name}.log`;
    const log = createWriteStream(path);
    const [program, ...args] = suite.argv;
    const child = spawn(program, args, {
      env: { ...process.env, CARGO_TERM_COLOR: "never", NO_COLOR: "1", FORCE_COLOR: "0", CI: "true" },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    current = child.pid;
    const killer = later(() => {
      log.write(`\nstopped after ${suite.minutes} minutes\n`);
      process.kill(-child.pid, "SIGKILL");
    }, suite.minutes * 60_000);
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.on("error", (error) => log.write(`${error.message}\n`));
    child.on("close", (code) => {
      clearTimeout(killer);
      current = undefined;
      log.end(() => resolve({ text: readFileSync(path, "utf8"), ok: code === 0, seconds: (Date.now() - began) / 1000 }));
    });
  });
}

function tally(suite, { text, ok }) {
  const counted = suite.count?.(text) ?? { passed: ok ? 1 : 0, failed: 0, skipped: 0 };
  // A suite that fails without a failed test (it did not build, it timed out) or that ran none has failed itself.
  const empty = ok && counted.passed + counted.failed === 0;
  if ((!ok && counted.failed === 0) || empty) counted.failed += 1;
  return counted;
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !SUITES.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`There is no suite ${unknown.join(", ")}. There are: ${SUITES.map((suite) => suite.name).join(", ")}.`);
  process.exit(2);
}
mkdirSync(LOGS, { recursive: true });
const total = { passed: 0, failed: 0, skipped: 0 };
for (const suite of SUITES.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
  const result = await run(suite);
  const counted = tally(suite, result);
  for (const key of Object.keys(total)) total[key] += counted[key];
  const words = `${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped`;
  console.log(`${counted.failed === 0 ? "ok  " : "FAIL"} ${suite.name.padEnd(9)} ${result.seconds.toFixed(0).padStart(4)} s  ${suite.what}: ${words}`);
  if (counted.failed > 0) console.log(result.text.split("\n").slice(-TAIL_LINES).join("\n"));
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);
