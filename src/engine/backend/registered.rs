//! The seam for registered buffers: the ring's own table, or the epoll driver's. Both tell of the
//! end of a tagged buffer by a completion.

use crate::engine::backend::{Backend, Carrier};
use crate::sys::errno::Errno;
use crate::sys::registered::Area;

impl Backend {
    /// Makes a table of registered buffers. A tag other than 0 is the user_data of the completion
    /// by which the backend says that nothing uses a buffer that has left the table.
    pub(crate) fn register_areas(&mut self, areas: &[Area], tags: &[u64]) -> Result<(), Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.ring.register_areas(areas, tags),
            Carrier::Epoll(epoll) => epoll.register_areas(areas, tags),
        }
    }

    /// Replaces buffers from `first` on; returns how many.
    pub(crate) fn update_areas(
        &mut self, first: u32, areas: &[Area], tags: &[u64],
    ) -> Result<u32, Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.ring.update_areas(first, areas, tags),
            Carrier::Epoll(epoll) => epoll.update_areas(&mut self.queues, first, areas, tags),
        }
    }

    pub(crate) fn unregister_areas(&mut self) -> Result<(), Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.ring.unregister_areas(),
            Carrier::Epoll(epoll) => {
                epoll.unregister_areas(&mut self.queues);
                Ok(())
            }
        }
    }

    /// Whether that does not wait for the operations that use them.
    pub(crate) fn gives_up_areas_at_once(&mut self) -> bool {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.gives_up_areas_at_once(),
            Carrier::Epoll(_) => true,
        }
    }

    /// Shares the registered buffers of another backend of this thread.
    pub(crate) fn clone_areas(&mut self, source: &mut Backend) -> Result<(), Errno> {
        match (self.driver.carrier(), source.driver.carrier()) {
            (Carrier::Ring(uring), Carrier::Ring(source)) => uring.clone_areas(source),
            (Carrier::Epoll(epoll), Carrier::Epoll(source)) => {
                epoll.clone_areas(source);
                Ok(())
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}
