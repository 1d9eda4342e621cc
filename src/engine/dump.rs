//! What a person sees of a context: the dump of everything in flight, and the log callback.

use crate::engine::completion::INNER;
use crate::engine::descriptors::DIRECT;
use crate::engine::handle::{Handle, life};
use crate::engine::probe::Ground;
use crate::engine::slots::{Slot, phase, state};
use crate::engine::{ContextOptions, Engine, log_level};
use crate::op::{self, traits};
use crate::sys::clock;
use crate::sys::errno::Errno;
use crate::sys::ring::OPTIONAL;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fmt::Write;

/// What all lines of a dump look up.
struct Seen {
    staged: HashSet<u64>,
    remaining_ns: HashMap<u32, u64>,
}

impl Engine {
    /// A line about the context, then one per operation, the oldest first, then one per pool of
    /// buffers.
    pub(crate) fn dump(&self, handle: &Handle) -> String {
        let mut text = String::new();
        let now_ms = (clock::now_ns() / 1_000_000) as u32;
        let granted = self.granted();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "context {:p}: {}, {}, {} in flight",
            handle,
            if granted.emulated { "epoll" } else { "io_uring" },
            life::name(handle.life()),
            self.slots.live(),
        );
        if self.externals.inner() != 0 {
            let _ = write!(text, " and {} of services", self.externals.inner());
        }
        let _ = writeln!(
            text,
            ", {} posted, sq {} cq {} setup {:#x}",
            if self.inbox.is_empty() { "nothing" } else { "something" },
            granted.sq_entries,
            granted.cq_entries,
            granted.setup_flags,
        );
        let seen = Seen {
            staged: self.backend.staged_ids().collect(),
            remaining_ns: self.wheel.remaining_ns(self.now_ns()),
        };
        let mut lines: Vec<_> = self
            .slots
            .iter()
            .map(|(index, slot)| (now_ms.wrapping_sub(slot.submitted_ms), index))
            .collect();
        lines.sort_by_key(|&(age_ms, _)| std::cmp::Reverse(age_ms));
        for (age_ms, index) in lines {
            self.dump_operation(&mut text, index, age_ms, &seen);
        }
        self.dump_pools(&mut text);
        text
    }

    fn dump_operation(&self, text: &mut String, index: u32, age_ms: u32, seen: &Seen) {
        let slot = &self.settled(index);
        let cold = self.cold.get(slot);
        let steps = cold.and_then(|cold| cold.steps.as_ref());
        let name = steps.map_or(op::name(slot.opcode()), |steps| steps.name());
        let _ = write!(text, "  id {} {name}", slot.id());
        if slot.has(traits::MULTISHOT) {
            text.push_str(" multishot");
        }
        if slot.fd >= DIRECT {
            let _ = write!(text, " slot {}", slot.fd & !DIRECT);
        } else if slot.fd >= 0 {
            let _ = write!(text, " fd {}", slot.fd);
        }
        if let Some(second_fd) = cold.map(|cold| cold.second_fd).filter(|&fd| fd >= 0) {
            let _ = write!(text, " and {second_fd}");
        }
        let _ = write!(text, " age {age_ms} ms {}", self.place(index, slot, seen));
        if let Some(ns) = seen.remaining_ns.get(&index) {
            let what = if slot.phase() == phase::WHEEL { "due" } else { "deadline" };
            let _ = write!(text, ", {what} in {} ms", ns / 1_000_000);
        }
        if slot.callback == INNER {
            text.push_str(", a service's own");
        }
        if let Some(cold) = cold {
            if cold.group != 0 {
                let _ = write!(text, " group {}", cold.group);
            }
            if cold.correlation != 0 {
                let _ = write!(text, " correlation {}", cold.correlation);
            }
        }
        text.push_str(ending_name(slot));
        text.push('\n');
    }

    /// Where an operation is.
    fn place(&self, index: u32, slot: &Slot, seen: &Seen) -> Cow<'static, str> {
        let cold = self.cold.get(slot);
        let external = cold.and_then(|cold| cold.external.as_ref());
        if let Some(external) = external.filter(|_| slot.phase() == phase::EXTERNAL) {
            return external.place().into();
        }
        if slot.phase() != phase::BACKEND {
            return phase_name(slot).into();
        }
        let head = cold.and_then(|cold| self.chains.head(cold.chain)).filter(|&head| head != index);
        match head {
            Some(head) => format!("in a chain behind {}", self.slots.id(head)).into(),
            None if seen.staged.contains(&slot.id()) => "staged, not handed over".into(),
            None => "in the backend".into(),
        }
    }

    /// A line per buffer pool, as of the last look at what was released.
    fn dump_pools(&self, text: &mut String) {
        for (group, pool) in &self.pools.pools {
            let slots = &self.slots;
            let waiting = pool.paused.iter().chain(&pool.refused);
            let waiting = waiting.filter(|&&id| slots.find(id).is_some()).count();
            let _ = writeln!(
                text,
                "  pool {group}: {} buffers of {} bytes, {} free, {} leased, {}",
                pool.count(),
                pool.options.buffer_size,
                pool.free,
                pool.leased,
                match &pool.outbox {
                    Some(outbox) => format!("{} queued to be sent", outbox.len()),
                    None => format!("{waiting} of {} operations waiting for one", pool.users),
                },
            );
        }
    }

    /// Says what a new context was not granted.
    pub(crate) fn log_grants(&self, options: &ContextOptions) {
        let granted = self.granted();
        if granted.fallback.is_some() && self.log.is_some() {
            let why = Ground::of(&granted).backend().text;
            self.log(log_level::WARN, &format!("the epoll backend serves: {why}"));
        }
        let wanted: u32 = OPTIONAL.iter().sum();
        let missing = wanted & !granted.setup_flags;
        if missing != 0 && !granted.emulated {
            let message = format!("the kernel lacks ring set-up flags {missing:#x}: slower");
            self.log(log_level::INFO, &message);
        }
        let queues = [
            ("submission", granted.sq_entries, options.sq_entries),
            ("completion", granted.cq_entries, options.cq_entries),
        ];
        for (which, got, asked) in queues {
            if got < asked {
                let message = format!("the {which} queue has {got} entries, not {asked} as asked");
                self.log(log_level::WARN, &message);
            }
        }
    }

    /// Calls the log callback, if there is one.
    pub(crate) fn log(&self, level: i32, message: &str) {
        if self.mute {
            return;
        }
        log_to(self.log, level, message);
    }
}

