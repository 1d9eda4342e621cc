//! The one table of operations, and that of the kernel's facilities: since which Linux, by which
//! functions, and what becomes of them without a ring. Names in dumps, answers of the probe and the
//! tables in docs/kernel.md come from here. Data alone, because tools/generator reads this file as
//! well; tests compare it with the fallbacks and with the functions that the library exports.

/// A kernel version.
pub(crate) type Version = (u32, u32);

/// An opcode; its place in [`OPERATIONS`] is its number.
pub(crate) struct Row {
    pub name: &'static str,
    pub since: Version,
    /// Functions that stand for it. Those that the library does not export do not count.
    pub functions: &'static [&'static str],
    /// What serves better, where no function stands for it.
    pub instead: &'static str,
    pub without: Without,
    /// What a ring does whose kernel lacks the opcode.
    pub on_old_ring: &'static str,
}

/// How an operation is carried out without a ring; the names are those of `Fallback`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Without {
    Prompt,
    Brief,
    Sleeping,
    Trying,
    Either,
    Readiness,
    /// By the engine itself.
    Engine,
    /// As another operation, which the function then makes.
    Pooled,
    /// Not at all.
    Nothing,
}

const MULTISHOT: &str = "as aio_submit_recv_multishot";

impl Without {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Without::Prompt => "a plain call, in the turn",
            Without::Brief | Without::Sleeping => "a plain call on a thread of the pool",
            Without::Trying => "a plain call that does not sleep; waits by epoll",
            Without::Either => {
                "a plain call that does not sleep, or one on a thread of the pool; waits by epoll"
            }
            Without::Readiness => "poll(2) once, then epoll",
            Without::Engine => "by the engine",
            Without::Pooled => MULTISHOT,
            Without::Nothing => "-EOPNOTSUPP",
        }
    }

    /// What a ring without the opcode does, unless its row says more.
    const fn on_old_ring(self) -> &'static str {
        match self {
            Without::Prompt | Without::Brief => "a plain call inside the submit",
            Without::Pooled => MULTISHOT,
            _ => "-EOPNOTSUPP",
        }
    }
}

impl Row {
    /// The functions that stand for it, of those that are `exported` (a name a line).
    pub(crate) fn typed<'a>(
        &'a self, exported: &'a str,
    ) -> impl Iterator<Item = &'static str> + 'a {
        let is_exported = |name: &&&str| exported.lines().any(|line| line == **name);
        self.functions.iter().filter(is_exported).copied()
    }

    pub(crate) fn is_superseded(&self) -> bool {
        !self.instead.is_empty()
    }

    /// The same with another opcode for older rings.
    const fn or(self, on_old_ring: &'static str) -> Row {
        Row { on_old_ring, ..self }
    }
}

