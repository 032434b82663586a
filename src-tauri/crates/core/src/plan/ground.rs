//! What every alternative of one request shares, and the search for the best split under one of them.
//!
//! **The search** needs compute buffers before it knows the split, so it takes them by the part that a GPU plays: alone, first,
//! in the middle, last. It begins with none at all, asks what the split that it finds really takes, and searches again with
//! that until a split takes no more than was thought. Where all layers are alike that is the second: a buffer is the peak of
//! one layer's work, which repeats, plus what crosses into the device. A GPU with fewer than four layers may take less than its
//! part is taken for (for llama-70B at 24k tokens 359 instead of 375 MiB with one layer): the search then errs towards less
//! context.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use crate::engine::llama_cpp::arch::Attention;
use crate::engine::llama_cpp::evaluator::Evaluator;
use crate::engine::llama_cpp::flags::Flags;
use crate::engine::llama_cpp::kv::cache_before;
use crate::engine::llama_cpp::layout::GpuBytes;
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::{gpu_has_flash_attention, settle_as};
use crate::engine::llama_cpp::settled::Settled;
use crate::plan::arrangement::Arrangement;
use crate::plan::placement::ByRole;
use crate::plan::request::{Choice, flags, room};
use crate::plan::search::{Demand, Found, used};
use crate::plan::speeds::Speeds;
use crate::plan::{CacheType, DeviceBudget, PlanMode, PlanRequest};

/// How often the search starts over with larger compute buffers before the best split so far is taken.
const ROUNDS_MAX: u32 = 8;

/// A model and a request, prepared for many questions.
pub(super) struct Ground<'a> {
    pub(super) request: &'a PlanRequest,
    pub(super) prepared: &'a Prepared<'a>,
    /// What the engine may take on each GPU, bytes.
    pub(super) rooms: Vec<i128>,
    /// Alternatives already weighed.
    known: RefCell<HashMap<Choice, Weighed>>,
    /// Evaluators of the choice that was asked for last, by the order of GPUs.
    evaluators: RefCell<Evaluators<'a>>,
    /// Speeds, once they were asked for; or why there are none.
    speeds: OnceCell<Result<Speeds, String>>,
}

/// Evaluators of one choice, by the order of GPUs.
#[derive(Default)]
struct Evaluators<'a> {
    of: Option<Choice>,
    by_order: HashMap<Vec<usize>, Evaluator<'a>>,
}

/// One alternative: its best split, and what that was searched with.
#[derive(Clone)]
pub(super) struct Weighed {
    pub(super) found: Found,
    pub(super) compute: ByRole,
}

impl Weighed {
    /// Whether every GPU holds its share.
    pub(super) fn fits(&self) -> bool {
        self.found.headroom >= 0
    }
}

impl<'a> Ground<'a> {
    /// Makes sure that the model's memory is known.
    pub(super) fn new(prepared: &'a Prepared<'a>, request: &'a PlanRequest) -> Result<Self, Refused> {
        prepared.known_caches()?;
        prepared.graphs()?;
        let rooms = request.devices.iter().map(room).collect();
        let (known, evaluators) = (RefCell::default(), RefCell::default());
        Ok(Self { request, prepared, rooms, known, evaluators, speeds: OnceCell::new() })
    }

    /// Layers, and the output.
    pub(super) fn units(&self) -> u32 {
        u32::try_from(self.prepared.model().layers.len() + 1).expect("models have at most 512 layers")
    }

    /// Speeds of this request; or why there are none.
    pub(super) fn speeds(&self) -> Result<&Speeds, &String> {
        self.speeds.get_or_init(|| Speeds::of(self.prepared, self.request)).as_ref()
    }

    /// Whether all layers lie on GPUs as a whole, layer by layer, whatever the planner decides.
    pub(super) fn is_plain(&self) -> bool {
        let all = self.request.split.as_ref().is_none_or(|split| split.iter().sum::<u32>() == self.units());
        all && self.request.order.is_none()
            && self.request.mode != Some(PlanMode::Tensor)
            && self.request.experts_in_ram.is_none_or(|layers| layers == 0)
    }

    /// What the engine makes of a choice with everything on one GPU.
    pub(super) fn settled(&self, choice: Choice) -> Result<(Settled, Flags), Refused> {
        let device = self.request.devices.first().ok_or(Refused::NoDevices)?;
        let flags = flags(self.request, choice, &[device], &[1]);
        let settled = settle_as(self.prepared.model(), self.prepared.known_caches()?, None, &flags)?;
        Ok((settled, flags))
    }

    /// Cache of all layers before each unit, bytes.
    pub(super) fn cache_before(&self, choice: Choice) -> Result<Vec<u64>, Refused> {
        let (settled, flags) = self.settled(choice)?;
        Ok(cache_before(self.prepared.known_caches()?, &flags, &settled))
    }

    /// What an arrangement takes on each GPU that it uses, in its order.
    pub(super) fn bytes(&self, choice: Choice, arrangement: &Arrangement) -> Result<Vec<GpuBytes>, Refused> {
        if arrangement.uses_ram() || arrangement.mode == PlanMode::Tensor {
            return Ok(self.prepared.layout(&arrangement.flags(self.request, choice))?.devices);
        }
        let kept = &mut *self.evaluators.borrow_mut();
        if kept.of != Some(choice) {
            *kept = Evaluators { of: Some(choice), by_order: HashMap::new() };
        }
        let kept = &mut kept.by_order;
        if !kept.contains_key(&arrangement.order) {
            let evaluator = Evaluator::new(self.prepared, &arrangement.flags(self.request, choice))?;
            kept.insert(arrangement.order.clone(), evaluator);
        }
        let evaluator = kept.get_mut(&arrangement.order).expect("it was put in above");
        Ok(evaluator.at(&arrangement.shares)?.to_vec())
    }

