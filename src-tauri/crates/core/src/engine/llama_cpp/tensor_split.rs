//! `-sm tensor`: how every tensor is cut over all GPUs.
//!
//! Source: `llama_meta_device_get_split_state` (llama-model.cpp): which dimension is cut, into which segments, at what
//! granularity, and by how much the rounding is rotated from layer to layer. Absent: architectures that the engine refuses.

use crate::engine::llama_cpp::arch::{Arch, Graph, Hybrid, Layer};
use crate::engine::llama_cpp::flags::{Flags, Place, SplitMode};
use crate::engine::llama_cpp::kv::{CacheKind, CacheTensor};
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::sizes::allocated;
use crate::engine::llama_cpp::weights::{Part, bytes_at, packing};
use crate::model::{GgmlType, MetaValue, ModelFacts, TensorFacts};

/// Rows of this many values make full use of the kernels.
const UNIT: u64 = 128;

/// What of a tensor lies on each GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// All of it on every GPU.
    Whole,
    /// Cut along a dimension, at places that the reference tensor's element type and the layer allow.
    Along(usize, Like),
}

/// The weight whose blocks decide where others may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Like {
    /// The tensor itself.
    Itself,
    /// The output projection of attention, or of the recurrent part.
    AttentionOutput,
    /// The down projection of the feed-forward part, or of its experts.
    Down,
}

/// The shares of a split, ready for any tensor.
pub(super) struct TensorSplit<'a> {
    model: &'a ModelFacts,
    arch: &'a Arch,
    /// Share of each GPU; all zero: equal.
    shares: Vec<f32>,
}

/// A run of values along the cut, how often it is repeated, and the step at which it may be cut.
struct Segment {
    values: u64,
    times: u64,
    step: u64,
}

impl<'a> TensorSplit<'a> {
    /// Reads the shares. Equal ones where no `-ts` is given, or another split mode is asked for.
    pub(super) fn new(model: &'a ModelFacts, arch: &'a Arch, flags: &Flags) -> Result<Self, Refused> {
        let devices = flags.devices.len();
        let mut shares: Vec<f32> = flags.tensor_split.iter().copied().take(devices).collect();
        if flags.split_mode == SplitMode::Tensor
            && let Some(&share) = shares.iter().find(|share| !share.is_finite() || **share < 0.0)
        {
            return Err(Refused::BadShare { share });
        }
        shares.resize(devices, 0.0);
        Ok(Self { model, arch, shares })
    }

    /// Bytes of a weight on each GPU.
    pub(super) fn weight(&self, tensor: &TensorFacts, part: Part) -> Result<Vec<u64>, Refused> {
        let layer = if let Part::Layer(layer) = part { Some(layer) } else { None };
        let name =
            tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(&*tensor.name, |r| r.1);
        let in_layer = tensor.name.starts_with("blk.");
        let Cut::Along(axis, like) = cut(name, in_layer, tensor) else {
            return Ok(vec![bytes_at(tensor, Place::Gpu(0))?; self.shares.len()]);
        };
        let index = layer.filter(|_| in_layer).unwrap_or(0);
        let rotation = if in_layer { self.rotation(index) } else { self.arch.layers.len() % self.shares.len() };
        let block = self.block(index, like, tensor);
        let segments = self.segments(name, index, tensor.dims[axis], block);
        let packing = packing(tensor).ok_or_else(|| Refused::UnknownType { name: tensor.name.clone() })?;
        let others = (0..4).filter(|d| *d != axis && *d != 0).fold(1_u64, |n, d| n.saturating_mul(tensor.dims[d]));
        Ok(self
            .values(&segments, rotation)
            .into_iter()
            .map(|values| {
                let (row, rows) =
                    if axis == 0 { (values, others) } else { (tensor.dims[0], values.saturating_mul(others)) };
                allocated(Place::Gpu(0), packing.row(row).saturating_mul(rows), row, packing)
            })
            .collect())
    }

    /// Bytes of a cache tensor on each GPU.
    pub(super) fn cache(&self, index: usize, tensor: CacheTensor) -> Vec<u64> {
        let layer = &self.arch.layers[index];
        if tensor.kind != CacheKind::Attention && self.hybrid() == Some(Hybrid::Lfm2) {
            return vec![tensor.bytes(Place::Gpu(0)); self.shares.len()];
        }
        let block = self.block_of(index, "attn_output").or_else(|| self.block_of(index, "ssm_out")).unwrap_or(1);
        let segments = match tensor.kind {
            CacheKind::Attention => vec![Segment { values: tensor.row, times: 1, step: self.step_kv(layer, block) }],
            CacheKind::Convolution => {
                let taps = self.number("ssm.conv_kernel").saturating_sub(1);
                let step = self.step_recurrent(block) * taps;
                self.mixed(step, taps, self.hybrid() == Some(Hybrid::Qwen3Next))
            }
            CacheKind::State => {
                let state = self.number("ssm.state_size");
                let step = self.step_recurrent(block) * state;
                match self.hybrid() {
                    Some(Hybrid::Qwen35) => {
                        let values = self.number("ssm.group_count") * state * state;
                        vec![Segment { values, times: self.ratio(), step }]
                    }
                    _ => vec![Segment { values: tensor.row, times: 1, step }],
                }
            }
        };
        let values = self.values(&segments, self.rotation(index));
        values.into_iter().map(|row| CacheTensor { row, ..tensor }.bytes(Place::Gpu(0))).collect()
    }

