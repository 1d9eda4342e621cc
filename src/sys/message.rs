//! The C structures that operations carry: I/O vectors, message headers and control messages, as
//! bytes that the engine copies, and the outputs that are written back into the caller's.

use std::ffi::c_void;
use std::ptr::NonNull;

pub(crate) use libc::{
    EPOLL_CTL_DEL, P_PIDFD, epoll_event, futex_waitv, iovec, msghdr, open_how, sockaddr, socklen_t,
    statx,
};

/// Where the outputs of an operation go that the kernel has written to the engine's copy.
#[derive(Clone, Copy)]
pub(crate) enum Outputs {
    /// A message header's lengths and flags; the copy begins with a header.
    Header(NonNull<msghdr>),
    /// Two descriptors; the copy is theirs.
    Pair(NonNull<i32>),
}

/// The parts of a message header, its arrays as slices.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub name: *mut c_void,
    pub name_len: u32,
    pub vectors: &'a [iovec],
    pub control: *mut c_void,
    pub control_len: usize,
}

impl Outputs {
    /// Copies what the kernel left in the engine's copy to the caller's.
    pub(crate) fn write_back(self, copy: &[u64]) {
        match self {
            Outputs::Header(header) => {
                let from = header_of(copy);
                // SAFETY: the caller's header belongs to the engine until the last callback
                // (contract, line 4).
                let to = unsafe { &mut *header.as_ptr() };
                write_name_back(copy, from, to);
                to.msg_namelen = from.msg_namelen;
                to.msg_controllen = from.msg_controllen;
                to.msg_flags = told(from.msg_flags);
            }
            Outputs::Pair(pair) => {
                let [first, second] = pair_of(copy);
                // SAFETY: two numbers of the caller's, as above.
                unsafe {
                    pair.as_ptr().write_unaligned(first);
                    pair.as_ptr().add(1).write_unaligned(second);
                }
            }
        }
    }

    /// Whether they are nothing but descriptors.
    pub(crate) fn are_descriptors(self) -> bool {
        matches!(self, Outputs::Pair(_))
    }

    /// The descriptors of which the caller has not been told.
    pub(crate) fn pair(self, copy: &[u64]) -> Option<[i32; 2]> {
        self.are_descriptors().then(|| pair_of(copy))
    }

    /// Puts another pair of descriptors into the engine's copy.
    pub(crate) fn set_pair(copy: &mut [u64], pair: [i32; 2]) {
        // SAFETY: two halves make a word.
        copy[0] = unsafe { std::mem::transmute::<[i32; 2], u64>(pair) };
    }

    /// Closes every descriptor among the outputs of an operation whose owner does not want it any
    /// more.
    pub(crate) fn discard(self, copy: &[u64]) {
        match self {
            Outputs::Header(_) => close_passed_descriptors(copy),
            Outputs::Pair(_) => pair_of(copy).into_iter().for_each(crate::sys::descriptor::close),
        }
    }
}

/// The longest address.
pub(crate) const NAME_MAX: usize = size_of::<libc::sockaddr_storage>();

/// Copies the name, where one was received into the engine's copy, as far as the caller has room.
fn write_name_back(copy: &[u64], from: &msghdr, to: &msghdr) {
    let offset = (from.msg_name as usize).wrapping_sub(copy.as_ptr() as usize);
    let bytes = size_of_val(copy);
    if offset >= bytes {
        return; // It went to the caller's own buffer.
    }
    let len = NAME_MAX.min(from.msg_namelen as usize).min(to.msg_namelen as usize);
    assert!(offset + NAME_MAX <= bytes);
    // SAFETY: the assertion keeps the read inside the copy; the caller's buffer, of the length that
    // its header still has, belongs to the engine until the last callback (contract, line 4).
    unsafe {
        let name = copy.as_ptr().cast::<u8>().add(offset);
        // All zeroes: nothing was received.
        if std::slice::from_raw_parts(name, NAME_MAX).iter().any(|&byte| byte != 0) {
            std::ptr::copy_nonoverlapping(name, to.msg_name.cast::<u8>(), len);
        }
    }
}

fn header_of(copy: &[u64]) -> &msghdr {
    assert!(std::mem::size_of_val(copy) >= size_of::<msghdr>());
    // SAFETY: the copy begins with the header that `Message::write` made.
    unsafe { &*copy.as_ptr().cast::<msghdr>() }
}

