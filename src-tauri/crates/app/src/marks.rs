//! Which models of a list fit on the machine as it is now.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{Brief, CacheType, ContextWish, DeviceBudget, Goal, PlanRequest, brief};
use dualgpuopt_core::units::Bytes;

use crate::api::Fit;
use crate::lock;

/// Context that models are marked at, tokens; less where they were trained for less.
pub const FIT_CONTEXT: u32 = 8192;
/// Tokens per micro-batch of a mark; the engine's default (`common_params::n_ubatch`).
const MICRO_BATCH: u32 = 512;
/// How far memory in use may move before marks are made anew: a list need not follow every window that opens, and the plan of
/// a model that is chosen is made for the memory of that moment.
const DRIFT_MAX: Bytes = Bytes::mib(64);
/// Most threads that mark at once.
const THREADS_MAX: usize = 4;

/// Whether a model fits on these GPUs.
pub(crate) fn fit(model: &ModelFacts, devices: &[DeviceBudget]) -> Fit {
    let trained = u32::try_from(model.context_trained).unwrap_or(u32::MAX).max(1);
    let request = PlanRequest {
        context: ContextWish::Tokens(FIT_CONTEXT.min(trained)),
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: MICRO_BATCH,
        devices: devices.to_vec(),
        split: None,
        order: None,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
    };
    match brief(model, &request) {
        Ok(Brief::Fits { context_limit }) => Fit::Fits { context_limit },
        Ok(Brief::TooLarge { short }) => Fit::TooLarge { short },
        Err(error) => Fit::Unknown { why: error.to_string() },
    }
}

/// Whether marks made for one state of the machine still serve for another.
pub(crate) fn alike(before: &[DeviceBudget], now: &[DeviceBudget]) -> bool {
    let near = |(before, now): (&DeviceBudget, &DeviceBudget)| {
        before.others.0.abs_diff(now.others.0) <= DRIFT_MAX.0
            && *now == DeviceBudget { others: now.others, ..before.clone() }
    };
    before.len() == now.len() && before.iter().zip(now).all(near)
}

/// Marks by number of reading, for one state of the machine. Another state empties them.
#[derive(Default)]
pub(crate) struct Marks {
    devices: Vec<DeviceBudget>,
    kept: HashMap<u64, Fit>,
}

impl Marks {
    /// A mark for each of `readings`: from before where the machine is the same, else from `make`, on several threads.
    pub(crate) fn of(
        &mut self,
        readings: &[u64],
        devices: &[DeviceBudget],
        make: impl Fn(usize) -> Fit + Sync,
    ) -> Vec<Fit> {
        if !alike(&self.devices, devices) {
            self.devices = devices.to_vec();
            self.kept.clear();
        }
        let unknown: Vec<usize> =
            (0..readings.len()).filter(|index| !self.kept.contains_key(&readings[*index])).collect();
        let made = in_parallel(&unknown, |index| make(*index));
        // Only what is still listed is kept on.
        let mut before = std::mem::take(&mut self.kept);
        self.kept = readings.iter().filter_map(|reading| Some((*reading, before.remove(reading)?))).collect();
        self.kept.extend(unknown.iter().map(|index| readings[*index]).zip(made));
        readings.iter().map(|reading| self.kept[reading].clone()).collect()
    }
}

/// `work` done on each item, by several threads; results in the items' order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX).min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use dualgpuopt_core::gpu::GpuId;
    use dualgpuopt_core::model::catalogue::{self, Quantisation};

    use super::*;

    fn card(total: Bytes) -> DeviceBudget {
        DeviceBudget {
            gpu: GpuId("GPU-0".into()),
            index: 0,
            name: "RTX 3090".into(),
            total,
            others: Bytes::ZERO,
            reserve: Bytes::mib(512),
            capability: Some(860),
            measured_context: None,
            speed: None,
        }
    }

    #[test]
    fn a_mark_says_how_far_or_by_how_much_or_why_not() {
        let facts = |id| {
            let model = catalogue::find(id).expect("it is in the catalogue");
            catalogue::facts(&model.shape, Quantisation::Q8_0).expect("sound").0
        };
        let card = [card(Bytes::gib(24))];
        let Fit::Fits { context_limit } = fit(&facts("llama-3.1-8b"), &card) else { panic!("8 GiB of weights fit") };
        assert!((8192..=131_072).contains(&context_limit), "{context_limit}");
        let Fit::TooLarge { short } = fit(&facts("llama-3.1-70b"), &card) else { panic!("70 GiB of weights do not") };
        assert!(short > Bytes::gib(45), "{short}");
        assert!(matches!(fit(&facts("llama-3.1-8b"), &[]), Fit::Unknown { why } if why == "No GPU is chosen."));
    }

    #[test]
    fn marks_are_made_once_a_machine_and_forgotten_with_their_models() {
        let made = AtomicU32::new(0);
        let make = |index: usize| {
            made.fetch_add(1, Ordering::Relaxed);
            Fit::Unknown { why: index.to_string() }
        };
        let mut marks = Marks::default();
        let whys = |marks: Vec<Fit>| -> String {
            marks.into_iter().map(|mark| if let Fit::Unknown { why } = mark { why } else { String::new() }).collect()
        };
        let (small, large) = ([card(Bytes::gib(8))], [card(Bytes::gib(24))]);
        assert_eq!(whys(marks.of(&[7, 8, 9], &small, make)), "012");
        assert_eq!(whys(marks.of(&[9, 7], &small, make)), "20");
        assert_eq!((made.load(Ordering::Relaxed), marks.kept.len()), (3, 2));
        assert_eq!(whys(marks.of(&[9, 7], &large, make)), "01");
        assert_eq!(made.load(Ordering::Relaxed), 5);
        let drifted = |others| [DeviceBudget { others, ..card(Bytes::gib(24)) }];
        assert_eq!(whys(marks.of(&[9, 7], &drifted(Bytes::mib(64)), make)), "01");
        assert_eq!(made.load(Ordering::Relaxed), 5, "so little changes nothing");
        marks.of(&[9, 7], &drifted(Bytes::mib(65)), make);
        assert_eq!(made.load(Ordering::Relaxed), 7);
        assert!(!alike(&small, &large) && !alike(&small, &[]));
    }
}
