//! Writes GGUF files for tests, piece by piece, right or wrong.

use std::io::Write as _;
use std::path::Path;

/// A file in the making. Weights are holes: [`Gguf::save`] sets the length only.
#[derive(Clone, Default)]
pub(crate) struct Gguf {
    keys: Vec<(String, Vec<u8>)>,
    tensors: Vec<Tensor>,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    ty: u32,
    dims: Vec<u64>,
    bytes: u64,
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Gguf {
    /// A sound llama model of `layers` layers, all F32.
    pub(crate) fn llama(layers: u32) -> Self {
        let mut file = Self::default().text("general.architecture", "llama").u32("llama.block_count", layers);
        file = file.u32("llama.context_length", 128).u32("llama.embedding_length", 32);
        file = file.u32("llama.attention.head_count", 2).u32("llama.attention.head_count_kv", 1);
        file = file.strings("tokenizer.ggml.tokens", 32).tensor("token_embd.weight", 0, &[32, 32], 4096);
        for layer in 0..layers {
            file = file.tensor(&format!("blk.{layer}.attn_q.weight"), 0, &[32, 32], 4096);
            file = file.tensor(&format!("blk.{layer}.attn_k.weight"), 0, &[32, 16], 2048);
        }
        file
    }

    pub(crate) fn raw(mut self, key: &str, ty: u32, value: &[u8]) -> Self {
        self.keys.retain(|(have, _)| have != key);
        self.keys.push((key.to_owned(), [&ty.to_le_bytes(), value].concat()));
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn u16(self, key: &str, value: u16) -> Self {
        self.raw(key, 2, &value.to_le_bytes())
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &string(value))
    }

    /// An array of `count` short strings.
    pub(crate) fn strings(self, key: &str, count: u64) -> Self {
        let mut value = [&8u32.to_le_bytes()[..], &count.to_le_bytes()].concat();
        (0..count).for_each(|n| value.extend(string(&format!("t{n}"))));
        self.raw(key, 9, &value)
    }

    pub(crate) fn u32s(self, key: &str, values: &[u32]) -> Self {
        let mut value = [&4u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|n| value.extend(n.to_le_bytes()));
        self.raw(key, 9, &value)
    }

    pub(crate) fn tensor(mut self, name: &str, ty: u32, dims: &[u64], bytes: u64) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), ty, dims: dims.to_vec(), bytes });
        self
    }

    /// The same without its tensors, for the shards of a model.
    pub(crate) fn without_tensors(mut self) -> Self {
        self.tensors.clear();
        self
    }

    /// The header, padding before the weights included, and the length of the whole file.
    pub(crate) fn header(&self) -> (Vec<u8>, u64) {
        let mut out = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            out.extend(string(key));
            out.extend(value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend(u32::try_from(tensor.dims.len()).expect("few dimensions").to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.ty.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += tensor.bytes.next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        let len = out.len() as u64 + offset;
        (out, len)
    }

    pub(crate) fn save(&self, path: &Path) {
        let (header, len) = self.header();
        save(path, &header, len);
    }
}

/// Writes `header` and makes the file `len` bytes long.
#[expect(clippy::disallowed_methods, reason = "a test writes what the reader is to read")]
pub(crate) fn save(path: &Path, header: &[u8], len: u64) {
    let mut file = std::fs::File::create(path).expect("the folder can be written");
    file.write_all(header).expect("the disk has room");
    file.set_len(len).expect("the file can be extended");
}
