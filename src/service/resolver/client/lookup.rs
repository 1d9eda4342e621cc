//! One lookup from its name to its records: the names that are tried in turn, and for each one or
//! two questions at a time. Like an `Exchange` it does no I/O; questions are told apart by their
//! *side*, 0 or 1.

use crate::service::resolver::client::cache::Cache;
use crate::service::resolver::client::config::Settings;
use crate::service::resolver::client::exchange::{Exchange, Failure, Next, Request, Verdict};
use crate::service::resolver::client::message::{FullName, Record};
use crate::service::resolver::data::{Kind, Want};
use crate::sys::clock;
use crate::sys::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};

/// Questions at a time.
pub(crate) const SIDES_MAX: usize = 2;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The name behind all aliases.
    pub name: FullName,
    pub records: Vec<Record>,
}

/// Why there is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    NoName,
    NoData,
    Failure(Failure),
}

/// What is to be done next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing that was not said before.
    Wait,
    /// What this side has received was no answer: it goes on waiting.
    Listen(usize),
    /// These are to be sent. The answer to what a side has asked before is not wanted any more.
    Ask(Vec<(usize, Request)>),
    End(Result<Found, Missing>),
}

enum Side {
    Asking(Exchange),
    Ended(Verdict),
}

pub(crate) struct Lookup {
    settings: Arc<Settings>,
    cache: Arc<Mutex<Cache>>,
    /// Answers are taken from the cache; they are put there in any case.
    uses_cache: bool,
    kinds: &'static [Kind],
    /// The server that is asked first.
    first: usize,
    name: FullName,
    /// The names that are tried after it.
    names: VecDeque<FullName>,
    /// For each of `kinds`.
    sides: Vec<Side>,
    has_no_data: bool,
    failure: Option<Failure>,
}

impl Lookup {
    /// None: the name is no name. `first` chooses among the servers.
    pub(crate) fn new(
        settings: Arc<Settings>, cache: Arc<Mutex<Cache>>, uses_cache: bool, text: &str,
        want: Want, first: usize,
    ) -> Option<Lookup> {
        let kinds: &[Kind] = match want {
            Want::One(Kind::A) => &[Kind::A],
            Want::One(Kind::Aaaa) => &[Kind::Aaaa],
            Want::One(Kind::Srv) => &[Kind::Srv],
            Want::One(Kind::Txt) => &[Kind::Txt],
            Want::Addresses if settings.no_aaaa => &[Kind::A],
            Want::Addresses => &[Kind::A, Kind::Aaaa],
        };
        let mut names = candidates(text, &settings)?;
        Some(Lookup {
            settings,
            cache,
            uses_cache,
            kinds,
            first,
            name: names.pop_front()?,
            names,
            sides: Vec::with_capacity(SIDES_MAX),
            has_no_data: false,
            failure: None,
        })
    }

    /// The first step.
    pub(crate) fn begin(&mut self) -> Progress {
        let mut requests = Vec::new();
        self.sides.clear();
        for (side, &kind) in self.kinds.iter().enumerate() {
            let known = if self.uses_cache {
                self.cache().find(&self.name, kind, clock::now_ns())
            } else {
                None
            };
            let state = known.map(Side::Ended).unwrap_or_else(|| {
                let (settings, name) = (&self.settings, self.name.clone());
                let (exchange, request) =
                    Exchange::begin(settings, name, kind, self.first, random());
                requests.push((side, request));
                Side::Asking(exchange)
            });
            self.sides.push(state);
        }
        if requests.is_empty() { self.conclude() } else { Progress::Ask(requests) }
    }

    /// A message has come for a side.
    pub(crate) fn received(&mut self, side: usize, message: &[u8]) -> Progress {
        let settings = Arc::clone(&self.settings);
        self.advance(side, |exchange| exchange.received(&settings, message, random()))
    }

    /// What a side has asked for will not be answered.
    pub(crate) fn failed(&mut self, side: usize, failure: Failure) -> Progress {
        let settings = Arc::clone(&self.settings);
        self.advance(side, |exchange| exchange.failed(&settings, failure, random()))
    }

    fn advance(&mut self, side: usize, step: impl FnOnce(&mut Exchange) -> Next) -> Progress {
        let Some(Side::Asking(exchange)) = self.sides.get_mut(side) else { return Progress::Wait };
        match step(exchange) {
            Next::Wait => Progress::Listen(side),
            Next::Ask(request) => Progress::Ask(vec![(side, request)]),
            Next::End(verdict) => {
                self.cache().store(&self.name, self.kinds[side], &verdict, clock::now_ns());
                self.sides[side] = Side::Ended(verdict);
                self.conclude()
            }
        }
    }

    /// What the answers so far amount to.
    fn conclude(&mut self) -> Progress {
        if self.sides.iter().any(|side| matches!(side, Side::Asking(_))) {
            return Progress::Wait;
        }
        let mut found: Option<Found> = None;
        let (mut is_over, mut is_absent, mut has_failed) = (false, false, false);
        for side in self.sides.drain(..) {
            match side {
                Side::Ended(Verdict::Records { name, records }) => match &mut found {
                    Some(found) => found.records.extend(records),
                    None => found = Some(Found { name, records }),
                },
                Side::Ended(Verdict::NoData { .. }) => is_absent = true,
                Side::Ended(Verdict::Failure(failure)) => {
                    // Servers that are silent will not answer for another name either.
                    is_over |= matches!(failure, Failure::TimedOut | Failure::Unreachable(_));
                    has_failed = true;
                    self.failure = Some(failure);
                }
                Side::Ended(Verdict::NoName { .. }) | Side::Asking(_) => {}
            }
        }
        if let Some(found) = found {
            return Progress::End(Ok(found));
        }
        // Of what could not be asked nobody knows that it is not there.
        self.has_no_data |= is_absent && !has_failed;
        if let Some(failure) = self.failure
            && is_over
        {
            return Progress::End(Err(Missing::Failure(failure)));
        }
        if let Some(name) = self.names.pop_front() {
            self.name = name;
            return self.begin();
        }
        Progress::End(Err(match self.failure {
            _ if self.has_no_data => Missing::NoData,
            Some(failure) => Missing::Failure(failure),
            None => Missing::NoName,
        }))
    }

    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random() -> u16 {
    clock::random_bits() as u16
}

/// The names that `text` may stand for, in the order in which they are tried. None: it is no name.
fn candidates(text: &str, settings: &Settings) -> Option<VecDeque<FullName>> {
    if text.is_empty() {
        return None;
    }
    let own = FullName::from_str(text).ok()?;
    let mut names = VecDeque::new();
    if !text.ends_with('.') {
        // One that is too long with what is appended is left out.
        let longer = settings.search.iter().map(|suffix| format!("{text}.{suffix}"));
        names.extend(longer.filter_map(|name| FullName::from_str(&name).ok()));
    }
    let dots = text.bytes().filter(|&byte| byte == b'.').count();
    if dots >= settings.ndots as usize {
        names.push_front(own)
    } else {
        names.push_back(own)
    }
    Some(names)
}
