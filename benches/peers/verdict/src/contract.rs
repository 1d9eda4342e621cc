//! The contract: what each row asks for, and which samples decide. A ratio is met when the upper
//! end of its interval is at most the limit and 0.02; exact figures have no allowance.

use Asks::{Absolute, Below, Count, Exact, Instructions, Ratio};

pub const ALLOWANCE: f64 = 0.02;

pub enum Asks {
    /// Of the best of ours to the best of those named, in the same rounds.
    Ratio { ours: &'static [&'static str], to: &'static [&'static str], most: f64 },
    /// The same, without an allowance: cheaper than each of those named.
    Below { engine: &'static str, to: &'static [&'static str] },
    /// A figure with samples, without an allowance.
    Absolute { engine: &'static str, most: f64 },
    /// A count: the median of what was counted, to three digits, without an allowance.
    Count { engine: &'static str, most: f64 },
    /// A figure without samples.
    Exact { engine: &'static str, most: f64 },
    /// Of a NOP at this depth.
    Instructions { depth: u64, most: f64 },
}

pub struct Check {
    pub row: u32,
    pub what: &'static str,
    /// The file of results, and the case in it.
    pub file: &'static str,
    pub case: &'static str,
    pub asks: Asks,
}

const BARE: &[&str] = &["bare"];
const RING: &[&str] = &["bare-oneshot", "bare-coop", "bare-multishot"];
/// One-shot and multishot forms, the better counts, by hand and on the engine.
const ECHO: &[&str] = &["aio-uring", "aio-uring-pool"];
const ONE_CPU_1: &str = "1 connections, one CPU";
const ONE_CPU_64: &str = "64 connections, one CPU";
const ONE_CPU_512: &str = "512 connections, one CPU";
const TWO_CPUS_64: &str = "64 connections, two CPUs";
const IDLE: &str = "9000 connections, one CPU";
const MILLION_PAIRS: &str = "1000000 outstanding, arm+cancel";
const MILLION_FIRES: &str = "1000000 outstanding, fire";

const fn check(
    row: u32, what: &'static str, file: &'static str, case: &'static str, asks: Asks,
) -> Check {
    Check { row, what, file, case, asks }
}

const fn ratio(ours: &'static [&'static str], to: &'static [&'static str], most: f64) -> Asks {
    Ratio { ours, to, most }
}

const fn absolute(engine: &'static str, most: f64) -> Asks {
    Absolute { engine, most }
}

const fn count(engine: &'static str, most: f64) -> Asks {
    Count { engine, most }
}

const fn exact(engine: &'static str, most: f64) -> Asks {
    Exact { engine, most }
}

const fn instructions(depth: u64, most: f64) -> Asks {
    Instructions { depth, most }
}

const fn below(to: &'static [&'static str]) -> Asks {
    Below { engine: "aio-uring", to }
}

/// What other forms than callbacks are called; they are judged once there are programs of theirs.
const COROUTINE: &str = "aio-coroutine";

pub const CHECKS: &[Check] = &[
    check(1, "NOP, depth 32, time", "nop", "depth 32", ratio(&["aio"], BARE, 1.14)),
    check(1, "NOP, depth 256, time", "nop", "depth 256", ratio(&["aio"], BARE, 1.14)),
    check(1, "NOP, depth 32, instructions", "instructions", "", instructions(32, 110.0)),
    check(1, "NOP, depth 256, instructions", "instructions", "", instructions(256, 110.0)),
    check(2, "NOP, depth 1, time", "nop", "depth 1", ratio(&["aio"], BARE, 1.08)),
    check(2, "NOP, depth 1, instructions", "instructions", "", instructions(1, 200.0)),
    check(
        3,
        "coroutine NOP, depth 32, to callbacks",
        "nop",
        "depth 32",
        ratio(&[COROUTINE], &["aio"], 1.05),
    ),
    check(
        3,
        "coroutine echo, 64, to callbacks",
        "echo",
        ONE_CPU_64,
        ratio(&[COROUTINE], &["aio-uring"], 1.05),
    ),
    check(4, "echo, 64 connections", "echo", ONE_CPU_64, ratio(ECHO, RING, 1.02)),
    check(4, "echo, 512 connections", "echo", ONE_CPU_512, ratio(ECHO, RING, 1.02)),
    check(4, "echo, 64, below monoio", "echo", ONE_CPU_64, below(&["monoio"])),
    check(4, "echo, 64, below libuv", "echo", ONE_CPU_64, below(&["libuv"])),
    check(4, "echo, 512, below monoio", "echo", ONE_CPU_512, below(&["monoio"])),
    check(4, "echo, 512, below libuv", "echo", ONE_CPU_512, below(&["libuv"])),
    check(5, "echo, 1 connection, CPU", "echo-1", ONE_CPU_1, ratio(ECHO, RING, 1.0)),
    check(5, "echo, 1 connection, p50", "latency-1", ONE_CPU_1, ratio(ECHO, RING, 1.0)),
    check(6, "calls per request, 1 connection", "calls", ONE_CPU_1, count("aio-uring", 2.0)),
    check(6, "calls per request, 64, one CPU", "calls", ONE_CPU_64, count("aio-uring", 0.04)),
    check(6, "calls per request, 64, two CPUs", "calls", TWO_CPUS_64, count("aio-uring", 0.04)),
    check(
        7,
        "instructions per request",
        "echo-instructions",
        "1 connection",
        exact("aio-uring", 400.0),
    ),
    check(
        8,
        "hot read, depth 1",
        "reads",
        "depth 1, one CPU",
        ratio(&["aio-uring-fixed"], &["bare-fixed"], 1.05),
    ),
    check(
        8,
        "hot read, depth 32",
        "reads",
        "depth 32, one CPU",
        ratio(&["aio-uring-fixed"], &["bare-fixed"], 1.05),
    ),
    check(
        8,
        "hot read, depth 128",
        "reads",
        "depth 128, one CPU",
        ratio(&["aio-uring-fixed"], &["bare-fixed"], 1.05),
    ),
    check(
        9,
        "direct read, depth 128",
        "direct",
        "depth 128, one CPU",
        ratio(&["aio-uring-fixed"], &["bare-fixed"], 1.08),
    ),
    check(10, "timers, arm+cancel, ns", "timers", MILLION_PAIRS, absolute("aio", 40.0)),
    check(10, "timers, fire, ns", "timers", MILLION_FIRES, absolute("aio", 100.0)),
    check(
        11,
        "deadline, 1 connection",
        "deadline",
        ONE_CPU_1,
        ratio(&["aio-uring-deadline"], &["aio-uring"], 1.03),
    ),
    check(
        11,
        "deadline, 64 connections",
        "deadline",
        ONE_CPU_64,
        ratio(&["aio-uring-deadline"], &["aio-uring"], 1.03),
    ),
    check(
        11,
        "deadline, 512 connections",
        "deadline",
        ONE_CPU_512,
        ratio(&["aio-uring-deadline"], &["aio-uring"], 1.03),
    ),
    check(
        12,
        "wake-up, p50",
        "wake",
        "one CPU",
        ratio(&["aio-post"], &["bare-message", "bare-coop", "bare-eventfd"], 1.06),
    ),
    check(12, "calls of a post to one awake", "posts", "awake", exact("aio-uring", 0.0)),
    check(13, "idle connection, bytes", "idle", IDLE, absolute("aio-uring-pool", 80.0)),
    check(13, "idle coroutine, bytes", "idle", IDLE, absolute(COROUTINE, 400.0)),
    check(14, "short connections", "short", ONE_CPU_64, ratio(ECHO, RING, 1.03)),
    check(
        15,
        "epoll: echo, 64, to libuv",
        "epoll-echo",
        ONE_CPU_64,
        ratio(&["aio-epoll"], &["libuv"], 0.97),
    ),
    check(
        15,
        "epoll: echo, 512, to libuv",
        "epoll-echo",
        ONE_CPU_512,
        ratio(&["aio-epoll"], &["libuv"], 0.97),
    ),
    check(
        15,
        "epoll: hot reads, one CPU",
        "epoll-reads",
        "depth 32, one CPU",
        ratio(&["aio-epoll"], &["libuv"], 0.4),
    ),
    check(
        15,
        "epoll: hot reads, all CPUs",
        "epoll-reads",
        "depth 32, all CPUs",
        ratio(&["aio-epoll"], &["libuv"], 0.4),
    ),
    check(16, "create and destroy", "create", "50 in a row", ratio(&["aio-uring"], BARE, 1.3)),
    check(16, "stripped library, bytes", "size", "no features", exact("libaio_rs.so", 614400.0)),
];
