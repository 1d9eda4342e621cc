//! How long operations take, by opcode, for contexts that were asked to keep it. Hides the packaged
//! histogram. One is made when an operation of its opcode is first submitted, with all the memory
//! that it will ever have: taking a latency down never allocates.

use hdrhistogram::Histogram;

/// A latency is told to one part in 128, from a nanosecond on.
const DIGITS: u8 = 2;
/// A day; what takes longer is taken down as a day.
const HIGHEST_NS: u64 = 86_400_000_000_000;

/// By opcode.
pub(crate) struct Latencies(Vec<Option<Histogram<u64>>>);

/// What is known of the latencies of an opcode.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Summary {
    pub count: u64,
    pub min_ns: u64,
    pub max_ns: u64,
    pub mean_ns: u64,
    pub deviation_ns: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies((0..=u8::MAX).map(|_| None).collect())
    }

    /// Operations of this opcode are going to be taken down.
    pub(crate) fn expect(&mut self, opcode: u8) {
        self.0[usize::from(opcode)].get_or_insert_with(|| {
            Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("the bounds are in order")
        });
    }

    /// Takes a latency down; nothing where it was not expected.
    pub(crate) fn record(&mut self, opcode: u8, ns: u64) {
        if let Some(histogram) = &mut self.0[usize::from(opcode)] {
            histogram.saturating_record(ns);
        }
    }

    fn recorded(&self, opcode: u8) -> Option<&Histogram<u64>> {
        self.0[usize::from(opcode)].as_ref().filter(|histogram| !histogram.is_empty())
    }

    pub(crate) fn summary(&self, opcode: u8) -> Summary {
        self.recorded(opcode).map_or(Summary::default(), |histogram| Summary {
            count: histogram.len(),
            min_ns: histogram.min(),
            max_ns: histogram.max(),
            mean_ns: histogram.mean() as u64,
            deviation_ns: histogram.stdev() as u64,
        })
    }

    /// What so large a part of the latencies, 0 to 1, do not exceed; 0 if there are none.
    pub(crate) fn quantile_ns(&self, opcode: u8, quantile: f64) -> u64 {
        self.recorded(opcode).map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// Forgets what was taken down. The memory stays.
    pub(crate) fn reset(&mut self, opcode: u8) {
        if let Some(histogram) = &mut self.0[usize::from(opcode)] {
            histogram.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_told_to_one_part_in_128() {
        let mut latencies = Latencies::new();
        latencies.expect(3);
        for shift in 0..46 {
            let ns = (1u64 << shift) + (1 << shift) / 3;
            latencies.record(3, ns);
            let summary = latencies.summary(3);
            assert!(summary.min_ns <= ns && ns <= summary.max_ns);
            assert!(summary.max_ns - summary.min_ns <= ns / 128, "{ns}: {summary:?}");
            assert_eq!(latencies.quantile_ns(3, 0.5), summary.max_ns);
            latencies.reset(3);
        }
        assert_eq!(latencies.summary(3), Summary::default());
    }

    #[test]
    fn what_takes_longer_than_a_day_is_a_day() {
        let mut latencies = Latencies::new();
        latencies.expect(0);
        latencies.record(0, u64::MAX);
        let max_ns = latencies.summary(0).max_ns;
        assert!(max_ns >= HIGHEST_NS && max_ns - HIGHEST_NS <= HIGHEST_NS / 128);
    }

    #[test]
    fn its_memory_is_all_there_from_the_beginning() {
        let mut latencies = Latencies::new();
        latencies.expect(0);
        let histogram = latencies.0[0].as_ref().unwrap();
        assert!(!histogram.is_auto_resize());
        // What docs/design.md says: 41 KiB.
        assert_eq!(histogram.distinct_values() * size_of::<u64>() / 1024, 41);
        latencies.record(1, 5);
        assert_eq!((latencies.summary(1).count, latencies.quantile_ns(1, 0.5)), (0, 0));
    }
}
