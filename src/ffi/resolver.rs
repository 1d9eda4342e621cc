//! The DNS client: resolvers, lookups with them, and their answers.

use crate::engine::external::Payload;
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard, status};
use crate::service::resolver::data::{
    Answer, Entry, Kind, Options, Question, SERVERS_MAX, Want, servers,
};
use crate::service::resolver::{self, Resolver};
use crate::sys::address;
use crate::sys::errno::Errno;
use crate::sys::message::{sockaddr, socklen_t};
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A DNS client: servers, patience, cache.
pub struct aio_resolver {
    _private: (),
}

/// What a lookup has found.
pub struct aio_answer {
    _private: (),
}

/// A kind of records: IPv4 addresses.
pub const AIO_DNS_A: u32 = 1;
/// A kind of records: texts.
pub const AIO_DNS_TXT: u32 = 16;
/// A kind of records: IPv6 addresses.
pub const AIO_DNS_AAAA: u32 = 28;
/// A kind of records: the places of a service.
pub const AIO_DNS_SRV: u32 = 33;
/// For aio_submit_resolve: A and AAAA, asked for at once; records of either are enough.
pub const AIO_DNS_ADDRESS: u32 = 65536;

const _: () = assert!(AIO_DNS_A == Kind::A.number() && AIO_DNS_TXT == Kind::Txt.number());
const _: () = assert!(AIO_DNS_AAAA == Kind::Aaaa.number() && AIO_DNS_SRV == Kind::Srv.number());

/// For aio_submit_resolve: asks although the cache knows an answer.
pub const AIO_RESOLVE_FRESH: u32 = 1;

/// A resolver's option: asks over TCP from the start.
pub const AIO_RESOLVER_TCP: u32 = 1;
/// A resolver's option: each lookup begins with the next server.
pub const AIO_RESOLVER_ROTATE: u32 = 2;
const FLAGS: u32 = AIO_RESOLVER_TCP | AIO_RESOLVER_ROTATE;

/// Options of aio_resolver_create; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_resolver_options {
    /// sizeof(aio_resolver_options)
    pub size: u32,
    /// AIO_RESOLVER_*
    pub flags: u32,
    /// In the form of resolv.conf(5); NULL: /etc/resolv.conf, "": none. Its nameserver, search,
    /// domain, and of its options ndots, timeout, attempts, rotate, use-vc and no-aaaa count.
    pub conf_path: *const c_char,
    /// In the form of hosts(5); NULL: /etc/hosts, "": none.
    pub hosts_path: *const c_char,
    /// At most 16 addresses with or without a port, between spaces ("192.0.2.1 [2001:db8::1]:54"),
    /// in the place of the file's; NULL: the file's.
    pub servers: *const c_char,
    /// How long a server may take in the first round, doubled in each other; 0: as the file says.
    pub timeout_ns: u64,
    /// Rounds over all servers, at most 16; 0: as the file says.
    pub attempts: u32,
    /// Bytes of a datagram that servers may send, at most 4096; 0: 1232. Answers that do not fit
    /// are asked for over TCP. 512: servers are not told of EDNS.
    pub datagram_max: u32,
    /// Lookups that have sockets at a time, one or two each; others wait. 0: 128.
    pub lookups_max: u32,
    /// Answers in the cache at most; 0: no cache.
    pub cache_entries: u32,
    /// Seconds for which an answer is kept at most, however long it is good for; 0: a day. One that
    /// is good for no time at all is not kept, nor a "no such name" that does not say how long.
    pub cache_ttl_max: u32,
    /// The same for what is not there, which is kept for as long as its zone says; 0: five minutes.
    pub cache_negative_ttl_max: u32,
    /// 0
    pub reserved: [u64; 4],
}

/// A record of an answer; what its kind does not have is 0 or NULL. Pointers are into the answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_dns_record {
    /// sizeof(aio_dns_record)
    pub size: u32,
    /// AIO_DNS_*
    pub kind: u32,
    /// Seconds for which it is good; 0 also where no server was asked.
    pub ttl: u32,
    /// SRV: lower ones are to be tried first.
    pub priority: u16,
    /// SRV: how often it is to be chosen among those of its priority.
    pub weight: u16,
    /// SRV: the port, in the host's order of bytes.
    pub port: u16,
    /// 0
    pub reserved0: u16,
    /// TXT: how many strings it has.
    pub strings: u32,
    /// SRV: the host's name.
    pub target: *const c_char,
    /// A, AAAA: 4 or 16 bytes, as in struct in_addr and in6_addr. TXT: all strings in one.
    pub data: *const c_void,
    /// Bytes at `data`.
    pub data_len: u32,
    /// 0
    pub reserved1: u32,
}

