//! The C library's calls about names, with what they take and give as values of our own: results
//! are copied into one block per list, so that a list can be kept, copied and freed by us alone.

use crate::sys::errno::Errno;
use std::ffi::{CStr, CString, c_char};
use std::mem::{offset_of, size_of};
use std::ptr::{NonNull, null, null_mut};

pub(crate) use libc::addrinfo;

/// There is no such name.
pub(crate) const NO_NAME: i32 = -5020;
/// The name servers could not be asked, or could not tell, this time.
pub(crate) const NAME_AGAIN: i32 = -5021;
/// The name servers refuse, or have failed for good.
pub(crate) const NAME_FAILED: i32 = -5022;
/// There is no such service.
pub(crate) const NO_SERVICE: i32 = -5023;
/// The name is there, without what was asked for.
pub(crate) const NO_DATA: i32 = -libc::ENODATA;

/// Longest results of getnameinfo that are passed on.
const NAME_MAX: usize = 4096;

/// The number of a network interface.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// What of `struct addrinfo` is an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hints {
    pub flags: i32,
    pub family: i32,
    pub socktype: i32,
    pub protocol: i32,
}

/// The arguments of getaddrinfo.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressQuestion {
    pub node: Option<CString>,
    pub service: Option<CString>,
    pub hints: Option<Hints>,
}

impl AddressQuestion {
    /// Makes the call, which may sleep for as long as name servers do. An error is a status.
    pub(crate) fn ask(&self) -> Result<AddressList, i32> {
        let text = |text: &Option<CString>| text.as_ref().map_or(null(), |text| text.as_ptr());
        // SAFETY: zeroes are an addrinfo.
        let mut hints: addrinfo = unsafe { std::mem::zeroed() };
        if let Some(given) = self.hints {
            hints.ai_flags = given.flags;
            hints.ai_family = given.family;
            hints.ai_socktype = given.socktype;
            hints.ai_protocol = given.protocol;
        }
        let hints = if self.hints.is_some() { &raw const hints } else { null() };
        let mut list = null_mut();
        // SAFETY: strings or NULL; the list is freed below, once.
        unsafe {
            let error =
                libc::getaddrinfo(text(&self.node), text(&self.service), hints, &raw mut list);
            if error != 0 {
                return Err(status(error));
            }
            let copy = AddressList::copy(list);
            libc::freeaddrinfo(list);
            Ok(copy)
        }
    }
}

/// The arguments of getnameinfo.
pub(crate) struct NameQuestion {
    pub address: Box<[u8]>,
    pub host_len: usize,
    pub service_len: usize,
    pub flags: i32,
}

/// Both texts with their terminators, empty where none was asked for.
pub(crate) struct NameAnswer {
    pub host: Vec<u8>,
    pub service: Vec<u8>,
}

impl NameQuestion {
    /// Makes the call, which may sleep for as long as name servers do. An error is a status.
    pub(crate) fn ask(&self) -> Result<NameAnswer, i32> {
        // The address is of any family, and must be aligned for each.
        // SAFETY: zeroes are an address.
        let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let len = self.address.len().min(size_of::<libc::sockaddr_storage>());
        let mut host = vec![0u8; self.host_len.min(NAME_MAX)];
        let mut service = vec![0u8; self.service_len.min(NAME_MAX)];
        let room = |text: &mut Vec<u8>| match text.len() {
            0 => null_mut(),
            _ => text.as_mut_ptr().cast::<c_char>(),
        };
        // SAFETY: `len` bytes fit; both buffers are as long as is said.
        let error = unsafe {
            let to = (&raw mut address).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.address.as_ptr(), to, len);
            libc::getnameinfo(
                (&raw const address).cast(),
                len as libc::socklen_t,
                room(&mut host),
                host.len() as libc::socklen_t,
                room(&mut service),
                service.len() as libc::socklen_t,
                self.flags,
            )
        };
        if error != 0 {
            return Err(status(error));
        }
        for text in [&mut host, &mut service] {
            let end = text.iter().position(|&byte| byte == 0).map_or(text.len(), |at| at + 1);
            text.truncate(end);
        }
        Ok(NameAnswer { host, service })
    }
}

