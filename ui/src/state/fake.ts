// A Backend for tests: every command is refused unless the test gives it.
import type { Backend, Frame, Machine, Overview } from "../ipc/backend";

export function fakeBackend(given: Partial<Backend> = {}): Backend {
  const refuse = (name: string) => () => Promise.reject(new Error(`${name} was not expected`));
  return {
    overview: refuse("overview"),
    selectSource: refuse("selectSource"),
    history: refuse("history"),
    openModel: refuse("openModel"),
    checkCustom: refuse("checkCustom"),
    library: refuse("library"),
    addLibraryFolder: refuse("addLibraryFolder"),
    removeLibraryFolder: refuse("removeLibraryFolder"),
    catalogue: refuse("catalogue"),
    plan: refuse("plan"),
    alternatives: refuse("alternatives"),
    commands: refuse("commands"),
    setEngine: refuse("setEngine"),
    start: refuse("start"),
    stop: refuse("stop"),
    forget: refuse("forget"),
    sessionLog: refuse("sessionLog"),
    subscribe: () => () => undefined,
    onLink: () => () => undefined,
    canPick: false,
    pickModelFile: () => Promise.resolve(null),
    pickFolder: () => Promise.resolve(null),
    onFileDrop: () => () => undefined,
    ...given,
  };
}

export const machine: Machine = {
  source: "simulated",
  gpus: [0, 1].map((index) => ({
    id: `GPU-${index}`,
    index,
    name: "NVIDIA GeForce RTX 3090",
    pci_bus_id: null,
    memory_total: 24 * 1024 ** 3,
    compute_capability: [8, 6],
    pcie_generation_max: 4,
    pcie_width_max: 16,
  })),
  driver_version: null,
  cuda_version: null,
  nvml_version: null,
};

export const overview = (frame: Frame | null): Overview => ({
  version: "0.1.0",
  choice: { kind: "simulated", cards: [] },
  health: { state: "live" },
  machine,
  frame,
  interval_ms: 1000,
  engine: { program: null, set_by_user: false, problem: null },
  sessions: [],
  recent_models: [],
});
