//! The registry's commands as Tauri commands. Nothing is decided here: each hands its arguments to the app.

use dualgpuopt_app::App;
use dualgpuopt_core::error::AppError;
use tauri::State;

macro_rules! tauri_commands {
    ($( $(#[$doc:meta])* $name:ident ( $($arg:ident : $ty:ty),* ) -> $ret:ty; )*) => {
        $(
            $(#[$doc])*
            #[tauri::command]
            #[specta::specta]
            pub(crate) async fn $name(app: State<'_, App>, $($arg: $ty),*) -> Result<$ret, AppError> {
                app.inner().clone().$name($($arg),*).await
            }
        )*

        /// Every command, for the window and for the TypeScript bindings.
        pub(crate) fn registry() -> tauri_specta::Commands<tauri::Wry> {
            tauri_specta::collect_commands![$($name),*]
        }
    };
}

dualgpuopt_app::for_each_command!(tauri_commands);