const fn row(
    name: &'static str, since: Version, without: Without, functions: &'static [&'static str],
) -> Row {
    Row { name, since, functions, instead: "", without, on_old_ring: without.on_old_ring() }
}

const fn superseded(name: &'static str, since: Version, instead: &'static str) -> Row {
    Row { instead, ..row(name, since, Without::Nothing, &[]) }
}

// The rows read better without the enum's name.
use Without::{Brief, Either, Engine, Pooled, Prompt, Readiness, Sleeping, Trying};

/// By opcode, as of Linux 6.16.
pub(crate) const OPERATIONS: [Row; 63] = [
    row("nop", (5, 1), Prompt, &["aio_submit_nop"]),
    row("readv", (5, 1), Either, &["aio_submit_readv"]),
    row("writev", (5, 1), Either, &["aio_submit_writev"]),
    row("fsync", (5, 1), Brief, &["aio_submit_fsync"]),
    row("read_fixed", (5, 1), Either, &["aio_submit_read_fixed"]),
    row("write_fixed", (5, 1), Either, &["aio_submit_write_fixed"]),
    row("poll", (5, 1), Readiness, &["aio_submit_poll", "aio_submit_poll_multishot"]),
    superseded("poll_remove", (5, 1), "aio_ctx_cancel"),
    row("sync_file_range", (5, 2), Brief, &["aio_submit_sync_file_range"]),
    row("sendmsg", (5, 3), Either, &["aio_submit_sendmsg"]),
    row("recvmsg", (5, 3), Trying, &["aio_submit_recvmsg", "aio_submit_recvmsg_multishot"]),
    superseded("timeout", (5, 4), "aio_submit_timer, aio_submit_timer_at, aio_submit_interval"),
    superseded("timeout_remove", (5, 5), "aio_ctx_cancel"),
    row("accept", (5, 5), Trying, &["aio_submit_accept", "aio_submit_accept_multishot"]),
    row(
        "async_cancel",
        (5, 5),
        Engine,
        &["aio_ctx_cancel", "aio_ctx_cancel_fd", "aio_ctx_cancel_all", "aio_ctx_cancel_group"],
    ),
    superseded("link_timeout", (5, 5), "timeout_ns of aio_submit_options"),
    row("connect", (5, 5), Either, &["aio_submit_connect"]),
    row("fallocate", (5, 6), Brief, &["aio_submit_fallocate"]),
    row("openat", (5, 6), Sleeping, &["aio_submit_openat"]),
    row("close", (5, 6), Prompt, &["aio_submit_close"]),
    row("files_update", (5, 6), Engine, &["aio_submit_files_update", "aio_files_update"]),
    row("statx", (5, 6), Brief, &["aio_submit_statx"]),
    row("read", (5, 6), Either, &["aio_submit_read", "aio_submit_read_exact"]),
    row("write", (5, 6), Either, &["aio_submit_write", "aio_submit_write_all"]),
    row("fadvise", (5, 6), Brief, &["aio_submit_fadvise"]),
    row("madvise", (5, 6), Brief, &["aio_submit_madvise"]),
    row(
        "send",
        (5, 6),
        Trying,
        &["aio_submit_send", "aio_submit_send_all", "aio_submit_send_bundle"],
    ),
    row(
        "recv",
        (5, 6),
        Trying,
        &[
            "aio_submit_recv",
            "aio_submit_recv_exact",
            "aio_submit_recv_multishot",
            "aio_submit_recv_pooled",
            "aio_submit_recv_pool",
            "aio_submit_recv_bundle",
        ],
    ),
    row("openat2", (5, 6), Sleeping, &["aio_submit_openat2"]),
    row("epoll_ctl", (5, 6), Prompt, &["aio_submit_epoll_ctl"]),
    row("splice", (5, 7), Sleeping, &["aio_submit_splice", "aio_submit_sendfile"]),
    superseded("provide_buffers", (5, 7), "aio_buffer_pool_create"),
    superseded("remove_buffers", (5, 7), "aio_buffer_pool_destroy"),
    row("tee", (5, 8), Sleeping, &["aio_submit_tee"]),
    row("shutdown", (5, 11), Prompt, &["aio_submit_shutdown"]),
    row("renameat", (5, 11), Brief, &["aio_submit_renameat"]),
    row("unlinkat", (5, 11), Brief, &["aio_submit_unlinkat"]),
    row("mkdirat", (5, 15), Brief, &["aio_submit_mkdirat"]),
    row("symlinkat", (5, 15), Brief, &["aio_submit_symlinkat"]),
    row("linkat", (5, 15), Brief, &["aio_submit_linkat"]),
    row(
        "msg_ring",
        (5, 18),
        Engine,
        &[
            "aio_submit_msg_ring",
            "aio_submit_msg_ring_fd",
            "aio_submit_msg_receive",
            "aio_submit_msg_receive_fd",
        ],
    ),
    row("fsetxattr", (5, 19), Brief, &["aio_submit_fsetxattr"]),
    row("setxattr", (5, 19), Brief, &["aio_submit_setxattr"]),
    row("fgetxattr", (5, 19), Brief, &["aio_submit_fgetxattr"]),
    row("getxattr", (5, 19), Brief, &["aio_submit_getxattr"]),
    row("socket", (5, 19), Prompt, &["aio_submit_socket"]),
    row(
        "uring_cmd",
        (5, 19),
        Prompt,
        &[
            "aio_submit_uring_cmd",
            "aio_submit_setsockopt",
            "aio_submit_getsockopt",
            "aio_submit_socket_inq",
            "aio_submit_socket_outq",
        ],
    ),
    row("send_zc", (6, 0), Trying, &["aio_submit_send_zc"]),
    row("sendmsg_zc", (6, 1), Trying, &["aio_submit_sendmsg_zc"]),
    row("read_multishot", (6, 7), Either, &["aio_submit_read_multishot"])
        .or("a read that the engine starts again"),
    row("waitid", (6, 7), Sleeping, &["aio_submit_waitid"]),
    row("futex_wait", (6, 7), Sleeping, &["aio_submit_futex_wait"]),
    row("futex_wake", (6, 7), Prompt, &["aio_submit_futex_wake"]),
    row("futex_waitv", (6, 7), Sleeping, &["aio_submit_futex_waitv"]),
    row("fixed_fd_install", (6, 8), Engine, &["aio_submit_files_install", "aio_files_install"]),
    row("ftruncate", (6, 9), Brief, &["aio_submit_ftruncate"]),
    row("bind", (6, 11), Prompt, &["aio_submit_bind"]),
    row("listen", (6, 11), Prompt, &["aio_submit_listen"]),
    row("recv_zc", (6, 15), Pooled, &["aio_submit_recv_zc"]),
    row("epoll_wait", (6, 15), Trying, &["aio_submit_epoll_wait"]),
    row("readv_fixed", (6, 15), Either, &["aio_submit_readv_fixed"]).or("an ordinary readv"),
    row("writev_fixed", (6, 15), Either, &["aio_submit_writev_fixed"]).or("an ordinary writev"),
    row("pipe", (6, 16), Prompt, &["aio_submit_pipe"]),
];

/// What a kernel's ring can do beside its operations; the numbers are those of `AIO_FACILITY_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Facility {
    MultishotAccept,
    MultishotReceive,
    BufferRings,
    IncrementalBuffers,
    Bundles,
    DirectDescriptors,
    RegisteredBuffers,
    ZeroCopySend,
    ZeroCopyReceive,
    WideSubmissions,
    WideCompletions,
    Sqpoll,
    SharedSqpoll,
    Iopoll,
    HybridIopoll,
    Napi,
    Resize,
    RegisteredWait,
    MinimumWait,
    WorkerLimits,
    WorkerAffinity,
    Restrictions,
    NoIowait,
    Clock,
}

