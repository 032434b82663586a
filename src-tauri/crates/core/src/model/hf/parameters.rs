//! How many parameters the tensors hold: packed weights are counted by what they were before packing.

use crate::model::hf::config::HfConfig;
use crate::model::hf::dtype::DType;
use crate::model::hf::model::{HfTensor, by_name, is_output};
use crate::model::hf::quantisation::{HfQuantisation, QuantMethod};

/// Last parts of names that belong to a packed weight and hold no parameters of the model.
const COMPANIONS: [&str; 24] = [
    // AWQ, GPTQ
    "qzeros",
    "scales",
    "g_idx",
    // compressed-tensors, ModelOpt, FP8
    "weight_scale",
    "weight_scale_2",
    "weight_scale_inv",
    "weight_zero_point",
    "weight_shape",
    "weight_g_idx",
    "weight_global_scale",
    "input_scale",
    "input_global_scale",
    "input_zero_point",
    "output_scale",
    "k_scale",
    "v_scale",
    "activation_scale",
    // bitsandbytes
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
    "SCB",
    "weight_format",
    "CB",
];

/// Sums the parameters. `tensors` are sorted by name.
pub(super) fn count(tensors: &[HfTensor], config: Option<&HfConfig>, problems: &mut Vec<String>) -> u64 {
    let quantisation = config.and_then(|config| config.quantisation.as_ref());
    let tied = config.and_then(|config| config.tied_output) == Some(true);
    if let Some(HfQuantisation { method: QuantMethod::Other(name), .. }) = quantisation {
        problems.push(format!(
            "The quantisation '{name}' is not known: sizes are those of the files, but the number of parameters counts stored \
             values."
        ));
    }
    let mut sum = 0u64;
    let mut unknown_bits = false;
    for tensor in tensors {
        let last = tensor.name.rsplit('.').next().unwrap_or_default();
        if last == "inv_freq" || (tied && is_output(&tensor.name)) {
            continue;
        }
        let held = match quantisation {
            None => Some(tensor.elements()),
            Some(_) if is_companion(&tensor.name, last) => Some(0),
            Some(quantisation) => held(tensor, last, tensors, quantisation),
        };
        unknown_bits |= held.is_none();
        sum = sum.saturating_add(held.unwrap_or_else(|| tensor.elements()));
    }
    if unknown_bits {
        problems.push(
            "Neither config.json nor the scales say how many bits a packed weight has: the number of parameters counts \
             stored values."
                .to_owned(),
        );
    }
    sum
}

fn is_companion(name: &str, last: &str) -> bool {
    COMPANIONS.contains(&last)
        || last.ends_with("_scales")
        || last.ends_with("_scale_inv")
        || last.ends_with("_weight_scale")
        || last.ends_with("_input_scale")
        // bitsandbytes: `….weight.quant_state.bitsandbytes__nf4`.
        || name.contains(".quant_state.")
}

/// Parameters that one tensor of a quantised model holds; `None` where its packing is not known.
fn held(tensor: &HfTensor, last: &str, tensors: &[HfTensor], quantisation: &HfQuantisation) -> Option<u64> {
    let stored = tensor.elements();
    let companion = |suffix: &str| {
        let base = tensor.name.strip_suffix(last)?;
        by_name(tensors, &format!("{base}{suffix}"))
    };
    match (&quantisation.method, last) {
        (QuantMethod::Awq | QuantMethod::Gptq, "qweight") => {
            let bits = word_bits(tensor, companion("scales"), quantisation).or(quantisation.bits)?;
            unpacked(stored, 32, bits)
        }
        (QuantMethod::CompressedTensors, "weight_packed") if tensor.dtype == DType::from_name("U8") => {
            unpacked(stored, 8, 4)
        }
        (QuantMethod::CompressedTensors, "weight_packed") => {
            let bits = packed_bits(tensor, companion("weight_scale"), quantisation).or(quantisation.bits)?;
            unpacked(stored, 32, bits)
        }
        (QuantMethod::Mxfp4, _) if last.ends_with("_blocks") => unpacked(stored, 8, 4),
        (QuantMethod::ModelOpt, _) if tensor.dtype == DType::from_name("U8") => unpacked(stored, 8, 4),
        (QuantMethod::BitsAndBytes, _) if by_name(tensors, &format!("{}.absmax", tensor.name)).is_some() => {
            unpacked(stored, 8, 4)
        }
        _ => Some(stored),
    }
}

/// Words of `word` bits into values of `bits`; 3-bit values lie across words.
fn unpacked(words: u64, word: u64, bits: u64) -> Option<u64> {
    words.checked_mul(word)?.checked_div(bits)
}

/// Bits of an AWQ or GPTQ weight by the shapes themselves: scales have one value per output, and one row per group. Some
/// files mix widths, so the configuration's number is only the second choice.
fn word_bits(words: &HfTensor, scales: Option<&HfTensor>, quantisation: &HfQuantisation) -> Option<u64> {
    let ([rows, columns], [groups, outputs]) = (&*words.shape, &*scales?.shape) else { return None };
    let bits = match quantisation.method {
        QuantMethod::Awq => columns.checked_mul(32)?.checked_div(*outputs)?,
        _ => rows.checked_mul(32)?.checked_div(groups.checked_mul(quantisation.group?)?)?,
    };
    matches!(bits, 2..=4 | 8).then_some(bits)
}

/// The same for compressed-tensors: one row per output, one scale per group along it.
fn packed_bits(words: &HfTensor, scales: Option<&HfTensor>, quantisation: &HfQuantisation) -> Option<u64> {
    let ([_, columns], [_, groups]) = (&*words.shape, &*scales?.shape) else { return None };
    let bits = columns.checked_mul(32)?.checked_div(groups.checked_mul(quantisation.group?)?)?;
    matches!(bits, 2..=4 | 8).then_some(bits)
}
