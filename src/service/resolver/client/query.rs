//! A lookup as an operation of a context: the sockets, and the inner operations on them. Each
//! message to a server has a socket of its own, whose port is random and which hears that server
//! alone. The first message of a lookup is sent when its turn has come (`gate.rs`).

use crate::engine::Refusal;
use crate::engine::external::{self, External, Inner, Payload, Scope};
use crate::engine::handle::Handle;
use crate::engine::{Done, SubmitOptions};
use crate::op::fs::Close;
use crate::op::net::{Address, Connect, Exact, Recv};
use crate::op::{service, traits};
use crate::service::resolver::client::exchange::{Failure, Request};
use crate::service::resolver::client::gate::{Gate, Turn};
use crate::service::resolver::client::lookup::{Found, Lookup, Missing, Progress, SIDES_MAX};
use crate::service::resolver::client::message::{Data, Record};
use crate::service::resolver::client::source::{Begun, Source};
use crate::service::resolver::data::{Answer, Entry, Kind, Options, Question, text};
use crate::sys::address::{Encoded, send_datagram, socket_for};
use crate::sys::clock;
use crate::sys::errno::Errno;
use crate::sys::names::{NAME_AGAIN, NAME_FAILED, NO_DATA, NO_NAME};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

/// Lookups with sockets at a time.
const LOOKUPS_DEFAULT: u32 = 128;
/// A message over a stream begins with its length.
const LENGTH_BYTES: usize = 2;

/// What `aio_resolver *` stands for.
pub(crate) struct Resolver {
    source: Source,
    gate: Arc<Gate>,
}

impl Resolver {
    /// `Err` is for a library that was built without this.
    pub(crate) fn create(options: Options) -> Result<Resolver, Errno> {
        let permits = match options.lookups_max {
            0 => LOOKUPS_DEFAULT,
            lookups => lookups,
        };
        Ok(Resolver { source: Source::new(options), gate: Gate::new(permits) })
    }

    /// Forgets the answers that are kept.
    pub(crate) fn forget(&self) {
        self.source.forget();
    }
}

/// Submits a lookup. `wrap` makes of an answer what is delivered.
pub(crate) fn submit<W>(
    handle: &Handle, resolver: Arc<Resolver>, question: Question, wrap: W, options: &SubmitOptions,
    done: Done,
) -> Result<u64, Refusal>
where
    W: FnOnce(Answer) -> Box<dyn Payload> + 'static,
{
    let query = Query {
        resolver,
        question,
        wrap: Some(wrap),
        lookup: None,
        turn: 0,
        permit: None,
        held: Vec::new(),
        sides: Default::default(),
        closing: 0,
        outcome: None,
    };
    external::begin(handle, query, options, done)
}

struct Query<W> {
    resolver: Arc<Resolver>,
    question: Question,
    wrap: Option<W>,
    lookup: Option<Box<Lookup>>,
    /// The inner operation that waits for the permit, and what is asked when it is here.
    turn: u64,
    permit: Option<Box<dyn Payload>>,
    held: Vec<(usize, Request)>,
    sides: [Side; SIDES_MAX],
    /// Sockets that are being closed.
    closing: u32,
    outcome: Option<Result<Answer, Missing>>,
}

/// One question at a time, to one server at a time.
#[derive(Default)]
struct Side {
    socket: Option<OwnedFd>,
    /// The inner operation that is waited for; 0: none.
    inner: u64,
    stage: Stage,
    until_ns: u64,
    /// What is sent, then what is received. The kernel uses it while `inner` is in flight.
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// For a datagram.
    #[default]
    Datagram,
    /// For a stream, for its having taken the question, and for both parts of the answer.
    Connect,
    Send,
    Length,
    Message,
}

impl Side {
    /// Begins to ask. The socket of the question before is closed by now.
    fn ask(&mut self, scope: &mut Scope<'_>, request: Request) -> Result<(), Errno> {
        self.until_ns = clock::now_ns().saturating_add(request.timeout_ns);
        if request.stream {
            return self.connect(scope, &request.server, &request.message);
        }
        self.socket = Some(send_datagram(&request.server, &request.message)?);
        self.stage = Stage::Datagram;
        self.buffer.clear();
        self.buffer.resize(usize::from(request.datagram_max), 0);
        self.submit(scope)
    }