/// # Safety
/// NULL, or a string that stays as it is during the call.
unsafe fn file(path: *const c_char, default: &str) -> Result<Option<PathBuf>, Errno> {
    if path.is_null() {
        return Ok(Some(default.into()));
    }
    // SAFETY: passed on.
    let path = unsafe { arguments::path(path) }?.to_bytes();
    Ok((!path.is_empty()).then(|| OsStr::from_bytes(path).into()))
}

const ATTEMPTS_MAX: u32 = 16;
const DATAGRAM_LEAST: u32 = 512;
const DATAGRAM_MAX: u32 = 4096;
const CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// # Safety
/// As `arguments::sized`, or NULL.
unsafe fn resolver_options(options: *const aio_resolver_options) -> Result<Options, Errno> {
    let mut read =
        Options { conf: Some(CONF.into()), hosts: Some(HOSTS.into()), ..Options::default() };
    if options.is_null() {
        return Ok(read);
    }
    // SAFETY: passed on.
    let options = unsafe { arguments::sized(options) }?;
    let is_odd = options.flags & !FLAGS != 0
        || options.attempts > ATTEMPTS_MAX
        || (options.datagram_max != 0
            && !(DATAGRAM_LEAST..=DATAGRAM_MAX).contains(&options.datagram_max))
        || options.reserved != [0; 4];
    if is_odd {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's strings.
    unsafe {
        read.conf = file(options.conf_path, CONF)?;
        read.hosts = file(options.hosts_path, HOSTS)?;
        if !options.servers.is_null() {
            let text = CStr::from_ptr(options.servers).to_str().map_err(|_| Errno::EINVAL)?;
            read.servers = Some(servers(text).ok_or(Errno::EINVAL)?);
        }
    }
    read.timeout_ns = options.timeout_ns;
    read.attempts = options.attempts;
    read.tcp = options.flags & AIO_RESOLVER_TCP != 0;
    read.rotate = options.flags & AIO_RESOLVER_ROTATE != 0;
    read.datagram_max = options.datagram_max as u16;
    read.lookups_max = options.lookups_max;
    read.cache_entries = options.cache_entries;
    read.cache_ttl_max = options.cache_ttl_max;
    read.cache_negative_ttl_max = options.cache_negative_ttl_max;
    Ok(read)
}

const _: () = assert!(SERVERS_MAX == 16);

/// Makes a DNS client. It belongs to no context: lookups of any context may use it at once, and
/// share its cache. Its two files are read now, and again when they have changed, which is looked
/// at once a second at most, at a submit.
///
/// `options`: NULL: what /etc/resolv.conf and /etc/hosts say, and no cache.
/// `resolver_out`: yours until aio_resolver_destroy.
/// Any thread. Not for a forked child, which makes its own.
/// Errors: -EINVAL, a wrong option; -EOPNOTSUPP, the library was built without its feature
/// `resolver`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_resolver_create(
    options: *const aio_resolver_options, resolver_out: *mut *mut aio_resolver,
) -> i32 {
    let create = || -> Result<(), Errno> {
        let out = arguments::output(resolver_out)?;
        // SAFETY: the caller's options.
        let resolver = Resolver::create(unsafe { resolver_options(options) }?)?;
        // SAFETY: the caller's place.
        unsafe { out.write(Arc::into_raw(Arc::new(resolver)).cast_mut().cast()) };
        Ok(())
    };
    shielded(create)
}

fn shielded(body: impl FnOnce() -> Result<(), Errno>) -> i32 {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(outcome) => outcome.map_or_else(Errno::status, |()| 0),
        Err(_) => status::AIO_EPANIC,
    }
}

/// Gives a resolver back. Lookups that are in flight go on, and keep what they need.
///
/// `resolver`: NULL is nothing.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_resolver_destroy(resolver: *mut aio_resolver) {
    if !resolver.is_null() {
        // SAFETY: the reference of `aio_resolver_create`, given back once.
        drop(unsafe { Arc::from_raw(resolver.cast_const().cast::<Resolver>()) });
    }
}

