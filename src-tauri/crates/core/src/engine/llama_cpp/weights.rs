//! Where each weight tensor lies and what it takes: bytes per device and on the host.
//!
//! Source: `llama_model::load_tensors` and `llama_model_loader::create_tensor`, tree of 6 October 2026. The host's sum is
//! what the tensors take; with mmap the process maps the file instead and the OS keeps what it likes.

use std::collections::BTreeSet;

use crate::engine::llama_cpp::arch::{Arch, Traits};
use crate::engine::llama_cpp::compute::support::{convolves, scans};
use crate::engine::llama_cpp::flags::{Flags, Place, SplitMode};
use crate::engine::llama_cpp::overrides::Overrides;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settled::Settled;
use crate::engine::llama_cpp::sizes::{Packing, allocated};
use crate::engine::llama_cpp::tensor_split::TensorSplit;
use crate::model::{MetaValue, ModelFacts, TensorFacts};

/// Bytes of the weights, padding included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Per GPU, in the order of `Flags::devices`.
    pub devices: Vec<u64>,
    /// Of those, the output part: output projection (or the second copy of a tied embedding) and final norms.
    pub output: Vec<u64>,
    /// Of those, routed experts.
    pub experts: Vec<u64>,
    /// On the host.
    pub host: u64,
    /// Of those, routed experts.
    pub host_experts: u64,
}

/// Which part of the model a tensor belongs to; this decides where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Embeddings that are looked up: on the host.
    Input,
    /// A layer's own.
    Layer(usize),
    /// Rope factors: one copy on each device that has a layer which uses them.
    RopeFactors,
    /// Output projection and final norms.
    Output,
}

/// The part that a tensor belongs to, by its name. Source: `LLM_TENSOR_INFOS` in llama-arch.cpp and `load_arch_tensors` of
/// the models.
///
/// # Errors
/// A name that belongs to no part, or to a layer that does not exist: llama.cpp refuses such a file.
pub fn part_of(arch: &Arch, name: &str) -> Result<Part, Refused> {
    let layers = arch.layer_count;
    let unexpected = || Refused::UnexpectedTensor { name: name.to_owned(), layers };
    if let Some(rest) = name.strip_prefix("blk.") {
        let number = rest.split('.').next().and_then(|n| n.parse().ok());
        return number.filter(|&n| n < layers).map(Part::Layer).ok_or_else(unexpected);
    }
    let normed = arch.traits.is_some_and(Traits::norms_embedding);
    match name {
        "token_embd.weight" | "token_types.weight" | "position_embd.weight" | "per_layer_token_embd.weight" => {
            Ok(Part::Input)
        }
        "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight" => Ok(Part::RopeFactors),
        "per_layer_model_proj.weight" | "per_layer_proj_norm.weight" => Ok(Part::Layer(0)),
        "token_embd_norm.weight" | "token_embd_norm.bias" if normed => Ok(Part::Layer(0)),
        _ if ["output", "cls", "token_embd_norm.", "altup_"].iter().any(|part| name.starts_with(part)) => {
            Ok(Part::Output)
        }
        _ => Err(unexpected()),
    }
}

/// Bytes of every weight tensor at its place.
///
/// # Errors
/// Overrides that name no GPU or are no regular expression, tensors that belong to no part, and unknown element types.
pub fn weights(model: &ModelFacts, arch: &Arch, flags: &Flags, settled: &Settled) -> Result<Weights, Refused> {
    let devices = flags.devices.len();
    let all = Places::new(model, arch, flags, settled)?;
    let split = TensorSplit::new(model, arch, flags)?;

    let none = || vec![0; devices];
    let mut sum = Weights { devices: none(), output: none(), experts: none(), ..Weights::default() };
    for tensor in &model.tensors {
        let part = part_of(arch, &tensor.name)?;
        if matches!(part, Part::Layer(layer) if layer >= arch.layers.len()) {
            continue;
        }
        let tied = arch.tied && tensor.name == TOKEN_EMBEDDING;
        if flags.split_mode == SplitMode::Tensor && (part != Part::Input || tied) {
            let output = part == Part::Output || tied;
            let of = if output { Of::Output } else { Of::tensor(&tensor.name) };
            for (device, bytes) in split.weight(tensor, part)?.into_iter().enumerate() {
                sum.add(Place::Gpu(device), bytes, of);
            }
            if part != Part::Input {
                continue;
            }
        }
        let over = all.over(tensor)?;
        if part == Part::RopeFactors && over.is_none() {
            for &place in &all.with_factors {
                sum.add(place, bytes_at(tensor, place)?, Of::Rest);
            }
            continue;
        }
        let place = over.unwrap_or_else(|| all.own(tensor, part));
        let of = if part == Part::Output { Of::Output } else { Of::tensor(&tensor.name) };
        sum.add(place, bytes_at(tensor, place)?, of);
        if tied && flags.split_mode != SplitMode::Tensor {
            let as_output = over.unwrap_or(all.output);
            let twice = arch.traits.is_some_and(|traits| traits.tied_counts_twice());
            if as_output != place || twice {
                sum.add(as_output, bytes_at(tensor, as_output)?, Of::Output);
            }
        }
    }
    Ok(sum)
}

