//! A workaround for blank windows: `WebKitGTK`'s DMA-BUF renderer fails on NVIDIA's proprietary driver
//! (tauri-apps/tauri#9304). It can go once the oldest `WebKitGTK` supported draws there.

use std::path::Path;

/// `WebKitGTK`'s own switch.
const SWITCH: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";

/// Starts this program anew with the switch set, where the NVIDIA driver is loaded and the user has not decided.
pub(crate) fn work_around_nvidia() {
    if !cfg!(target_os = "linux") || std::env::var_os(SWITCH).is_some() || !Path::new("/proc/driver/nvidia").exists() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let args: Vec<String> = std::env::args().skip(1).collect();
    let error = dualgpuopt_launch::spawn::replace_with(program.as_os_str(), &args, &[(SWITCH, "1")]);
    tracing::warn!("The window may stay blank, because {SWITCH} could not be set: {error}.");
}
