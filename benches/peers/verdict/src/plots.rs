//! The plots: bars for the ratios of one case to the best that was done by hand, lines for what
//! grows with connections or timers.

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::results::{Interval, Results, Samples, ratio};

type Drawn = Result<(), Box<dyn Error>>;

const WIDTH: i32 = 760;
const LEFT: i32 = 190;
const RIGHT: i32 = 100;
const TOP: i32 = 64;
const BAR: i32 = 16;
const STEP: i32 = 24;
const FONT: &str = "sans-serif";
const ENGINE: RGBColor = RGBColor(31, 119, 180);
const HAND: RGBColor = RGBColor(150, 150, 150);
const PEER: RGBColor = RGBColor(214, 158, 88);

struct Bars {
    plot: &'static str,
    file: &'static str,
    case: &'static str,
    /// The best of these is 1; an empty list: the figures themselves.
    to: &'static [&'static str],
}

const fn bars(
    plot: &'static str, file: &'static str, case: &'static str, to: &'static [&'static str],
) -> Bars {
    Bars { plot, file, case, to }
}

const RING: &[&str] = &["bare-oneshot", "bare-coop", "bare-multishot"];

const BARS: &[Bars] = &[
    bars("nop-1", "nop", "depth 1", &["bare"]),
    bars("nop-32", "nop", "depth 32", &["bare"]),
    bars("echo-1", "echo-1-peers", "1 connections, one CPU", RING),
    bars("echo-64", "echo-peers", "64 connections, one CPU", RING),
    bars("echo-512", "echo-peers", "512 connections, one CPU", RING),
    bars("echo-64-4k", "echo-4k", "64 connections, one CPU", RING),
    bars("echo-64-64k", "echo-64k", "64 connections, one CPU", RING),
    bars("short", "short-peers", "64 connections, one CPU", RING),
    bars("reads-32", "reads-peers", "depth 32, one CPU", &["bare-fixed"]),
    bars("direct-128", "direct-peers", "depth 128, one CPU", &["bare-fixed"]),
    bars("udp-64", "udp", "64 sockets, one CPU", &["bare-calls", "bare"]),
    bars("idle", "idle", "9000 connections, one CPU", &[]),
];

struct Lines {
    plot: &'static str,
    files: &'static [&'static str],
    /// Of the cases whose name ends so; they begin with the number that is the axis.
    ending: &'static str,
    axis: &'static str,
    engines: &'static [&'static str],
}

const LINES: &[Lines] = &[
    Lines {
        plot: "echo-connections",
        files: &["echo-1-peers", "echo-peers", "echo-5000"],
        ending: " connections, one CPU",
        axis: "connections",
        engines: &["bare-coop", "aio-uring", "aio-epoll", "libuv", "asio", "tokio", "monoio"],
    },
    Lines {
        plot: "timers-arm-cancel",
        files: &["timers-peers"],
        ending: " outstanding, arm+cancel",
        axis: "timers outstanding",
        engines: &["aio", "libuv", "libevent", "asio", "tokio"],
    },
    Lines {
        plot: "timers-fire",
        files: &["timers-peers"],
        ending: " outstanding, fire",
        axis: "timers outstanding",
        engines: &["aio", "libuv", "libevent", "asio", "tokio"],
    },
];

/// Draws what there are results of, and leaves other plots as they are.
pub fn draw_all(results: &Path, plots: &Path) -> Drawn {
    fs::create_dir_all(plots)?;
    for bars in BARS {
        if let Some(file) = Results::read(results, bars.file) {
            draw_bars(&plots.join(bars.plot).with_extension("svg"), &file, bars)?;
        }
    }
    for lines in LINES {
        let files: Vec<Results> =
            lines.files.iter().filter_map(|file| Results::read(results, file)).collect();
        if !files.is_empty() {
            draw_lines(&plots.join(lines.plot).with_extension("svg"), &files, lines)?;
        }
    }
    Ok(())
}

fn colour(engine: &str) -> RGBColor {
    match engine {
        _ if engine.starts_with("aio") => ENGINE,
        _ if engine.starts_with("bare") || engine == "pread" => HAND,
        _ => PEER,
    }
}

/// The bars' values, the best first; ratios only where the reference repeats.
fn values(file: &Results, bars: &Bars) -> Option<Vec<(String, Interval)>> {
    let engines = file.engines(bars.case);
    let to = file.best(bars.case, bars.to);
    let value = |samples: &Samples| match &to {
        Some(to) => ratio(samples, to),
        None => {
            let median = samples.median();
            Interval { median, low: median, high: median }
        }
    };
    if to.as_ref().is_some_and(|to| !to.repeats()) || engines.is_empty() {
        return None;
    }
    let mut values: Vec<_> = engines.iter().map(|s| (s.engine.clone(), value(s))).collect();
    values.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    Some(values)
}

