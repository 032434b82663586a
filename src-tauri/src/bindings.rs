//! The TypeScript side of the commands and events, generated.

use std::path::Path;

use specta_typescript::Typescript;

/// The registry of commands and events, as the window mounts it and the bindings are exported from.
pub(crate) fn builder() -> tauri_specta::Builder<tauri::Wry> {
    tauri_specta::Builder::<tauri::Wry>::new()
        .commands(crate::commands::registry())
        .events(tauri_specta::collect_events![crate::events::AppEventMessage])
        // Both ends ship together and write every field, so one type serves both directions.
        .disable_serde_phases()
        // Byte counts and sequence numbers stay far below 2^53.
        .dangerously_cast_bigints_to_number()
}

/// Writes the bindings to `path`.
///
/// # Errors
/// The file cannot be written, or a type has no TypeScript form.
pub fn export(path: &Path) -> anyhow::Result<()> {
    builder().export(Typescript::default(), path)?;
    Ok(())
}
