//! One simulated card as a physical body: load makes power, power makes heat, heat makes the fan turn.
//!
//! First-order throughout. Power nears what the load draws and never passes the limit. Temperature nears
//! `ambient + R·P` through the thermal mass `C`. The fan nears its curve. Constants are chosen to look like an
//! open-air desktop card: full load settles near 75 °C within some minutes.

use super::cards::Card;
use super::load::Phase;
use super::random::Random;

const AMBIENT_C: f64 = 26.0;
/// How far full power lifts the temperature in the end.
const FULL_RISE_C: f64 = 49.0;
/// `R·C`: how slowly the temperature follows.
const THERMAL_S: f64 = 55.0;
/// How slowly the regulator follows the load; NVML shows a 1 s mean from Ampere on.
const POWER_S: f64 = 1.0;
const FAN_S: f64 = 3.0;
const MEMORY_S: f64 = 1.5;
/// Share of the limit that an idle card draws (an RTX 3090 idles near 20 W of 350 W).
const IDLE_POWER: f64 = 0.06;
/// Below this the fans of desktop cards stand still.
const FAN_START_C: f64 = 50.0;

/// A card's state; all are plain numbers in the unit of their name.
#[derive(Clone, Debug)]
pub(super) struct Body {
    random: Random,
    pub(super) phase: Phase,
    pub(super) gpu_percent: f64,
    pub(super) memory_percent: f64,
    pub(super) power_w: f64,
    pub(super) temperature_c: f64,
    pub(super) fan_percent: f64,
    pub(super) memory_mib: f64,
    memory_idle_mib: f64,
    pub(super) receive_mb_per_s: f64,
    pub(super) send_mb_per_s: f64,
    /// Whether the power limit holds the clocks down: the load wants more, and the board draws as much as it may.
    pub(super) capped: bool,
}

/// Share of the power limit from which the board counts as drawing all that it may.
const AT_LIMIT: f64 = 0.97;

impl Body {
    /// A card that has idled for long. The first one drives the display.
    pub(super) fn idle(card: &Card, mut random: Random, display: bool) -> Self {
        let memory_idle_mib = if display { random.between(620.0, 900.0) } else { random.between(310.0, 460.0) };
        let power_w = card.power_limit_w * IDLE_POWER;
        Self {
            random,
            phase: Phase::Idle,
            gpu_percent: 0.0,
            memory_percent: 0.0,
            power_w,
            temperature_c: AMBIENT_C + FULL_RISE_C * IDLE_POWER,
            fan_percent: 0.0,
            memory_mib: memory_idle_mib,
            memory_idle_mib,
            receive_mb_per_s: 0.0,
            send_mb_per_s: 0.0,
            capped: false,
        }
    }

    /// The next `step_s` seconds under a phase of work.
    pub(super) fn advance(&mut self, card: &Card, phase: Phase, step_s: f64) {
        self.phase = phase;
        let random = &mut self.random;
        let (gpu, memory, draw, work_mib, traffic) = match phase {
            Phase::Idle => {
                (random.between(0.0, 2.0), random.between(0.0, 1.0), random.between(0.05, 0.07), 0.0, (0.0, 2.0))
            }
            Phase::Prefill => (
                random.between(97.0, 100.0),
                random.between(55.0, 75.0),
                random.between(0.96, 1.08),
                380.0,
                (1800.0, 3200.0),
            ),
            Phase::Decode => (
                random.between(78.0, 93.0),
                random.between(60.0, 80.0),
                random.between(0.68, 0.8),
                260.0,
                (40.0, 130.0),
            ),
        };
        self.gpu_percent = gpu;
        self.memory_percent = memory;
        self.receive_mb_per_s = random.between(traffic.0, traffic.1);
        self.send_mb_per_s = random.between(traffic.0, traffic.1) * 0.7;
        follow(&mut self.power_w, card.power_limit_w * draw.min(1.0), POWER_S, step_s);
        self.capped = draw > 1.0 && self.power_w > AT_LIMIT * card.power_limit_w;
        let settled_c = AMBIENT_C + FULL_RISE_C * self.power_w / card.power_limit_w;
        follow(&mut self.temperature_c, settled_c, THERMAL_S, step_s);
        follow(&mut self.fan_percent, fan_curve(self.temperature_c), FAN_S, step_s);
        follow(&mut self.memory_mib, self.memory_idle_mib + work_mib, MEMORY_S, step_s);
    }
}

/// Where the fan settles at a temperature: still when cool, else 30 % rising to 100 % at 85 °C.
fn fan_curve(temperature_c: f64) -> f64 {
    if temperature_c < FAN_START_C { 0.0 } else { (30.0 + (temperature_c - FAN_START_C) * 2.0).min(100.0) }
}

/// First-order lag, exact for a target that holds for the step.
fn follow(value: &mut f64, target: f64, time_constant_s: f64, step_s: f64) {
    *value += (target - *value) * (1.0 - (-step_s / time_constant_s).exp());
}
