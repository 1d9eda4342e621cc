//! Which descriptors the epoll instance watches, and who waits for them. A registration is made
//! once, edge-triggered, and kept while the number stays open, so that waiting costs no system
//! call.
//!
//! The kernel drops a registration without a word when its file is closed, and the number may name
//! another file soon after. Closes of the engine's own and descriptors that it makes are known; for
//! the rest, a wait that relies on a kept registration is a suspect until it has ended or was
//! checked, some milliseconds later. (An event proves nothing: the old file may live on under
//! another number.) A check is a renewal, which reports readiness anew; so a wait is late by that
//! time at the worst, and never lost. After the end of a stream, or an error, when the program
//! probably closes, no wait relies on the registration.

use crate::engine::backend::epoll::waiters::{List, Place, Side, Waiters};
use crate::engine::pages::Pages;
use crate::op;
use crate::sys::entry::Sqe;
use crate::sys::errno::Errno;
use crate::sys::plain;
use crate::sys::poller::{Poller, events};
use std::collections::VecDeque;

/// What is known of a watched descriptor.
mod known {
    /// A receive has found nothing, or left nothing, and no event has come since.
    pub(super) const DRY: u32 = 1 << 0;
    /// A socket that sends and receives: it does not listen.
    pub(super) const SOCKET: u32 = 1 << 1;
    /// Something has happened after which a short read does not mean that there is no more: the
    /// end, an error, urgent data.
    pub(super) const ODD: u32 = 1 << 2;
    /// A TCP socket: a short read has left nothing.
    pub(super) const TCP: u32 = 1 << 3;
    /// The registration is right, as of the newest wait.
    pub(super) const CHECKED: u32 = 1 << 4;
    /// The kernel has the registration, as far as is known.
    pub(super) const REGISTERED: u32 = 1 << 7;
    /// Whether it is a TCP socket was asked.
    pub(super) const ASKED: u32 = 1 << 6;
    /// In the list of suspects.
    pub(super) const SUSPECT: u32 = 1 << 5;
}

/// Renewals that must find all in order before registrations are relied on again.
const DISTRUST: u32 = 1000;
/// Suspects that are checked in one go.
const CHECKS_MAX: usize = 64;

/// Transfers between two looks at whether a file is open for direct I/O.
const BUFFERED_FOR: u32 = 64;

const SIDES: usize = 4;

#[derive(Clone, Default)]
pub(super) struct Watch {
    /// Tells the events of this registration from those of an earlier one of the number.
    generation: u32,
    /// Events that are watched, or that those who wait need.
    mask: u32,
    known: u32,
    /// How often the registration was found right.
    checks: u32,
    /// When the newest wait began, in rounds of checks.
    round: u32,
    /// For how many more transfers the file counts as one of the page cache.
    buffered: u32,
    lists: [List; SIDES],
}

impl Watch {
    #[inline(always)]
    pub(super) fn list(&mut self, side: Side) -> &mut List {
        &mut self.lists[side as usize]
    }

    /// Whether an attempt is worth its system call: not behind others that wait, and not when the
    /// last receive, or what it left, says that there is nothing. (No send says so for the next: a
    /// socket reports room when there is a third of it, and takes bytes before.)
    #[inline(always)]
    pub(super) fn is_worth_trying(&mut self, side: Side) -> bool {
        let hopeless = side == Side::Readers && self.is_dry();
        !hopeless && self.list(side).is_empty()
    }

    /// Whether the next event will tell of anything that can be received, its end included. What is
    /// not watched is not known, nor what nobody has tried.
    #[inline(always)]
    pub(super) fn is_dry(&self) -> bool {
        self.known & (known::DRY | known::ODD) == known::DRY && self.covers(events::IN)
    }

    /// Whether sends and receives are known to be calls that this descriptor understands.
    #[inline(always)]
    pub(super) fn is_socket(&self) -> bool {
        self.known & known::SOCKET != 0
    }

    #[inline(always)]
    fn covers(&self, mask: u32) -> bool {
        self.known & known::REGISTERED != 0 && self.mask & mask == mask
    }

    /// Whether a wait may rely on the registration as it is.
    #[inline(always)]
    fn is_relied_on(&self, mask: u32) -> bool {
        self.covers(mask) && self.known & known::ODD == 0
    }

    /// Somebody begins to wait and relies on the registration; true: it is a new suspect.
    #[inline(always)]
    fn suspect(&mut self, round: u32) -> bool {
        // Others who wait unproven must not wait for longer because of this one.
        if self.known & known::CHECKED != 0 || !self.has_waiters() {
            self.round = round;
        }
        let is_new = self.known & known::SUSPECT == 0;
        self.known = self.known & !known::CHECKED | known::SUSPECT;
        is_new
    }

