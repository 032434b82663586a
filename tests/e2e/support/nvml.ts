// The described machine that the NVML test library answers for.

const GIB = 2 ** 30;
const MIB = 2 ** 20;

function card(index: number, name: string, total: number): unknown {
  const [reserved, used] = [300 * MIB, 1.5 * GIB];
  return {
    uuid: uuid(index),
    name,
    pci_bus_id: `00000000:0${index + 1}:00.0`,
    memory: { total, reserved, used, free: total - reserved - used },
    utilization: [42, 17],
    temperature_c: 61,
    power_mw: 210_500,
    power_limit_mw: 350_000,
    fans_percent: [55],
    clocks_mhz: { graphics: 1695, sm: 1695, memory: 9501, video: 1500 },
    pcie: { generation: 4, generation_max: 4, width: 16, width_max: 16, receive_kb_per_s: 24_000, send_kb_per_s: 18_000 },
    performance_state: 2,
    event_reasons: 4,
    compute_capability: [8, 6],
  };
}

export const uuid = (index: number): string => `GPU-0000000${index}-0000-4000-8000-000000000000`;

/** A call about one card that blocks once. */
export const hang = (index: number, hang_ms: number): unknown => ({
  call: "nvmlDeviceGetUtilizationRates",
  card: uuid(index),
  hang_ms,
  once: true,
});

/** An RTX 3090 and an RTX 3060, with faults. */
export function machine(faults: unknown[] = []): unknown {
  return {
    driver_version: "570.133.07",
    nvml_version: "12.570.133.07",
    cuda_version: 12080,
    cards: [card(0, "NVIDIA GeForce RTX 3090", 24 * GIB), card(1, "NVIDIA GeForce RTX 3060", 12 * GIB)],
    faults,
  };
}
