//! Child processes.

use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard, optional};
use crate::service::processes::{self, Ended, Ending};
use crate::sys::errno::Errno;
use crate::sys::process::{Command, NUMBERS, SIGNAL_MAX, Started, Stream};
use std::ffi::{c_char, c_void};
use std::os::fd::{IntoRawFd, OwnedFd};

/// A standard stream of a child: this process's own.
pub const AIO_SPAWN_INHERIT: u32 = 0;
/// /dev/null.
pub const AIO_SPAWN_NULL: u32 = 1;
/// A descriptor of the caller's: `stdin_fd` and so on.
pub const AIO_SPAWN_FD: u32 = 2;
/// A new pipe; aio_process tells the other end.
pub const AIO_SPAWN_PIPE: u32 = 3;
/// For stderr_mode: what the child's standard output is.
pub const AIO_SPAWN_STDOUT: u32 = 4;

/// The child begins a session, without a terminal; signals of a cancel go to all of its group.
pub const AIO_SPAWN_NEW_SESSION: u32 = 1;
/// The child begins a process group; signals of a cancel go to all of it.
pub const AIO_SPAWN_NEW_GROUP: u32 = 2;
/// The child gets all descriptors that are not close-on-exec.
pub const AIO_SPAWN_KEEP_FDS: u32 = 4;
/// The child gets the caller's signal mask, and ignores what this process ignores.
pub const AIO_SPAWN_KEEP_SIGNALS: u32 = 8;
/// aio_process tells a descriptor of the child, which never names another process.
pub const AIO_SPAWN_PIDFD: u32 = 16;
const FLAGS: u32 = AIO_SPAWN_NEW_SESSION
    | AIO_SPAWN_NEW_GROUP
    | AIO_SPAWN_KEEP_FDS
    | AIO_SPAWN_KEEP_SIGNALS
    | AIO_SPAWN_PIDFD;

/// Added to the signal's number in the result of a child that a signal has ended.
pub const AIO_SPAWN_SIGNALED: i32 = 256;
const _: () = assert!(AIO_SPAWN_SIGNALED == processes::SIGNALED);

/// kill_after_ns where it is 0.
const GRACE_NS: u64 = 5_000_000_000;

/// A descriptor of the caller's, and its number in the child: below 1024, a different one each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_spawn_fd {
    pub fd: i32,
    pub number: i32,
}

/// What aio_submit_spawn starts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_spawn_options {
    pub size: u32,
    /// AIO_SPAWN_NEW_SESSION and the like.
    pub flags: u32,
    /// A path; without a slash it is looked for in this process's PATH. NULL: argv[0].
    pub program: *const c_char,
    /// Ends with NULL; at least one string.
    pub argv: *const *const c_char,
    /// Ends with NULL. NULL: this process's environment.
    pub envp: *const *const c_char,
    /// The child's directory, from which a relative `program` counts. NULL: this process's.
    pub cwd: *const c_char,
    /// Further descriptors.
    pub fds: *const aio_spawn_fd,
    pub fd_count: u32,
    /// AIO_SPAWN_INHERIT and the like.
    pub stdin_mode: u32,
    pub stdout_mode: u32,
    pub stderr_mode: u32,
    pub stdin_fd: i32,
    pub stdout_fd: i32,
    pub stderr_fd: i32,
    /// What a cancel, the deadline and destroy send to the child. 0: nothing.
    pub cancel_signal: i32,
    /// How long after it SIGKILL is sent. 0: 5 seconds; UINT64_MAX: never.
    pub kill_after_ns: u64,
    pub reserved: [u64; 4],
}

/// A child that runs. Descriptors are the caller's to close, close-on-exec, and -1 where there is
/// none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_process {
    pub size: u32,
    pub pid: i32,
    /// Writes to what the child reads.
    pub stdin_fd: i32,
    /// Read what the child writes.
    pub stdout_fd: i32,
    pub stderr_fd: i32,
    pub pidfd: i32,
}

/// How a child has ended, and what it has used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_process_exit {
    pub size: u32,
    pub pid: i32,
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED.
    pub code: i32,
    /// Its exit status, or the signal.
    pub status: i32,
    pub user_ns: u64,
    pub system_ns: u64,
    pub max_rss_kib: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
}

