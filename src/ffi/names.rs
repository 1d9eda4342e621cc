//! The C library's calls about names, made by threads of the library's own.

use crate::engine::external::Payload;
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard, optional, status};
use crate::op::net;
use crate::service::names::{self, CacheLimits};
use crate::sys::errno::Errno;
use crate::sys::message::{sockaddr, socklen_t};
use crate::sys::names::{AddressList, AddressQuestion, Hints, NameAnswer, NameQuestion, addrinfo};
use std::ffi::{CString, c_char, c_int, c_void};

/// The cache of aio_submit_getaddrinfo, for aio_names_set_cache.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_names_cache_options {
    /// sizeof(aio_names_cache_options)
    pub size: u32,
    /// Answers that are kept at most; 0: none.
    pub entries: u32,
    /// For how long, in nanoseconds; 0: a minute.
    pub ttl_ns: u64,
    /// The same for names that are not there, or have no address; 0: ten seconds.
    pub negative_ttl_ns: u64,
    /// 0
    pub reserved: [u64; 4],
}

const TTL_DEFAULT_NS: u64 = 60_000_000_000;
const NEGATIVE_TTL_DEFAULT_NS: u64 = 10_000_000_000;

/// A place of the caller's that is written to when the result is delivered.
struct Output<T>(*mut T);

// SAFETY: it belongs to the engine until the last callback, and is written to on the context's
// thread alone.
unsafe impl<T> Send for Output<T> {}

struct Addresses {
    list: Option<AddressList>,
    out: Output<*mut addrinfo>,
}

impl Payload for Addresses {
    fn deliver(&mut self) {
        if let Some(list) = self.list.take() {
            // SAFETY: the caller's place (`Output`).
            unsafe { self.out.0.write(list.into_raw()) };
        }
    }
}

struct Names {
    answer: NameAnswer,
    host: Output<c_char>,
    service: Output<c_char>,
}

impl Payload for Names {
    fn deliver(&mut self) {
        let parts = [(&self.answer.host, self.host.0), (&self.answer.service, self.service.0)];
        for (text, out) in parts {
            // SAFETY: the caller's buffer, NULL if the text is empty; the C library was told how
            // long it is, and kept to that.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast(), text.len()) };
        }
    }
}

/// # Safety
/// NULL, or a string that stays as it is during the call.
unsafe fn optional_text(text: *const c_char) -> Result<Option<CString>, Errno> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: passed on.
    Ok(Some(unsafe { arguments::path(text) }?.to_owned()))
}

/// Finds addresses for a name and a service, as getaddrinfo(3) does: by /etc/hosts, name servers
/// and whatever else the machine's nsswitch.conf says. Completes with 0.
///
/// `node`, `service`: copied; one of them may be NULL. `hints`: its first four fields are copied;
/// NULL: any.
/// `res`: an output, the engine's until the last callback; written on success alone. The list is
/// yours then: aio_addrinfo_free. With AIO_CALLBACK_REAP that is so before its record is reaped,
/// and if a destroy comes first: begin with NULL in it.
/// Context thread.
/// Errors: at once -EINVAL, `res` is NULL, or `node` and `service` are; -ENAMETOOLONG; -EAGAIN, no
/// thread can be had; -EOPNOTSUPP, the library was built without its feature `names`. In the
/// callback AIO_ENONAME, -ENODATA (the name has no address of the
/// family), AIO_ENAMEAGAIN, AIO_ENAMEFAIL, AIO_ENOSERVICE, -EAFNOSUPPORT, -ESOCKTNOSUPPORT,
/// -EINVAL (ai_flags), -ENOMEM.
/// Surprise: nothing interrupts the C library while a name server is slow. When an operation is
/// cancelled or late, its callback comes at once, and its call ends unheard. Calls are made by
/// threads of the process, 32 at most for all contexts (more where threads of the program are in
/// namespaces of their own: a call is made in its submitter's); others wait for their turn, and
/// their deadlines count meanwhile. aio_ctx_destroy does not wait for them. Not with
/// AIO_SUBMIT_QUIET.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_getaddrinfo(
    ctx: *mut aio_ctx, node: *const c_char, service: *const c_char, hints: *const addrinfo,
    res: *mut *mut addrinfo, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        optional!("names");
        let done = done(callback, user_data)?;
        let out = Output(arguments::output(res)?);
        // SAFETY: the caller's strings and structures.
        let (question, options) = unsafe {
            let hints = arguments::optional(hints).map(|hints| Hints {
                flags: hints.ai_flags,
                family: hints.ai_family,
                socktype: hints.ai_socktype,
                protocol: hints.ai_protocol,
            });
            let (node, service) = (optional_text(node)?, optional_text(service)?);
            let question = AddressQuestion { node, service, hints };
            (question, arguments::submit_options_or_default(options)?)
        };
        if question.node.is_none() && question.service.is_none() {
            return Err(Errno::EINVAL.into());
        }
        let wrap =
            move |list| -> Box<dyn Payload> { Box::new(Addresses { list: Some(list), out }) };
        Ok(names::submit_getaddrinfo(handle, question, wrap, &options, done)? as aio_op_id)
    })
}

