//! Which flags an engine has, by version: tables of published versions, and what an installed one says of itself.
//!
//! Where the tables come from: README.md in this folder. Absent: what flags mean (`arguments` of each engine), running
//! anything.

mod help;
mod problem;

use std::collections::BTreeMap;
use std::fmt;

pub use help::build_of;
pub use problem::FlagProblem;

/// Programs that a model is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// `llama-server`.
    LlamaCpp,
    /// `vllm serve`.
    Vllm,
}

impl Engine {
    const fn table(self) -> &'static str {
        match self {
            Self::LlamaCpp => include_str!("llama_cpp.tsv"),
            Self::Vllm => include_str!("vllm.tsv"),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vLLM",
        })
    }
}

/// A version: llama.cpp's build number alone (`b11434`), or vLLM's numbers (`0.33.0`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    engine: Engine,
    numbers: Vec<u32>,
}

/// Most numbers of a version that are read; what follows decides nothing here.
const NUMBERS_MAX: usize = 3;

impl Version {
    /// A build of llama.cpp.
    #[must_use]
    pub fn build(number: u32) -> Self {
        Self { engine: Engine::LlamaCpp, numbers: vec![number] }
    }

    /// Reads `b11434`, `11434`, `0.33.0` or `0.6.6.post1`; `None` where no number leads.
    #[must_use]
    pub fn read(engine: Engine, text: &str) -> Option<Self> {
        let numbers = text.trim().trim_start_matches(['b', 'v']).split('.').take(NUMBERS_MAX).map_while(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse::<u32>().ok()
        });
        let numbers: Vec<u32> = numbers.collect();
        (!numbers.is_empty()).then_some(Self { engine, numbers })
    }

    /// The newest version that has a table.
    #[must_use]
    pub fn current(engine: Engine) -> Self {
        columns(engine).pop().expect("tables have columns").1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
        let mark = if self.engine == Engine::LlamaCpp { "b" } else { "" };
        write!(to, "{mark}{}", numbers.join("."))
    }
}

/// What follows a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value, as the engine's help calls it: `N`, `{none,layer,row}`.
    Value(String),
}

/// The flags of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagTable {
    /// Which engine.
    pub engine: Engine,
    /// Its version; absent where an installed engine does not tell it.
    pub version: Option<Version>,
    flags: BTreeMap<String, Takes>,
}

impl FlagTable {
    /// The table of a published version: of the newest one that is not newer than `version`, of the oldest one for versions
    /// before that, and of the newest one of all where the version is unknown.
    #[must_use]
    pub fn published(engine: Engine, version: Option<&Version>) -> Self {
        let columns = columns(engine);
        let at = match version {
            Some(version) => columns.iter().rposition(|(_, column)| column <= version).unwrap_or(0),
            None => columns.len() - 1,
        };
        let (column, known) = columns[at].clone();
        let rows = engine.table().lines().skip(1).filter_map(|line| {
            let mut cells = line.split('\t');
            let flag = cells.next()?;
            let takes = cells.nth(column).filter(|cell| !cell.is_empty())?;
            let takes = if takes == "-" { Takes::Nothing } else { Takes::Value(takes.to_owned()) };
            Some((flag.to_owned(), takes))
        });
        Self { engine, flags: rows.collect(), version: Some(version.cloned().unwrap_or(known)) }
    }

    /// What an installed llama.cpp says of itself: the flags of its `--help`, and its build number where it told one.
    /// `None` where the text lists no flags.
    #[must_use]
    pub fn told(version: Option<Version>, help: &str) -> Option<Self> {
        let flags = help::flags(help);
        (!flags.is_empty()).then_some(Self { engine: Engine::LlamaCpp, version, flags })
    }

    /// What follows a flag; `None` where this version lacks it.
    #[must_use]
    pub fn takes(&self, flag: &str) -> Option<&Takes> {
        self.flags.get(flag)
    }

