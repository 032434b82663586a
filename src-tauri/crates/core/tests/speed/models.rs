//! Models of published rows, from a table of their shapes: what a token costs them, without a file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dualgpuopt_core::engine::llama_cpp::prepared::Prepared;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::speed::Work;
use dualgpuopt_core::speed::work::{AttentionWork, ByKind, UnitWork, WeightKind, Weights};
use dualgpuopt_model::read_header;

/// Bits per weight of files whose size a row does not say, by the name of their quantisation: sizes of published files of such
/// models over their parameters.
const BITS: [(&str, f64); 17] = [
    ("Q4_K_M", 4.87),
    ("Q4_K_L", 5.0),
    ("Q4_K_XL", 5.22),
    ("UD-Q4_K_XL", 5.22),
    ("UD-Q4_K_M", 5.1),
    ("Q4_0", 4.6),
    ("Q4", 4.8),
    ("Q5_K_M", 5.72),
    ("UD-Q5_K_XL", 6.2),
    ("Q6_K", 6.57),
    ("Q8_0", 8.5),
    ("UD-Q8_K_XL", 9.5),
    ("BF16", 16.0),
    ("Q3_K_S", 3.5),
    ("IQ2_XXS", 2.3),
    ("UD-IQ2_XXS", 2.7),
    ("Q2_K", 3.0),
];

/// Bytes of one value in MXFP4, and in Q8_0 (`ggml-common.h`).
const MXFP4: f64 = 17.0 / 32.0;
const Q8_0: f64 = 34.0 / 32.0;

/// Files of routed models keep what is not routed finer by about this.
const FINER: f64 = 1.15;

/// Bits of the embedding or output in files of fewer bits (Q6_K).
const OUTPUT_BITS: f64 = 6.5625;

static MODELS: LazyLock<Vec<BTreeMap<String, String>>> = LazyLock::new(|| crate::table("models.csv"));

/// A shape.
#[derive(Clone, Copy)]
pub(crate) struct Shape(&'static BTreeMap<String, String>);

impl Shape {
    /// The shape that a row's model has.
    pub(crate) fn of(model: &str) -> Option<Self> {
        MODELS.iter().find(|row| row["names"].split('|').any(|name| model.starts_with(name))).map(Self)
    }

    fn number(self, name: &str) -> f64 {
        self.0[name].parse().unwrap_or_else(|_| panic!("{} is a number", name))
    }

    fn text(self, name: &str) -> &'static str {
        &self.0[name]
    }

    /// Bytes of a file of this quantisation; `None` where that is not known.
    pub(crate) fn file_bytes(self, quant: &str) -> Option<f64> {
        if quant.contains("MXFP4") {
            let rest = self.number("parameters") - self.routed();
            return Some(self.routed() * MXFP4 + rest * Q8_0);
        }
        let (_, bits) = BITS.iter().find(|(name, _)| *name == quant)?;
        let table = self.number("vocab") * self.number("embedding");
        Some(((self.number("parameters") - table) * bits + table * bits.max(OUTPUT_BITS)) / 8.0)
    }

    /// Values of all routed experts.
    fn routed(self) -> f64 {
        let length = 3.0 * self.number("embedding") * self.number("expert_length");
        self.number("expert_layers") * self.number("experts") * length
    }

    /// What a token costs, where the file has this size and quantisation.
    pub(crate) fn work(self, quant: &str, file_bytes: f64) -> Work {
        let (kind, dense_kind) = kinds(quant);
        let (all, routed) = (self.number("parameters"), self.routed());
        let rest = all - routed;
        let each = file_bytes / all;
        let dense_each = match kind {
            WeightKind::Fp4 => ((file_bytes - routed * MXFP4) / rest).max(1.0),
            WeightKind::Float => each,
            _ if routed > 0.0 => each * FINER,
            _ => each,
        };
        let experts_bytes = (file_bytes - rest * dense_each).max(0.0);
        let table = self.number("vocab") * self.number("embedding");
        let layers = self.number("layers");
        let tied = self.number("tied") > 0.0;
        // The output is as large as the embedding, which is only looked up.
        let in_layers = rest - if tied { table } else { 2.0 * table };
        let of = |kind: WeightKind, values: f64, bytes: f64| {
            let mut by_kind = ByKind::default();
            by_kind[kind as usize] = Weights { bytes, values };
            by_kind
        };
        let expert_layers = self.number("expert_layers").max(1.0);
        let mut units: Vec<UnitWork> = self.layers();
        let first_routed = units.len() - count(expert_layers);
        for (at, unit) in units.iter_mut().enumerate() {
            unit.dense = of(dense_kind, in_layers / layers, in_layers / layers * dense_each);
            if routed > 0.0 && at >= first_routed {
                unit.experts = of(kind, routed / expert_layers, experts_bytes / expert_layers);
            }
        }
        units.push(UnitWork { dense: of(dense_kind, table, table * dense_each), tensors: 2.0, ..UnitWork::default() });
        let experts = self.number("experts");
        let experts_used = if experts > 0.0 { self.number("experts_used") / experts } else { 1.0 };
        Work { units, embedding: self.number("embedding"), experts_used }
    }

    /// Layers without weights: attention, state, and how many tensors.
    fn layers(self) -> Vec<UnitWork> {
        let [full, windowed, recurrent] = ["full", "windowed", "recurrent"].map(|name| count(self.number(name)));
        let attention = |window: Option<f64>| {
            let name = |name: &str| if window.is_some() { format!("windowed_{name}") } else { name.to_owned() };
            let (kv, length) = (self.number(&name("heads_kv")), self.number(&name("head_length")));
            let latent = self.number("latent") > 0.0;
            let row = kv * length;
            let v_row = if latent { 0.0 } else { row };
            let value_length = if latent { length - 64.0 } else { length };
            AttentionWork { heads: self.number("heads"), key_length: length, value_length, k_row: row, v_row, window }
        };
        let unit = |attention, recurrent: bool| UnitWork {
            attention,
            recurrent,
            tensors: self.number(if recurrent { "recurrent_tensors" } else { "tensors" }),
            ..UnitWork::default()
        };
        let window = self.number("window");
        let groups = [
            vec![unit(Some(attention(None)), false); full],
            vec![unit(Some(attention(Some(window))), false); windowed],
            vec![unit(None, true); recurrent],
        ];
        spread(groups)
    }
}

