/* What the C tests share: a table of named tests per program, assertions that print both values,
 * and the few things that most tests need (a context, connected sockets, a temporary folder).
 *
 * A program is a file of TEST(name) { ... } blocks that ends with HARNESS_MAIN. `prog NAME` runs
 * one test in this process; `prog` runs all, each in a forked child; `prog --list` names them;
 * `prog
 * --expect NAME...` fails when the names given are not exactly those in the program, so that a test
 * cannot exist without being registered. A failed assertion ends the process with 1, SKIP with 77.
 *
 * AIO_TEST_SLOW=20 stretches limits and shortens loops (valgrind, sanitizers); AIO_TEST_SEED=N
 * repeats a randomised test. AIO_TEST_DIFFERS is what differs.txt says of the test, empty if
 * nothing: ctest sets it where it runs a test a second time, on epoll. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <aio_rs.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef void (*test_fn)(void);
typedef void (*test_arg_fn)(const void *arg);

/* The names must outlive the program; they are not copied. */
void harness_add(const char *name, test_fn fn);
void harness_add_arg(const char *name, test_arg_fn fn, const void *arg);
int harness_main(int argc, char **argv);
const char *harness_running(void); /* the name of the test */
/* For programs with a main of their own (the soaks): the same signal and buffering set-up. */
void harness_start(const char *program, unsigned limit_seconds);

#define TEST(name_)                                                                                \
    static void test_##name_(void);                                                                \
    __attribute__((constructor)) static void register_##name_(void) {                              \
        harness_add(#name_, test_##name_);                                                         \
    }                                                                                              \
    static void test_##name_(void)

#define HARNESS_MAIN                                                                               \
    int main(int argc, char **argv) { return harness_main(argc, argv); }

/* --- assertions ------------------------------------------------------------------------------ */

_Noreturn void check_failed(const char *file, int line, const char *text);
_Noreturn void check_values_failed(const char *file, int line, const char *text, int64_t a,
                                   int64_t b);
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void test_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_string(const char *file, int line, const char *text, const char *a, const char *b);
void check_memory(const char *file, int line, const char *text, const void *a, const void *b,
                  size_t len);
aio_op_id check_id(const char *file, int line, const char *text, aio_op_id id);