pub(crate) struct FacilityRow {
    pub facility: Facility,
    pub name: &'static str,
    pub since: Version,
    /// Functions that offer it, of which one must be exported; else `option` does.
    pub functions: &'static [&'static str],
    pub option: &'static str,
    /// Without a ring the engine does it, or the same is had in another way.
    pub emulated: bool,
    /// What it is for, and when not.
    pub purpose: &'static str,
}

const fn offered(
    facility: Facility, name: &'static str, since: Version, functions: &'static [&'static str],
    purpose: &'static str,
) -> FacilityRow {
    FacilityRow { facility, name, since, functions, option: "", emulated: true, purpose }
}

const fn asked(
    facility: Facility, name: &'static str, since: Version, option: &'static str,
    purpose: &'static str,
) -> FacilityRow {
    FacilityRow { facility, name, since, functions: &[], option, emulated: false, purpose }
}

/// An option that the epoll backend takes as well.
const fn kept(
    facility: Facility, name: &'static str, since: Version, option: &'static str,
    purpose: &'static str,
) -> FacilityRow {
    FacilityRow { facility, name, since, functions: &[], option, emulated: true, purpose }
}

/// By number.
pub(crate) const FACILITIES: [FacilityRow; 24] = [
    offered(
        Facility::MultishotAccept,
        "multishot accept",
        (5, 19),
        &["aio_submit_accept_multishot"],
        "one submit for all connections of a listener",
    ),
    offered(
        Facility::MultishotReceive,
        "multishot receive",
        (6, 0),
        &["aio_submit_recv_multishot"],
        "one submit for all data of a socket; no buffer while it is silent",
    ),
    offered(
        Facility::BufferRings,
        "buffer rings",
        (5, 19),
        &["aio_buffer_pool_create"],
        "buffers that the kernel picks when data is there",
    ),
    offered(
        Facility::IncrementalBuffers,
        "incremental buffers",
        (6, 12),
        &["aio_buffer_pool_create"],
        "one large buffer carries many receives",
    ),
    offered(
        Facility::Bundles,
        "bundles",
        (6, 10),
        &["aio_submit_recv_bundle", "aio_submit_send_bundle", "aio_buffer_pool_create"],
        "several buffers of a pool in one receive or send",
    ),
    offered(
        Facility::DirectDescriptors,
        "direct descriptors",
        (5, 19),
        &["aio_files_register"],
        "connections beyond the limit of descriptors; no file look-up per operation",
    ),
    offered(
        Facility::RegisteredBuffers,
        "registered buffers",
        (5, 19),
        &["aio_buffers_register"],
        "no pinning of pages per transfer: direct I/O, zero copy; not for small buffered transfers",
    ),
    offered(
        Facility::ZeroCopySend,
        "zero-copy send",
        (6, 0),
        &["aio_submit_send_zc"],
        "large sends to another machine; the loopback device copies all the same",
    ),
    offered(
        Facility::ZeroCopyReceive,
        "zero-copy receive",
        (6, 15),
        &["aio_submit_recv_zc"],
        "receives without a copy from cards that split headers from data",
    ),
    kept(
        Facility::WideSubmissions,
        "128-byte submissions",
        (5, 19),
        "AIO_CTX_SQE128",
        "commands of NVMe and other drivers; not otherwise: twice the memory",
    ),
    kept(
        Facility::WideCompletions,
        "32-byte completions",
        (5, 19),
        "AIO_CTX_CQE32",
        "results of drivers' commands; not otherwise: twice the memory",
    ),
    asked(
        Facility::Sqpoll,
        "SQPOLL",
        (5, 11),
        "AIO_CTX_SQPOLL",
        "submitting without system calls, for a processor per context that has nothing else to do; \
         not on a busy machine, and slower than the default where the context waits",
    ),
    asked(
        Facility::SharedSqpoll,
        "ATTACH_WQ",
        (5, 11),
        "sqpoll_share",
        "several contexts with SQPOLL share one polling thread; each waits for the others",
    ),
    asked(
        Facility::Iopoll,
        "IOPOLL",
        (5, 1),
        "AIO_CTX_IOPOLL",
        "direct reads and writes of devices with poll queues, completed without interrupts; not \
         for sockets, pipes, buffered files, which are refused, nor to save processor time",
    ),
    asked(
        Facility::HybridIopoll,
        "hybrid IOPOLL",
        (6, 13),
        "AIO_CTX_HYBRID_IOPOLL",
        "IOPOLL that sleeps for half of the usual time first: less processor time, some latency",
    ),
    asked(
        Facility::Napi,
        "NAPI busy poll",
        (6, 9),
        "napi_busy_poll_usec",
        "microseconds of latency on a network card of its own; not on shared processors",
    ),
    asked(
        Facility::Resize,
        "ring resize",
        (6, 13),
        "sq_entries_max, cq_entries_max",
        "many contexts that are mostly idle: rings start small and grow before they overflow; not \
         where the peak is known, a growing takes 0.1 to 1 ms",
    ),
    asked(
        Facility::RegisteredWait,
        "registered wait",
        (6, 13),
        "AIO_CTX_REGISTERED_WAIT",
        "waits with a limit (timers) that copy nothing in; not for contexts without timers",
    ),
    asked(
        Facility::MinimumWait,
        "minimum wait",
        (6, 12),
        "min_wait_usec, min_wait_count",
        "fewer turns under load: completions are taken in batches; each may come so much later",
    ),
    asked(
        Facility::WorkerLimits,
        "worker limits",
        (5, 15),
        "workers_bounded_max, workers_unbounded_max",
        "a bound on the kernel's worker threads; too small a one makes calls that sleep wait for \
         each other",
    ),
    asked(
        Facility::WorkerAffinity,
        "worker affinity",
        (5, 14),
        "worker_cpus",
        "kernel workers that stay off processors with better things to do",
    ),
    kept(
        Facility::Restrictions,
        "restrictions",
        (5, 10),
        "allowed_ops",
        "a context that can do what was declared and nothing else; each submit costs more",
    ),
    asked(
        Facility::NoIowait,
        "NO_IOWAIT",
        (6, 15),
        "AIO_CTX_NO_IOWAIT",
        "waiting is idle time, not I/O wait: truer load figures; not on storage, where the \
         processor's clock should stay high",
    ),
    asked(
        Facility::Clock,
        "clock choice",
        (6, 12),
        "clock_id",
        "timers and deadlines that count the time in which the machine is suspended",
    ),
];
