/*
 * aio_rs.h: completion-based asynchronous I/O for Linux.
 *
 *     static void on_read(void *user_data, int32_t result, uint32_t flags) { ... }
 *
 *     aio_ctx *ctx;
 *     aio_ctx_create(NULL, &ctx);
 *     aio_submit_read(ctx, fd, buf, sizeof buf, 0, NULL, on_read, NULL);
 *     aio_ctx_run(ctx);
 *     aio_ctx_destroy(ctx);
 *
 * A program creates one context per thread, submits operations, and gets exactly one final
 * callback for each. This manual holds for every function; the functions' own comments add what is
 * particular to them. Errors are negative: -errno, or one of the codes AIO_E* below.
 *
 *  1. One context, one thread. A context is created on any thread; its first submit, run or flush
 *     adopts it for the calling thread, and from any other thread such calls give
 *     AIO_EWRONGTHREAD. Any thread may call: post, stop, cancel, stats, hold, release, ref, unref.
 *     Before adoption, posts wait. A stop is sticky: one before the run counts, a run uses it up.
 *
 *  2. Submit returns an id or an error. Positive: the operation will complete. Negative: nothing
 *     was submitted, and the callback never runs; aio_strerror((int32_t)id) says why.
 *
 *  3. The callback runs on the context's thread, from a run, reap or destroy call, never inside a
 *     submit call: zero or more times with AIO_CQE_MORE set, then exactly once without. That holds
 *     on success, failure, cancellation, deadline and destruction. Exceptions are asked for:
 *     AIO_SUBMIT_QUIET (not on success), aio_ctx_detach, aio_ctx_cancel_wait; or are the disasters
 *     AIO_ESTUCK and AIO_EPANIC.
 *
 *  4. Two kinds of memory. Small arguments are copied during the submit call: paths, socket
 *     addresses, vector arrays, message headers and control data that is sent, options. Data
 *     buffers and outputs belong to the engine from the submit until the last callback
 *     (AIO_CQE_MORE clear). Cancelling does not shorten that.
 *
 *  5. An id names its operation for ever: a stale or foreign one is -ENOENT, never another
 *     operation.
 *
 *  6. Nothing leaks when nobody waits: a descriptor that arrives for an operation given up by
 *     aio_ctx_detach or aio_ctx_cancel_wait, also one passed by SCM_RIGHTS, is closed; a slot of
 *     the context's table that such an operation fills is emptied; a pool's buffer goes back.
 *
 *  7. Close is close. aio_submit_close cancels what this context has in flight on the number, their
 *     last callbacks run (-ECANCELED), then it closes, and the peer of a socket sees the end. Other
 *     descriptors of the same socket (dup, fork, another context) keep it open: for that there is
 *     shutdown. With AIO_SUBMIT_FIXED_FILE the same holds for a slot of the context's table. A
 *     zero-copy send that has its result is not waited for: it needs the descriptor no more.
 *
 *  8. Backpressure is not an error. A full submission queue is flushed, a full completion queue is
 *     drained, what finds no place waits in order. Of the queues only max_ops makes a submit fail:
 *     -EAGAIN. Operations that need more than a queue (threads, descriptors, memory) tell in their
 *     own errors when that is used up.
 *
 *  9. Every operation can have a deadline (timeout_ns), and it costs nothing until it expires. It
 *     counts from the submit (inside a callback: from the end of the turn, so that one look at the
 *     clock serves all) over the whole operation; expiry requests cancellation, and the callback
 *     comes with -ETIMEDOUT and AIO_CQE_DEADLINE when the kernel lets go, unless the operation had
 *     succeeded. With AIO_SUBMIT_TIMEOUT_IDLE each completion of a multishot starts it anew. Timers
 *     and deadlines never fire early, and late by at most timer_resolution_ns and the kernel's
 *     slack on an idle loop.
 *
 * 10. Cancel asks. 0: asked, the callback follows with -ECANCELED or with the result that was
 *     faster. On the context's thread also -ENOENT and -EALREADY; from another thread the request
 *     is posted.
 *
 * 11. Chains. AIO_SUBMIT_LINK and _HARDLINK tie an operation to the next one submitted. A chain is
 *     held until its unlinked last member and handed over whole; one longer than the submission
 *     queue, or still open when the context runs, flushes or the callback's turn ends, fails with
 *     -EINVAL through its callbacks. Cancelling a member that has not started cancels the running
 *     one; the rest completes with -ECANCELED and AIO_CQE_ABORTED. Timers and multishot operations
 *     cannot be members. AIO_SUBMIT_BARRIER on an operation, or on the first member of a chain,
 *     starts it when all one-shot operations before it have completed; later ones are not held.
 *
 * 12. Callbacks may do anything: submit, cancel, post, stop, destroy. Only running a context inside
 *     its own callback is refused: AIO_EREENTRANT. (A trace callback is another thing, see
 *     aio_ctx_set_trace.)
 *
 * 13. Destroy is total. It returns 0 after everything was cancelled and every last callback has
 *     run, and what had been posted too; from then on the kernel touches no memory of the
 *     caller's, also when a forked child is alive or kernel workers had taken operations. Once
 *     begun, submit gives -ECANCELED (close descriptors with close(2) then) and post AIO_ECLOSED.
 *     Inside a callback it returns AIO_EPENDING, and the run call AIO_EDESTROYED. With
 *     destroy_grace_ns it may give up: AIO_ESTUCK, the callbacks of what is stuck never run, their
 *     buffers must never be freed, and aio_ctx_dump names them. The adopting thread destroys
 *     before it exits (other than main: before its thread-local destructors run). On another
 *     thread: AIO_EWRONGTHREAD while it lives; after it, AIO_EORPHANED: callbacks run with
 *     -ECANCELED on the caller, the context is freed, and buffers in flight must be considered
 *     lost. aio_ctx_ref keeps the handle itself valid for other threads.
 *
 * 14. Nothing unwinds across the boundary. A failure inside the engine poisons the context
 *     (AIO_EPANIC; destroy then drains without callbacks). A C++ exception that leaves a callback
 *     aborts the program; in C++17 and later a callback that can throw does not compile: declare
 *     callbacks with AIO_NOEXCEPT at the end, which says nothing in C. longjmp out of a callback is
 *     not allowed.
 *
 * 15. fork. The child's copy refuses every call with AIO_EFORKED; its aio_ctx_destroy frees the
 *     copy without callbacks. Between fork and exec nothing need be done. A child that was forked
 *     inside a callback must not return from it: it calls exec or _exit.
 *
 * 16. Safe defaults. New descriptors are close-on-exec, sends never raise SIGPIPE;
 *     AIO_SUBMIT_INHERIT and _SIGPIPE opt out.
 *
 * 17. One spelling per outcome. -ECANCELED: you cancelled; with AIO_CQE_ABORTED, destroy or a
 *     broken chain did. -ETIMEDOUT with AIO_CQE_DEADLINE: your deadline; without it, the
 *     network's. -EINTR never. The end of a stream is 0. A length above 0x7ffff000 is cut and the
 *     result short.
 *
 * 18. Bad arguments are errors, not crashes. NULL where it is not allowed, the callback included,
 *     an unknown flag, a structure's `size` below its first version's: -EINVAL; a larger one with
 *     a non-zero tail: -E2BIG. Every structure begins with `size`, set by the caller; zero in any
 *     other field is the default.
 *     When you get -EINVAL: make the context with a `log` and AIO_CTX_LOG_REFUSALS, and the log
 *     says why. Mostly it is the `size` of a structure that was not set, a reserved field that is
 *     not zero, a flag that this operation does not know (the comment of each flag says for what
 *     it is), a callback that is NULL, a timer or service inside a chain; through a callback, a
 *     chain that was left open: its last member has AIO_SUBMIT_LINK or _HARDLINK.
 *
 * Order. Operations do not wait for each other unless a chain or a barrier says so. Of several
 * sends, writes, sendfiles or bundles in flight on one stream the bytes may be mixed, also in the
 * middle of a send_all or a write_all; of several receives a later one may get the earlier bytes.
 * Keep one of each direction in flight per stream, or chain them. Callbacks come in the order of
 * the ends.
 *
 * Descriptors are numbers. They are looked up when an operation is handed over or begins, not in
 * the submit, and by sendfile and the whole transfers for each piece. Keep a descriptor open until
 * the last callback, or close it by aio_submit_close. After a close(2) what had begun goes on with
 * the old file, and what had not is -EBADF, or meets whatever has the number by then.
 *
 * Buffer pools. A receive of aio_submit_recv_multishot, _recv_pooled, _recvmsg_multishot or
 * _read_multishot takes a buffer of its pool when there is data, so that many silent connections
 * share a few buffers. Its callback has AIO_CQE_BUFFER set: aio_ctx_take_buffer then leases the
 * buffer, one after another of a bundle; what is not taken goes back when the callback returns,
 * and descriptors passed with it are closed. A lease is yours to read and write until
 * aio_buffer_pool_release, which any thread may call, and which fails with -ENOENT for what is
 * no lease, or not any more. Leases outlive their context and their pool. With AIO_CALLBACK_REAP
 * each buffer is a record with its lease. While a pool is empty its receives wait, and go on by
 * themselves when a buffer comes back or the pool grows; the program sees -ENOBUFS only if the
 * file itself says so. To hold one connection back, cancel its receive and submit it again
 * later; what comes before its last callback is still delivered. A pool with
 * AIO_BUFFER_POOL_SEND goes the other way: you take empty buffers, fill and queue them, and
 * aio_submit_send_bundle sends what is queued.
 *
 * Without io_uring. Where the kernel refuses it (a container's seccomp profile, the sysctl
 * kernel.io_uring_disabled, Linux before 6.1, no memory to lock) a context made with
 * AIO_BACKEND_AUTO uses epoll instead; aio_ctx_info and the log tell why. The same calls do the
 * same, with these differences: accept and connect leave O_NONBLOCK set on their socket (a unix
 * socket's connect does not). Calls that sleep in the kernel run on threads that belong to the
 * context, 64 at most, in the order of their submission; more of them than that wait for one of the
 * first to end. These threads block all signals but one real-time signal, by which a sleeping call
 * is interrupted when its operation is cancelled; aio_ctx_info names it, and the program must leave
 * it alone (in a program that handles every signal, or whose RLIMIT_SIGPENDING is used up, there is
 * none: calls that have begun are then waited for). A descriptor that was closed with close(2) and
 * whose number is used again is found out, at the latest 10 ms after an operation waits for it;
 * aio_submit_close knows at once.
 *
 * Threads and descriptors of the library. A context on a ring has two descriptors (the ring, an
 * eventfd), on epoll three; aio_ctx_fd adds one, watches an inotify instance, sendfile a pipe for
 * each of up to four transfers at a time. Of threads a context on a ring has none but the kernel's
 * own workers; on epoll up to 64 ("aio_rs-pool"). The process has up to 32 for getaddrinfo and
 * getnameinfo ("aio_rs-names"), one with three descriptors while there are children
 * ("aio_rs-reaper", also for children that outlive their context), one eventfd while signals are
 * waited for; thread pools and workers have what their options say. They block all signals (but see
 * the one that interrupts), and those that find nothing to do end: pool and names after 2 seconds.
 *
 * The sections, in this order; c_examples/ has programs for those with a name behind.
 *     status, ctx         errors as text; contexts, running, posting, a foreign loop (foreign_loop)
 *     cancel              cancelling by id, descriptor, group; detaching
 *     stats, latency, trace, probe    seeing inside, what works here (docs/seeing.md, aio-probe)
 *     misc, futex         nop, raw entries, uring_cmd, waitid, pipe, epoll; futexes
 *     msg_ring            words and descriptors from one context to another
 *     time, poll          timers and intervals (hello_timer); readiness
 *     fs, space, path     files: data (copy_tree), space, names and attributes
 *     net, options, control    sockets (echo_server), their options, what sendmsg carries besides
 *     zero_copy, bundles, interface_queue     sends and receives without copies
 *     registered, files   registered buffers; the table of direct descriptors
 *     buffers             buffer pools and leases (idle_connections)
 *     signals, processes, watches     (signals, run_commands, watch_tree)
 *     threads             thread pools (offload_hash), poll_until
 *     names, resolver     getaddrinfo; DNS on the context's own sockets (resolve)
 *     notifier, channel   one thread wakes another, or sends it records
 *     workers             a context on each processor (worker_echo)
 *
 * The flags of a callback: ignore bits that you do not know.
 */

/* Generated by tools/regen from src: change the sources, not this file. */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* In C++17 and later a callback that can throw does not compile. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define AIO_NOEXCEPT noexcept
#else
#define AIO_NOEXCEPT
#endif

struct addrinfo;
struct aio_ctx;
struct aio_trace_event;
struct epoll_event;
struct futex_waitv;
struct io_uring_sqe;
struct iovec;
struct msghdr;
struct open_how;
struct sockaddr;
struct statx;

