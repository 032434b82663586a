//! What a token costs a model: bytes of each kind that are read, products that are made, kernels that are launched.
//!
//! Read off the tensors, unit by unit (layers, then the output). No card and no engine's version is in it.

use crate::engine::llama_cpp::arch::{Arch, Attention};
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::weights::{Part, TOKEN_EMBEDDING, part_of};
use crate::model::ggml::GgmlType;
use crate::model::{ModelFacts, TensorFacts};

/// How weights are stored, as far as kernels differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightKind {
    /// F32, F16, BF16.
    Float,
    /// 8 bits.
    Eight,
    /// 4 to 7 bits.
    Four,
    /// MXFP4, NVFP4.
    Fp4,
    /// Below 4 bits.
    Low,
}

impl WeightKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Float, Self::Eight, Self::Four, Self::Fp4, Self::Low];

    /// The kind of an element type; `None` where its blocks are not known.
    #[must_use]
    pub fn of(ty: GgmlType) -> Option<Self> {
        let (values, bytes) = ty.block()?;
        let named = |names: [&str; 2]| ty.name().is_some_and(|name| names.contains(&name));
        Some(match bytes * 8 {
            _ if !ty.is_quantised() => Self::Float,
            _ if named(["MXFP4", "NVFP4"]) => Self::Fp4,
            bits if bits >= 8 * values => Self::Eight,
            bits if bits >= 4 * values => Self::Four,
            _ => Self::Low,
        })
    }
}

/// Weights of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weights {
    /// Bytes, as stored.
    pub bytes: f64,
    /// Values (elements).
    pub values: f64,
}

/// Weights by kind, in the order of [`WeightKind::ALL`].
pub type ByKind = [Weights; WeightKind::ALL.len()];

/// Attention of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionWork {
    /// Query heads.
    pub heads: f64,
    /// Values per K head.
    pub key_length: f64,
    /// Values per V head.
    pub value_length: f64,
    /// Values of one token in the K cache.
    pub k_row: f64,
    /// Values of one token in the V cache; zero where V is a part of K.
    pub v_row: f64,
    /// Tokens it looks back at most; absent: all.
    pub window: Option<f64>,
}

/// One unit: a layer, or the output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitWork {
    /// Weights that every token reads.
    pub dense: ByKind,
    /// Weights of all routed experts together.
    pub experts: ByKind,
    /// Weight tensors, norms included: kernels are launched in proportion. Biases are added by the kernel of their product.
    pub tensors: f64,
    /// Attention, where the unit has any.
    pub attention: Option<AttentionWork>,
    /// Whether it keeps a recurrent state.
    pub recurrent: bool,
}

impl UnitWork {
    /// Whether it has routed experts.
    #[must_use]
    pub fn routes(&self) -> bool {
        self.experts.iter().any(|weights| weights.bytes > 0.0)
    }
}

/// What a token costs a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Layers in order, then the output.
    pub units: Vec<UnitWork>,
    /// Width of the residual stream, values.
    pub embedding: f64,
    /// Share of the routed experts that one token uses, 0 to 1; 1 where there are none.
    pub experts_used: f64,
}

impl Work {
    /// Reads a model's work off its tensors.
    ///
    /// # Errors
    /// Tensors that belong to no part of the model, element types that are not known, and architectures whose caches are not.
    pub fn of(prepared: &Prepared<'_>) -> Result<Self, Refused> {
        let (model, arch) = (prepared.model(), prepared.known_caches()?);
        let mut units = vec![UnitWork::default(); arch.layer_count + 1];
        for (unit, layer) in units.iter_mut().zip(&arch.layers) {
            unit.attention = layer.attention.as_ref().map(|attention| attention_work(attention, arch.window));
            unit.recurrent = layer.state.is_some();
        }
        for tensor in &model.tensors {
            if let Some(unit) = unit_of(arch, tensor)? {
                add(&mut units[unit], tensor)?;
            }
        }
        Ok(Self { units, embedding: float(model.embedding), experts_used: used(model) })
    }

    /// Number of units: layers, and the output.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Whether any layer has routed experts.
    #[must_use]
    pub fn routes(&self) -> bool {
        self.units.iter().any(UnitWork::routes)
    }

    /// Share of the routed experts that some of `tokens` use, each choosing by itself.
    #[must_use]
    pub fn experts_touched(&self, tokens: f64) -> f64 {
        1.0 - (1.0 - self.experts_used.clamp(0.0, 1.0)).powf(tokens.max(0.0))
    }

    /// The kind that most bytes of one token are of.
    #[must_use]
    pub fn main_kind(&self) -> WeightKind {
        let bytes = |kind: &WeightKind| -> f64 {
            let at = *kind as usize;
            self.units.iter().map(|unit| unit.dense[at].bytes + unit.experts[at].bytes * self.experts_used).sum()
        };
        let most = WeightKind::ALL.into_iter().max_by(|a, b| bytes(a).total_cmp(&bytes(b)));
        most.unwrap_or(WeightKind::Four)
    }
}

fn used(model: &ModelFacts) -> f64 {
    if model.experts == 0 { 1.0 } else { (float(model.experts_used) / float(model.experts)).clamp(0.0, 1.0) }
}

/// The unit that reads a tensor for every token; none for embeddings that are looked up and layers that are not loaded.
fn unit_of(arch: &Arch, tensor: &TensorFacts) -> Result<Option<usize>, Refused> {
    Ok(match part_of(arch, &tensor.name)? {
        Part::Layer(layer) => (layer < arch.layers.len()).then_some(layer),
        Part::Output => Some(arch.layer_count),
        Part::Input => (arch.tied && tensor.name == TOKEN_EMBEDDING).then_some(arch.layer_count),
        Part::RopeFactors => None,
    })
}

fn add(unit: &mut UnitWork, tensor: &TensorFacts) -> Result<(), Refused> {
    let kind = WeightKind::of(tensor.ty).ok_or_else(|| Refused::UnknownType { name: tensor.name.clone() })?;
    let routed = tensor.name.contains("exps.");
    let weights = if routed { &mut unit.experts[kind as usize] } else { &mut unit.dense[kind as usize] };
    weights.bytes += float(tensor.bytes);
    weights.values += float(tensor.elements());
    if !tensor.name.ends_with(".bias") {
        unit.tensors += 1.0;
    }
    Ok(())
}

fn attention_work(attention: &Attention, window: u64) -> AttentionWork {
    AttentionWork {
        heads: float(attention.heads),
        key_length: float(attention.key_length),
        value_length: float(attention.value_length),
        k_row: float(attention.k_row()),
        v_row: float(attention.v_row()),
        window: attention.windowed.then(|| float(window)),
    }
}

/// A size as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "an estimate; 53 bits are more than any size is known to")]
pub(crate) fn float(size: u64) -> f64 {
    size as f64
}