fn draw_bars(path: &Path, file: &Results, bars: &Bars) -> Drawn {
    let Some(values) = values(file, bars) else {
        println!("{}: the reference does not repeat, not drawn", path.display());
        return Ok(());
    };
    let height = TOP + STEP * values.len() as i32 + 16;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let right = Pos::new(HPos::Right, VPos::Center);
    let text = (FONT, 16).into_font().color(&BLACK);
    let small = (FONT, 15).into_font().color(&BLACK);
    let what = if bars.to.is_empty() {
        file.unit().to_owned()
    } else {
        format!("{}, ratio to the best by hand, 95 % interval", file.unit())
    };
    area.draw_text(
        &format!("{}, {}", file.title(), bars.case),
        &(FONT, 20).into_font().color(&BLACK),
        (12, 12),
    )?;
    area.draw_text(&what, &small, (12, 36))?;
    let most = values.iter().map(|(_, value)| value.high).fold(0.0, f64::max);
    let scale = f64::from(WIDTH - LEFT - RIGHT) / most;
    let x = |value: f64| LEFT + (value.max(0.0) * scale) as i32;
    for (index, (engine, value)) in values.iter().enumerate() {
        let top = TOP + STEP * index as i32;
        let middle = top + BAR / 2;
        area.draw(&Rectangle::new(
            [(LEFT, top), (x(value.median), top + BAR)],
            colour(engine).filled(),
        ))?;
        area.draw(&PathElement::new([(x(value.low), middle), (x(value.high), middle)], BLACK))?;
        area.draw_text(engine, &text.pos(right), (LEFT - 8, middle))?;
        let number = if bars.to.is_empty() {
            format!("{:.0}", value.median)
        } else {
            format!("{:.2}", value.median)
        };
        area.draw_text(&number, &small, (x(value.high) + 8, middle - 6))?;
    }
    if !bars.to.is_empty() {
        let bottom = TOP + STEP * values.len() as i32;
        area.draw(&PathElement::new([(x(1.0), TOP - 6), (x(1.0), bottom)], BLACK))?;
    }
    area.present()?;
    Ok(())
}

/// The medians of an engine by the number that a case begins with.
fn points(files: &[Results], ending: &str, engine: &str) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for file in files {
        for case in file.cases() {
            let number = case.strip_suffix(ending).and_then(|number| number.parse::<f64>().ok());
            let samples = file.engine(case, engine);
            points.extend(number.zip(samples.map(|samples| samples.median())));
        }
    }
    points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    points
}

/// Beyond this between the lowest and the highest figure, their axis is logarithmic.
const LINEAR_MOST: f64 = 20.0;

/// A tick of an axis of decades; between two of them nothing is written.
fn decade(value: &f64) -> String {
    let is_whole = (value - value.round()).abs() < 1e-6;
    if is_whole { format!("{:.0}", 10f64.powf(*value)) } else { String::new() }
}

fn draw_lines(path: &Path, files: &[Results], lines: &Lines) -> Drawn {
    let mut series: Vec<_> = lines
        .engines
        .iter()
        .map(|engine| (*engine, points(files, lines.ending, engine)))
        .filter(|(_, points)| points.len() > 1)
        .collect();
    let figures = || series.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let (low, high) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
    if series.is_empty() || low <= 0.0 {
        return Ok(());
    }
    let is_linear = high < LINEAR_MOST * low;
    for (x, y) in series.iter_mut().flat_map(|(_, points)| points) {
        *x = x.log10();
        *y = if is_linear { *y } else { y.log10() };
    }
    let most =
        series.iter().flat_map(|(_, points)| points).map(|point| point.0).fold(0.0, f64::max);
    let height = if is_linear { 0.0..high * 1.1 } else { low.log10().floor()..high.log10().ceil() };
    let area = SVGBackend::new(path, (WIDTH as u32, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let what = lines.ending.rsplit(", ").next().unwrap_or("");
    let title = format!("{}, {what}: {}", files[0].title(), files[0].unit());
    let least = series[0].1[0].0;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 20))
        .margin(12)
        .margin_right(RIGHT)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(least..most, height)?;
    let figure = |value: &f64| format!("{value:.0}");
    chart
        .configure_mesh()
        .x_desc(lines.axis)
        .x_labels(8)
        .x_label_formatter(&decade)
        .y_labels(8)
        .y_label_formatter(if is_linear { &figure } else { &decade })
        .label_style((FONT, 15))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut labels = Vec::new();
    for (index, (engine, points)) in series.iter().enumerate() {
        let style = match *engine {
            _ if engine.starts_with("aio") => ENGINE.stroke_width(3),
            _ if engine.starts_with("bare") => HAND.stroke_width(2),
            _ => Palette99::pick(index).stroke_width(1),
        };
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        let (x, y) = chart.backend_coord(points.last().expect("two points"));
        labels.push((y, x, *engine, style.color));
    }
    labels.sort_by_key(|(y, ..)| *y);
    let mut free = 0;
    for (y, x, engine, color) in labels {
        let label = (FONT, 15).into_font().color(&color);
        free = free.max(y);
        area.draw_text(engine, &label.pos(Pos::new(HPos::Left, VPos::Center)), (x + 6, free))?;
        free += BAR;
    }
    area.present()?;
    Ok(())
}