/// Forgets the answers in a resolver's cache.
///
/// Any thread.
/// Errors: -EINVAL, `resolver` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_resolver_forget(resolver: *mut aio_resolver) -> i32 {
    // SAFETY: NULL or the caller's resolver.
    let resolver = unsafe { resolver.cast::<Resolver>().as_ref() };
    shielded(|| {
        resolver.ok_or(Errno::EINVAL)?.forget();
        Ok(())
    })
}

struct Delivered {
    answer: Option<Answer>,
    out: *mut *mut aio_answer,
}

// SAFETY: the place belongs to the engine until the last callback, and is written to on the
// context's thread alone.
unsafe impl Send for Delivered {}

impl Payload for Delivered {
    fn deliver(&mut self) {
        if let Some(answer) = self.answer.take() {
            // SAFETY: as above.
            unsafe { self.out.write(Box::into_raw(Box::new(answer)).cast()) };
        }
    }
}

/// Looks a name up: in the hosts file, in the cache, by asking servers. Completes with 0.
///
/// `name`: copied; at most 253 characters of ASCII. With a dot at its end it is taken as it is;
/// else the search domains are tried as resolv.conf(5) says. A numeric address (in full, without a
/// zone) is its own answer, and localhost has its addresses without anybody being asked.
/// `kind`: AIO_DNS_*. `flags`: AIO_RESOLVE_*.
/// `answer_out`: an output, the engine's until the last callback; written on success alone. The
/// answer is yours then: aio_answer_free. With AIO_CALLBACK_REAP that is so before its record is
/// reaped, and if a destroy comes first: begin with NULL in it.
/// Context thread. The resolver may be destroyed while lookups are in flight.
/// Errors: at once -EINVAL, no such kind, flag or name. In the callback AIO_ENONAME, there is no
/// such name; -ENODATA, it has no record of this kind; -ETIMEDOUT (without AIO_CQE_DEADLINE), no
/// server has answered; AIO_ENAMEAGAIN, servers have failed or answered nonsense; AIO_ENAMEFAIL,
/// they refuse; -ECONNREFUSED, -ENETUNREACH and the like, none could be reached; -EMFILE.
/// Surprise: without timeout_ns a lookup takes up to 10 seconds and more for each server that is
/// silent, as resolv.conf says. Records of A come before those of AAAA. Not with AIO_SUBMIT_QUIET.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_resolve(
    ctx: *mut aio_ctx, resolver: *mut aio_resolver, name: *const c_char, kind: u32, flags: u32,
    answer_out: *mut *mut aio_answer, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        let want = match kind {
            AIO_DNS_A => Want::One(Kind::A),
            AIO_DNS_TXT => Want::One(Kind::Txt),
            AIO_DNS_AAAA => Want::One(Kind::Aaaa),
            AIO_DNS_SRV => Want::One(Kind::Srv),
            AIO_DNS_ADDRESS => Want::Addresses,
            _ => return Err(Errno::EINVAL.into()),
        };
        let out = arguments::output(answer_out)?;
        if resolver.is_null() || flags & !AIO_RESOLVE_FRESH != 0 {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's string, options and resolver, of which another reference is made.
        let (name, options, resolver) = unsafe {
            let resolver = resolver.cast_const().cast::<Resolver>();
            Arc::increment_strong_count(resolver);
            let resolver = Arc::from_raw(resolver);
            (arguments::path(name)?, arguments::submit_options_or_default(options)?, resolver)
        };
        let name = name.to_str().map_err(|_| Errno::EINVAL)?.to_owned();
        let question = Question { name, want, fresh: flags & AIO_RESOLVE_FRESH != 0 };
        let wrap =
            move |answer| -> Box<dyn Payload> { Box::new(Delivered { answer: Some(answer), out }) };
        Ok(resolver::submit(handle, resolver, question, wrap, &options, done)? as aio_op_id)
    })
}

/// # Safety
/// NULL or the caller's answer.
unsafe fn known<'a>(answer: *const aio_answer) -> Option<&'a Answer> {
    // SAFETY: passed on.
    unsafe { answer.cast::<Answer>().as_ref() }
}

