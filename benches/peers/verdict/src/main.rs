//! Judges the rows of the contract by the results in a folder, prints the table, leaves it as JSON
//! and draws the plots. What was not measured, and what cannot be judged, is said and is no
//! failure; the exit status is 1 where a row is not met.
//!
//! bench-verdict RESULTS PLOTS

mod contract;
mod plots;
mod results;

use std::collections::HashMap;
use std::path::Path;
use std::process::exit;
use std::{env, fs};

use contract::{ALLOWANCE, Asks, CHECKS, Check};
use results::{Interval, Results, Samples, absolute, ratio};
use serde_json::json;

/// What came of a check.
enum Verdict {
    Met,
    NotMet,
    NotJudged(String),
}

struct Judged {
    figure: Option<Interval>,
    limit: f64,
    verdict: Verdict,
}

fn met(is_met: bool) -> Verdict {
    if is_met { Verdict::Met } else { Verdict::NotMet }
}

fn not_judged(limit: f64, why: impl Into<String>) -> Judged {
    Judged { figure: None, limit, verdict: Verdict::NotJudged(why.into()) }
}

/// A single number.
fn judge_exact(value: Option<f64>, limit: f64) -> Judged {
    let Some(value) = value else { return not_judged(limit, "not measured") };
    let figure = Interval { median: value, low: value, high: value };
    Judged { figure: Some(figure), limit, verdict: met(value <= limit) }
}

/// A figure by the upper end of its interval; `most` has the allowance in it.
fn judge_interval(figure: Interval, limit: f64, most: f64, flaw: Option<String>) -> Judged {
    let verdict = flaw.map_or_else(|| met(figure.high <= most), Verdict::NotJudged);
    Judged { figure: Some(figure), limit, verdict }
}

fn judge_ratio(
    samples: Option<Samples>, to: Option<Samples>, limit: f64, allowance: f64,
) -> Judged {
    match (samples, to) {
        (Some(samples), Some(to)) => {
            judge_interval(ratio(&samples, &to), limit, limit + allowance, to.flaw())
        }
        _ => not_judged(limit, "not measured"),
    }
}

fn judge(check: &Check, results: Option<&Results>) -> Judged {
    let case = check.case;
    let samples = |engine: &str| results.and_then(|results| results.engine(case, engine));
    let best = |engines: &[&str]| results.and_then(|results| results.best(case, engines));
    match check.asks {
        Asks::Ratio { ours, to, most } => judge_ratio(best(ours), best(to), most, ALLOWANCE),
        Asks::Below { engine, to } => judge_ratio(samples(engine), best(to), 1.0, 0.0),
        Asks::Absolute { engine, most } => match samples(engine) {
            // One sample in all is a figure that is exact.
            Some(samples) if samples.rounds.len() == 1 => {
                judge_interval(absolute(&samples), most, most, None)
            }
            Some(samples) => judge_interval(absolute(&samples), most, most, samples.flaw()),
            None => not_judged(most, "not measured"),
        },
        Asks::Count { engine, most } => {
            let median =
                samples(engine).map(|samples| (samples.median() * 1000.0).round() / 1000.0);
            judge_exact(median, most)
        }
        Asks::Exact { engine, most } => {
            judge_exact(results.and_then(|results| results.exact(case, engine)), most)
        }
        Asks::Instructions { depth, most } => {
            judge_exact(results.and_then(|results| results.instructions(depth)), most)
        }
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 20.0 { format!("{value:.1}") } else { format!("{value:.3}") }
}

/// The line of the table; its columns are as wide as the widest of them.
fn line(check: &Check, judged: &Judged) -> String {
    let figure = match &judged.figure {
        None => String::new(),
        Some(figure) if figure.low == figure.high => number(figure.median),
        Some(Interval { median, low, high }) => {
            format!("{} [{}, {}]", number(*median), number(*low), number(*high))
        }
    };
    let verdict = match &judged.verdict {
        Verdict::Met => "met".to_owned(),
        Verdict::NotMet => "NOT MET".to_owned(),
        Verdict::NotJudged(why) => format!("not judged: {why}"),
    };
    let limit = number(judged.limit);
    format!("{:>3}  {:<38} {:<24} {:>9}  {}", check.row, check.what, figure, limit, verdict)
}

fn as_json(check: &Check, judged: &Judged) -> serde_json::Value {
    let part = |of: fn(&Interval) -> f64| judged.figure.as_ref().map(of);
    let (verdict, why) = match &judged.verdict {
        Verdict::Met => ("met", None),
        Verdict::NotMet => ("not met", None),
        Verdict::NotJudged(why) => ("not judged", Some(why)),
    };
    json!({
        "row": check.row, "what": check.what, "limit": judged.limit,
        "median": part(|i| i.median), "low": part(|i| i.low), "high": part(|i| i.high),
        "verdict": verdict, "why": why,
    })
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, plots_folder] = &arguments[..] else {
        eprintln!("usage: bench-verdict RESULTS PLOTS");
        exit(2);
    };
    let folder = Path::new(folder);
    let mut files: HashMap<&str, Option<Results>> = HashMap::new();
    let mut rows = Vec::new();
    let mut failed = false;
    println!("row  {:<38} {:<24} {:>9}  verdict", "figure", "[95 % interval]", "limit");
    for check in CHECKS {
        let results =
            files.entry(check.file).or_insert_with(|| Results::read(folder, check.file)).as_ref();
        let judged = judge(check, results);
        failed |= matches!(judged.verdict, Verdict::NotMet);
        println!("{}", line(check, &judged));
        rows.push(as_json(check, &judged));
    }
    let text = serde_json::to_string_pretty(&rows).expect("plain values");
    fs::write(folder.join("verdict.json"), text + "\n").expect("verdict.json");
    plots::draw_all(folder, Path::new(plots_folder)).expect("the plots");
    exit(i32::from(failed));
}
