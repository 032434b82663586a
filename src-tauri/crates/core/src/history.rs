//! The last frames, kept as columns in a ring of fixed size, and thinned for drawing without losing a spike.
//!
//! Owner of its state: whoever pushes frames; readers ask the owner. Deliberately absent: a clock, a lock, files, and
//! anything older than the ring holds. A value that is missing is missing here too: it is never drawn as a number.

use serde::{Deserialize, Serialize};

use crate::gpu::{Frame, GpuId, Metric};
use crate::time::Stamp;

/// Most rows kept: 10 minutes at 10 Hz, 100 minutes at 1 Hz. The oldest row gives way to the newest.
pub const FRAMES_MAX: usize = 6_000;
/// Most GPUs kept. Of more, those first in the frame are kept.
pub const GPUS_MAX: usize = 16;
/// Most points that a query answers with.
pub const POINTS_MAX: usize = 5_000;
/// Frames further apart than this many intervals are not joined: a row without values stands between them.
const GAP_INTERVALS: u64 = 3;

/// Readings as columns over one time axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Columns {
    /// When each point was taken; strictly increasing on the monotonic clock.
    pub at: Vec<Stamp>,
    /// One per GPU and metric, GPUs in the order of their first frame, metrics in the order asked.
    pub series: Vec<Series>,
    /// Sequence number of the newest frame that is in; 0 while there is none.
    pub last_seq: u64,
}

/// One metric of one GPU over the time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Series {
    /// Which GPU.
    pub gpu: GpuId,
    /// Which metric.
    pub metric: Metric,
    /// A value per point in the metric's unit; absent where there was none.
    pub values: Vec<Option<f64>>,
}

/// A ring of frames in fixed memory: 864 kB per GPU, at most [`GPUS_MAX`] GPUs.
#[derive(Clone, Debug)]
pub struct History {
    capacity: usize,
    interval_ms: u64,
    /// Slot `n % capacity` holds row `n`; rows are strictly increasing in time.
    rows: Vec<Row>,
    /// Rows ever written; the newest is `written - 1`.
    written: usize,
    cards: Vec<Card>,
    last_seq: u64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: Stamp,
    /// Stands for time in which no frame came.
    gap: bool,
}

#[derive(Clone, Debug)]
struct Card {
    gpu: GpuId,
    /// The newest row in which the GPU took part.
    seen: usize,
    /// `values[metric * capacity + slot]`; NaN is missing, so that a column stays one flat array.
    values: Vec<f64>,
}

/// Rows `from..to` that become one point (a single row) or two (the extremes).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    from: usize,
    to: usize,
}

impl History {
    /// An empty history of frames that come every `interval_ms`.
    #[must_use]
    pub fn new(interval_ms: u64) -> Self {
        Self::with_capacity(interval_ms, FRAMES_MAX)
    }

    /// The same with another number of rows, at most [`FRAMES_MAX`] and at least 2.
    #[must_use]
    pub fn with_capacity(interval_ms: u64, rows: usize) -> Self {
        let capacity = rows.clamp(2, FRAMES_MAX);
        Self {
            capacity,
            interval_ms: interval_ms.max(1),
            rows: Vec::with_capacity(capacity),
            written: 0,
            cards: Vec::new(),
            last_seq: 0,
        }
    }