    /// Values of each GPU: cumulated shares, each end rounded down to the step, rotated.
    fn values(&self, segments: &[Segment], rotation: usize) -> Vec<u64> {
        let gpus = self.shares.len();
        let mut sum = 0.0_f32;
        let scan: Vec<f32> = (0..gpus)
            .map(|gpu| {
                sum += self.shares[(gpu + rotation) % gpus];
                sum
            })
            .collect();
        let mut values = vec![0_u64; gpus];
        for segment in segments {
            let mut low = 0;
            for turn in 0..gpus {
                let high = if turn + 1 == gpus {
                    segment.values
                } else if sum == 0.0 {
                    segment.values.saturating_mul(turn as u64 + 1) / gpus as u64
                } else {
                    part(segment.values, scan[turn], sum)
                };
                let high = if turn + 1 == gpus { high } else { high - high % segment.step.max(1) };
                let own = &mut values[(turn + rotation) % gpus];
                *own = own.saturating_add(high.saturating_sub(low).saturating_mul(segment.times));
                low = high;
            }
        }
        values
    }

    /// Layers of the same kind before a layer: the rounding turns by one with each of them.
    fn rotation(&self, index: usize) -> usize {
        let kind = |layer: &Layer| (layer.state.is_some(), self.windowed(layer));
        let own = self.arch.layers.get(index).map(kind);
        self.arch.layers.iter().take(index).filter(|layer| Some(kind(layer)) == own).count() % self.shares.len()
    }

    fn windowed(&self, layer: &Layer) -> bool {
        layer.attention.as_ref().is_some_and(|attention| attention.windowed)
    }

    fn hybrid(&self) -> Option<Hybrid> {
        match self.arch.traits.map(|traits| traits.graph) {
            Some(Graph::Hybrid(hybrid)) => Some(hybrid),
            _ => None,
        }
    }

    fn is_delta_net(&self) -> bool {
        matches!(self.hybrid(), Some(Hybrid::Qwen3Next | Hybrid::Qwen35))
    }

    fn number(&self, key: &str) -> u64 {
        self.model.hp(key).and_then(MetaValue::as_u64).unwrap_or(0)
    }

    /// Value heads per key head of the delta net.
    fn ratio(&self) -> u64 {
        self.number("ssm.time_step_rank") / self.number("ssm.group_count").max(1)
    }

    /// Values per block of the tensor that decides.
    fn block(&self, index: usize, like: Like, tensor: &TensorFacts) -> u64 {
        let names: &[&str] = match like {
            Like::Itself => &[],
            Like::AttentionOutput => &["attn_output", "ssm_out"],
            Like::Down => &["ffn_down", "ffn_down_exps"],
        };
        let named = names.iter().find_map(|name| self.block_of(index, name));
        named.unwrap_or_else(|| values_per_block(tensor.ty))
    }

    fn block_of(&self, index: usize, name: &str) -> Option<u64> {
        let name = format!("blk.{index}.{name}.weight");
        let tensor = self.model.tensors.iter().find(|tensor| tensor.name == name)?;
        Some(values_per_block(tensor.ty))
    }

    /// Step of whole groups of query heads. Source: `granularity_q`.
    fn step_q(&self, layer: &Layer, block: u64) -> u64 {
        let Some(attention) = &layer.attention else { return 1 };
        let group = self.group(layer) * attention.key_length;
        let (mut unit, gpus) = (block, self.shares.len() as u64);
        while unit < UNIT && unit * gpus < group {
            unit *= 2;
        }
        lcm(group, unit)
    }

    /// Query heads per K head.
    fn group(&self, layer: &Layer) -> u64 {
        layer.attention.as_ref().map_or(1, |a| (a.heads / a.heads_kv.max(1)).max(1))
    }

    fn step_kv(&self, layer: &Layer, block: u64) -> u64 {
        self.step_q(layer, block) / self.group(layer)
    }

    fn step_recurrent(&self, block: u64) -> u64 {
        lcm(lcm(block, UNIT), self.number("ssm.state_size").max(1))
    }

    /// Query, key and value channels of the delta net, `scale` values each; values count as one run (qwen3next) or as one
    /// per round of key heads.
    fn mixed(&self, step: u64, scale: u64, values_in_one: bool) -> Vec<Segment> {
        let key = self.number("ssm.state_size") * self.number("ssm.group_count") * scale;
        let value = self.number("ssm.state_size") * self.number("ssm.time_step_rank") * scale;
        if values_in_one {
            vec![Segment { values: key, times: 2, step }, Segment { values: value, times: 1, step }]
        } else {
            vec![Segment { values: key, times: 2 + self.ratio(), step }]
        }
    }