    /// Free bytes on the used GPU with the least, and which that is by its position in the request.
    pub(super) fn headroom(&self, arrangement: &Arrangement, bytes: &[GpuBytes]) -> (i128, usize) {
        let left =
            arrangement.order.iter().zip(bytes).map(|(&at, bytes)| (self.rooms[at] - i128::from(bytes.sum()), at));
        left.min().unwrap_or((i128::MAX, 0))
    }

    /// Refuses caches that would move attention to the CPU.
    pub(super) fn check(&self, cache_k: CacheType, cache_v: CacheType) -> Result<(), Refused> {
        let runs = |attention: &Attention| gpu_has_flash_attention(attention, cache_k, cache_v);
        if cache_v.is_quantised() && !self.prepared.arch.attentions().all(runs) {
            return Err(Refused::AttentionOnCpu { cache: cache_v });
        }
        Ok(())
    }

    /// Whether compute buffers depend on the part that a GPU plays alone, unless it has very few layers.
    pub(super) fn layers_alike(&self) -> bool {
        self.prepared.graphs().is_ok_and(|graphs| graphs.layers_alike())
    }

    /// The most that can stay free on the tightest GPU under a choice if compute buffers were these, bytes.
    pub(super) fn expected(&self, choice: Choice, compute: ByRole) -> Result<i128, Refused> {
        let weights = &self.prepared.weights()?.before;
        let before = weights.iter().zip(self.cache_before(choice)?).map(|(w, kv)| w.saturating_add(kv));
        Ok(self.search(&self.demand(before.collect(), compute)?).headroom)
    }

    /// The user's split, or the best one, and how it fares.
    pub(super) fn weigh(&self, choice: Choice) -> Result<Weighed, Refused> {
        if let Some(weighed) = self.known.borrow().get(&choice) {
            return Ok(weighed.clone());
        }
        let weighed = self.weigh_anew(choice)?;
        self.known.borrow_mut().insert(choice, weighed.clone());
        Ok(weighed)
    }

    fn weigh_anew(&self, choice: Choice) -> Result<Weighed, Refused> {
        let mut scales = Scales::new(self, choice)?;
        let mut demand = self.demand(scales.several.fixed_before().collect(), ByRole::default())?;
        let mut best: Option<Found> = None;
        for _ in 0..ROUNDS_MAX {
            let expected = self.search(&demand);
            let headroom = scales.weigh(&expected.split, &mut demand.compute)?;
            let as_expected = headroom >= expected.headroom;
            let found = Found { headroom, ..expected };
            if best.as_ref().is_none_or(|best| found.rank() > best.rank()) {
                best = Some(found);
            }
            if as_expected {
                break;
            }
        }
        let found = best.expect("there is at least one round");
        Ok(Weighed { found, compute: demand.compute })
    }

    fn demand(&self, before: Vec<u64>, compute: ByRole) -> Result<Demand, Refused> {
        Ok(Demand { before, every_layer: self.prepared.weights()?.factors, compute })
    }

    fn search(&self, demand: &Demand) -> Found {
        let found = match &self.request.split {
            Some(split) => demand.headroom(&self.rooms, split).map(|headroom| Found { split: split.clone(), headroom }),
            None => demand.best(&self.rooms),
        };
        found.expect("a request has a GPU and a model has units, so some split exists")
    }
}

/// What splits really take under one choice.
struct Scales<'g, 'a> {
    ground: &'g Ground<'a>,
    choice: Choice,
    /// For splits over several GPUs, or the only one.
    several: Evaluator<'a>,
    /// For splits that use one GPU of several: the others are then hidden from the engine, which makes no pipeline.
    alone: Option<Evaluator<'a>>,
}

impl<'g, 'a> Scales<'g, 'a> {
    fn new(ground: &'g Ground<'a>, choice: Choice) -> Result<Self, Refused> {
        let devices: Vec<&DeviceBudget> = ground.request.devices.iter().collect();
        let several = Evaluator::new(ground.prepared, &flags(ground.request, choice, &devices, &[]))?;
        Ok(Self { ground, choice, several, alone: None })
    }

    /// Free bytes on the tightest GPU that a split uses. Counts in what compute buffers take.
    fn weigh(&mut self, split: &[u32], compute: &mut ByRole) -> Result<i128, Refused> {
        let ground = self.ground;
        let (rooms, of) = (&ground.rooms, used(split));
        let units: u32 = split.iter().sum();
        let taken = split.iter().zip(rooms).filter(|(own, _)| **own > 0);
        let bytes = if of == 1 && split.len() > 1 { self.alone()?.at(&[units])? } else { self.several.at(split)? };
        let bytes = bytes.iter().filter(|bytes| bytes.sum() > 0);
        let (mut least, mut before) = (i128::MAX, 0);
        for (at, ((&own, room), bytes)) in taken.zip(bytes).enumerate() {
            least = least.min(room - i128::from(bytes.sum()));
            compute.raise(at, of, before + 1 == units, bytes.compute);
            before += own;
        }
        Ok(least)
    }

    fn alone(&mut self) -> Result<&mut Evaluator<'a>, Refused> {
        if self.alone.is_none() {
            let device = self.ground.request.devices.first().ok_or(Refused::NoDevices)?;
            let flags = flags(self.ground.request, self.choice, &[device], &[1]);
            self.alone = Some(Evaluator::new(self.ground.prepared, &flags)?);
        }
        Ok(self.alone.as_mut().expect("made above"))
    }
}
