//! The weights that graphs ask for, by name and part.

/// Tensor names without layer and part: `attn_q` of `blk.3.attn_q.weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    TokenEmbd,
    Output,
    OutputNorm,
    RopeFreqs,
    AttnNorm,
    AttnQ,
    AttnK,
    AttnV,
    AttnQNorm,
    AttnKNorm,
    AttnOutput,
    FfnNorm,
    FfnGate,
    FfnUp,
    FfnDown,
    FfnGateInp,
    FfnGateExps,
    FfnUpExps,
    FfnDownExps,
}

/// Every name with its spelling, in the order of the enum.
const NAMES: [(Name, &str); 19] = [
    (Name::TokenEmbd, "token_embd"),
    (Name::Output, "output"),
    (Name::OutputNorm, "output_norm"),
    (Name::RopeFreqs, "rope_freqs"),
    (Name::AttnNorm, "attn_norm"),
    (Name::AttnQ, "attn_q"),
    (Name::AttnK, "attn_k"),
    (Name::AttnV, "attn_v"),
    (Name::AttnQNorm, "attn_q_norm"),
    (Name::AttnKNorm, "attn_k_norm"),
    (Name::AttnOutput, "attn_output"),
    (Name::FfnNorm, "ffn_norm"),
    (Name::FfnGate, "ffn_gate"),
    (Name::FfnUp, "ffn_up"),
    (Name::FfnDown, "ffn_down"),
    (Name::FfnGateInp, "ffn_gate_inp"),
    (Name::FfnGateExps, "ffn_gate_exps"),
    (Name::FfnUpExps, "ffn_up_exps"),
    (Name::FfnDownExps, "ffn_down_exps"),
];

impl Name {
    /// As written in files.
    pub(super) fn text(self) -> &'static str {
        NAMES[self as usize].1 // the enum's discriminants are its order
    }
}

/// What a tensor is to its op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Weight,
    Bias,
}

/// Number of slots of a [`Table`].
const SLOTS: usize = NAMES.len() * 2;

/// No tensor.
const ABSENT: u32 = u32::MAX;

/// Where the tensors of one layer (or of the model, outside of layers) are found in the list of weights.
#[derive(Clone, Debug)]
pub(super) struct Table([u32; SLOTS]);

impl Table {
    pub(super) fn new() -> Self {
        Self([ABSENT; SLOTS])
    }

    fn slot(name: Name, part: Part) -> usize {
        name as usize * 2 + part as usize // both enums count from 0
    }

    pub(super) fn find(&self, name: Name, part: Part) -> Option<usize> {
        let index = self.0[Self::slot(name, part)];
        (index != ABSENT).then_some(index as usize) // u32 to usize: never narrower here
    }

    /// Notes a tensor. False where the place is taken.
    pub(super) fn insert(&mut self, name: Name, part: Part, index: u32) -> bool {
        let slot = &mut self.0[Self::slot(name, part)];
        let free = *slot == ABSENT;
        *slot = index;
        free
    }

    /// Pairs of weights of two tables that fill the same slot; `None` in one place where only one has a tensor.
    pub(super) fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (Option<usize>, Option<usize>)> + 'a {
        let index = |value: u32| (value != ABSENT).then_some(value as usize); // as in `find`
        self.0.iter().zip(&other.0).map(move |(a, b)| (index(*a), index(*b)))
    }
}

/// A tensor's name taken apart: layer, name, part. `None` where a graph has no use for it.
pub(super) fn take_apart(tensor: &str) -> Option<(Option<usize>, Name, Part)> {
    let (layer, rest) = match tensor.strip_prefix("blk.") {
        Some(rest) => {
            let (number, rest) = rest.split_once('.')?;
            (Some(number.parse().ok()?), rest)
        }
        None => (None, tensor),
    };
    let (name, part) = rest.rsplit_once('.')?;
    let part = match part {
        "weight" => Part::Weight,
        "bias" => Part::Bias,
        _ => return None,
    };
    let (name, _) = NAMES.iter().find(|(_, text)| *text == name)?;
    Some((layer, *name, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_own_spelling() {
        for (name, text) in NAMES {
            assert_eq!(name.text(), text);
            assert_eq!(take_apart(&format!("blk.17.{text}.bias")), Some((Some(17), name, Part::Bias)));
        }
    }

    #[test]
    fn strange_names_are_nothing() {
        for name in ["", "blk", "blk.", "blk.x.attn_q.weight", "blk.1.attn_q", "blk.1.attn_q.scale", "attn_rot.weight"]
        {
            assert_eq!(take_apart(name), None, "{name}");
        }
    }
}