    /// Somebody waits who relies on a registration that was not checked since.
    pub(super) fn is_unproven(&self) -> bool {
        self.known & known::CHECKED == 0
    }

    /// The end, an error or urgent data was seen.
    pub(super) fn is_odd(&self) -> bool {
        self.known & known::ODD != 0
    }

    /// A send or receive has found that it must wait.
    pub(super) fn found_unready(&mut self, side: Side) {
        self.known |= known::SOCKET | if side == Side::Readers { known::DRY } else { 0 };
    }

    /// A short read of what may be a TCP socket.
    #[inline(always)]
    pub(super) fn found_drained(&mut self) {
        if self.known & (known::TCP | known::ODD) == known::TCP {
            self.known |= known::DRY;
        }
    }

    #[inline(always)]
    fn note(&mut self, seen: u32) {
        let ends = seen & (events::HUP | events::ERR) != 0;
        if ends || seen & (events::IN | events::RDHUP | events::PRI) != 0 {
            self.known &= !known::DRY;
        }
        if ends || seen & (events::RDHUP | events::PRI) != 0 {
            self.known |= known::ODD;
        }
    }

    #[inline(always)]
    fn has_waiters(&self) -> bool {
        self.lists.iter().any(|list| !list.is_empty())
    }
}

/// What became of the only one who waits.
pub(super) enum Served {
    /// It goes on waiting.
    Nothing,
    /// Its id and its result.
    Ended(u64, i32),
}

pub(super) struct Watches {
    pub poller: Poller,
    pub waiters: Waiters,
    /// Members of chains whose turn has come, and operations that must be tried anew: their
    /// descriptor was found to be another file.
    pub due: VecDeque<u32>,
    table: Pages<Watch, 256>,
    suspects: VecDeque<i32>,
    /// For how many renewals no registration is relied on: a number was found to name another file,
    /// so that the program is one that closes by itself.
    distrust: u32,
    round: u32,
    pub system_calls: u64,
}

/// What identifies a registration in its events.
fn token(fd: i32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(fd as u32)
}

/// What is watched for the sake of a wait.
fn mask_for(side: Side, wanted: u32) -> u32 {
    match side {
        Side::Readers => events::IN | events::RDHUP | events::PRI,
        Side::Writers => events::OUT,
        Side::Pollers => wanted,
        Side::Exceptions => events::ERR | events::PRI,
    }
}

impl Watches {
    pub(super) fn create() -> Result<Watches, Errno> {
        Ok(Watches {
            poller: Poller::create()?,
            waiters: Waiters::default(),
            due: VecDeque::new(),
            table: Pages::default(),
            suspects: VecDeque::new(),
            distrust: 0,
            round: 1,
            system_calls: 0,
        })
    }

    /// Whether transfers of `fd` go through the page cache, as far as was seen not long ago: a
    /// number that names another file since is found out soon, and cost no more than time.
    #[inline(always)]
    pub(super) fn is_buffered(&mut self, fd: i32) -> bool {
        if fd < 0 {
            return false;
        }
        let watch = self.table.get_or_make(fd);
        if watch.buffered == 0 {
            self.system_calls += 1;
            watch.buffered = if plain::is_direct(fd) { 0 } else { BUFFERED_FOR };
        }
        let buffered = watch.buffered != 0;
        watch.buffered = watch.buffered.saturating_sub(1);
        buffered
    }

    /// A descriptor that nobody watches and that was found to go through the page cache.
    #[inline(always)]
    pub(super) fn is_known_file(&mut self, fd: i32) -> bool {
        if fd < 0 {
            return false;
        }
        let Some(watch) = self.table.get(fd) else { return false };
        let known = watch.known & known::REGISTERED == 0 && watch.buffered > 1;
        watch.buffered -= u32::from(known);
        known
    }

    #[inline(always)]
    pub(super) fn get(&mut self, fd: i32) -> Option<&mut Watch> {
        if fd < 0 { None } else { self.table.get(fd) }
    }

    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Lets an operation wait where a registration that is kept covers it; false: it does not.
    #[inline(always)]
    pub(super) fn wait_kept(&mut self, entry: &Sqe, side: Side) -> bool {
        let Some(watch) = self.table.get(entry.fd) else { return false };
        if self.distrust != 0 || !watch.is_relied_on(mask_for(side, 0)) {
            return false;
        }
        if watch.suspect(self.round) {
            self.suspects.push_back(entry.fd);
        }
        let key = self.waiters.add(entry, Place::Listed(side));
        self.waiters.at(key).checks = watch.checks;
        self.waiters.push(watch.list(side), key);
        true
    }

