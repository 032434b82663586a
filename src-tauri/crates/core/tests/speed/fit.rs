//! Least squares of logarithms with beliefs: Gauss–Newton steps, rows far off weighing less (Huber).

use dualgpuopt_core::speed::llama_cpp::{Belief, Coefficients};

use crate::rows::{Phase, Row};

/// Standard deviation of a row's logarithm from one machine to the next.
const NOISE: f64 = 0.07;

/// Rows further off than this many deviations weigh less.
const HUBER: f64 = 2.0;

/// Step of the numeric derivative, in logarithms.
const DELTA: f64 = 1e-4;

/// Values that make the rows and the beliefs most likely, starting from the beliefs' values.
pub(crate) fn fit(rows: &[&Row], beliefs: &[Belief], steps: usize) -> Coefficients {
    let mut logs: Vec<f64> = beliefs.iter().map(|belief| belief.value.ln()).collect();
    let prefill_from = Coefficients::NAMES.iter().position(|name| *name == "rate").expect("there is a rate");
    for (phase, range) in [(Phase::Decode, 0..prefill_from), (Phase::Prefill, prefill_from..beliefs.len())] {
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.phase == phase).collect();
        let free: Vec<usize> = range.filter(|&at| beliefs[at].spread > 0.0).collect();
        let mut damping = 1e-3;
        let mut cost = cost_of(&rows, beliefs, &logs, &free);
        for _ in 0..steps {
            let Some(step) = step(&rows, beliefs, &logs, &free, damping) else { break };
            let mut next = logs.clone();
            for (&at, by) in free.iter().zip(&step) {
                next[at] += by;
            }
            let after = cost_of(&rows, beliefs, &next, &free);
            if after < cost {
                let gained = cost - after;
                (logs, cost, damping) = (next, after, damping / 4.0);
                if gained < 1e-3 {
                    break;
                }
            } else {
                damping *= 8.0;
            }
        }
    }
    coefficients(&logs)
}

fn coefficients(logs: &[f64]) -> Coefficients {
    let values: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
    Coefficients::of(&values).expect("one value per name")
}

/// How far off each row is, in deviations.
fn residuals(rows: &[&Row], logs: &[f64]) -> Vec<f64> {
    let k = coefficients(logs);
    rows.iter().map(|row| (row.measured / row.predicted(&k)).ln() * row.weight / NOISE).collect()
}

fn cost_of(rows: &[&Row], beliefs: &[Belief], logs: &[f64], free: &[usize]) -> f64 {
    let rows = residuals(rows, logs)
        .into_iter()
        .map(|off| if off.abs() < HUBER { off * off } else { 2.0 * HUBER * off.abs() - HUBER * HUBER });
    let beliefs = free.iter().map(|&at| ((logs[at] - beliefs[at].prior.ln()) / beliefs[at].spread).powi(2));
    rows.sum::<f64>() + beliefs.sum::<f64>()
}

fn step(rows: &[&Row], beliefs: &[Belief], logs: &[f64], free: &[usize], damping: f64) -> Option<Vec<f64>> {
    let now = residuals(rows, logs);
    let weights: Vec<f64> = now.iter().map(|off| (HUBER / off.abs().max(1e-9)).min(1.0)).collect();
    let columns: Vec<Vec<f64>> = free
        .iter()
        .map(|&at| {
            let mut moved = logs.to_vec();
            moved[at] += DELTA;
            residuals(rows, &moved).iter().zip(&now).map(|(after, before)| (before - after) / DELTA).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).zip(&weights).map(|((a, b), w)| a * b * w).sum() };
    let size = free.len();
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for i in 0..size {
        let belief = &beliefs[free[i]];
        let precision = belief.spread.powi(-2);
        for j in 0..size {
            matrix[i][j] = dot(&columns[i], &columns[j]);
        }
        matrix[i][i] = (matrix[i][i] + precision) * (1.0 + damping);
        matrix[i][size] = dot(&columns[i], &now) - (logs[free[i]] - belief.prior.ln()) * precision;
    }
    solve(matrix)
}

/// Gauss elimination with pivots; the last column is the right-hand side.
fn solve(mut matrix: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let size = matrix.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-12 {
            return None;
        }
        let (upper, lower) = matrix.split_at_mut(column + 1);
        let of = &upper[column];
        for row in lower {
            let factor = row[column] / of[column];
            for (value, above) in row.iter_mut().zip(of).skip(column) {
                *value -= factor * above;
            }
        }
    }
    let mut found = vec![0.0; size];
    for at in (0..size).rev() {
        let known: f64 = (at + 1..size).map(|other| matrix[at][other] * found[other]).sum();
        found[at] = (matrix[at][size] - known) / matrix[at][at];
    }
    Some(found)
}