impl Engine {
    /// Says why something ends with -EINVAL, where that is asked for.
    pub(crate) fn log_refusal(&self, what: &str, why: &str) {
        if self.logs_refusals {
            self.log(log_level::REFUSED, &format!("{what}: -EINVAL: {why}"));
        }
    }
}

impl Handle {
    /// The same of a call, in which no part of the engine is borrowed.
    #[cold]
    pub(crate) fn log_refused_call(&self, name: &str, errno: Errno) {
        if let Some(log) = self.refusals
            && errno.status() == Errno::EINVAL.status()
        {
            let why = errno.reason().unwrap_or("see Errors in its comment");
            log_to(Some(log), log_level::REFUSED, &format!("{name}: -EINVAL: {why}"));
        }
    }
}

/// Calls a log callback, if there is one. It must not call into the context that logs.
pub(crate) fn log_to(log: Option<crate::engine::Log>, level: i32, message: &str) {
    let Some(log) = log else { return };
    debug_assert!((log_level::ERROR..=log_level::REFUSED).contains(&level));
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the caller of create promised a function of this type, good for the context's life.
    unsafe { (log.function)(log.arg, level, message.as_ptr()) };
}

fn phase_name(slot: &Slot) -> &'static str {
    match slot.phase() {
        phase::WHEEL => "waiting for its time",
        phase::READY => "completed, callback due",
        phase::NOTIFY => "sent, its memory still in use",
        phase::HELD if slot.has(state::CLOSE_WAITS) => "waiting to close",
        phase::HELD if slot.has(state::BARRIER) => "behind a barrier",
        _ if slot.has(state::CHAINED) => "in an open chain",
        _ if slot.opcode() == op::msg_ring::OPCODE => "waiting for the other context",
        _ => "waiting for a buffer",
    }
}

fn ending_name(slot: &Slot) -> &'static str {
    if slot.has(state::EXPIRED) {
        ", deadline passed"
    } else if slot.has(state::CANCELLED) {
        ", cancelled"
    } else if slot.has(state::ABORTED) {
        ", aborted"
    } else {
        ""
    }
}
