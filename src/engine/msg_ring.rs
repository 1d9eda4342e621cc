//! Messages between contexts: how they travel, and what becomes of them where they arrive. Rings
//! get them from the kernel (MSG_RING), as completions without an operation; where one of the two
//! has none, or has not been adopted, they go through the mailbox. Whoever sends learns how it
//! went, and what is sent is somebody's at any time: a descriptor on its way is closed by whoever
//! holds it last.

use crate::engine::cancel::INTERNAL;
use crate::engine::cold::Cold;
use crate::engine::completion::{Delivery, ended};
use crate::engine::handle::{Handle, Reference};
use crate::engine::mailbox::{Batch, Message};
use crate::engine::slots::{phase, state};
use crate::engine::submission::{Done, Prepared, SubmitOptions, submit_flags};
use crate::engine::{Engine, Refusal};
use crate::op::{self, NO_DESCRIPTOR, Operation, files, misc, traits};
use crate::sys::descriptor::{self, Parcelled, kernel_version};
use crate::sys::entry::{Cqe, Opcode, Sqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::ring::{IORING_SETUP_IOPOLL, OpenRing};
use crate::sys::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

/// The result where the other context does not take messages any more (`AIO_ECLOSED`).
pub(crate) const GONE: i32 = -5009;

/// The user_data of the completion that brings a file, with the index of the slot that the sender
/// has asked for; no id has generation 0.
const BROUGHT: u64 = INTERNAL | 1 << 23;
const SLOT_MASK: u64 = (1 << 21) - 1;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Numbers,
    File,
}

/// Two numbers, or the slot that a file was put into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub result: i32,
    pub data: u64,
}

/// A descriptor on its way, until one of the two ends has it; then what became of it.
enum Fate {
    Travels(Parcelled),
    Ended(i32),
}

type SharedFate = Arc<Mutex<Fate>>;

/// A file for the table of a context that no ring can put it into.
pub(crate) struct Parcel {
    fate: SharedFate,
    file_index: u32,
    from: Reference,
    id: u64,
}

impl Drop for Parcel {
    /// Answers in any case: where nobody has taken it, it was for nobody.
    fn drop(&mut self) {
        let mut fate = lock(&self.fate);
        if let Fate::Travels(_) = *fate {
            *fate = Fate::Ended(GONE);
        }
        drop(fate);
        // Who is closed wants no answer.
        let _: Result<(), Refusal> = self.from.send(Message::Answer(self.id));
    }
}

fn lock(fate: &Mutex<Fate>) -> MutexGuard<'_, Fate> {
    fate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller sends.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Numbers(Letter),
    /// The file of a slot, for slot `file_index - 1` or a free one.
    File {
        slot: u32,
        file_index: u32,
    },
}

enum Way {
    /// From ring to ring; the descriptor must stay what it is until the entry was carried out.
    Ring {
        _open: OpenRing,
    },
    Mail,
    /// Sent; the other context will answer.
    Sent(SharedFate),
}

/// A message that was submitted.
pub(crate) struct Outgoing {
    from: Reference,
    to: Reference,
    content: Content,
    way: Way,
}

impl Outgoing {
    /// Whether it can be sent at once, without an entry.
    pub(crate) fn is_mail(&self) -> bool {
        matches!((&self.way, self.content), (Way::Mail, Content::Numbers(_)))
    }

    /// What a ring's refusal means.
    fn refusal(&self, result: i32) -> i32 {
        match Errno(-result) {
            Errno::ECANCELED => result,
            _ if self.to.check_any_thread().is_err() => GONE,
            _ => result,
        }
    }
}

/// What has arrived, and who receives it; by kind.
#[derive(Default)]
pub(crate) struct Messages {
    receivers: [u64; 2],
    /// What came while nobody received, or behind that.
    kept: [VecDeque<Letter>; 2],
}

/// What a completion without an operation brings.
pub(crate) fn received(cqe: &Cqe) -> Option<(Kind, Letter)> {
    if cqe.flags & cqe_flags::MESSAGE != 0 {
        return Some((Kind::Numbers, Letter { result: cqe.result, data: cqe.user_data }));
    }
    if cqe.user_data & !SLOT_MASK != BROUGHT {
        return None;
    }
    let asked = (cqe.user_data & SLOT_MASK) as i32;
    let slot = if asked == 0 { cqe.result } else { asked - 1 };
    Some((Kind::File, Letter { result: slot, data: 0 }))
}

