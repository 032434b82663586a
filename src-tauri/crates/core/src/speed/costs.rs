//! Times of one decode step, part by part, for a search over placements.

/// Times of one decode step when layers lie whole on devices, seconds. `[device][unit]`: units are the layers in order, then
/// the output; devices are in the order they were given. A step makes one token of each sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageCosts {
    /// A unit whole on a device.
    pub on_device: Vec<Vec<f64>>,
    /// A unit on a device with its experts in system RAM; as `on_device` where the unit has none.
    pub experts_in_ram: Vec<Vec<f64>>,
    /// What a device costs by taking part at all.
    pub device: Vec<f64>,
    /// Handing the activations from one device to the next, `[from][to]`.
    pub hop: Vec<Vec<f64>>,
    /// A unit whole in system RAM, cache included: `[unit]`.
    pub in_ram: Vec<f64>,
    /// Handing the activations from system RAM to a device: `[to]`.
    pub from_ram: Vec<f64>,
    /// What every step costs once.
    pub step: f64,
}

/// Times of one decode step for every placement of a model on some devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// One GPU does all (with or without a part in RAM).
    pub alone: StageCosts,
    /// Several GPUs, layer by layer: kernels may be launched otherwise than with one.
    pub several: StageCosts,
}
