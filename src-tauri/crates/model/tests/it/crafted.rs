//! Writes safetensors files and folders for tests, right or wrong.

use std::path::Path;

use crate::written::save;

/// One entry of a header.
pub(crate) fn entry(name: &str, dtype: &str, shape: &[u64], begin: u64, end: u64) -> String {
    let shape = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}")
}

/// A header of JSON with its length in front.
pub(crate) fn header(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
}

/// A sound header of tensors of type BF16 with one row each, and the length of their weights.
pub(crate) fn rows(names: &[&str], columns: u64) -> (Vec<u8>, u64) {
    let mut end = 0;
    let entries: Vec<String> = names
        .iter()
        .map(|name| {
            end += 2 * columns;
            entry(name, "BF16", &[1, columns], end - 2 * columns, end)
        })
        .collect();
    (header(&format!("{{\"__metadata__\":{{\"format\":\"pt\"}},{}}}", entries.join(","))), end)
}

/// Writes a file of `header` and `weights` bytes of hole.
pub(crate) fn file(path: &Path, header: &[u8], weights: u64) {
    save(path, header, header.len() as u64 + weights);
}

pub(crate) fn text(path: &Path, text: &str) {
    save(path, text.as_bytes(), text.len() as u64);
}

/// A configuration of a small llama.
pub(crate) const CONFIG: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,
"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":128,"vocab_size":100,
"max_position_embeddings":2048,"torch_dtype":"bfloat16","tie_word_embeddings":true}"#;