    /// Takes an event in where nobody waits but one receive, which is tried. None: somebody else
    /// waits, or it is no such receive.
    #[inline(always)]
    pub(super) fn serve_only_reader(&mut self, token: u64, seen: u32) -> Option<Served> {
        let fd = token as u32 as i32;
        let watch = self.table.get(fd)?;
        if watch.generation != (token >> 32) as u32
            || seen & !(events::IN | events::OUT) != 0
            || seen & events::IN == 0
            || !watch.lists[Side::Writers as usize].is_empty()
            || !watch.lists[Side::Pollers as usize].is_empty()
            || !watch.lists[Side::Exceptions as usize].is_empty()
        {
            return None;
        }
        let key = watch.lists[Side::Readers as usize].only()?;
        let waiter = self.waiters.at(key);
        if waiter.follower != 0 || waiter.holds != [0; 2] {
            return None;
        }
        let result = op::net::quick(&waiter.entry)?;
        watch.note(seen);
        if result == Errno::EAGAIN.status() {
            watch.found_unready(Side::Readers);
            return Some(Served::Nothing);
        }
        waiter.place = Place::Nowhere;
        *watch.list(Side::Readers) = List::default();
        if op::net::drains(&waiter.entry, result) {
            watch.found_drained();
        }
        Some(Served::Ended(waiter.entry.user_data, result))
    }

    /// Lets operation `key` wait for its descriptor. `renews`: what is ready now must be reported,
    /// whatever was reported before. EPERM: the descriptor cannot be watched.
    pub(super) fn wait(
        &mut self, key: u32, side: Side, wanted: u32, renews: bool,
    ) -> Result<(), Errno> {
        let fd = self.waiters.at(key).entry.fd;
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        let mask = mask_for(side, wanted);
        let watch = self.table.get_or_make(fd);
        let (checks, generation) = (watch.checks, watch.generation);
        if renews || self.distrust != 0 || !watch.is_relied_on(mask) {
            let mask = watch.mask | mask;
            self.register(fd, mask)?;
            if self.table.get_or_make(fd).generation != generation {
                // What was known of another file may have kept it from being tried.
                self.waiters.at(key).place = Place::Due;
                self.due.push_back(key);
                return Ok(());
            }
            if side == Side::Readers {
                self.note_protocol(fd);
            }
        } else if watch.suspect(self.round) {
            self.suspects.push_back(fd);
        }
        self.waiters.at(key).checks = checks;
        self.waiters.at(key).place = Place::Listed(side);
        let list = self.table.get_or_make(fd).list(side);
        self.waiters.push(list, key);
        Ok(())
    }

    /// Registers a descriptor before anybody waits for it.
    pub(super) fn reserve(&mut self, fd: i32) -> Result<(), Errno> {
        self.register(fd, events::IN)
    }

    /// Makes or renews the registration of `fd`.
    fn register(&mut self, fd: i32, mask: u32) -> Result<(), Errno> {
        let watch = self.table.get_or_make(fd);
        if watch.known & known::REGISTERED == 0 {
            return self.add(fd, mask);
        }
        self.system_calls += 1;
        match self.poller.renew(fd, mask, token(fd, watch.generation)) {
            Ok(()) => {
                self.distrust = self.distrust.saturating_sub(1);
                self.note_checked(fd, mask);
                Ok(())
            }
            Err(errno) => {
                self.distrust = DISTRUST;
                self.reset(fd);
                if errno == Errno::ENOENT { self.add(fd, mask) } else { Err(errno) }
            }
        }
    }

    fn add(&mut self, fd: i32, mask: u32) -> Result<(), Errno> {
        let watch = self.table.get_or_make(fd);
        let token = token(fd, watch.generation);
        self.system_calls += 1;
        match self.poller.add(fd, mask, token) {
            // Its file was watched under this number before the number was elsewhere for a while.
            Err(Errno::EEXIST) => self.poller.renew(fd, mask, token)?,
            added => added?,
        }
        self.note_checked(fd, mask);
        Ok(())
    }

    fn note_checked(&mut self, fd: i32, mask: u32) {
        let watch = self.table.get_or_make(fd);
        watch.mask = mask;
        watch.checks = watch.checks.wrapping_add(1);
        watch.known |= known::CHECKED | known::REGISTERED;
    }