    /// Bytes held, without the allocator's own share.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let cards: usize =
            self.cards.iter().map(|card| size_of::<Card>() + card.values.capacity() * size_of::<f64>()).sum();
        size_of::<Self>() + self.rows.capacity() * size_of::<Row>() + cards
    }

    /// Keeps a frame. One that is not newer than the newest row is ignored: time orders the ring.
    pub fn push(&mut self, frame: &Frame) {
        if let Some(last) = self.newest() {
            if frame.at.mono_ms <= last.at.mono_ms {
                return;
            }
            if frame.at.mono_ms - last.at.mono_ms > GAP_INTERVALS.saturating_mul(self.interval_ms) {
                let at = Stamp {
                    mono_ms: (last.at.mono_ms.saturating_add(self.interval_ms)).min(frame.at.mono_ms - 1),
                    wall_ms: last.at.wall_ms.saturating_add(self.interval_ms),
                };
                self.append(Row { at, gap: true }, None);
            }
        }
        self.append(Row { at: frame.at, gap: false }, Some(frame));
        self.last_seq = frame.seq;
    }

    /// Readings of the last `window_ms` before `now` (absent: all that is kept), as at most `points` points.
    ///
    /// Where there are more rows than points, rows are bucketed by absolute time, so that points stay put while time
    /// moves on, and of each bucket every series keeps its least and its greatest value in the order in which they
    /// came. `points` is held within 2 and [`POINTS_MAX`]; a metric asked for twice is answered once.
    #[must_use]
    pub fn query(&self, now: Stamp, window_ms: Option<u64>, points: usize, metrics: &[Metric]) -> Columns {
        let oldest = self.written - self.rows.len();
        let since = window_ms.map_or(0, |window| now.mono_ms.saturating_sub(window));
        let first = partition(oldest, self.written, |row| self.row(row).at.mono_ms < since);
        let buckets = self.buckets(first, window_ms, points.clamp(2, POINTS_MAX));

        let mut at = Vec::with_capacity(buckets.len() * 2);
        for bucket in &buckets {
            at.push(self.row(bucket.from).at);
            if bucket.to - bucket.from > 1 {
                at.push(self.row(bucket.to - 1).at);
            }
        }
        let mut series = Vec::new();
        for card in self.cards.iter().filter(|card| card.seen >= first && first < self.written) {
            for (place, &metric) in metrics.iter().enumerate() {
                if !metrics[..place].contains(&metric) {
                    let values = self.thin(card, metric, &buckets, at.len());
                    series.push(Series { gpu: card.gpu.clone(), metric, values });
                }
            }
        }
        Columns { at, series, last_seq: self.last_seq }
    }

    fn newest(&self) -> Option<Row> {
        self.written.checked_sub(1).map(|row| self.row(row))
    }

    fn row(&self, row: usize) -> Row {
        self.rows[row % self.capacity]
    }

    fn append(&mut self, row: Row, frame: Option<&Frame>) {
        let (number, slot) = (self.written, self.written % self.capacity);
        if slot == self.rows.len() {
            self.rows.push(row);
        } else {
            self.rows[slot] = row;
        }
        self.written += 1;
        for card in &mut self.cards {
            for metric in 0..Metric::ALL.len() {
                card.values[metric * self.capacity + slot] = f64::NAN;
            }
        }
        for sample in frame.iter().flat_map(|frame| frame.gpus.iter().take(GPUS_MAX)) {
            let Some(place) = self.card(&sample.gpu, number) else { continue };
            let card = &mut self.cards[place];
            card.seen = number;
            for (&metric, reading) in &sample.metrics {
                card.values[metric as usize * self.capacity + slot] = reading.value().unwrap_or(f64::NAN);
            }
        }
    }

    /// The GPU's place; a new one takes an empty place, or that of the GPU unseen for longest. None where all places
    /// belong to GPUs of this very row.
    fn card(&mut self, gpu: &GpuId, row: usize) -> Option<usize> {
        if let Some(place) = self.cards.iter().position(|card| card.gpu == *gpu) {
            return Some(place);
        }
        if self.cards.len() == GPUS_MAX {
            let (place, stalest) = self.cards.iter().enumerate().min_by_key(|(_, card)| card.seen)?;
            if stalest.seen == row {
                return None;
            }
            self.cards.remove(place);
        }
        let values = vec![f64::NAN; Metric::ALL.len() * self.capacity];
        self.cards.push(Card { gpu: gpu.clone(), seen: row, values });
        Some(self.cards.len() - 1)
    }

    fn buckets(&self, first: usize, window_ms: Option<u64>, points: usize) -> Vec<Bucket> {
        let rows = self.written - first;
        if rows <= points {
            return (first..self.written).map(|row| Bucket { from: row, to: row + 1 }).collect();
        }
        let span = self.row(self.written - 1).at.mono_ms - self.row(first).at.mono_ms;
        let Some(width) = bucket_ms(span, window_ms, points) else {
            return vec![Bucket { from: first, to: self.written }];
        };
        let index = |row: usize| self.row(row).at.mono_ms / width;
        let mut buckets = Vec::new();
        let mut from = first;
        while from < self.written {
            let mut to = from + 1;
            while to < self.written && index(to) == index(from) {
                to += 1;
            }
            // Where whole buckets stay empty behind a gap, its row gets a point of its own, in their place: the line breaks.
            let breaks = self.row(to - 1).gap && to < self.written && index(to) - index(from) > 1;
            if breaks && to - from > 1 {
                buckets.push(Bucket { from, to: to - 1 });
                from = to - 1;
            }
            buckets.push(Bucket { from, to });
            from = to;
        }
        buckets
    }

    fn thin(&self, card: &Card, metric: Metric, buckets: &[Bucket], points: usize) -> Vec<Option<f64>> {
        let column = &card.values[metric as usize * self.capacity..][..self.capacity];
        let mut values = Vec::with_capacity(points);
        for bucket in buckets {
            let present = (bucket.from..bucket.to)
                .map(|row| (row, column[row % self.capacity]))
                .filter(|(_, value)| !value.is_nan());
            if bucket.to - bucket.from == 1 {
                values.push(present.map(|(_, value)| value).next());
            } else {
                values.extend(extremes(present, *bucket));
            }
        }
        values
    }
}

