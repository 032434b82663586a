//! One card's reader: a thread of its own, so that a call that never returns holds up nobody else.
//!
//! It is never joined: a thread inside a hung driver cannot be ended.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::{io, thread};

use dualgpuopt_core::gpu::{GpuFacts, GpuId};
use dualgpuopt_core::time::Stamp;
use nvml_wrapper::{Device, Nvml};

use super::read::{Card, Readings};
use crate::clock::Clock;

/// Slow readings are taken this often, after the answer, so that they do not delay it.
const SLOW_EVERY_MS: u64 = 1_000;
/// A lost card is looked for again this often.
const LOOK_AGAIN_MS: u64 = 5_000;

/// A card's answer.
pub(super) struct Answer {
    /// Which card.
    pub(super) gpu: GpuId,
    /// When it was asked.
    pub(super) asked: Stamp,
    /// When it had answered.
    pub(super) answered: Stamp,
    /// What it said.
    pub(super) readings: Readings,
    /// Whether it gave a value at all.
    pub(super) present: bool,
}

/// What a reader needs to know.
pub(super) struct Reader {
    pub(super) nvml: &'static Nvml,
    pub(super) facts: GpuFacts,
    pub(super) device: Device<'static>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) answers: Sender<Answer>,
}

impl Reader {
    /// Starts the thread. Each stamp sent asks for one answer; the channel holds one, since a busy reader is not asked.
    pub(super) fn start(self) -> io::Result<SyncSender<Stamp>> {
        let (asks, asked) = sync_channel(1);
        let name = format!("gpu-{}", self.facts.index);
        thread::Builder::new().name(name).spawn(move || self.run(&asked))?;
        Ok(asks)
    }

    fn run(self, asks: &Receiver<Stamp>) {
        let Self { nvml, facts, device, clock, answers } = self;
        let mut card = Card::new(nvml, device);
        let mut slow: Option<(u64, Readings)> = None;
        let mut silent_since_ms: Option<u64> = None;
        while let Ok(asked) = asks.recv() {
            let now_ms = asked.mono_ms;
            if silent_since_ms.is_some_and(|since| now_ms >= since + LOOK_AGAIN_MS) {
                silent_since_ms = Some(now_ms);
                if let Some(device) = find_again(nvml, &facts) {
                    card = Card::new(nvml, device);
                }
            }
            let mut readings = card.read_fast(now_ms);
            let present = readings.values().any(|reading| reading.value().is_some());
            if present {
                silent_since_ms = None;
            } else {
                silent_since_ms.get_or_insert(now_ms);
                // Slow readings of a card that is gone are gone with it.
                slow = None;
            }
            let (_, slow_readings) = slow.get_or_insert_with(|| (now_ms, card.read_slow(now_ms)));
            readings.extend(slow_readings.iter().map(|(&metric, &reading)| (metric, reading)));
            let answer = Answer { gpu: facts.id.clone(), asked, answered: clock.now(), readings, present };
            if answers.send(answer).is_err() {
                return;
            }
            if slow.as_ref().is_some_and(|(taken_ms, _)| now_ms >= taken_ms + SLOW_EVERY_MS) {
                slow = Some((now_ms, card.read_slow(now_ms)));
            }
        }
    }
}

/// A new handle of the same card, by its place on the bus or else by its identity: the old one may stay dead.
fn find_again(nvml: &'static Nvml, facts: &GpuFacts) -> Option<Device<'static>> {
    let same = |device: &Device<'static>| device.uuid().is_ok_and(|uuid| uuid == facts.id.0);
    let by_bus = || nvml.device_by_pci_bus_id(facts.pci_bus_id.as_deref()?).ok().filter(same);
    by_bus().or_else(|| nvml.device_by_uuid(facts.id.0.as_str()).ok().filter(same))
}
