//! NVML's errors as reasons, and which calls a card has taught us not to make.

use dualgpuopt_core::reading::Why;
use nvml_wrapper::error::NvmlError;

/// After a refusal that may pass (rights), ask again only this much later.
const REFUSED_MS: u64 = 10_000;

/// One call that can be unsupported by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Utilization,
    MemoryV2,
    MemoryV1,
    TemperatureV,
    Temperature,
    Power,
    PowerLimit,
    Fan,
    SmClock,
    MemoryClock,
    PcieGeneration,
    PcieWidth,
    PcieReceive,
    PcieSend,
    PerformanceState,
    EventReasons,
    ThrottleReasons,
}

const CALLS: usize = Call::ThrottleReasons as usize + 1;

/// The reason that an error stands for.
///
/// Codes 23 and above come as `UnexpectedVariant` (`nvml.h`): 24 frequency not supported, 25 argument version mismatch,
/// 26 deprecated, 28 GPU not found. A symbol or function that this driver lacks is *not supported* as well.
pub(super) fn why(error: &NvmlError) -> Why {
    match error {
        NvmlError::NotSupported
        | NvmlError::FunctionNotFound
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::UnexpectedVariant(24..=26) => Why::NotSupported,
        NvmlError::NoPermission => Why::NoPermission,
        NvmlError::GpuLost | NvmlError::UnexpectedVariant(28) => Why::Lost,
        NvmlError::Timeout => Why::TimedOut,
        _ => Why::Failed,
    }
}

/// What one card has answered so far, call by call.
#[derive(Debug, Default)]
pub(super) struct Answers {
    unsupported: [bool; CALLS],
    /// Not to be asked before this time, monotonic milliseconds.
    refused_until_ms: [Option<u64>; CALLS],
    /// The card fell off the bus in this pass: nothing more is asked of it.
    lost: bool,
}

impl Answers {
    /// Begins a pass: a lost card gets one more chance.
    pub(super) fn begin(&mut self) {
        self.lost = false;
    }

    /// Makes a call, unless its answer is known.
    pub(super) fn ask<T>(
        &mut self,
        call: Call,
        now_ms: u64,
        make: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, Why> {
        let place = call as usize;
        if self.lost {
            return Err(Why::Lost);
        }
        if self.unsupported[place] {
            return Err(Why::NotSupported);
        }
        if self.refused_until_ms[place].is_some_and(|until| now_ms < until) {
            return Err(Why::NoPermission);
        }
        let result = make().map_err(|error| why(&error));
        match result {
            Err(Why::NotSupported) => self.unsupported[place] = true,
            Err(Why::NoPermission) => self.refused_until_ms[place] = Some(now_ms + REFUSED_MS),
            Err(Why::Lost) => self.lost = true,
            _ => {}
        }
        result
    }

    /// Asks in the newer form and, where that gives nothing, in the older one; the newer is dropped once the older works.
    pub(super) fn ask_either<T>(
        &mut self,
        now_ms: u64,
        (newer, make_newer): (Call, impl FnOnce() -> Result<T, NvmlError>),
        (older, make_older): (Call, impl FnOnce() -> Result<T, NvmlError>),
    ) -> Result<T, Why> {
        match self.ask(newer, now_ms, make_newer) {
            Err(Why::NotSupported | Why::Failed) => {}
            settled => return settled,
        }
        let result = self.ask(older, now_ms, make_older);
        if result.is_ok() {
            self.unsupported[newer as usize] = true;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_asked_once() {
        let mut answers = Answers::default();
        let first = answers.ask(Call::Fan, 0, || Err::<u32, _>(NvmlError::NotSupported));
        let second = answers.ask(Call::Fan, 1, || -> Result<u32, _> { panic!("asked again") });
        assert_eq!((first, second), (Err(Why::NotSupported), Err(Why::NotSupported)));
        assert_eq!(answers.ask(Call::Power, 1, || Ok(5)), Ok(5));
    }

    #[test]
    fn a_refusal_is_asked_again_later() {
        let mut answers = Answers::default();
        let refused = answers.ask(Call::Fan, 0, || Err::<u32, _>(NvmlError::NoPermission));
        assert_eq!(refused, Err(Why::NoPermission));
        assert_eq!(answers.ask(Call::Fan, REFUSED_MS - 1, || Ok(1)), Err(Why::NoPermission));
        assert_eq!(answers.ask(Call::Fan, REFUSED_MS, || Ok(1)), Ok(1));
    }

    #[test]
    fn a_lost_card_is_left_alone_for_the_rest_of_the_pass() {
        let mut answers = Answers::default();
        assert_eq!(answers.ask(Call::Power, 0, || Err::<u32, _>(NvmlError::GpuLost)), Err(Why::Lost));
        assert_eq!(answers.ask(Call::Fan, 0, || -> Result<u32, _> { panic!("asked") }), Err(Why::Lost));
        answers.begin();
        assert_eq!(answers.ask(Call::Fan, 0, || Ok(1)), Ok(1));
    }

    #[test]
    fn the_older_form_takes_over_once_it_works() {
        let mut answers = Answers::default();
        let old_wsl = || Err(NvmlError::Unknown);
        assert_eq!(answers.ask_either(0, (Call::MemoryV2, old_wsl), (Call::MemoryV1, || Ok(1))), Ok(1));
        let never = || -> Result<u32, _> { panic!("asked again") };
        assert_eq!(answers.ask_either(0, (Call::MemoryV2, never), (Call::MemoryV1, || Ok(2))), Ok(2));
    }
}
