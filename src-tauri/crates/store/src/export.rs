//! Files that the user asked for by name: commands in a form that other programs read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic;

/// Writes a file that was asked for, whole or not at all. One that was there is kept beside it, with `.bak` added to its
/// name. `program` makes it one that can be run.
///
/// # Errors
/// The path is a folder, or whatever the system says.
pub fn write_export(path: &Path, text: &str, program: bool) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, format!("{} is a folder", path.display())));
    }
    let mut backup = path.as_os_str().to_owned();
    backup.push(".bak");
    atomic::replace(path, &PathBuf::from(backup), text.as_bytes())?;
    mark(path, program)
}

#[cfg(unix)]
fn mark(path: &Path, program: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(if program { 0o755 } else { 0o644 }))
}

#[cfg(not(unix))]
fn mark(path: &Path, _: bool) -> io::Result<()> {
    fs::metadata(path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_the_old_one_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/start.sh");
        write_export(&path, "one", true).expect("it can be written");
        write_export(&path, "two", true).expect("it can be written");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("it is there");
        assert_eq!((read("deep/start.sh"), read("deep/start.sh.bak")), ("two".to_owned(), "one".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn scripts_can_be_run_and_others_cannot() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        for (name, program, mode) in [("a.sh", true, 0o755), ("a.service", false, 0o644)] {
            let path = folder.path().join(name);
            write_export(&path, "text", program).expect("it can be written");
            let found = fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn a_folder_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write_export(folder.path(), "text", false).expect_err("a folder");
        assert!(error.to_string().ends_with("is a folder"), "{error}");
    }
}
