//! The seam for interface queues, which rings alone have.

use crate::engine::backend::{Backend, Carrier};
use crate::sys::errno::Errno;
use crate::sys::interface_queue::{InterfaceQueue, KeptRing, Request};
use crate::sys::memory::Region;

impl Backend {
    /// Makes an interface queue put what comes into `len` bytes of `area`. It is there as long as
    /// the ring, which whoever has the second value keeps.
    pub(crate) fn register_interface_queue(
        &mut self, request: &Request, area: &Region, len: u64,
    ) -> Result<(InterfaceQueue, KeptRing), Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => {
                let kept = uring.ring.keep()?;
                let queue = uring.ring.register_interface_queue(request, area, len)?;
                Ok((queue, kept))
            }
            Carrier::Epoll(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Makes the kernel take back at once what was given back.
    pub(crate) fn flush_refills(&mut self, queue: &mut InterfaceQueue) {
        if let Carrier::Ring(uring) = self.driver.carrier() {
            uring.system_calls += 1;
            // It knows the call and the queue; what it has not heard it hears next time.
            let _ = uring.ring.flush_refills(queue);
        }
    }
}
