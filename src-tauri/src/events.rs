//! The app's events as one typed Tauri event.

use dualgpuopt_app::api::AppEvent;
use serde::{Deserialize, Serialize};

/// An [`AppEvent`] on its way to the page.
#[derive(Clone, Debug, Serialize, Deserialize, specta::Type, tauri_specta::Event)]
pub(crate) struct AppEventMessage(pub(crate) AppEvent);
