//! A model made ready for graphs: its weights by layer and name, checked once so that building a graph cannot fail.

use crate::engine::llama_cpp::compute::Unplanned;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::weights::{Name, Part, Table, take_apart};
use crate::model::{ModelFacts, TensorFacts};

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) element: Element,
    pub(super) ne: [u64; 4],
    /// The layer it belongs to.
    pub(super) layer: Option<usize>,
    pub(super) name: Name,
    /// Its name in the file, for overrides.
    pub(super) text: String,
}

/// Heads of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerShape {
    pub(super) heads: u64,
    pub(super) heads_kv: u64,
    pub(super) key_length: u64,
    pub(super) value_length: u64,
}

/// A model ready to be planned many times: build it once per file, then ask [`ComputeModel::buffers`].
#[derive(Clone, Debug)]
pub struct ComputeModel {
    pub(super) embedding: u64,
    pub(super) layers: Vec<LayerShape>,
    pub(super) experts_used: u64,
    /// Queries are scaled by position (mistral3 with `attention.temperature_scale`).
    pub(super) attention_temperature: bool,
    pub(super) weights: Vec<Weight>,
    /// How each layer compares with the one before.
    pub(super) likeness: Vec<Likeness>,
    globals: Table,
    tables: Vec<Table>,
}

/// How a layer compares with the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Other heads or other weights.
    Different,
    /// Weights of the same shapes, but of other types.
    Shapes,
    /// Weights of the same shapes and types.
    Types,
}

/// Architectures whose graph is described.
const ARCHITECTURES: [&str; 4] = ["llama", "mistral3", "qwen2", "qwen3"];

impl ComputeModel {
    /// Reads what graphs need off a model.
    ///
    /// # Errors
    /// Architectures without a described graph, and files whose tensors are not those of the architecture.
    pub fn new(model: &ModelFacts) -> Result<Self, Unplanned> {
        if !ARCHITECTURES.contains(&model.arch.as_str()) {
            return Err(Unplanned::Architecture { arch: model.arch.clone(), known: ARCHITECTURES.join(", ") });
        }
        let temperature = model.hp("attention.temperature_scale").and_then(|value| value.as_f64()).unwrap_or(0.0);
        let layers: Vec<LayerShape> = model
            .layers
            .iter()
            .map(|l| LayerShape {
                heads: l.heads,
                heads_kv: l.heads_kv,
                key_length: l.key_length,
                value_length: l.value_length,
            })
            .collect();
        let mut ready = Self {
            embedding: model.embedding,
            experts_used: model.experts_used,
            attention_temperature: model.arch == "mistral3" && temperature != 0.0,
            weights: Vec::with_capacity(model.tensors.len()),
            likeness: Vec::new(),
            globals: Table::new(),
            tables: vec![Table::new(); layers.len()],
            layers,
        };
        if model.nextn_layers > 0 || ready.layers.is_empty() {
            let what = format!("{} layers, {} of them for prediction", ready.layers.len(), model.nextn_layers);
            return Err(Unplanned::Unusual { what });
        }
        for tensor in &model.tensors {
            ready.take(tensor)?;
        }
        ready.check()?;
        ready.likeness = (0..ready.layers.len()).map(|layer| ready.likeness(layer)).collect();
        Ok(ready)
    }

    /// The weight's place in [`Self::weights`].
    pub(super) fn find(&self, layer: Option<usize>, name: Name, part: Part) -> Option<usize> {
        layer.map_or(&self.globals, |layer| &self.tables[layer]).find(name, part)
    }

    /// The weights of one layer.
    pub(super) fn table(&self, layer: usize) -> &Table {
        &self.tables[layer]
    }

    fn likeness(&self, layer: usize) -> Likeness {
        if layer == 0 || self.layers[layer] != self.layers[layer - 1] {
            return Likeness::Different;
        }
        let mut likeness = Likeness::Types;
        for pair in self.tables[layer - 1].pairs(&self.tables[layer]) {
            match pair {
                (None, None) => {}
                (Some(a), Some(b)) if self.weights[a].ne == self.weights[b].ne => {
                    if self.weights[a].element != self.weights[b].element {
                        likeness = Likeness::Shapes;
                    }
                }
                _ => return Likeness::Different,
            }
        }
        likeness
    }

