//! What of a card and its slot decides speed. Whole numbers, so that requests can be compared and kept.

use serde::{Deserialize, Serialize};

/// Kind of a card's memory, by how it reaches its bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// GDDR5 to GDDR7: few wide channels, near its bandwidth with one sequence.
    Gddr,
    /// High-bandwidth memory: many channels, bound by latency where one sequence reads few bytes.
    Hbm,
    /// Memory shared with the CPU.
    Unified,
}

/// How a card is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct Link {
    /// PCIe generation, 1 to 7.
    pub generation: u8,
    /// PCIe lanes, 1 to 16.
    pub lanes: u8,
    /// Whether GPUs reach each other's memory without passing through system RAM.
    pub p2p: bool,
    /// NVLink to its neighbours.
    pub nvlink: bool,
}

/// A card's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct CardSpeed {
    /// Memory bandwidth, MB/s (decimal).
    pub bandwidth_mb_s: u32,
    /// Kind of memory.
    pub memory: MemoryKind,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Boost clock, MHz.
    pub boost_mhz: u32,
    /// Compute capability × 100.
    pub capability: u32,
    /// Whether it is sold as GeForce; professional and datacentre cards behave otherwise.
    pub geforce: bool,
    /// Its slot.
    pub link: Link,
}
