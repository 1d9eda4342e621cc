/* The table of operations that test_operations runs: a ROW per submit function and a FAILS per
 * error that its manual page documents. The rows are in operations_<family>.c; what is done with a
 * row is in test_operations.c. tests/c/CMakeLists.txt reads the ROW( and FAILS( lines, each at the
 * start of a line, and refuses to configure when a submit function of the header has no row. */
#pragma once
#include "harness.h"

#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#define BAD_ADDRESS ((void *)(uintptr_t)8)

/* Everything that one operation of any kind may need; fresh for each attempt. */
struct env {
    aio_ctx *ctx;
    int fds[64]; /* closed at the end, if they are still open */
    int fd_count;
    int fd, other; /* what the operation uses, and its far end */
    char data[64], text[64];
    char path[512], path2[512];
    struct iovec iov[2];
    struct iovec areas[4]; /* registered buffers */
    struct msghdr header;
    struct statx statx;
    struct sockaddr_in addr, peer;
    socklen_t peer_len;
    struct io_uring_sqe sqe;
    struct epoll_event events[4];
    siginfo_t info;
    uint32_t words[2];
    struct futex_waitv waits[2];
    int pair[2];
    int value;
    uint64_t start_ns;
    aio_buffer_pool *pool;      /* destroyed at the end, when the context is gone */
    aio_ctx *there;             /* another context, destroyed at the end */
    struct call received;       /* what it was told */
    pid_t child;                /* ended and reaped at the end */
    struct name_server *server; /* stopped at the end */
    aio_resolver *resolver;     /* destroyed at the end */
    struct addrinfo *list;
    aio_answer *answer;
    aio_notifier *notifier; /* destroyed at the end */
    aio_channel *channel;   /* destroyed at the end */
    uint64_t records[4];
    bool has_helper, helper_stops;
    pthread_t helper;
    void (*undo)(struct env *e); /* called at the end, when the context is gone; NULL: nothing */
};

/* Whether a test of this row is running. */
bool is_test_of(const char *op);
/* The beginning and the end of an attempt. */
void env_open(struct env *e, uint32_t ctx_flags);
void env_close(struct env *e);
/* Has the descriptor closed at the end; gives it back. */
int env_keep(struct env *e, int fd);
void env_keep_both(struct env *e, const int fds[2]);
/* A name of this attempt's own in the temporary folder. */
void env_path(const struct env *e, char path[512], const char *name);

/* A file of this attempt's own that says "hello", open as `flags` say; its name goes to `path`. */
int env_file(struct env *e, char path[512], const char *name, int flags);
/* A thread beside the test, which ends by itself when it sees helper_stops; `body` gets the env. */
void env_start_helper(struct env *e, void *(*body)(void *env));

/* From now on a new descriptor is -EMFILE; for the rest of this process. */
void env_no_descriptor_left(const struct env *e);

typedef void (*env_fn)(struct env *e);
typedef aio_op_id (*submit_fn)(struct env *e, const aio_submit_options *o, aio_callback cb,
                               void *u);

struct row {
    const char *name;
    const char *shown; /* what aio_ctx_dump calls it; NULL: name */
    env_fn setup;      /* so that the operation succeeds */
    submit_fn submit;
    void (*check)(struct env *e, int32_t result); /* the value, and what it did */
    env_fn block;             /* instead of setup: so that it waits; NULL: never */
    submit_fn submit_blocked; /* NULL: submit */
    env_fn unblock;           /* lets one that waits succeed; NULL: not shown */
    bool multishot;
    bool notifies;         /* a result, and then a notification */
    bool makes_descriptor; /* a result of 0 or more is one, to be closed */
    bool makes_pair;       /* a result of 0 or more says that the env's pair is two of them */
    bool timer;            /* engine's own: no async, no links, no barrier */
    bool pooled;           /* takes buffers of a pool: no async, no quiet, no links */
    bool service;          /* something else than the kernel ends it: no async, no links */
    bool brings;           /* a success brings what must be told of: no quiet */
    bool bundled;          /* sends the buffers of a pool: no async, no links */
    bool unreaped;         /* calls, but no records */
};

struct failure {
    submit_fn submit;
    int32_t status;
};

/* From now on everything of the context is traced; it keeps latencies. */
struct observer;
struct observer *observe(aio_ctx *ctx);
/* What was traced and taken down is what the callbacks of the only operation since have said. */
void check_observed(struct observer *observer, aio_ctx *ctx, const struct call *call, aio_op_id id,
                    uint64_t correlation);
/* Its line in a dump says how old it is. */
void check_age(const char *dump, aio_op_id id, unsigned at_least_ms);

/* A check for operations whose success is 0 and leaves nothing to be seen. */
void check_is_zero(struct env *e, int32_t result);

void operation_succeeds(const void *row);
void operation_meets_its_deadline(const void *row);
void operation_in_flight_at_destroy(const void *row);
void operation_cancelled(const void *row);
void operation_refuses_bad_arguments(const void *row);
void operation_through_a_slot(const void *row);
void operation_fails(const void *failure);

#define SUBMIT(name_)                                                                              \
    static aio_op_id name_(struct env *e, const aio_submit_options *o, aio_callback cb, void *u)

#define ROW(op_, ...)                                                                              \
    static const struct row row_##op_ = {.name = #op_, .submit = submit_##op_, __VA_ARGS__};       \
    __attribute__((constructor)) static void register_##op_(void) {                                \
        harness_add_arg(#op_ "_succeeds", operation_succeeds, &row_##op_);                         \
        harness_add_arg(#op_ "_meets_its_deadline", operation_meets_its_deadline, &row_##op_);     \
        harness_add_arg(#op_ "_in_flight_at_destroy", operation_in_flight_at_destroy, &row_##op_); \
        harness_add_arg(#op_ "_cancelled", operation_cancelled, &row_##op_);                       \
        harness_add_arg(#op_ "_refuses_bad_arguments", operation_refuses_bad_arguments,            \
                        &row_##op_);                                                               \
        harness_add_arg(#op_ "_through_a_slot", operation_through_a_slot, &row_##op_);             \
    }                                                                                              \
    _Static_assert(1, "")

/* FAILS(read, EBADF, -EBADF) { return aio_submit_read(...); }: the end of what the body submits. */
#define FAILS(op_, name_, status_)                                                                 \
    SUBMIT(op_##_fails_with_##name_);                                                              \
    static const struct failure failure_##op_##_##name_ = {op_##_fails_with_##name_, status_};     \
    __attribute__((constructor)) static void register_##op_##_##name_(void) {                      \
        harness_add_arg(#op_ "_fails_with_" #name_, operation_fails, &failure_##op_##_##name_);    \
    }                                                                                              \
    SUBMIT(op_##_fails_with_##name_)
