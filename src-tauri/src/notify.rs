//! Desktop notifications for what should not wait until the window is looked at.

use dualgpuopt_app::api::AppEvent;
use dualgpuopt_core::session::SessionState;
use tauri::{AppHandle, Manager as _};
use tauri_plugin_notification::NotificationExt as _;

/// Notifies of a model that became ready or failed, unless the window has the focus and shows it.
pub(crate) fn consider(host: &AppHandle, event: &AppEvent) {
    let AppEvent::Session(session) = event else { return };
    let (title, body) = match &session.state {
        SessionState::Ready => (format!("{} is ready", session.spec.title), session.spec.url()),
        SessionState::Failed { message, .. } => (format!("{} failed", session.spec.title), message.clone()),
        SessionState::Starting
        | SessionState::Loading
        | SessionState::Stopping { .. }
        | SessionState::Stopped { .. } => {
            return;
        }
    };
    let seen = host.get_webview_window("main").is_some_and(|window| window.is_focused().unwrap_or(false));
    if seen {
        return;
    }
    if let Err(error) = host.notification().builder().title(title).body(body).show() {
        tracing::debug!("No notification was shown: {error}.");
    }
}
