//! One card, one pass: every call becomes readings, every error a reason.

use std::collections::BTreeMap;

use dualgpuopt_core::gpu::Metric;
use dualgpuopt_core::reading::{Reading, Why};
use nvml_wrapper::enum_wrappers::device::{Clock, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

use super::raw;
use super::sane::{self, Memory};
use super::why::{Answers, Call};

/// What a card says.
pub(super) type Readings = BTreeMap<Metric, Reading>;

/// Most fans asked; the largest cards have three or four.
const FANS_MAX: u32 = 8;

/// The handle of a card, and what is known of how to ask it.
pub(super) struct Card {
    nvml: &'static Nvml,
    device: Device<'static>,
    fans: u32,
    pub(super) answers: Answers,
}

impl Card {
    /// Takes a handle and asks what does not change.
    pub(super) fn new(nvml: &'static Nvml, device: Device<'static>) -> Self {
        // Drivers before R515 do not count fans, but tell the first one's speed.
        let fans = device.num_fans().unwrap_or(1).min(FANS_MAX);
        Self { nvml, device, fans, answers: Answers::default() }
    }

    /// What changes from moment to moment: 12 calls, and one more per further fan.
    pub(super) fn read_fast(&mut self, now_ms: u64) -> Readings {
        self.answers.begin();
        let mut readings = Readings::new();
        self.utilization(now_ms, &mut readings);
        self.memory(now_ms, &mut readings);
        let (nvml, device, answers) = (self.nvml, &self.device, &mut self.answers);

        let temperature = answers.ask_either(
            now_ms,
            (Call::TemperatureV, || raw::temperature_v(nvml, device)),
            (Call::Temperature, || device.temperature(TemperatureSensor::Gpu).map(i64::from)),
        );
        readings.insert(Metric::Temperature, reading(temperature, sane::temperature));
        let reasons = answers.ask_either(
            now_ms,
            (Call::EventReasons, || raw::event_reasons(nvml, device)),
            (Call::ThrottleReasons, || raw::throttle_reasons(nvml, device)),
        );
        readings.insert(Metric::ThrottleReasons, reading(reasons, sane::mask));

        let mut put = |metric, call, make: &dyn Fn() -> _, sane: fn(u32) -> Reading| {
            readings.insert(metric, reading(answers.ask(call, now_ms, make), sane));
        };
        put(Metric::Power, Call::Power, &|| device.power_usage(), sane::power);
        put(Metric::SmClock, Call::SmClock, &|| device.clock_info(Clock::SM), sane::clock);
        put(Metric::MemoryClock, Call::MemoryClock, &|| device.clock_info(Clock::Memory), sane::clock);
        put(Metric::PcieGeneration, Call::PcieGeneration, &|| device.current_pcie_link_gen(), sane::pcie_generation);
        put(Metric::PcieWidth, Call::PcieWidth, &|| device.current_pcie_link_width(), sane::pcie_width);
        put(
            Metric::PerformanceState,
            Call::PerformanceState,
            &|| device.performance_state().map(|state| state.as_c()),
            sane::performance_state,
        );
        readings.insert(Metric::Fan, self.fan(now_ms));
        readings
    }

    /// What changes seldom, or blocks: each PCIe call measures for 20 ms.
    pub(super) fn read_slow(&mut self, now_ms: u64) -> Readings {
        let (device, answers) = (&self.device, &mut self.answers);
        let mut ask = |call, make: &dyn Fn() -> _| answers.ask(call, now_ms, make);
        let limit = ask(Call::PowerLimit, &|| device.enforced_power_limit());
        let receive = ask(Call::PcieReceive, &|| device.pcie_throughput(PcieUtilCounter::Receive));
        let send = ask(Call::PcieSend, &|| device.pcie_throughput(PcieUtilCounter::Send));
        Readings::from([
            (Metric::PowerLimit, reading(limit, sane::power)),
            (Metric::PcieReceive, reading(receive, sane::pcie_traffic)),
            (Metric::PcieSend, reading(send, sane::pcie_traffic)),
        ])
    }

    fn utilization(&mut self, now_ms: u64, readings: &mut Readings) {
        let device = &self.device;
        let rates = self.answers.ask(Call::Utilization, now_ms, || device.utilization_rates());
        let (gpu, memory) = (rates.as_ref().map(|r| r.gpu), rates.as_ref().map(|r| r.memory));
        readings.insert(Metric::GpuUtilization, reading(gpu.map_err(|why| *why), sane::percent));
        readings.insert(Metric::MemoryUtilization, reading(memory.map_err(|why| *why), sane::percent));
    }

    fn memory(&mut self, now_ms: u64, readings: &mut Readings) {
        let (nvml, device) = (self.nvml, &self.device);
        let version_2 = || {
            let memory = device.memory_info()?;
            let reserved = Some(memory.reserved);
            Ok(Memory { total: memory.total, free: memory.free, used: memory.used, reserved })
        };
        let version_1 = || raw::memory_v1(nvml, device);
        match self.answers.ask_either(now_ms, (Call::MemoryV2, version_2), (Call::MemoryV1, version_1)) {
            Ok(memory) => readings.extend(sane::memory(memory)),
            Err(why) => {
                use Metric::{MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed};
                let missing = Reading::Missing(why);
                readings.extend([MemoryTotal, MemoryFree, MemoryUsed, MemoryReserved].map(|metric| (metric, missing)));
            }
        }
    }

    /// The largest of all fans; a fan that does not answer is left out while another does.
    fn fan(&mut self, now_ms: u64) -> Reading {
        let (device, fans) = (&self.device, self.fans);
        let answer = self.answers.ask(Call::Fan, now_ms, || {
            let mut largest = None;
            let mut refusal = None;
            for fan in 0..fans {
                match device.fan_speed(fan) {
                    Ok(speed) => largest = largest.max(Some(speed)),
                    Err(error) => refusal = Some(error),
                }
            }
            let none = || refusal.unwrap_or(nvml_wrapper::error::NvmlError::NotSupported);
            largest.ok_or_else(none)
        });
        reading(answer, sane::fan)
    }
}

fn reading<T>(answer: Result<T, Why>, sane: impl FnOnce(T) -> Reading) -> Reading {
    answer.map_or_else(Reading::Missing, sane)
}