impl Engine {
    // --- sending -------------------------------------------------------------------------------

    /// Whether this context's ring can send to others.
    fn sends_directly(&self, content: &Content) -> bool {
        let numbers = matches!(content, Content::Numbers(_));
        !self.backend.emulates_files()
            && self.granted().setup_flags & IORING_SETUP_IOPOLL == 0
            && self.backend.supports(op::msg_ring::OPCODE)
            && kernel_version() >= if numbers { (6, 3) } else { (6, 0) }
    }

    /// Submits a message to another context, or to this one.
    pub(crate) fn send_message(
        &mut self, own: &Handle, to: &Handle, content: Content, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Refusal> {
        const REFUSED: u32 = submit_flags::INHERIT | submit_flags::FIXED_FILE;
        to.check_any_thread()?;
        let is_own = std::ptr::eq(own, to);
        if options.flags & REFUSED != 0 || (is_own && matches!(content, Content::File { .. })) {
            return Err(Errno::EINVAL.into());
        }
        let direct = !is_own && self.sends_directly(&content);
        let ring = if direct { to.open_ring() } else { None };
        let entry = entry(&content, ring.as_ref());
        let prepared = Prepared {
            entry: entry.into(),
            traits: 0,
            needs: entry.opcode,
            fd: if let Content::File { slot, .. } = content { slot as i32 } else { NO_DESCRIPTOR },
            second_fd: NO_DESCRIPTOR,
            direct: 0,
            copy: None,
            outputs: None,
            steps: None,
            bundle: None,
            outgoing: Some(Box::new(Outgoing {
                from: Reference::to(own),
                to: Reference::to(to),
                content,
                way: ring.map_or(Way::Mail, |open| Way::Ring { _open: open }),
            })),
            pool: 0,
            prompt: false,
        };
        Ok(self.submit_prepared(prepared, options, done)?)
    }

    /// Sends numbers by mail inside the submit.
    pub(crate) fn mail_now(&mut self, index: u32) {
        if let Some(result) = self.mail(index) {
            self.make_ready(index, result, 0);
        }
    }

    /// Sends numbers by mail; the result. None: the other context was adopted meanwhile, and a ring
    /// that takes its messages from rings takes them in order: it is on its way there.
    fn mail(&mut self, index: u32) -> Option<i32> {
        let outgoing = self.outgoing(index)?;
        let Content::Numbers(letter) = outgoing.content else { return None };
        let is_own = std::ptr::eq(&raw const *outgoing.from, &raw const *outgoing.to);
        let direct = !is_own && outgoing.to.has_address() && self.sends_directly(&letter.into());
        let outgoing = self.outgoing(index)?;
        if !direct {
            let sent = outgoing.to.send(Message::Letter(letter));
            return Some(if sent.is_ok() { 0 } else { GONE });
        }
        if outgoing.to.mailbox.send_early(letter) {
            return Some(0);
        }
        let Some(ring) = outgoing.to.open_ring() else { return Some(GONE) };
        let entry = entry(&letter.into(), Some(&ring));
        outgoing.way = Way::Ring { _open: ring };
        self.leave_chain(index);
        let user_data = self.slots.id(index);
        self.cold.of(self.slots.at(index)).entry = Sqe { user_data, ..entry }.into();
        self.start(index);
        None
    }

    fn outgoing(&mut self, index: u32) -> Option<&mut Outgoing> {
        let slot = self.slots.at(index);
        if slot.has(state::COLD) { self.cold.of(slot).outgoing.as_deref_mut() } else { None }
    }

    /// The entry of a message was carried out.
    pub(crate) fn complete_message(&mut self, index: u32, cqe: Cqe) -> Option<Delivery> {
        let bits = self.slots.at(index).state;
        let outgoing = self.outgoing(index)?;
        let (mut result, mut flags) = (cqe.result, 0);
        if cqe.result < 0 {
            result = outgoing.refusal(cqe.result);
            (result, flags) = self.spell(index, result);
        } else {
            match (&outgoing.way, outgoing.content) {
                (Way::Mail, Content::Numbers(_)) => result = self.mail(index)?,
                (Way::Mail, Content::File { .. })
                    if bits & (state::ENDED | state::DISCARD) != 0 =>
                {
                    descriptor::close(cqe.result);
                    (result, flags) = ended(bits);
                }
                (Way::Mail, Content::File { file_index, .. }) => {
                    self.send_parcel(index, Parcelled::adopt(cqe.result), file_index);
                    return None;
                }
                (_, Content::File { file_index, .. }) if file_index != files::ALLOCATE => {
                    result = file_index as i32 - 1;
                }
                _ => {}
            }
        }
        self.end(index, result, flags, 0)
    }

    /// The operation waits for the answer.
    fn send_parcel(&mut self, index: u32, descriptor: Parcelled, file_index: u32) {
        self.leave_chain(index);
        self.slots.at_mut(index).set_phase(phase::HELD);
        self.local += 1;
        let id = self.slots.id(index);
        let Some(outgoing) = self.outgoing(index) else { return };
        let fate = Arc::new(Mutex::new(Fate::Travels(descriptor)));
        let from = Reference::to(&outgoing.from);
        let parcel = Parcel { fate: fate.clone(), file_index, from, id };
        outgoing.way = Way::Sent(fate);
        // One that is refused answers as well.
        let _: Result<(), Refusal> = outgoing.to.send(Message::Parcel(Box::new(parcel)));
    }

    /// Takes back what the other context has not got yet. Its result, if it has.
    pub(crate) fn withdraw(&mut self, index: u32) -> Option<i32> {
        let Way::Sent(fate) = &self.outgoing(index)?.way else { return None };
        match std::mem::replace(&mut *lock(fate), Fate::Ended(Errno::ECANCELED.status())) {
            Fate::Travels(_) => None,
            Fate::Ended(result) => Some(result),
        }
    }

    fn answered(&mut self, id: u64) -> Option<Delivery> {
        let index = self.slots.find(id)?;
        if self.slots.at(index).phase() != phase::HELD {
            return None;
        }
        let result = self.withdraw(index)?;
        self.local -= 1;
        self.end(index, result, 0, 0)
    }

    // --- receiving -----------------------------------------------------------------------------

    /// Submits a receive of messages; there is one of a kind at a time.
    pub(crate) fn submit_receive(
        &mut self, kind: Kind, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        const KNOWN: u32 = submit_flags::TIMEOUT_IDLE;
        let idle = options.flags & submit_flags::TIMEOUT_IDLE != 0;
        let is_odd = options.file_slot != 0 || options.buf_index != 0 || options.ioprio != 0;
        if options.flags & !KNOWN != 0
            || is_odd
            || (idle && options.timeout_ns == 0)
            || self.chains.is_open()
        {
            return Err(Errno::EINVAL);
        }
        if self.receiver(kind).is_some() {
            return Err(Errno::EBUSY);
        }
        let (opcode, gives, direct) = match kind {
            Kind::Numbers => (op::service::RECEIVE, 0, 0),
            Kind::File => (op::service::RECEIVE_FD, traits::GIVES_DESCRIPTOR, files::ALLOCATE),
        };
        if kind == Kind::File && self.descriptors.table_len() == 0 {
            return Err(Errno::ENXIO);
        }
        let index = self.take_slot(opcode, NO_DESCRIPTOR, done, options)?;
        let key = self.cold.add(Cold {
            direct,
            group: options.group,
            correlation: options.correlation,
            period_ns: if idle { options.timeout_ns } else { 0 },
            ..Cold::new()
        });
        self.multishots += 1;
        let slot = self.slots.at_mut(index);
        slot.cold = key;
        slot.state |= phase::BACKEND | state::COLD | traits::MULTISHOT | gives;
        if options.timeout_ns != 0 {
            self.arm_after(index, options.timeout_ns);
        }
        let id = self.slots.id(index);
        self.messages.receivers[kind as usize] = id;
        if !self.messages.kept[kind as usize].is_empty() {
            self.inbox.push_front(Message::Kept(kind));
        }
        Ok(id)
    }

    /// The operation that receives messages of a kind now.
    fn receiver(&self, kind: Kind) -> Option<u32> {
        let index = self.slots.find(self.messages.receivers[kind as usize])?;
        (self.slots.at(index).phase() == phase::BACKEND).then_some(index)
    }

    /// A message has arrived; what came before goes first.
    pub(crate) fn receive(&mut self, kind: Kind, letter: Letter) -> Option<Delivery> {
        if kind == Kind::File {
            self.note_sent_slot(letter.result);
        }
        match self.receiver(kind) {
            Some(index) if self.messages.kept[kind as usize].is_empty() => {
                self.tell_letter(index, kind, letter)
            }
            _ => {
                self.messages.kept[kind as usize].push_back(letter);
                None
            }
        }
    }

    fn tell_letter(&mut self, index: u32, kind: Kind, letter: Letter) -> Option<Delivery> {
        self.restart_idle_deadline(index);
        let delivery = self.tell(index, letter.result, cqe_flags::MORE, letter.data)?;
        let moved = if kind == Kind::Numbers { Some(letter.data) } else { None };
        Some(Delivery { moved, ..delivery })
    }

    /// What was sent before the context was adopted waits for the first receive.
    pub(crate) fn keep_letters(&mut self, early: Batch) {
        for message in early {
            if let Message::Letter(letter) = message {
                self.messages.kept[Kind::Numbers as usize].push_back(letter);
            }
        }
    }

    /// The table is gone, and the files that were sent with it.
    pub(crate) fn forget_sent_slots(&mut self) {
        self.messages.kept[Kind::File as usize].clear();
    }

    /// What the mailbox has brought.
    pub(crate) fn take_message(&mut self, message: Message) -> Option<Delivery> {
        match message {
            Message::Letter(letter) => self.receive(Kind::Numbers, letter),
            Message::Parcel(parcel) => self.unpack(&parcel),
            Message::Answer(id) => self.answered(id),
            Message::Kept(kind) => {
                let index = self.receiver(kind)?;
                let letter = self.messages.kept[kind as usize].pop_front()?;
                if !self.messages.kept[kind as usize].is_empty() {
                    self.inbox.push_front(Message::Kept(kind));
                }
                self.tell_letter(index, kind, letter)
            }
            _ => None,
        }
    }

    /// Puts a file that was sent into the table. While that goes on it cannot be withdrawn.
    fn unpack(&mut self, parcel: &Parcel) -> Option<Delivery> {
        if self.destroying || self.mute {
            return None;
        }
        let mut fate = lock(&parcel.fate);
        let Fate::Travels(descriptor) = &*fate else { return None };
        let placed = self.place_file(descriptor.raw(), parcel.file_index);
        *fate = Fate::Ended(placed.map_or_else(Errno::status, |slot| slot as i32));
        drop(fate);
        self.receive(Kind::File, Letter { result: placed.ok()? as i32, data: 0 })
    }
}

impl From<Letter> for Content {
    fn from(letter: Letter) -> Content {
        Content::Numbers(letter)
    }
}

/// The entry by which a message is sent, or, by mail, what comes before.
fn entry(content: &Content, ring: Option<&OpenRing>) -> Sqe {
    match (content, ring) {
        (Content::Numbers(letter), Some(ring)) => {
            op::msg_ring::numbers(ring.raw(), letter.result, letter.data)
        }
        (&Content::File { slot, file_index }, Some(ring)) => {
            let asked = if file_index == files::ALLOCATE { 0 } else { file_index };
            op::msg_ring::file(ring.raw(), slot, file_index, BROUGHT | u64::from(asked))
        }
        (Content::Numbers(_), None) => Sqe { opcode: misc::Nop::OPCODE as u8, ..Sqe::default() },
        (&Content::File { slot, .. }, None) => {
            let opcode = Opcode::IORING_OP_FIXED_FD_INSTALL as u8;
            let mut sqe = Sqe { opcode, ..Sqe::default() };
            files::FilesInstall { slot: slot as i32 }.prepare(&mut sqe, &mut []);
            sqe
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cancel::{INSTALL, RELEASE, WAKE};

    fn cqe(user_data: u64, result: i32, flags: u32) -> Cqe {
        Cqe { user_data, result, flags, extra: 0 }
    }

    #[test]
    fn messages_are_told_from_everything_else() {
        let flags = cqe_flags::MESSAGE | cqe_flags::MORE;
        for data in [0, 1, u64::MAX, WAKE, BROUGHT | 7] {
            let letter = Letter { result: 5, data };
            assert_eq!(received(&cqe(data, 5, flags)), Some((Kind::Numbers, letter)));
        }
        for (asked, result, slot) in [(0, 9, 9), (1, 0, 0), (1 << 20, 0, (1 << 20) - 1)] {
            let letter = Letter { result: slot, data: 0 };
            assert_eq!(received(&cqe(BROUGHT | asked, result, 0)), Some((Kind::File, letter)));
        }
        for other in [0, WAKE, RELEASE, INSTALL, INTERNAL | 1 << 22, INTERNAL | 1 << 24 | 1 << 23] {
            assert_eq!(received(&cqe(other, 0, 0)), None);
        }
    }
}
