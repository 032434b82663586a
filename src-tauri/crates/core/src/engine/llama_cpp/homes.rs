//! Where the weights of each unit lie once overrides have had their say: at the unit's own place, or in system RAM.

use crate::engine::llama_cpp::arch::Arch;
use crate::engine::llama_cpp::flags::{Flags, Place};
use crate::engine::llama_cpp::host_only::without_gpu_flags;
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settled::Settled;
use crate::engine::llama_cpp::weights::{Part, Places, part_of};
use crate::model::TensorFacts;

/// Where a unit (a layer, or the output) lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitHome {
    /// The unit's own place: that of its cache, and of its weights but for overrides.
    pub place: Place,
    /// Bytes of its routed experts.
    pub experts: Spread,
    /// Bytes of its other weights.
    pub rest: Spread,
}

/// Bytes by where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// All of them.
    pub all: u64,
    /// In system RAM.
    pub in_ram: u64,
    /// On another GPU than the unit's own.
    pub elsewhere: u64,
}

impl Spread {
    /// Whether more than half lies in system RAM.
    #[must_use]
    pub const fn mostly_in_ram(&self) -> bool {
        self.in_ram > self.all / 2
    }

    /// Whether some is elsewhere than most of it.
    #[must_use]
    pub const fn is_mixed(&self) -> bool {
        self.elsewhere > 0 || (self.in_ram > 0 && self.in_ram < self.all)
    }

    const fn add(&mut self, bytes: u64, at: Place, own: Place) {
        self.all = self.all.saturating_add(bytes);
        match (at, own) {
            (Place::Host, _) => self.in_ram = self.in_ram.saturating_add(bytes),
            (Place::Gpu(at), Place::Gpu(own)) if at == own => {}
            (Place::Gpu(_), _) => self.elsewhere = self.elsewhere.saturating_add(bytes),
        }
    }
}

/// The home of each unit under flags that the engine settled so: the layers in order, then the output.
///
/// # Errors
/// Overrides that name no GPU or are no regular expression, and tensors that belong to no part.
pub fn homes(prepared: &Prepared<'_>, flags: &Flags, settled: &Settled) -> Result<Vec<UnitHome>, Refused> {
    let (model, arch) = (prepared.model(), &prepared.arch);
    let host_only = flags.devices.is_empty().then(|| without_gpu_flags(flags));
    let flags = host_only.as_ref().unwrap_or(flags);
    let places = Places::new(model, arch, flags, settled)?;
    let empty = |place: &Place| UnitHome { place: *place, experts: Spread::default(), rest: Spread::default() };
    let mut found: Vec<UnitHome> = settled.units.iter().map(empty).collect();
    for tensor in &model.tensors {
        let (Some(unit), Some(place)) = (unit_of(arch, tensor)?, places.first(tensor)?) else { continue };
        let Some(home) = found.get_mut(unit) else { continue };
        let own = home.place;
        let spread = if tensor.name.contains("exps.") { &mut home.experts } else { &mut home.rest };
        spread.add(tensor.bytes, place, own);
    }
    Ok(found)
}

/// The unit whose own a tensor is; none for what is looked up.
fn unit_of(arch: &Arch, tensor: &TensorFacts) -> Result<Option<usize>, Refused> {
    Ok(match part_of(arch, &tensor.name)? {
        Part::Layer(layer) => Some(layer).filter(|layer| *layer < arch.layers.len()),
        Part::Output => Some(arch.layer_count),
        Part::Input | Part::RopeFactors => None,
    })
}
