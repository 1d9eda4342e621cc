//! From an operation to a staged entry. The plain case writes into the ring's memory and a slot,
//! nothing else; what needs more (options, copies, a chain, a barrier, a descriptor that is being
//! closed, a kernel without the opcode) goes through `submit_prepared`, which is not generic.

use crate::engine::asked::apply_options;
use crate::engine::backend::Backend;
use crate::engine::bundles::Bundle;
use crate::engine::cold::Cold;
use crate::engine::completion::{INNER, REAP};
use crate::engine::counts::Counts;
use crate::engine::descriptors::{DIRECT, target};
use crate::engine::msg_ring::Outgoing;
use crate::engine::slots::{OPCODE_SHIFT, Slot, index_of, phase, state};
use crate::engine::turn::odd;
use crate::engine::{Engine, chain};
use crate::op::any::{AnyOperation, Facts};
use crate::op::steps::Steps;
use crate::op::{self, Fallback, NO_DESCRIPTOR, Operation, traits};
use crate::sys::entry::{Sqe, WideSqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::facility;
use crate::sys::message::Outputs;
use crate::sys::refused::Fault;

/// Whom to tell. `callback` is a C function's address, or `AIO_CALLBACK_REAP`.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    pub callback: usize,
    pub user_data: usize,
}

impl Done {
    /// The state of an operation whose caller wants records, or is a service.
    fn records(self) -> u32 {
        if self.callback <= INNER { state::RECORDS } else { 0 }
    }
}

/// What a caller asks for beside the operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct SubmitOptions {
    /// Bits of [`submit_flags`].
    pub flags: u32,
    pub timeout_ns: u64,
    pub group: u64,
    /// Slot of the table of direct descriptors plus one.
    pub file_slot: u32,
    pub ioprio: u16,
    /// Registered buffer plus one.
    pub buf_index: u32,
    pub correlation: u64,
}

/// `AIO_SUBMIT_*`.
pub(crate) mod submit_flags {
    pub(crate) const LINK: u32 = 1;
    pub(crate) const HARDLINK: u32 = 2;
    pub(crate) const BARRIER: u32 = 4;
    pub(crate) const ASYNC: u32 = 8;
    pub(crate) const FIXED_FILE: u32 = 16;
    pub(crate) const DIRECT: u32 = 32;
    pub(crate) const QUIET: u32 = 64;
    pub(crate) const INHERIT: u32 = 128;
    pub(crate) const SIGPIPE: u32 = 256;
    pub(crate) const TIMEOUT_IDLE: u32 = 512;
    pub(crate) const KEEP_RESULT: u32 = 1024;
    pub(crate) const ALL: u32 = LINK
        | HARDLINK
        | BARRIER
        | ASYNC
        | FIXED_FILE
        | DIRECT
        | QUIET
        | INHERIT
        | SIGPIPE
        | TIMEOUT_IDLE
        | KEEP_RESULT;
    pub(crate) const LINKS: u32 = LINK | HARDLINK;
}

/// An operation as an entry, with what the engine must know of it.
pub(crate) struct Prepared {
    pub entry: WideSqe,
    pub traits: u32,
    /// The opcode by which a kernel is known that can do it.
    pub needs: u8,
    pub fd: i32,
    pub second_fd: i32,
    /// Where in the table of direct descriptors the result goes, as `op::files` counts; 0: nowhere.
    pub direct: u32,
    pub copy: Option<crate::engine::arena::Block>,
    pub outputs: Option<Outputs>,
    pub steps: Option<Steps>,
    /// The buffers of a pool that it sends.
    pub bundle: Option<Bundle>,
    /// A message to another context.
    pub outgoing: Option<Box<Outgoing>>,
    /// The group of the pool that its buffers come from, plus one.
    pub pool: u32,
    /// A plain call does it at once.
    pub prompt: bool,
}

/// Which way a careful submit goes.
enum Route {
    /// To the backend, as soon as it can.
    Backend,
    /// Behind a barrier of its own.
    Barrier,
    /// Into a chain.
    Chain { links: u32, barrier: bool },
    /// The kernel has no such operation: a plain call, now.
    Attempt(fn(&Sqe) -> i32),
    /// A message that goes through the other context's mailbox, now.
    Mail,
}

