//! What the benchmarks wrote: their files, and the statistics of same-round ratios. A reference
//! that does not repeat within 5 % and fewer than 31 rounds make a ratio worthless, so both are
//! asked for here.

use std::fs;
use std::path::Path;

use serde_json::Value;

pub const ROUNDS_MIN: usize = 31;
const REPEAT_MAX: f64 = 0.05;
const RESAMPLES: usize = 2000;

/// The samples of one engine in one case: two of each round.
#[derive(Clone)]
pub struct Samples {
    pub engine: String,
    pub rounds: Vec<[f64; 2]>,
}

impl Samples {
    pub fn median(&self) -> f64 {
        median(&mut self.rounds.iter().flatten().copied().collect::<Vec<_>>())
    }

    fn sums(&self) -> Vec<f64> {
        self.rounds.iter().map(|[first, second]| first + second).collect()
    }

    /// By how much the two samples of a round differ, median.
    fn repeats_within(&self) -> f64 {
        let difference = |[a, b]: &[f64; 2]| 2.0 * (a - b).abs() / (a + b);
        median(&mut self.rounds.iter().map(difference).collect::<Vec<_>>())
    }

    pub fn repeats(&self) -> bool {
        self.repeats_within() <= REPEAT_MAX
    }

    /// Why no figure of this engine can be judged, or taken as a reference.
    pub fn flaw(&self) -> Option<String> {
        let repeats = self.repeats_within();
        if self.rounds.len() < ROUNDS_MIN {
            return Some(format!("{} rounds of {ROUNDS_MIN}", self.rounds.len()));
        }
        (repeats > REPEAT_MAX)
            .then(|| format!("{} repeats within {:.1} %", self.engine, 100.0 * repeats))
    }
}

/// A median with its 95 % bootstrap interval.
#[derive(Clone, Copy)]
pub struct Interval {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// One file of results.
pub struct Results(Value);

impl Results {
    pub fn read(folder: &Path, name: &str) -> Option<Self> {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).ok()?;
        Some(Self(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}.json: {e}"))))
    }

    pub fn unit(&self) -> &str {
        self.0["unit"].as_str().unwrap_or("")
    }

    pub fn title(&self) -> &str {
        self.0["title"].as_str().unwrap_or("")
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        self.0["rows"].as_array().into_iter().flatten()
    }

    /// The cases with samples, in the order of the run.
    pub fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for row in self.rows().filter(|row| row["samples"].is_array()) {
            let case = row["case"].as_str().unwrap_or("");
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }

    /// Every engine of a case.
    pub fn engines(&self, case: &str) -> Vec<Samples> {
        let samples = |row: &Value| {
            let pair = |pair: &Value| Some([pair[0].as_f64()?, pair[1].as_f64()?]);
            Some(Samples {
                engine: row["engine"].as_str()?.to_owned(),
                rounds: row["samples"].as_array()?.iter().map(pair).collect::<Option<_>>()?,
            })
        };
        self.rows().filter(|row| row["case"] == case).filter_map(samples).collect()
    }

    pub fn engine(&self, case: &str, engine: &str) -> Option<Samples> {
        self.engines(case).into_iter().find(|samples| samples.engine == engine)
    }

    /// The engine with the lowest median among those named.
    pub fn best(&self, case: &str, engines: &[&str]) -> Option<Samples> {
        let named = self.engines(case).into_iter().filter(|s| engines.contains(&&*s.engine));
        named.min_by(|a, b| a.median().total_cmp(&b.median()))
    }

    /// A figure without samples.
    pub fn exact(&self, case: &str, engine: &str) -> Option<f64> {
        let is_it = |row: &&Value| row["case"] == case && row["engine"] == engine;
        self.rows().filter(is_it).find_map(|row| row["exact"].as_f64())
    }

    /// Of the file of instructions, whose rows are depths.
    pub fn instructions(&self, depth: u64) -> Option<f64> {
        self.rows().find(|row| row["depth"] == depth)?["aio"].as_f64()
    }
}

/// Of the sums of the same rounds.
pub fn ratio(engine: &Samples, to: &Samples) -> Interval {
    interval(engine.sums().iter().zip(to.sums()).map(|(engine, to)| engine / to).collect())
}

/// Of a figure itself.
pub fn absolute(engine: &Samples) -> Interval {
    interval(engine.sums().iter().map(|sum| sum / 2.0).collect())
}

fn interval(mut values: Vec<f64>) -> Interval {
    let mut seed = 1;
    let mut resample = |_| {
        let draw = |_| values[(random(&mut seed) % values.len() as u64) as usize];
        median(&mut (0..values.len()).map(draw).collect::<Vec<_>>())
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map(&mut resample).collect();
    medians.sort_by(f64::total_cmp);
    Interval {
        median: median(&mut values),
        low: medians[RESAMPLES / 40],
        high: medians[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// splitmix64
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
