// A command line in pieces, so that the values which the plan set can stand out.

/** Flags whose value comes from the plan. llama.cpp: common/arg.cpp. */
const PLANNED = new Set([
  "-ts", "--tensor-split", "-c", "--ctx-size", "-ctk", "--cache-type-k", "-ctv", "--cache-type-v",
  "-np", "--parallel", "-ub", "--ubatch-size", "-ngl", "--n-gpu-layers", "--gpu-layers", "--port",
]);

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
    const planned = flag && !space && text !== "\\";
    const last = out.at(-1);
    if (last && last.planned === planned && !planned) last.text += text;
    else out.push({ text, planned });
    if (!space && text !== "\\") flag = PLANNED.has(text);
  }
  return out;
}
