//! What every alternative of one request shares: weights per unit, and the graphs from which compute buffers follow.
//!
//! **The search** needs compute buffers before it knows the split, so it takes them by the part that a GPU plays: alone, first,
//! in the middle, last. Where all layers are alike these depend on nothing else: a device's buffer is the peak of one layer's
//! work, which repeats, plus the tensors that cross into the device. The peak is reached with two layers, and with three where
//! the model's last layer is among them (it goes on with fewer rows than it gets), so they are worked out for a model cut down
//! to that. A GPU with fewer layers may take less (for llama-70B at 24k tokens 359 instead of 375 MiB with one layer): the
//! search then errs towards less context.
//!
//! Where layers differ (windows, experts, recurrent ones) the whole model is asked, cut into equal parts, and the split that is
//! found is asked about again: if a GPU needs more than its part was taken for, the search starts over with that.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::engine::llama_cpp::arch::{Arch, Attention};
use crate::engine::llama_cpp::compute::ComputeModel;
use crate::engine::llama_cpp::flags::Place;
use crate::engine::llama_cpp::kv::layer_bytes_on_gpu;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::{gpu_has_flash_attention, settle_as};
use crate::engine::llama_cpp::weights::{Part, TOKEN_EMBEDDING, bytes_at, part_of};
use crate::model::{ModelFacts, TensorFacts};
use crate::plan::request::{Choice, flags, room};
use crate::plan::search::{ByRole, Demand, Found};
use crate::plan::{CacheType, PlanRequest};

/// Layers of the short model for a GPU alone, and for a last GPU with the output alone behind a first one.
const SHORT_LAYERS: u32 = 3;

/// Layers of the short model for a first, a middle and a last GPU.
const LONG_LAYERS: u32 = 7;

/// Its units over those three.
const LONG_SPLIT: [u32; 3] = [2, 2, 4];

/// How often the search starts over with larger compute buffers before the best split so far is taken.
const ROUNDS_MAX: u32 = 4;

/// A model and a request, prepared for many questions.
pub(super) struct Ground<'a> {
    pub(super) model: &'a ModelFacts,
    pub(super) request: &'a PlanRequest,
    arch: Arch,
    /// Weights per unit on a GPU, bytes.
    weights: Vec<u64>,
    /// Weights of which each GPU with a layer has a copy.
    every_layer: u64,
    graphs: Graphs,
    /// Compute buffers already worked out.
    known: RefCell<HashMap<Choice, ByRole>>,
    /// Splits already found.
    found: RefCell<HashMap<Choice, Found>>,
}

/// What compute buffers are worked out with.
enum Graphs {
    /// A few layers that stand for all of them.
    Alike { short: Box<Sample>, long: Box<Sample> },
    /// The whole model.
    Whole(Box<ComputeModel>),
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
        let whole = ComputeModel::new(model).map_err(Refused::compute)?;
        let graphs = if whole.layers_alike() {
            let sample = |layers| Sample::new(model, layers).map(Box::new);
            Graphs::Alike { short: sample(SHORT_LAYERS)?, long: sample(LONG_LAYERS)? }
        } else {
            Graphs::Whole(Box::new(whole))
        };
        let (known, found) = (RefCell::default(), RefCell::default());
        Ok(Self { model, request, arch, weights, every_layer, graphs, known, found })
    }

    /// Refuses caches that would move attention to the CPU.
    pub(super) fn check(&self, cache_k: CacheType, cache_v: CacheType) -> Result<(), Refused> {
        let runs = |attention: &Attention| gpu_has_flash_attention(attention, cache_k, cache_v);
        if cache_v.is_quantised() && !self.arch.attentions().all(runs) {
            return Err(Refused::AttentionOnCpu { cache: cache_v });
        }
        Ok(())
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
        let several = self.request.devices.len() > 1;
        let compute = match &self.graphs {
            Graphs::Alike { short, long } => {
                let only = short.buffers(self.request, choice, &[SHORT_LAYERS + 1])?[0];
                if several {
                    let output_only = short.buffers(self.request, choice, &[SHORT_LAYERS, 1])?[1];
                    let long = long.buffers(self.request, choice, &LONG_SPLIT)?;
                    ByRole { only, first: long[0], middle: long[1], last: long[2], output_only }
                } else {
                    ByRole { only, ..ByRole::default() }
                }
            }
            Graphs::Whole(whole) => {
                let units = u32::try_from(self.weights.len()).expect("models have at most 512 layers");
                let only = self.whole(whole, choice, &[units])?[0];
                match units / 3 {
                    0 => ByRole { only, first: only, middle: only, last: only, output_only: only },
                    _ if !several => ByRole { only, ..ByRole::default() },
                    third => {
                        let parts = self.whole(whole, choice, &[third, third, units - 2 * third])?;
                        ByRole { only, first: parts[0], middle: parts[1], last: parts[2], output_only: parts[2] }
                    }
                }
            }
        };
        self.known.borrow_mut().insert(choice, compute);
        Ok(compute)
    }
}

impl Ground<'_> {
    /// Compute buffers of the whole model over as many GPUs as there are shares.
    fn whole(&self, graphs: &ComputeModel, choice: Choice, split: &[u32]) -> Result<Vec<u64>, Refused> {
        let device = self.request.devices.first().ok_or(Refused::NoDevices)?;
        let flags = flags(self.request, choice, &vec![device; split.len()], split);
        let settled = settle_as(self.model, &self.arch, Some(graphs), &flags)?;
        Ok(graphs.buffers(&flags, &settled).map_err(Refused::compute)?.devices)
    }

    /// Whether some split (or the user's) fits under a choice.
    pub(super) fn fits(&self, choice: Choice) -> Result<bool, Refused> {
        Ok(self.best(choice)?.headroom >= 0)
    }

    /// The user's split, or the best one, and how it fares.
    pub(super) fn best(&self, choice: Choice) -> Result<Found, Refused> {
        if let Some(found) = self.found.borrow().get(&choice) {
            return Ok(found.clone());
        }
        let rooms: Vec<i128> = self.request.devices.iter().map(room).collect();
        let mut compute = self.compute(choice)?;
        let mut best: Option<Found> = None;
        for _ in 0..ROUNDS_MAX {
            let demand = self.demand(choice, compute)?;
            let found = self.search(&demand, &rooms);
            let Graphs::Whole(whole) = &self.graphs else {
                best = Some(found);
                break;
            };
            let used: Vec<u32> = found.split.iter().copied().filter(|units| *units > 0).collect();
            let (headroom, needed) = demand.exactly(&rooms, &found.split, &self.whole(whole, choice, &used)?);
            let as_expected = headroom >= found.headroom || headroom >= 0;
            if best.as_ref().is_none_or(|best| headroom > best.headroom) {
                best = Some(Found { split: found.split, headroom });
            }
            if as_expected {
                break;
            }
            compute = compute.or_more(needed);
        }
        let best = best.expect("there is at least one round");
        self.found.borrow_mut().insert(choice, best.clone());
        Ok(best)
    }

    fn search(&self, demand: &Demand, rooms: &[i128]) -> Found {
        let found = match &self.request.split {
            Some(split) => demand.headroom(rooms, split).map(|headroom| Found { split: split.clone(), headroom }),
            None => demand.best(rooms),
        };
        found.expect("a request has a GPU and a model has units, so some split exists")
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
