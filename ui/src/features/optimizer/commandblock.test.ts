import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { afterEach, describe, expect, it } from "vitest";

import type { CommandView } from "../../ipc/backend";
import CommandBlock from "./CommandBlock.svelte";

const own = "llama-server -c 8192";
const commands: CommandView[] = [
  {
    engine: "llama.cpp",
    version: "b6527",
    forms: [{ form: "bash", text: "llama-server -c 4096" }, { form: "systemd", text: "[Service]" }],
    problems: [],
  },
  { engine: "vLLM", version: null, forms: [{ form: "bash", text: "vllm serve x" }], problems: ["There is no vLLM here."] },
];
const text = () => screen.getByTestId("plan-command").textContent;

afterEach(cleanup);

describe("the command block", () => {
  it("shows the plan's own command at once, before any other is known and while others are old", async () => {
    const { rerender } = render(CommandBlock, { command: own, commands: [], current: false });
    expect(text()).toBe(own);
    await rerender({ commands });
    expect(text()).toBe(own);
    await rerender({ current: true });
    expect(text()).toBe("llama-server -c 4096");
  });
  it("switches form and engine, and says what an engine lacks", async () => {
    render(CommandBlock, { command: own, commands, current: true });
    await fireEvent.click(screen.getByRole("radio", { name: "systemd" }));
    expect(text()).toBe("[Service]");
    const tab = screen.getByRole("tab", { name: "llama.cpp" });
    await fireEvent.keyDown(tab, { key: "ArrowRight" });
    expect(document.activeElement).toBe(screen.getByRole("tab", { name: "vLLM" }));
    expect(text()).toBe("vllm serve x");
    expect(screen.getByText("There is no vLLM here.")).toBeTruthy();
  });
});
