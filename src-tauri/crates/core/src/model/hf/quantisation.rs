//! `quantization_config`: how the weights are packed.
//!
//! Keys by method as transformers 4.57 (`utils/quantization_config.py`), compressed-tensors 0.12 and ModelOpt write them.

use std::fmt;

use serde_json::{Map, Value};

use crate::model::hf::fields::Fields;

/// Who packed the weights, and so by which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantMethod {
    /// AutoAWQ: `qweight` holds columns in 32-bit words.
    Awq,
    /// GPTQ, AutoRound in its form: `qweight` holds rows in 32-bit words.
    Gptq,
    /// 8-bit floats, one scale per tensor, row or block.
    Fp8,
    /// compressed-tensors: `weight_packed`, or plain 8-bit weights, each with `weight_scale`.
    CompressedTensors,
    /// 4-bit floats in blocks of 32 with a shared exponent: `*_blocks` and `*_scales`.
    Mxfp4,
    /// bitsandbytes: bytes with two values each, or 8-bit integers with a scale per row.
    BitsAndBytes,
    /// NVIDIA ModelOpt: 8-bit or packed 4-bit floats.
    ModelOpt,
    /// One we have no rule for, by its name.
    Other(String),
}

/// A quantisation as the configuration states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfQuantisation {
    /// Who packed the weights.
    pub method: QuantMethod,
    /// Bits of a weight, 1 to 8, where said.
    pub bits: Option<u64>,
    /// Weights along a row that share a scale; absent: not said, or one scale per row or tensor.
    pub group: Option<u64>,
    /// Rows and columns that share a scale, where scales are per block.
    pub block: Option<[u64; 2]>,
    /// The form in the method's own word (`nvfp4-pack-quantized`, `nf4`, `e4m3`).
    pub form: Option<String>,
    /// Whether activations are quantised as well (static or dynamic).
    pub activations: bool,
    /// Modules left as they are.
    pub ignored: usize,
}

impl fmt::Display for HfQuantisation {
    /// As models are named: `AWQ 4-bit`, `FP8`, `MXFP4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = self.form.as_deref().unwrap_or_default();
        let name = match &self.method {
            QuantMethod::Awq => "AWQ",
            QuantMethod::Gptq => "GPTQ",
            QuantMethod::Fp8 => return f.write_str("FP8"),
            QuantMethod::Mxfp4 => return f.write_str("MXFP4"),
            QuantMethod::CompressedTensors | QuantMethod::ModelOpt if form.to_lowercase().contains("nvfp4") => {
                return f.write_str("NVFP4");
            }
            QuantMethod::CompressedTensors | QuantMethod::ModelOpt if form.to_lowercase().starts_with("f") => {
                return f.write_str("FP8");
            }
            QuantMethod::CompressedTensors => "compressed-tensors",
            QuantMethod::ModelOpt => "ModelOpt",
            QuantMethod::BitsAndBytes => "bitsandbytes",
            QuantMethod::Other(name) => name,
        };
        match self.bits {
            Some(bits) => write!(f, "{name} {bits}-bit"),
            None => f.write_str(name),
        }
    }
}

/// Reads the object at `quantization_config`.
pub(super) fn read(object: &Map<String, Value>, problems: &mut Vec<String>) -> Option<HfQuantisation> {
    const PREFIX: &str = "quantization_config.";
    let mut fields = Fields::new(object, PREFIX, problems);
    let name = match fields.text(&["quant_method"]) {
        Some(name) => name.to_lowercase(),
        // Files of AutoGPTQ and of bitsandbytes before the key existed.
        None if object.contains_key("load_in_4bit") || object.contains_key("load_in_8bit") => "bitsandbytes".to_owned(),
        None if object.contains_key("desc_act") => "gptq".to_owned(),
        None => {
            fields.say("quant_method", "is missing, so how the weights are packed is not known");
            return None;
        }
    };
    let bits = fields.number(&["bits", "w_bit"], 1..=16);
    // -1 means one group per row.
    let group = match fields.get(&["group_size", "q_group_size"]) {
        Some((_, value)) if value.as_i64() == Some(-1) => None,
        _ => fields.number(&["group_size", "q_group_size"], 1..=1 << 20),
    };
    let mut found = HfQuantisation {
        method: QuantMethod::Other(name.clone()),
        bits,
        group,
        block: None,
        form: None,
        activations: false,
        ignored: ignored(object),
    };
    match name.as_str() {
        "awq" => found.method = QuantMethod::Awq,
        "gptq" | "gptqmodel" => found.method = QuantMethod::Gptq,
        "auto-round" | "intel/auto-round" => {
            let format = fields.text(&["packing_format"]).unwrap_or_default();
            found.method = if format.contains("awq") { QuantMethod::Awq } else { QuantMethod::Gptq };
        }
        "fp8" | "fbgemm_fp8" => {
            found.method = QuantMethod::Fp8;
            found.bits = Some(8);
            found.block = block(&mut fields);
            found.form = fields.text(&["fmt"]).map(str::to_owned);
            found.activations = true;
        }
        "mxfp4" => {
            found.method = QuantMethod::Mxfp4;
            // OCP Microscaling Formats 1.0: 32 values share one 8-bit exponent.
            (found.bits, found.group) = (Some(4), Some(32));
        }
        "bitsandbytes" => bitsandbytes(&mut fields, &mut found),
        "compressed-tensors" => compressed(object, &mut fields, &mut found),
        "modelopt" => modelopt(&mut fields, &mut found),
        _ => {}
    }
    Some(found)
}

