//! Walks folders within bounds: every folder once, whatever links point where.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Deepest folder looked at, counted from the place.
pub const DEPTH_MAX: usize = 16;
/// Most folders of one scan.
pub const FOLDERS_MAX: usize = 20_000;
/// Most files and links of one scan.
pub const FILES_MAX: usize = 200_000;

/// What was walked so far, over all places of a scan.
#[derive(Default)]
pub(super) struct Room {
    folders: HashSet<PathBuf>,
    files: usize,
}

/// Sentences about what could not be walked.
pub(super) struct Problems {
    list: Vec<String>,
    max: usize,
    more: usize,
}

impl Problems {
    pub(super) fn new(max: usize) -> Self {
        Self { list: Vec::new(), max, more: 0 }
    }

    pub(super) fn say(&mut self, problem: String) {
        if self.list.len() < self.max { self.list.push(problem) } else { self.more += 1 }
    }

    pub(super) fn into_list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.list.push(format!("{} more folders could not be read.", self.more));
        }
        self.list
    }
}

/// A file of a folder.
pub(super) struct FileFound {
    /// Name; those that are no UTF-8 are left out, since no engine's command line could carry them.
    pub(super) name: String,
    /// Absent where a link points to nothing.
    pub(super) meta: Option<Metadata>,
}

/// Calls `visit` with every folder below `root` and those of its files that `wanted` by name. `must` says whether the
/// absence of `root` itself is a problem.
pub(super) fn walk(
    root: &Path,
    must: bool,
    room: &mut Room,
    problems: &mut Problems,
    wanted: impl Fn(&str) -> bool,
    mut visit: impl FnMut(&Path, Vec<FileFound>),
) {
    let mut waiting = vec![(root.to_owned(), 0usize)];
    while let Some((folder, depth)) = waiting.pop() {
        // The real path names a folder however many links lead to it.
        let real = match fs::canonicalize(&folder) {
            Ok(real) => real,
            Err(error) => {
                complain(&folder, &error, must && depth == 0, problems);
                continue;
            }
        };
        if room.folders.contains(&real) {
            continue;
        }
        if room.folders.len() >= FOLDERS_MAX {
            problems
                .say(format!("More than {FOLDERS_MAX} folders: {} and others were not looked at.", folder.display()));
            return;
        }
        room.folders.insert(real);
        match list(&folder, room, &wanted) {
            Ok((files, below)) => {
                visit(&folder, files);
                if depth < DEPTH_MAX {
                    waiting.extend(below.into_iter().map(|folder| (folder, depth + 1)));
                } else if let Some(first) = below.first() {
                    problems.say(format!(
                        "{} lies more than {DEPTH_MAX} folders deep and was not looked at.",
                        first.display()
                    ));
                }
            }
            Err(error) => complain(&folder, &error, must && depth == 0, problems),
        }
        if room.files >= FILES_MAX {
            problems
                .say(format!("More than {FILES_MAX} files: what comes after {} was not looked at.", folder.display()));
            return;
        }
    }
}

fn complain(folder: &Path, error: &io::Error, must: bool, problems: &mut Problems) {
    // A folder that vanished meanwhile holds nothing.
    let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if must || !gone {
        problems.say(format!("{} cannot be looked at: {error}.", folder.display()));
    }
}

/// Files wanted, and folders below, both by name. Hidden folders are left out: they hold settings and remains.
fn list(folder: &Path, room: &mut Room, wanted: impl Fn(&str) -> bool) -> io::Result<(Vec<FileFound>, Vec<PathBuf>)> {
    let (mut files, mut below) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)?.take(FILES_MAX.saturating_sub(room.files)) {
        room.files += 1;
        // What vanishes between listing and looking is not there.
        let Ok(entry) = entry else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if kind.is_dir() {
            if !name.starts_with('.') {
                below.push(path);
            }
            continue;
        }
        if kind.is_symlink() {
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() && !name.starts_with('.') => below.push(path),
                Ok(meta) if meta.is_dir() => {}
                found if wanted(&name) => files.push(FileFound { name, meta: found.ok().filter(Metadata::is_file) }),
                _ => {}
            }
        } else if kind.is_file() && wanted(&name) {
            let Ok(meta) = entry.metadata() else { continue };
            files.push(FileFound { name, meta: Some(meta) });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    below.sort_by(|a, b| b.cmp(a));
    Ok((files, below))
}
