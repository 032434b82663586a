//! A library that speaks NVML's C ABI for a described set of cards: just the calls that the product makes.
//!
//! Built as `libnvidia_ml.so` by `cargo build -p dualgpuopt-test-nvml`; the machine is described by the JSON file that
//! `DUALGPUOPT_TEST_NVML` names (see `script.rs`). What a card does not say is `NOT_SUPPORTED`; a structure of another
//! version is `ARGUMENT_VERSION_MISMATCH`; a short buffer is `INSUFFICIENT_SIZE`. Deliberately absent: a GPU.
//!
//! Safety, for every exported function: the caller keeps NVML's contract, which is that a pointer is null or points to
//! memory of the documented type and length that nobody else uses during the call. Null is refused.
#![expect(unsafe_code, reason = "a C ABI takes raw pointers and exports unmangled names")]

mod abi;
mod script;

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::thread;

use abi::{Code, MemoryV1, MemoryV2, PciInfo, ProcessInfo, TemperatureV1, Utilization, struct_version};
use script::{Card, Pcie, Process};

fn code(result: Result<(), Code>) -> c_uint {
    result.err().unwrap_or(Code::SUCCESS).0
}

/// Writes through a caller's pointer.
///
/// # Safety
/// `out` is null or valid for a write of `T` (NVML's contract, see above).
unsafe fn put<T>(out: *mut T, value: T) -> Result<(), Code> {
    if out.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    // SAFETY: not null, and valid by this function's own contract.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes a string and its end into a caller's buffer.
///
/// # Safety
/// `out` is null or valid for `length` bytes.
unsafe fn put_string(out: *mut c_char, length: c_uint, text: &str) -> Result<(), Code> {
    if out.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    let room = usize::try_from(length).map_err(|_| Code::INVALID_ARGUMENT)?;
    if text.len() >= room {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    // SAFETY: `text.len() + 1 <= room` bytes are written, and `out` is valid for `room`.
    unsafe {
        out.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        out.add(text.len()).write(0);
    }
    Ok(())
}

/// A caller's string.
///
/// # Safety
/// `text` is null or a string that ends in NUL.
unsafe fn take_string(text: *const c_char) -> Result<String, Code> {
    if text.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    // SAFETY: not null, and a C string by this function's own contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(str::to_owned).map_err(|_| Code::INVALID_ARGUMENT)
}

fn told<T>(value: Option<T>) -> Result<T, Code> {
    value.ok_or(Code::NOT_SUPPORTED)
}

/// Exports calls of the form `name(device, out: *mut T)`, each answered by one expression over the card.
macro_rules! card_calls {
    ($( $name:ident: $out:ty = $value:expr; )+) => { $(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: usize, out: *mut $out) -> c_uint {
            let value: fn(&Card) -> Result<$out, Code> = $value;
            // SAFETY: the caller's contract, see the head of this file.
            code(script::answer_card(stringify!($name), device, |card| unsafe { put(out, value(card)?) }))
        }
    )+ };
}

card_calls! {
    nvmlDeviceGetMemoryInfo: MemoryV1 = |card| {
        // Version 1 counts the driver's reserve as used.
        let memory = told(card.memory)?;
        Ok(MemoryV1 { total: memory.total, free: memory.free, used: memory.used.saturating_add(memory.reserved) })
    };
    nvmlDeviceGetUtilizationRates: Utilization = |card| {
        told(card.utilization).map(|[gpu, memory]| Utilization { gpu, memory })
    };
    nvmlDeviceGetPowerUsage: c_uint = |card| told(card.power_mw);
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |card| told(card.power_limit_mw);
    nvmlDeviceGetFanSpeed: c_uint = |card| told(card.fans_percent.iter().copied().max());
    nvmlDeviceGetNumFans: c_uint = |card| c_uint::try_from(card.fans_percent.len()).map_err(|_| Code::UNKNOWN);
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |card| told(card.pcie).map(|pcie| pcie.generation);
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |card| told(card.pcie).map(|pcie| pcie.width);
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = |card| told(card.pcie).map(|pcie| pcie.generation_max);
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = |card| told(card.pcie).map(|pcie| pcie.width_max);
    nvmlDeviceGetMemoryBusWidth: c_uint = |card| told(card.memory_bus_bits);
    nvmlDeviceGetNumGpuCores: c_uint = |card| told(card.cores);
    nvmlDeviceGetPerformanceState: c_uint = |card| told(card.performance_state);
    nvmlDeviceGetCurrentClocksEventReasons: c_ulonglong = |card| told(card.event_reasons);
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |card| told(card.event_reasons);
    nvmlDeviceGetPciInfo_v3: PciInfo = |card| pci_info(&card.pci_bus_id).ok_or(Code::UNKNOWN);
}

/// `00000000:01:00.0` in all its forms.
fn pci_info(bus_id: &str) -> Option<PciInfo> {
    let (domain, rest) = bus_id.split_once(':')?;
    let (bus, device) = rest.split_once(':')?;
    let (device, function) = device.split_once('.')?;
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let (domain, bus, device, function) = (hex(domain)?, hex(bus)?, hex(device)?, hex(function)?);
    Some(PciInfo {
        bus_id_legacy: characters(&format!("{domain:04X}:{bus:02X}:{device:02X}.{function:X}"))?,
        domain,
        bus,
        device,
        pci_device_id: 0x2204_10de,
        pci_subsystem_id: 0,
        bus_id: characters(&format!("{domain:08X}:{bus:02X}:{device:02X}.{function:X}"))?,
    })
}

fn characters<const N: usize>(text: &str) -> Option<[c_char; N]> {
    let mut out = [0; N];
    // The last place stays NUL.
    for (place, byte) in out[..N - 1].iter_mut().zip(text.bytes()) {
        *place = c_char::try_from(byte).ok()?;
    }
    (text.len() < N).then_some(out)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlInit_v2() -> c_uint {
    code(script::init())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> c_uint {
    code(script::init())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlShutdown() -> c_uint {
    code(script::shutdown())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlErrorString(result: c_uint) -> *const c_char {
    let known = abi::WORDS.iter().find(|(code, _)| code.0 == result);
    known.map_or(c"Unknown Error", |(_, words)| words).as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, length: c_uint) -> c_uint {
    code(script::answer("nvmlSystemGetDriverVersion", |machine| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put_string(out, length, told(machine.driver_version.as_deref())?) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(out: *mut c_char, length: c_uint) -> c_uint {
    code(script::answer("nvmlSystemGetNVMLVersion", |machine| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put_string(out, length, told(machine.nvml_version.as_deref())?) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(out: *mut c_int) -> c_uint {
    code(script::answer("nvmlSystemGetCudaDriverVersion_v2", |machine| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, told(machine.cuda_version)?) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> c_uint {
    code(script::answer("nvmlDeviceGetCount_v2", |machine| {
        let count = c_uint::try_from(machine.cards.len()).map_err(|_| Code::UNKNOWN)?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, count) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut usize) -> c_uint {
    code(script::answer("nvmlDeviceGetHandleByIndex_v2", |machine| {
        let place = usize::try_from(index).map_err(|_| Code::INVALID_ARGUMENT)?;
        let card = machine.cards.get(place).ok_or(Code::INVALID_ARGUMENT)?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, script::handle(card)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, out: *mut usize) -> c_uint {
    code(script::answer("nvmlDeviceGetHandleByUUID", |machine| {
        // SAFETY: the caller's contract, see the head of this file.
        let uuid = unsafe { take_string(uuid) }?;
        let card = machine.cards.iter().find(|card| card.uuid == uuid).ok_or(Code::NOT_FOUND)?;
        // SAFETY: as above.
        unsafe { put(out, script::handle(card)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(bus_id: *const c_char, out: *mut usize) -> c_uint {
    code(script::answer("nvmlDeviceGetHandleByPciBusId_v2", |machine| {
        // SAFETY: the caller's contract, see the head of this file.
        let asked = pci_info(&unsafe { take_string(bus_id) }?).ok_or(Code::INVALID_ARGUMENT)?;
        let same = |card: &&Card| pci_info(&card.pci_bus_id).is_some_and(|pci| pci.bus_id == asked.bus_id);
        let card = machine.cards.iter().find(same).ok_or(Code::NOT_FOUND)?;
        // SAFETY: as above.
        unsafe { put(out, script::handle(card)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(device: usize, out: *mut c_char, length: c_uint) -> c_uint {
    // SAFETY: the caller's contract, see the head of this file.
    code(script::answer_card("nvmlDeviceGetUUID", device, |card| unsafe { put_string(out, length, &card.uuid) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(device: usize, out: *mut c_char, length: c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetName", device, |card| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put_string(out, length, told(card.name.as_deref())?) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: usize, out: *mut MemoryV2) -> c_uint {
    code(script::answer_card("nvmlDeviceGetMemoryInfo_v2", device, |card| {
        if out.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null; every version of the structure begins with its version.
        let version = unsafe { (*out).version };
        if Some(version) != struct_version::<MemoryV2>(2) {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let memory = told(card.memory)?;
        let (total, reserved, free, used) = (memory.total, memory.reserved, memory.free, memory.used);
        // SAFETY: the version says that the caller gave the whole structure.
        unsafe { put(out, MemoryV2 { version, total, reserved, free, used }) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperature(device: usize, sensor: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetTemperature", device, |card| {
        let temperature = core_temperature(card, sensor)?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, c_uint::try_from(temperature).map_err(|_| Code::UNKNOWN)?) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperatureV(device: usize, out: *mut TemperatureV1) -> c_uint {
    code(script::answer_card("nvmlDeviceGetTemperatureV", device, |card| {
        if out.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null; every version of the structure begins with its version.
        let version = unsafe { (*out).version };
        if Some(version) != struct_version::<TemperatureV1>(1) {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        // SAFETY: the version says that the caller gave the whole structure.
        let sensor = unsafe { (*out).sensor };
        let temperature = core_temperature(card, sensor)?;
        // SAFETY: as above.
        unsafe { put(out, TemperatureV1 { version, sensor, temperature }) }
    }))
}

fn core_temperature(card: &Card, sensor: c_uint) -> Result<c_int, Code> {
    if sensor == 0 { told(card.temperature_c) } else { Err(Code::INVALID_ARGUMENT) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFanSpeed_v2(device: usize, fan: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetFanSpeed_v2", device, |card| {
        let place = usize::try_from(fan).map_err(|_| Code::INVALID_ARGUMENT)?;
        let speed = card.fans_percent.get(place).copied();
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, speed.ok_or(Code::INVALID_ARGUMENT)?) }
    }))
}

fn clock_name(clock: c_uint) -> Result<&'static str, Code> {
    let place = usize::try_from(clock).map_err(|_| Code::INVALID_ARGUMENT)?;
    ["graphics", "sm", "memory", "video"].get(place).copied().ok_or(Code::INVALID_ARGUMENT)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(device: usize, clock: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetClockInfo", device, |card| {
        let mhz = told(card.clocks_mhz.get(clock_name(clock)?).copied())?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, mhz) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(device: usize, clock: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetMaxClockInfo", device, |card| {
        let mhz = told(card.clocks_max_mhz.get(clock_name(clock)?).copied())?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, mhz) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetP2PStatus(device: usize, _other: usize, _index: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetP2PStatus", device, |card| {
        // NVML_P2P_STATUS_OK is 0, NVML_P2P_STATUS_GPU_NOT_SUPPORTED is 2.
        let status = if told(card.p2p)? { 0 } else { 2 };
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, status) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNvLinkState(device: usize, link: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetNvLinkState", device, |card| {
        let place = usize::try_from(link).map_err(|_| Code::INVALID_ARGUMENT)?;
        let active = told(card.nvlinks.get(place).copied())?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, c_uint::from(active)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPcieThroughput(device: usize, counter: c_uint, out: *mut c_uint) -> c_uint {
    code(script::answer_card("nvmlDeviceGetPcieThroughput", device, |card| {
        let Pcie { receive_kb_per_s, send_kb_per_s, .. } = told(card.pcie)?;
        // NVML_PCIE_UTIL_TX_BYTES is 0, NVML_PCIE_UTIL_RX_BYTES is 1.
        let traffic = match counter {
            0 => told(send_kb_per_s)?,
            1 => told(receive_kb_per_s)?,
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        thread::sleep(script::pcie_sample());
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put(out, traffic) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(device: usize, major: *mut c_int, minor: *mut c_int) -> c_uint {
    code(script::answer_card("nvmlDeviceGetCudaComputeCapability", device, |card| {
        let [card_major, card_minor] = told(card.compute_capability)?;
        // SAFETY: the caller's contract, see the head of this file.
        unsafe {
            put(major, card_major)?;
            put(minor, card_minor)
        }
    }))
}

/// Fills a list of processes, or says how long it must be.
///
/// # Safety
/// `count` is null or valid for read and write; `out` is null or valid for `*count` entries.
unsafe fn put_processes(processes: &[Process], count: *mut c_uint, out: *mut ProcessInfo) -> Result<(), Code> {
    if count.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    let needed = c_uint::try_from(processes.len()).map_err(|_| Code::UNKNOWN)?;
    // SAFETY: not null, and valid by this function's own contract.
    let room = unsafe { count.replace(needed) };
    if room < needed {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    for (place, process) in processes.iter().enumerate() {
        let all_ones = c_uint::MAX;
        let (gpu_instance_id, compute_instance_id) = (all_ones, all_ones);
        let entry =
            ProcessInfo { pid: process.pid, used_gpu_memory: process.memory, gpu_instance_id, compute_instance_id };
        // SAFETY: `place < needed <= room`, and `out` is valid for `room` entries; null is refused by `put`.
        unsafe { put(if out.is_null() { out } else { out.add(place) }, entry)? };
    }
    Ok(())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: usize,
    count: *mut c_uint,
    out: *mut c_void,
) -> c_uint {
    code(script::answer_card("nvmlDeviceGetComputeRunningProcesses_v3", device, |card| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put_processes(&card.compute_processes, count, out.cast()) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: usize,
    count: *mut c_uint,
    out: *mut c_void,
) -> c_uint {
    code(script::answer_card("nvmlDeviceGetGraphicsRunningProcesses_v3", device, |card| {
        // SAFETY: the caller's contract, see the head of this file.
        unsafe { put_processes(&card.graphics_processes, count, out.cast()) }
    }))
}
