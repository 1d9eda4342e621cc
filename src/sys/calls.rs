//! The ring's three system calls, behind one table of functions that a test can replace so that the
//! n-th call fails. A context keeps the table that was installed when it was created.
//! All return the kernel's convention: a value, or a negative error number.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicPtr;
use linux_raw_sys::io_uring::io_uring_params;

pub(crate) type Setup = unsafe fn(entries: u32, params: *mut io_uring_params) -> i32;
/// Whole words, as a system call takes them: who calls has them already.
pub(crate) type Enter = unsafe fn(
    fd: usize,
    to_submit: usize,
    min_complete: usize,
    flags: usize,
    arg: usize,
    arg_size: usize,
) -> i32;
pub(crate) type Register = unsafe fn(fd: i32, opcode: u32, arg: usize, count: u32) -> i32;

/// The three calls that a ring is driven by.
#[derive(Clone, Copy)]
pub struct Calls {
    pub setup: Setup,
    pub enter: Enter,
    pub register: Register,
}

static KERNEL: Calls = Calls { setup, enter, register };
static INSTALLED: AtomicPtr<Calls> = AtomicPtr::new(std::ptr::null_mut());

impl Calls {
    /// The table that contexts created from now on use.
    pub(crate) fn installed() -> &'static Calls {
        // SAFETY: only `install` stores here, and what it stores is 'static. Acquire pairs with its
        // Release, so that the table's contents are seen.
        unsafe { INSTALLED.load(Ordering::Acquire).as_ref() }.unwrap_or(&KERNEL)
    }

    /// Nobody stands between the context and the kernel.
    pub(crate) fn are_the_kernels(&self) -> bool {
        std::ptr::eq(self, &KERNEL)
    }

    /// Makes contexts created from now on use `calls`; None restores the kernel's.
    pub fn install(calls: Option<&'static Calls>) {
        let pointer =
            calls.map_or(std::ptr::null_mut(), |calls| std::ptr::from_ref(calls).cast_mut());
        INSTALLED.store(pointer, Ordering::Release);
    }

    /// The kernel's own calls, for a replacement that passes on what it does not fail.
    pub fn kernel() -> &'static Calls {
        &KERNEL
    }
}

unsafe fn setup(entries: u32, params: *mut io_uring_params) -> i32 {
    // SAFETY: the caller passes a valid params structure.
    unsafe { call(libc::SYS_io_uring_setup, [entries as usize, params as usize, 0, 0, 0, 0]) }
}

unsafe fn enter(
    fd: usize, to_submit: usize, min_complete: usize, flags: usize, arg: usize, arg_size: usize,
) -> i32 {
    let args = [fd, to_submit, min_complete, flags, arg, arg_size];
    // SAFETY: the caller's ring owns `fd` and keeps `arg` alive during the call.
    unsafe { call(libc::SYS_io_uring_enter, args) }
}

unsafe fn register(fd: i32, opcode: u32, arg: usize, count: u32) -> i32 {
    // SAFETY: the caller keeps `arg` valid for `opcode`, as io_uring_register(2) wants it.
    unsafe {
        call(libc::SYS_io_uring_register, [fd as usize, opcode as usize, arg, count as usize, 0, 0])
    }
}

/// A system call without the C library's errno and variadic arguments: about 15 instructions less,
/// which is a tenth of a NOP at depth 1.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn call(number: libc::c_long, args: [usize; 6]) -> i32 {
    let result: isize;
    // SAFETY: the kernel's calling convention; rcx and r11 are what `syscall` itself clobbers.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            out("rcx") _, out("r11") _, options(nostack),
        );
    }
    result as i32
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn call(number: libc::c_long, args: [usize; 6]) -> i32 {
    // SAFETY: the caller's arguments are right for `number`.
    let result =
        unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
    if result < 0 { crate::sys::errno::Errno::last().status() } else { result as i32 }
}
