//! The way out: engines end first, then the window, then the program.

use std::sync::atomic::{AtomicBool, Ordering};

use dualgpuopt_app::App;
use tauri::{AppHandle, Manager as _, RunEvent};

/// Whether the way out was taken already.
static LEAVING: AtomicBool = AtomicBool::new(false);
/// Set once every process of ours has ended and the program may exit.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Takes the way out. True while engines still have to end; asking again then ends their grace.
pub(crate) fn begin(host: &AppHandle) -> bool {
    if ENDED.load(Ordering::SeqCst) {
        return false;
    }
    let app = host.state::<App>().inner().clone();
    if LEAVING.swap(true, Ordering::SeqCst) {
        app.stop_by_force();
        return true;
    }
    let (host, running) = (host.clone(), app.running() > 0);
    tauri::async_runtime::spawn(async move {
        app.shut_down().await;
        ENDED.store(true, Ordering::SeqCst);
        host.exit(0);
    });
    running
}

/// Keeps the program alive until the way out has been walked to its end.
pub(crate) fn on_run_event(host: &AppHandle, event: RunEvent) {
    if let RunEvent::ExitRequested { api, .. } = event
        && !ENDED.load(Ordering::SeqCst)
    {
        api.prevent_exit();
        if !LEAVING.load(Ordering::SeqCst) {
            begin(host);
        }
    }
}
