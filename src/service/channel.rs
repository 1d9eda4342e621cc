//! Channels: any thread sends records of one size, an operation on one context at a time receives
//! them, as many at once as are there. A full channel says so; closing it, from either side, lets
//! what was sent before be received.

use crate::engine::bell::{Bell, Claim};
use crate::engine::external::{self, Answer, External, Kind, Scope, Told};
use crate::engine::handle::Handle;
use crate::engine::record_queue::{RecordQueue, Refused, Room};
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::{service, traits};
use crate::sys::errno::Errno;
use std::sync::Arc;

pub(crate) struct Channel {
    queue: RecordQueue,
    bell: Bell,
}

impl Channel {
    /// `capacity` is rounded up to a power of two.
    pub(crate) fn create(capacity: u32, record_size: u32) -> Result<Channel, Errno> {
        let capacity = capacity.next_power_of_two() as usize;
        let queue = RecordQueue::create(capacity, record_size as usize)?;
        Ok(Channel { queue, bell: Bell::new() })
    }

    pub(crate) fn queue(&self) -> &RecordQueue {
        &self.queue
    }

    /// Sends records that lie behind each other; how many, and why no more. One bell for all.
    pub(crate) fn send(&self, records: &[u8]) -> (usize, Result<(), Refused>) {
        let (mut sent, mut outcome) = (0, Ok(()));
        for record in records.chunks_exact(self.queue.record_size()) {
            outcome = self.queue.push(record);
            if outcome.is_err() {
                break;
            }
            sent += 1;
        }
        if sent != 0 {
            self.bell.ring();
        }
        (sent, outcome)
    }

    pub(crate) fn close(&self) {
        self.queue.close();
        self.bell.ring();
    }

    /// Receives without waiting: how many. None: there will be no more.
    pub(crate) fn take(&self, room: &Room) -> Result<Option<u32>, Errno> {
        let claim = self.bell.claim().ok_or(Errno::EBUSY)?;
        let taken = self.take_claimed(&claim, room);
        self.bell.release(claim);
        Ok(taken)
    }

    fn take_claimed(&self, claim: &Claim, room: &Room) -> Option<u32> {
        match self.queue.pop(claim, room) {
            0 if self.queue.has_ended() => None,
            count => Some(count),
        }
    }
}

/// Receives records once, or with `multishot` again and again.
pub(crate) fn receive(
    handle: &Handle, channel: Arc<Channel>, room: Room, multishot: bool, options: &SubmitOptions,
    done: Done,
) -> Result<u64, Refusal> {
    external::begin(handle, Receive { channel, room, multishot, claim: None }, options, done)
}

struct Receive {
    channel: Arc<Channel>,
    room: Room,
    multishot: bool,
    /// From its start to its end.
    claim: Option<Claim>,
}

impl Receive {
    fn listen(&self, scope: &Scope<'_>) {
        let Channel { queue, bell } = &*self.channel;
        if let Some(claim) = &self.claim {
            bell.listen_for(claim, scope.completer(), || queue.is_due());
        }
    }
}

impl External for Receive {
    fn kind(&self) -> Kind {
        let multishot = if self.multishot { traits::MULTISHOT } else { 0 };
        Kind {
            opcode: service::CHANNEL_RECEIVE,
            traits: traits::CALLER_MEMORY | multishot,
            brings: true,
            ..Kind::default()
        }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.claim = Some(self.channel.bell.claim().ok_or(Errno::EBUSY)?);
        self.listen(scope);
        Ok(())
    }

    fn cancel(&mut self, _scope: &mut Scope<'_>) -> Answer {
        Answer::Removed
    }

    fn rung(&mut self, scope: &mut Scope<'_>) -> Option<Told> {
        let taken = self.channel.take_claimed(self.claim.as_ref()?, &self.room);
        let Some(count) = taken else {
            return Some(Told { result: 0, is_last: true, extra: 0 });
        };
        if self.multishot || count == 0 {
            self.listen(scope);
        }
        let bytes = u64::from(count) * self.channel.queue.record_size() as u64;
        let is_last = !self.multishot;
        (count != 0).then_some(Told { result: count as i32, is_last, extra: bytes })
    }

    fn place(&self) -> &'static str {
        "waiting for a record"
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.channel.bell.stop_listening(&claim);
            self.channel.bell.release(claim);
        }
    }
}
