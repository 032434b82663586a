//! The speed model against published measurements: fitted anew with each kind of card left out, and held to what it reaches.
//!
//! Rows, their origin, and what of them is assumed: `tests/fixtures/speed/README.md`.

mod fit;
mod models;
mod pairs;
mod report;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use dualgpuopt_core::speed::llama_cpp::{Belief, Coefficients, beliefs};

use crate::report::{Report, Row as ReportRow};

/// Between these lines of ARCHITECTURE.md stands the table.
const TABLE: [&str; 2] = ["<!-- speed-report: begin -->\n", "<!-- speed-report: end -->\n"];

/// Steps of the fit that starts from the table's values.
const STEPS: usize = 12;

static REPORT: LazyLock<Report> = LazyLock::new(Report::make);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/speed")
}

/// Reads a table of the fixtures: one map per line, by the names in the first.
fn table(name: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let text = fs::read_to_string(folder().join(name)).expect("the fixture is there");
    csv(&text)
}

fn csv(text: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut lines = text.lines().map(cells);
    let names = lines.next().expect("a table begins with its names");
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

/// Cells of one line; a cell in quotes may hold commas.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is one from the start").push(c),
        }
    }
    cells
}

#[test]
#[expect(clippy::disallowed_methods, reason = "with UPDATE set, this writes the fitted values")]
fn the_coefficients_are_those_that_the_rows_give() {
    let rows = rows::usable();
    let start: Vec<Belief> = beliefs().collect();
    let fitted = fit::fit(&rows.iter().collect::<Vec<_>>(), &start, STEPS);
    if std::env::var_os("UPDATE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/speed/llama_cpp/coefficients.tsv");
        let old = fs::read_to_string(&path).expect("the table is there");
        let head = old.lines().next().expect("the table has a head");
        let line = |(belief, value): (&Belief, &f64)| {
            let value = if belief.spread > 0.0 { format!("{value:.4}") } else { belief.prior.to_string() };
            format!("{}\t{value}\t{}\t{}\n", belief.name, belief.prior, belief.spread)
        };
        let lines: String = start.iter().zip(&fitted.values()).map(line).collect();
        fs::write(&path, format!("{head}\n{lines}")).expect("the repository can be written");
        return;
    }
    // Weakly held coefficients may still creep; what counts is what they predict.
    for row in &rows {
        let [now, then] = [&fitted, Coefficients::current()].map(|k| row.predicted(k));
        assert!((now / then).ln().abs() < 0.02, "{}: {then} in the table, {now} fitted anew", row.id);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "with UPDATE set, this writes the table")]
fn the_table_in_the_architecture_document_is_that_of_this_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ARCHITECTURE.md");
    let document = fs::read_to_string(&path).expect("the document is in the repository");
    let [begin, end] = TABLE;
    let (before, rest) = document.split_once(begin).expect("the document says where the table begins");
    let (kept, after) = rest.split_once(end).expect("the document says where the table ends");
    let fresh = REPORT.markdown();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, [before, begin, &fresh, end, after].concat()).expect("the repository can be written");
    } else {
        assert!(kept == fresh, "the table is stale; `make speed-report` writes it anew");
    }
}

#[test]
fn mean_errors_stay_within_what_is_reached_when_each_kind_of_card_is_left_out() {
    for (class, decode, prefill) in report::BOUNDS {
        let row: &ReportRow = &REPORT.rows[class];
        assert!(row.decode.mean <= decode, "{class}: decode errs by {:.3}, not {decode}", row.decode.mean);
        assert!(row.prefill.mean <= prefill, "{class}: prefill errs by {:.3}, not {prefill}", row.prefill.mean);
    }
}

#[test]
fn intervals_hold_nine_of_ten_rows_of_cards_left_out() {
    let (decode, prefill) = REPORT.coverage();
    assert!((0.85..=0.95).contains(&decode), "decode: {decode:.3}");
    assert!((0.85..=0.95).contains(&prefill), "prefill: {prefill:.3}");
}

#[test]
fn the_better_of_two_placements_is_found_with_its_reason() {
    let (right, wrong) = pairs::judged();
    assert!(right.len() >= pairs::RIGHT_MIN, "{} right; wrong: {wrong:#?}", right.len());
    assert!(right.iter().all(|verdict| verdict.contains("per token")));
}

#[test]
fn the_models_of_the_rows_are_those_of_their_headers() {
    models::agree_with_heads();
}