/// Starts a program in a child process, and completes when it has ended. The result is its exit
/// status, 0 to 255, or AIO_SPAWN_SIGNALED plus the signal that has ended it;
/// aio_ctx_current_exit tells more.
///
/// `spawn`: copied, with all that it points to. `process`: an output, written before the call
/// returns; NULL if nothing is asked for in it.
/// The call returns when the program runs, so that an id says that it does, and what execve(2)
/// would have said is what the call says. The child has the three standard streams, `fds`, and no
/// other descriptor (AIO_SPAWN_KEEP_FDS: those that are not close-on-exec); no signal is blocked in
/// it or ignored (AIO_SPAWN_KEEP_SIGNALS).
/// A cancel, the deadline and destroy: with `cancel_signal` the child gets that signal, and SIGKILL
/// when kill_after_ns have passed; the callback comes when it has ended, and destroy waits for
/// that. Without it the operation ends at once, the child goes on, and is reaped when it ends. A
/// child that may not be signalled goes on as well. There is never a zombie.
/// With AIO_SUBMIT_KEEP_RESULT the result is the child's also after a cancel.
/// `extra` of a record: processor time that was used, in nanoseconds.
/// Context thread.
/// Errors, at once: -ENOENT, -EACCES, -ENOEXEC and others of execve(2) and, for `cwd`, chdir(2);
/// -EBADF, a descriptor is not open; -EINVAL, no argv[0], an unknown flag or mode, a number of
/// `fds` that is out of range or taken, a signal that is none, AIO_SUBMIT_BARRIER, no `process`
/// although pipes or AIO_SPAWN_PIDFD are asked for; -ECHILD, the program ignores SIGCHLD or has
/// SA_NOCLDWAIT set for it, so that nobody can learn how a child ends; -EMFILE, -ENFILE; -EAGAIN,
/// -ENOMEM; -EOPNOTSUPP, the library was built without its feature `processes`. In the callback
/// -ECHILD: the program has waited for the child itself; if it was faster than the call, there is
/// no `pidfd` either.
/// Kernel: 5.4; before it -ENOSYS.
/// Surprise: the thread sleeps until the program is loaded, which takes 0.5 ms from the page cache.
/// A signal to a group reaches those alone that have not left it; when all have, the child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_spawn(
    ctx: *mut aio_ctx, spawn: *const aio_spawn_options, process: *mut aio_process,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        optional!("processes");
        let done = done(callback, user_data)?;
        // SAFETY: sized structures, or NULL where that is allowed.
        let (spawn, options) = unsafe {
            (arguments::sized(spawn)?, arguments::submit_options_or_default(options)?)
        };
        // SAFETY: the caller's structure, or NULL.
        unsafe { check_process(process, &spawn) }?;
        // SAFETY: what the options point to stays as it is during the call.
        let command = unsafe { command(&spawn) }?;
        let grace_ns = if spawn.kill_after_ns == 0 { GRACE_NS } else { spawn.kill_after_ns };
        let ending = Ending { signal: spawn.cancel_signal, grace_ns };
        let (id, started) = processes::submit(handle, command, ending, &options, done)?;
        if let Some(started) = started
            && !process.is_null()
        {
            // SAFETY: checked above.
            unsafe { arguments::write_sized(process, running(started)) }?;
        }
        Ok(id as aio_op_id)
    })
}

/// Tells how the child ended that the running callback of aio_submit_spawn is about.
///
/// `out`: set its `size`.
/// Context thread, inside a callback.
/// Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, the callback is about no
/// child's end, or about one that was cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_exit(
    ctx: *mut aio_ctx, out: *mut aio_process_exit,
) -> i32 {
    guard!(ctx, handle => {
        optional!("processes");
        arguments::output(out)?;
        let exit = handle.enter_used()?.payload::<Ended>().ok_or(Errno::ENOENT)?.0;
        let value = aio_process_exit {
            size: 0,
            pid: exit.pid,
            code: exit.code,
            status: exit.status,
            user_ns: exit.user_ns,
            system_ns: exit.system_ns,
            max_rss_kib: exit.max_rss_kib,
            minor_faults: exit.minor_faults,
            major_faults: exit.major_faults,
        };
        // SAFETY: the caller's sized structure.
        unsafe { arguments::write_sized(out, value) }?;
        Ok(0)
    })
}