/// # Safety
/// As `known`.
unsafe fn entry<'a>(answer: *const aio_answer, index: u32) -> Result<&'a Entry, Errno> {
    // SAFETY: passed on.
    let answer = unsafe { known(answer) }.ok_or(Errno::EINVAL)?;
    answer.entries.get(index as usize).ok_or(Errno::ERANGE)
}

/// The name behind all aliases, without a dot at its end; valid as long as the answer. A character
/// that cannot be printed is written as a backslash and three digits. NULL: `answer` is.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_name(answer: *const aio_answer) -> *const c_char {
    // SAFETY: the caller's answer.
    unsafe { known(answer) }.map_or(std::ptr::null(), |answer| answer.name.as_ptr())
}

/// How many records an answer has: one at least. 0: `answer` is NULL.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_count(answer: *const aio_answer) -> u32 {
    // SAFETY: the caller's answer.
    unsafe { known(answer) }.map_or(0, |answer| answer.entries.len() as u32)
}

/// Tells of a record.
///
/// `index`: below aio_answer_count, in the order of the server.
/// `out`: its size set; pointers in it are valid as long as the answer.
/// Any thread.
/// Errors: -EINVAL, NULL; -ERANGE, there is no such record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_record(
    answer: *const aio_answer, index: u32, out: *mut aio_dns_record,
) -> i32 {
    // SAFETY: the caller's answer and structure.
    shielded(|| unsafe {
        let entry = entry(answer, index)?;
        let record = aio_dns_record {
            size: 0,
            kind: entry.kind.number(),
            ttl: entry.ttl,
            priority: entry.priority,
            weight: entry.weight,
            port: entry.port,
            reserved0: 0,
            strings: entry.ends.len() as u32,
            target: entry.target.as_ref().map_or(std::ptr::null(), |target| target.as_ptr()),
            data: if entry.data.is_empty() { std::ptr::null() } else { entry.data.as_ptr().cast() },
            data_len: entry.data.len() as u32,
            reserved1: 0,
        };
        arguments::write_sized(out, record)
    })
}

/// One of the strings of a TXT record.
///
/// `nth`: below the record's `strings`.
/// `data_out`, `len_out`: bytes without a terminator, valid as long as the answer.
/// Any thread.
/// Errors: -EINVAL, NULL; -ERANGE, there is no such record or string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_string(
    answer: *const aio_answer, index: u32, nth: u32, data_out: *mut *const c_void,
    len_out: *mut u32,
) -> i32 {
    // SAFETY: the caller's answer and places.
    shielded(|| unsafe {
        let (data_out, len_out) = (arguments::output(data_out)?, arguments::output(len_out)?);
        let entry = entry(answer, index)?;
        let nth = nth as usize;
        let end = *entry.ends.get(nth).ok_or(Errno::ERANGE)?;
        let start = if nth == 0 { 0 } else { entry.ends[nth - 1] };
        let string = &entry.data[start..end];
        data_out.write(string.as_ptr().cast());
        len_out.write(string.len() as u32);
        Ok(())
    })
}

/// The address of an A or AAAA record, to connect to.
///
/// `port`: in the host's order of bytes.
/// `addr`: written to, as far as there is room. `addrlen`: its room, at most sizeof(struct
/// sockaddr_storage) of it is used; set to the address's length.
/// Any thread.
/// Errors: -EINVAL, NULL, or the record is no address; -ERANGE, there is no such record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_sockaddr(
    answer: *const aio_answer, index: u32, port: u16, addr: *mut sockaddr, addrlen: *mut socklen_t,
) -> i32 {
    // SAFETY: the caller's answer and places.
    shielded(|| unsafe {
        let (addr, len) = (arguments::output(addr)?, arguments::output(addrlen)?);
        let ip = entry(answer, index)?.address.ok_or(Errno::EINVAL)?;
        len.write(address::write(ip, port, addr.cast(), len.read() as usize));
        Ok(())
    })
}

/// Frees an answer; what points into it is gone with it.
///
/// `answer`: NULL is nothing.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_answer_free(answer: *mut aio_answer) {
    if !answer.is_null() {
        // SAFETY: made by `Delivered::deliver`, given back once.
        drop(unsafe { Box::from_raw(answer.cast::<Answer>()) });
    }
}