#define CHECK(cond_) ((cond_) ? (void)0 : check_failed(__FILE__, __LINE__, #cond_))
#define CHECK_VALUES(a_, op_, b_)                                                                  \
    do {                                                                                           \
        const int64_t left_ = (int64_t)(a_);                                                       \
        const int64_t right_ = (int64_t)(b_);                                                      \
        if (!(left_ op_ right_))                                                                   \
            check_values_failed(__FILE__, __LINE__, #a_ " " #op_ " " #b_, left_, right_);          \
    } while (0)
#define CHECK_EQ(a_, b_) CHECK_VALUES(a_, ==, b_)
#define CHECK_NE(a_, b_) CHECK_VALUES(a_, !=, b_)
#define CHECK_LT(a_, b_) CHECK_VALUES(a_, <, b_)
#define CHECK_LE(a_, b_) CHECK_VALUES(a_, <=, b_)
#define CHECK_GT(a_, b_) CHECK_VALUES(a_, >, b_)
#define CHECK_GE(a_, b_) CHECK_VALUES(a_, >=, b_)
#define CHECK_STR(a_, b_) check_string(__FILE__, __LINE__, #a_ " is " #b_, (a_), (b_))
#define CHECK_MEM(a_, b_, len_) check_memory(__FILE__, __LINE__, #a_ " is " #b_, (a_), (b_), (len_))
/* For system calls of the test itself: the value, or the end of the test with errno's text. */
#define SYS(call_) check_system_call(__FILE__, __LINE__, #call_, (int64_t)(call_))
int check_system_call(const char *file, int line, const char *text, int64_t result);
/* A submit call that must be accepted: gives the id. */
#define ID(submit_) check_id(__FILE__, __LINE__, #submit_, (submit_))
#define SKIP(...) test_skip(__VA_ARGS__)
#define FAIL(...) test_fail(__VA_ARGS__)

/* --- contexts and callbacks ------------------------------------------------------------------ */

/* Options of a submit: WITH(.timeout_ns = 1000). */
#define WITH(...) (&(aio_submit_options){.size = sizeof(aio_submit_options), __VA_ARGS__})
#define CTX_WITH(...) (&(aio_ctx_options){.size = sizeof(aio_ctx_options), __VA_ARGS__})

/* In which order things happened: tags of calls, and whatever a test notes. */
struct order {
    int count;
    int tags[1024];
};
void order_note(struct order *order, int tag);

/* What became of one operation. on_call fails the test when a callback comes after the last one. */
struct call {
    int calls;      /* all callbacks */
    int finals;     /* those without AIO_CQE_MORE */
    int32_t result; /* of the newest */
    uint32_t flags; /* of the newest */
    int32_t first;  /* the result of the first, and its flags */
    uint32_t first_flags;
    int64_t sum;      /* of all results */
    uint64_t bytes;   /* aio_ctx_current_bytes during the newest */
    aio_op_id id;     /* aio_ctx_current_op during the newest */
    aio_ctx *ctx;     /* aio_ctx_current during the newest */
    uint64_t at_ns;   /* when the newest came */
    pthread_t thread; /* and where */
    struct order *order;
    int tag;
    void (*then)(struct call *call); /* called last; for tests that act inside a callback */
    void *arg;
};
void on_call(void *user_data, int32_t result, uint32_t flags);
/* Fails the test: for callbacks that must never run. */
void on_call_never(void *user_data, int32_t result, uint32_t flags);
/* Counts: user_data is an int. */
void on_call_count(void *user_data, int32_t result, uint32_t flags);

aio_ctx *make_ctx(void);
aio_ctx *make_ctx_with(const aio_ctx_options *options);
void end_ctx(aio_ctx *ctx); /* destroy, which must return 0 */
bool has_ring(const aio_ctx *ctx);
/* Skips a test of what the kernel has since a version: everywhere, or where the context is a ring.
 */
void needs_linux(int major, int minor);
void needs_ring_of(const aio_ctx *ctx, int major, int minor);
bool is_ring_before(const aio_ctx *ctx, int major, int minor); /* for what it does instead */
/* Skips a test that means nothing without a ring. On epoll a line of differs.txt must say so, with
 * the same reason; a line that no longer holds is a failure too. */
void needs_ring(const aio_ctx *ctx, const char *reason);

/* Runs turns until the condition holds. The waits are long on purpose: a lost wake-up must show as
 * a failure, not be hidden by polling. */
#define RUN_UNTIL(ctx_, cond_)                                                                     \
    do {                                                                                           \
        const uint64_t limit_ = patience_end_ns();                                                 \
        while (!(cond_))                                                                           \
            run_turn((ctx_), limit_, #cond_, __FILE__, __LINE__);                                  \
    } while (0)
uint64_t patience_end_ns(void);
void run_turn(aio_ctx *ctx, uint64_t limit_ns, const char *text, const char *file, int line);
int32_t await_call(aio_ctx *ctx, struct call *call); /* runs until its last callback; the result */
/* One operation from its submit to its end: its result. */
#define DO(ctx_, call_, submit_) (ID(submit_), await_call((ctx_), &(call_)))
void run_for_ms(aio_ctx *ctx, unsigned ms); /* turns, whatever they bring, for a while */
/* The operation is in flight and nothing has happened to it after some turns. */
void check_blocked(aio_ctx *ctx, const struct call *call);
void check_nothing_in_flight(aio_ctx *ctx);
aio_stats stats_of(aio_ctx *ctx);

/* NOPs that follow each other: so many more after the first, each submitted by the one before. */
struct nops {
    aio_ctx *ctx;
    int left;
};
void on_nop(void *user_data, int32_t result, uint32_t flags);

/* --- the rest -------------------------------------------------------------------------------- */

#define MS 1000000ull /* in nanoseconds */
#define HOUR (3600 * 1000 * MS)
#define COUNT_OF(array_) ((int)(sizeof(array_) / sizeof((array_)[0])))

unsigned test_slow(void);           /* AIO_TEST_SLOW, at least 1 */
int scaled(int count);              /* count / slow, at least 2 */
bool memory_figures_are_ours(void); /* false under valgrind and sanitizers: RSS is theirs */
bool under_valgrind(void);
bool under_thread_sanitizer(void);
/* Skips the test under valgrind, which cannot follow what it does; on one backend or on both. */
void beyond_valgrind(const char *reason);
/* The same where the library itself makes openat2 or futex_waitv, which valgrind does not know. */
void needs_known_calls(const aio_ctx *ctx);
/* From now on system calls of this process (7 at most) fail with `error`, for the rest of its life;
 * skips the test where there are no filters. */
void forbid_calls(const unsigned *calls, int count, unsigned error);
void forbid_call(unsigned system_call, unsigned error);
/* The same with rules of one's own. */
struct sock_filter;
void install_filter(struct sock_filter *rules, unsigned short count);
/* Skips the test where tools keep from a child what was forked beside threads. */
void needs_forked_threads(void);
uint64_t now_ns(void);                 /* CLOCK_MONOTONIC */
void sleep_ms(unsigned ms);            /* all of it, whatever interrupts */
uint64_t test_seed(void);              /* printed, from AIO_TEST_SEED or the clock */
uint64_t random_next(uint64_t *state); /* splitmix64 */
uint64_t random_below(uint64_t *state, uint64_t bound);

const char *temp_dir(void);              /* one per process, removed at its end */
const char *temp_path(const char *name); /* in it; four such strings live at a time */
int temp_file(const char *name, const void *data, size_t len); /* open for reading and writing */
void pattern_fill(void *buf, size_t len, uint64_t seed);
bool pattern_holds(const void *buf, size_t len, uint64_t seed);
void write_all_or_fail(int fd, const void *data, size_t len);
void read_all_or_fail(int fd, void *data, size_t len);

void make_pipe(int fds[2]);
void make_socket_pair(int fds[2]); /* unix, stream */
void make_tcp_pair(int fds[2]);    /* connected over 127.0.0.1, TCP_NODELAY */
int make_tcp_listener(struct sockaddr_in *addr, int backlog); /* on a free port */
int make_udp_socket(struct sockaddr_in *addr);                /* bound to a free port */
int tcp_connect_to(const struct sockaddr_in *addr);
void fill_until_full(int fd); /* a pipe or socket: until a write would block */
void drain_until_empty(int fd);
/* A page that faults until the test says what is in it: a kernel worker that copies into it stands
 * still and cannot be cancelled. Skips the test where that is not possible. */
void *make_faulting_page(int *fault_fd);
void resolve_fault(int fault_fd, void *page);
bool peer_sees_fin(int fd, unsigned within_ms); /* reads away what comes before */
bool is_readable(int fd, unsigned within_ms);
bool is_cloexec(int fd);
bool is_open(int fd);
int open_descriptors(void); /* this process's, of any kind */
int64_t resident_kib(void);

pid_t start_child(void (*body)(void *arg), void *arg); /* dies with its parent */
int end_child(pid_t pid);                              /* waits; its exit status, or 128 + signal */
