//! Receives that take a buffer of a pool when there is data: the other end of the pools' rings, and
//! what a kernel does with one buffer after another.

use crate::engine::backend::epoll::Epoll;
use crate::engine::backend::epoll::carry::{Next, is_shut_down};
use crate::engine::backend::epoll::waiters::{Place, Side};
use crate::op::{self, Outcome};
use crate::sys::buffer_ring::{BufferQueue, BufferRing};
use crate::sys::entry::{GROUP_FIRST, Opcode, Sqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::queues::Queues;

/// Completions of one multishot receive, per look at its descriptor.
const RECEIVES_MAX: u32 = 64;

/// By group.
#[derive(Default)]
pub(super) struct BufferQueues(Vec<Option<BufferQueue>>);

impl BufferQueues {
    fn get(&mut self, group: u16) -> Option<&mut BufferQueue> {
        self.0.get_mut(usize::from(group))?.as_mut()
    }
}

impl Epoll {
    pub(in crate::engine::backend) fn register_buffers(&mut self, group: u16, ring: &BufferRing) {
        let queues = &mut self.buffers.0;
        if queues.len() <= usize::from(group) {
            queues.resize_with(usize::from(group) + 1, || None);
        }
        queues[usize::from(group)] = Some(ring.queue());
    }

    pub(in crate::engine::backend) fn unregister_buffers(&mut self, group: u16) {
        self.buffers.0[usize::from(group)] = None;
    }

    /// Such an operation is tried when it waits, so that data is there first and a buffer second.
    pub(super) fn begin_selected(&mut self, entry: &mut Sqe) -> Next {
        // For nobody who takes it for a receive of no bytes.
        op::mark_started(entry);
        Next::Wait { side: Side::Readers, wanted: 0, sleeps: false, renews: false }
    }

    /// It is of something that cannot be waited for.
    pub(super) fn refuse_selected(&mut self, queues: &mut Queues, key: u32) {
        let opcode = self.watches.waiters.at(key).entry.opcode;
        let is_read = opcode == Opcode::IORING_OP_READ_MULTISHOT as u8;
        let errno = if is_read { Errno::EBADFD } else { Errno::ENOTSOCK };
        self.finish(queues, key, errno.status());
    }

    /// Receives until there is no more, no buffer, or the others' turn has come. True: it has
    /// ended.
    pub(super) fn serve_selected(&mut self, queues: &mut Queues, key: u32) -> bool {
        let entry = self.watches.waiters.at(key).entry;
        let more = if op::buffers::is_multishot(&entry) { cqe_flags::MORE } else { 0 };
        for _ in 0..RECEIVES_MAX {
            let queue = self.buffers.get(entry.buf_index.wrapping_sub(GROUP_FIRST));
            let Some(offer) = queue.as_ref().and_then(|queue| queue.first()) else {
                return self.end_selected(queues, key, Errno::ENOBUFS.status(), 0);
            };
            self.system_calls += 1;
            match op::buffers::attempt(&entry, offer.addr, offer.len) {
                Outcome::Done(result) if result > 0 => {
                    if let Some(queue) = self.buffers.get(entry.buf_index.wrapping_sub(GROUP_FIRST))
                    {
                        queue.advance();
                    }
                    let number = u32::from(offer.id) << cqe_flags::BUFFER_SHIFT;
                    let flags = cqe_flags::BUFFER | number;
                    if more == 0 || op::buffers::is_empty_message(&entry, result) {
                        return self.end_selected(queues, key, result, flags);
                    }
                    self.post(queues, entry.user_data, result, flags | more);
                    if op::buffers::drains(&entry, result, offer.len)
                        && let Some(watch) = self.watches.get(entry.fd)
                    {
                        watch.found_drained();
                        if watch.is_dry() {
                            return false;
                        }
                    }
                }
                Outcome::Done(result) => return self.end_selected(queues, key, result, 0),
                _ => return self.is_selected_over(queues, key, entry.fd),
            }
        }
        self.again.push_back(entry.fd);
        false
    }

    /// Nothing is there now; ends what nothing will ever come to.
    fn is_selected_over(&mut self, queues: &mut Queues, key: u32, fd: i32) -> bool {
        let Some(watch) = self.watches.get(fd) else { return false };
        watch.found_unready(Side::Readers);
        watch.is_odd() && is_shut_down(fd) && self.end_selected(queues, key, 0, 0)
    }

    fn end_selected(&mut self, queues: &mut Queues, key: u32, result: i32, flags: u32) -> bool {
        self.watches.unlist(key);
        let waiter = self.watches.waiters.at(key);
        waiter.place = Place::Nowhere;
        let id = waiter.entry.user_data;
        self.post(queues, id, result, flags);
        true
    }
}