#ifdef __cplusplus
extern "C" {
#endif

/* The end of an operation, or with AIO_CQE_MORE in `flags` one of several results. */
typedef void (*aio_callback)(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT;

/* A function given to aio_ctx_post. */
typedef void (*aio_post_fn)(void *arg) AIO_NOEXCEPT;

/* Work for a thread, or a predicate: what it returns is a result. */
typedef int32_t (*aio_work_fn)(void *arg) AIO_NOEXCEPT;

/* A message of the engine; `level` is one of AIO_LOG_*. */
typedef void (*aio_log_fn)(void *arg, int32_t level, const char *message) AIO_NOEXCEPT;

/* A function of a worker, called with its context and its number, see aio_workers_options. */
typedef int32_t (*aio_worker_fn)(void *arg, struct aio_ctx *ctx, uint32_t index) AIO_NOEXCEPT;

/* Takes a descriptor on the thread of a context. */
typedef void (*aio_take_fn)(void *arg, struct aio_ctx *ctx, int fd) AIO_NOEXCEPT;

/* Told of what a context does, see aio_ctx_set_trace. */
typedef void (*aio_trace_fn)(void *arg, struct aio_ctx *ctx,
                             const struct aio_trace_event *event) AIO_NOEXCEPT;

#ifdef __cplusplus
}
#endif

/* In place of a callback: the completion goes to the context's batch, see aio_ctx_reap. */
#define AIO_CALLBACK_REAP ((aio_callback)(uintptr_t)1)

/* Not the context's thread. */
#define AIO_EWRONGTHREAD (-5001)
/* The context is running: not inside one of its own callbacks. */
#define AIO_EREENTRANT (-5002)
/* Accepted; done when the callback has returned. */
#define AIO_EPENDING (-5003)
/* The context was destroyed by one of its callbacks. */
#define AIO_EDESTROYED (-5004)
/* Operations did not end within destroy_grace_ns; their buffers must never be freed. */
#define AIO_ESTUCK (-5005)
/* The context's thread has ended without destroying it. */
#define AIO_EORPHANED (-5006)
/* The engine has failed; only destroy works. */
#define AIO_EPANIC (-5007)
/* A forked child's copy. */
#define AIO_EFORKED (-5008)
/*
 * What it was for is closed or destroyed, or is being destroyed: a context, workers, a pool, a
 * channel, a notifier.
 */
#define AIO_ECLOSED (-5009)
/* A file or stream ended before the whole was transferred. */
#define AIO_EEOF (-5010)
/* There is no such name. */
#define AIO_ENONAME (-5020)
/* The name servers cannot be asked or have failed: another time they may tell. */
#define AIO_ENAMEAGAIN (-5021)
/* The name servers refuse, or have failed for good. */
#define AIO_ENAMEFAIL (-5022)
/* There is no such service. */
#define AIO_ENOSERVICE (-5023)

/*
 * io_uring where it is allowed, else epoll; `AIO_RS_BACKEND` in the environment (uring or
 * io_uring, epoll) decides first.
 */
#define AIO_BACKEND_AUTO 0u
/* io_uring or nothing. */
#define AIO_BACKEND_URING 1u
/* epoll and a pool of threads, also where io_uring is allowed. */
#define AIO_BACKEND_EPOLL 2u

/* 128-byte submission entries, for aio_submit_raw with opcodes that need them. Linux 5.19. */
#define AIO_CTX_SQE128 1u
/* 32-byte completion entries; the first extra word is `extra` of a record. Linux 5.19. */
#define AIO_CTX_CQE32 2u
/*
 * A kernel thread takes submissions (SQPOLL): submitting costs no system call, and that thread a
 * processor. Not where processors are shared; a context that waits is slower with it.
 */
#define AIO_CTX_SQPOLL 4u
/*
 * Completions are had by polling the device (IOPOLL): for direct reads and writes of devices with
 * poll queues. Nothing but nop, read, write, readv, writev and their registered forms can be
 * submitted (-EINVAL from the callback), what is no such transfer ends with -EOPNOTSUPP, nothing
 * in flight can be cancelled, and waiting for it keeps the processor busy.
 */
#define AIO_CTX_IOPOLL 8u
/* With AIO_CTX_IOPOLL: sleeps for half of the usual time before it polls. Linux 6.13. */
#define AIO_CTX_HYBRID_IOPOLL 16u
/*
 * The argument of waits lies in memory that the kernel knows, so that a wait with a limit copies
 * nothing in. For contexts with timers; no use to others. Linux 6.13.
 */
#define AIO_CTX_REGISTERED_WAIT 32u
/*
 * Waiting counts as idle time, not as I/O wait. Not for storage, where I/O wait keeps the
 * processor's clock high. Linux 6.15.
 */
#define AIO_CTX_NO_IOWAIT 64u
/* With napi_busy_poll_usec: the device's interrupts stay off while it is polled often enough. */
#define AIO_CTX_NAPI_PREFER 128u
/*
 * Latencies are kept, by opcode, for aio_ctx_histogram. Every submit and every completion looks at
 * the clock.
 */
#define AIO_CTX_HISTOGRAMS 256u
/*
 * `log` is told of each submit that is refused with -EINVAL, and of each chain that ends so, with
 * the reason (AIO_LOG_REFUSED), on the thread that makes the call; also of most other calls.
 */
#define AIO_CTX_LOG_REFUSALS 512u

/* A log message's level: something failed. */
#define AIO_LOG_ERROR 1
/* A log message's level: something is not as asked for. */
#define AIO_LOG_WARN 2
/* A log message's level: a decision. */
#define AIO_LOG_INFO 3
/* A log message's level: why a call was refused; see AIO_CTX_LOG_REFUSALS. */
#define AIO_LOG_REFUSED 4

/*
 * The next operation submitted starts when this one has succeeded. Surprise: fsync,
 * sync_file_range, fallocate, ftruncate, madvise, statx, unlinkat, mkdirat, renameat, linkat,
 * symlinkat and those of extended attributes do not break a chain when they fail: the kernel
 * (6.18) runs the next one all the same.
 */
#define AIO_SUBMIT_LINK 1u
/* The next operation submitted starts when this one has completed, whatever its result. */
#define AIO_SUBMIT_HARDLINK 2u
/* This operation starts when all one-shot operations submitted before it have completed. */
#define AIO_SUBMIT_BARRIER 4u
/* Do not try inline: run on a kernel worker from the start. */
#define AIO_SUBMIT_ASYNC 8u
/*
 * The descriptor is a slot of the context's table, see aio_files_register: for every operation on
 * a descriptor and for close. Not for the directory of a path, nor for epoll_ctl: -EINVAL. Of
 * splice and tee it is the one written to; SPLICE_F_FD_IN_FIXED among their flags says the same of
 * the one read from. A slot that is empty or not in the table is -EBADF, in the callback. Where
 * the kernel lacks an operation and a plain call does it instead: -EOPNOTSUPP.
 */
#define AIO_SUBMIT_FIXED_FILE 16u
/*
 * What accept, openat, openat2, socket and pipe make goes into the context's table instead: into
 * slot `file_slot` - 1, whose file it replaces, or, where `file_slot` is 0, into a free one. The
 * result is the slot's number; pipe writes two, which follow each other where a slot is given.
 * Multishot accepts take free slots only. At once: -ENXIO, the context has no table; -EINVAL, the
 * slot is not in it, or AIO_SUBMIT_INHERIT; -EBUSY, a close of the slot waits. In the callback:
 * -ENFILE, no slot is free; a connection is then closed, and a multishot accept ends.
 * Kernel: 5.19 (pipe: 6.16; before, -EOPNOTSUPP).
 */
#define AIO_SUBMIT_DIRECT 32u
/*
 * No callback on success; not for operations whose result is a descriptor, but for those with
 * AIO_SUBMIT_DIRECT and a slot of your choice.
 */
#define AIO_SUBMIT_QUIET 64u
/* The descriptor made survives exec. */
#define AIO_SUBMIT_INHERIT 128u
/* A send to a closed peer raises SIGPIPE. */
#define AIO_SUBMIT_SIGPIPE 256u
/*
 * `timeout_ns` starts anew at each completion of a multishot operation, and does not count while
 * it waits for a buffer of its pool: then nobody would hear of what the peer has sent.
 */
#define AIO_SUBMIT_TIMEOUT_IDLE 512u
/*
 * What was asked to end and can only be waited for ends with its own result, not with -ECANCELED
 * or -ETIMEDOUT; AIO_CQE_DEADLINE or AIO_CQE_ABORTED beside it say that it was asked by its
 * deadline or by destroy. For operations whose comment names it, else -EINVAL.
 */
#define AIO_SUBMIT_KEEP_RESULT 1024u

/* A callback's flag: a pool buffer carries the data. */
#define AIO_CQE_BUFFER 1u
/* A callback's flag: more callbacks of this operation follow. */
#define AIO_CQE_MORE 2u
/* A callback's flag: the socket had more to read. Rings alone tell. */
#define AIO_CQE_SOCK_NONEMPTY 4u
/* A callback's flag: the notification of a zero-copy send. */
#define AIO_CQE_NOTIFY 8u
/* A callback's flag: the pool buffer will carry more. */
#define AIO_CQE_BUFFER_MORE 16u
/*
 * A callback's flag: our deadline ended the operation, not the network's; beside a result that
 * AIO_SUBMIT_KEEP_RESULT has kept: had it passed.
 */
#define AIO_CQE_DEADLINE 65536u
/* A callback's flag: destroy or a broken chain ended the operation, not the caller. */
#define AIO_CQE_ABORTED 131072u

#define AIO_CANCEL_FIXED_FILE 1u /* For aio_ctx_cancel_fd: `fd` is a slot of the context's table. */

/*
 * For aio_ctx_histogram: what was read is forgotten, so that the next call tells of what comes
 * between the two.
 */
#define AIO_HISTOGRAM_RESET 1u

/* An event's kind: an operation was submitted. Its id will be the submit call's result. */
#define AIO_TRACE_SUBMIT 1u
/*
 * An event's kind: an operation has a result; without AIO_CQE_MORE among `flags` it has ended.
 * Its callback comes next, unless it has none.
 */
#define AIO_TRACE_COMPLETE 2u
/* An event's kind: a turn begins to hand over what was submitted, and to wait. */
#define AIO_TRACE_TURN_BEGIN 3u
/* An event's kind: a turn has delivered what there was. */
#define AIO_TRACE_TURN_END 4u

/* A probe's answer: submitting gives -EOPNOTSUPP, or -EACCES where the context restricts itself. */
#define AIO_PROBE_NO 0u
/* A probe's answer: the kernel's ring does it. */
#define AIO_PROBE_YES 1u
/* A probe's answer: the engine does it by other means. */
#define AIO_PROBE_EMULATED 2u
/* A probe's answer: something else serves better, and aio_submit_raw takes it on a ring. */
#define AIO_PROBE_SUPERSEDED 3u

/* A probe's reason: none is needed. */
#define AIO_REASON_NONE 0u
/* A probe's reason: the kernel is too old, or was built without it. */
#define AIO_REASON_KERNEL 1u
/* A probe's reason: a filter for system calls (containers). */
#define AIO_REASON_SECCOMP 2u
/* A probe's reason: the sysctl kernel.io_uring_disabled. */
#define AIO_REASON_SYSCTL 3u
/* A probe's reason: locked memory (RLIMIT_MEMLOCK), or memory. */
#define AIO_REASON_MEMLOCK 4u
/* A probe's reason: no descriptors are left. */
#define AIO_REASON_LIMIT 5u
/* A probe's reason: no device here can do it. */
#define AIO_REASON_HARDWARE 6u
/*
 * A probe's reason: the caller wants it so: the epoll backend was asked for, by the context's
 * options or AIO_RS_BACKEND, or allowed_ops leaves the operation out.
 */
#define AIO_REASON_ASKED 7u
/* A probe's reason: this version of the library has no function for it. */
#define AIO_REASON_LIBRARY 8u
/* A probe's reason: a security module, or missing privileges. */
#define AIO_REASON_PERMISSION 9u

/* accept_multishot. Facilities are for aio_probe_facility. */
#define AIO_FACILITY_MULTISHOT_ACCEPT 0u
#define AIO_FACILITY_MULTISHOT_RECV 1u
#define AIO_FACILITY_BUFFER_RINGS 2u
#define AIO_FACILITY_INCREMENTAL_BUFFERS 3u
#define AIO_FACILITY_BUNDLES 4u
#define AIO_FACILITY_DIRECT_DESCRIPTORS 5u
#define AIO_FACILITY_REGISTERED_BUFFERS 6u
#define AIO_FACILITY_ZERO_COPY_SEND 7u
#define AIO_FACILITY_ZERO_COPY_RECV 8u
#define AIO_FACILITY_SQE128 9u
#define AIO_FACILITY_CQE32 10u
#define AIO_FACILITY_SQPOLL 11u
#define AIO_FACILITY_SQPOLL_SHARE 12u
#define AIO_FACILITY_IOPOLL 13u
#define AIO_FACILITY_HYBRID_IOPOLL 14u
#define AIO_FACILITY_NAPI 15u
#define AIO_FACILITY_RESIZE 16u
#define AIO_FACILITY_REGISTERED_WAIT 17u
#define AIO_FACILITY_MIN_WAIT 18u
#define AIO_FACILITY_WORKER_LIMITS 19u
#define AIO_FACILITY_WORKER_AFFINITY 20u
#define AIO_FACILITY_RESTRICTIONS 21u
#define AIO_FACILITY_NO_IOWAIT 22u
#define AIO_FACILITY_CLOCK 23u

/* Stands for the file's own position where an offset is asked for. */
#define AIO_OFFSET_CURRENT UINT64_MAX

#define AIO_FSYNC_DATASYNC 1u /* For aio_submit_fsync: fdatasync(2). */

/*
 * For aio_submit_send_zc and aio_submit_sendmsg_zc: the notification says whether the data was
 * copied after all. Linux 6.2.
 */
#define AIO_SEND_ZC_REPORT_USAGE 8u

#define AIO_FILES_INHERIT 1u /* For aio_files_install: the descriptor survives exec. */

/*
 * A pool's option: a buffer is used up piece by piece, so that small messages share one. For
 * streams: a datagram is cut to what is left of a buffer. Linux 6.12; without it, and on epoll,
 * each completion takes a whole buffer.
 */
#define AIO_BUFFER_POOL_INCREMENTAL 1u
/*
 * A pool's option: a completion may bring several buffers at once (a bundle). Linux 6.10; without
 * it, and on epoll, each brings one.
 */
#define AIO_BUFFER_POOL_BUNDLES 2u
/*
 * A pool's option: asks for huge pages, which are committed in pieces of 2 MiB. Granted if the
 * kernel has them and the pool is as large.
 */
#define AIO_BUFFER_POOL_HUGE 4u
/*
 * A pool's option: its buffers are not received into, but filled by you and sent: see
 * aio_buffer_pool_take, aio_buffer_pool_queue and aio_submit_send_bundle. Not with the two options
 * above it, nor with `low_water`.
 */
#define AIO_BUFFER_POOL_SEND 8u
/*
 * What aio_buffer_pool_info alone says: a network card fills the pool, see
 * aio_buffer_pool_create_zero_copy.
 */
#define AIO_BUFFER_POOL_ZERO_COPY 16u

/* A standard stream of a child: this process's own. */
#define AIO_SPAWN_INHERIT 0u
/* /dev/null. */
#define AIO_SPAWN_NULL 1u
/* A descriptor of the caller's: `stdin_fd` and so on. */
#define AIO_SPAWN_FD 2u
/* A new pipe; aio_process tells the other end. */
#define AIO_SPAWN_PIPE 3u
/* For stderr_mode: what the child's standard output is. */
#define AIO_SPAWN_STDOUT 4u
/* The child begins a session, without a terminal; signals of a cancel go to all of its group. */
#define AIO_SPAWN_NEW_SESSION 1u
/* The child begins a process group; signals of a cancel go to all of it. */
#define AIO_SPAWN_NEW_GROUP 2u
/* The child gets all descriptors that are not close-on-exec. */
#define AIO_SPAWN_KEEP_FDS 4u
/* The child gets the caller's signal mask, and ignores what this process ignores. */
#define AIO_SPAWN_KEEP_SIGNALS 8u
/* aio_process tells a descriptor of the child, which never names another process. */
#define AIO_SPAWN_PIDFD 16u
/* Added to the signal's number in the result of a child that a signal has ended. */
#define AIO_SPAWN_SIGNALED 256

/*
 * A flag of aio_interface_queue: there is no interface, and the kernel copies what comes for any
 * socket. To try programs on machines without such a card; Linux 7.1.
 */
#define AIO_INTERFACE_NONE 1u
/* A flag of aio_interface_queue: without the queue there shall be no pool either. */
#define AIO_INTERFACE_REQUIRED 2u

/*
 * A pool's kind: for functions that sleep. A thread is started when work waits and none is free;
 * one that idles for `idle_ns` ends.
 */
#define AIO_THREAD_POOL_BLOCKING 0u
/* A pool's kind: for functions that compute. As many threads as processors, from the beginning. */
#define AIO_THREAD_POOL_COMPUTE 1u

/* A kind of records: IPv4 addresses. */
#define AIO_DNS_A 1u
/* A kind of records: texts. */
#define AIO_DNS_TXT 16u
/* A kind of records: IPv6 addresses. */
#define AIO_DNS_AAAA 28u
/* A kind of records: the places of a service. */
#define AIO_DNS_SRV 33u
/* For aio_submit_resolve: A and AAAA, asked for at once; records of either are enough. */
#define AIO_DNS_ADDRESS 65536u

#define AIO_RESOLVE_FRESH 1u /* For aio_submit_resolve: asks although the cache knows an answer. */

#define AIO_RESOLVER_TCP 1u /* A resolver's option: asks over TCP from the start. */
#define AIO_RESOLVER_ROTATE 2u /* A resolver's option: each lookup begins with the next server. */

/* An option of workers: their threads run on any processor. */
#define AIO_WORKERS_UNPINNED 1u
/* In place of a worker's number: each in turn that has not ended. */
#define AIO_WORKERS_ANY 4294967295u

/* What a lookup has found. */
typedef struct aio_answer aio_answer;

/* A pool of buffers that receives take when data is there. */
typedef struct aio_buffer_pool aio_buffer_pool;

/* A bounded queue of records, from any thread to an operation. */
typedef struct aio_channel aio_channel;

/* A context: one thread's ring, and the handle through which other threads reach it. */
typedef struct aio_ctx aio_ctx;

/* A count of signals that an operation waits for. */
typedef struct aio_notifier aio_notifier;

/* A DNS client: servers, patience, cache. */
typedef struct aio_resolver aio_resolver;

/* Threads for work that would hold a context up. */
typedef struct aio_thread_pool aio_thread_pool;

/* Threads with a context each. */
typedef struct aio_workers aio_workers;

/* Options of aio_ctx_create; NULL stands for all defaults, and so does a zero in any field. */
typedef struct aio_ctx_options {
    uint32_t size; /* sizeof(aio_ctx_options) */
    uint32_t backend; /* AIO_BACKEND_* */
    uint32_t flags; /* AIO_CTX_* */
    /*
     * Submission queue entries, rounded up to a power of two, at most 32,768: more is cut, and the
     * log says so; 0: 128. Locked memory pays for it.
     */
    uint32_t sq_entries;
    /* Completion queue entries, likewise, at most 65,536; 0: four times the submission queue. */
    uint32_t cq_entries;
    /* Most operations in flight; one more is refused with -EAGAIN. 0: 16,777,215. */
    uint32_t max_ops;
    /* How long destroy may take before it gives up with AIO_ESTUCK, in nanoseconds; 0: no limit. */
    uint64_t destroy_grace_ns;
    /* How late a timer may fire on an idle loop, in nanoseconds; 0: 200,000. */
    uint64_t timer_resolution_ns;
    /* Records that may wait for aio_ctx_reap before completions stay in the ring; 0: 65,536. */
    uint32_t reap_backlog_max;
    uint32_t reserved0; /* 0 */
    aio_log_fn log; /* Told of what went wrong, NULL: nobody. It must not call into the context. */
    void *log_arg; /* Passed to `log`. */
    uint32_t sqpoll_cpu; /* With AIO_CTX_SQPOLL: the processor of the thread plus one; 0: any */
    /* With AIO_CTX_SQPOLL: milliseconds without work before the thread sleeps; 0: 1000 */
    uint32_t sqpoll_idle_ms;
    /*
     * With AIO_CTX_SQPOLL: a context with SQPOLL whose thread is shared, alive during the call;
     * NULL: none. The thread serves them in turns.
     */
    const aio_ctx *sqpoll_share;
    /*
     * Microseconds for which a wait polls network devices before it sleeps; 0: does not. For a
     * network card and a processor of one's own. Linux 6.9.
     */
    uint32_t napi_busy_poll_usec;
    uint32_t min_wait_count; /* Completions that a wait is for, with min_wait_usec; 0: 16 */
    /*
     * A wait goes on so many microseconds for min_wait_count completions before it makes do with
     * one; 0: any ends it. Fewer turns under load; everything, posts included, may come so much
     * later. Linux 6.12.
     */
    uint32_t min_wait_usec;
    /*
     * CLOCK_MONOTONIC or CLOCK_BOOTTIME, what timers and deadlines are measured with; 0: the
     * first. The second goes on while the machine is suspended. Linux 6.12.
     */
    uint32_t clock_id;
    /*
     * The queues begin with sq_entries and cq_entries and grow up to these when a queue fills, the
     * completion queue before it overflows; 0: they do not. For many contexts that are mostly
     * idle. Not with AIO_CTX_SQPOLL. Linux 6.13.
     */
    uint32_t sq_entries_max;
    uint32_t cq_entries_max;
    /*
     * Most kernel workers of the context's thread for calls on files, and for all others; 0: the
     * kernel's choice. They are the thread's: the last of its contexts to begin decides. Too few
     * make calls that sleep wait for each other.
     */
    uint32_t workers_bounded_max;
    uint32_t workers_unbounded_max;
    /*
     * Where those workers run, as for sched_setaffinity(2), copied; NULL: anywhere. Processors
     * that the thread's cpuset lacks are -EINVAL of the call that adopts the context.
     */
    const void *worker_cpus;
    /*
     * The only opcodes (IORING_OP_*) that may be submitted, copied; NULL: all. Any other is
     * -EACCES. Timers are no operations and stay allowed; what is made of several steps needs
     * the opcodes of each. Submitting costs more.
     */
    const uint8_t *allowed_ops;
    uint32_t worker_cpus_size; /* Bytes of worker_cpus, at most 128 */
    uint32_t allowed_ops_count; /* How many opcodes are allowed */
    uint64_t reserved[8]; /* 0 */
} aio_ctx_options;

/* A completion as aio_ctx_reap hands it out. */
typedef struct aio_completion {
    uint64_t user_data; /* The pointer given to the submit call, as a number */
    int64_t id; /* The operation's id */
    int32_t result;
    uint32_t flags; /* AIO_CQE_* */
    uint64_t extra; /* Bytes transferred, or the first extra word of a 32-byte completion */
    int64_t lease; /* The pool buffer that carries the data; 0: none */
} aio_completion;

/* Names an operation: positive. Negative: a status, and nothing was submitted. */
typedef int64_t aio_op_id;

/* What a context was granted. */
typedef struct aio_info {
    uint32_t size; /* sizeof(aio_info) */
    uint32_t backend; /* AIO_BACKEND_*, the one in use */
    uint32_t setup_flags; /* IORING_SETUP_* granted */
    uint32_t features; /* IORING_FEAT_* of the kernel */
    /* On the context's thread as they are now, elsewhere as they were at first, like the next */
    uint32_t sq_entries;
    uint32_t cq_entries;
    uint32_t sqe_size; /* Bytes of an entry: 64 or 128 */
    uint32_t cqe_size; /* Bytes of an entry: 16 or 32 */
    /* Why AIO_BACKEND_AUTO does without io_uring: a status; 0: it does not, or was not asked to */
    int32_t fallback_status;
    uint32_t kernel_version; /* The running kernel's, `major << 16 | minor` */
    uint64_t timer_resolution_ns; /* How late a timer may fire: the tick in force */
    /* The signal by which the epoll backend interrupts its pool's threads; 0: none */
    uint32_t interrupt_signal;
    uint32_t reserved0; /* 0 */
    uint64_t reserved[3];
} aio_info;

/* Counters since the context was created, as of its last turn. */
typedef struct aio_stats {
    uint32_t size; /* sizeof(aio_stats) */
    uint32_t in_flight; /* Operations that have not ended */
    uint64_t submitted; /* Ids given out */
    uint64_t completed; /* Operations that have ended */
    uint64_t callbacks; /* Callbacks, posted functions and records */
    uint64_t turns; /* Turns of the loop */
    /* System calls of the context's thread: io_uring_enter; on epoll all that it makes */
    uint64_t system_calls;
    uint64_t overflows; /* Turns that found the completion queue overflown */
    uint64_t full_queues; /* Submits that met a full submission queue */
    uint64_t posts; /* Posted functions run */
    uint64_t wakes; /* Times that another thread ended the context's sleep */
    uint64_t cancels; /* Cancel requests handed to the kernel */
    uint64_t deadlines; /* Deadlines that passed */
    uint64_t rearms; /* Multishot operations started again by the engine */
    uint64_t failed; /* Operations that have ended with an error, but not as the next two */
    uint64_t cancelled; /* Operations that have ended with -ECANCELED */
    /* Operations that have ended because their deadline had passed (AIO_CQE_DEADLINE) */
    uint64_t timed_out;
    uint64_t dry_pools; /* Times that an operation had to wait for a pool's next free buffer */
} aio_stats;

/* Counters of the operations of one opcode since the context was created. */
typedef struct aio_operation_stats {
    uint32_t size; /* sizeof(aio_operation_stats) */
    uint32_t opcode; /* The number that was asked for */
    uint32_t in_flight; /* Operations that have not ended */
    uint32_t in_flight_max; /* Most that have not ended at a time */
    uint64_t submitted; /* Ids given out */
    uint64_t completed; /* Operations that have ended, in whatever way */
    uint64_t failed; /* Of these: with an error, but not as the next two */
    uint64_t cancelled; /* With -ECANCELED */
    uint64_t timed_out; /* Because their deadline had passed (AIO_CQE_DEADLINE) */
    char name[32]; /* As in aio_ctx_dump and aio_probe_result */
} aio_operation_stats;

/* The latencies of the operations of one opcode. */
typedef struct aio_histogram {
    uint32_t size; /* sizeof(aio_histogram) */
    uint32_t opcode; /* The number that was asked for */
    uint64_t count; /* Latencies that were taken down */
    uint64_t min_ns; /* Nanoseconds, like the next three; 0 where `count` is */
    uint64_t max_ns;
    uint64_t mean_ns;
    uint64_t deviation_ns; /* The standard deviation */
    char name[32]; /* As in aio_ctx_dump and aio_probe_result */
} aio_histogram;

/* What aio_probe tells. */
typedef struct aio_probe_info {
    uint32_t size; /* sizeof(aio_probe_info) */
    uint32_t backend; /* AIO_BACKEND_*, the one in use */
    uint32_t reason; /* AIO_REASON_*, why it is not io_uring */
    int32_t error; /* What the kernel refused a ring with; 0: it did not, or was not asked */
    uint32_t kernel_version; /* The running kernel's, `major << 16 | minor` */
    uint32_t operations; /* Opcodes are the numbers below this */
    uint32_t facilities; /* Facilities are the numbers below this */
    uint32_t reserved0; /* 0 */
    char text[208]; /* The reason in words */
} aio_probe_info;

/* What aio_probe_op and aio_probe_facility tell. */
typedef struct aio_probe_result {
    uint32_t size; /* sizeof(aio_probe_result) */
    uint32_t status; /* AIO_PROBE_* */
    uint32_t reason; /* AIO_REASON_*, for anything but a plain yes */
    int32_t error; /* What the kernel said to it; 0: nothing */
    uint32_t since; /* The Linux that brought it, `major << 16 | minor` */
    uint32_t reserved0; /* 0 */
    char name[32]; /* As in aio_ctx_dump */
    char functions[192]; /* The functions or options that stand for it */
    /* The reason in words, and what is done instead; of a facility that works, what it is for */
    char text[208];
} aio_probe_result;

/* Options of a submit call; NULL stands for all defaults. */
typedef struct aio_submit_options {
    uint32_t size; /* sizeof(aio_submit_options) */
    uint32_t flags; /* AIO_SUBMIT_* */
    uint64_t timeout_ns; /* Nanoseconds from the submit to the deadline; 0: none. */
    uint64_t group; /* What aio_ctx_cancel_group can name; 0: none. */
    /* With AIO_SUBMIT_DIRECT: the slot plus one, or 0 for a free one. Else 0. */
    uint32_t file_slot;
    uint32_t buf_index; /* Registered buffer plus one, for zero-copy sends; 0: none. */
    uint32_t ioprio; /* As for ioprio_set(2), for file operations. */
    uint32_t reserved0; /* 0 */
    uint64_t correlation; /* Yours; shown by aio_ctx_dump. */
    uint64_t reserved[2]; /* 0 */
} aio_submit_options;

/* A table of registered buffers. */
typedef struct aio_buffers_options {
    uint32_t size; /* sizeof(aio_buffers_options) */
    uint32_t count; /* Buffers, at most 16,384. */
    /* `count` buffers; one of base NULL and length 0 is none. NULL: none yet. */
    const struct iovec *iov;
    /* `count` values for `on_release`, 0 where it need not be called; NULL: all 0. */
    const uint64_t *tags;
    /*
     * Told when nothing uses a tagged buffer any more that was replaced or given up: the tag is
     * its user_data, result and flags are 0 (-ECANCELED and AIO_CQE_ABORTED where the context's
     * thread has ended, and nobody knows). NULL: there are no tags. AIO_CALLBACK_REAP: records.
     */
    aio_callback on_release;
    uint64_t reserved[4]; /* 0 */
} aio_buffers_options;

/* A table of direct descriptors. */
typedef struct aio_files_options {
    uint32_t size; /* sizeof(aio_files_options) */
    uint32_t count; /* Slots, at most 1,048,576 and RLIMIT_NOFILE. */
    uint32_t alloc_first; /* The first slot that AIO_SUBMIT_DIRECT with `file_slot` 0 may fill. */
    uint32_t alloc_count; /* How many those are; 0: all from `alloc_first` on. */
    uint64_t reserved[2]; /* 0 */
} aio_files_options;

/* Options of aio_buffer_pool_create; NULL stands for all defaults. */
typedef struct aio_buffer_pool_options {
    uint32_t size; /* sizeof(aio_buffer_pool_options) */
    uint32_t count; /* Buffers at first; 0: 256. */
    uint32_t buffer_size; /* Bytes of a buffer; 0: 4096. */
    uint32_t flags; /* AIO_BUFFER_POOL_* */
    /*
     * How many aio_buffer_pool_grow may make of them, at most 32,768; 0: four times `count`. Costs
     * 16 bytes of locked memory each.
     */
    uint32_t count_max;
    uint32_t low_water; /* `on_low_water` is called when fewer are free; 0: never. */
    /*
     * Called on the context's thread, like a posted function, once for each time that the pool
     * runs low; it may grow the pool. NULL: nobody.
     */
    aio_post_fn on_low_water;
    void *low_water_arg; /* Passed to `on_low_water`. */
    uint64_t reserved[4]; /* 0 */
} aio_buffer_pool_options;

/* What a pool is, and how it is doing. */
typedef struct aio_pool_info {
    uint32_t size; /* sizeof(aio_pool_info) */
    uint32_t flags; /* What was granted of AIO_BUFFER_POOL_*. */
    uint32_t count; /* Buffers, and how many there may be. */
    uint32_t count_max;
    uint32_t buffer_size; /* Bytes of each. */
    uint32_t free; /* Ready for a receive, or empty. */
    uint32_t leased; /* Leases that were not released. */
    uint32_t operations; /* Operations in flight that take buffers here. */
    uint32_t paused; /* Those of them that wait for a buffer now. */
    uint32_t queued; /* With AIO_BUFFER_POOL_SEND: buffers that wait to be sent. */
    uint64_t pauses; /* How often an operation had to wait for a buffer. */
    uint64_t low_waters; /* How often the pool ran low. */
    /*
     * Why a pool of aio_buffer_pool_create_zero_copy has no interface queue: AIO_REASON_*.
     * _KERNEL; _PERMISSION, it takes CAP_NET_ADMIN; _MEMLOCK, _LIMIT; _HARDWARE, with -EOPNOTSUPP:
     * the card or its driver cannot; with -EINVAL: it does not split headers from data; with
     * -EEXIST or -EBUSY: the queue is taken. Or why the context has no ring. Other pools:
     * AIO_REASON_NONE.
     */
    uint32_t zero_copy_reason;
    int32_t zero_copy_error; /* What the kernel said to it; 0: nothing. */
} aio_pool_info;

/* A buffer, or a piece of one, that is the caller's until it is released. */
typedef struct aio_buffer_lease {
    uint32_t size; /* sizeof(aio_buffer_lease) */
    uint32_t len; /* Bytes at `data`. */
    void *data;
    int64_t id; /* For aio_buffer_pool_release: positive. */
} aio_buffer_lease;

/* A message of aio_submit_recvmsg_multishot, taken apart; all pointers are into its buffer. */
typedef struct aio_message_view {
    uint32_t size; /* sizeof(aio_message_view) */
    uint32_t flags; /* MSG_TRUNC, MSG_CTRUNC and the like; 0: nothing is to be said */
    void *name; /* The sender's address, cut to the room that it was given. */
    uint32_t namelen; /* Its whole length. */
    uint32_t payload_len; /* Bytes at `payload`. */
    void *payload;
    /*
     * Control messages: a msg_control for CMSG_FIRSTHDR, eight bytes aligned if the room for the
     * name is a multiple of eight.
     */
    void *control;
    size_t controllen;
} aio_message_view;

/* A descriptor of the caller's, and its number in the child: below 1024, a different one each. */
typedef struct aio_spawn_fd {
    int32_t fd;
    int32_t number;
} aio_spawn_fd;

/* What aio_submit_spawn starts. */
typedef struct aio_spawn_options {
    uint32_t size;
    uint32_t flags; /* AIO_SPAWN_NEW_SESSION and the like. */
    /* A path; without a slash it is looked for in this process's PATH. NULL: argv[0]. */
    const char *program;
    const char *const *argv; /* Ends with NULL; at least one string. */
    const char *const *envp; /* Ends with NULL. NULL: this process's environment. */
    /* The child's directory, from which a relative `program` counts. NULL: this process's. */
    const char *cwd;
    const aio_spawn_fd *fds; /* Further descriptors. */
    uint32_t fd_count;
    uint32_t stdin_mode; /* AIO_SPAWN_INHERIT and the like. */
    uint32_t stdout_mode;
    uint32_t stderr_mode;
    int32_t stdin_fd;
    int32_t stdout_fd;
    int32_t stderr_fd;
    /* What a cancel, the deadline and destroy send to the child. 0: nothing. */
    int32_t cancel_signal;
    /* How long after it SIGKILL is sent. 0: 5 seconds; UINT64_MAX: never. */
    uint64_t kill_after_ns;
    uint64_t reserved[4];
} aio_spawn_options;

/*
 * A child that runs. Descriptors are the caller's to close, close-on-exec, and -1 where there is
 * none.
 */
typedef struct aio_process {
    uint32_t size;
    int32_t pid;
    int32_t stdin_fd; /* Writes to what the child reads. */
    int32_t stdout_fd; /* Read what the child writes. */
    int32_t stderr_fd;
    int32_t pidfd;
} aio_process;

/* How a child has ended, and what it has used. */
typedef struct aio_process_exit {
    uint32_t size;
    int32_t pid;
    int32_t code; /* CLD_EXITED, CLD_KILLED or CLD_DUMPED. */
    int32_t status; /* Its exit status, or the signal. */
    uint64_t user_ns;
    uint64_t system_ns;
    uint64_t max_rss_kib;
    uint64_t minor_faults;
    uint64_t major_faults;
} aio_process_exit;

/* What has happened to a watched file or directory. */
typedef struct aio_watch_event {
    uint32_t size;
    uint32_t mask; /* IN_* of inotify(7). */
    uint32_t cookie; /* The same for the two halves of a renaming; otherwise 0. */
    uint32_t name_len; /* Of `name`, without its terminator. */
    /*
     * The entry of a watched directory that it happened to, or empty. Valid until the callback
     * returns.
     */
    const char *name;
} aio_watch_event;

/* A receive queue of a network card. */
typedef struct aio_interface_queue {
    uint32_t size; /* sizeof(aio_interface_queue) */
    uint32_t flags; /* AIO_INTERFACE_* */
    const char *name; /* The interface, such as "eth0"; NULL: `index` says. */
    uint32_t index; /* The interface's number, as if_nametoindex(3) has it; 0: `name` says. */
    uint32_t queue; /* The number of the receive queue plus one, as ethtool(8) counts. */
    /*
     * How many pieces may be on their way back to the kernel, at most 32,768; 0: two per page of
     * the pool. Others wait.
     */
    uint32_t refill_entries;
    uint32_t reserved0; /* 0 */
    uint64_t reserved[4]; /* 0 */
} aio_interface_queue;

/* Options of aio_thread_pool_create; NULL stands for all defaults. */
typedef struct aio_thread_pool_options {
    uint32_t size; /* sizeof(aio_thread_pool_options) */
    uint32_t kind; /* AIO_THREAD_POOL_* */
    /*
     * Threads at most, 1024 at most; 0: 64, or as many as the process may use processors if the
     * pool computes.
     */
    uint32_t threads_max;
    /*
     * So many threads do not end when they idle, once they were needed. 0 if the pool computes,
     * whose threads all stay.
     */
    uint32_t threads_min;
    /* Work that may wait while all threads are busy; 0: 1024. The pool has `threads_max` more. */
    uint32_t queue_max;
    uint32_t cpus_size; /* Bytes of `cpus`, at most 128 */
    /*
     * A thread that finds nothing to do for so long ends; 0: two seconds. 0 if the pool computes.
     */
    uint64_t idle_ns;
    uint64_t stack_size; /* Bytes of a thread's stack, from 16 KiB to 1 GiB; 0: 1 MiB. */
    const char *name; /* The threads' name, 15 bytes at most, copied; NULL: aio_rs-work. */
    /*
     * Where the threads run, as for sched_setaffinity(2), copied; NULL: where the thread runs that
     * starts them. A set that the process may not use has no effect.
     */
    const void *cpus;
    uint64_t reserved[4]; /* 0 */
} aio_thread_pool_options;

/* What a thread pool is doing. */
typedef struct aio_thread_pool_status {
    uint32_t size; /* sizeof(aio_thread_pool_status) */
    uint32_t kind; /* AIO_THREAD_POOL_* */
    uint32_t threads; /* Threads that there are, and how many there may be. */
    uint32_t threads_max;
    uint32_t queued; /* Work that waits, and that runs. */
    uint32_t running;
    uint32_t queue_max; /* Work that may wait while all threads are busy. */
    uint32_t reserved0; /* 0 */
    /* Work that ever found room, also what was refused because no thread could be had for it. */
    uint64_t submitted;
} aio_thread_pool_status;

/* How often aio_submit_poll_until asks; NULL stands for all defaults. */
typedef struct aio_poll_until_options {
    uint32_t size; /* sizeof(aio_poll_until_options) */
    uint32_t reserved0; /* 0 */
    /*
     * Nanoseconds after the first question; each later pause is twice as long. 0: 50,000. On the
     * context, pauses are rounded up to timer_resolution_ns.
     */
    uint64_t min_interval_ns;
    /* The longest pause; 0: 10,000,000, or `min_interval_ns` if that is longer. */
    uint64_t max_interval_ns;
    /*
     * For so long after it begins, it is asked without a pause: the thread that asks is busy
     * then. On the context, once per turn, which does not sleep. 0: never.
     */
    uint64_t spin_ns;
    /*
     * A pool of the blocking kind, one of whose threads asks and has nothing else to do until the
     * end; NULL: the context's thread does, between its other work.
     */
    aio_thread_pool *pool;
    uint64_t reserved[4]; /* 0 */
} aio_poll_until_options;

/* The cache of aio_submit_getaddrinfo, for aio_names_set_cache. */
typedef struct aio_names_cache_options {
    uint32_t size; /* sizeof(aio_names_cache_options) */
    uint32_t entries; /* Answers that are kept at most; 0: none. */
    uint64_t ttl_ns; /* For how long, in nanoseconds; 0: a minute. */
    /* The same for names that are not there, or have no address; 0: ten seconds. */
    uint64_t negative_ttl_ns;
    uint64_t reserved[4]; /* 0 */
} aio_names_cache_options;

/* Options of aio_resolver_create; NULL stands for all defaults. */
typedef struct aio_resolver_options {
    uint32_t size; /* sizeof(aio_resolver_options) */
    uint32_t flags; /* AIO_RESOLVER_* */
    /*
     * In the form of resolv.conf(5); NULL: /etc/resolv.conf, "": none. Its nameserver, search,
     * domain, and of its options ndots, timeout, attempts, rotate, use-vc and no-aaaa count.
     */
    const char *conf_path;
    const char *hosts_path; /* In the form of hosts(5); NULL: /etc/hosts, "": none. */
    /*
     * At most 16 addresses with or without a port, between spaces ("192.0.2.1 [2001:db8::1]:54"),
     * in the place of the file's; NULL: the file's.
     */
    const char *servers;
    /* How long a server may take in the first round, doubled in each other; 0: as the file says. */
    uint64_t timeout_ns;
    uint32_t attempts; /* Rounds over all servers, at most 16; 0: as the file says. */
    /*
     * Bytes of a datagram that servers may send, at most 4096; 0: 1232. Answers that do not fit
     * are asked for over TCP. 512: servers are not told of EDNS.
     */
    uint32_t datagram_max;
    /* Lookups that have sockets at a time, one or two each; others wait. 0: 128. */
    uint32_t lookups_max;
    uint32_t cache_entries; /* Answers in the cache at most; 0: no cache. */
    /*
     * Seconds for which an answer is kept at most, however long it is good for; 0: a day. One that
     * is good for no time at all is not kept, nor a "no such name" that does not say how long.
     */
    uint32_t cache_ttl_max;
    /*
     * The same for what is not there, which is kept for as long as its zone says; 0: five minutes.
     */
    uint32_t cache_negative_ttl_max;
    uint64_t reserved[4]; /* 0 */
} aio_resolver_options;

/* A record of an answer; what its kind does not have is 0 or NULL. Pointers are into the answer. */
typedef struct aio_dns_record {
    uint32_t size; /* sizeof(aio_dns_record) */
    uint32_t kind; /* AIO_DNS_* */
    uint32_t ttl; /* Seconds for which it is good; 0 also where no server was asked. */
    uint16_t priority; /* SRV: lower ones are to be tried first. */
    uint16_t weight; /* SRV: how often it is to be chosen among those of its priority. */
    uint16_t port; /* SRV: the port, in the host's order of bytes. */
    uint16_t reserved0; /* 0 */
    uint32_t strings; /* TXT: how many strings it has. */
    const char *target; /* SRV: the host's name. */
    /* A, AAAA: 4 or 16 bytes, as in struct in_addr and in6_addr. TXT: all strings in one. */
    const void *data;
    uint32_t data_len; /* Bytes at `data`. */
    uint32_t reserved1; /* 0 */
} aio_dns_record;

/* Options of aio_channel_create; NULL stands for all defaults. */
typedef struct aio_channel_options {
    uint32_t size; /* sizeof(aio_channel_options) */
    /* Records that it holds, rounded up to a power of two; 0: 256. At most 1,048,576. */
    uint32_t capacity;
    uint32_t record_size; /* Bytes of a record; 0: 8, a pointer. At most 65,536. */
    uint32_t reserved0; /* 0 */
    uint64_t reserved[2]; /* 0 */
} aio_channel_options;

/* Options of aio_workers_create; NULL stands for all defaults. */
typedef struct aio_workers_options {
    uint32_t size; /* sizeof(aio_workers_options) */
    uint32_t flags; /* AIO_WORKERS_* */
    uint32_t count; /* Workers, at most 1,024; 0: one for each of the processors. */
    uint32_t cpu_count; /* Entries of `cpus`. */
    /*
     * Processors, as numbers: worker i is kept on cpus[i % cpu_count]. NULL: those that the caller
     * may run on. Copied.
     */
    const uint32_t *cpus;
    const aio_ctx_options *ctx; /* Of each context; NULL for the defaults. Copied. */
    /*
     * Called on each worker's thread with its context, before aio_workers_create returns, several
     * at a time; a negative value is why the workers cannot begin. NULL: nothing.
     */
    aio_worker_fn on_start;
    /*
     * Called on each worker's thread when it is to stop, before it waits for what is in flight;
     * what it returns means nothing. Also when aio_workers_create fails, on those whose `on_start`
     * had succeeded. NULL: nothing.
     */
    aio_worker_fn on_stop;
    /* Called on a worker's thread with a descriptor of aio_workers_send_fd. NULL: none is taken. */
    aio_take_fn on_fd;
    void *arg; /* Passed to all three. */
    uint64_t reserved[4]; /* 0 */
} aio_workers_options;

/* What a trace callback is told; fields of other kinds of events are 0, and `fd` -1. */
typedef struct aio_trace_event {
    uint32_t size; /* Its size to the library: what lies behind is not there */
    uint32_t kind; /* AIO_TRACE_*; others may be added */
    uint64_t at_ns; /* When, by CLOCK_MONOTONIC */
    aio_op_id id; /* The operation, like all of the next but the last three */
    uint32_t opcode; /* As for aio_ctx_operation_stats */
    int32_t fd; /* Its descriptor; -1: none, or a slot of the context's table */
    int32_t result; /* What its callback is told */
    uint32_t flags; /* The same: AIO_CQE_* */
    void *user_data; /* The submit call's */
    uint64_t correlation; /* That of aio_submit_options */
    uint64_t submitted_ns; /* When it was submitted; 0: before the context was traced */
    /* Of the end of a turn: how long that has handed over and waited, before it delivered */
    uint64_t waited_ns;
    uint32_t submitted; /* Of a turn's events: operations submitted since the one before */
    uint32_t delivered; /* Of the end of a turn: callbacks, posted functions and records */
} aio_trace_event;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- status ---------------------------------------------------------------------------------- */

/*
 * The version of the library that is running: `major << 16 | minor << 8 | patch`.
 *
 * Any thread.
 */
uint32_t aio_version(void);

/*
 * The same as text, `"0.1.0"`; valid for ever.
 *
 * Any thread.
 */
const char *aio_version_string(void);

/*
 * What a status means, in a few words; never NULL, valid for ever.
 *
 * `status`: what a function returned or a callback was given; 0 and more is success.
 * Any thread.
 */
const char *aio_strerror(int32_t status);

/*
 * The name of a status, `"ENOENT"` or `"AIO_ESTUCK"`; `"OK"` for 0 and more. Never NULL, valid for
 * ever.
 *
 * Any thread.
 */
const char *aio_error_name(int32_t status);

/* ---- ctx ------------------------------------------------------------------------------------- */

/*
 * Creates a context, owned by nobody until its first submit, run or flush.
 *
 * `options`: NULL for the defaults. `ctx_out`: receives the context; destroy it with
 * aio_ctx_destroy.
 * Any thread.
 * Errors: -EINVAL and -E2BIG for bad options, or for some that do not go together; -EINVAL also
 * where AIO_BACKEND_AUTO meets an AIO_RS_BACKEND that names no backend; -EOPNOTSUPP, the kernel
 * lacks something that they ask for, or there is no ring to ask it of: then nothing else will do,
 * also with AIO_BACKEND_AUTO; -EMFILE and -ENFILE, no descriptors; -ENOMEM. With AIO_BACKEND_URING
 * also what io_uring_setup(2) and io_uring_register(2) are refused with: -EPERM, -EACCES, -ENOSYS,
 * -ENOMEM. On epoll -ENOSPC, the user's fs.epoll.max_user_watches are used up.
 * Kernel: 6.1 for a ring, and 5.19 when one is asked for; any for epoll.
 * Surprise: memory for a ring may be late, because the kernel frees closed ones late: this waits
 * for it, 127 ms, and where this process has just closed rings 383 ms at most, before it makes a
 * smaller ring or does without.
 */
int32_t aio_ctx_create(const aio_ctx_options *options, aio_ctx **ctx_out);

/*
 * Ends every operation, runs every last callback, then frees the context; see paragraph 13.
 *
 * Context thread, or any thread if it was never used. Inside a callback of the context it is
 * accepted and done when the callback has returned.
 * Errors: AIO_EPENDING inside a callback; AIO_ESTUCK; AIO_EWRONGTHREAD; AIO_EORPHANED, which also
 * frees it; AIO_ECLOSED if it was destroyed before and a reference is held.
 */
int32_t aio_ctx_destroy(aio_ctx *ctx);

/*
 * Keeps the handle valid for other threads after destroy; their calls then give AIO_ECLOSED.
 *
 * Any thread that holds a reference, or the creator. Returns 0.
 */
int32_t aio_ctx_ref(aio_ctx *ctx);

/*
 * Gives a reference of aio_ctx_ref back; `ctx` must not be used through it any more. NULL:
 * nothing.
 *
 * Any thread.
 */
void aio_ctx_unref(aio_ctx *ctx);

/*
 * Runs callbacks until aio_ctx_stop, or until nothing is in flight, posted or held.
 *
 * Context thread, not inside a callback.
 * Errors: AIO_EDESTROYED, a callback destroyed the context; AIO_EREENTRANT; AIO_EWRONGTHREAD.
 * Surprise: also returns when the records for aio_ctx_reap have reached reap_backlog_max.
 */
int32_t aio_ctx_run(aio_ctx *ctx);

/*
 * Waits for something to deliver, delivers what is there, and returns the number of callbacks,
 * posted functions and records; 0 when the time was up, on a stop, when the last operation has
 * ended without a callback, or when there is nothing to wait for.
 *
 * `timeout_ns`: nanoseconds; 0: do not wait; negative: no limit, but an idle context returns.
 * Context thread, not inside a callback.
 * Errors: as aio_ctx_run.
 */
int32_t aio_ctx_run_once(aio_ctx *ctx, int64_t timeout_ns);

/*
 * Makes the current or the next run call return; a run call uses the request up.
 *
 * Any thread, and signal handlers.
 * Surprise: it does not wait for what was posted before. To stop after that, post a function that
 * calls aio_ctx_stop.
 * Errors: AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC, AIO_EFORKED.
 */
int32_t aio_ctx_stop(aio_ctx *ctx);

/*
 * Has `fn(arg)` called on the context's thread, by a run call; first in, first out.
 *
 * Any thread. Wakes a sleeping context; no system call when it is awake. What was accepted runs,
 * at the latest in destroy.
 * Errors: -EINVAL, `fn` is NULL; AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC, AIO_EFORKED.
 */
int32_t aio_ctx_post(aio_ctx *ctx, aio_post_fn fn, void *arg);

/*
 * Hands what is staged to the kernel. For a context inside somebody else's event loop, the last
 * call before that loop sleeps: 0, the descriptor of aio_ctx_fd will tell of everything but the
 * passing of time, for which there is aio_ctx_next_timeout_ns; 1, there is work now, call
 * aio_ctx_run_once(ctx, 0) and do not sleep.
 *
 * Context thread.
 */
int32_t aio_ctx_flush(aio_ctx *ctx);

/*
 * A descriptor for somebody else's event loop, level or edge triggered: readable when there is
 * something to run. It is the context's: do not read or close it.
 *
 * Context thread.
 * Errors: -EMFILE and -ENFILE, no descriptor is left.
 * Surprise: it tells of nothing between a run call and the next aio_ctx_flush.
 */
int aio_ctx_fd(aio_ctx *ctx);

/*
 * How long a foreign loop may sleep, in nanoseconds: 0, there is work now; -1, without limit.
 *
 * Context thread.
 */
int64_t aio_ctx_next_timeout_ns(const aio_ctx *ctx);

/*
 * Takes completions of operations that were submitted with AIO_CALLBACK_REAP; runs the callbacks
 * of others as aio_ctx_run_once does. Returns the number of records, 0 when the time was up.
 *
 * `out`: `count` records of `record_size` bytes each, sizeof(aio_completion).
 * `timeout_ns`: as for aio_ctx_run_once.
 * Context thread, not inside a callback.
 * Errors: -EINVAL, `out` is NULL or `record_size` too small; AIO_EREENTRANT, AIO_EDESTROYED.
 */
int32_t aio_ctx_reap(aio_ctx *ctx, aio_completion *out, uint32_t record_size, uint32_t count,
        int64_t timeout_ns);

/*
 * Keeps aio_ctx_run from ending for lack of work.
 *
 * Any thread; give it back with aio_ctx_release. NULL: nothing.
 */
void aio_ctx_hold(aio_ctx *ctx);

/*
 * Gives one aio_ctx_hold back.
 *
 * Any thread. NULL, or a release too many: nothing.
 */
void aio_ctx_release(aio_ctx *ctx);

/* The context whose callback is running on the calling thread, or NULL. */
aio_ctx *aio_ctx_current(void);

/*
 * The pointer of aio_ctx_set_user_data; NULL at first.
 *
 * Any thread.
 */
void *aio_ctx_user_data(const aio_ctx *ctx);

/*
 * Keeps a pointer of the caller's with the context. NULL context: nothing.
 *
 * Any thread.
 */
void aio_ctx_set_user_data(aio_ctx *ctx, void *user_data);

/* ---- cancel ---------------------------------------------------------------------------------- */

/*
 * Asks an operation to end; its callback comes later, with -ECANCELED or the result that was
 * faster.
 *
 * Any thread. From another thread the request is posted, and 0 means no more than that.
 * Errors, on the context's thread: -ENOENT, no such operation is in flight; -EALREADY, it was
 * asked before, or has completed and its callback is due.
 */
int32_t aio_ctx_cancel(aio_ctx *ctx, aio_op_id id);

/*
 * Asks every operation on a descriptor number to end; returns how many were asked.
 *
 * `flags`: 0 or AIO_CANCEL_FIXED_FILE. Context thread.
 * Errors: -EINVAL, a negative descriptor or unknown flags.
 * Surprise: it acts on the number in this context; operations through a dup of it go on.
 */
int32_t aio_ctx_cancel_fd(aio_ctx *ctx, int fd, uint32_t flags);

/*
 * Asks every operation to end; returns how many were asked.
 *
 * Context thread.
 */
int32_t aio_ctx_cancel_all(aio_ctx *ctx);

/*
 * Asks every operation that was submitted with this `group` to end; returns how many were asked.
 *
 * Context thread. Takes time in proportion to what is in flight.
 * Errors: -EINVAL, group 0, which means none.
 */
int32_t aio_ctx_cancel_group(aio_ctx *ctx, uint64_t group);

/*
 * Cancels an operation and waits for it alone; its callback does not run, and its memory is the
 * caller's again. For owners of memory that is going away.
 *
 * Context thread, also inside callbacks. What others complete meanwhile is delivered later.
 * Errors: -ENOENT, no such operation is in flight: it has completed, or its callback is running.
 * Surprise: waits as long as the kernel does; a disk transfer that is running cannot be stopped.
 */
int32_t aio_ctx_cancel_wait(aio_ctx *ctx, aio_op_id id);

/*
 * Cancels an operation whose callback must never run; a descriptor that it still brings is closed.
 *
 * Context thread, also inside callbacks.
 * Errors: -ENOENT; -EBUSY, it uses memory of the caller's: see aio_ctx_cancel_wait.
 */
int32_t aio_ctx_detach(aio_ctx *ctx, aio_op_id id);

/* ---- stats ----------------------------------------------------------------------------------- */

/*
 * The operation whose callback is running; -ENOENT outside of callbacks and in posted functions.
 *
 * Context thread.
 */
aio_op_id aio_ctx_current_op(const aio_ctx *ctx);

/*
 * How many bytes the operation whose callback is running has transferred; 0 outside of callbacks.
 * Of a message of another context: its `data`. Of operations that move no bytes: the result, if it
 * is positive (the descriptor of an open, the slot of one with AIO_SUBMIT_DIRECT).
 *
 * Context thread.
 */
uint64_t aio_ctx_current_bytes(const aio_ctx *ctx);

/*
 * What the context was granted.
 *
 * `out`: its `size` set by the caller; as much is written. Any thread.
 * Errors: -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
 */
int32_t aio_ctx_info(const aio_ctx *ctx, aio_info *out);

/*
 * The context's counters: exact on its own thread. Elsewhere those of operations are as they are
 * now, though one of them may be a little older than the next; the others are as of the last turn.
 *
 * `out`: its `size` set by the caller; as much is written. Any thread.
 * Errors: -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
 */
int32_t aio_ctx_stats(const aio_ctx *ctx, aio_stats *out);

/*
 * The counters of one opcode: exact on the context's thread; on others as they are now, though one
 * of them may be a little older than the next.
 *
 * `opcode`: IORING_OP_*, as for aio_probe_op, or a number above the kernel's for what the engine
 * does itself (timers, messages, services); those are known by their names. An operation counts
 * under the opcode that it began with: a sendfile is a splice. To see all, count up from 0 until
 * -ENOENT and pass over those with nothing submitted. `out`: its `size` set by the caller; as much
 * is written.
 * Any thread.
 * Errors: -ENOENT, `opcode` is above 255; -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
 */
int32_t aio_ctx_operation_stats(const aio_ctx *ctx, uint32_t opcode, aio_operation_stats *out);

/*
 * Writes what is in flight as text: a line about the context, then one per operation, the oldest
 * first, with its id, name, descriptors, age, state and the time to its deadline, then one per
 * buffer pool with what is left in it. Returns the length of the whole text, as snprintf does;
 * what does not fit is cut, and the text is always terminated when `len` is not 0. An age counts
 * from the context's last look at the clock before the submit, at most eight turns earlier.
 * "staged, not handed over" waits for a run or a flush. Of a context that hangs, post a function
 * that dumps: if it does not run, a callback has not returned.
 *
 * `buf`: NULL is allowed with `len` 0. Context thread, also after AIO_ESTUCK.
 * Errors: -EINVAL; AIO_EWRONGTHREAD; AIO_ECLOSED.
 */
int64_t aio_ctx_dump(const aio_ctx *ctx, char *buf, size_t len);

/*
 * How many operations have not ended.
 *
 * Context thread.
 */
int32_t aio_ctx_in_flight(const aio_ctx *ctx);

/* ---- latency --------------------------------------------------------------------------------- */

/*
 * How long the operations of an opcode take, in a context with AIO_CTX_HISTOGRAMS: from the submit
 * call to the first callback, also where that does not run (AIO_SUBMIT_QUIET, aio_ctx_detach).
 *
 * Of a multishot operation, an interval and a zero-copy send the first result counts, the later
 * ones do not. Failures and deadlines count, what ended with -ECANCELED does not: how long that
 * took, whoever cancelled it has decided. So `count` is `completed` less `cancelled` of
 * aio_ctx_operation_stats where each operation has one callback. A latency is told to one part in
 * 128; from a day on it is a day.
 * `opcode`: as for aio_ctx_operation_stats. `flags`: 0 or AIO_HISTOGRAM_RESET. `quantiles`:
 * `count` numbers from 0 to 1 in any order, 0.99 for what one in a hundred exceeds; NULL is
 * allowed with a `count` of 0. `values_ns`: receives as many latencies. `out`: its `size` set by
 * the caller; as much is written.
 * Context thread, also inside callbacks; on other threads have it posted. An opcode takes 41 KiB
 * from its first submit on, all of them together 10.3 MiB; no completion allocates.
 * Errors: -EOPNOTSUPP, the context was made without AIO_CTX_HISTOGRAMS; -ENOENT, `opcode` is above
 * 255; -EINVAL, a quantile that is none, unknown flags, NULL, a size below 4: then nothing is
 * forgotten; AIO_EWRONGTHREAD; AIO_ECLOSED.
 */
int32_t aio_ctx_histogram(aio_ctx *ctx, uint32_t opcode, uint32_t flags, const double *quantiles,
        uint32_t count, uint64_t *values_ns, aio_histogram *out);

/* ---- trace ----------------------------------------------------------------------------------- */

/*
 * Has `trace` called with every event of the context from now on, in their order, on its thread;
 * NULL: no more. A context that was never traced pays nothing for it; a traced one a look at the
 * clock per event, and the longer way through submit and turn.
 *
 * What a submit call has refused is no event, nor what services do inside themselves. What
 * aio_ctx_cancel_wait, aio_ctx_detach and AIO_SUBMIT_QUIET keep from a callback is one. Destroying
 * goes on in turns and is traced to the end; what destroys the context of a thread that has ended
 * (AIO_EORPHANED) traces completions alone. A context that has failed (AIO_EPANIC) traces nothing.
 *
 * The engine is in the middle of a submit or a turn when it calls `trace`, which must be short. It
 * may call what any thread may call, of this context too (post, stop, stats, take and give back a
 * reference), and everything of other contexts; all else of this one is AIO_EREENTRANT, also
 * aio_ctx_cancel and aio_ctx_destroy, or does nothing. It must not longjmp, and a child that is
 * forked in it must not return.
 * `trace`: called with `arg` and the context until it is replaced or the context is gone; the
 * event is the engine's and good during the call. Setting it inside a callback is allowed: a turn
 * whose beginning was not traced has no end.
 * Context thread.
 */
int32_t aio_ctx_set_trace(aio_ctx *ctx, aio_trace_fn trace, void *arg);

/* ---- probe ----------------------------------------------------------------------------------- */

/*
 * Which backend a context has, or would have, and why it is not io_uring.
 *
 * `ctx`: NULL for what AIO_BACKEND_AUTO gives now, AIO_RS_BACKEND in the environment included; a
 * ring is made for the question and closed again. `out`: its `size` set by the caller; as much is
 * written.
 * Any thread.
 * Errors: -EINVAL, `out` is NULL or its size below 4, or AIO_RS_BACKEND is none; AIO_EFORKED.
 */
int32_t aio_probe(const aio_ctx *ctx, aio_probe_info *out);

/*
 * Whether and how an operation works, and why not.
 *
 * `ctx`: as for aio_probe. `opcode`: IORING_OP_*, below `operations` of aio_probe_info. `out`: as
 * for aio_probe.
 * Any thread.
 * Errors: -ENOENT, no such opcode; as aio_probe.
 */
int32_t aio_probe_op(const aio_ctx *ctx, uint32_t opcode, aio_probe_result *out);

/*
 * Whether something that a ring has beside its operations works, and why not. Rings are made for
 * the question and closed again.
 *
 * `ctx`: as for aio_probe. `facility`: AIO_FACILITY_*. `out`: as for aio_probe.
 * Any thread.
 * Errors: -ENOENT, no such facility; as aio_probe.
 */
int32_t aio_probe_facility(const aio_ctx *ctx, uint32_t facility, aio_probe_result *out);

/* ---- misc ------------------------------------------------------------------------------------ */

/*
 * Does nothing; completes with 0.
 *
 * Context thread.
 */
aio_op_id aio_submit_nop(aio_ctx *ctx, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Submits an entry that the caller filled: any opcode that the running kernel has.
 *
 * `sqe`: copied; 64 bytes, 128 in a context with AIO_CTX_SQE128. Its user_data is ignored. What it
 * points to belongs to the engine until the last callback.
 * Context thread.
 * Errors: -EINVAL, `sqe` is NULL or has IOSQE_IO_LINK, _HARDLINK, _DRAIN, _CQE_SKIP_SUCCESS or
 * _BUFFER_SELECT set: order is asked for in `options`, and buffers are taken from an
 * aio_buffer_pool; -EOPNOTSUPP, the kernel does not have the opcode.
 * Surprise: the callback's flags are AIO_CQE_* alone.
 */
aio_op_id aio_submit_raw(aio_ctx *ctx, const struct io_uring_sqe *sqe,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Adds, changes or removes a descriptor of an epoll set; completes with 0.
 *
 * `event`: copied; may be NULL for EPOLL_CTL_DEL.
 * Context thread.
 * Errors: -EINVAL, `event` is NULL and not for EPOLL_CTL_DEL; those of epoll_ctl(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_epoll_ctl(aio_ctx *ctx, int epfd, int op, int fd,
        const struct epoll_event *event, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Waits for events of an epoll set and takes them; the result is how many, at least 1.
 *
 * `events`: room for `maxevents` of them, at least 1; the engine's until the last callback.
 * Context thread.
 * Errors: -EINVAL, `events` is NULL or `maxevents` below 1; those of epoll_wait(2); -EOPNOTSUPP,
 * see Kernel.
 * Kernel: 6.15; a ring of an older one: -EOPNOTSUPP. There, poll the set's descriptor.
 */
aio_op_id aio_submit_epoll_wait(aio_ctx *ctx, int epfd, struct epoll_event *events, int maxevents,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Makes a pipe, close-on-exec unless AIO_SUBMIT_INHERIT; completes with 0.
 *
 * `pipefd`: room for two descriptors, written before the callback: first the end that is read;
 * the engine's until the callback. `flags`: as for pipe2(2). AIO_SUBMIT_QUIET is -EINVAL.
 * Context thread.
 * Errors: -EINVAL, `pipefd` is NULL; those of pipe2(2).
 * Kernel: 6.16; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
 * with a barrier.
 */
aio_op_id aio_submit_pipe(aio_ctx *ctx, int *pipefd, int flags, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Waits for a child to change its state; completes with 0.
 *
 * `idtype`, `id`, `wait_options`: as for waitid(2). `info`: a siginfo_t, the engine's until the
 * last callback; may be NULL.
 * Context thread.
 * Errors: those of waitid(2); -EOPNOTSUPP, see Kernel.
 * Kernel: 6.7; a ring of an older one: -EOPNOTSUPP. There, poll a pidfd.
 * Surprise: without a ring it keeps a thread of the pool while it waits, whose own children
 * (__WNOTHREAD) are none.
 */
aio_op_id aio_submit_waitid(aio_ctx *ctx, int idtype, uint32_t id, void *info, int wait_options,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sends a driver's command to a file: NVMe passthrough, ublk, sockets.
 *
 * `cmd`: copied; `cmd_len` bytes, at most 16, in a context with AIO_CTX_SQE128 at most 80; NULL
 * for none. What it points to belongs to the engine until the last callback. The result and its
 * meaning are the driver's; the second half of a 32-byte completion is `extra` of a record.
 * Context thread.
 * Errors: -EINVAL, `cmd` is NULL or `cmd_len` too large; -EOPNOTSUPP, the file takes no commands,
 * or there is no ring and it is not SOCKET_URING_OP_SIOCINQ or _SIOCOUTQ (-ENOTSOCK of other files
 * there); the driver's.
 * Kernel: 5.19; sockets: 6.7.
 */
aio_op_id aio_submit_uring_cmd(aio_ctx *ctx, int fd, uint32_t cmd_op, const void *cmd,
        size_t cmd_len, const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- msg_ring -------------------------------------------------------------------------------- */

/*
 * Sends two numbers to another context, or to this one; completes with 0 when the target has them.
 *
 * `target`: any context, also of another thread, whose handle is valid (alive, or kept by
 * aio_ctx_ref) during the call. `result`, 0 or more, and `data`, any value, are what its
 * aio_submit_msg_receive is told. Messages of one context to another arrive in order, but for
 * those that chains and barriers hold back.
 * Context thread of `ctx`.
 * Errors: -EINVAL, `target` is NULL or `result` negative; AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC,
 * of the target; in the callback: AIO_ECLOSED, the target was destroyed meanwhile; -ENOMEM.
 * Kernel: 6.3, by MSG_RING, when both are rings and the target was adopted; else through the
 * target's mailbox.
 * Surprise: 0 does not say that anybody has received it: what comes while nobody receives waits,
 * and is dropped when the target is destroyed. As any operation it is on its way when the context
 * runs or flushes, not before; aio_ctx_post wakes the target at once.
 */
aio_op_id aio_submit_msg_ring(aio_ctx *ctx, aio_ctx *target, int32_t result, uint64_t data,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Puts the file of a slot into the table of another context; completes with the slot that it has
 * there. The slot of this context keeps its own: to hand a connection over, close it afterwards.
 *
 * `target`: as of aio_submit_msg_ring, but not `ctx`. `slot`: of this context's table.
 * `target_slot`: of the target's, plus one, whatever is in it; 0: a free one. The target's
 * aio_submit_msg_receive_fd is told of it.
 * Context thread of `ctx`.
 * Errors: as of aio_submit_msg_ring; -EINVAL, the target is `ctx`, or has no such slot; -EBADF,
 * the slot is empty, or not in the table; of the target: -ENFILE, no slot is free, or there is no
 * table; -ENXIO, the same for a `target_slot`; -EBUSY, a close of that slot waits; -EMFILE,
 * without io_uring.
 * Kernel: 6.0 when both are rings; else a ring that sends needs 6.8 (before: -EOPNOTSUPP).
 * Surprise: no order between files and numbers: wait for the callback of one before sending the
 * other. Cancelling takes back what the target has not got yet.
 */
aio_op_id aio_submit_msg_ring_fd(aio_ctx *ctx, aio_ctx *target, uint32_t slot, uint32_t target_slot,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Receives what other contexts send with aio_submit_msg_ring: for each message a callback with
 * AIO_CQE_MORE and its `result`; aio_ctx_current_bytes (`extra` of a record) is its `data`.
 *
 * What comes while nobody receives waits, in order, for the next receive. While one is in flight
 * aio_ctx_run goes on.
 * Context thread.
 * Errors: -EBUSY, there is one; -EINVAL, inside a chain, and flags other than
 * AIO_SUBMIT_TIMEOUT_IDLE.
 */
aio_op_id aio_submit_msg_receive(aio_ctx *ctx, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Receives what other contexts send with aio_submit_msg_ring_fd: for each file a callback with
 * AIO_CQE_MORE and the slot of this context's table that it was put into, which is yours to close.
 *
 * Otherwise as aio_submit_msg_receive.
 * Context thread.
 * Errors: also -ENXIO, there is no table.
 * Surprise: a file that was sent has another descriptor as long as the sender's slot is open: the
 * peer of a socket sees the end when both are closed.
 */
aio_op_id aio_submit_msg_receive_fd(aio_ctx *ctx, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/* ---- futex ----------------------------------------------------------------------------------- */

/*
 * Waits while a word has a value; completes with 0 when it was woken.
 *
 * `futex`: must stay until the last callback. `mask`: a wake must share a bit of it; not 0.
 * `flags`: FUTEX2_SIZE_U32, with FUTEX2_PRIVATE where only this process waits and wakes.
 * Context thread.
 * Errors: -EINVAL, `futex` is NULL or not aligned, another flag, an empty mask, a value of more
 * than 32 bits; -EAGAIN, the word has another value; -EFAULT; -EOPNOTSUPP, see Kernel.
 * Kernel: 6.7; a ring of an older one: -EOPNOTSUPP.
 * Surprise: without a ring it keeps a thread of the pool (64 at most) while it waits. One that is
 * cancelled, or meets its deadline, does not break its chain on a ring (6.18): the next one runs.
 */
aio_op_id aio_submit_futex_wait(aio_ctx *ctx, uint32_t *futex, uint64_t value, uint64_t mask,
        uint32_t flags, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Wakes those who wait on a word; the result is how many.
 *
 * `futex`: must stay until the last callback. `count`: at most so many. `mask`: of those waiters
 * that share a bit of it; not 0. `flags`: as for aio_submit_futex_wait.
 * Context thread.
 * Errors: -EINVAL, `futex` is NULL or not aligned, another flag, an empty mask; -EFAULT.
 * Kernel: 6.7; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
 * with a barrier.
 */
aio_op_id aio_submit_futex_wake(aio_ctx *ctx, uint32_t *futex, uint64_t count, uint64_t mask,
        uint32_t flags, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Waits on several words; the result is the index of one that was woken.
 *
 * `futexes`: copied; `count` of them, 1 to 128. The words must stay until the last callback.
 * Context thread.
 * Errors: -EINVAL, `futexes` is NULL or `count` out of range, another flag, a word that is not
 * aligned; -EAGAIN, one of the words has another value; -EFAULT; -EOPNOTSUPP, see Kernel.
 * Kernel: 6.7; a ring of an older one: -EOPNOTSUPP. Without a ring 5.16, and before -EOPNOTSUPP.
 * Surprise: as for aio_submit_futex_wait.
 */
aio_op_id aio_submit_futex_waitv(aio_ctx *ctx, const struct futex_waitv *futexes, uint32_t count,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- time ------------------------------------------------------------------------------------ */

/*
 * Fires once, with 0.
 *
 * `after_ns`: nanoseconds from now. Context thread.
 * Errors: -EINVAL, options that make no sense for a timer: links, barrier, async.
 */
aio_op_id aio_submit_timer(aio_ctx *ctx, uint64_t after_ns, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Fires once, with 0, at a time of CLOCK_MONOTONIC; at once if that has passed.
 *
 * `at_ns`: nanoseconds of that clock. Context thread.
 * Errors: as aio_submit_timer.
 */
aio_op_id aio_submit_timer_at(aio_ctx *ctx, uint64_t at_ns, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Fires again and again, with AIO_CQE_MORE, until cancelled. The result is the number of periods
 * since the last callback: 1, or more when the context was late.
 *
 * `period_ns`: nanoseconds, not 0. The ticks do not drift. Context thread.
 * Errors: -EINVAL, period 0; otherwise as aio_submit_timer.
 */
aio_op_id aio_submit_interval(aio_ctx *ctx, uint64_t period_ns, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/* ---- poll ------------------------------------------------------------------------------------ */

/*
 * Waits until a descriptor is ready; the result is the events that are there, as in poll(2).
 *
 * `events`: POLLIN, POLLOUT and so on; POLLERR and POLLHUP are always waited for.
 * Context thread.
 * Errors: -EBADF.
 * Surprise: a regular file is always ready.
 */
aio_op_id aio_submit_poll(aio_ctx *ctx, int fd, uint32_t events, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * The same again and again, with AIO_CQE_MORE, until cancelled.
 *
 * `events`: with EPOLLET a callback for each change, else for each wake-up of the descriptor. On
 * epoll also callbacks that report no change: never one too few, now and then one too many.
 * A file that is always ready, such as a regular one, has one callback, its last.
 * Context thread.
 * Errors: -EBADF.
 * Kernel: 5.13.
 */
aio_op_id aio_submit_poll_multishot(aio_ctx *ctx, int fd, uint32_t events,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- fs -------------------------------------------------------------------------------------- */

/*
 * Opens a file, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
 *
 * `path`: copied, at most 4,095 bytes. `flags`, `mode`: as for openat(2).
 * Context thread.
 * Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; and those of openat(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_openat(aio_ctx *ctx, int dirfd, const char *path, int flags, uint32_t mode,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Opens a file as `how` says, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the
 * descriptor.
 *
 * `path`, `how`: copied. `size`: sizeof(struct open_how), at least 24, at most 4,096.
 * Context thread.
 * Errors: -EINVAL, `path` or `how` is NULL or `size` too small; -E2BIG, `size` too large, or a
 * field is set that the kernel does not know; -ENAMETOOLONG; those of openat2(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_openat2(aio_ctx *ctx, int dirfd, const char *path, const struct open_how *how,
        size_t size, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Closes a descriptor. Operations in flight on the number are cancelled first, their last
 * callbacks run, then it closes: the peer of a socket sees the end, unless another descriptor
 * refers to it.
 *
 * Context thread.
 * Errors: -EBADF, not open, or a close of the number is under way; those of close(2).
 * Kernel: 5.6.
 * Surprise: as a member of a chain it does not wait for the cancelled operations.
 */
aio_op_id aio_submit_close(aio_ctx *ctx, int fd, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Reads; the result is the count, 0 at the end.
 *
 * `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
 * 0x7ffff000 is cut. `offset`: AIO_OFFSET_CURRENT is the file's own position.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; those of pread(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_read(aio_ctx *ctx, int fd, void *buf, size_t len, uint64_t offset,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Writes; the result is the count.
 *
 * `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
 * 0x7ffff000 is cut. `offset`: AIO_OFFSET_CURRENT is the file's own position.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; those of pwrite(2).
 * Kernel: 5.6.
 * Surprise: to a socket or pipe without a reader it raises SIGPIPE, as write(2) does: send to
 * sockets.
 */
aio_op_id aio_submit_write(aio_ctx *ctx, int fd, const void *buf, size_t len, uint64_t offset,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * As aio_submit_read, into several buffers.
 *
 * `iov`: an array of `iovcnt` vectors, at most 1,024, copied; the buffers are the engine's until
 * the last callback. `offset`: AIO_OFFSET_CURRENT is the file's own position. `flags`: RWF_*.
 * Context thread.
 * Errors: -EINVAL, a bad `iov` or `iovcnt`; those of preadv2(2).
 * Kernel: 5.1.
 */
aio_op_id aio_submit_readv(aio_ctx *ctx, int fd, const struct iovec *iov, int iovcnt,
        uint64_t offset, int flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * As aio_submit_write, from several buffers.
 *
 * `iov`: an array of `iovcnt` vectors, at most 1,024, copied; the buffers are the engine's until
 * the last callback. `offset`: AIO_OFFSET_CURRENT is the file's own position. `flags`: RWF_*.
 * Context thread.
 * Errors: -EINVAL, a bad `iov` or `iovcnt`; those of pwritev2(2).
 * Kernel: 5.1.
 */
aio_op_id aio_submit_writev(aio_ctx *ctx, int fd, const struct iovec *iov, int iovcnt,
        uint64_t offset, int flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Flushes a file to its device; completes with 0.
 *
 * `flags`: 0 or AIO_FSYNC_DATASYNC.
 * Context thread.
 * Errors: -EINVAL, other flags; those of fsync(2).
 * Kernel: 5.1.
 */
aio_op_id aio_submit_fsync(aio_ctx *ctx, int fd, uint32_t flags, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Moves data between two descriptors, one of which is a pipe; the result is the count.
 *
 * `off_in`, `off_out`: AIO_OFFSET_CURRENT for a pipe and for a file's own position. `len`: longer
 * than 0x7ffff000 is cut. `flags`: SPLICE_F_*.
 * Context thread.
 * Errors: those of splice(2).
 * Kernel: 5.7.
 * Surprise: always runs on a kernel worker. From an idle socket it waits with the pipe locked, and
 * an operation on that pipe then stops the context's thread until the socket has data (6.18): poll
 * the socket first, or use SPLICE_F_NONBLOCK.
 */
aio_op_id aio_submit_splice(aio_ctx *ctx, int fd_in, uint64_t off_in, int fd_out, uint64_t off_out,
        size_t len, uint32_t flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Copies data from one pipe to another without consuming it; the result is the count.
 *
 * `len`: longer than 0x7ffff000 is cut. `flags`: SPLICE_F_*.
 * Context thread.
 * Errors: those of tee(2).
 * Kernel: 5.8.
 * Surprise: always runs on a kernel worker.
 */
aio_op_id aio_submit_tee(aio_ctx *ctx, int fd_in, int fd_out, size_t len, uint32_t flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Reads until all of `len` has come; completes with 0 then, and with an error otherwise.
 *
 * `buf`: the engine's until the last callback. `len`: bytes; no limit. `offset`: as for
 * aio_submit_read. How much has come, aio_ctx_current_bytes says in either case (a record:
 * `extra`). Deadline and cancellation are those of the whole.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL, or AIO_SUBMIT_LINK or _HARDLINK: in a chain it can only be the
 * last; AIO_EEOF, the end came before; those of read(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_read_exact(aio_ctx *ctx, int fd, void *buf, size_t len, uint64_t offset,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Writes until all of `len` is written; completes with 0 then, and with an error otherwise.
 *
 * `buf`, `len`, `offset`, the count: as for aio_submit_read_exact.
 * Context thread.
 * Errors: as for aio_submit_read_exact; AIO_EEOF, a write has written nothing; those of write(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_write_all(aio_ctx *ctx, int fd, const void *buf, size_t len, uint64_t offset,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sends a file, or part of it, without copying it to memory of the process; completes with 0 or an
 * error. How much has arrived, aio_ctx_current_bytes says in either case (a record: `extra`): less
 * than `count` with 0 where the file has ended before.
 *
 * `offset`: where to begin in `in_fd`, AIO_OFFSET_CURRENT: at its position, which moves. `count`:
 * bytes; no limit. Deadline and cancellation are those of the whole. With AIO_SUBMIT_FIXED_FILE
 * `out_fd` is the slot; `in_fd` never is one (aio_files_install makes a descriptor of a slot).
 * Context thread.
 * Errors: -EINVAL, `offset` above INT64_MAX, or AIO_SUBMIT_LINK or _HARDLINK: in a chain it can
 * only be the last; -EMFILE and -ENFILE, at once: it goes through a pipe; those of splice(2).
 * Kernel: 5.7.
 * Surprise: what is in the page cache is sent, not copied: a later write to the file may change
 * what the peer gets. After an error the position of `in_fd` can be ahead of what has arrived.
 * Without a ring a slow peer keeps a thread of the pool (64 at most).
 */
aio_op_id aio_submit_sendfile(aio_ctx *ctx, int out_fd, int in_fd, uint64_t offset, size_t count,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- space ----------------------------------------------------------------------------------- */

/*
 * Sets a file's length; completes with 0.
 *
 * `length`: bytes, at most INT64_MAX.
 * Context thread.
 * Errors: -EINVAL, too long; those of ftruncate(2).
 * Kernel: 6.9; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
 * with a barrier.
 */
aio_op_id aio_submit_ftruncate(aio_ctx *ctx, int fd, uint64_t length,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Allocates, frees or changes space of a file; completes with 0.
 *
 * `mode`: FALLOC_FL_* or 0. `offset`, `len`: bytes, at most INT64_MAX.
 * Context thread.
 * Errors: -EINVAL, too large; those of fallocate(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_fallocate(aio_ctx *ctx, int fd, int mode, uint64_t offset, uint64_t len,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Writes a range of a file's cached pages back; completes with 0.
 *
 * `nbytes`: at most 4,294,967,295; 0: to the end. `flags`: SYNC_FILE_RANGE_*.
 * Context thread.
 * Errors: -EINVAL, `offset` or `nbytes` too large; those of sync_file_range(2).
 * Kernel: 5.2.
 * Surprise: neither metadata nor the device's cache is flushed; see the man page.
 */
aio_op_id aio_submit_sync_file_range(aio_ctx *ctx, int fd, uint64_t offset, uint64_t nbytes,
        uint32_t flags, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Says how a range of a file will be used; completes with 0.
 *
 * `offset`, `len`: bytes, at most INT64_MAX; a `len` of 0: to the end. `advice`: POSIX_FADV_*.
 * Context thread.
 * Errors: -EINVAL, too large; those of posix_fadvise(2).
 * Kernel: 5.6; a `len` above 4,294,967,295: 6.11; a ring of an older one: a plain call inside the
 * submit, -EOPNOTSUPP in a chain or with a barrier.
 */
aio_op_id aio_submit_fadvise(aio_ctx *ctx, int fd, uint64_t offset, uint64_t len, int advice,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Says how a range of memory will be used; completes with 0.
 *
 * `addr`: a page's; the range must stay mapped until the last callback. `advice`: MADV_*.
 * Context thread.
 * Errors: those of madvise(2).
 * Kernel: as for aio_submit_fadvise.
 */
aio_op_id aio_submit_madvise(aio_ctx *ctx, void *addr, size_t len, int advice,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- path ------------------------------------------------------------------------------------ */

/*
 * Reads a file's attributes; completes with 0.
 *
 * `path`: copied; may be empty with AT_EMPTY_PATH. `statx_out`: the engine's until the last
 * callback.
 * Context thread.
 * Errors: -EINVAL, `path` or `statx_out` is NULL, AIO_SUBMIT_FIXED_FILE (of what is in a slot the
 * attributes are its path's, or those of what aio_files_install gives); -ENAMETOOLONG; those of
 * statx(2).
 * Kernel: 5.6.
 * Surprise: always runs on a kernel worker: for a name in the cache the plain call is faster.
 */
aio_op_id aio_submit_statx(aio_ctx *ctx, int dirfd, const char *path, int flags, uint32_t mask,
        struct statx *statx_out, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Removes a name; completes with 0.
 *
 * `path`: copied. `flags`: 0 or AT_REMOVEDIR.
 * Context thread.
 * Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; those of unlinkat(2).
 * Kernel: 5.11.
 */
aio_op_id aio_submit_unlinkat(aio_ctx *ctx, int dirfd, const char *path, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Makes a directory; completes with 0.
 *
 * `path`: copied.
 * Context thread.
 * Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; those of mkdirat(2).
 * Kernel: 5.15.
 */
aio_op_id aio_submit_mkdirat(aio_ctx *ctx, int dirfd, const char *path, uint32_t mode,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Renames a file; completes with 0.
 *
 * `old_path`, `new_path`: copied. `flags`: RENAME_NOREPLACE and so on.
 * Context thread.
 * Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of renameat2(2).
 * Kernel: 5.11.
 */
aio_op_id aio_submit_renameat(aio_ctx *ctx, int old_dirfd, const char *old_path, int new_dirfd,
        const char *new_path, uint32_t flags, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Gives a file another name; completes with 0.
 *
 * `old_path`, `new_path`: copied. `flags`: 0, AT_SYMLINK_FOLLOW or AT_EMPTY_PATH.
 * Context thread.
 * Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of linkat(2).
 * Kernel: 5.15.
 */
aio_op_id aio_submit_linkat(aio_ctx *ctx, int old_dirfd, const char *old_path, int new_dirfd,
        const char *new_path, int flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Makes a symbolic link; completes with 0.
 *
 * `target`, `link_path`: copied.
 * Context thread.
 * Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of symlinkat(2).
 * Kernel: 5.15.
 */
aio_op_id aio_submit_symlinkat(aio_ctx *ctx, const char *target, int new_dirfd,
        const char *link_path, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Reads an extended attribute of a path; the result is the value's size.
 *
 * `path`, `name`: copied. `value`: `size` bytes, the engine's until the last callback; may be NULL
 * with a size of 0, which asks for the value's size alone.
 * Context thread.
 * Errors: -EINVAL, a NULL; -ENAMETOOLONG, the path's; -ERANGE, `name` empty or longer than 255;
 * those of getxattr(2), of which -ERANGE also says that `size` is too small.
 * Kernel: 5.19.
 * Surprise: follows a symbolic link at the end of `path`, as does aio_submit_setxattr.
 */
aio_op_id aio_submit_getxattr(aio_ctx *ctx, const char *path, const char *name, void *value,
        size_t size, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sets an extended attribute of a path; completes with 0.
 *
 * `path`, `name`: copied. `value`: `size` bytes, the engine's until the last callback; may be NULL
 * with a size of 0. `flags`: XATTR_CREATE, XATTR_REPLACE or 0.
 * Context thread.
 * Errors: -EINVAL, a NULL; -E2BIG, `size` above 65,536; -ENAMETOOLONG, the path's; -ERANGE, `name`
 * empty or longer than 255; those of setxattr(2).
 * Kernel: 5.19.
 */
aio_op_id aio_submit_setxattr(aio_ctx *ctx, const char *path, const char *name, const void *value,
        size_t size, int flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Reads an extended attribute of a descriptor; the result is the value's size.
 *
 * `name`: copied. `value`: as for aio_submit_getxattr.
 * Context thread.
 * Errors: -EINVAL, a NULL; -ERANGE, `name` empty or longer than 255, or `size` too small; those of
 * fgetxattr(2).
 * Kernel: 5.19; with AIO_SUBMIT_FIXED_FILE 6.13, before -EBADF.
 */
aio_op_id aio_submit_fgetxattr(aio_ctx *ctx, int fd, const char *name, void *value, size_t size,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sets an extended attribute of a descriptor; completes with 0.
 *
 * `name`: copied. `value`, `flags`: as for aio_submit_setxattr.
 * Context thread.
 * Errors: -EINVAL, a NULL; -E2BIG, `size` above 65,536; -ERANGE, `name` empty or longer than 255;
 * those of fsetxattr(2).
 * Kernel: 5.19; with AIO_SUBMIT_FIXED_FILE 6.13, before -EBADF.
 */
aio_op_id aio_submit_fsetxattr(aio_ctx *ctx, int fd, const char *name, const void *value,
        size_t size, int flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/* ---- net ------------------------------------------------------------------------------------- */

/*
 * Makes a socket, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
 *
 * Arguments as for socket(2).
 * Context thread.
 * Errors: those of socket(2).
 * Kernel: 5.19.
 */
aio_op_id aio_submit_socket(aio_ctx *ctx, int domain, int type, int protocol,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Binds a socket to an address; completes with 0.
 *
 * `addr`: copied, at most 128 bytes.
 * Context thread.
 * Errors: -EINVAL, `addr` is NULL or `addrlen` is 0 or too large; those of bind(2).
 * Kernel: 6.11; before, a plain call inside the submit.
 */
aio_op_id aio_submit_bind(aio_ctx *ctx, int fd, const struct sockaddr *addr, socklen_t addrlen,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Makes a socket accept connections; completes with 0.
 *
 * Context thread.
 * Errors: those of listen(2).
 * Kernel: 6.11; before, a plain call inside the submit.
 */
aio_op_id aio_submit_listen(aio_ctx *ctx, int fd, int backlog, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Accepts a connection, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
 *
 * `addr`, `addrlen`: outputs, the engine's until the last callback; both NULL if unwanted.
 * `flags`: SOCK_NONBLOCK or 0.
 * Context thread.
 * Errors: -EINVAL, one of `addr` and `addrlen` is NULL; those of accept4(2).
 * Kernel: 5.5.
 */
aio_op_id aio_submit_accept(aio_ctx *ctx, int fd, struct sockaddr *addr, socklen_t *addrlen,
        int flags, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Accepts again and again, a callback with AIO_CQE_MORE for each connection, until cancelled or an
 * error ends it. Connections are close-on-exec.
 *
 * `flags`: SOCK_NONBLOCK or 0.
 * Context thread.
 * Errors: those of accept4(2), as the last callback: after -EMFILE submit it again when there is
 * room.
 * Kernel: 5.19.
 */
aio_op_id aio_submit_accept_multishot(aio_ctx *ctx, int fd, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Connects a socket; completes with 0.
 *
 * `addr`: copied, at most 128 bytes.
 * Context thread.
 * Errors: -EINVAL, `addr` is NULL or `addrlen` is 0 or too large; those of connect(2).
 * Kernel: 5.5.
 */
aio_op_id aio_submit_connect(aio_ctx *ctx, int fd, const struct sockaddr *addr, socklen_t addrlen,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sends; the result is the count, which may be short unless `flags` has MSG_WAITALL.
 *
 * `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
 * 0x7ffff000 is cut. `flags`: MSG_*.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; those of send(2).
 * Kernel: 5.6; a reply of a context that has nothing else to do may be made by a plain call inside
 * the submit: only the callback comes later.
 * Surprise: on a unix datagram socket one that had to wait for the peer's queue ends with 0, and
 * an empty message is delivered (rings of 6.18): use MSG_DONTWAIT, or aio_submit_write.
 */
aio_op_id aio_submit_send(aio_ctx *ctx, int fd, const void *buf, size_t len, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Receives; the result is the count, 0 at the end of a stream.
 *
 * `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
 * 0x7ffff000 is cut. `flags`: MSG_*.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; those of recv(2).
 * Kernel: 5.6.
 */
aio_op_id aio_submit_recv(aio_ctx *ctx, int fd, void *buf, size_t len, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sends a message; the result is the count.
 *
 * `msg`: copied with its address (at most 128 bytes), vectors (1,024) and control data (64 KiB);
 * the data buffers are the engine's until the last callback. `flags`: MSG_*.
 * Context thread.
 * Errors: -EINVAL, `msg` is NULL or a part of it too large; those of sendmsg(2).
 * Kernel: 5.3.
 * Surprise: as for aio_submit_send.
 */
aio_op_id aio_submit_sendmsg(aio_ctx *ctx, int fd, const struct msghdr *msg, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Receives a message; the result is the count.
 *
 * `msg`: its vectors are copied (at most 1,024); the header, address, control and data buffers are
 * the engine's until the last callback, before which msg_namelen, msg_controllen and msg_flags are
 * set.
 * `flags`: MSG_*.
 * Context thread.
 * Errors: -EINVAL, `msg` is NULL or a part of it too large; those of recvmsg(2).
 * Kernel: 5.3.
 * Descriptors that arrive are close-on-exec unless AIO_SUBMIT_INHERIT.
 * Surprise: descriptors that arrive for an operation of aio_ctx_cancel_wait are closed.
 */
aio_op_id aio_submit_recvmsg(aio_ctx *ctx, int fd, struct msghdr *msg, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Shuts a socket down, wholly or one way; completes with 0. The peer sees it even if another
 * descriptor refers to the socket.
 *
 * `how`: SHUT_RD, SHUT_WR, SHUT_RDWR.
 * Context thread.
 * Errors: those of shutdown(2).
 * Kernel: 5.11.
 */
aio_op_id aio_submit_shutdown(aio_ctx *ctx, int fd, int how, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Receives until all of `len` has come; completes with 0 then, and with an error otherwise.
 *
 * For streams. `buf`: the engine's until the last callback. `len`: bytes; no limit. `flags`: 0 or
 * MSG_WAITALL. How much has come, aio_ctx_current_bytes says in either case (a record: `extra`).
 * Deadline and cancellation are those of the whole.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL, another flag, AIO_SUBMIT_HARDLINK, or AIO_SUBMIT_LINK with a
 * `len` above 0x7ffff000; AIO_EEOF, the stream has ended before; those of recv(2).
 * Kernel: 5.6; with AIO_SUBMIT_LINK 5.19.
 */
aio_op_id aio_submit_recv_exact(aio_ctx *ctx, int fd, void *buf, size_t len, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sends until all of `len` is sent; completes with 0 then, and with an error otherwise. Another
 * send of the same stream in flight mixes its bytes with these ("Order" in the manual).
 *
 * For streams. `buf`, `len`, the count: as for aio_submit_recv_exact. `flags`: MSG_MORE,
 * MSG_DONTROUTE, MSG_NOSIGNAL, MSG_WAITALL.
 * Context thread.
 * Errors: as for aio_submit_recv_exact; those of send(2).
 * Kernel: 5.6; with AIO_SUBMIT_LINK 5.19.
 */
aio_op_id aio_submit_send_all(aio_ctx *ctx, int fd, const void *buf, size_t len, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- options --------------------------------------------------------------------------------- */

/*
 * Sets a socket option; completes with 0.
 *
 * `optval`: copied; `optlen` bytes, at most 65,536; may be NULL with 0. What it points to belongs
 * to the engine until the last callback.
 * Context thread.
 * Errors: -EINVAL, `optval` is NULL or `optlen` too large; those of setsockopt(2).
 * Kernel: any: a plain call inside the submit, before what is submitted and not yet handed over;
 * only the callback comes later. In a chain, behind a barrier, with AIO_SUBMIT_ASYNC or
 * AIO_SUBMIT_FIXED_FILE the ring's form: 6.7 (before, -EOPNOTSUPP), which on many kernels refuses
 * unix sockets with -EOPNOTSUPP.
 */
aio_op_id aio_submit_setsockopt(aio_ctx *ctx, int fd, int level, int optname, const void *optval,
        socklen_t optlen, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Reads a socket option; the result is the length of its value.
 *
 * `optval`: `optlen` bytes, the engine's until the last callback.
 * Context thread.
 * Errors: -EINVAL, `optval` is NULL; those of getsockopt(2).
 * Kernel: as for aio_submit_setsockopt; the ring's form knows the level SOL_SOCKET alone, and says
 * -EOPNOTSUPP to others.
 */
aio_op_id aio_submit_getsockopt(aio_ctx *ctx, int fd, int level, int optname, void *optval,
        socklen_t optlen, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Asks how many bytes of a socket wait to be received; the result is the number.
 *
 * Context thread.
 * Errors: -EBADF; -ENOTSOCK; those of the ioctl SIOCINQ, such as -EINVAL of a listening socket.
 * Kernel: as for aio_submit_setsockopt.
 */
aio_op_id aio_submit_socket_inq(aio_ctx *ctx, int fd, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Asks how many bytes of a socket its peer has not taken; the result is the number.
 *
 * Context thread.
 * Errors: as for aio_submit_socket_inq.
 * Kernel: as for aio_submit_setsockopt.
 */
aio_op_id aio_submit_socket_outq(aio_ctx *ctx, int fd, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/* ---- control --------------------------------------------------------------------------------- */

/*
 * Appends to control data that a UDP message is to be cut into datagrams of `segment_size` bytes
 * each, the last may be shorter (UDP_SEGMENT): one call sends many.
 *
 * `control`: `capacity` bytes, of any alignment, of which `*len` are used; `*len` grows, and is
 * msg_controllen in the end. A message takes CMSG_SPACE(sizeof(uint16_t)) bytes.
 * Any thread.
 * Errors: -EINVAL, NULL, or `segment_size` is 0 or above 65,535; -ENOBUFS, no room.
 * Kernel: 4.18. The result of the send is all bytes; a message has at most 128 datagrams (64
 * before Linux 6.9), and 65,507 bytes.
 */
int32_t aio_control_put_segment_size(void *control, size_t capacity, size_t *len,
        uint32_t segment_size);

/*
 * Appends descriptors that a message over a unix socket passes to its receiver (SCM_RIGHTS). They
 * stay yours.
 *
 * `control`, `capacity`, `len`: as for aio_control_put_segment_size; CMSG_SPACE(count *
 * sizeof(int)) bytes. `fds`: `count` of them, 1 to 253. One such call per message.
 * Any thread.
 * Errors: -EINVAL, NULL, or a bad `count`; -ENOBUFS, no room.
 * Surprise: on a stream, descriptors without at least one byte of data are not sent.
 */
int32_t aio_control_put_descriptors(void *control, size_t capacity, size_t *len, const int *fds,
        uint32_t count);

/*
 * Into datagrams of which size the data of a received message is to be cut: the socket has UDP_GRO
 * set, and the kernel has put several into one message, the last may be shorter. The message is
 * one datagram if there is no such size.
 *
 * `control`: msg_control, of `len` (msg_controllen) bytes as the receive left them.
 * Any thread.
 * Returns the size in bytes.
 * Errors: -ENOENT, there is none; -EINVAL, `control` is NULL and `len` is not 0.
 * Kernel: 5.0.
 */
int32_t aio_control_get_segment_size(const void *control, size_t len);

/*
 * When a message was received: the socket has SO_TIMESTAMPNS, SO_TIMESTAMP or SO_TIMESTAMPING set;
 * the hardware's time where there is one.
 *
 * `control`, `len`: as for aio_control_get_segment_size. `time_ns_out`: nanoseconds since 1970.
 * Any thread.
 * Errors: -ENOENT, there is none; -EINVAL, NULL.
 */
int32_t aio_control_get_timestamp(const void *control, size_t len, uint64_t *time_ns_out);

/*
 * The descriptors that a message has passed; they are yours.
 *
 * `control`, `len`: as for aio_control_get_segment_size. `fds_out`: room for `capacity`; NULL with
 * 0 asks for the number alone.
 * Any thread.
 * Returns how many there are, of which the first `capacity` are written.
 * Errors: -EINVAL, NULL.
 * Surprise: what does not fit is open all the same: ask again with more room, or close it there.
 * If msg_flags has MSG_CTRUNC the kernel had no room for all, and has closed the others.
 */
int32_t aio_control_get_descriptors(const void *control, size_t len, int *fds_out,
        uint32_t capacity);

/* ---- zero_copy ------------------------------------------------------------------------------- */

/*
 * Sends without copying: TCP and UDP read `buf` itself until the network has it, and a second
 * callback says when.
 *
 *   result    flags                      what it means                     `buf` is
 *   a count   MORE                       sent; a notification follows      the engine's
 *   an error  MORE                       failed; a notification follows    the engine's
 *   an error  none, DEADLINE or ABORTED  failed or ended before it began   yours: the last
 *   0 or 1    NOTIFY                     nothing reads `buf` any more      yours: the last
 *
 * A result with MORE may have DEADLINE or ABORTED too. A NOTIFY of -ECANCELED with ABORTED comes
 * from the destruction of a context without its thread, and says that nobody knows. The
 * notification's result is 0; with AIO_SEND_ZC_REPORT_USAGE it is 1 where the data was copied
 * after all, as it is on loopback. Between the result and the notification the operation is in
 * flight, but cannot be cancelled (-EALREADY), and its deadline is over. Barriers,
 * aio_ctx_cancel_wait and aio_ctx_destroy wait for the notification; chains go on at the result,
 * and aio_submit_close need not wait: the notification may come after the close's own callback.
 * `buf`: `len` bytes, the engine's as the table says; `options->buf_index` may name the registered
 * buffer that it is in. `flags`: MSG_*; with MSG_WAITALL a short send goes on. `zc_flags`:
 * AIO_SEND_ZC_* or 0. Context thread. Errors: -EINVAL, `buf` is NULL, unknown `zc_flags`, or
 * AIO_SUBMIT_QUIET; -EOPNOTSUPP, not a socket that can (unix sockets cannot); -EFAULT, not inside
 * its registered buffer; -ENOMEM, more is locked than RLIMIT_MEMLOCK allows, unless the buffer is
 * registered; those of send(2). Kernel: 6.0. Without io_uring the data is copied, and both
 * callbacks come at once. Surprise: a peer that does not read holds the notification back for as
 * long as the socket lives. After close(2) the system gives up by itself; SO_LINGER of 0 before it
 * makes that at once.
 */
aio_op_id aio_submit_send_zc(aio_ctx *ctx, int fd, const void *buf, size_t len, int flags,
        uint32_t zc_flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * Sends a message without copying its data; callbacks as of aio_submit_send_zc.
 *
 * `msg`: copied with its address (at most 128 bytes), vectors (1,024) and control data (64 KiB);
 * the data buffers are the engine's until the last callback. `options->buf_index` may name the
 * registered buffer that they are all in. `flags`: MSG_*. `zc_flags`: AIO_SEND_ZC_* or 0.
 * Context thread.
 * Errors: -EINVAL, `msg` is NULL or a part of it too large, or a registered buffer before Linux
 * 6.15; otherwise as of aio_submit_send_zc.
 * Kernel: 6.1. Without io_uring the data is copied, and both callbacks come at once.
 */
aio_op_id aio_submit_sendmsg_zc(aio_ctx *ctx, int fd, const struct msghdr *msg, int flags,
        uint32_t zc_flags, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/* ---- registered ------------------------------------------------------------------------------ */

/*
 * Registers buffers: the kernel maps them once, and transfers that name them (read_fixed and the
 * like, zero-copy sends) save that work.
 *
 * `options`: `count` at least 1. The arrays are copied; the memory must stay until the buffer is
 * released: replaced or given up, and used by no operation in flight. `on_release` says when. What
 * is left is given up by aio_ctx_destroy, which calls `on_release` for all that is tagged.
 * Context thread.
 * Errors: -EINVAL, a bad `count`, a tag without `on_release` or without a buffer; -EBUSY, there is
 * a table, or, before Linux 6.13, operations use the one before; -EFAULT, a buffer is not writable
 * memory, is empty or longer than 1 GiB; -ENOMEM, more would be locked than RLIMIT_MEMLOCK allows
 * (without CAP_IPC_LOCK); -EOPNOTSUPP, memory of a kind that cannot be mapped, as of some files.
 * Kernel: 5.19. Before 6.13 a release also waits for operations on other registered buffers that
 * began before it, and may be a second late. Without io_uring nothing is locked and nothing saved.
 */
int32_t aio_buffers_register(aio_ctx *ctx, const aio_buffers_options *options);

/*
 * Replaces registered buffers; returns how many. Fewer than `count`: the one behind them failed.
 *
 * `first`: the number of the first. `iov`, `tags`: `count` of each, as in aio_buffers_options, and
 * copied. Operations that have begun go on with the buffer that they began with; its tag comes
 * when they have ended.
 * Context thread. What was submitted before is handed over first.
 * Errors: -EINVAL, a bad `count` or `first`, a tag without `on_release` or without a buffer;
 * -ENXIO, there is no table; -EAGAIN, the kernel is short of memory; of the first buffer, as of
 * aio_buffers_register.
 * Kernel: 5.19.
 */
int32_t aio_buffers_update(aio_ctx *ctx, uint32_t first, const struct iovec *iov,
        const uint64_t *tags, uint32_t count);

/*
 * Gives the table up. Operations that have begun go on; tags come when they have ended, and run
 * calls wait for them.
 *
 * Context thread. What was submitted before is handed over first.
 * Errors: -ENXIO, there is none; -EAGAIN, the kernel is short of memory.
 * Kernel: 5.19.
 */
int32_t aio_buffers_unregister(aio_ctx *ctx);

/*
 * Registers the buffers of another context of this thread, under the same numbers and without
 * mapping or locking them again. Tags are not shared: they come from `source`, whatever the clone
 * still does.
 *
 * `ctx`: has no table. `source`: has one. The two go their own ways from then on.
 * Context thread of both.
 * Errors: -EINVAL, they are the same; -ENXIO, `source` has no table; -EBUSY, `ctx` has one;
 * -EOPNOTSUPP, the kernel cannot, or one of them is without io_uring.
 * Kernel: 6.13; before, -EOPNOTSUPP.
 */
int32_t aio_buffers_clone(aio_ctx *ctx, aio_ctx *source);

/*
 * As aio_submit_read, into registered memory.
 *
 * `buf`: inside registered buffer `buf_index`, which counts from 0.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; -EFAULT, there is no such buffer, or `buf` is not inside it;
 * those of pread(2).
 * Kernel: 5.1.
 * Surprise: an operation looks its buffer up when it begins: a member of a chain when its turn
 * comes, and with AIO_SUBMIT_ASYNC when the worker takes it. Before Linux 6.13 that is when it is
 * handed over, and a member with -EFAULT takes those before it with it.
 */
aio_op_id aio_submit_read_fixed(aio_ctx *ctx, int fd, void *buf, size_t len, uint64_t offset,
        uint32_t buf_index, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * As aio_submit_write, from registered memory.
 *
 * `buf`: inside registered buffer `buf_index`, which counts from 0.
 * Context thread.
 * Errors: -EINVAL, `buf` is NULL; -EFAULT, there is no such buffer, or `buf` is not inside it;
 * those of pwrite(2).
 * Kernel: 5.1.
 * Surprise: as of aio_submit_read_fixed; and a socket or pipe without a reader raises SIGPIPE.
 */
aio_op_id aio_submit_write_fixed(aio_ctx *ctx, int fd, const void *buf, size_t len, uint64_t offset,
        uint32_t buf_index, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/*
 * As aio_submit_readv, into registered memory.
 *
 * `iov`: an array of `iovcnt` vectors, at most 1,024, copied, all inside registered buffer
 * `buf_index`, which counts from 0; none of length 0. `flags`: RWF_*.
 * Context thread.
 * Errors: -EINVAL, a bad `iov` or `iovcnt`; -EFAULT, there is no such buffer, or a vector is empty
 * or not inside it; those of preadv2(2).
 * Kernel: 6.15; before, an ordinary aio_submit_readv, whose -EFAULT comes from the submit, and
 * which the release of its buffer does not wait for.
 */
aio_op_id aio_submit_readv_fixed(aio_ctx *ctx, int fd, const struct iovec *iov, int iovcnt,
        uint64_t offset, int flags, uint32_t buf_index, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * As aio_submit_writev, from registered memory.
 *
 * Arguments, errors and kernels as of aio_submit_readv_fixed.
 * Context thread.
 * Surprise: to a socket or pipe without a reader it raises SIGPIPE.
 */
aio_op_id aio_submit_writev_fixed(aio_ctx *ctx, int fd, const struct iovec *iov, int iovcnt,
        uint64_t offset, int flags, uint32_t buf_index, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/* ---- files ----------------------------------------------------------------------------------- */

/*
 * Makes the context's table of direct descriptors, all of its slots empty.
 *
 * What is in it does not count against the process's limit of descriptors, and is known to
 * this context alone: it holds as many connections as its table has slots. They are filled by
 * operations with AIO_SUBMIT_DIRECT and by aio_files_update, used with AIO_SUBMIT_FIXED_FILE, and
 * emptied by aio_submit_close with that flag, which cancels and waits as for any descriptor. An
 * operation keeps the file it began with, whatever becomes of its slot. What is left is closed
 * when the context is destroyed.
 * `options`: `count` at least 1.
 * Context thread.
 * Errors: -EINVAL, the range is not inside the table; -EBUSY, there is a table; -EMFILE, more
 * slots than allowed; -ENOMEM.
 * Kernel: 5.19; a range that is not the whole table: 6.0, before it -EINVAL. Without io_uring each
 * filled slot is a descriptor of the process, and counts.
 */
int32_t aio_files_register(aio_ctx *ctx, const aio_files_options *options);

/*
 * Empties the table and gives it up.
 *
 * Context thread.
 * Errors: -ENXIO, there is none; -EBUSY, operations in flight use it; -EAGAIN, the kernel is short
 * of memory.
 */
int32_t aio_files_unregister(aio_ctx *ctx);

/*
 * Puts descriptors into slots at once; returns how many slots were dealt with.
 *
 * `first`: the first slot. `fds`: `count` descriptors; -1 empties a slot. A descriptor stays
 * yours: the slot has its file, not its number. Fewer than `count`: the one behind them is bad,
 * and its slot empty.
 * Context thread. What was submitted before is handed over first.
 * Errors: -EINVAL, `fds` is NULL, `count` 0, a number below -1, or a slot not in the table;
 * -ENXIO, there is no table; -EBADF, the first descriptor is bad; -EBUSY, a close of one of the
 * slots waits; -EAGAIN, the kernel is short of memory; -EMFILE, without io_uring.
 * Surprise: operations that wait on a slot go on with the file they began with, and keep it open;
 * aio_submit_close ends them. Whole transfers and sendfile look at their slot for each piece.
 */
int32_t aio_files_update(aio_ctx *ctx, uint32_t first, const int32_t *fds, uint32_t count);

/*
 * Makes an ordinary descriptor of a slot's file, close-on-exec, at once; returns it. It is yours;
 * the slot keeps its own.
 *
 * `flags`: 0 or AIO_FILES_INHERIT.
 * Context thread. What was submitted before is handed over first.
 * Errors: -EINVAL, unknown flags; -ENXIO, there is no table; -EBADF, the slot is empty or not in
 * it; -EMFILE; -EOPNOTSUPP, the kernel cannot.
 * Kernel: 6.8.
 */
int32_t aio_files_install(aio_ctx *ctx, uint32_t slot, uint32_t flags);

/*
 * Puts descriptors into slots; completes with how many slots were dealt with.
 *
 * As aio_files_update, but in the order of a chain. `fds`: copied; at most 16,384.
 * Context thread.
 * Errors, at once: as of aio_files_update, and -EINVAL for a `count` above 16,384; in the
 * callback: -EBADF, the first descriptor is bad.
 * Kernel: 5.6.
 */
aio_op_id aio_submit_files_update(aio_ctx *ctx, uint32_t first, const int32_t *fds, uint32_t count,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Makes an ordinary descriptor of a slot's file, close-on-exec unless AIO_SUBMIT_INHERIT;
 * completes with it. It is yours; the slot keeps its own.
 *
 * Context thread.
 * Errors: -EBADF, the slot is empty or not in the table; -EMFILE.
 * Kernel: 6.8; before, -EOPNOTSUPP.
 */
aio_op_id aio_submit_files_install(aio_ctx *ctx, uint32_t slot, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/* ---- buffers --------------------------------------------------------------------------------- */

/*
 * Makes a pool of buffers for the receives of a context.
 *
 * `options`: NULL for the defaults. `pool_out`: receives the pool; destroy it with
 * aio_buffer_pool_destroy. Memory is committed as it is used.
 * Context thread.
 * Errors: -EINVAL and -E2BIG for bad options, such as `count` above `count_max`, or either above
 * 32,768; -ENOMEM, also for locked memory; -ENOSPC, a context has 65,536 pools.
 * Kernel: 5.19.
 */
int32_t aio_buffer_pool_create(aio_ctx *ctx, const aio_buffer_pool_options *options,
        aio_buffer_pool **pool_out);

/*
 * Ends a pool. Leases stay readable until they are released: only aio_buffer_pool_find and
 * aio_buffer_pool_release may then be called with it, and not after the last.
 *
 * Context thread; any thread once the context was destroyed.
 * Errors: -EINVAL, `pool` is NULL; -EBUSY, operations in flight take buffers here, or a callback
 * runs that one was brought to: cancel them and await their last callbacks; AIO_EWRONGTHREAD,
 * AIO_EFORKED.
 */
int32_t aio_buffer_pool_destroy(aio_buffer_pool *pool);

/*
 * Adds `count` buffers to a pool; what waits for one goes on.
 *
 * Context thread.
 * Errors: -EINVAL, `count` is 0; -ENOSPC, there would be more than `count_max`; -ENOMEM.
 */
int32_t aio_buffer_pool_grow(aio_buffer_pool *pool, uint32_t count);

/*
 * Tells what a pool is, and how it is doing.
 *
 * `out`: its `size` bytes at most are written.
 * Context thread.
 * Errors: -EINVAL, a pointer is NULL or `size` too small; AIO_ECLOSED, the context is gone.
 */
int32_t aio_buffer_pool_info(aio_buffer_pool *pool, aio_pool_info *out);

/*
 * Takes the buffer that the running callback was brought, to keep it beyond the callback; what is
 * not taken is given back when the callback returns. Of a bundle, the next one.
 *
 * `out`: set its `size`.
 * Context thread, inside a callback with AIO_CQE_BUFFER.
 * Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, there is none, or no more;
 * -ENOMEM.
 */
int32_t aio_ctx_take_buffer(aio_ctx *ctx, aio_buffer_lease *out);

/*
 * Where the data of a lease is: for leases that aio_ctx_reap has handed out.
 *
 * `out`: set its `size`.
 * Any thread.
 * Errors: -EINVAL, a pointer is NULL or `size` too small; -ENOENT, it is no lease of this pool's,
 * or was released.
 */
int32_t aio_buffer_pool_find(aio_buffer_pool *pool, int64_t lease, aio_buffer_lease *out);

/*
 * Gives a buffer back to its pool.
 *
 * Any thread, also when the context is gone.
 * Errors: -EINVAL, `pool` is NULL; -ENOENT, it is no lease of this pool's, or was released before;
 * AIO_EFORKED.
 */
int32_t aio_buffer_pool_release(aio_buffer_pool *pool, int64_t lease);

/*
 * Receives whenever data comes, each time into a buffer of the pool, with AIO_CQE_MORE and
 * AIO_CQE_BUFFER; take it with aio_ctx_take_buffer. The last result is 0 at the end of the stream,
 * or an error.
 *
 * `pool`: one of this context's. While it is empty the operation waits, and goes on by itself; its
 * deadline runs on, but one with AIO_SUBMIT_TIMEOUT_IDLE does not count meanwhile, and begins anew
 * when there is a buffer.
 * Context thread.
 * Errors: -EINVAL, no such pool, MSG_WAITALL, MSG_TRUNC or MSG_PEEK, and AIO_SUBMIT_ASYNC, _QUIET,
 * _LINK or _HARDLINK: a buffer would be held while the operation waits, or nobody be told of it;
 * those of recv(2).
 * Kernel: 6.0 with a buffer ring; on epoll emulated.
 * Surprise: a datagram of no bytes ends it, with 0; aio_submit_recvmsg_multishot takes those. A
 * datagram socket that is shut down here ends it on epoll alone: cancel it.
 */
aio_op_id aio_submit_recv_multishot(aio_ctx *ctx, int fd, aio_buffer_pool *pool, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Receives once, into a buffer of the pool that is taken when there is data and not before.
 *
 * As aio_submit_recv_multishot, with one callback; MSG_PEEK is allowed.
 * Context thread.
 */
aio_op_id aio_submit_recv_pooled(aio_ctx *ctx, int fd, aio_buffer_pool *pool, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Receives messages whenever they come, each into a buffer of the pool; aio_message_parse takes
 * one apart. The result counts all that is in the buffer; at the end of a stream it is 0.
 *
 * `msg`: only msg_namelen and msg_controllen are read, during the call: how much room a buffer
 * gives to the name and to control data. At most 128 bytes and 64 KiB. A buffer holds 16 bytes,
 * these two rooms, then the payload; more is cut (MSG_TRUNC in the view's flags). A message that
 * UDP_GRO has put together has up to 65,535 bytes.
 * Context thread.
 * Errors: as for aio_submit_recv_multishot, but MSG_TRUNC is allowed; -EINVAL, the pool is to be
 * AIO_BUFFER_POOL_INCREMENTAL; -EFAULT, its buffers are too small for what comes before the
 * payload. Descriptors that come with a buffer which nobody takes are closed.
 * Kernel: 6.0 with a buffer ring; on epoll emulated.
 */
aio_op_id aio_submit_recvmsg_multishot(aio_ctx *ctx, int fd, aio_buffer_pool *pool,
        const struct msghdr *msg, int flags, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Reads whenever there is data, each time into a buffer of the pool: of a pipe, a terminal, an
 * event counter, anything that can be polled. The last result is 0 at the end, or an error.
 *
 * Context thread.
 * Errors: -EBADFD, a file that cannot be polled, such as a regular one; else as for
 * aio_submit_recv_multishot.
 * Kernel: 6.7; before, a read that is started again by the engine. On epoll emulated.
 */
aio_op_id aio_submit_read_multishot(aio_ctx *ctx, int fd, aio_buffer_pool *pool,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Takes a message of aio_submit_recvmsg_multishot apart.
 *
 * `lease`: its buffer. `msg`: the room for name and control data, as at the submit. `out`: set its
 * `size`.
 * Any thread.
 * Errors: -EINVAL, a pointer is NULL, a `size` too small, or the buffer too short for such a
 * message.
 */
int32_t aio_message_parse(const aio_buffer_lease *lease, const struct msghdr *msg,
        aio_message_view *out);

/* ---- signals --------------------------------------------------------------------------------- */

/*
 * Waits for a signal, again and again: a callback with AIO_CQE_MORE for each delivery, until
 * cancelled. The result is the number of deliveries since the last callback: 1, or more when the
 * context was so late that only the newest 32 were kept one by one.
 *
 * `signo`: a signal that is sent from outside, to the process or to any thread of it. Several
 * operations, of one context or of several, may wait for the same one: each is told.
 * The signal's action is the library's from the first such operation to the last one's end: the
 * default action is not taken. A handler that the program has installed before is called as well,
 * on the thread and with the mask as if alone; afterwards its action is there again. A delivery
 * that came before a cancel is told before the end.
 * `extra` of a record: si_pid, with si_code in the upper half.
 * Context thread.
 * Errors: -EINVAL, not a signal, or one that cannot be waited for: SIGKILL, SIGSTOP, those of a
 * thread's own fault (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS), the C library's, and
 * interrupt_signal of aio_info; -EBUSY, a handler that the program has put over the library's
 * during an earlier wait is still there; -EMFILE, -ENFILE. Not for AIO_SUBMIT_QUIET.
 * Surprise: a signal that every thread blocks waits until one does not. A handler that is
 * installed during the wait takes the signal away, unless it calls what sigaction(2) said was
 * there. In a forked child the earlier action is there again when the first signal comes; what it
 * executes before gets the default action, also for a signal that was ignored.
 */
aio_op_id aio_submit_signal(aio_ctx *ctx, int signo, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Tells of the delivery that the running callback of aio_submit_signal is about; of several, the
 * newest.
 *
 * `info`: a siginfo_t, as a handler with SA_SIGINFO gets it.
 * Context thread, inside a callback.
 * Errors: -EINVAL, `info` is NULL; -ENOENT, the callback is about nothing of the kind, or no more
 * than the number is known.
 */
int32_t aio_ctx_current_signal(aio_ctx *ctx, void *info);

/* ---- processes ------------------------------------------------------------------------------- */

/*
 * Starts a program in a child process, and completes when it has ended. The result is its exit
 * status, 0 to 255, or AIO_SPAWN_SIGNALED plus the signal that has ended it;
 * aio_ctx_current_exit tells more.
 *
 * `spawn`: copied, with all that it points to. `process`: an output, written before the call
 * returns; NULL if nothing is asked for in it.
 * The call returns when the program runs, so that an id says that it does, and what execve(2)
 * would have said is what the call says. The child has the three standard streams, `fds`, and no
 * other descriptor (AIO_SPAWN_KEEP_FDS: those that are not close-on-exec); no signal is blocked in
 * it or ignored (AIO_SPAWN_KEEP_SIGNALS).
 * A cancel, the deadline and destroy: with `cancel_signal` the child gets that signal, and SIGKILL
 * when kill_after_ns have passed; the callback comes when it has ended, and destroy waits for
 * that. Without it the operation ends at once, the child goes on, and is reaped when it ends. A
 * child that may not be signalled goes on as well. There is never a zombie.
 * With AIO_SUBMIT_KEEP_RESULT the result is the child's also after a cancel.
 * `extra` of a record: processor time that was used, in nanoseconds.
 * Context thread.
 * Errors, at once: -ENOENT, -EACCES, -ENOEXEC and others of execve(2) and, for `cwd`, chdir(2);
 * -EBADF, a descriptor is not open; -EINVAL, no argv[0], an unknown flag or mode, a number of
 * `fds` that is out of range or taken, a signal that is none, AIO_SUBMIT_BARRIER, no `process`
 * although pipes or AIO_SPAWN_PIDFD are asked for; -ECHILD, the program ignores SIGCHLD or has
 * SA_NOCLDWAIT set for it, so that nobody can learn how a child ends; -EMFILE, -ENFILE; -EAGAIN,
 * -ENOMEM; -EOPNOTSUPP, the library was built without its feature `processes`. In the callback
 * -ECHILD: the program has waited for the child itself; if it was faster than the call, there is
 * no `pidfd` either.
 * Kernel: 5.4; before it -ENOSYS.
 * Surprise: the thread sleeps until the program is loaded, which takes 0.5 ms from the page cache.
 * A signal to a group reaches those alone that have not left it; when all have, the child.
 */
aio_op_id aio_submit_spawn(aio_ctx *ctx, const aio_spawn_options *spawn, aio_process *process,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Tells how the child ended that the running callback of aio_submit_spawn is about.
 *
 * `out`: set its `size`.
 * Context thread, inside a callback.
 * Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, the callback is about no
 * child's end, or about one that was cancelled.
 */
int32_t aio_ctx_current_exit(aio_ctx *ctx, aio_process_exit *out);

/* ---- watches --------------------------------------------------------------------------------- */

/*
 * Watches a file or a directory, not what is below that: a callback with AIO_CQE_MORE for each
 * event, until cancelled. The result is the event's mask, IN_* of inotify(7);
 * aio_ctx_current_event tells which entry it is about.
 *
 * `path`: copied; relative to the process's directory.
 * `mask`: IN_ACCESS and the like, with IN_ONLYDIR, IN_DONT_FOLLOW and IN_EXCL_UNLINK; the last
 * counts for all watches of this context on the same file.
 * Unasked for come IN_Q_OVERFLOW (events were lost; all watches of the context are told, and must
 * look for themselves) and IN_UNMOUNT. When what is watched is deleted or unmounted the operation
 * ends with the result IN_IGNORED.
 * `extra` of a record: the event's cookie. Names are told in callbacks alone.
 * Context thread.
 * Errors: -EINVAL, `path` is NULL, no event or an unknown bit in `mask`; -ENAMETOOLONG; -ENOENT,
 * -EACCES, -ENOTDIR and others of a path; -ENOSPC, the user's limit of watches
 * (fs.inotify.max_user_watches); -EMFILE, of instances (a context needs one) or of descriptors.
 * -EOPNOTSUPP, the library was built without its feature `watches`. Not for AIO_SUBMIT_QUIET.
 * Surprise: the path is looked up inside the call, or when the barrier opens. A file that is
 * replaced by rename(2), as editors do, is another file: watch its directory.
 */
aio_op_id aio_submit_watch(aio_ctx *ctx, const char *path, uint32_t mask,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Tells of the event that the running callback of aio_submit_watch is about.
 *
 * `out`: set its `size`.
 * Context thread, inside a callback.
 * Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, the callback is about no event.
 */
int32_t aio_ctx_current_event(aio_ctx *ctx, aio_watch_event *out);

/* ---- bundles --------------------------------------------------------------------------------- */

/*
 * Takes an empty buffer of a pool with AIO_BUFFER_POOL_SEND, to be filled: a lease, which
 * aio_buffer_pool_queue ends, or aio_buffer_pool_release when nothing is to be sent.
 *
 * `out`: set its `size`.
 * Context thread.
 * Errors: -EINVAL, a pointer is NULL, `size` too small, or the pool is for receives; -ENOBUFS, no
 * buffer is empty: one will be when a bundle has ended; -ENOMEM; AIO_ECLOSED.
 */
int32_t aio_buffer_pool_take(aio_buffer_pool *pool, aio_buffer_lease *out);

/*
 * Queues the first `len` bytes of a leased buffer to be sent, behind what is queued; the lease
 * ends, and the buffer is the engine's until it was sent.
 *
 * `len`: at least 1.
 * Context thread.
 * Errors: -EINVAL, `len` is 0 or more than the buffer has, or the pool is for receives; -ENOENT,
 * it is no lease of this pool's; AIO_ECLOSED.
 */
int32_t aio_buffer_pool_queue(aio_buffer_pool *pool, int64_t lease, size_t len);

/*
 * Gives what is queued back unsent, for instance when its connection has failed; returns how many
 * buffers.
 *
 * Context thread.
 * Errors: -EINVAL, `pool` is NULL or for receives; -EBUSY, a bundle is in flight; AIO_ECLOSED.
 */
int32_t aio_buffer_pool_discard(aio_buffer_pool *pool);

/*
 * Sends what is queued in a pool, in order, and what is queued while it goes on: completes with 0
 * when all of it was sent, else with an error. aio_ctx_current_bytes has the count in both cases.
 *
 * `pool`: one of this context's with AIO_BUFFER_POOL_SEND. Buffers become empty as they are sent;
 * what was not sent, also of a buffer that was sent in part, stays queued, for the next bundle or
 * aio_buffer_pool_discard: no byte is lost or sent twice.
 * Context thread.
 * Errors: -EINVAL, no such pool, and AIO_SUBMIT_ASYNC, _LINK or _HARDLINK; -EBUSY, a bundle of
 * this pool is in flight: the order of two would be nobody's; -ENOBUFS, nothing is queued; those
 * of send(2).
 * Kernel: 6.10, by bundles; before, and on epoll, as messages of up to 64 buffers.
 * Surprise: for streams. Elsewhere buffers that are sent together are one message.
 */
aio_op_id aio_submit_send_bundle(aio_ctx *ctx, int fd, aio_buffer_pool *pool, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- interface_queue ------------------------------------------------------------------------- */

/*
 * Makes a pool for aio_submit_recv_zc alone, whose memory a receive queue of a network card fills:
 * what comes for its sockets is not copied. The card must split headers from data, and send to
 * this queue the connections that are received from here, and no others:
 *
 *   ethtool -G eth0 tcp-data-split on
 *   ethtool -X eth0 equal 3                            all else goes to queues 0 to 2
 *   ethtool -N eth0 flow-type tcp4 dst-port 9000 action 3
 *
 * What comes another way is copied into the pool. Where the queue cannot be had, the pool is an
 * ordinary one, and aio_buffer_pool_info says why: `zero_copy_reason` and `zero_copy_error`.
 *
 * `queue`: the card's. `options`: NULL for the defaults; `count` times `buffer_size` is the memory
 * in bytes, below 4 GiB, rounded up to pages; the kernel divides it as it likes, and a buffer may
 * carry several receives. Take more than the card keeps at hand (ethtool -g). `count_max` is 0 or
 * `count`: such a pool does not grow; AIO_BUFFER_POOL_INCREMENTAL and _BUNDLES are not for it.
 * `pool_out`: as for aio_buffer_pool_create.
 * The memory is locked. The kernel gives a queue up, and unlocks it, when the context has been
 * destroyed, the pool too, and its last lease was released.
 * Context thread.
 * Errors: -EMSGSIZE, the context was made without AIO_CTX_CQE32: a completion has no room to say
 * where the data is; -EOPNOTSUPP, it was made with AIO_CTX_SQPOLL or AIO_CTX_IOPOLL; -ENODEV, no
 * such interface; -ERANGE, it has no such queue; else as aio_buffer_pool_create. With
 * AIO_INTERFACE_REQUIRED also what the kernel refuses the queue with (see aio_pool_info), and
 * -EOPNOTSUPP where it has none or there is no ring.
 * Kernel: 6.15; before 6.19 what is copied comes back only as the card asks for more. Without it,
 * and on epoll, an ordinary pool.
 * Surprise: not shown on the machines that this is tested on is the card, for they have none;
 * all else is, on Linux 7.1 with AIO_INTERFACE_NONE.
 */
int32_t aio_buffer_pool_create_zero_copy(aio_ctx *ctx, const aio_interface_queue *queue,
        const aio_buffer_pool_options *options, aio_buffer_pool **pool_out);

/*
 * Receives whenever data comes, each time a piece of the pool's memory, with AIO_CQE_MORE and
 * AIO_CQE_BUFFER; take it with aio_ctx_take_buffer. The last result is 0 at the end of the stream,
 * or an error.
 *
 * `pool`: one of aio_buffer_pool_create_zero_copy. Where that has no interface queue, this is
 * aio_submit_recv_multishot (and needs the opcode `recv` in a context with allowed_ops). While the
 * pool is empty the operation waits, and goes on by itself; its deadline as for
 * aio_submit_recv_multishot.
 * Context thread.
 * Errors: -EINVAL, no such pool, and AIO_SUBMIT_ASYNC, _QUIET, _LINK or _HARDLINK, as for
 * aio_submit_recv_multishot; -EPROTONOSUPPORT, not a TCP socket: at once, or through the callback;
 * -ENOMEM through the callback, the pool is empty although nobody holds a piece of it: the card
 * has all of it; those of recv(2).
 * Kernel: 6.15.
 * Surprise: the socket may be used for sending, but not be received from in another way, once its
 * packets come to the queue: the kernel answers that with -EFAULT.
 */
aio_op_id aio_submit_recv_zc(aio_ctx *ctx, int fd, aio_buffer_pool *pool,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- threads --------------------------------------------------------------------------------- */

/*
 * Makes a pool of threads for aio_submit_work.
 *
 * `options`: NULL for the defaults. `pool_out`: receives the pool; destroy it with
 * aio_thread_pool_destroy. Its threads act for the file system as the calling thread does now, and
 * block all signals. Any thread.
 * Errors: -EINVAL and -E2BIG for bad options; -EAGAIN, a computing pool cannot have its threads;
 * -ENOMEM; -EOPNOTSUPP, the library was built without its feature `thread_pools`.
 */
int32_t aio_thread_pool_create(const aio_thread_pool_options *options, aio_thread_pool **pool_out);

/*
 * Ends a pool: what has not begun ends with -ECANCELED and AIO_CQE_ABORTED, and so does a
 * predicate of aio_submit_poll_until that does not hold yet; a function that runs is waited for,
 * and the threads are joined. The operations' callbacks come on their contexts, also later.
 *
 * Any thread, also inside a callback; no other thread may use the pool any more. In a forked child
 * nothing is touched, and 0 returned. NULL: nothing.
 * Errors: -EDEADLK on a thread of the pool, which would wait for itself.
 */
int32_t aio_thread_pool_destroy(aio_thread_pool *pool);

/* Tells what a pool is doing. Any thread. */
int32_t aio_thread_pool_info(const aio_thread_pool *pool, aio_thread_pool_status *status_out);

/*
 * Runs a function on a thread of a pool; what it returns is the result.
 *
 * `arg` is the function's until the callback. A cancel removes what has not begun; a function
 * that runs is waited for, and its result is then -ECANCELED (-ETIMEDOUT for a deadline), or with
 * AIO_SUBMIT_KEEP_RESULT what it returned. Nothing may unwind out of it. It may post to contexts
 * and cancel, but has no context of its own. Context thread.
 * Errors: -EAGAIN, the pool is full (aio_thread_pool_info tells how many wait and run), or can
 * have no thread; -EINVAL, links; AIO_EFORKED, the pool's threads are the parent's. -ECANCELED
 * from a function that was not asked to end has AIO_CQE_ABORTED.
 */
aio_op_id aio_submit_work(aio_ctx *ctx, aio_thread_pool *pool, aio_work_fn work, void *arg,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Calls a function again and again until it does not return 0: then that is the result.
 *
 * `ready` with `arg`: 0, not yet; it should return at once. `how`: how often and where; NULL: on
 * the context's thread, where it may do what a callback may, from 50 microseconds to 10
 * milliseconds apart. After a cancel it is not called any more, but for a call that runs on a
 * pool's thread, which is waited for. Context thread.
 * Errors: -EINVAL, intervals that make no sense, a pool that computes, links; -EAGAIN, the pool is
 * full; AIO_EFORKED as for aio_submit_work.
 */
aio_op_id aio_submit_poll_until(aio_ctx *ctx, aio_work_fn ready, void *arg,
        const aio_poll_until_options *how, const aio_submit_options *options, aio_callback callback,
        void *user_data);

/* ---- names ----------------------------------------------------------------------------------- */

/*
 * Finds addresses for a name and a service, as getaddrinfo(3) does: by /etc/hosts, name servers
 * and whatever else the machine's nsswitch.conf says. Completes with 0.
 *
 * `node`, `service`: copied; one of them may be NULL. `hints`: its first four fields are copied;
 * NULL: any.
 * `res`: an output, the engine's until the last callback; written on success alone. The list is
 * yours then: aio_addrinfo_free. With AIO_CALLBACK_REAP that is so before its record is reaped,
 * and if a destroy comes first: begin with NULL in it.
 * Context thread.
 * Errors: at once -EINVAL, `res` is NULL, or `node` and `service` are; -ENAMETOOLONG; -EAGAIN, no
 * thread can be had; -EOPNOTSUPP, the library was built without its feature `names`. In the
 * callback AIO_ENONAME, -ENODATA (the name has no address of the
 * family), AIO_ENAMEAGAIN, AIO_ENAMEFAIL, AIO_ENOSERVICE, -EAFNOSUPPORT, -ESOCKTNOSUPPORT,
 * -EINVAL (ai_flags), -ENOMEM.
 * Surprise: nothing interrupts the C library while a name server is slow. When an operation is
 * cancelled or late, its callback comes at once, and its call ends unheard. Calls are made by
 * threads of the process, 32 at most for all contexts (more where threads of the program are in
 * namespaces of their own: a call is made in its submitter's); others wait for their turn, and
 * their deadlines count meanwhile. aio_ctx_destroy does not wait for them. Not with
 * AIO_SUBMIT_QUIET.
 */
aio_op_id aio_submit_getaddrinfo(aio_ctx *ctx, const char *node, const char *service,
        const struct addrinfo *hints, struct addrinfo **res, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * Frees a list of aio_submit_getaddrinfo; not with freeaddrinfo(3).
 *
 * `res`: NULL is nothing. Entries of it cannot be freed alone.
 * Any thread.
 */
void aio_addrinfo_free(struct addrinfo *res);

/*
 * Finds the name of an address and of its port, as getnameinfo(3) does. Completes with 0.
 *
 * `addr`: copied, at most 128 bytes.
 * `host`, `serv`: outputs with room for `hostlen` and `servlen` bytes (NI_MAXHOST and NI_MAXSERV
 * will do), the engine's until the last callback; written on success alone. Either may be NULL
 * with length 0.
 * `flags`: NI_*.
 * Context thread.
 * Errors: at once -EINVAL, `addr` is NULL or its length is 0 or too large, or both outputs are
 * missing; -EAGAIN. In the callback AIO_ENONAME, -EOVERFLOW (too little room), AIO_ENAMEAGAIN,
 * AIO_ENAMEFAIL, -EAFNOSUPPORT, -EINVAL (`flags`), -ENOMEM.
 * Surprise: as for aio_submit_getaddrinfo.
 */
aio_op_id aio_submit_getnameinfo(aio_ctx *ctx, const struct sockaddr *addr, socklen_t addrlen,
        char *host, socklen_t hostlen, char *serv, socklen_t servlen, int flags,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * Sets the cache of aio_submit_getaddrinfo up, for the whole process, and empties it. There is
 * none unless a program asks for one: the C library does not tell for how long an answer is good.
 *
 * `options`: NULL: no cache.
 * Any thread.
 */
int32_t aio_names_set_cache(const aio_names_cache_options *options);

/* ---- resolver -------------------------------------------------------------------------------- */

/*
 * Makes a DNS client. It belongs to no context: lookups of any context may use it at once, and
 * share its cache. Its two files are read now, and again when they have changed, which is looked
 * at once a second at most, at a submit.
 *
 * `options`: NULL: what /etc/resolv.conf and /etc/hosts say, and no cache.
 * `resolver_out`: yours until aio_resolver_destroy.
 * Any thread. Not for a forked child, which makes its own.
 * Errors: -EINVAL, a wrong option; -EOPNOTSUPP, the library was built without its feature
 * `resolver`.
 */
int32_t aio_resolver_create(const aio_resolver_options *options, aio_resolver **resolver_out);

/*
 * Gives a resolver back. Lookups that are in flight go on, and keep what they need.
 *
 * `resolver`: NULL is nothing.
 * Any thread.
 */
void aio_resolver_destroy(aio_resolver *resolver);

/*
 * Forgets the answers in a resolver's cache.
 *
 * Any thread.
 * Errors: -EINVAL, `resolver` is NULL.
 */
int32_t aio_resolver_forget(aio_resolver *resolver);

/*
 * Looks a name up: in the hosts file, in the cache, by asking servers. Completes with 0.
 *
 * `name`: copied; at most 253 characters of ASCII. With a dot at its end it is taken as it is;
 * else the search domains are tried as resolv.conf(5) says. A numeric address (in full, without a
 * zone) is its own answer, and localhost has its addresses without anybody being asked.
 * `kind`: AIO_DNS_*. `flags`: AIO_RESOLVE_*.
 * `answer_out`: an output, the engine's until the last callback; written on success alone. The
 * answer is yours then: aio_answer_free. With AIO_CALLBACK_REAP that is so before its record is
 * reaped, and if a destroy comes first: begin with NULL in it.
 * Context thread. The resolver may be destroyed while lookups are in flight.
 * Errors: at once -EINVAL, no such kind, flag or name. In the callback AIO_ENONAME, there is no
 * such name; -ENODATA, it has no record of this kind; -ETIMEDOUT (without AIO_CQE_DEADLINE), no
 * server has answered; AIO_ENAMEAGAIN, servers have failed or answered nonsense; AIO_ENAMEFAIL,
 * they refuse; -ECONNREFUSED, -ENETUNREACH and the like, none could be reached; -EMFILE.
 * Surprise: without timeout_ns a lookup takes up to 10 seconds and more for each server that is
 * silent, as resolv.conf says. Records of A come before those of AAAA. Not with AIO_SUBMIT_QUIET.
 */
aio_op_id aio_submit_resolve(aio_ctx *ctx, aio_resolver *resolver, const char *name, uint32_t kind,
        uint32_t flags, aio_answer **answer_out, const aio_submit_options *options,
        aio_callback callback, void *user_data);

/*
 * The name behind all aliases, without a dot at its end; valid as long as the answer. A character
 * that cannot be printed is written as a backslash and three digits. NULL: `answer` is.
 *
 * Any thread.
 */
const char *aio_answer_name(const aio_answer *answer);

/*
 * How many records an answer has: one at least. 0: `answer` is NULL.
 *
 * Any thread.
 */
uint32_t aio_answer_count(const aio_answer *answer);

/*
 * Tells of a record.
 *
 * `index`: below aio_answer_count, in the order of the server.
 * `out`: its size set; pointers in it are valid as long as the answer.
 * Any thread.
 * Errors: -EINVAL, NULL; -ERANGE, there is no such record.
 */
int32_t aio_answer_record(const aio_answer *answer, uint32_t index, aio_dns_record *out);

/*
 * One of the strings of a TXT record.
 *
 * `nth`: below the record's `strings`.
 * `data_out`, `len_out`: bytes without a terminator, valid as long as the answer.
 * Any thread.
 * Errors: -EINVAL, NULL; -ERANGE, there is no such record or string.
 */
int32_t aio_answer_string(const aio_answer *answer, uint32_t index, uint32_t nth,
        const void **data_out, uint32_t *len_out);

/*
 * The address of an A or AAAA record, to connect to.
 *
 * `port`: in the host's order of bytes.
 * `addr`: written to, as far as there is room. `addrlen`: its room, at most sizeof(struct
 * sockaddr_storage) of it is used; set to the address's length.
 * Any thread.
 * Errors: -EINVAL, NULL, or the record is no address; -ERANGE, there is no such record.
 */
int32_t aio_answer_sockaddr(const aio_answer *answer, uint32_t index, uint16_t port,
        struct sockaddr *addr, socklen_t *addrlen);

/*
 * Frees an answer; what points into it is gone with it.
 *
 * `answer`: NULL is nothing.
 * Any thread.
 */
void aio_answer_free(aio_answer *answer);

/* ---- notifier -------------------------------------------------------------------------------- */

/*
 * Creates a notifier: a count of signals that an operation on any context waits for.
 *
 * `notifier_out`: receives it; destroy it with aio_notifier_destroy.
 * Any thread.
 * Errors: -EINVAL, `notifier_out` is NULL.
 */
int32_t aio_notifier_create(aio_notifier **notifier_out);

/*
 * Ends a notifier: what waits is told of the signals that were sent, and then AIO_ECLOSED.
 *
 * Gives the creator's reference back: who else uses it must hold one of aio_notifier_ref; their
 * calls then give AIO_ECLOSED.
 * Any thread.
 * Errors: -EINVAL, `notifier` is NULL.
 */
int32_t aio_notifier_destroy(aio_notifier *notifier);

/*
 * Keeps the handle valid until aio_notifier_unref, also after aio_notifier_destroy.
 *
 * Any thread that holds a reference, or the creator. Returns 0.
 * Errors: -EINVAL, `notifier` is NULL.
 */
int32_t aio_notifier_ref(aio_notifier *notifier);

/*
 * Gives a reference of aio_notifier_ref back; NULL: nothing.
 *
 * Any thread.
 */
void aio_notifier_unref(aio_notifier *notifier);

/*
 * Signals: what waits, or the next that will, is told. Signals of which nobody was told yet are
 * counted and told together. What the caller has written before is seen by who is told.
 *
 * Any thread, and signal handlers: it takes no lock and no memory.
 * Errors: -EINVAL, `notifier` is NULL; AIO_ECLOSED.
 * Surprise: a burst wakes the context that waits once; it makes no system call unless that sleeps.
 */
int32_t aio_notifier_signal(aio_notifier *notifier);

/*
 * Waits for a signal; the result is how many were sent since somebody was last told of them, at
 * least 1. Signals from before the wait count.
 *
 * `notifier`: the operation holds a reference of its own.
 * Context thread; of any context, one operation at a time.
 * Errors: -EINVAL, `notifier` is NULL; -EBUSY, another operation waits for it. In the callback:
 * AIO_ECLOSED, it was destroyed, and everything sent before was told.
 * Kernel: any.
 */
aio_op_id aio_submit_notifier_wait(aio_ctx *ctx, aio_notifier *notifier,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * The same again and again: each callback, with AIO_CQE_MORE, tells of the signals since the one
 * before. The last one comes when the operation was cancelled, or the notifier destroyed.
 *
 * As aio_submit_notifier_wait.
 */
aio_op_id aio_submit_notifier_wait_multishot(aio_ctx *ctx, aio_notifier *notifier,
        const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- channel --------------------------------------------------------------------------------- */

/*
 * Creates a channel: a bounded queue of records, copied in and out, from any number of threads to
 * one receiver at a time. To pass memory on instead of copying it, send pointers.
 *
 * `options`: NULL for the defaults. `channel_out`: receives it; destroy it with
 * aio_channel_destroy.
 * Any thread.
 * Errors: -EINVAL and -E2BIG for bad options; -ENOMEM.
 */
int32_t aio_channel_create(const aio_channel_options *options, aio_channel **channel_out);

/*
 * Closes a channel, and gives the creator's reference back: who else uses it must hold one of
 * aio_channel_ref, as a receive in flight does. Records that nobody receives go with the last.
 *
 * Any thread.
 * Errors: -EINVAL, `channel` is NULL.
 */
int32_t aio_channel_destroy(aio_channel *channel);

/*
 * Keeps the handle valid until aio_channel_unref, also after aio_channel_destroy.
 *
 * Any thread that holds a reference, or the creator. Returns 0.
 * Errors: -EINVAL, `channel` is NULL.
 */
int32_t aio_channel_ref(aio_channel *channel);

/*
 * Gives a reference of aio_channel_ref back; NULL: nothing.
 *
 * Any thread.
 */
void aio_channel_unref(aio_channel *channel);

/*
 * Closes a channel, from either side: sends give AIO_ECLOSED from now on; what was sent before is
 * received, and then a receive ends with 0. Closing again changes nothing.
 *
 * Any thread.
 * Errors: -EINVAL, `channel` is NULL.
 */
int32_t aio_channel_close(aio_channel *channel);

/*
 * Sends a record; first in, first out for each sender.
 *
 * `record`: copied.
 * Any thread, and signal handlers: it takes no lock and no memory.
 * Errors: -EINVAL, a pointer is NULL; -EAGAIN, the channel is full; AIO_ECLOSED.
 * Surprise: a burst wakes the context that receives once; it makes no system call unless that
 * sleeps.
 */
int32_t aio_channel_send(aio_channel *channel, const void *record);

/*
 * Sends records that lie behind each other; returns how many the channel took, at least 1. Others
 * may send in between.
 *
 * `records`: `count` of them, copied; at least 1.
 * Any thread, and signal handlers.
 * Errors: -EINVAL, a pointer is NULL or `count` is 0; -EAGAIN, the channel is full; AIO_ECLOSED.
 */
int32_t aio_channel_send_many(aio_channel *channel, const void *records, uint32_t count);

/*
 * Receives without waiting and without a context; returns how many records it took, 0 if there
 * will be no more.
 *
 * `records`: room for `count` of them, at least 1.
 * Any thread, one at a time.
 * Errors: -EINVAL, a pointer is NULL or `count` is 0; -EAGAIN, there is none now; -EBUSY, an
 * operation receives, or another thread does.
 */
int32_t aio_channel_take(aio_channel *channel, void *records, uint32_t count);

/*
 * How many records were sent and not received; roughly while others send or receive.
 *
 * Any thread.
 * Errors: -EINVAL, `channel` is NULL.
 */
int32_t aio_channel_length(const aio_channel *channel);

/*
 * How many records a channel holds.
 *
 * Any thread.
 * Errors: -EINVAL, `channel` is NULL.
 */
int32_t aio_channel_capacity(const aio_channel *channel);

/*
 * Receives records, as soon as there is one; the result is how many, 0 if there will be no more:
 * the channel was closed and everything sent before received. aio_ctx_current_bytes tells the
 * bytes.
 *
 * `channel`: the operation holds a reference of its own. `records`: room for `count` of them, at
 * least 1; the engine's until the last callback.
 * Context thread; of any context, one operation at a time.
 * Errors: -EINVAL, a pointer is NULL or `count` is 0; -EBUSY, another receive is in flight.
 * Kernel: any.
 * Surprise: records stay in the channel until the callback is about to run: what is cancelled, or
 * meets its deadline, has taken none.
 */
aio_op_id aio_submit_channel_receive(aio_ctx *ctx, aio_channel *channel, void *records,
        uint32_t count, const aio_submit_options *options, aio_callback callback, void *user_data);

/*
 * The same again and again: each callback, with AIO_CQE_MORE, finds records in the same memory,
 * where they stay until it returns. The last one comes when the operation was cancelled, or with 0
 * at the end.
 *
 * As aio_submit_channel_receive; also -EINVAL, `callback` is AIO_CALLBACK_REAP: the records would
 * be written over before they are reaped.
 */
aio_op_id aio_submit_channel_receive_multishot(aio_ctx *ctx, aio_channel *channel, void *records,
        uint32_t count, const aio_submit_options *options, aio_callback callback, void *user_data);

/* ---- workers --------------------------------------------------------------------------------- */

/*
 * Starts threads with a context each, which run until aio_workers_stop, also while nothing is in
 * flight. Returns when all have started, or none has: what had started is ended again.
 *
 * `options`: NULL for the defaults, a worker per processor. `workers_out`: receives them; destroy
 * them with aio_workers_destroy.
 * A worker's thread is kept on its processor and creates its context there, so that its rings,
 * slots and pools lie in that processor's memory; it holds back all signals.
 * Any thread.
 * Errors: -EINVAL and -E2BIG for bad options; -EINVAL, a processor that the process may not use;
 * -EAGAIN, no thread; those of aio_ctx_create; what `on_start` said.
 * Surprise: the contexts belong to the workers, which run and destroy them. aio_ctx_stop does
 * nothing to one, and completions for aio_ctx_reap, which nobody calls there, end it (-ENOBUFS).
 */
int32_t aio_workers_create(const aio_workers_options *options, aio_workers **workers_out);

/*
 * Asks all workers to stop, and does not wait for it. Each accepts no more connections of
 * aio_workers_listen, calls `on_stop`, runs until nothing is in flight, posted or held, but no
 * longer than `drain_ns`, and destroys its context, which cancels what is left.
 *
 * `drain_ns`: nanoseconds; 0: cancel at once; negative: no limit. Of several calls the earliest
 * end counts.
 * Any thread, workers included.
 * Errors: -EINVAL, `workers` is NULL.
 */
int32_t aio_workers_stop(aio_workers *workers, int64_t drain_ns);

/*
 * Waits until all workers have ended, which somebody must have asked them to.
 *
 * Any thread but theirs.
 * Errors: -EINVAL, `workers` is NULL; -EDEADLK, the caller is one of them; the first failure of a
 * worker, such as AIO_ESTUCK of its context's destruction.
 */
int32_t aio_workers_join(aio_workers *workers);

/*
 * Stops workers that nobody has asked to stop (without a drain), waits for them as
 * aio_workers_join does, and frees them. Their contexts' pointers are good for nothing then.
 *
 * Any thread but theirs, and none uses them any more. In a forked child, where their threads are
 * not: lets go of the copies of their contexts.
 * Errors: as aio_workers_join; all but -EINVAL and -EDEADLK have freed them.
 */
int32_t aio_workers_destroy(aio_workers *workers);

/*
 * How many workers there are.
 *
 * Any thread.
 * Errors: -EINVAL, `workers` is NULL.
 */
int32_t aio_workers_count(const aio_workers *workers);

/*
 * The context of a worker, for what any thread may do with it; NULL, there is no such worker.
 * Valid until aio_workers_destroy; aio_ctx_ref keeps it longer.
 *
 * Any thread.
 */
aio_ctx *aio_workers_ctx(const aio_workers *workers, uint32_t index);

/*
 * Has `fn(arg)` called on a worker's thread, as aio_ctx_post does.
 *
 * `index`: of the worker, or AIO_WORKERS_ANY.
 * Any thread, workers included.
 * Errors: -EINVAL, a pointer is NULL or there is no such worker; those of aio_ctx_post,
 * as AIO_ECLOSED for a worker that has ended.
 */
int32_t aio_workers_post(aio_workers *workers, uint32_t index, aio_post_fn fn, void *arg);

/*
 * Hands a descriptor over to a worker, whose `on_fd` gets it; from then on it is that function's
 * to close. For connections that one thread accepts and others serve. What is a slot of a table
 * goes from one context to another by aio_submit_msg_ring_fd.
 *
 * `index`: of the worker, or AIO_WORKERS_ANY. `fd`: stays the caller's on failure.
 * Any thread, workers included.
 * Errors: -EINVAL, `workers` is NULL, there is no such worker, or the workers have no `on_fd`;
 * -EBADF, `fd` is negative; those of aio_ctx_post.
 * Surprise: a worker that ends while it is on its way calls `on_fd` in the destruction of its
 * context, where submitting gives -ECANCELED.
 */
int32_t aio_workers_send_fd(aio_workers *workers, uint32_t index, int fd);

/*
 * Accepts TCP connections on every worker, each with a socket of its own on the same address
 * (SO_REUSEPORT), over which the kernel spreads them. Returns the port.
 *
 * `addr`: IPv4 or IPv6; port 0: any free one. `backlog`: of each socket; 0: 4096.
 * `on_connection`: called on a worker's thread with its context and the connection, which is the
 * function's to close; when the worker stops it accepts no more.
 * Any thread, workers included; when it returns, connections are taken.
 * Errors: -EINVAL, a pointer is NULL, or another kind of address; those of socket(2), bind(2) and
 * listen(2): nothing is accepted then; AIO_ECLOSED, the workers are stopping, or have ended.
 * Surprise: connections that were waiting to be accepted by a worker that stops are reset.
 */
int32_t aio_workers_listen(aio_workers *workers, const struct sockaddr *addr, socklen_t addrlen,
        int backlog, aio_take_fn on_connection, void *arg);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