/// The status for an EAI_* of the C library.
fn status(error: i32) -> i32 {
    // glibc's, for lists that are of another family, and for names without addresses.
    const EAI_NODATA: i32 = -5;
    const EAI_ADDRFAMILY: i32 = -9;
    match error {
        libc::EAI_NONAME => NO_NAME,
        EAI_NODATA | EAI_ADDRFAMILY => NO_DATA,
        libc::EAI_AGAIN => NAME_AGAIN,
        libc::EAI_FAIL => NAME_FAILED,
        libc::EAI_SERVICE => NO_SERVICE,
        libc::EAI_FAMILY => -libc::EAFNOSUPPORT,
        libc::EAI_SOCKTYPE => -libc::ESOCKTNOSUPPORT,
        libc::EAI_BADFLAGS => -libc::EINVAL,
        libc::EAI_MEMORY => -libc::ENOMEM,
        libc::EAI_OVERFLOW => -libc::EOVERFLOW,
        // It may say that without an error of the system's, which would be a success.
        libc::EAI_SYSTEM if Errno::last() != Errno(0) => Errno::last().status(),
        _ => NAME_FAILED,
    }
}

/// A list of addresses in one block: its length in words, then each entry, with its address and
/// its name behind it.
pub(crate) struct AddressList {
    /// The first entry, one word into the block; None: an empty list.
    first: Option<NonNull<addrinfo>>,
}

// SAFETY: a list owns its block, in which all its pointers stay.
unsafe impl Send for AddressList {}

fn words(bytes: usize) -> usize {
    bytes.div_ceil(size_of::<u64>())
}

/// Words of an entry, and of one with what follows it.
const ENTRY: usize = size_of::<addrinfo>() / size_of::<u64>();
const _: () = assert!(size_of::<addrinfo>().is_multiple_of(size_of::<u64>()));
const _: () = assert!(offset_of!(addrinfo, ai_next) != 0);

impl AddressList {
    /// # Safety
    /// `list` is NULL or a list as getaddrinfo makes it.
    unsafe fn copy(list: *const addrinfo) -> AddressList {
        // SAFETY: the caller's list, which nobody changes meanwhile; each entry's copy is made at
        // its own place in the block, whose length was counted in the same way.
        unsafe {
            let mut len = 1;
            let mut entry = list;
            while let Some(from) = entry.as_ref() {
                len += ENTRY + words(from.ai_addrlen as usize) + words(name(from).len());
                entry = from.ai_next;
            }
            if len == 1 {
                return AddressList { first: None };
            }
            let block = Box::into_raw(vec![0u64; len].into_boxed_slice()).cast::<u64>();
            *block = len as u64;
            let mut place = block.add(1);
            let mut entry = list;
            while let Some(from) = entry.as_ref() {
                let to = place.cast::<addrinfo>();
                place = place.add(ENTRY);
                to.write(*from);
                (*to).ai_addr = append(&mut place, from.ai_addr.cast(), from.ai_addrlen as usize);
                let name = name(from);
                (*to).ai_canonname = append(&mut place, name.as_ptr(), name.len());
                entry = from.ai_next;
                (*to).ai_next = if entry.is_null() { null_mut() } else { place.cast() };
            }
            AddressList { first: NonNull::new(block.add(1).cast()) }
        }
    }

    /// For the caller, who gives it back to `from_raw`.
    pub(crate) fn into_raw(self) -> *mut addrinfo {
        let first = self.first.map_or(null_mut(), NonNull::as_ptr);
        std::mem::forget(self);
        first
    }

    /// # Safety
    /// `first` came from `into_raw` and is not used any more.
    pub(crate) unsafe fn from_raw(first: *mut addrinfo) -> AddressList {
        AddressList { first: NonNull::new(first) }
    }
}

/// The name of an entry with its terminator, or nothing.
unsafe fn name(entry: &addrinfo) -> &[u8] {
    if entry.ai_canonname.is_null() {
        return &[];
    }
    // SAFETY: the C library's string.
    unsafe { CStr::from_ptr(entry.ai_canonname).to_bytes_with_nul() }
}

/// Copies bytes to `place`, which moves behind them; NULL where there are none.
///
/// # Safety
/// There is room.
unsafe fn append<T>(place: &mut *mut u64, from: *const u8, len: usize) -> *mut T {
    if len == 0 {
        return null_mut();
    }
    let to = place.cast::<u8>();
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, len);
        *place = place.add(words(len));
    }
    to.cast()
}

