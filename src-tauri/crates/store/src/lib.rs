//! Keeps what must outlive the program. The only crate that writes files; everything it writes is versioned, written
//! atomically and backed up, and nothing that it cannot read is ever overwritten.

mod atomic;
mod contexts;
mod export;
pub mod paths;
mod settings;

pub use contexts::{ContextKey, ContextsError, ContextsFile, KeptContext};
pub use export::write_export;
pub use settings::{LIBRARY_FOLDERS_MAX, RecentFile, Settings, SettingsFile, StoreError};