fn ignored(object: &Map<String, Value>) -> usize {
    let keys = ["ignore", "modules_to_not_convert", "llm_int8_skip_modules", "ignored_layers", "exclude_modules"];
    keys.iter().find_map(|key| object.get(*key)?.as_array()).map_or(0, Vec::len)
}

fn block(fields: &mut Fields<'_>) -> Option<[u64; 2]> {
    let sides = fields.array("weight_block_size")?;
    let sound = match sides.as_slice() {
        [rows, columns] => rows.as_u64().zip(columns.as_u64()).filter(|(rows, columns)| *rows > 0 && *columns > 0),
        _ => None,
    };
    if sound.is_none() {
        fields.say("weight_block_size", "must be two whole numbers above zero");
    }
    sound.map(|(rows, columns)| [rows, columns])
}

fn bitsandbytes(fields: &mut Fields<'_>, found: &mut HfQuantisation) {
    found.method = QuantMethod::BitsAndBytes;
    let (four, eight) = (fields.flag("load_in_4bit"), fields.flag("load_in_8bit"));
    found.bits = match (four, eight) {
        (Some(true), Some(true)) => {
            fields.say("load_in_4bit", "and 'load_in_8bit' are both true; only one can be");
            None
        }
        (Some(true), _) => Some(4),
        (_, Some(true)) => Some(8),
        _ => None,
    };
    if found.bits == Some(4) {
        found.form = fields.text(&["bnb_4bit_quant_type"]).map(str::to_owned);
    }
}

/// The first group speaks for the file; the tensors themselves tell the rest.
fn compressed(object: &Map<String, Value>, fields: &mut Fields<'_>, found: &mut HfQuantisation) {
    found.method = QuantMethod::CompressedTensors;
    found.form = fields.text(&["format"]).map(str::to_owned);
    let groups = object.get("config_groups").and_then(Value::as_object);
    let Some(group) = groups.and_then(|groups| groups.values().find_map(Value::as_object)) else {
        fields.say("config_groups", "is missing or empty, so how the weights are packed is not known");
        return;
    };
    found.activations = group.get("input_activations").is_some_and(|value| !value.is_null());
    let Some(weights) = group.get("weights").and_then(Value::as_object) else { return };
    let mut weights = Fields::new(weights, "quantization_config.config_groups.weights.", fields.problems);
    found.bits = weights.number(&["num_bits"], 1..=16);
    found.group = weights.number(&["group_size"], 1..=1 << 20);
    if let Some((_, Value::Array(sides))) = weights.get(&["block_structure"])
        && let [rows, columns] = sides.as_slice()
    {
        found.block = rows.as_u64().zip(columns.as_u64()).map(|(rows, columns)| [rows, columns]);
    }
}

fn modelopt(fields: &mut Fields<'_>, found: &mut HfQuantisation) {
    found.method = QuantMethod::ModelOpt;
    found.form = fields.text(&["quant_algo"]).map(str::to_owned);
    found.activations = true;
    found.bits = match found.form.as_deref().map(str::to_uppercase).as_deref() {
        Some("FP8") => Some(8),
        Some("NVFP4") => Some(4),
        _ => found.bits,
    };
    if found.bits == Some(4) && found.group.is_none() {
        // NVFP4: 16 values share a scale.
        found.group = Some(16);
    }
}
