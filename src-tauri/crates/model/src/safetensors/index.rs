//! `model.safetensors.index.json`: which file holds which tensor. Names of files are untrusted: only plain ones are taken.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use dualgpuopt_core::model::hf::HfTensor;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::ModelError;
use crate::safetensors::HF_TENSORS_MAX;
use crate::safetensors::entries::reason;
use crate::safetensors::guard::{Beyond, Guard};
use crate::shards::SHARDS_MAX;

/// Longest index read, bytes. Published ones end at some 25 MB.
const INDEX_BYTES_MAX: u64 = 64 << 20;
/// Longest name of a file, bytes (`NAME_MAX` of common file systems).
const FILE_NAME_BYTES_MAX: usize = 255;

/// The files of a model, and which tensors each must hold.
pub(crate) struct Index {
    /// Plain file names, in order of their names.
    pub(crate) files: Vec<String>,
    /// Hash of a tensor's name, and its file; sorted. Names themselves are in the files.
    tensors: Vec<(u64, u16)>,
}

impl Index {
    /// Reads the index at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |error| ModelError::Unreadable { path: path.to_owned(), source: Arc::new(error) };
        let wrong = |what: String| ModelError::Index { path: path.to_owned(), what };
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(ModelError::NotAFile { path: path.to_owned() });
        }
        if meta.len() > INDEX_BYTES_MAX {
            return Err(wrong(format!("it is {} bytes long, but {INDEX_BYTES_MAX} are the most", meta.len())));
        }
        let mut guard = Guard::new(File::open(path).map_err(unreadable)?);
        let found = RefCell::new(Self { files: Vec::new(), tensors: Vec::new() });
        let parsed = {
            let mut parser = serde_json::Deserializer::from_reader(BufReader::new(&mut guard));
            Document { index: &found }.deserialize(&mut parser).and_then(|()| parser.end())
        };
        match parsed {
            Ok(()) => {}
            Err(_) if guard.beyond == Some(Beyond::Text) => {
                return Err(wrong("it holds a text that is far too long".to_owned()));
            }
            Err(_) if guard.beyond.is_some() => return Err(wrong("it is nested far too deep".to_owned())),
            Err(error) if error.is_io() => return Err(unreadable(error.into())),
            Err(error) => return Err(wrong(reason(&error))),
        }
        let mut index = found.into_inner();
        if index.files.is_empty() {
            return Err(wrong("its 'weight_map' is missing or empty".to_owned()));
        }
        index.in_order();
        Ok(index)
    }

    fn in_order(&mut self) {
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by(|a, b| self.files[*a].cmp(&self.files[*b]));
        let mut place = vec![0u16; order.len()];
        for (new, old) in (0u16..).zip(&order) {
            place[*old] = new;
        }
        self.files.sort();
        for (_, file) in &mut self.tensors {
            *file = place[usize::from(*file)];
        }
        self.tensors.sort_unstable();
    }

    /// What the files hold beside what the index says: one sentence each. `held` gives the tensors of each file, in order.
    pub(crate) fn doubts(&self, held: &[&[HfTensor]]) -> Vec<String> {
        let mut doubts = Vec::new();
        let mut seen = vec![0usize; self.files.len()];
        for (number, (file, tensors)) in (0u16..).zip(self.files.iter().zip(held)) {
            let extra = |tensor: &&HfTensor| self.tensors.binary_search(&(hash(&tensor.name), number)).is_err();
            let unlisted: Vec<&HfTensor> = tensors.iter().filter(extra).collect();
            seen[usize::from(number)] = tensors.len() - unlisted.len();
            if let Some(first) = unlisted.first() {
                doubts.push(format!(
                    "{file} holds {} tensors that the index does not list there, such as '{}'.",
                    unlisted.len(),
                    first.name
                ));
            }
        }
        for (number, (file, seen)) in (0u16..).zip(self.files.iter().zip(seen)) {
            let listed = self.tensors.iter().filter(|(_, file)| *file == number).count();
            if listed > seen {
                doubts.push(format!(
                    "{file} lacks {} of the {listed} tensors that the index lists there.",
                    listed - seen
                ));
            }
        }
        doubts
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Whether a name is one of a file beside the index, and nothing else.
fn plain(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.starts_with('.') && name.ends_with(".safetensors") && name.len() <= FILE_NAME_BYTES_MAX && !name.contains(odd)
}

struct Document<'a> {
    index: &'a RefCell<Index>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a 'weight_map'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        enum Key {
            #[serde(rename = "weight_map")]
            Map,
            #[serde(other)]
            Other,
        }
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Map if self.index.borrow().files.is_empty() => {
                    map.next_value_seed(WeightMap { index: self.index })?
                }
                Key::Map => return Err(A::Error::custom("'weight_map' occurs twice")),
                Key::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

struct WeightMap<'a> {
    index: &'a RefCell<Index>,
}

impl<'de> DeserializeSeed<'de> for WeightMap<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names by tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut index = self.index.borrow_mut();
        while let Some((tensor, file)) = map.next_entry::<String, String>()? {
            if index.tensors.len() >= HF_TENSORS_MAX {
                return Err(A::Error::custom(format_args!("it lists more than {HF_TENSORS_MAX} tensors")));
            }
            if !plain(&file) {
                let shown: String = file.chars().filter(|c| !c.is_control()).take(80).collect();
                return Err(A::Error::custom(format_args!(
                    "it names the file '{shown}', but only names of .safetensors files in the same folder are taken"
                )));
            }
            let number = match index.files.iter().position(|known| *known == file) {
                Some(number) => number,
                None if index.files.len() as u64 >= SHARDS_MAX => {
                    return Err(A::Error::custom(format_args!("it names more than {SHARDS_MAX} files")));
                }
                None => {
                    index.files.push(file);
                    index.files.len() - 1
                }
            };
            let number = u16::try_from(number).expect("SHARDS_MAX fits");
            index.tensors.push((hash(&tensor), number));
        }
        Ok(())
    }
}