    /// Whether this version has a flag.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    /// Whether a flag takes a value: one of those that its help lists (`{none,layer,row}`, `[on|off]`), or any where it lists
    /// none.
    #[must_use]
    pub fn allows(&self, flag: &str, value: &str) -> bool {
        let Some(Takes::Value(hint)) = self.takes(flag) else { return false };
        let listed = hint.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let listed = listed.or_else(|| hint.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')));
        listed.is_none_or(|listed| listed.split([',', '|']).any(|one| one == value))
    }

    /// The flags, in order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, &Takes)> {
        self.flags.iter().map(|(flag, takes)| (flag.as_str(), takes))
    }

    /// The engine and its version in words: `llama.cpp b11434`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.engine),
            None => format!("this {}", self.engine),
        }
    }
}

/// The first published version that has a flag with a value (or with none), to be named where a version lacks it.
pub(crate) fn first_with(engine: Engine, flag: &str, value: Option<&str>) -> Option<Version> {
    let has = |table: &FlagTable| value.map_or_else(|| table.has(flag), |value| table.allows(flag, value));
    columns(engine).into_iter().map(|(_, version)| version).find(|it| has(&FlagTable::published(engine, Some(it))))
}

/// Versions of a table with their place among the cells, oldest first.
fn columns(engine: Engine) -> Vec<(usize, Version)> {
    let head = engine.table().lines().next().expect("tables have a head");
    let version = |text| Version::read(engine, text).expect("heads are versions");
    head.split('\t').skip(1).map(version).enumerate().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama(build: u32) -> FlagTable {
        FlagTable::published(Engine::LlamaCpp, Some(&Version::build(build)))
    }

    #[test]
    fn versions_are_read_and_shown() {
        let read = |engine, text| Version::read(engine, text).map(|version| version.to_string());
        assert_eq!(read(Engine::LlamaCpp, "b11434").as_deref(), Some("b11434"));
        assert_eq!(read(Engine::Vllm, "0.6.6.post1+cu124").as_deref(), Some("0.6.6"));
        assert_eq!((read(Engine::Vllm, "dev"), read(Engine::LlamaCpp, "99999999999")), (None, None));
        assert!(Version::read(Engine::Vllm, "0.10.0") > Version::read(Engine::Vllm, "0.9.2"));
        assert_eq!(Version::current(Engine::LlamaCpp).to_string(), "b11434");
    }

    #[test]
    fn tables_are_ordered_and_whole() {
        for engine in [Engine::LlamaCpp, Engine::Vllm] {
            let columns = columns(engine);
            assert!(columns.len() >= 3 && columns.is_sorted_by(|one, next| one.1 < next.1), "{columns:?}");
            for (_, version) in columns {
                let table = FlagTable::published(engine, Some(&version));
                assert!(table.flags().count() > 100 && table.has("--port"), "{version}");
                assert!(table.flags().all(|(flag, _)| flag.starts_with('-')), "{version}");
            }
        }
    }

    #[test]
    fn what_changed_between_versions_is_in_them() {
        assert_eq!(llama(5000).takes("-fa"), Some(&Takes::Nothing));
        assert!(llama(6400).allows("-fa", "on") && !llama(6400).allows("-fa", "yes"));
        assert_eq!([4579, 6088, 6089].map(|build| llama(build).has("--n-cpu-moe")), [false, false, true]);
        assert_eq!([7394, 8672, 99_999].map(|build| llama(build).has("--fit")), [false, true, true]);
        assert_eq!([8672, 11_434].map(|build| llama(build).allows("-sm", "tensor")), [false, true]);
        let vllm = |text| FlagTable::published(Engine::Vllm, Version::read(Engine::Vllm, text).as_ref());
        assert!(!vllm("0.6.6").has("--enable-expert-parallel") && vllm("0.11.0").has("--enable-expert-parallel"));
    }

    #[test]
    fn the_version_asked_for_is_kept_and_the_unknown_one_is_the_newest() {
        assert_eq!(llama(7000).words(), "llama.cpp b7000");
        assert_eq!(FlagTable::published(Engine::Vllm, None).words(), "vLLM 0.33.0");
        assert_eq!(first_with(Engine::LlamaCpp, "-sm", Some("tensor")), Some(Version::build(11_434)));
        assert_eq!(first_with(Engine::LlamaCpp, "--frobnicate", None), None);
    }
}
