//! Loading and starting NVML, and saying in words what stands in the way.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::source::SourceError;

/// Where the driver's library is looked for: the loader's own paths, WSL's, NixOS's.
const PLACES: [&str; 3] =
    ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"];
/// The kernel module tells its version here.
const MODULE_VERSION: &str = "/proc/driver/nvidia/version";
const NOUVEAU: &str = "/sys/module/nouveau";
const PCI_DEVICES: &str = "/sys/bus/pci/devices";
/// Longest line of a system file that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Loads and starts the library at `library`, or the first one found.
///
/// The result is leaked: `nvmlShutdown`, which dropping it calls, can hang, and its cards are read by threads that may
/// never end.
pub(super) fn open(library: Option<&Path>) -> Result<&'static Nvml, SourceError> {
    let places: Vec<OsString> = match library {
        Some(path) => vec![path.into()],
        None => PLACES.iter().map(OsString::from).collect(),
    };
    let mut looked_for = Vec::with_capacity(places.len());
    for place in &places {
        let shown = Path::new(place).display();
        match Nvml::builder().lib_path(place).init() {
            Ok(nvml) => return Ok(Box::leak(Box::new(nvml))),
            Err(NvmlError::LibloadingError(error)) => looked_for.push(told_of_loading(&shown.to_string(), &error)),
            Err(NvmlError::FailedToLoadSymbol(_)) => looked_for.push(format!("{shown}: not NVIDIA's library")),
            Err(error) => {
                looked_for.push(format!("{shown}: found, and answered \"{error}\""));
                return Err(refused(&error, looked_for));
            }
        }
    }
    let message = "The NVML library (libnvidia-ml.so.1) could not be loaded. It comes with the NVIDIA driver.";
    looked_for.extend(told_of_kernel());
    Err(SourceError::Absent { message: message.to_owned(), looked_for })
}

/// The loader repeats the file's name; it is said once.
fn told_of_loading(place: &str, error: &dyn std::error::Error) -> String {
    let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let words = words.strip_prefix(&format!("{place}: ")).map_or(words.as_str(), |rest| rest).to_owned();
    format!("{place}: {words}")
}

/// The library is there; it would not start.
fn refused(error: &NvmlError, mut looked_for: Vec<String>) -> SourceError {
    let failed = |message: String| SourceError::Failed { message };
    match error {
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => {
            looked_for.extend(told_of_kernel());
            SourceError::Absent { message: "The NVIDIA driver is not loaded.".to_owned(), looked_for }
        }
        NvmlError::LibRmVersionMismatch => {
            let loaded = first_line(MODULE_VERSION).map(|line| format!(" Loaded now: {line}.")).unwrap_or_default();
            failed(format!(
                "The NVIDIA driver was updated, but its old kernel module is still loaded. Reboot to use the new one.{loaded}"
            ))
        }
        NvmlError::NoPermission => {
            failed("This user may not talk to the NVIDIA driver. Check the rights of /dev/nvidiactl.".to_owned())
        }
        NvmlError::Unknown => failed(
            "The NVIDIA driver answered with an unknown error. In a container, restart the container; else reboot."
                .to_owned(),
        ),
        other => failed(format!("The NVIDIA driver would not start: {other}.")),
    }
}

/// What the kernel says about driver and cards; one line each, none where it says nothing.
fn told_of_kernel() -> Vec<String> {
    let module = first_line(MODULE_VERSION).map_or_else(
        || format!("{MODULE_VERSION}: absent, the kernel module is not loaded"),
        |line| format!("{MODULE_VERSION}: {line}"),
    );
    let nouveau = Path::new(NOUVEAU).exists().then(|| format!("{NOUVEAU}: the nouveau driver is loaded instead"));
    let cards = nvidia_displays().map(|count| match count {
        0 => format!("{PCI_DEVICES}: no NVIDIA GPU"),
        count => format!("{PCI_DEVICES}: {count} NVIDIA GPU(s)"),
    });
    [Some(module), nouveau, cards].into_iter().flatten().collect()
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.chars().take(SHOWN_CHARS_MAX).collect())
}

/// PCI devices of NVIDIA (0x10de) that are displays (class 0x03); none where the system does not list devices.
fn nvidia_displays() -> Option<usize> {
    let is = |path: &Path, file: &str, prefix: &str| {
        fs::read_to_string(path.join(file)).is_ok_and(|text| text.starts_with(prefix))
    };
    let devices = fs::read_dir(PCI_DEVICES).ok()?.flatten().map(|entry| entry.path());
    Some(devices.filter(|path| is(path, "vendor", "0x10de") && is(path, "class", "0x03")).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_says_where_it_was_looked_for() {
        let Err(SourceError::Absent { message, looked_for }) = open(Some(Path::new("/nowhere/libnvidia-ml.so.1")))
        else {
            panic!("no such file");
        };
        assert!(message.contains("could not be loaded"), "{message}");
        assert_eq!(
            looked_for[0],
            "/nowhere/libnvidia-ml.so.1: cannot open shared object file: No such file or directory"
        );
    }

    #[test]
    fn a_mismatch_says_reboot() {
        let error = refused(&NvmlError::LibRmVersionMismatch, Vec::new());
        assert!(error.to_string().contains("Reboot"), "{error}");
    }
}
