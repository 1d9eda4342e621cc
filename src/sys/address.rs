//! Socket addresses between the standard library's form and the kernel's, and the sockets to ask a
//! server with.

use crate::sys::errno::Errno;
use std::ffi::c_void;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An address as the kernel takes it.
pub(crate) struct Encoded {
    storage: libc::sockaddr_storage,
    len: u32,
}

impl Encoded {
    pub(crate) fn of(address: &SocketAddr) -> Encoded {
        // SAFETY: zeroes are an address.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let at = &raw mut storage;
        let len = match address {
            SocketAddr::V4(address) => {
                // SAFETY: the storage has room for any address and is aligned for it.
                let to = unsafe { &mut *at.cast::<libc::sockaddr_in>() };
                to.sin_family = libc::AF_INET as u16;
                to.sin_port = address.port().to_be();
                to.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                // SAFETY: as above.
                let to = unsafe { &mut *at.cast::<libc::sockaddr_in6>() };
                to.sin6_family = libc::AF_INET6 as u16;
                to.sin6_port = address.port().to_be();
                to.sin6_addr.s6_addr = address.ip().octets();
                to.sin6_flowinfo = address.flowinfo();
                to.sin6_scope_id = address.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        Encoded { storage, len: len as u32 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let from = (&raw const self.storage).cast::<u8>();
        // SAFETY: inside the storage.
        unsafe { std::slice::from_raw_parts(from, self.len as usize) }
    }

    pub(crate) fn pointer(&self) -> *const c_void {
        (&raw const self.storage).cast()
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

/// A socket for this address that nothing sleeps on.
pub(crate) fn socket_for(address: &SocketAddr, stream: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = if stream { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: numbers alone; the new descriptor is owned at once.
    unsafe {
        let fd = Errno::checked(libc::socket(family, kind | flags, 0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Sends a datagram from a socket of its own, which hears nobody but the receiver. Its port is the
/// kernel's choice, at random.
pub(crate) fn send_datagram(to: &SocketAddr, message: &[u8]) -> Result<OwnedFd, Errno> {
    let socket = socket_for(to, false)?;
    let address = Encoded::of(to);
    let fd = socket.as_raw_fd();
    // SAFETY: the address and the message are valid for their lengths.
    unsafe {
        Errno::checked(libc::connect(fd, address.pointer().cast(), address.len))?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = libc::send(fd, message.as_ptr().cast(), message.len(), flags);
        Errno::checked(sent as i32)?;
    }
    Ok(socket)
}

/// Writes an address with a port for a caller who has `room` bytes at `to`; the bytes that it has.
///
/// # Safety
/// `to` is writable for `room` bytes.
pub(crate) unsafe fn write(address: IpAddr, port: u16, to: *mut u8, room: usize) -> u32 {
    let encoded = Encoded::of(&SocketAddr::new(address, port));
    let bytes = encoded.bytes();
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len().min(room)) };
    encoded.len
}