/// The least and the greatest value in the order in which they came. A lone value takes the half in which it came, so
/// that it does not cover missing ones.
fn extremes(present: impl Iterator<Item = (usize, f64)>, bucket: Bucket) -> [Option<f64>; 2] {
    let (mut least, mut greatest, mut count) = ((0, f64::INFINITY), (0, f64::NEG_INFINITY), 0_usize);
    for (row, value) in present {
        if value < least.1 {
            least = (row, value);
        }
        if value > greatest.1 {
            greatest = (row, value);
        }
        count += 1;
    }
    match count {
        0 => [None, None],
        1 if least.0 - bucket.from < (bucket.to - bucket.from) / 2 => [Some(least.1), None],
        1 => [None, Some(least.1)],
        _ if least.0 <= greatest.0 => [Some(least.1), Some(greatest.1)],
        _ => [Some(greatest.1), Some(least.1)],
    }
}

/// Width of a bucket, such that two points per bucket never exceed `points`; none where one bucket takes all.
///
/// A span of less than `n - 1` widths touches at most `n` aligned buckets. A fixed window gives a fixed width; all that
/// is kept grows, so its width is rounded up to 1, 2 or 5 times a power of ten and rarely changes.
fn bucket_ms(span: u64, window_ms: Option<u64>, points: usize) -> Option<u64> {
    let spans = u64::try_from(points / 2 - 1).expect("points are at most POINTS_MAX");
    if spans == 0 {
        return None;
    }
    let widest = window_ms.map_or(span, |window| window.max(span));
    let exact = (widest.saturating_add(1)).div_ceil(spans);
    if window_ms.is_some() {
        return Some(exact);
    }
    let mut decade = 1_u64;
    loop {
        for step in [1, 2, 5].map(|digit| decade.saturating_mul(digit)) {
            if step >= exact {
                return Some(step);
            }
        }
        decade = decade.saturating_mul(10);
    }
}

