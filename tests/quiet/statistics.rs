//! Tells whether two sets of times are from one distribution.

use std::time::Duration;

/// Equal ways are taken for different ones once in so many comparisons.
const FALSE_ALARM: f64 = 1_000_000.0;

/// The times of each way.
pub struct Samples(Vec<Vec<Duration>>);

impl Samples {
    /// No times yet, of so many ways.
    pub fn new(ways: usize) -> Self {
        Self(vec![Vec::new(); ways])
    }

    /// Adds a time.
    pub fn add(&mut self, way: usize, took: Duration) {
        self.0[way].push(took);
    }

    /// The two-sample Kolmogorov-Smirnov statistic and its threshold: c(a) * sqrt((n + m) / (n *
    /// m)) with c(a) = sqrt(-ln(a / 2) / 2), for a false alarm once in 1 / a comparisons.
    pub fn distance(&self, left: usize, right: usize) -> (f64, f64) {
        let (left, right) = (&self.0[left], &self.0[right]);
        let up_to = |times: &[Duration], limit: Duration| {
            times.iter().filter(|time| **time <= limit).count() as f64 / times.len() as f64
        };
        let all = left.iter().chain(right);
        let distance = all
            .map(|limit| (up_to(left, *limit) - up_to(right, *limit)).abs())
            .fold(0.0, f64::max);
        let (n, m) = (left.len() as f64, right.len() as f64);
        let quantile = ((2.0 * FALSE_ALARM).ln() / 2.0).sqrt();
        (distance, quantile * ((n + m) / (n * m)).sqrt())
    }

    /// The quartiles of both ways' times, for a failure.
    pub fn summary(&self, left: usize, right: usize) -> String {
        let quartiles = |way: usize| {
            let mut times = self.0[way].clone();
            times.sort_unstable();
            [1, 2, 3].map(|quarter| times[times.len() * quarter / 4])
        };
        format!("quartiles {:?} and {:?}", quartiles(left), quartiles(right))
    }
}

/// Each of so many ways so many times, in a random order that is always the same.
pub fn interleaved(ways: usize, times: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ways * times).map(|place| place % ways).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for end in (1..order.len()).rev() {
        // xorshift. Any order will do that does not depend on the ways.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(end, (state % (end as u64 + 1)) as usize);
    }
    order
}

#[test]
fn equal_samples_pass_and_shifted_ones_do_not() {
    let scatter = |place: usize, shift: u64| {
        let noise = interleaved(100, 1)[place % 100] as u64;
        Duration::from_micros(10_000 + noise * 10 + shift)
    };
    let mut samples = Samples::new(3);
    for place in 0..90 {
        samples.add(0, scatter(place, 0));
        samples.add(1, scatter(place + 7, 0));
        // Shifted by as much as a single sample scatters.
        samples.add(2, scatter(place, 1_000));
    }
    let (distance, threshold) = samples.distance(0, 1);
    assert!(distance <= threshold, "{distance} {threshold}");
    let (distance, threshold) = samples.distance(0, 2);
    assert!(distance > threshold, "{distance} {threshold}");
}