fn pair_of(copy: &[u64]) -> [i32; 2] {
    // SAFETY: the first word of the copy, as two halves.
    unsafe { std::mem::transmute::<u64, [i32; 2]>(copy[0]) }
}

impl Message<'_> {
    /// Bytes of a header and its vector array.
    pub(crate) fn copied(&self) -> usize {
        size_of::<msghdr>() + size_of_val(self.vectors)
    }

    /// Writes the header and the vectors into `copy`, pointing at the copy of the vectors.
    /// `name` and `control` may point anywhere, also further into the copy.
    pub(crate) fn write(&self, copy: &mut [u64], name: *mut c_void, control: *mut c_void) {
        assert!(std::mem::size_of_val(copy) >= self.copied());
        let base = copy.as_mut_ptr().cast::<u8>();
        // SAFETY: the assertion covers both writes; the block is aligned to eight bytes.
        unsafe {
            let vectors = base.add(size_of::<msghdr>()).cast::<iovec>();
            std::ptr::copy_nonoverlapping(self.vectors.as_ptr(), vectors, self.vectors.len());
            let mut header: msghdr = std::mem::zeroed();
            header.msg_name = name;
            header.msg_namelen = self.name_len;
            header.msg_iov = vectors;
            header.msg_iovlen = self.vectors.len();
            header.msg_control = control;
            header.msg_controllen = self.control_len;
            base.cast::<msghdr>().write(header);
        }
    }
}

/// Copies `len` bytes from `from` to byte `at` of the block; returns the copy's address.
pub(crate) fn copy_into(
    copy: &mut [u64], at: usize, from: *const c_void, len: usize,
) -> *mut c_void {
    assert!(std::mem::size_of_val(copy) >= at + len);
    // SAFETY: the assertion keeps the write inside; the caller's bytes are readable during the
    // submit call (contract, line 4).
    unsafe {
        let to = copy.as_mut_ptr().cast::<u8>().add(at);
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, len);
        to.cast()
    }
}

/// The two descriptors that a pipe's entry has brought to `addr`.
pub(crate) fn pair_at(addr: u64) -> [i32; 2] {
    // SAFETY: the call has just written them, to a copy of the engine's or where a raw entry says.
    unsafe { (addr as *const [i32; 2]).read_unaligned() }
}

/// Writes what stands for the descriptors of `pair_at`.
pub(crate) fn set_pair_at(addr: u64, pair: [i32; 2]) {
    // SAFETY: as there.
    unsafe { (addr as *mut [i32; 2]).write_unaligned(pair) };
}

/// The `count` descriptors that an entry has at `addr`.
pub(crate) fn descriptors_at(addr: u64, count: u32) -> Vec<i32> {
    // SAFETY: a copy of the engine's, or where a raw entry says.
    (0..count as usize).map(|at| unsafe { (addr as *const i32).add(at).read_unaligned() }).collect()
}

/// Keeps of the first word of an argument's copy at `addr` the bits of `mask`.
pub(crate) fn mask_word(addr: u64, mask: u64) {
    // SAFETY: `addr` is that of a copy in a block of the engine's, of eight bytes at least, which
    // nothing else refers to before the entry is staged.
    unsafe { *(addr as *mut u64) &= mask };
}

/// The bytes of a vector array.
pub(crate) fn vector_bytes(vectors: &[iovec]) -> (*const c_void, usize) {
    (vectors.as_ptr().cast(), std::mem::size_of_val(vectors))
}

/// Makes `copy` a header that only says how much room a message of a pool's buffer gives to the
/// name and to control data.
pub(crate) fn write_capacities(copy: &mut [u64], name_len: u32, control_len: usize) {
    let message = Message {
        name: std::ptr::null_mut(),
        name_len,
        vectors: &[],
        control: std::ptr::null_mut(),
        control_len,
    };
    message.write(copy, std::ptr::null_mut(), std::ptr::null_mut());
}

/// The flags of a message without the one that every receive here asks for, and that the kernel
/// tells again.
fn told(flags: i32) -> i32 {
    flags & !libc::MSG_CMSG_CLOEXEC
}