/// Frees a list of aio_submit_getaddrinfo; not with freeaddrinfo(3).
///
/// `res`: NULL is nothing. Entries of it cannot be freed alone.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_addrinfo_free(res: *mut addrinfo) {
    // SAFETY: the caller's list, which is not used any more.
    drop(unsafe { AddressList::from_raw(res) });
}

/// Finds the name of an address and of its port, as getnameinfo(3) does. Completes with 0.
///
/// `addr`: copied, at most 128 bytes.
/// `host`, `serv`: outputs with room for `hostlen` and `servlen` bytes (NI_MAXHOST and NI_MAXSERV
/// will do), the engine's until the last callback; written on success alone. Either may be NULL
/// with length 0.
/// `flags`: NI_*.
/// Context thread.
/// Errors: at once -EINVAL, `addr` is NULL or its length is 0 or too large, or both outputs are
/// missing; -EAGAIN. In the callback AIO_ENONAME, -EOVERFLOW (too little room), AIO_ENAMEAGAIN,
/// AIO_ENAMEFAIL, -EAFNOSUPPORT, -EINVAL (`flags`), -ENOMEM.
/// Surprise: as for aio_submit_getaddrinfo.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_getnameinfo(
    ctx: *mut aio_ctx, addr: *const sockaddr, addrlen: socklen_t, host: *mut c_char,
    hostlen: socklen_t, serv: *mut c_char, servlen: socklen_t, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        optional!("names");
        let done = done(callback, user_data)?;
        let net::Address { addr, len } = arguments::address(addr, addrlen)?;
        let (host_len, service_len) = (hostlen as usize, servlen as usize);
        arguments::buffer(host, host_len)?;
        arguments::buffer(serv, service_len)?;
        if host_len == 0 && service_len == 0 {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's address and options.
        let (address, options) = unsafe {
            let address = arguments::bytes(addr, len as usize)?;
            (address.into(), arguments::submit_options_or_default(options)?)
        };
        let question = NameQuestion { address, host_len, service_len, flags };
        let (host, service) = (Output(host), Output(serv));
        let wrap =
            move |answer| -> Box<dyn Payload> { Box::new(Names { answer, host, service }) };
        Ok(names::submit_getnameinfo(handle, question, wrap, &options, done)? as aio_op_id)
    })
}

/// Sets the cache of aio_submit_getaddrinfo up, for the whole process, and empties it. There is
/// none unless a program asks for one: the C library does not tell for how long an answer is good.
///
/// `options`: NULL: no cache.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_names_set_cache(options: *const aio_names_cache_options) -> i32 {
    let limits = || -> Result<CacheLimits, Errno> {
        optional!("names");
        if options.is_null() {
            return Ok(CacheLimits::default());
        }
        // SAFETY: the caller's structure.
        let options = unsafe { arguments::sized(options) }?;
        if options.reserved != [0; 4] {
            return Err(Errno::EINVAL);
        }
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        Ok(CacheLimits {
            entries: options.entries,
            ttl_ns: or(options.ttl_ns, TTL_DEFAULT_NS),
            negative_ttl_ns: or(options.negative_ttl_ns, NEGATIVE_TTL_DEFAULT_NS),
        })
    };
    let outcome = std::panic::catch_unwind(|| limits().and_then(names::set_cache));
    match outcome {
        Ok(outcome) => outcome.map_or_else(Errno::status, |()| 0),
        Err(_) => status::AIO_EPANIC,
    }
}