/// Layers of several sorts, mixed evenly.
fn spread(groups: [Vec<UnitWork>; 3]) -> Vec<UnitWork> {
    let mut placed: Vec<(f64, UnitWork)> = Vec::new();
    for group in groups {
        let count = group.len() as f64;
        placed.extend(group.into_iter().enumerate().map(|(at, unit)| ((at as f64 + 0.5) / count, unit)));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, unit)| unit).collect()
}

/// The kind of most weights, and of those that are not routed.
pub(crate) fn kinds(quant: &str) -> (WeightKind, WeightKind) {
    let bits = quant.split_once('Q').and_then(|(_, rest)| rest.chars().next()).and_then(|c| c.to_digit(10));
    match bits {
        _ if quant.contains("MXFP4") => (WeightKind::Fp4, WeightKind::Eight),
        _ if quant.contains("F16") => (WeightKind::Float, WeightKind::Float),
        Some(0..4) => (WeightKind::Low, WeightKind::Low),
        Some(8) => (WeightKind::Eight, WeightKind::Eight),
        _ => (WeightKind::Four, WeightKind::Four),
    }
}

/// Every shape with a recorded header costs what that header says.
pub(crate) fn agree_with_heads() {
    let heads = crate::folder().join("../ground-truth/heads");
    let mut compared = 0;
    for row in MODELS.iter().filter(|row| !row["head"].is_empty()) {
        let (shape, head) = (Shape(row), row["head"].as_str());
        let header = read_header(&crate::models::rehydrated(&heads, head)).expect("recorded heads are sound");
        let facts = ModelFacts::from_header(&header, head).expect("the head names its numbers").0;
        let prepared = Prepared::new(&facts).expect("the model is described");
        let real = Work::of(&prepared).expect("the caches are known");
        let made = shape.work("Q4_K_M", 1e9);
        let values = |work: &Work| -> [f64; 4] {
            let sum = |of: &dyn Fn(&UnitWork) -> f64| work.units.iter().map(of).sum::<f64>();
            let all = |by_kind: &ByKind| by_kind.iter().map(|weights| weights.values).sum::<f64>();
            [
                sum(&|unit| all(&unit.dense)),
                sum(&|unit| all(&unit.experts)) * work.experts_used,
                sum(&|unit| unit.attention.map_or(0.0, |it| it.k_row + it.v_row)),
                sum(&|unit| unit.tensors),
            ]
        };
        let named = ["values read", "experts' values read", "values cached per token", "tensors"];
        let within = [0.03, 0.03, 0.001, 0.1];
        for (at, (real, made)) in values(&real).into_iter().zip(values(&made)).enumerate() {
            let apart = if real == 0.0 { made.abs() } else { (made / real - 1.0).abs() };
            assert!(apart <= within[at], "{head}: {} {made} here, {real} in the header", named[at]);
        }
        assert_eq!(real.units(), made.units(), "{head}");
        assert_eq!(real.embedding.to_bits(), made.embedding.to_bits(), "{head}");
        compared += 1;
    }
    assert_eq!(compared, 19, "headers compared");
}

/// A head as a file of its full size (sparse).
#[expect(clippy::disallowed_methods, reason = "a copy in a folder of its own")]
fn rehydrated(heads: &std::path::Path, name: &str) -> std::path::PathBuf {
    let sizes = crate::csv(&std::fs::read_to_string(heads.join("../models.csv")).expect("the table is there"));
    let size =
        sizes.iter().find(|row| row["name"] == name).expect("models.csv has every head")["full_size_bytes"].clone();
    let folder = tempfile::tempdir().expect("a folder for copies").keep();
    let path = folder.join(format!("{name}.gguf"));
    std::fs::write(&path, std::fs::read(heads.join(format!("{name}.gguf"))).expect("the head is there")).expect("room");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the copy can be written");
    file.set_len(size.parse().expect("a size is a number")).expect("a sparse file takes no room");
    path
}

impl Shape {
    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        self.text("model")
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of layers are small and whole")]
fn count(layers: f64) -> usize {
    layers as usize
}