/// Whether no GPU has a kernel for the op that reads a layer's weight, which then stays on the host.
/// Source: `weight_buft_supported` in `llama-model-loader.cpp`; all other ops have one for every shape.
pub(crate) fn lacks_kernel(model: &ModelFacts, arch: &Arch, name: &str, dims: [u64; 4]) -> bool {
    let number = |key: &str| model.hp(key).and_then(MetaValue::as_u64).unwrap_or(0);
    let part = name.splitn(3, '.').nth(2).unwrap_or_default();
    match part {
        "ssm_conv1d.weight" | "shortconv.conv.weight" => !convolves(dims[1]),
        "ssm_a" if arch.traits.is_some_and(Traits::scans) => {
            let heads = dims[1].max(1);
            let one_per_head = dims[0] == 1;
            let state = if one_per_head { number("ssm.state_size") } else { dims[0] };
            !scans(one_per_head, [state, number("ssm.inner_size") / heads, heads])
        }
        _ => false,
    }
}

/// Where the tensors of a model lie.
pub(super) struct Places<'a> {
    model: &'a ModelFacts,
    arch: &'a Arch,
    flags: &'a Flags,
    settled: &'a Settled,
    overrides: Overrides,
    output: Place,
    with_factors: BTreeSet<Place>,
}

impl<'a> Places<'a> {
    /// Places for the units of a start.
    ///
    /// # Errors
    /// Overrides that name no GPU or are no regular expression.
    pub(super) fn new(
        model: &'a ModelFacts,
        arch: &'a Arch,
        flags: &'a Flags,
        settled: &'a Settled,
    ) -> Result<Self, Refused> {
        let layers = arch.layers.iter().zip(&settled.units);
        Ok(Self {
            overrides: Overrides::new(flags, settled.units.len())?,
            output: settled.units.last().copied().unwrap_or(Place::Host),
            with_factors: layers.filter(|(layer, _)| layer.rope_factors).map(|(_, &place)| place).collect(),
            model,
            arch,
            flags,
            settled,
        })
    }

    /// The place that an override gives a tensor.
    ///
    /// # Errors
    /// A GPU that `-sm none` leaves out.
    fn over(&self, tensor: &TensorFacts) -> Result<Option<Place>, Refused> {
        let over = self.overrides.place_of(&tensor.name);
        let main_gpu = self.flags.main_gpu;
        let left_out = matches!(over, Some(Place::Gpu(gpu)) if gpu != main_gpu);
        if self.flags.split_mode == SplitMode::None && left_out {
            return Err(Refused::OverrideElsewhere { name: tensor.name.clone(), main_gpu });
        }
        Ok(over)
    }

    /// Where a tensor lies that has one home and no override.
    fn own(&self, tensor: &TensorFacts, part: Part) -> Place {
        match part {
            Part::Layer(_) if lacks_kernel(self.model, self.arch, &tensor.name, tensor.dims) => Place::Host,
            Part::Layer(layer) => self.settled.units[layer],
            Part::Output => self.output,
            Part::Input | Part::RopeFactors => Place::Host,
        }
    }

    /// Where a tensor lies, or its first copy; `None` where it is not loaded.
    ///
    /// # Errors
    /// A tensor that belongs to no part.
    pub(super) fn first(&self, tensor: &TensorFacts) -> Result<Option<Place>, Refused> {
        let part = part_of(self.arch, &tensor.name)?;
        let loaded = !matches!(part, Part::Layer(layer) if layer >= self.arch.layers.len());
        let over = self.over(tensor)?;
        Ok(match (loaded, part, over) {
            (false, ..) => None,
            (true, Part::RopeFactors, None) => self.with_factors.first().copied(),
            (true, ..) => Some(over.unwrap_or_else(|| self.own(tensor, part))),
        })
    }
}

/// The embedding of tokens; where there is no output projection, also that.
pub(crate) const TOKEN_EMBEDDING: &str = "token_embd.weight";

/// What of the weights is told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Output,
    Experts,
    Rest,
}

impl Of {
    fn tensor(name: &str) -> Self {
        if is_expert(name) { Self::Experts } else { Self::Rest }
    }
}

/// Whether a tensor holds routed experts: what `-cmoe` moves.
pub(crate) fn is_expert(name: &str) -> bool {
    /// One or the other in every name that [`super::overrides::EXPERTS`] finds, and in no other.
    const MARKS: [&str; 2] = ["_exps", "_chexps"];
    let of_layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once(".ffn_"));
    of_layer.is_some_and(|(_, rest)| {
        ["up", "down", "gate", "gate_up"]
            .iter()
            .any(|what| MARKS.iter().any(|mark| rest.strip_prefix(what).is_some_and(|rest| rest.starts_with(mark))))
    })
}

impl Weights {
    fn add(&mut self, place: Place, bytes: u64, of: Of) {
        let (all, output, experts) = match place {
            Place::Host => (&mut self.host, None, &mut self.host_experts),
            Place::Gpu(device) => {
                (&mut self.devices[device], Some(&mut self.output[device]), &mut self.experts[device])
            }
        };
        *all = all.saturating_add(bytes);
        let part = match of {
            Of::Output => output,
            Of::Experts => Some(experts),
            Of::Rest => None,
        };
        if let Some(part) = part {
            *part = part.saturating_add(bytes);
        }
    }
}

/// Bytes that one tensor takes at a place.
///
/// # Errors
/// An element type whose blocks are not known.
pub fn bytes_at(tensor: &TensorFacts, place: Place) -> Result<u64, Refused> {
    let unknown = || Refused::UnknownType { name: tensor.name.clone() };
    let packing = packing(tensor).ok_or_else(unknown)?;
    Ok(allocated(place, tensor.bytes, tensor.dims[0], packing))
}

pub(super) fn packing(tensor: &TensorFacts) -> Option<Packing> {
    let (values, bytes) = tensor.ty.block()?;
    Some(Packing { values, bytes, quantised: tensor.ty.is_quantised() })
}
