//! Embeds the page, the configuration and the permissions.

fn main() {
    tauri_build::build();
}