impl Clone for AddressList {
    fn clone(&self) -> AddressList {
        // SAFETY: a list of ours.
        unsafe { AddressList::copy(self.first.map_or(null(), |first| first.as_ptr())) }
    }
}

impl Drop for AddressList {
    fn drop(&mut self) {
        let Some(first) = self.first else { return };
        // SAFETY: the block of `copy`, whose first word is its length.
        unsafe {
            let block = first.as_ptr().cast::<u64>().sub(1);
            let len = *block as usize;
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(block, len)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(node: &CStr, service: &CStr, flags: i32) -> AddressQuestion {
        let hints = Hints { flags, family: 0, socktype: libc::SOCK_STREAM, protocol: 0 };
        let (node, service) = (Some(node.into()), Some(service.into()));
        AddressQuestion { node, service, hints: Some(hints) }
    }

    /// Port and name of each entry.
    fn entries(list: &AddressList) -> Vec<(u16, Option<String>)> {
        let mut found = Vec::new();
        let mut entry = list.first.map_or(null(), |first| first.as_ptr().cast_const());
        // SAFETY: a list of ours.
        while let Some(at) = unsafe { entry.as_ref() } {
            assert_eq!(at.ai_family, libc::AF_INET);
            // SAFETY: of this family.
            let address = unsafe { at.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            assert_eq!(u32::from_be(address.sin_addr.s_addr), 0x7f00_0001);
            // SAFETY: a string or NULL.
            let name = unsafe { name(at) };
            let name = CStr::from_bytes_with_nul(name).ok();
            let name = name.map(|name| name.to_str().unwrap().to_string());
            found.push((u16::from_be(address.sin_port), name));
            entry = at.ai_next;
        }
        found
    }

    #[test]
    fn a_list_is_copied_with_all_that_belongs_to_it() {
        let flags = libc::AI_NUMERICHOST | libc::AI_NUMERICSERV | libc::AI_CANONNAME;
        let list = question(c"127.0.0.1", c"8080", flags).ask().ok().unwrap();
        let copy = list.clone();
        let expected = [(8080, Some("127.0.0.1".to_string()))];
        assert_eq!(entries(&list), expected);
        // SAFETY: given back once.
        drop(unsafe { AddressList::from_raw(list.into_raw()) });
        assert_eq!(entries(&copy), expected);
    }

    #[test]
    fn what_the_c_library_says_becomes_a_status() {
        let error = |question: AddressQuestion| question.ask().err();
        let numeric = libc::AI_NUMERICHOST;
        assert_eq!(error(question(c"nonsense", c"80", numeric)), Some(NO_NAME));
        let service = error(question(c"127.0.0.1", c"no-such-service", numeric));
        assert_eq!(service, Some(NO_SERVICE));
        let bad = error(question(c"127.0.0.1", c"80", !0));
        assert_eq!(bad, Some(-libc::EINVAL));
        let mut family = question(c"127.0.0.1", c"80", numeric);
        family.hints.as_mut().unwrap().family = 12345;
        assert_eq!(error(family), Some(-libc::EAFNOSUPPORT));
        assert_eq!(status(-5), NO_DATA);
        assert_eq!(status(libc::EAI_AGAIN), NAME_AGAIN);
        // SAFETY: valid for the thread that runs.
        unsafe { *libc::__errno_location() = libc::EMFILE };
        assert_eq!(status(libc::EAI_SYSTEM), -libc::EMFILE);
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = 0 };
        assert_eq!(status(libc::EAI_SYSTEM), NAME_FAILED);
    }

    #[test]
    fn an_address_becomes_texts_that_fit() {
        // SAFETY: zeroes are an address.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = 8080u16.to_be();
        address.sin_addr.s_addr = 0x7f00_0001u32.to_be();
        let bytes = (&raw const address).cast::<u8>();
        // SAFETY: as many bytes as it has.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, size_of_val(&address)) };
        let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        let mut question =
            NameQuestion { address: bytes.into(), host_len: 1025, service_len: 32, flags };
        let answer = question.ask().ok().unwrap();
        assert_eq!((&answer.host[..], &answer.service[..]), (&b"127.0.0.1\0"[..], &b"8080\0"[..]));
        question.host_len = 4;
        assert_eq!(question.ask().err(), Some(-libc::EOVERFLOW));
        question.host_len = 0;
        assert_eq!(question.ask().ok().unwrap().host, b"");
    }
}