impl Engine {
    /// The plain submit of what has a callback, where nothing needs to be called or made: every
    /// condition is tested before anything is changed, so that this is a leaf without saved
    /// registers. None: nothing was done.
    #[inline(always)]
    pub(crate) fn submit_at_once<O: Operation>(
        &mut self, op: &O, done: Done, counts: &Counts,
    ) -> Option<i64> {
        let facts = op.facts();
        let fd = facts.fd;
        // A full queue, an open chain and a waiting barrier all mean that there is no room, and so
        // does the end of the queue's memory (`make_room`).
        debug_assert!(done.callback > INNER || done.callback == REAP);
        if !facts.is_plain() || !self.backend.has_room() {
            return None;
        }
        let closes = facts.traits & traits::CLOSES != 0;
        // A send that was made at once is to be told first, and is in no list yet.
        let has_sent = self.odd & odd::SENT != 0;
        if closes && (fd >= DIRECT || has_sent || !self.descriptors.is_empty(fd)) {
            return None;
        }
        let is_listed = O::HAS_DESCRIPTOR && !closes;
        let head = if is_listed { Some(self.descriptors.plain_head(fd)?) } else { None };
        if counts.is_at_most(O::OPCODE as u8) {
            return None;
        }
        let (id, slot) = self.slots.take_free()?;
        counts.submitted_plainly(O::OPCODE as u8);
        // First, so that no store into the slot is between two looks at the queue's tail.
        stage_plain(&mut self.backend, op, id);
        fill_plain(slot, &facts, done, self.now_ms);
        if let Some(head) = head {
            let first = list_plainly(slot, id, head);
            if first != 0 {
                self.slots.at_mut(first - 1).fd_prev = index_of(id) + 1;
            }
        }
        Some(id as i64)
    }

    /// Where `submit_at_once` has found no room: whether it would now.
    #[inline(always)]
    pub(crate) fn make_room(&mut self) -> bool {
        self.backend.make_room()
    }

    /// The same of what has a record.
    #[inline(always)]
    pub(crate) fn submit_recorded<O: Operation>(
        &mut self, op: &O, user_data: usize, counts: &Counts,
    ) -> Option<i64> {
        let id = self.submit_at_once(op, Done { callback: REAP, user_data }, counts)?;
        self.slots.at_mut(index_of(id as u64)).state |= state::RECORDS;
        Some(id)
    }

    /// Submits with all options at their defaults.
    pub(crate) fn submit(&mut self, op: &dyn AnyOperation, done: Done) -> Result<u64, Errno> {
        let facts = op.facts();
        let fd = facts.fd;
        let closes = facts.traits & traits::CLOSES != 0;
        let is_odd = fd >= DIRECT || (closes && !self.descriptors.is_empty(fd));
        if !facts.is_plain() || is_odd || !self.backend.finds_room() {
            return self.submit_carefully(op, &SubmitOptions::default(), done);
        }
        let (id, slot) = self.slots.take()?;
        if done.callback != INNER {
            self.counted.submitted(facts.opcode);
        }
        fill_plain(slot, &facts, done, self.now_ms);
        slot.state |= done.records();
        let index = index_of(id);
        if fd >= 0 && !closes {
            if !self.descriptors.link(&mut self.slots, &mut self.cold, index) {
                self.make_ready(index, Errno::EBADF.status(), 0);
                return Ok(id);
            }
            self.slots.at_mut(index).state |= state::LISTED;
        }
        stage_plain(&mut self.backend, op, id);
        Ok(id)
    }

    /// From now on no user function is called.
    pub(crate) fn silence(&mut self) {
        self.mute = true;
        self.decide_path();
    }

    /// Sends submissions and completions through the plain path, or the careful one while a chain
    /// is open, a barrier waits, not everything is allowed, somebody observes, or nobody must be
    /// called.
    pub(crate) fn decide_path(&mut self) {
        let careful = self.is_careful();
        let holds = self.chains.is_open() || self.allowed.is_some();
        self.backend.hold(holds || careful);
        self.holds_timers = holds || careful;
        self.backend.conceal(careful);
        self.leave_plain_turns();
    }

    /// Every completion takes the careful path.
    #[inline(always)]
    pub(crate) fn is_careful(&self) -> bool {
        !self.barriers.is_empty() || self.mute || self.observer.is_on()
    }

