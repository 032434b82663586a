//! Structures and return codes as `nvml.h` lays them out (CUDA 12.8), written down apart from the bindings that the
//! product uses, so that a wrong layout on either side shows.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

use serde::Deserialize;

/// `nvmlReturn_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Code(pub(crate) c_uint);

impl Code {
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const UNINITIALIZED: Self = Self(1);
    pub(crate) const INVALID_ARGUMENT: Self = Self(2);
    pub(crate) const NOT_SUPPORTED: Self = Self(3);
    pub(crate) const NOT_FOUND: Self = Self(6);
    pub(crate) const INSUFFICIENT_SIZE: Self = Self(7);
    pub(crate) const DRIVER_NOT_LOADED: Self = Self(9);
    pub(crate) const GPU_IS_LOST: Self = Self(15);
    pub(crate) const ARGUMENT_VERSION_MISMATCH: Self = Self(25);
    pub(crate) const UNKNOWN: Self = Self(999);
}

/// What `nvmlErrorString` says.
pub(crate) const WORDS: [(Code, &std::ffi::CStr); 11] = [
    (Code::SUCCESS, c"The operation was successful"),
    (Code::UNINITIALIZED, c"Uninitialized"),
    (Code::INVALID_ARGUMENT, c"Invalid Argument"),
    (Code::NOT_SUPPORTED, c"Not Supported"),
    (Code(4), c"Insufficient Permissions"),
    (Code::NOT_FOUND, c"Not Found"),
    (Code::INSUFFICIENT_SIZE, c"Insufficient Size"),
    (Code::DRIVER_NOT_LOADED, c"Driver Not Loaded"),
    (Code::GPU_IS_LOST, c"GPU is lost"),
    (Code(18), c"Driver/library version mismatch"),
    (Code::ARGUMENT_VERSION_MISMATCH, c"Argument version mismatch"),
];

/// `nvmlPciInfo_t`.
#[repr(C)]
pub(crate) struct PciInfo {
    pub(crate) bus_id_legacy: [c_char; 16],
    pub(crate) domain: c_uint,
    pub(crate) bus: c_uint,
    pub(crate) device: c_uint,
    pub(crate) pci_device_id: c_uint,
    pub(crate) pci_subsystem_id: c_uint,
    pub(crate) bus_id: [c_char; 32],
}

/// `nvmlMemory_t`.
#[repr(C)]
pub(crate) struct MemoryV1 {
    pub(crate) total: c_ulonglong,
    pub(crate) free: c_ulonglong,
    pub(crate) used: c_ulonglong,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub(crate) struct MemoryV2 {
    pub(crate) version: c_uint,
    pub(crate) total: c_ulonglong,
    pub(crate) reserved: c_ulonglong,
    pub(crate) free: c_ulonglong,
    pub(crate) used: c_ulonglong,
}

/// `nvmlUtilization_t`.
#[repr(C)]
pub(crate) struct Utilization {
    pub(crate) gpu: c_uint,
    pub(crate) memory: c_uint,
}

/// `nvmlTemperature_v1_t`.
#[repr(C)]
pub(crate) struct TemperatureV1 {
    pub(crate) version: c_uint,
    pub(crate) sensor: c_uint,
    pub(crate) temperature: c_int,
}

/// `nvmlProcessInfo_v2_t`, which version 3 of the calls fills.
#[repr(C)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: c_uint,
    pub(crate) used_gpu_memory: c_ulonglong,
    pub(crate) gpu_instance_id: c_uint,
    pub(crate) compute_instance_id: c_uint,
}

/// `NVML_STRUCT_VERSION(T, version)`: the size, and the version in the top byte.
pub(crate) fn struct_version<T>(version: u32) -> Option<c_uint> {
    Some(c_uint::try_from(size_of::<T>()).ok()? | version << 24)
}
