//! Frames from the NVIDIA driver. Each card has a reader thread; a frame waits for each until a deadline, then goes on
//! without it.
//!
//! Owner of its state: the thread that polls. Deliberately absent: restarts after a hang of the whole library, which
//! only another process can survive (see `sampler.rs`); waking cards by anything but reading them; setting anything.

mod open;
mod raw;
mod read;
mod reader;
mod sane;
mod speed;
mod why;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::thread;
use std::time::{Duration, Instant};

use dualgpuopt_core::gpu::{Frame, GpuFacts, GpuId, GpuSample, Machine, SourceKind};
use dualgpuopt_core::reading::{Reading, Why};
use dualgpuopt_core::time::Stamp;
use dualgpuopt_core::units::Bytes;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use crate::clock::Clock;
use crate::source::{GPUS_MAX, Source, SourceError};
use reader::{Answer, Reader};

/// Longest that a frame waits for a card, however seldom frames come. A card's first answer, which may have to wake it
/// and takes all readings at once, gets this long too.
const DEADLINE_MAX: Duration = Duration::from_secs(1);
/// The number of cards is asked for once in so many frames, to see new ones, ...
const CENSUS_FRAMES: u32 = 10;
/// ... but no more and no less often than this.
const CENSUS_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// An answer that comes late is shown up to this many intervals after it was asked for.
const LATE_INTERVALS: u32 = 2;

/// The cards of the NVIDIA driver.
pub struct NvmlSource {
    nvml: &'static Nvml,
    clock: Arc<dyn Clock>,
    interval: Duration,
    cards: Vec<Card>,
    /// Tells that the number of cards has changed.
    census: Receiver<()>,
    changed: bool,
    answers: (Sender<Answer>, Receiver<Answer>),
    /// Cards that were there but could not be described, in words.
    unread: Vec<String>,
    seq: u64,
}

struct Card {
    facts: GpuFacts,
    /// Asks the reader.
    asks: SyncSender<Stamp>,
    /// No frame has been made with it yet.
    fresh: bool,
    /// When it was asked what it has not answered yet.
    asked: Option<Stamp>,
    /// What it answered since the last frame.
    answer: Option<Answer>,
    answered_at: Option<Stamp>,
}

impl NvmlSource {
    /// Loads the library (absent: the driver's own), starts it and finds the cards. Frames come every `interval`.
    ///
    /// # Errors
    /// Where there is no library, no driver, or the driver refuses; the error says what was looked for and found.
    pub fn open(library: Option<&Path>, interval: Duration, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let nvml = open::open(library)?;
        let mut source = Self {
            nvml,
            clock,
            interval,
            cards: Vec::new(),
            census: start_census(nvml, interval),
            changed: true,
            answers: channel(),
            unread: Vec::new(),
            seq: 0,
        };
        source.find_cards()?;
        Ok(source)
    }

    /// Whether cards came since this was last asked, and at first: then [`Source::machine`] says more than before.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Finds the cards that are there and not yet read; cards that have gone stay, as lost.
    fn find_cards(&mut self) -> Result<(), SourceError> {
        let words =
            |error: NvmlError| SourceError::Failed { message: format!("The cards cannot be counted: {error}.") };
        let count = self.nvml.device_count().map_err(words)?;
        self.unread.clear();
        for index in 0..count {
            if self.cards.len() >= GPUS_MAX {
                self.unread.push(format!("{count} GPUs were found; only the first {GPUS_MAX} are read."));
                break;
            }
            if let Err(error) = self.find_card(index) {
                self.unread.push(format!("The GPU at index {index} does not say who it is: {error}."));
            }
        }
        Ok(())
    }

    fn find_card(&mut self, index: u32) -> Result<(), NvmlError> {
        let device = self.nvml.device_by_index(index)?;
        let id = GpuId(device.uuid()?);
        if self.cards.iter().any(|card| card.facts.id == id) {
            return Ok(());
        }
        let facts = facts(self.nvml, &device, id, index);
        let reader = Reader {
            nvml: self.nvml,
            facts: facts.clone(),
            device,
            clock: Arc::clone(&self.clock),
            answers: self.answers.0.clone(),
        };
        match reader.start() {
            Ok(asks) => {
                self.changed = true;
                self.cards.push(Card { facts, asks, fresh: true, asked: None, answer: None, answered_at: None });
            }
            Err(error) => self.unread.push(format!("No thread could be started for {}: {error}.", facts.name)),
        }
        Ok(())
    }

    /// How long the frame of `at` waits.
    fn deadline(&self, at: Stamp) -> Duration {
        let first = self.cards.iter().any(|card| card.fresh && card.asked == Some(at));
        if first { DEADLINE_MAX } else { (self.interval * 4 / 5).min(DEADLINE_MAX) }
    }

