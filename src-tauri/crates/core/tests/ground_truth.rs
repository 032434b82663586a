//! Our rules against what llama.cpp itself allocated, byte for byte.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use support::truth::{Outcome, PARTS, compare, regimes};
use support::{Row, model, rows};

/// Rows by model, so that each model is read once and models can be shared out over threads.
fn by_model() -> BTreeMap<String, Vec<Row>> {
    let mut models: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows() {
        models.entry(row.model.clone()).or_default().push(row);
    }
    models
}

#[derive(Default, Clone, Copy)]
struct Tally { rows: usize, refused: usize, exact: [usize; PARTS.len()] }

#[derive(Default)]
struct Report { tallies: BTreeMap<String, Tally>, wrong: Vec<String> }

fn check_all() -> Report {
    let only = std::env::var("ONLY").ok();
    let work = Mutex::new(by_model().into_iter());
    let report = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = work.lock().expect("no panics").next();
                    let Some((name, rows)) = next else { return };
                    if only.as_ref().is_some_and(|only| !name.contains(only)) { continue; }
                    let facts = model(&name);
                    for row in rows {
                        let outcome = compare(&row, &facts);
                        let mut report = report.lock().expect("no panics");
                        let title = format!("{} {}", row.model, row.record["flags"]);
                        for regime in regimes(&row, &facts.arch) {
                            let tally = report.tallies.entry(regime).or_default();
                            match &outcome {
                                Outcome::Allocated(parts) => {
                                    tally.rows += 1;
                                    for (exact, part) in tally.exact.iter_mut().zip(parts) {
                                        *exact += usize::from(part.is_empty());
                                    }
                                }
                                Outcome::RefusedAlike => tally.refused += 1,
                                Outcome::Disagree(_) => {}
                            }
                        }
                        match outcome {
                            Outcome::Allocated(parts) => {
                                for (name, part) in PARTS.iter().zip(parts) {
                                    if !part.is_empty() { report.wrong.push(format!("{name} {title}: {part}")); }
                                }
                            }
                            Outcome::RefusedAlike => {}
                            Outcome::Disagree(why) => report.wrong.push(format!("refusal {title}: {why}")),
                        }
                    }
                }
            });
        }
    });
    report.into_inner().expect("no panics")
}

#[test]
fn dev() {
    let report = check_all();
    for (regime, tally) in &report.tallies {
        eprintln!("{regime:24} {:5} refused {:3}  {:?}", tally.rows, tally.refused, tally.exact);
    }
    let part = std::env::var("PART").unwrap_or_default();
    for wrong in report.wrong.iter().filter(|w| w.starts_with(&part)).take(std::env::var("N").map_or(20, |n| n.parse().expect("n"))) { eprintln!("{wrong}"); }
}
