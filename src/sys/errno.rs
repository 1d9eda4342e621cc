//! Error numbers as the kernel returns them: positive in this type, negative on the ABI.

use crate::sys::refused::Fault;

/// A kernel error number, always positive; in its upper half perhaps why an argument was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", named(-self.status()))]
pub(crate) struct Errno(pub(crate) i32);

macro_rules! errnos {
    ($($name:ident),* $(,)?) => {
        impl Errno {
            $(pub(crate) const $name: Errno = Errno(libc::$name);)*
        }
    };
}

errnos!(
    ENOENT,
    EINTR,
    E2BIG,
    EBADF,
    EFAULT,
    EAGAIN,
    ENOMEM,
    EBUSY,
    EINVAL,
    ENAMETOOLONG,
    ENOSYS,
    ETIME,
    EOPNOTSUPP,
    ETIMEDOUT,
    EALREADY,
    ECANCELED,
    EPIPE,
    EPERM,
    EIO,
    ERANGE,
    EEXIST,
    EMFILE,
    ENFILE,
    ESPIPE,
    EINPROGRESS,
    EISCONN,
    ENOTSOCK,
    EBADFD,
    ENOBUFS,
    ENOSPC,
    EACCES,
    ENXIO,
    ECHILD,
    ESRCH,
    ENODEV,
    EMSGSIZE,
    EPROTONOSUPPORT,
    EDEADLK,
    ECONNABORTED,
);

const REASON_SHIFT: u32 = 16;
const NUMBER: i32 = (1 << REASON_SHIFT) - 1;

impl Errno {
    /// The negative number that the ABI returns.
    pub(crate) const fn status(self) -> i32 {
        -(self.0 & NUMBER)
    }

    /// EINVAL with a reason. It equals no other: what is compared comes from the kernel.
    pub(crate) const fn invalid(fault: Fault) -> Errno {
        Errno(libc::EINVAL | fault.number() << REASON_SHIFT)
    }

    /// The reason of such an error.
    pub(crate) fn reason(self) -> Option<&'static str> {
        Fault::text_of(self.0 >> REASON_SHIFT)
    }

    /// Whether a result says no more than that a signal, or a cancel request, came in between.
    /// The kernel's internal restart codes get through from operations on workers (splice, 6.18).
    #[inline(always)]
    pub(crate) fn is_interruption(result: i32) -> bool {
        const ERESTARTSYS: i32 = -512;
        const ERESTART_RESTARTBLOCK: i32 = -516;
        result == -libc::EINTR || (ERESTART_RESTARTBLOCK..=ERESTARTSYS).contains(&result)
    }

    /// Splits the kernel's `-errno or value` convention.
    pub(crate) fn check(value: i32) -> Result<i32, Errno> {
        if value < 0 { Err(Errno(-value)) } else { Ok(value) }
    }

    /// Splits the C library's: -1, and the number is the thread's `errno`.
    pub(crate) fn checked(value: i32) -> Result<i32, Errno> {
        if value < 0 { Err(Errno::last()) } else { Ok(value) }
    }

    /// The calling thread's `errno`, for the C library's calls.
    pub(crate) fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}

/// The text of a kernel error number, for ever valid, or None for a number the C library lacks.
pub(crate) fn text(errno: i32) -> Option<&'static std::ffi::CStr> {
    // SAFETY: strerrordesc_np returns NULL or a string in read-only memory of the C library.
    unsafe {
        let text = strerrordesc_np(errno);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
    }
}

/// What messages call an error number.
fn named(errno: i32) -> std::borrow::Cow<'static, str> {
    match name(errno) {
        Some(name) => name.to_string_lossy(),
        None => format!("error number {errno}").into(),
    }
}

/// The name of a kernel error number (`ENOENT`), as `text`.
pub(crate) fn name(errno: i32) -> Option<&'static std::ffi::CStr> {
    // SAFETY: as for `text`.
    unsafe {
        let name = strerrorname_np(errno);
        (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name))
    }
}

unsafe extern "C" {
    // glibc 2.32; not declared by the libc crate for every target.
    fn strerrordesc_np(errno: libc::c_int) -> *const libc::c_char;
    fn strerrorname_np(errno: libc::c_int) -> *const libc::c_char;
}
