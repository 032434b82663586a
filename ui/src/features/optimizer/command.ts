// A command line in pieces, so that the values which the plan set can stand out.
import type { ExportForm } from "../../ipc/backend";

/** Flags whose value comes from the plan. llama.cpp: common/arg.cpp; vLLM: vllm/engine/arg_utils.py. */
const PLANNED = new Set([
  "-ts", "--tensor-split", "-c", "--ctx-size", "-ctk", "--cache-type-k", "-ctv", "--cache-type-v",
  "-sm", "--split-mode", "-ot", "--override-tensor", "-ncmoe", "--n-cpu-moe", "-mg", "--main-gpu",
  "-np", "--parallel", "-ub", "--ubatch-size", "-ngl", "--n-gpu-layers", "--gpu-layers", "--port",
  "--tensor-parallel-size", "--pipeline-parallel-size", "--gpu-memory-utilization", "--max-model-len", "--max-num-seqs",
  "--kv-cache-dtype",
]);

export const FORM_LABELS: Record<ExportForm, string> = {
  bash: "bash",
  power_shell: "PowerShell",
  systemd: "systemd",
  compose: "compose",
  env: ".env",
};

/** Ends of lines that go on: bash and systemd, PowerShell. */
const CONTINUED = new Set(["\\", "`"]);

export interface Piece {
  text: string;
  planned: boolean;
}

/** Joined again, the pieces are the command, character for character. */
export function pieces(command: string): Piece[] {
  const out: Piece[] = [];
  let flag = false;
  for (const text of command.split(/(\s+)/)) {
    if (text === "") continue;
    const space = /^\s/.test(text);
    const planned = flag && !space && !CONTINUED.has(text);
    const last = out.at(-1);
    if (last && last.planned === planned && !planned) last.text += text;
    else out.push({ text, planned });
    if (!space && !CONTINUED.has(text)) flag = PLANNED.has(text);
  }
  return out;
}