/// The first of `from..to` for which `before` no longer holds; it holds for a prefix.
fn partition(mut from: usize, mut to: usize, before: impl Fn(usize) -> bool) -> usize {
    while from < to {
        let middle = from + (to - from) / 2;
        if before(middle) { from = middle + 1 } else { to = middle }
    }
    from
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::gpu::GpuSample;
    use crate::reading::{Reading, Why};

    fn stamp(mono_ms: u64) -> Stamp {
        Stamp { mono_ms, wall_ms: 1_000_000 + mono_ms }
    }

    /// A frame in which each GPU has one power reading; none is missing.
    fn frame(seq: u64, mono_ms: u64, powers: &[(&str, Option<f64>)]) -> Frame {
        let sample = |&(gpu, power): &(&str, Option<f64>)| {
            let reading = power.map_or(Reading::Missing(Why::TimedOut), Reading::Value);
            let metrics = BTreeMap::from([(Metric::Power, reading)]);
            GpuSample { gpu: GpuId(gpu.into()), answered_at: None, metrics }
        };
        Frame { seq, at: stamp(mono_ms), gpus: powers.iter().map(sample).collect(), problems: vec![] }
    }

    fn power_of<'a>(columns: &'a Columns, gpu: &str) -> &'a [Option<f64>] {
        let series = columns.series.iter().find(|s| s.gpu.0 == gpu && s.metric == Metric::Power);
        &series.expect("the GPU has a power series").values
    }

    #[test]
    fn metrics_number_themselves_in_display_order() {
        assert!(Metric::ALL.iter().enumerate().all(|(place, &metric)| metric as usize == place));
    }

    #[test]
    fn few_rows_come_back_as_they_were() {
        let mut history = History::new(1000);
        for n in 1..=4 {
            history.push(&frame(n, n * 1000, &[("a", (n != 3).then_some(100.0))]));
        }
        let columns = history.query(stamp(4000), Some(2000), 100, &[Metric::Power, Metric::Fan, Metric::Power]);
        assert_eq!(columns.at, [stamp(2000), stamp(3000), stamp(4000)]);
        assert_eq!(power_of(&columns, "a"), [Some(100.0), None, Some(100.0)]);
        assert_eq!(columns.series.len(), 2, "power once, and fan, which never had a value");
        assert_eq!(columns.series[1].values, [None, None, None]);
        assert_eq!(columns.last_seq, 4);
    }

    #[test]
    fn a_suspended_night_is_one_gap() {
        let mut history = History::new(1000);
        history.push(&frame(1, 1000, &[("a", Some(1.0))]));
        history.push(&frame(2, 4000, &[("a", Some(2.0))]));
        history.push(&frame(3, 28_800_000, &[("a", Some(3.0))]));
        let columns = history.query(stamp(28_800_000), None, 100, &[Metric::Power]);
        assert_eq!(power_of(&columns, "a"), [Some(1.0), Some(2.0), None, Some(3.0)]);
    }

    #[test]
    fn a_gap_still_breaks_the_line_when_thinned() {
        let mut history = History::new(100);
        for n in 0..600 {
            history.push(&frame(n, 1000 + n * 100, &[("a", Some(1.0))]));
        }
        for n in 0..600 {
            history.push(&frame(600 + n, 300_000 + n * 100, &[("a", Some(2.0))]));
        }
        let columns = history.query(stamp(360_000), None, 100, &[Metric::Power]);
        let values = power_of(&columns, "a");
        let breaks = values.iter().filter(|value| value.is_none()).count();
        assert_eq!(breaks, 1);
        let place = values.iter().position(Option::is_none).expect("counted above");
        assert_eq!((values[place - 1], values[place + 1]), (Some(1.0), Some(2.0)));
    }

    #[test]
    fn a_gpu_that_comes_later_has_no_values_before_and_one_that_goes_none_after() {
        let mut history = History::with_capacity(1000, 4);
        history.push(&frame(1, 1000, &[("a", Some(1.0))]));
        history.push(&frame(2, 2000, &[("a", Some(2.0)), ("b", Some(20.0))]));
        history.push(&frame(3, 3000, &[("b", Some(30.0))]));
        let columns = history.query(stamp(3000), None, 100, &[Metric::Power]);
        assert_eq!(power_of(&columns, "a"), [Some(1.0), Some(2.0), None]);
        assert_eq!(power_of(&columns, "b"), [None, Some(20.0), Some(30.0)]);
        for n in 4..=6 {
            history.push(&frame(n, n * 1000, &[("b", Some(1.0))]));
        }
        let columns = history.query(stamp(6000), None, 100, &[Metric::Power]);
        assert!(columns.series.iter().all(|series| series.gpu.0 != "a"), "its rows have left the ring");
    }

    #[test]
    fn completed_buckets_stay_put_while_time_moves_on() {
        let mut history = History::new(100);
        let value = |n: u64| f64::from(u32::try_from(n * 7919 % 101).expect("below 101"));
        for n in 1..=2000 {
            history.push(&frame(n, n * 100, &[("a", Some(value(n)))]));
        }
        let before = history.query(stamp(200_000), Some(60_000), 60, &[Metric::Power]);
        history.push(&frame(2001, 200_100, &[("a", Some(value(2001)))]));
        let after = history.query(stamp(200_100), Some(60_000), 60, &[Metric::Power]);
        let points = |c: &Columns| -> Vec<_> {
            c.at.iter()
                .copied()
                .zip(power_of(c, "a").to_vec())
                .filter(|(at, _)| (144_000..196_000).contains(&at.mono_ms))
                .collect()
        };
        assert!(points(&before).len() > 20);
        assert_eq!(points(&before), points(&after));
    }

    #[test]
    fn a_frame_from_the_past_is_ignored() {
        let mut history = History::new(1000);
        history.push(&frame(1, 5000, &[("a", Some(1.0))]));
        history.push(&frame(2, 5000, &[("a", Some(9.0))]));
        history.push(&frame(3, 4000, &[("a", Some(9.0))]));
        assert_eq!(power_of(&history.query(stamp(5000), None, 10, &[Metric::Power]), "a"), [Some(1.0)]);
        assert_eq!(history.query(stamp(5000), None, 10, &[]).last_seq, 1);
    }

    proptest! {
        #[test]
        fn thinning_keeps_extremes_within_the_points_asked(
            steps in prop::collection::vec((1_u64..5000, prop::option::weighted(0.9, -1e6_f64..1e6)), 1..400),
            points in 0_usize..120,
            window in prop::option::of(0_u64..1_000_000),
            capacity in 2_usize..500,
        ) {
            let mut history = History::with_capacity(1000, capacity);
            let mut now = 0;
            for (seq, (step, power)) in (0_u64..).zip(&steps) {
                now += step;
                history.push(&frame(seq, now, &[("a", *power)]));
            }
            let all = history.query(stamp(now), window, POINTS_MAX, &[Metric::Power]);
            let thin = history.query(stamp(now), window, points, &[Metric::Power]);
            prop_assert!(thin.at.len() <= points.max(2));
            prop_assert!(thin.at.windows(2).all(|pair| pair[0].mono_ms < pair[1].mono_ms));
            prop_assert_eq!(all.series.len(), thin.series.len());
            for (full, series) in all.series.iter().zip(&thin.series) {
                prop_assert_eq!(series.values.len(), thin.at.len());
                let range = |values: &[Option<f64>]| {
                    let present = values.iter().flatten().copied();
                    (present.clone().fold(f64::INFINITY, f64::min), present.fold(f64::NEG_INFINITY, f64::max))
                };
                prop_assert_eq!(range(&full.values), range(&series.values));
            }
        }

        #[test]
        fn memory_stays_bounded_whatever_comes(gpus in prop::collection::vec(prop::collection::vec(0_u32..60, 0..24), 1..60)) {
            let rows = 8;
            let mut history = History::with_capacity(1000, rows);
            let bound = 4096 + GPUS_MAX * (128 + Metric::ALL.len() * rows * 8);
            for (seq, ids) in (0_u64..).zip(&gpus) {
                let names: Vec<String> = ids.iter().map(|id| format!("GPU-{id}")).collect();
                let powers: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1.0))).collect();
                history.push(&frame(seq, 1 + seq * 10_000, &powers));
                prop_assert!(history.memory_bytes() <= bound);
                let newest = history.query(stamp(1 + seq * 10_000), Some(0), 10, &[Metric::Power]);
                let distinct = ids.iter().take(GPUS_MAX).collect::<std::collections::BTreeSet<_>>().len();
                prop_assert_eq!(newest.series.len(), distinct);
            }
        }
    }
}