    /// Learns once whether reads may be judged by their length.
    fn note_protocol(&mut self, fd: i32) {
        let watch = self.table.get_or_make(fd);
        if watch.known & known::ASKED != 0 {
            return;
        }
        self.system_calls += 1;
        watch.known |= known::ASKED;
        if plain::protocol(fd) == Some(plain::IPPROTO_TCP) {
            watch.known |= known::TCP;
        }
    }

    /// The number names another file than the one that is registered: those who wait for that one
    /// wait for ever, as they would on a ring; they must not get what belongs to the other. Those
    /// who came for the other have been judged by what was known of the first: they are tried.
    fn reset(&mut self, fd: i32) {
        let watch = self.table.get_or_make(fd);
        watch.generation = watch.generation.wrapping_add(1);
        watch.known &= known::SUSPECT;
        let checks = watch.checks;
        for side in [Side::Readers, Side::Writers, Side::Pollers, Side::Exceptions] {
            let list = std::mem::take(self.table.get_or_make(fd).list(side));
            let mut next = list.first();
            while let Some(key) = next {
                next = self.waiters.next(key);
                let waiter = self.waiters.at(key);
                if waiter.checks != checks {
                    waiter.place = Place::Lost;
                } else {
                    // It came after the last check, so for the file that is there now.
                    waiter.place = Place::Due;
                    self.due.push_back(key);
                }
            }
        }
    }

    /// The number is about to be closed by the engine, or was just given to a new descriptor.
    pub(super) fn forget(&mut self, fd: i32, closes: bool) {
        let Some(watch) = self.get(fd) else { return };
        watch.buffered = 0;
        if watch.known & known::REGISTERED == 0 && !watch.has_waiters() {
            return;
        }
        // All who wait came for the old file.
        watch.checks = watch.checks.wrapping_add(1);
        if closes {
            self.system_calls += 1;
            // Else another descriptor of the file (dup, fork) would keep the registration.
            self.poller.remove(fd);
        }
        self.reset(fd);
        self.table.get_or_make(fd).mask = 0;
    }

    /// An operation that waits was cancelled: perhaps because it waited in vain. What is not proven
    /// is not believed by the next one.
    pub(super) fn doubt(&mut self, fd: i32) {
        if let Some(watch) = self.get(fd)
            && watch.known & known::CHECKED == 0
        {
            watch.known &= !known::DRY;
        }
    }

    /// An operation is to be taken out of the list it is in.
    pub(super) fn unlist(&mut self, key: u32) {
        let waiter = self.waiters.at(key);
        let (fd, place) = (waiter.entry.fd, waiter.place);
        if let Place::Listed(side) = place
            && let Some(watch) = self.table.get(fd)
        {
            self.waiters.unlink(watch.list(side), key);
        }
    }

    /// Takes an event in; returns its descriptor, unless it is of an earlier file.
    #[inline(always)]
    pub(super) fn note_event(&mut self, token: u64, seen: u32) -> Option<i32> {
        let fd = token as u32 as i32;
        let watch = self.table.get(fd)?;
        if watch.generation != (token >> 32) as u32 {
            return None;
        }
        watch.note(seen);
        Some(fd)
    }

    /// Checks some of the suspects: of all, or of those that have waited for a whole round. True:
    /// there are more.
    pub(super) fn check(&mut self, all: bool) -> bool {
        let round = self.round;
        let mut left = self.suspects.len();
        let mut renewals = 0;
        while left != 0 && renewals != CHECKS_MAX {
            left -= 1;
            let Some(fd) = self.suspects.pop_front() else { break };
            let Some(watch) = self.table.get(fd) else { continue };
            let settled = watch.known & known::CHECKED != 0 || !watch.has_waiters();
            if !settled && !all && watch.round == round {
                self.suspects.push_back(fd);
                continue;
            }
            watch.known &= !known::SUSPECT;
            if !settled {
                renewals += 1;
                self.check_one(fd);
            }
        }
        if left == 0 {
            self.round = self.round.wrapping_add(1);
        }
        left != 0
    }

    fn check_one(&mut self, fd: i32) {
        let mask = self.table.get_or_make(fd).mask;
        if self.register(fd, mask).is_ok() {
            if mask & events::IN != 0 {
                self.note_protocol(fd);
            }
            return;
        }
        // It is closed, or a file that cannot be watched: who came for it finds out by trying.
        let lists = std::mem::take(&mut self.table.get_or_make(fd).lists);
        for list in lists {
            let mut next = list.first();
            while let Some(key) = next {
                next = self.waiters.next(key);
                self.waiters.at(key).place = Place::Due;
                self.due.push_back(key);
            }
        }
    }
}
