//! The described machine behind the NVML test library.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Memory in use of every card at first, bytes.
const USED: u64 = 1 << 30;

/// A machine with cards, written to a file that the library reads, and reads again when it changes.
pub struct Described {
    pub path: PathBuf,
    machine: Value,
}

impl Described {
    /// Two cards in `folder`.
    pub fn two_cards(folder: &Path) -> Self {
        let machine = json!({
            "driver_version": "570.133.07",
            "nvml_version": "12.570.133.07",
            "cuda_version": 12080,
            "cards": [card(0, "NVIDIA GeForce RTX 3090", 24), card(1, "NVIDIA GeForce RTX 3060", 12)],
            "faults": [],
        });
        let it = Self { path: folder.join("nvml.json"), machine };
        it.write();
        it
    }

    /// Replaces the faults.
    pub fn faults(&mut self, faults: Value) {
        self.machine["faults"] = faults;
        self.write();
    }

    /// Makes processes hold so much more of a card's memory than at first, bytes.
    pub fn more_used(&mut self, card: usize, bytes: u64) {
        let memory = &mut self.machine["cards"][card]["memory"];
        let of = |memory: &Value, part: &str| memory[part].as_u64().expect("cards have memory");
        let used = USED + bytes;
        memory["free"] = (of(memory, "total") - of(memory, "reserved") - used).into();
        memory["used"] = used.into();
        self.write();
    }

    fn write(&self) {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, self.machine.to_string()).expect("the test's folder can be written");
        fs::rename(&fresh, &self.path).expect("a rename in one folder works");
    }
}

fn card(index: u64, name: &str, gib: u64) -> Value {
    let total = gib << 30;
    let (reserved, used) = (300 << 20, USED);
    json!({
        "uuid": format!("GPU-{index:08x}-0000-4000-8000-000000000000"),
        "name": name,
        "pci_bus_id": format!("00000000:{:02X}:00.0", index + 1),
        "memory": { "total": total, "reserved": reserved, "used": used, "free": total - reserved - used },
        "utilization": [42, 17],
        "temperature_c": 61,
        "power_mw": 210_500,
        "power_limit_mw": 350_000,
        "fans_percent": [55],
        "clocks_mhz": { "graphics": 1695, "sm": 1695, "memory": 9501, "video": 1500 },
        "clocks_max_mhz": { "graphics": 2100, "sm": 2100, "memory": 9751, "video": 1950 },
        "performance_state": 2,
        "event_reasons": 4,
        "compute_capability": [8, 6],
        "memory_bus_bits": gib * 16,
        "cores": if gib == 24 { 10_496 } else { 3_584 },
        "p2p": false,
    })
}
