//! The described machine: cards, values and faults from a JSON file that a test may replace while the library is in use.
//!
//! The file is read again when its modification time, size or inode changes. Handles name UUIDs, never positions, so
//! they survive cards that come, go and change places.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::abi::Code;

/// Names the file.
const FILE_VARIABLE: &str = "DUALGPUOPT_TEST_NVML";
/// How often the file is looked at, at most: a look costs more than a call.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// All that the file says. A value that is absent is answered with `NOT_SUPPORTED`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) driver_version: Option<String>,
    pub(crate) nvml_version: Option<String>,
    pub(crate) cuda_version: Option<i32>,
    pub(crate) cards: Vec<Card>,
    #[serde(default)]
    faults: Vec<Fault>,
    /// How long a PCIe throughput call blocks; absent: 20 ms, as on a card.
    pcie_sample_ms: Option<u64>,
    /// Each call is appended here as one line, `CALL UUID`.
    calls_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    pub(crate) uuid: String,
    pub(crate) name: Option<String>,
    pub(crate) pci_bus_id: String,
    pub(crate) memory: Option<Memory>,
    pub(crate) utilization: Option<[u32; 2]>,
    pub(crate) temperature_c: Option<i32>,
    pub(crate) power_mw: Option<u32>,
    pub(crate) power_limit_mw: Option<u32>,
    #[serde(default)]
    pub(crate) fans_percent: Vec<u32>,
    /// By `graphics`, `sm`, `memory`, `video`.
    #[serde(default)]
    pub(crate) clocks_mhz: BTreeMap<String, u32>,
    #[serde(default)]
    pub(crate) clocks_max_mhz: BTreeMap<String, u32>,
    pub(crate) pcie: Option<Pcie>,
    pub(crate) performance_state: Option<u32>,
    pub(crate) event_reasons: Option<u64>,
    pub(crate) compute_capability: Option<[i32; 2]>,
    pub(crate) memory_bus_bits: Option<u32>,
    pub(crate) cores: Option<u32>,
    /// Whether it reads the memory of other cards directly.
    pub(crate) p2p: Option<bool>,
    /// For each of its NVLinks, whether it is up.
    #[serde(default)]
    pub(crate) nvlinks: Vec<bool>,
    #[serde(default)]
    pub(crate) compute_processes: Vec<Process>,
    #[serde(default)]
    pub(crate) graphics_processes: Vec<Process>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) reserved: u64,
    pub(crate) used: u64,
    pub(crate) free: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pcie {
    pub(crate) generation: u32,
    pub(crate) generation_max: u32,
    pub(crate) width: u32,
    pub(crate) width_max: u32,
    pub(crate) receive_kb_per_s: Option<u32>,
    pub(crate) send_kb_per_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) memory: u64,
}

/// What a call does instead of answering.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// The C name; `*` is every call about a card.
    call: String,
    /// The card's UUID; absent: every card, and calls without one.
    card: Option<String>,
    /// The return code; absent: the call goes on as usual after `hang_ms`.
    code: Option<Code>,
    /// How long the call blocks first; a change of the file ends it early.
    hang_ms: Option<u64>,
    /// Whether only the first such call is hit.
    #[serde(default)]
    once: bool,
}

type FileMark = (i64, i64, u64, u64);

struct State {
    machine: Option<Arc<Machine>>,
    mark: Option<FileMark>,
    looked: Option<Instant>,
    /// Counts changes of the file.
    version: u64,
    /// Places of `once` faults that have struck in this version of the file.
    struck: BTreeSet<usize>,
    /// UUIDs by handle; grows with distinct UUIDs only.
    handles: Vec<String>,
    /// `nvmlInit` less `nvmlShutdown`.
    users: u32,
}