    fn take(&mut self, answer: Answer) {
        if let Some(card) = self.cards.iter_mut().find(|card| card.facts.id == answer.gpu) {
            card.asked = None;
            if answer.present {
                card.answered_at = Some(answer.answered);
            }
            card.answer = Some(answer);
        }
    }
}

impl Source for NvmlSource {
    fn machine(&mut self) -> Result<Machine, SourceError> {
        let cuda = self.nvml.sys_cuda_driver_version().ok();
        let version = |v| format!("{}.{}", cuda_driver_version_major(v), cuda_driver_version_minor(v));
        Ok(Machine {
            source: SourceKind::Nvml,
            gpus: self.cards.iter().map(|card| card.facts.clone()).collect(),
            driver_version: self.nvml.sys_driver_version().ok(),
            cuda_version: cuda.map(version),
            nvml_version: self.nvml.sys_nvml_version().ok(),
        })
    }

    fn poll(&mut self, at: Stamp) -> Frame {
        let mut problems = Vec::new();
        if self.census.try_recv().is_ok()
            && let Err(error) = self.find_cards()
        {
            problems.push(error.to_string());
        }
        while let Ok(late) = self.answers.1.try_recv() {
            self.take(late);
        }
        for card in self.cards.iter_mut().filter(|card| card.asked.is_none()) {
            card.asked = card.asks.try_send(at).is_ok().then_some(at);
        }
        // A card that has hung since an earlier frame is not waited for: it holds up nobody.
        let until = Instant::now() + self.deadline(at);
        while self.cards.iter().any(|card| card.asked == Some(at)) {
            match self.answers.1.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) => self.take(answer),
                Err(_) => break,
            }
        }
        self.seq += 1;
        let late_ms = u64::try_from((self.interval * LATE_INTERVALS).as_millis()).unwrap_or(u64::MAX);
        let gpus = self.cards.iter_mut().map(|card| sample(card, at, late_ms)).collect();
        problems.extend(self.unread.iter().cloned());
        let silent = self.cards.iter().filter(|card| card.asked.is_some());
        problems.extend(
            silent.map(|card| format!("GPU {} ({}) does not answer in time.", card.facts.index, card.facts.name)),
        );
        Frame { seq: self.seq, at, gpus, problems }
    }
}

/// What the card has answered for this frame, or a little late for an earlier one.
fn sample(card: &mut Card, at: Stamp, late_ms: u64) -> GpuSample {
    let gpu = card.facts.id.clone();
    card.fresh = false;
    match card.answer.take() {
        Some(answer) if answer.asked.age_ms(at) <= late_ms => {
            GpuSample { gpu, answered_at: card.answered_at, metrics: answer.readings }
        }
        _ => GpuSample::missing(gpu, card.answered_at, Why::TimedOut),
    }
}

fn facts(nvml: &Nvml, device: &Device<'_>, id: GpuId, index: u32) -> GpuFacts {
    let memory = device.memory_info().map(|memory| memory.total);
    let memory = memory.or_else(|_| raw::memory_v1(nvml, device).map(|memory| memory.total)).ok();
    let capability = device.cuda_compute_capability().ok();
    GpuFacts {
        name: device.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned()),
        pci_bus_id: device.pci_info().ok().map(|pci| pci.bus_id),
        // All ones and nothing at all are the driver's ways not to say.
        memory_total: memory.filter(|&total| total > 0 && total < u64::MAX).map(Bytes),
        compute_capability: capability
            .as_ref()
            .and_then(|cc| Some((cc.major.try_into().ok()?, cc.minor.try_into().ok()?))),
        pcie_generation_max: known(device.max_pcie_link_gen(), sane::pcie_generation),
        pcie_width_max: known(device.max_pcie_link_width(), sane::pcie_width),
        speed_facts: speed::facts(nvml, device, index, capability.as_ref()),
        id,
        index,
    }
}

/// A number that makes sense.
fn known(answer: Result<u32, NvmlError>, sane: fn(u32) -> Reading) -> Option<u32> {
    answer.ok().filter(|&value| sane(value).value().is_some())
}

/// Starts the thread that counts the cards, and tells when their number changes. It ends with its listener; where it
/// cannot be started, new cards show after the next start.
fn start_census(nvml: &'static Nvml, interval: Duration) -> Receiver<()> {
    let (tell, told) = channel();
    let every = (interval * CENSUS_FRAMES).clamp(CENSUS_EVERY.0, CENSUS_EVERY.1);
    let run = move || {
        let mut last = nvml.device_count().ok();
        loop {
            thread::sleep(every);
            let count = nvml.device_count().ok();
            let news = count.is_some() && count != last;
            last = count.or(last);
            if news && tell.send(()).is_err() {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("gpu-census".to_owned()).spawn(run) {
        tracing::warn!(%error, "no thread to watch for new GPUs");
    }
    told
}
