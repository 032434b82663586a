//! The JSON of a header, entry by entry, each held against the limits before the next is read.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufReader, Read};

use dualgpuopt_core::model::hf::{DType, HfTensor};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::gguf::clean;
use crate::safetensors::fault::TensorFileFault as Fault;
use crate::safetensors::guard::{Beyond, DEPTH_MAX, Guard, TEXT_BYTES_MAX};
use crate::safetensors::{HF_TENSORS_MAX, NAMES_BYTES_MAX, Room, Stop, words};

/// Most dimensions of a tensor. Published ones end at five (patch embeddings of videos).
const DIMS_MAX: usize = 8;
/// Longest name of an element type that we take for one.
const TYPE_BYTES_MAX: usize = 32;
/// Bytes asked of the file at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A tensor, and where its data begin, counted from the header's end.
pub(crate) struct Entry {
    pub(crate) tensor: HfTensor,
    pub(crate) begin: u64,
}

impl Entry {
    /// Bytes by type and shape; `None` for a type that we do not know. The product was checked when it was read.
    pub(crate) fn size(&self) -> Option<u64> {
        Some(self.tensor.elements().saturating_mul(self.tensor.dtype.bits()?).div_ceil(8))
    }
}

/// Reads the `header_len` bytes of JSON at the front of `inner`, of a file of `len` bytes.
pub(crate) fn read(inner: impl Read, header_len: u64, len: u64, room: &mut Room) -> Result<Vec<Entry>, Stop> {
    let mut guard = Guard::new(inner.take(header_len));
    let state = RefCell::new((Vec::new(), None));
    let parsed = {
        let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER_BYTES, &mut guard));
        Table { room, state: &state }.deserialize(&mut parser).and_then(|()| parser.end())
    };
    let (entries, fault): (Vec<Entry>, Option<Fault>) = state.into_inner();
    let Err(error) = parsed else { return Ok(entries) };
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    match guard.beyond {
        Some(Beyond::Text) => return Err(Fault::TextTooLong { max: TEXT_BYTES_MAX }.into()),
        Some(Beyond::Depth) => return Err(Fault::TooDeep { max: DEPTH_MAX }.into()),
        None => {}
    }
    if error.is_eof() && guard.read < header_len {
        // The file has become shorter since its length was asked.
        return Err(Fault::HeaderCut { needed: 8 + header_len, len: len.min(8 + guard.read) }.into());
    }
    if error.is_io() {
        return Err(Stop::Io(io::Error::from(error)));
    }
    Err(Fault::Json { reason: reason(&error) }.into())
}

/// The parser's sentence. It may hold a piece of the file, so it is shortened and cleaned.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    const SHOWN_MAX: usize = 200;
    let text = error.to_string();
    let shown = clean(text.as_bytes());
    match shown.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}… at line {} column {}", &shown[..end], error.line(), error.column()),
        None => shown,
    }
}

/// The whole object. Entries and the first fault of ours go to `state`, since the parser's error only carries a text.
struct Table<'a> {
    room: &'a mut Room,
    state: &'a RefCell<(Vec<Entry>, Option<Fault>)>,
}

impl<'de> DeserializeSeed<'de> for Table<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let refuse = |fault| {
            self.state.borrow_mut().1 = Some(fault);
            Err(A::Error::custom("refused"))
        };
        let mut metadata = false;
        while let Some(name) = map.next_key::<Text>()? {
            if name.0 == "__metadata__" {
                if metadata {
                    return refuse(Fault::DuplicateTensor { tensor: name.0 });
                }
                metadata = true;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Some(tensors) = self.room.tensors.checked_sub(1) else {
                return refuse(Fault::TooManyTensors { max: HF_TENSORS_MAX });
            };
            let Some(name_bytes) = self.room.name_bytes.checked_sub(name.0.len()) else {
                return refuse(Fault::NamesTooLong { max: NAMES_BYTES_MAX });
            };
            (self.room.tensors, self.room.name_bytes) = (tensors, name_bytes);
            let body = map.next_value::<Body>()?;
            match entry(name.0, body) {
                Ok(entry) => self.state.borrow_mut().0.push(entry),
                Err(fault) => return refuse(fault),
            }
        }
        Ok(())
    }
}

/// A text with what no screen shows replaced, in exactly the memory it needs.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                let control = text.chars().any(char::is_control);
                Ok(Text(if control { clean(text.as_bytes()) } else { text.to_owned() }))
            }
        }
        deserializer.deserialize_str(Take)
    }
}

/// What stands behind a name; further keys are passed over, as the format's own reader does.
#[derive(Deserialize)]
struct Body {
    dtype: Text,
    shape: Dims,
    data_offsets: [u64; 2],
}

struct Dims(Box<[u64]>);

impl<'de> Deserialize<'de> for Dims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Dims;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {DIMS_MAX} whole numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dims, A::Error> {
                let mut dims = [0; DIMS_MAX];
                let mut count = 0;
                while let Some(dim) = seq.next_element::<u64>()? {
                    let slot = dims.get_mut(count).ok_or_else(|| A::Error::invalid_length(count + 1, &self))?;
                    *slot = dim;
                    count += 1;
                }
                Ok(Dims(dims[..count].into()))
            }
        }
        deserializer.deserialize_seq(Take)
    }
}

fn entry(name: String, body: Body) -> Result<Entry, Fault> {
    let [begin, end] = body.data_offsets;
    let Some(bytes) = end.checked_sub(begin).filter(|_| i64::try_from(end).is_ok()) else {
        return Err(Fault::Range { tensor: name, begin, end });
    };
    let dtype = body.dtype.0;
    if dtype.is_empty() || dtype.len() > TYPE_BYTES_MAX {
        return Err(Fault::Json { reason: format!("the type of '{name}' is no name of one") });
    }
    let shape = body.shape.0;
    // No product, whatever the element type, may come near the end of 63 bits.
    let bits =
        shape.iter().try_fold(64u64, |product, dim| product.checked_mul(*dim)).filter(|p| i64::try_from(*p).is_ok());
    if bits.is_none() {
        return Err(Fault::TensorTooLarge { tensor: name, shape: words(&shape) });
    }
    Ok(Entry { tensor: HfTensor { name, dtype: DType::from_name(&dtype), shape, bytes }, begin })
}
