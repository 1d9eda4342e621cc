//! One question to the servers until one of them has answered it: which is asked next, over what,
//! for how long. Does no I/O: it says what to send to whom, and is told what came of it.

use crate::service::resolver::client::config::Settings;
use crate::service::resolver::client::message::{FullName, Question, Reading, Record};
use crate::service::resolver::data::Kind;
use crate::sys::errno::Errno;
use std::net::SocketAddr;

/// Names that are asked for in the place of another, in turn.
const ALIASES_MAX: u32 = 8;
/// What EDNS is for begins behind it.
pub(crate) const DATAGRAM_LEAST: u16 = 512;

/// Why a name could not be looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// No server has answered.
    TimedOut,
    /// The servers cannot be reached, or not be asked.
    Unreachable(Errno),
    /// Servers have failed, or have answered nonsense.
    Failed,
    /// Servers refuse, or do not understand.
    Refused,
}

/// What becomes of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// One record at least. `name` is the one behind all aliases.
    Records {
        name: FullName,
        records: Vec<Record>,
    },
    /// No such record, which can be relied on for `ttl` seconds.
    NoData {
        ttl: u32,
    },
    /// No such name.
    NoName {
        ttl: u32,
    },
    Failure(Failure),
}

/// A message to be sent to a server, whose answer is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub server: SocketAddr,
    /// Over TCP.
    pub stream: bool,
    pub timeout_ns: u64,
    /// How long a datagram with the answer may be.
    pub datagram_max: u16,
    pub message: Vec<u8>,
}

/// What is to be done after an answer.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// It was none: the right one may still come.
    Wait,
    /// Nobody is to be heard any more but who this goes to.
    Ask(Request),
    End(Verdict),
}

pub(crate) struct Exchange {
    /// The name that is being asked for: the first one, or what it is an alias of.
    name: FullName,
    kind: Kind,
    id: u16,
    /// Where the round begins.
    first: usize,
    /// Servers that were asked.
    asked: usize,
    stream: bool,
    /// Servers that do not understand EDNS are asked without it.
    plain: bool,
    aliases: u32,
    /// Seconds for which the aliases so far are good.
    ttl: u32,
    /// The most that is known of why there is no answer.
    failure: Option<Failure>,
}

impl Exchange {
    /// `first` chooses the server that is asked first; `random` is the message's number.
    pub(crate) fn begin(
        settings: &Settings, name: FullName, kind: Kind, first: usize, random: u16,
    ) -> (Exchange, Request) {
        let mut exchange = Exchange {
            name,
            kind,
            id: 0,
            first,
            asked: 0,
            stream: settings.tcp,
            plain: false,
            aliases: 0,
            ttl: u32::MAX,
            failure: None,
        };
        let request = exchange.ask(settings, random);
        (exchange, request)
    }

    /// The question to the server whose turn it is.
    fn ask(&mut self, settings: &Settings, random: u16) -> Request {
        self.id = random;
        let count = settings.servers.len();
        let round = (self.asked / count) as u32;
        let question = Question { id: self.id, name: &self.name, kind: self.kind };
        let says_size = !self.plain && settings.datagram_max > DATAGRAM_LEAST;
        Request {
            server: settings.servers[(self.first + self.asked) % count],
            stream: self.stream,
            timeout_ns: settings.timeout_ns.saturating_mul(1 << round),
            datagram_max: settings.datagram_max,
            message: question.write(says_size.then_some(settings.datagram_max)),
        }
    }

    /// A message has come from the server that was asked last, over what it was asked.
    pub(crate) fn received(&mut self, settings: &Settings, message: &[u8], random: u16) -> Next {
        let question = Question { id: self.id, name: &self.name, kind: self.kind };
        match question.read(message) {
            // A stream brings no other answer any more.
            Reading::Foreign if !self.stream => Next::Wait,
            Reading::Truncated if !self.stream => {
                self.stream = true;
                Next::Ask(self.ask(settings, random))
            }
            Reading::NotUnderstood if !self.plain && settings.datagram_max > DATAGRAM_LEAST => {
                self.plain = true;
                Next::Ask(self.ask(settings, random))
            }
            Reading::NotUnderstood | Reading::Refused => {
                self.failed(settings, Failure::Refused, random)
            }
            Reading::Foreign | Reading::Truncated | Reading::Malformed | Reading::Failed => {
                self.failed(settings, Failure::Failed, random)
            }
            Reading::Alias { name, ttl } => {
                self.aliases += 1;
                if self.aliases > ALIASES_MAX {
                    return Next::End(Verdict::Failure(Failure::Failed));
                }
                (self.name, self.ttl) = (name, self.ttl.min(ttl));
                self.stream = settings.tcp;
                Next::Ask(self.ask(settings, random))
            }
            Reading::Records { name, mut records } => {
                for record in &mut records {
                    record.ttl = record.ttl.min(self.ttl);
                }
                Next::End(Verdict::Records { name, records })
            }
            Reading::NoData { ttl } => Next::End(Verdict::NoData { ttl: ttl.min(self.ttl) }),
            Reading::NoName { ttl } => Next::End(Verdict::NoName { ttl: ttl.min(self.ttl) }),
        }
    }

    /// The server that was asked last has not answered, or not sensibly: the next one is asked.
    pub(crate) fn failed(&mut self, settings: &Settings, failure: Failure, random: u16) -> Next {
        // What a server has said tells more than another one's silence.
        self.failure = Some(match (self.failure, failure) {
            (Some(known), Failure::TimedOut) => known,
            (Some(known @ (Failure::Failed | Failure::Refused)), Failure::Unreachable(_)) => known,
            _ => failure,
        });
        self.asked += 1;
        self.stream = settings.tcp;
        self.plain = false;
        if self.asked == settings.servers.len() * settings.attempts as usize {
            return Next::End(Verdict::Failure(self.failure.unwrap_or(failure)));
        }
        Next::Ask(self.ask(settings, random))
    }
}