/// What the kernel writes at the beginning of a buffer that a message was received into.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MessageOut {
    pub name_len: u32,
    pub control_len: u32,
    pub payload_len: u32,
    pub flags: u32,
}

/// Where control data begins in such a buffer, given the header of `write_capacities`.
pub(crate) fn control_at(copy: &[u64]) -> u32 {
    size_of::<MessageOut>() as u32 + header_of(copy).msg_namelen
}

/// The head of such a buffer.
///
/// # Safety
/// `data` points to a message of at least 16 bytes.
pub(crate) unsafe fn message_out(data: NonNull<u8>) -> MessageOut {
    // SAFETY: passed on; a buffer may begin anywhere.
    let head = unsafe { data.as_ptr().cast::<MessageOut>().read_unaligned() };
    MessageOut { flags: told(head.flags as i32) as u32, ..head }
}

/// Closes the descriptors that such a buffer brings.
///
/// # Safety
/// `data` points to a message whose control data begins at `at`.
pub(crate) unsafe fn close_passed_in_buffer(data: NonNull<u8>, at: u32) {
    // SAFETY: the caller's promise: the control data is inside the buffer, at an address of its own
    // alignment or not: it is copied.
    unsafe {
        let len = message_out(data).control_len as usize;
        let mut control = vec![0_u64; len.div_ceil(8)];
        std::ptr::copy_nonoverlapping(
            data.as_ptr().add(at as usize),
            control.as_mut_ptr().cast::<u8>(),
            len,
        );
        let mut header: msghdr = std::mem::zeroed();
        (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), len);
        close_passed(&raw const header);
    }
}

/// Closes every descriptor that a completed receive put into the control data of a message whose
/// owner does not want it any more.
fn close_passed_descriptors(copy: &[u64]) {
    // SAFETY: the header is one that the kernel filled; its control data belongs to the engine
    // until the last callback.
    unsafe { close_passed(header_of(copy)) }
}

/// # Safety
/// The header's control data is what the kernel wrote, msg_controllen bytes.
unsafe fn close_passed(header: *const msghdr) {
    // SAFETY: the CMSG macros stay inside msg_controllen.
    unsafe {
        let mut item = libc::CMSG_FIRSTHDR(header);
        while let Some(entry) = item.as_ref() {
            if entry.cmsg_level == libc::SOL_SOCKET && entry.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(item).cast::<i32>();
                let bytes = entry.cmsg_len - (data as usize - item as usize);
                for index in 0..bytes / size_of::<i32>() {
                    crate::sys::descriptor::close(data.add(index).read_unaligned());
                }
            }
            item = libc::CMSG_NXTHDR(header, item);
        }
    }
}

/// Open and socket flags that the operations set for the caller.
pub(crate) mod flags {
    pub(crate) const MSG_CMSG_CLOEXEC: i32 = libc::MSG_CMSG_CLOEXEC;
    pub(crate) const MSG_DONTWAIT: i32 = libc::MSG_DONTWAIT;
    pub(crate) const MSG_ERRQUEUE: i32 = libc::MSG_ERRQUEUE;
    pub(crate) const MSG_NOSIGNAL: i32 = libc::MSG_NOSIGNAL;
    pub(crate) const MSG_OOB: i32 = libc::MSG_OOB;
    pub(crate) const MSG_PEEK: i32 = libc::MSG_PEEK;
    pub(crate) const MSG_TRUNC: i32 = libc::MSG_TRUNC;
    pub(crate) const MSG_WAITALL: i32 = libc::MSG_WAITALL;
    pub(crate) const MSG_MORE: i32 = libc::MSG_MORE;
    pub(crate) const MSG_DONTROUTE: i32 = libc::MSG_DONTROUTE;
    pub(crate) const O_CLOEXEC: i32 = libc::O_CLOEXEC;
    pub(crate) const O_LARGEFILE: i32 = libc::O_LARGEFILE;
    pub(crate) const SHUT_RD: i32 = libc::SHUT_RD;
    pub(crate) const SOCK_CLOEXEC: i32 = libc::SOCK_CLOEXEC;
    pub(crate) const SOCK_NONBLOCK: i32 = libc::SOCK_NONBLOCK;
    pub(crate) const EPOLLET: u32 = libc::EPOLLET as u32;
}
