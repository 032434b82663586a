//! The few calls that the wrapper lacks or narrows.
#![expect(unsafe_code, reason = "functions of a C library are called through their pointers")]

use std::mem;

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings as sys;

use super::sane::Memory;

/// `NVML_STRUCT_VERSION(Temperature, 1)` of `nvml.h`: the size, and the version in the top byte.
#[expect(clippy::cast_possible_truncation, reason = "a structure of 12 bytes")]
const TEMPERATURE_V1: u32 = mem::size_of::<sys::nvmlTemperature_v1_t>() as u32 | 1 << 24;

/// Memory by version 1 of the call, for drivers up to R470.
pub(super) fn memory_v1(nvml: &Nvml, device: &Device<'_>) -> Result<Memory, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    let mut memory = sys::nvmlMemory_t { total: 0, free: 0, used: 0 };
    // SAFETY: the pointer comes from the loaded library, whose ABI `nvml.h` fixes; the handle is of the same library,
    // which is never unloaded (`Nvml` is leaked); `memory` lives through the call.
    nvml_try(unsafe { call(device.handle(), &raw mut memory) })?;
    Ok(Memory { total: memory.total, free: memory.free, used: memory.used, reserved: None })
}

/// Core temperature by the call that replaces the one deprecated since CUDA 13.
pub(super) fn temperature_v(nvml: &Nvml, device: &Device<'_>) -> Result<i64, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlDeviceGetTemperatureV.as_ref())?;
    let mut temperature = sys::nvmlTemperature_v1_t {
        version: TEMPERATURE_V1,
        sensorType: sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU,
        temperature: 0,
    };
    // SAFETY: as in `memory_v1`; the version tells the library the structure's size.
    nvml_try(unsafe { call(device.handle(), &raw mut temperature) })?;
    Ok(i64::from(temperature.temperature))
}

/// Clock event reasons, with the bits that the wrapper does not know.
pub(super) fn event_reasons(nvml: &Nvml, device: &Device<'_>) -> Result<u64, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlDeviceGetCurrentClocksEventReasons.as_ref())?;
    let mut reasons = 0;
    // SAFETY: as in `memory_v1`.
    nvml_try(unsafe { call(device.handle(), &raw mut reasons) })?;
    Ok(reasons)
}

/// The same by its name before R535.
pub(super) fn throttle_reasons(nvml: &Nvml, device: &Device<'_>) -> Result<u64, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlDeviceGetCurrentClocksThrottleReasons.as_ref())?;
    let mut reasons = 0;
    // SAFETY: as in `memory_v1`.
    nvml_try(unsafe { call(device.handle(), &raw mut reasons) })?;
    Ok(reasons)
}