    /// Submits with options, copies and all.
    #[cold]
    #[inline(never)]
    pub(crate) fn submit_carefully(
        &mut self, op: &dyn AnyOperation, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let facts = op.facts();
        let mut copy = match facts.copied {
            0 => None,
            bytes => Some(self.arena.take(bytes)?),
        };
        let mut sqe = Sqe::default();
        op.write(&mut sqe, copy.as_deref_mut().unwrap_or_default());
        let prepared = Prepared {
            entry: sqe.into(),
            traits: facts.traits,
            needs: facts.needs,
            fd: facts.fd,
            second_fd: facts.second_fd,
            direct: 0,
            copy,
            outputs: facts.outputs,
            steps: facts.steps,
            bundle: None,
            outgoing: None,
            pool: facts.pool,
            prompt: facts.prompt,
        };
        self.submit_prepared(prepared, options, done)
    }

    /// Submits an entry that the caller filled.
    pub(crate) fn submit_raw(
        &mut self, entry: WideSqe, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let raw = op::misc::Raw(entry);
        if !raw.is_acceptable() {
            return Err(Errno::invalid(Fault::Raw));
        }
        let prepared = Prepared {
            entry,
            traits: raw.traits(),
            needs: entry.sqe.opcode,
            fd: raw.descriptor(),
            second_fd: NO_DESCRIPTOR,
            direct: 0,
            copy: None,
            outputs: None,
            steps: None,
            bundle: None,
            outgoing: None,
            pool: 0,
            prompt: false,
        };
        self.submit_prepared(prepared, options, done)
    }

    /// The one careful path. Nothing is changed when it returns an error.
    pub(crate) fn submit_prepared(
        &mut self, mut prepared: Prepared, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let outcome = self.try_submit(&mut prepared, options, done);
        if let Some(copy) = prepared.copy.take() {
            self.arena.give_back(copy);
        }
        outcome
    }

    fn try_submit(
        &mut self, prepared: &mut Prepared, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let opcode = match prepared {
            Prepared { outgoing: Some(_), .. } => op::msg_ring::OPCODE,
            Prepared { bundle: Some(_), .. } => op::bundles::OPCODE,
            _ => prepared.entry.sqe.opcode,
        };
        if self.allowed.is_some_and(|allowed| !facility::contains(&allowed, opcode)) {
            return Err(Errno::EACCES);
        }
        apply_options(prepared, options)?;
        self.apply_files(prepared, options)?;
        let route = self.route(prepared, options)?;
        self.begin_steps(prepared)?;
        let index = self.take_slot(opcode, prepared.fd, done, options)?;
        let id = self.slots.id(index);
        prepared.entry.sqe.user_data = id;
        self.attach_cold(index, prepared, options, &route);
        let slot = self.slots.at_mut(index);
        slot.state |= phase::BACKEND | prepared.traits & traits::KEPT;
        self.multishots += u32::from(prepared.traits & traits::MULTISHOT != 0);
        let group = self.group(index);
        if let Some(group) = group {
            self.pools.add_user(group);
        }
        if let Some(bundle) = prepared.bundle {
            self.pools.begin_bundle(bundle.group);
        }
        if options.timeout_ns != 0 {
            self.arm_after(index, options.timeout_ns);
        }
        let closes = prepared.traits & traits::CLOSES != 0;
        match route {
            Route::Chain { links, barrier } => self.join_chain(index, links, barrier),
            // The number is being closed: to the caller it is as good as closed.
            _ if !closes && !self.list(index) => {
                self.make_ready(index, Errno::EBADF.status(), 0);
            }
            Route::Attempt(attempt) => {
                self.make_ready(index, attempt(&prepared.entry.sqe), 0);
            }
            Route::Mail => self.mail_now(index),
            Route::Barrier if closes && !self.mark_closing(index) => {}
            Route::Barrier => self.hold_behind_barrier(index),
            Route::Backend if closes => self.begin_close(index),
            Route::Backend => match group {
                Some(group) if !self.pools.has_free(group) => self.pause(index, group),
                _ => self.backend.stage(&prepared.entry),
            },
        }
        Ok(id)
    }

