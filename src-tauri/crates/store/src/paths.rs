//! Where files live. The window and the command line share one folder, derived here and nowhere else.

use std::path::PathBuf;

/// The bundle identifier; Tauri derives its own folders from the same words (`tauri.conf.json`, held equal by a test).
pub const IDENTIFIER: &str = "app.dualgpuoptimizer";

/// The folder for settings: `$XDG_CONFIG_HOME/app.dualgpuoptimizer` on Linux. `None` where the user has no home.
#[must_use]
pub fn config_dir() -> Option<PathBuf> {
    dirs::config_dir().map(|dir| dir.join(IDENTIFIER))
}
