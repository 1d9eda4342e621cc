//! Listening sockets that share their address (SO_REUSEPORT): the kernel spreads connections over
//! them.

use crate::sys::errno::Errno;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Opens `count` of them for TCP on `address`, a `struct sockaddr` for IPv4 or IPv6, all listening
/// before the first is used; also the port, which is a free one if the address has none.
pub(crate) fn open_shared(
    address: &[u8], backlog: i32, count: usize,
) -> Result<(Vec<OwnedFd>, u16), Errno> {
    let Some((family, mut address)) = family_of(address) else { return Err(Errno::EINVAL) };
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bind(family, &address)?;
        if sockets.is_empty() {
            port_of(&mut address).copy_from_slice(&bound_port(&socket)?);
        }
        sockets.push(socket);
    }
    for socket in &sockets {
        // SAFETY: our own socket.
        if unsafe { libc::listen(socket.as_raw_fd(), backlog) } != 0 {
            return Err(Errno::last());
        }
    }
    let port = u16::from_be_bytes([address[2], address[3]]);
    Ok((sockets, port))
}

/// The address family, with a copy of the address as long as it should be.
fn family_of(address: &[u8]) -> Option<(i32, Vec<u8>)> {
    let family = i32::from(u16::from_ne_bytes([*address.first()?, *address.get(1)?]));
    let len = match family {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    Some((family, address.get(..len)?.to_vec()))
}

/// Where either family has its port, in the network's order.
fn port_of(address: &mut [u8]) -> &mut [u8] {
    &mut address[2..4]
}

fn bind(family: i32, address: &[u8]) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers alone; the new descriptor is owned at once.
    let socket = unsafe {
        let fd = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(Errno::last());
        }
        OwnedFd::from_raw_fd(fd)
    };
    for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
        let on = 1i32;
        // SAFETY: a number's bytes.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        };
        if set != 0 {
            return Err(Errno::last());
        }
    }
    let (pointer, len) = (address.as_ptr().cast::<libc::sockaddr>(), address.len() as u32);
    // SAFETY: as many bytes as are said.
    if unsafe { libc::bind(socket.as_raw_fd(), pointer, len) } != 0 {
        return Err(Errno::last());
    }
    Ok(socket)
}

fn bound_port(socket: &OwnedFd) -> Result<[u8; 2], Errno> {
    let mut address = [0u8; size_of::<libc::sockaddr_in6>()];
    let mut len = address.len() as u32;
    // SAFETY: room for `len` bytes.
    let got =
        unsafe { libc::getsockname(socket.as_raw_fd(), address.as_mut_ptr().cast(), &mut len) };
    if got != 0 { Err(Errno::last()) } else { Ok([address[2], address[3]]) }
}
