//! What every alternative of one request shares: weights per unit, and a short model from which compute buffers follow.
//!
//! **Why a short model.** With every layer on a GPU, a device's compute buffer is the peak of one layer's work, which
//! repeats from layer to layer, plus the tensors that cross into the device. The peak is reached with two layers, and with
//! three where the model's last layer is among them (it goes on with fewer rows than it gets). So buffers are worked out
//! for a model cut down to that, once for each part that a GPU can play. A GPU with fewer layers may take less (for
//! llama-70B at 24k tokens 359 instead of 375 MiB with one layer): the search then errs towards less context. The plan
//! that is handed out is laid out once more with all its layers, and `tests/plan.rs` holds that it fits where the search
//! says so.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::engine::llama_cpp::arch::Arch;
use crate::engine::llama_cpp::compute::ComputeModel;
use crate::engine::llama_cpp::flags::Place;
use crate::engine::llama_cpp::kv::layer_bytes_on_gpu;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::settle_as;
use crate::engine::llama_cpp::weights::{Part, TOKEN_EMBEDDING, bytes_at, part_of};
use crate::model::{ModelFacts, TensorFacts};
use crate::plan::PlanRequest;
use crate::plan::request::{Choice, flags};
use crate::plan::search::{ByRole, Demand};

/// Layers of the short model for a GPU alone, and for a last GPU with the output alone behind a first one.
const SHORT_LAYERS: u32 = 3;

/// Layers of the short model for a first, a middle and a last GPU.
const LONG_LAYERS: u32 = 7;

/// Its units over those three.
const LONG_SPLIT: [u32; 3] = [2, 2, 4];

/// A model and a request, prepared for many questions.
pub(super) struct Ground<'a> {
    pub(super) model: &'a ModelFacts,
    pub(super) request: &'a PlanRequest,
    arch: Arch,
    /// Weights per unit on a GPU, bytes.
    weights: Vec<u64>,
    /// Weights of which each GPU with a layer has a copy.
    every_layer: u64,
    short: Sample,
    long: Sample,
    /// Compute buffers already worked out.
    known: RefCell<HashMap<Choice, ByRole>>,
}

impl<'a> Ground<'a> {
    /// Sums the weights of each unit.
    pub(super) fn new(model: &'a ModelFacts, request: &'a PlanRequest) -> Result<Self, Refused> {
        let arch = Arch::with_known_caches(model)?;
        let layers = arch.layer_count;
        let gpu = Place::Gpu(0);
        let mut weights = vec![0_u64; layers + 1];
        let mut every_layer = 0_u64;
        for tensor in &model.tensors {
            let unit = match part_of(&arch, &tensor.name)? {
                Part::Layer(layer) if layer >= arch.layers.len() => continue,
                Part::Layer(layer) => layer,
                Part::Output => layers,
                Part::Input if arch.tied && tensor.name == TOKEN_EMBEDDING => layers,
                Part::Input => continue,
                Part::RopeFactors => {
                    every_layer = every_layer.saturating_add(bytes_at(tensor, gpu)?);
                    continue;
                }
            };
            weights[unit] = weights[unit].saturating_add(bytes_at(tensor, gpu)?);
        }
        let (short, long) = (Sample::new(model, SHORT_LAYERS)?, Sample::new(model, LONG_LAYERS)?);
        Ok(Self { model, request, arch, weights, every_layer, short, long, known: RefCell::default() })
    }

    /// What must be held under a choice, whatever the split, with compute buffers as given.
    pub(super) fn demand(&self, choice: Choice, compute: ByRole) -> Result<Demand, Refused> {
        let Some(device) = self.request.devices.first() else { return Err(Refused::NoDevices) };
        let flags = flags(self.request, choice, &[device], &[1]);
        let settled = settle_as(self.model, &self.arch, None, &flags)?;
        let mut before = Vec::with_capacity(self.weights.len() + 1);
        let mut sum = 0_u64;
        before.push(sum);
        let mut kv = None;
        for (unit, &weights) in self.weights.iter().enumerate() {
            sum = sum.saturating_add(weights);
            if let Some(layer) = self.arch.layers.get(unit) {
                // Most models have one kind of layer; its cache is worked out once.
                let bytes = match kv {
                    Some((kind, bytes)) if kind == layer => bytes,
                    _ => layer_bytes_on_gpu(&self.arch, layer, &flags, &settled),
                };
                kv = Some((layer, bytes));
                sum = sum.saturating_add(bytes);
            }
            before.push(sum);
        }
        Ok(Demand { before, every_layer: self.every_layer, compute })
    }

    /// The compute buffers under a choice.
    pub(super) fn compute(&self, choice: Choice) -> Result<ByRole, Refused> {
        if let Some(&known) = self.known.borrow().get(&choice) {
            return Ok(known);
        }
        let only = self.short.buffers(self.request, choice, &[SHORT_LAYERS + 1])?[0];
        let compute = if self.request.devices.len() > 1 {
            let output_only = self.short.buffers(self.request, choice, &[SHORT_LAYERS, 1])?[1];
            let long = self.long.buffers(self.request, choice, &LONG_SPLIT)?;
            ByRole { only, first: long[0], middle: long[1], last: long[2], output_only }
        } else {
            ByRole { only, ..ByRole::default() }
        };
        self.known.borrow_mut().insert(choice, compute);
        Ok(compute)
    }
}

/// A model cut down to a few layers, ready for compute graphs.
struct Sample {
    model: ModelFacts,
    graphs: ComputeModel,
}

impl Sample {
    fn new(model: &ModelFacts, layers: u32) -> Result<Self, Refused> {
        let model = shortened(model, usize::try_from(layers).expect("a small constant"));
        let graphs = ComputeModel::new(&model).map_err(Refused::compute)?;
        Ok(Self { model, graphs })
    }

    /// Compute buffers over as many GPUs as there are shares, each with its share of units.
    fn buffers(&self, request: &PlanRequest, choice: Choice, split: &[u32]) -> Result<Vec<u64>, Refused> {
        let device = request.devices.first().ok_or(Refused::NoDevices)?;
        let flags = flags(request, choice, &vec![device; split.len()], split);
        let settled = settle_as(&self.model, &Arch::of(&self.model)?, None, &flags)?;
        Ok(self.graphs.buffers(&flags, &settled).map_err(Refused::compute)?.devices)
    }
}

/// A model of `count` layers: the first ones, over and over where there are fewer.
fn shortened(model: &ModelFacts, count: usize) -> ModelFacts {
    let all = model.layers.len();
    let arch = Arch::of(model).expect("the model was described before");
    let mut tensors = Vec::new();
    for tensor in &model.tensors {
        match part_of(&arch, &tensor.name) {
            Ok(Part::Layer(layer)) => {
                for copy in (layer..count).step_by(all) {
                    let name = tensor.name.replacen(&format!("blk.{layer}."), &format!("blk.{copy}."), 1);
                    tensors.push(TensorFacts { name, ..tensor.clone() });
                }
            }
            _ => tensors.push(tensor.clone()),
        }
    }
    ModelFacts {
        name: model.name.clone(),
        arch: model.arch.clone(),
        quant: model.quant.clone(),
        layers: model.layers.iter().cycle().take(count).cloned().collect(),
        nextn_layers: 0,
        tensors,
        hparams: model.hparams.clone(),
        ..*model
    }
}
