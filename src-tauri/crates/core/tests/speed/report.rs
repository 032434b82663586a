//! Errors by class, each kind of card left out of the fit that predicts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dualgpuopt_core::speed::Calibration;
use dualgpuopt_core::speed::llama_cpp::{Belief, Coefficients, beliefs};

use crate::fit::fit;
use crate::rows::{Phase, Row as Measured, usable};

pub(crate) const DENSE: &str = "dense, 4 bits and more, GeForce";
pub(crate) const ROUTED: &str = "routed experts, GeForce";
pub(crate) const LOW: &str = "fewer than 4 bits, GeForce";
pub(crate) const PROFESSIONAL: &str = "professional and datacentre";
pub(crate) const SEVERAL: &str = "several GPUs by layers";
pub(crate) const TENSOR: &str = "several GPUs by tensors";

/// Mean errors that are reached with each kind of card left out: decode, prefill.
pub(crate) const BOUNDS: [(&str, f64, f64); 6] = [
    (DENSE, 0.08, 0.15),
    (ROUTED, 0.15, 0.33),
    (LOW, 0.15, 0.15),
    (PROFESSIONAL, 0.15, 0.18),
    (SEVERAL, 0.15, 0.23),
    (TENSOR, 0.16, 0.37),
];

/// Steps of each fit without one kind of card.
const STEPS: usize = 3;

/// Errors of one phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    pub(crate) rows: usize,
    /// Mean and largest relative error, the kind of card left out.
    pub(crate) mean: f64,
    pub(crate) most: f64,
    /// Mean after one measured row of the same machine.
    pub(crate) measured: f64,
    inside: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) decode: Errors,
    pub(crate) prefill: Errors,
}

pub(crate) struct Report {
    pub(crate) rows: BTreeMap<&'static str, Row>,
}

/// A row with what was said without its card.
struct Said<'a> {
    row: &'a Measured,
    predicted: f64,
    inside: bool,
}

impl Report {
    pub(crate) fn make() -> Self {
        let all = usable();
        let start: Vec<Belief> = beliefs().collect();
        let names: BTreeSet<&str> = all.iter().map(|row| row.cards[0].name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let without = |name: &str| -> (Coefficients, String) {
            let kept: Vec<&Measured> =
                all.iter().filter(|row| row.cards.iter().all(|card| card.name != name)).collect();
            (fit(&kept, &start, STEPS), name.to_owned())
        };
        let halves = names.split_at(names.len() / 2);
        let fits: BTreeMap<String, Coefficients> = std::thread::scope(|scope| {
            let other = scope.spawn(|| halves.1.iter().map(|name| without(name)).collect::<Vec<_>>());
            let mut fits: Vec<_> = halves.0.iter().map(|name| without(name)).collect();
            fits.extend(other.join().expect("a fit ends"));
            fits.into_iter().map(|(k, name)| (name, k)).collect()
        });
        let said: Vec<Said<'_>> = all
            .iter()
            .map(|row| {
                let rates = row.rates(&fits[&row.cards[0].name]);
                let found = row.of(&rates);
                let inside = (found.low..=found.high).contains(&row.measured);
                Said { row, predicted: found.value, inside }
            })
            .collect();
        let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
        for (class, ..) in BOUNDS {
            let errors = |phase: Phase| errors(said.iter().filter(|it| it.row.class == class && it.row.phase == phase));
            rows.insert(class, Row { decode: errors(Phase::Decode), prefill: errors(Phase::Prefill) });
        }
        Self { rows }
    }

    /// Shares of decode and prefill rows within their intervals.
    pub(crate) fn coverage(&self) -> (f64, f64) {
        let share = |of: &dyn Fn(&Row) -> &Errors| {
            let (inside, all) = self.rows.values().map(of).fold((0, 0), |sum, it| (sum.0 + it.inside, sum.1 + it.rows));
            inside as f64 / all as f64
        };
        (share(&|row| &row.decode), share(&|row| &row.prefill))
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| rows | decode: rows | mean error | largest | after one measured | prefill: rows | mean error | largest | after one measured |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for (class, ..) in BOUNDS {
            let row = &self.rows[class];
            let cells = |it: &Errors| {
                let percent = |value: f64| format!("{:.1} %", 100.0 * value);
                format!("{} | {} | {} | {}", it.rows, percent(it.mean), percent(it.most), percent(it.measured))
            };
            writeln!(text, "| {class} | {} | {} |", cells(&row.decode), cells(&row.prefill))
                .expect("a string takes it");
        }
        let (decode, prefill) = self.coverage();
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        writeln!(
            text,
            "\nWithin their intervals: {} of decode rows, {} of prefill rows.",
            percent(decode),
            percent(prefill)
        )
        .expect("a string takes it");
        text
    }
}

fn errors<'a>(said: impl Iterator<Item = &'a Said<'a>>) -> Errors {
    let said: Vec<_> = said.collect();
    let off = |predicted: f64, row: &Measured| (predicted / row.measured - 1.0).abs();
    let all: Vec<f64> = said.iter().map(|it| off(it.predicted, it.row)).collect();
    let mut after = Vec::new();
    for known in &said {
        let factor = Calibration::of(&[[(known.row.measured, known.predicted); 2]]).decode;
        let of = |row: &Measured| (row.machine.clone(), row.source.clone());
        let same = said.iter().filter(|it| of(it.row) == of(known.row) && !std::ptr::eq(it.row, known.row));
        after.extend(same.map(|it| off(it.predicted * factor, it.row)));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Errors {
        rows: all.len(),
        mean: mean(&all),
        most: all.iter().copied().fold(0.0, f64::max),
        measured: mean(&after),
        inside: said.iter().filter(|it| it.inside).count(),
    }
}
