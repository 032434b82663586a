//! What every alternative of one request shares, and the search for the best split under one of them.
//!
//! **The search** needs compute buffers before it knows the split, so it takes them by the part that a GPU plays: alone, first,
//! in the middle, last. It begins with none at all, asks what the split that it finds really takes, and searches again with
//! that until a split takes no more than was thought. Where all layers are alike that is the second: a buffer is the peak of
//! one layer's work, which repeats, plus what crosses into the device. A GPU with fewer than four layers may take less than its
//! part is taken for (for llama-70B at 24k tokens 359 instead of 375 MiB with one layer): the search then errs towards less
//! context.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::engine::llama_cpp::arch::Attention;
use crate::engine::llama_cpp::evaluator::Evaluator;
use crate::engine::llama_cpp::kv::cache_before;
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::{gpu_has_flash_attention, settle_as};
use crate::model::ModelFacts;
use crate::plan::placement::ByRole;
use crate::plan::request::{Choice, flags, room};
use crate::plan::search::{Demand, Found, used};
use crate::plan::{CacheType, DeviceBudget, PlanRequest};

/// How often the search starts over with larger compute buffers before the best split so far is taken.
const ROUNDS_MAX: u32 = 8;

/// A model and a request, prepared for many questions.
pub(super) struct Ground<'a> {
    pub(super) request: &'a PlanRequest,
    pub(super) prepared: Prepared<'a>,
    /// What the engine may take on each GPU, bytes.
    rooms: Vec<i128>,
    /// Alternatives already weighed.
    known: RefCell<HashMap<Choice, Weighed>>,
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
    /// Reads the model.
    pub(super) fn new(model: &'a ModelFacts, request: &'a PlanRequest) -> Result<Self, Refused> {
        let prepared = Prepared::new(model)?;
        prepared.known_caches()?;
        prepared.graphs()?;
        let rooms = request.devices.iter().map(room).collect();
        Ok(Self { request, prepared, rooms, known: RefCell::default() })
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
        let device = self.request.devices.first().ok_or(Refused::NoDevices)?;
        let flags = flags(self.request, choice, &[device], &[1]);
        let arch = self.prepared.known_caches()?;
        let settled = settle_as(self.prepared.model(), arch, None, &flags)?;
        let weights = &self.prepared.weights()?.before;
        let before = weights.iter().zip(cache_before(arch, &flags, &settled)).map(|(w, kv)| w.saturating_add(kv));
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
struct Scales<'a> {
    ground: &'a Ground<'a>,
    choice: Choice,
    /// For splits over several GPUs, or the only one.
    several: Evaluator<'a>,
    /// For splits that use one GPU of several: the others are then hidden from the engine, which makes no pipeline.
    alone: Option<Evaluator<'a>>,
}

impl<'a> Scales<'a> {
    fn new(ground: &'a Ground<'a>, choice: Choice) -> Result<Self, Refused> {
        let devices: Vec<&DeviceBudget> = ground.request.devices.iter().collect();
        let several = Evaluator::new(&ground.prepared, &flags(ground.request, choice, &devices, &[]))?;
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
            self.alone = Some(Evaluator::new(&self.ground.prepared, &flags)?);
        }
        Ok(self.alone.as_mut().expect("made above"))
    }
}
