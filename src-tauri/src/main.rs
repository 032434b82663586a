//! The desktop program: hidden entries first, then the window.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = dualgpuopt_app::run_hidden_entry() {
        return code;
    }
    dualgpuopt_desktop::run()
}