    fn connect(
        &mut self, scope: &mut Scope<'_>, server: &SocketAddr, message: &[u8],
    ) -> Result<(), Errno> {
        let socket = socket_for(server, true)?;
        let encoded = Encoded::of(server);
        let address = Address { addr: encoded.pointer(), len: encoded.len() };
        let connect = Connect { fd: socket.as_raw_fd(), address };
        self.socket = Some(socket);
        self.stage = Stage::Connect;
        self.buffer.clear();
        self.buffer.extend((message.len() as u16).to_be_bytes());
        self.buffer.extend(message);
        self.inner = scope.submit(&connect, &self.options())?;
        Ok(())
    }

    /// Submits what the stage is for.
    fn submit(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::EBADF) };
        let (fd, len, flags) = (socket.as_raw_fd(), self.buffer.len(), 0);
        let (buf, options) = (self.buffer.as_mut_ptr().cast(), self.options());
        self.inner = match self.stage {
            Stage::Datagram => scope.submit(&Recv { fd, buf, len, flags }, &options),
            Stage::Connect => Err(Errno::EINVAL),
            Stage::Send => scope.submit(&Exact::<true> { fd, buf, len, flags }, &options),
            Stage::Length | Stage::Message => {
                scope.submit(&Exact::<false> { fd, buf, len, flags }, &options)
            }
        }?;
        Ok(())
    }

    /// All steps of a question have one deadline.
    fn options(&self) -> SubmitOptions {
        let left_ns = self.until_ns.saturating_sub(clock::now_ns());
        SubmitOptions { timeout_ns: left_ns.max(1), ..SubmitOptions::default() }
    }

    /// A step has succeeded: submits the next one, or says how much of the buffer is a message.
    fn advance(&mut self, scope: &mut Scope<'_>, result: i32) -> Result<Option<usize>, Errno> {
        (self.stage, self.buffer) = match self.stage {
            Stage::Datagram => return Ok(Some(result as usize)),
            Stage::Message => return Ok(Some(self.buffer.len())),
            Stage::Connect => (Stage::Send, std::mem::take(&mut self.buffer)),
            Stage::Send => (Stage::Length, vec![0; LENGTH_BYTES]),
            Stage::Length => {
                let len = u16::from_be_bytes([self.buffer[0], self.buffer[1]]);
                (Stage::Message, vec![0; usize::from(len)])
            }
        };
        self.submit(scope)?;
        Ok(None)
    }
}

impl<W> Query<W>
where
    W: FnOnce(Answer) -> Box<dyn Payload> + 'static,
{
    /// Does what a lookup asks for, until there is nothing left but to wait.
    fn follow(&mut self, scope: &mut Scope<'_>, mut progress: Progress) {
        let mut requests: Vec<(usize, Request)> = Vec::new();
        loop {
            match progress {
                Progress::Wait => {}
                Progress::Ask(more) => requests.extend(more),
                Progress::End(result) => return self.finish(scope, result.map(answer)),
                // Whoever sends other things without end does not hold it up.
                Progress::Listen(side) if clock::now_ns() >= self.sides[side].until_ns => {
                    progress = self.fail(side, Failure::TimedOut);
                    continue;
                }
                Progress::Listen(side) => match self.sides[side].submit(scope) {
                    Ok(()) => {}
                    Err(errno) => {
                        progress = self.fail(side, Failure::Unreachable(errno));
                        continue;
                    }
                },
            }
            let Some((side, request)) = requests.pop() else { return };
            self.close(scope, side);
            progress = match self.sides[side].ask(scope, request) {
                Ok(()) => Progress::Wait,
                Err(errno) => self.fail(side, Failure::Unreachable(errno)),
            };
        }
    }

    fn fail(&mut self, side: usize, failure: Failure) -> Progress {
        self.lookup.as_mut().map_or(Progress::Wait, |lookup| lookup.failed(side, failure))
    }

    /// Closes a side's socket, on which nothing is in flight.
    fn close(&mut self, scope: &mut Scope<'_>, side: usize) {
        let Some(socket) = self.sides[side].socket.take() else { return };
        let fd = socket.as_raw_fd();
        if scope.submit(&Close { fd }, &SubmitOptions::default()).is_ok() {
            let _ = socket.into_raw_fd();
            self.closing += 1;
        }
    }

    /// Ends the operation when the last socket is closed.
    fn finish(&mut self, scope: &mut Scope<'_>, outcome: Result<Answer, Missing>) {
        self.outcome = Some(outcome);
        (0..SIDES_MAX).for_each(|side| self.close(scope, side));
        self.end_if_closed(scope);
    }

    fn end_if_closed(&mut self, scope: &mut Scope<'_>) {
        if self.closing != 0 {
            return;
        }
        let Some(outcome) = self.outcome.take() else { return };
        self.permit = None;
        let (status, payload) = match (outcome, self.wrap.take()) {
            (Ok(answer), Some(wrap)) => (0, Some(wrap(answer))),
            (Ok(_), None) => (0, None),
            (Err(missing), _) => (status(missing), None),
        };
        scope.completer().end(status, 0, payload);
    }

    /// A step of a side has ended.
    fn stepped(&mut self, scope: &mut Scope<'_>, side: usize, result: i32) {
        self.sides[side].inner = 0;
        let outcome = Errno::check(result).and_then(|done| self.sides[side].advance(scope, done));
        let progress = match outcome {
            Ok(None) => return,
            Ok(Some(len)) => {
                let message = &self.sides[side].buffer[..len];
                let lookup = self.lookup.as_mut();
                lookup.map_or(Progress::Wait, |lookup| lookup.received(side, message))
            }
            Err(Errno::ETIMEDOUT) => self.fail(side, Failure::TimedOut),
            // A stream that ends too early.
            Err(Errno(5000..)) => self.fail(side, Failure::Failed),
            Err(errno) => self.fail(side, Failure::Unreachable(errno)),
        };
        self.follow(scope, progress);
    }
}