/// # Safety
/// `process` is NULL or a structure of as many bytes as its first word says.
unsafe fn check_process(
    process: *const aio_process, spawn: &aio_spawn_options,
) -> Result<(), Errno> {
    let modes = [spawn.stdin_mode, spawn.stdout_mode, spawn.stderr_mode];
    let is_needed = modes.contains(&AIO_SPAWN_PIPE) || spawn.flags & AIO_SPAWN_PIDFD != 0;
    if process.is_null() {
        return if is_needed { Err(Errno::EINVAL) } else { Ok(()) };
    }
    // SAFETY: not NULL; the first word.
    let size = unsafe { process.cast::<u32>().read() } as usize;
    // All of it, or descriptors would be lost.
    if size < size_of::<aio_process>() { Err(Errno::EINVAL) } else { Ok(()) }
}

/// # Safety
/// The strings and vectors of `spawn` are NULL or stay as they are until the child has started.
unsafe fn command(spawn: &aio_spawn_options) -> Result<Command, Errno> {
    // SAFETY: the caller's vector, which ends with NULL.
    let first = unsafe { spawn.argv.as_ref() }.ok_or(Errno::EINVAL)?;
    let is_bad = first.is_null()
        || spawn.flags & !FLAGS != 0
        || spawn.reserved != [0; 4]
        || !(0..=SIGNAL_MAX).contains(&spawn.cancel_signal);
    if is_bad {
        return Err(Errno::EINVAL);
    }
    let program = if spawn.program.is_null() { *first } else { spawn.program };
    // SAFETY: as promised; two that may not be NULL are not.
    let mut command = unsafe { Command::new(program, spawn.argv, spawn.envp, spawn.cwd) };
    command.streams = [
        stream(spawn.stdin_mode, spawn.stdin_fd)?,
        stream(spawn.stdout_mode, spawn.stdout_fd)?,
        match spawn.stderr_mode {
            AIO_SPAWN_STDOUT => Stream::AsOutput,
            mode => stream(mode, spawn.stderr_fd)?,
        },
    ];
    if spawn.fd_count != 0 {
        // SAFETY: the caller's array, or NULL.
        let fds = unsafe { arguments::array(spawn.fds, spawn.fd_count as usize) }?;
        command.others = others(fds)?;
    }
    command.keeps_descriptors = spawn.flags & AIO_SPAWN_KEEP_FDS != 0;
    command.keeps_signals = spawn.flags & AIO_SPAWN_KEEP_SIGNALS != 0;
    command.new_session = spawn.flags & AIO_SPAWN_NEW_SESSION != 0;
    command.new_group = spawn.flags & AIO_SPAWN_NEW_GROUP != 0;
    command.shares_pidfd = spawn.flags & AIO_SPAWN_PIDFD != 0;
    Ok(command)
}

fn stream(mode: u32, fd: i32) -> Result<Stream, Errno> {
    Ok(match mode {
        AIO_SPAWN_INHERIT => Stream::Inherited,
        AIO_SPAWN_NULL => Stream::Null,
        AIO_SPAWN_FD if fd < 0 => return Err(Errno::EBADF),
        AIO_SPAWN_FD => Stream::Given(fd),
        AIO_SPAWN_PIPE => Stream::Pipe,
        _ => return Err(Errno::EINVAL),
    })
}

fn others(fds: &[aio_spawn_fd]) -> Result<Vec<(i32, i32)>, Errno> {
    let mut others = Vec::new();
    for &aio_spawn_fd { fd, number } in fds {
        let is_taken = others.iter().any(|&(_, taken)| taken == number);
        if is_taken || !(3..NUMBERS).contains(&number) {
            return Err(Errno::EINVAL);
        }
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        others.push((fd, number));
    }
    Ok(others)
}

fn running(started: Started) -> aio_process {
    let raw = |fd: Option<OwnedFd>| fd.map_or(-1, IntoRawFd::into_raw_fd);
    let [stdin, stdout, stderr] = started.ends.map(raw);
    aio_process {
        size: 0,
        pid: started.pid,
        stdin_fd: stdin,
        stdout_fd: stdout,
        stderr_fd: stderr,
        pidfd: raw(started.pidfd),
    }
}