/// A lock because the driver's callers are threads of a foreign process: there is no owner to send messages to.
static STATE: Mutex<State> = Mutex::new(State {
    machine: None,
    mark: None,
    looked: None,
    version: 0,
    struck: BTreeSet::new(),
    handles: Vec::new(),
    users: 0,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one more user; the first look at the file decides.
pub(crate) fn init() -> Result<(), Code> {
    answer_without_users("nvmlInit_v2", |_| Ok(()))?;
    state().users += 1;
    Ok(())
}

/// Counts one user less.
pub(crate) fn shutdown() -> Result<(), Code> {
    answer("nvmlShutdown", |_| Ok(()))?;
    state().users -= 1;
    Ok(())
}

/// Answers a call that names no card.
pub(crate) fn answer(call: &str, reply: impl FnOnce(&Machine) -> Result<(), Code>) -> Result<(), Code> {
    if state().users == 0 {
        return Err(Code::UNINITIALIZED);
    }
    answer_without_users(call, reply)
}

/// Answers a call about the card behind a handle.
pub(crate) fn answer_card(
    call: &str,
    handle: usize,
    reply: impl FnOnce(&Card) -> Result<(), Code>,
) -> Result<(), Code> {
    let uuid = {
        let state = state();
        if state.users == 0 {
            return Err(Code::UNINITIALIZED);
        }
        let place = handle.checked_sub(1).ok_or(Code::INVALID_ARGUMENT)?;
        state.handles.get(place).cloned().ok_or(Code::INVALID_ARGUMENT)?
    };
    let machine = strike(call, Some(&uuid))?;
    let card = machine.cards.iter().find(|card| card.uuid == uuid).ok_or(Code::GPU_IS_LOST)?;
    reply(card)
}

/// How long a PCIe throughput call blocks; NVML samples traffic for 20 ms.
pub(crate) fn pcie_sample() -> Duration {
    let described = look().ok().and_then(|machine| machine.pcie_sample_ms);
    Duration::from_millis(described.unwrap_or(20))
}

/// The handle of a card; the same for the same UUID as long as the library is loaded.
pub(crate) fn handle(card: &Card) -> usize {
    let handles = &mut state().handles;
    let place = handles.iter().position(|uuid| *uuid == card.uuid).unwrap_or_else(|| {
        handles.push(card.uuid.clone());
        handles.len() - 1
    });
    place + 1
}

fn answer_without_users(call: &str, reply: impl FnOnce(&Machine) -> Result<(), Code>) -> Result<(), Code> {
    reply(&*strike(call, None)?)
}

/// Notes the call and lets its faults strike; the lock is not held while a call hangs, so other callers go on.
fn strike(call: &str, card: Option<&str>) -> Result<Arc<Machine>, Code> {
    let (machine, place) = {
        let mut state = state();
        let machine = look_locked(&mut state)?;
        let place = take_fault(&mut state, &machine, call, card);
        (machine, place)
    };
    note(&machine, call, card);
    let Some(place) = place else { return Ok(machine) };
    let fault = &machine.faults[place];
    if let Some(hang_ms) = fault.hang_ms {
        hang(Duration::from_millis(hang_ms));
    }
    match fault.code {
        Some(code) => Err(code),
        None => look(),
    }
}

fn take_fault(state: &mut State, machine: &Machine, call: &str, card: Option<&str>) -> Option<usize> {
    let strikes = |(place, fault): (usize, &Fault)| {
        let called = fault.call == call || (fault.call == "*" && card.is_some());
        let named = called && (fault.card.is_none() || fault.card.as_deref() == card);
        (named && !(fault.once && state.struck.contains(&place))).then_some(place)
    };
    let place = machine.faults.iter().enumerate().find_map(strikes)?;
    state.struck.insert(place);
    Some(place)
}

/// Blocks like a driver in trouble, until the time is over or the file changes.
fn hang(time: Duration) {
    let (begun, version) = (Instant::now(), state().version);
    while begun.elapsed() < time && (look().is_err() || state().version == version) {
        thread::sleep(LOOK_EVERY);
    }
}

/// The machine as the file describes it now. A broken file reads as an unknown error: no card answers.
fn look() -> Result<Arc<Machine>, Code> {
    look_locked(&mut state())
}

fn look_locked(state: &mut State) -> Result<Arc<Machine>, Code> {
    let due = state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
    if due {
        state.looked = Some(Instant::now());
        let path = std::env::var_os(FILE_VARIABLE).map(PathBuf::from).ok_or(Code::DRIVER_NOT_LOADED)?;
        let metadata = fs::metadata(&path).map_err(|_| Code::DRIVER_NOT_LOADED)?;
        let mark = (metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino());
        if state.mark != Some(mark) {
            state.mark = Some(mark);
            state.version += 1;
            state.struck.clear();
            let text = fs::read(&path).map_err(|_| Code::UNKNOWN)?;
            state.machine = match serde_json::from_slice(&text) {
                Ok(machine) => Some(Arc::new(machine)),
                Err(error) => {
                    let line = format!("test nvml: {}: {error}\n", path.display());
                    // Where even stderr is closed there is nobody left to tell.
                    let _ = std::io::stderr().write_all(line.as_bytes());
                    None
                }
            };
        }
    }
    state.machine.clone().ok_or(Code::UNKNOWN)
}

fn note(machine: &Machine, call: &str, card: Option<&str>) {
    let Some(path) = &machine.calls_file else { return };
    let line = format!("{call} {}\n", card.unwrap_or("-"));
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    // One write, so that lines of several threads do not mix; a test that misses its lines fails by itself.
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}