impl<W> External for Query<W>
where
    W: FnOnce(Answer) -> Box<dyn Payload> + 'static,
{
    fn kind(&self) -> external::Kind {
        external::Kind {
            opcode: service::RESOLVE,
            traits: traits::CALLER_MEMORY,
            brings: true,
            ..external::Kind::default()
        }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let mut lookup = match self.resolver.source.begin(&self.question) {
            Begun::Invalid => return Err(Errno::EINVAL),
            Begun::Ended(outcome) => {
                self.finish(scope, outcome);
                return Ok(());
            }
            Begun::Lookup(lookup) => lookup,
        };
        match lookup.begin() {
            Progress::Ask(requests) => {
                self.held = requests;
                self.turn = scope.begin(Turn::new(&self.resolver.gate))?;
                self.lookup = Some(lookup);
            }
            progress => self.follow(scope, progress),
        }
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> external::Answer {
        external::Answer::Removed
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        if inner.id == self.turn {
            self.turn = 0;
            self.permit = inner.payload;
            let requests = std::mem::take(&mut self.held);
            self.follow(scope, Progress::Ask(requests));
        } else if let Some(side) = self.sides.iter().position(|side| side.inner == inner.id) {
            self.stepped(scope, side, inner.result);
        } else {
            self.closing -= 1;
            self.end_if_closed(scope);
        }
    }

    fn place(&self) -> &'static str {
        if self.turn != 0 { "waiting for its turn" } else { "with name servers" }
    }
}

/// The status of a lookup without an answer.
fn status(missing: Missing) -> i32 {
    match missing {
        Missing::NoName => NO_NAME,
        Missing::NoData => NO_DATA,
        Missing::Failure(Failure::TimedOut) => Errno::ETIMEDOUT.status(),
        Missing::Failure(Failure::Unreachable(errno)) => errno.status(),
        Missing::Failure(Failure::Failed) => NAME_AGAIN,
        Missing::Failure(Failure::Refused) => NAME_FAILED,
    }
}

fn answer(found: Found) -> Answer {
    let entries = found.records.into_iter().map(entry).collect();
    Answer { name: text(&found.name.to_string()), entries }
}

fn entry(record: Record) -> Entry {
    match record.data {
        Data::Address(ip) => Entry::of_address(ip, record.ttl),
        Data::Service { priority, weight, port, target } => {
            let target = Some(text(&target.to_string()));
            Entry { priority, weight, port, target, ..Entry::new(Kind::Srv, record.ttl) }
        }
        Data::Text(strings) => {
            let mut entry = Entry::new(Kind::Txt, record.ttl);
            for string in strings {
                entry.data.extend(string);
                entry.ends.push(entry.data.len());
            }
            entry
        }
    }
}