    fn segments(&self, name: &str, index: usize, all: u64, block: u64) -> Vec<Segment> {
        let one = |step| vec![Segment { values: all, times: 1, step }];
        let Some(layer) = self.arch.layers.get(index) else { return one(1) };
        let qwen35 = self.hybrid() == Some(Hybrid::Qwen35);
        if layer.state.is_some() && self.is_delta_net() {
            let step = self.step_recurrent(block);
            let state = self.number("ssm.state_size").max(1);
            match name {
                "attn_qkv.weight" | "ssm_conv1d.weight" => return self.mixed(step, 1, !qwen35),
                "attn_gate.weight" | "ssm_out.weight" if qwen35 => {
                    let values = state * self.number("ssm.group_count");
                    return vec![Segment { values, times: self.ratio(), step }];
                }
                "attn_gate.weight" | "ssm_out.weight" => return one(step),
                "ssm_dt.bias" | "ssm_a" | "ssm_alpha.weight" | "ssm_beta.weight" => {
                    let step = step / state;
                    let values = self.number("ssm.group_count");
                    return if qwen35 { vec![Segment { values, times: self.ratio(), step }] } else { one(step) };
                }
                "ssm_ba.weight" => return one(2 * (step / state)),
                _ => {}
            }
        } else if let Some(attention) = &layer.attention {
            let (q, kv) = (self.step_q(layer, block), self.step_kv(layer, block));
            match name {
                "attn_sinks.weight" => return one(q / attention.key_length.max(1)),
                "attn_q.weight" | "attn_q.bias" if self.is_delta_net() => {
                    return one(lcm(2 * self.group(layer) * attention.key_length, q));
                }
                "attn_q.weight" | "attn_q.bias" | "attn_output.weight" | "attn_gate.weight" => return one(q),
                "attn_k.weight" | "attn_v.weight" | "attn_k.bias" | "attn_v.bias" => return one(kv),
                "attn_qkv.weight" | "attn_qkv.bias" => {
                    let queries = attention.heads * attention.key_length;
                    return vec![
                        Segment { values: queries, times: 1, step: q },
                        Segment { values: attention.v_row(), times: 2, step: kv },
                    ];
                }
                _ => {}
            }
        }
        if !name.starts_with("ffn_") {
            return one(1);
        }
        let step = lcm(block, UNIT);
        let fused = name.starts_with("ffn_gate_up")
            || (name.starts_with("ffn_up.") && all == self.down_width(index).saturating_mul(2));
        if fused { vec![Segment { values: all / 2, times: 2, step }] } else { one(step) }
    }

    /// Width of the feed-forward part: values per row of its down projection.
    fn down_width(&self, index: usize) -> u64 {
        let name = format!("blk.{index}.ffn_down.weight");
        self.model.tensors.iter().find(|tensor| tensor.name == name).map_or(0, |tensor| tensor.dims[0])
    }
}

/// Which dimension of a tensor is cut. `name` is without the layer.
fn cut(name: &str, in_layer: bool, tensor: &TensorFacts) -> Cut {
    if !in_layer {
        return match name {
            "output.weight" => Cut::Along(1, Like::Itself),
            "output.bias" => Cut::Along(0, Like::Itself),
            _ => Cut::Whole,
        };
    }
    match name {
        "attn_q.weight" | "attn_k.weight" | "attn_v.weight" | "attn_qkv.weight" | "attn_gate.weight"
        | "ssm_alpha.weight" | "ssm_beta.weight" | "ssm_ba.weight" | "ssm_conv1d.weight" => {
            Cut::Along(1, Like::AttentionOutput)
        }
        "attn_q.bias" | "attn_k.bias" | "attn_v.bias" | "attn_qkv.bias" | "attn_sinks.weight" | "ssm_dt.bias"
        | "ssm_a" => Cut::Along(0, Like::AttentionOutput),
        "attn_q_norm.weight" | "attn_k_norm.weight" if tensor.dims[1] > 1 => Cut::Along(1, Like::AttentionOutput),
        "attn_output.weight" | "ssm_out.weight" => Cut::Along(0, Like::Itself),
        "ffn_up.weight"
        | "ffn_up_exps.weight"
        | "ffn_gate.weight"
        | "ffn_gate_exps.weight"
        | "ffn_gate_up.weight"
        | "ffn_gate_up_exps.weight" => Cut::Along(1, Like::Down),
        "ffn_up.bias"
        | "ffn_up_exps.bias"
        | "ffn_gate.bias"
        | "ffn_gate_exps.bias"
        | "ffn_down.weight"
        | "ffn_down_exps.weight" => Cut::Along(0, Like::Down),
        _ => Cut::Whole,
    }
}

fn values_per_block(ty: GgmlType) -> u64 {
    ty.block().map_or(1, |(values, _)| values)
}

/// Least common multiple; 1 where one of them is zero.
fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x).map_or(1, |times| times.saturating_mul(b).max(1))
}

/// `values × at / all` as the engine computes it: in `f32`, then cut off.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the engine multiplies whole numbers as f32 and cuts the fraction off; shares are not negative"
)]
fn part(values: u64, at: f32, all: f32) -> u64 {
    (values as f32 * at / all) as u64
}