    fn take(&mut self, tensor: &TensorFacts) -> Result<(), Unplanned> {
        let unknown = || Unplanned::Tensor { name: tensor.name.clone() };
        let (layer, name, part) = take_apart(&tensor.name).ok_or_else(unknown)?;
        let element = Element::of_weight(tensor.ty).ok_or_else(unknown)?;
        let index = u32::try_from(self.weights.len()).map_err(|_| unknown())?;
        let table = match layer {
            Some(layer) => self.tables.get_mut(layer).ok_or_else(unknown)?,
            None => &mut self.globals,
        };
        if !table.insert(name, part, index) {
            return Err(unknown());
        }
        self.weights.push(Weight { element, ne: tensor.dims, layer, name, text: tensor.name.clone() });
        Ok(())
    }

    /// Whether every weight that the graph asks for is there, in the shape that heads and widths demand.
    fn check(&self) -> Result<(), Unplanned> {
        self.demand(None, Name::TokenEmbd, self.embedding, None)?;
        self.demand(None, Name::OutputNorm, self.embedding, None)?;
        for (index, shape) in self.layers.iter().enumerate() {
            let (layer, width) = (Some(index), Some(self.embedding));
            let size = |heads: u64, length: u64| heads.checked_mul(length).filter(|n| *n > 0);
            let unusual = || Unplanned::Unusual { what: format!("layer {index} without attention heads") };
            let q = size(shape.heads, shape.key_length).ok_or_else(unusual)?;
            let k = size(shape.heads_kv, shape.key_length).ok_or_else(unusual)?;
            let v = size(shape.heads_kv, shape.value_length).ok_or_else(unusual)?;
            let o = size(shape.heads, shape.value_length).ok_or_else(unusual)?;
            self.demand(layer, Name::AttnNorm, self.embedding, None)?;
            self.demand(layer, Name::AttnQ, self.embedding, Some(q))?;
            self.demand(layer, Name::AttnK, self.embedding, Some(k))?;
            self.demand(layer, Name::AttnV, self.embedding, Some(v))?;
            self.demand(layer, Name::AttnOutput, o, width)?;
            self.demand(layer, Name::FfnNorm, self.embedding, None)?;
            if self.find(layer, Name::FfnGateInp, Part::Weight).is_none() {
                let inner = self.demand(layer, Name::FfnUp, self.embedding, None)?;
                self.demand(layer, Name::FfnGate, self.embedding, Some(inner))?;
                self.demand(layer, Name::FfnDown, inner, width)?;
            } else {
                let experts = self.demand(layer, Name::FfnGateInp, self.embedding, None)?;
                let inner = self.demand(layer, Name::FfnUpExps, self.embedding, None)?;
                self.demand(layer, Name::FfnGateExps, self.embedding, Some(inner))?;
                self.demand(layer, Name::FfnDownExps, inner, width)?;
                if !(1..=experts).contains(&self.experts_used) {
                    let what = format!("{} of {experts} experts used per token", self.experts_used);
                    return Err(Unplanned::Unusual { what });
                }
            }
        }
        Ok(())
    }

    /// The tensor must exist with this row length and, where given, this number of rows. Gives the number of rows.
    fn demand(&self, layer: Option<usize>, name: Name, row: u64, rows: Option<u64>) -> Result<u64, Unplanned> {
        let full = || layer.map_or_else(|| name.text().to_owned(), |layer| format!("blk.{layer}.{}", name.text()));
        let Some(index) = self.find(layer, name, Part::Weight) else {
            return Err(Unplanned::Missing { name: full() });
        };
        let [found_row, found_rows, ..] = self.weights[index].ne;
        if found_row != row || rows.is_some_and(|rows| rows != found_rows) {
            return Err(Unplanned::Shape { name: full(), found: [found_row, found_rows], row, rows });
        }
        Ok(found_rows)
    }
}