    /// Which way an operation goes, or why it cannot.
    fn route(&self, prepared: &Prepared, options: &SubmitOptions) -> Result<Route, Errno> {
        let links = options.flags & submit_flags::LINKS;
        let barrier = options.flags & submit_flags::BARRIER != 0;
        let is_open = self.chains.is_open();
        let chained = links != 0 || is_open;
        let multishot = prepared.traits & traits::MULTISHOT != 0;
        if chained && (multishot || prepared.pool != 0) {
            return Err(Errno::invalid(Fault::Chained));
        }
        if barrier && is_open {
            return Err(Errno::invalid(Fault::BarrierInside));
        }
        if let Some(steps) = &prepared.steps
            && (links == submit_flags::HARDLINK || (links != 0 && !steps.keeps_links()))
        {
            return Err(Errno::invalid(Fault::Steps));
        }
        let opcode = prepared.entry.sqe.opcode;
        // A plain call knows no slots of the table.
        let free = !chained && !barrier && !prepared.uses_table();
        let is_missing = !self.backend.supports(prepared.needs);
        if is_missing || (prepared.prompt && free && options.flags & submit_flags::ASYNC == 0) {
            match op::fallback(opcode) {
                Some(Fallback::Prompt(call) | Fallback::Brief(call)) if free => {
                    return Ok(Route::Attempt(call));
                }
                _ if is_missing => return Err(Errno::EOPNOTSUPP),
                _ => {}
            }
        }
        let is_mail = prepared.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_mail());
        Ok(if chained {
            Route::Chain { links, barrier }
        } else if barrier {
            Route::Barrier
        } else if is_mail && options.flags & submit_flags::ASYNC == 0 {
            Route::Mail
        } else {
            Route::Backend
        })
    }

    /// Gives an operation its cold part, if it needs one.
    fn attach_cold(
        &mut self, index: u32, prepared: &mut Prepared, options: &SubmitOptions, route: &Route,
    ) {
        let idle = options.flags & submit_flags::TIMEOUT_IDLE != 0;
        let epoch = self.barriers.note();
        let keeps_entry = matches!(route, Route::Chain { .. } | Route::Barrier)
            || prepared.traits & (traits::CLOSES | traits::REARMS) != 0
            || prepared.pool != 0;
        let keeps_entry = keeps_entry && !self.is_rebuildable(prepared, route);
        let is_plain = !keeps_entry
            && !idle
            && prepared.steps.is_none()
            && prepared.outgoing.is_none()
            && prepared.bundle.is_none()
            && epoch == 0
            && prepared.copy.is_none()
            && prepared.second_fd < 0
            && prepared.direct == 0
            && options.group == 0
            && options.correlation == 0;
        if is_plain {
            self.slots.at_mut(index).cold = prepared.pool;
            return;
        }
        let cold = Cold {
            entry: prepared.entry,
            copy: prepared.copy.take(),
            outputs: prepared.outputs,
            steps: prepared.steps.take(),
            bundle: prepared.bundle,
            outgoing: prepared.outgoing.take(),
            pool: prepared.pool,
            second_fd: prepared.second_fd,
            direct: prepared.direct,
            group: options.group,
            correlation: options.correlation,
            period_ns: if idle { options.timeout_ns } else { 0 },
            epoch,
            ..Cold::new()
        };
        let key = self.cold.add(cold);
        let slot = self.slots.at_mut(index);
        slot.cold = key;
        slot.state |= state::COLD;
    }

    /// Whether `start` can make the entry anew, so that it need not be kept: an idle connection
    /// then costs a slot and no more.
    fn is_rebuildable(&self, prepared: &Prepared, route: &Route) -> bool {
        prepared.pool != 0
            && matches!(route, Route::Backend)
            && op::buffers::is_usual(&prepared.entry.sqe)
    }

    /// A slot for an operation of any kind, its phase yet to be set; `observe_submit` when nothing
    /// can refuse it any more.
    pub(crate) fn try_slot(
        &mut self, opcode: u8, fd: i32, done: Done, options: &SubmitOptions,
    ) -> Result<u32, Errno> {
        let (id, slot) = self.slots.take()?;
        if done.callback != INNER {
            self.counted.submitted(opcode);
        }
        slot.callback = done.callback;
        slot.user_data = done.user_data;
        slot.fd = fd;
        slot.submitted_ms = self.now_ms;
        let asked = |flag: u32, bit: u32| if options.flags & flag != 0 { bit } else { 0 };
        slot.state = u32::from(opcode) << OPCODE_SHIFT
            | asked(submit_flags::QUIET, state::QUIET)
            | asked(submit_flags::SIGPIPE, state::SIGPIPE)
            | asked(submit_flags::TIMEOUT_IDLE, state::IDLE_DEADLINE)
            | done.records();
        let index = index_of(id);
        self.observe_begin(index);
        Ok(index)
    }

    /// Lists an operation under its descriptors; false if one of them is being closed.
    pub(crate) fn list(&mut self, index: u32) -> bool {
        let slot = self.slots.at(index);
        let second = self.cold.get(slot).map_or(NO_DESCRIPTOR, |cold| cold.second_fd);
        if slot.fd >= 0 {
            if !self.descriptors.link(&mut self.slots, &mut self.cold, index) {
                self.forget_second(index);
                return false;
            }
            self.slots.at_mut(index).state |= state::LISTED;
        }
        if second >= 0
            && !self.descriptors.link_second(&mut self.slots, &mut self.cold, index, second)
        {
            self.forget_second(index);
            return false;
        }
        true
    }

    /// An operation that is not listed under its second descriptor must not be unlinked there.
    fn forget_second(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.has(state::COLD) {
            self.cold.of(slot).second_fd = NO_DESCRIPTOR;
        }
    }

    /// Stages an operation whose entry is kept: one that was held, or a multishot again.
    pub(crate) fn start(&mut self, index: u32) {
        let slot = self.slots.at_mut(index);
        if slot.phase() == phase::HELD {
            self.local -= 1;
        }
        slot.set_phase(phase::BACKEND);
        let slot = self.slots.at(index);
        if let (false, Some(group)) = (slot.has(state::COLD), self.group(index)) {
            let mut sqe =
                op::buffers::rebuild(target(slot.fd), group, self.pools.takes_bundles(group));
            sqe.user_data = slot.id();
            return self.backend.stage(&sqe.into());
        }
        let (closes, fd) = (slot.has(traits::CLOSES), slot.fd);
        let entry = self.cold.of(self.slots.at(index)).entry;
        match if closes { self.before_close(fd) } else { None } {
            Some(first) => self.backend.stage_chain(&[first, entry]),
            None => self.backend.stage(&entry),
        }
    }

    /// Adds an operation to the open chain, opening one if there is none.
    fn join_chain(&mut self, index: u32, links: u32, barrier: bool) {
        let slot = self.slots.at_mut(index);
        slot.state |= state::CHAINED;
        slot.set_phase(phase::HELD);
        self.local += 1;
        let slot = self.slots.at(index);
        let is_close = slot.has(traits::CLOSES);
        let cold = self.cold.of(slot);
        cold.entry.sqe.flags |= match links {
            0 => 0,
            submit_flags::LINK => sqe_flags::IO_LINK,
            _ => sqe_flags::IO_HARDLINK,
        };
        let key = self.chains.join(index, barrier);
        cold.chain = key;
        self.decide_path();
        if let Some(before) = self.chains.before_last(key) {
            let slot = self.slots.at(before);
            self.cold.of(slot).chain_next = index + 1;
        }
        let fd = self.slots.at(index).fd;
        if (is_close && self.descriptors.is_closing(fd)) || (!is_close && !self.list(index)) {
            self.chains.spoil(key, chain::Spoiled::BadDescriptor);
        }
        if links == 0 {
            self.close_chain(key);
        }
    }
}

/// Puts a slot at the front of the list that begins at `head`; gives the link of the one behind it,
/// which is to be told.
#[inline(always)]
pub(super) fn list_plainly(slot: &mut Slot, id: u64, head: &mut u32) -> u32 {
    let first = std::mem::replace(head, index_of(id) + 1);
    slot.state |= state::LISTED;
    (slot.fd_next, slot.fd_prev) = (first, 0);
    first
}

/// Writes an entry where `has_room` has said that there is room.
#[inline(always)]
pub(super) fn stage_plain<'a, O: AnyOperation + ?Sized>(
    backend: &'a mut Backend, op: &O, id: u64,
) -> &'a mut Sqe {
    let sqe = backend.claim();
    op.write(sqe, &mut []);
    sqe.user_data = id;
    sqe
}

#[inline(always)]
pub(super) fn fill_plain(slot: &mut Slot, facts: &Facts, done: Done, now_ms: u32) {
    slot.callback = done.callback;
    slot.user_data = done.user_data;
    slot.fd = facts.fd;
    slot.submitted_ms = now_ms;
    let opcode = u32::from(facts.opcode) << OPCODE_SHIFT;
    slot.state = opcode | phase::BACKEND | facts.traits & traits::KEPT;
}
