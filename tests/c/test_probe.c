/* What aio_probe, aio_probe_op and aio_probe_facility say, and whether it is so: each status is
 * held against what happens when the operation is submitted. The tests choose their backends
 * themselves; aio-probe, the program, is run under a filter here and read by a script elsewhere. */
#include "harness.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { OPERATIONS = 63, FACILITIES = 24 };
/* As <linux/io_uring.h> numbers them; the header of an older system lacks the newest. */
enum { OP_NOP = 0, OP_POLL_REMOVE = 7, OP_TIMEOUT = 11, OP_ASYNC_CANCEL = 14, OP_CONNECT = 16 };
enum { OP_PROVIDE_BUFFERS = 31, OP_MSG_RING = 40, OP_FTRUNCATE = 55, OP_PIPE = 62 };

static aio_probe_result op(const aio_ctx *ctx, uint32_t opcode) {
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe_op(ctx, opcode, &result), 0);
    CHECK_EQ(result.size, sizeof result);
    return result;
}

static aio_probe_result facility(const aio_ctx *ctx, uint32_t number) {
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe_facility(ctx, number, &result), 0);
    return result;
}

static aio_probe_info info_of(const aio_ctx *ctx) {
    aio_probe_info info = {.size = sizeof info};
    CHECK_EQ(aio_probe(ctx, &info), 0);
    CHECK_EQ(info.operations, OPERATIONS);
    CHECK_EQ(info.facilities, FACILITIES);
    return info;
}

static aio_ctx *ring_or_skip(void) {
    aio_ctx *ctx = NULL;
    if (aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx) != 0)
        SKIP("no io_uring here");
    return ctx;
}

static void backend_of_environment(const char *name) {
    name ? setenv("AIO_RS_BACKEND", name, 1) : unsetenv("AIO_RS_BACKEND");
}

/* --- every operation ------------------------------------------------------------------------- */

TEST(all_63_operations_are_yes_or_superseded_on_a_kernel_that_has_them) {
    aio_ctx *ctx = ring_or_skip();
    const aio_probe_info info = info_of(ctx);
    CHECK_EQ(info.backend, AIO_BACKEND_URING);
    CHECK_EQ(info.reason, AIO_REASON_NONE);
    CHECK_STR(info.text, "");
    if (info.kernel_version < (6u << 16 | 16))
        SKIP("Linux %u.%u lacks some", info.kernel_version >> 16, info.kernel_version & 0xffff);
    int superseded = 0;
    for (uint32_t opcode = 0; opcode < OPERATIONS; opcode++) {
        const aio_probe_result result = op(ctx, opcode);
        superseded += result.status == AIO_PROBE_SUPERSEDED;
        CHECK(result.status == AIO_PROBE_YES || result.status == AIO_PROBE_SUPERSEDED);
        CHECK_EQ(result.reason, AIO_REASON_NONE);
        CHECK_EQ(*result.functions != 0, result.status == AIO_PROBE_YES);
        CHECK_EQ(*result.text != 0, result.status == AIO_PROBE_SUPERSEDED);
    }
    CHECK_EQ(superseded, 6);
    end_ctx(ctx);
}

TEST(names_are_different_and_those_of_the_dump) {
    char names[OPERATIONS][32];
    for (uint32_t opcode = 0; opcode < OPERATIONS; opcode++) {
        memcpy(names[opcode], op(NULL, opcode).name, sizeof names[opcode]);
        for (uint32_t before = 0; before < opcode; before++)
            CHECK_NE(strcmp(names[before], names[opcode]), 0);
    }
    CHECK_STR(names[OP_NOP], "nop");
    CHECK_STR(names[OP_CONNECT], "connect");
    CHECK_STR(names[OP_PIPE], "pipe");
    CHECK_EQ(op(NULL, OP_PIPE).since, 6u << 16 | 16);
    CHECK_EQ(op(NULL, OP_FTRUNCATE).since, 6u << 16 | 9);
    CHECK_STR(op(NULL, OP_FTRUNCATE).functions, "aio_submit_ftruncate");
}

/* An entry of any opcode that the kernel takes or refuses by itself. */
struct entry {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data, rest[3];
};

static aio_op_id submit_entry(aio_ctx *ctx, const struct entry *entry, struct call *call) {
    return aio_submit_raw(ctx, (const struct io_uring_sqe *)(const void *)entry, NULL, on_call,
                          call);
}

TEST(superseded_operations_are_reached_through_raw_on_a_ring) {
    aio_ctx *ctx = ring_or_skip();
    const int64_t time[2] = {0, 1000};
    struct call timeout = {0}, remove = {0}, provide = {0};
    char buffers[2][16];
    CHECK_EQ(op(ctx, OP_TIMEOUT).status, AIO_PROBE_SUPERSEDED);
    CHECK(strstr(op(ctx, OP_TIMEOUT).text, "aio_submit_timer") != NULL);
    CHECK(strstr(op(ctx, OP_PROVIDE_BUFFERS).text, "aio_buffer_pool_create") != NULL);
    ID(submit_entry(ctx, &(struct entry){.opcode = OP_TIMEOUT, .addr = (uintptr_t)time, .len = 1},
                    &timeout));
    CHECK_EQ(await_call(ctx, &timeout), -ETIME);
    ID(submit_entry(ctx, &(struct entry){.opcode = OP_POLL_REMOVE, .addr = 12345}, &remove));
    CHECK_EQ(await_call(ctx, &remove), -ENOENT);
    ID(submit_entry(ctx,
                    &(struct entry){.opcode = OP_PROVIDE_BUFFERS,
                                    .fd = 2,
                                    .addr = (uintptr_t)buffers,
                                    .len = sizeof buffers[0]},
                    &provide));
    CHECK_EQ(await_call(ctx, &provide), 0);
    end_ctx(ctx);
}

/* Those with neither another opcode nor a plain call for a ring that lacks theirs. */
TEST(operations_are_refused_where_a_ring_of_the_kernel_lacks_them_and_taken_elsewhere) {
    enum { WAITID = 50, FUTEX_WAIT_OP = 51, FUTEX_WAITV = 53, INSTALL = 54, EPOLL_WAIT = 59 };
    static const uint32_t opcodes[] = {WAITID, FUTEX_WAIT_OP, FUTEX_WAITV, INSTALL, EPOLL_WAIT};
    aio_ctx *ctx = ring_or_skip();
    uint32_t word = 0;
    const struct futex_waitv waits = {.uaddr = (uintptr_t)&word, .flags = FUTEX_32};
    struct epoll_event event;
    siginfo_t info;
    struct call calls[COUNT_OF(opcodes)] = {0};
    const int set = SYS(epoll_create1(EPOLL_CLOEXEC));
    const aio_files_options table = {.size = sizeof table, .count = 1};
    CHECK_EQ(aio_files_register(ctx, &table), 0);
    CHECK_EQ(aio_files_update(ctx, 0, &set, 1), 1);
    const aio_op_id ids[] = {
        aio_submit_waitid(ctx, P_PID, (uint32_t)getpid(), &info, WEXITED, NULL, on_call, &calls[0]),
        aio_submit_futex_wait(ctx, &word, 0, UINT32_MAX, FUTEX_32, NULL, on_call, &calls[1]),
        aio_submit_futex_waitv(ctx, &waits, 1, NULL, on_call, &calls[2]),
        aio_submit_files_install(ctx, 0, NULL, on_call, &calls[3]),
        aio_submit_epoll_wait(ctx, set, &event, 1, NULL, on_call, &calls[4]),
    };
    CHECK_GE(aio_ctx_cancel_all(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT_OF(opcodes); i++) {
        const aio_probe_result result = op(ctx, opcodes[i]);
        const bool lacks = result.status != AIO_PROBE_YES;
        CHECK(!lacks || info_of(ctx).kernel_version < result.since);
        CHECK_EQ(result.status, lacks ? AIO_PROBE_NO : AIO_PROBE_YES);
        CHECK_EQ(result.reason, lacks ? AIO_REASON_KERNEL : AIO_REASON_NONE);
        if (lacks)
            CHECK_EQ(ids[i], -EOPNOTSUPP);
        else
            ID(ids[i]);
        CHECK_EQ(calls[i].finals, !lacks);
    }
    if (calls[3].finals && calls[3].result >= 0)
        close(calls[3].result);
    close(set);
    end_ctx(ctx);
}

/* A status is a promise: no is -EOPNOTSUPP at submit, whatever the arguments. */
static void check_promises(aio_ctx *ctx) {
    for (uint32_t opcode = 0; opcode < OPERATIONS; opcode++) {
        const aio_probe_result result = op(ctx, opcode);
        const struct entry entry = {.opcode = (uint8_t)opcode, .fd = -1};
        struct call call = {0};
        const bool never = result.status == AIO_PROBE_NO || result.status == AIO_PROBE_SUPERSEDED;
        if (opcode == OP_ASYNC_CANCEL || has_ring(ctx) || !never)
            continue;
        CHECK_EQ(submit_entry(ctx, &entry, &call), -EOPNOTSUPP);
    }
}

TEST(epoll_says_that_it_was_asked_for_and_how_it_does_things) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL));
    const aio_probe_info info = info_of(ctx);
    CHECK_EQ(info.backend, AIO_BACKEND_EPOLL);
    CHECK_EQ(info.reason, AIO_REASON_ASKED);
    CHECK_EQ(info.error, 0);
    const aio_probe_result nop = op(ctx, OP_NOP);
    CHECK_EQ(nop.status, AIO_PROBE_EMULATED);
    CHECK_EQ(nop.reason, AIO_REASON_ASKED);
    CHECK(strstr(nop.text, "a plain call") != NULL);
    CHECK_EQ(op(ctx, OP_ASYNC_CANCEL).status, AIO_PROBE_EMULATED);
    CHECK_EQ(op(ctx, OP_TIMEOUT).status, AIO_PROBE_SUPERSEDED);
    CHECK_EQ(facility(ctx, AIO_FACILITY_MULTISHOT_ACCEPT).status, AIO_PROBE_EMULATED);
    CHECK_EQ(facility(ctx, AIO_FACILITY_SQPOLL).status, AIO_PROBE_NO);
    CHECK_EQ(facility(ctx, AIO_FACILITY_SQPOLL).reason, AIO_REASON_ASKED);
    check_promises(ctx);
    end_ctx(ctx);
}

TEST(without_a_context_the_answer_is_that_of_a_default_one) {
    static const char *const backends[] = {NULL, "epoll"};
    for (int i = 0; i < COUNT_OF(backends); i++) {
        backend_of_environment(backends[i]);
        aio_ctx *ctx = make_ctx();
        const int before = open_descriptors();
        CHECK_EQ(info_of(NULL).backend, info_of(ctx).backend);
        CHECK_EQ(info_of(NULL).reason, info_of(ctx).reason);
        for (uint32_t opcode = 0; opcode < OPERATIONS; opcode++) {
            const aio_probe_result with = op(ctx, opcode), without = op(NULL, opcode);
            CHECK_MEM(&with, &without, sizeof with);
        }
        for (uint32_t number = 0; number < FACILITIES; number++) {
            const aio_probe_result with = facility(ctx, number), without = facility(NULL, number);
            CHECK_MEM(&with, &without, sizeof with);
        }
        CHECK_EQ(open_descriptors(), before);
        end_ctx(ctx);
    }
}

static void *probe_elsewhere(void *arg) {
    CHECK_STR(op(arg, OP_NOP).name, "nop");
    CHECK_EQ(info_of(arg).operations, OPERATIONS);
    return NULL;
}

TEST(any_thread_may_ask_and_adopts_nothing) {
    aio_ctx *ctx = make_ctx();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, probe_elsewhere, ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    end_ctx(ctx);
}

TEST(bad_questions_are_errors) {
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe(NULL, NULL), -EINVAL);
    CHECK_EQ(aio_probe_op(NULL, 0, NULL), -EINVAL);
    CHECK_EQ(aio_probe_op(NULL, OPERATIONS, &result), -ENOENT);
    CHECK_EQ(aio_probe_op(NULL, UINT32_MAX, &result), -ENOENT);
    CHECK_EQ(aio_probe_facility(NULL, FACILITIES, &result), -ENOENT);
    CHECK_EQ(result.size, sizeof result);
    result.size = 3;
    CHECK_EQ(aio_probe_op(NULL, 0, &result), -EINVAL);
    aio_probe_result first = {.size = offsetof(aio_probe_result, reason), .reason = 77};
    CHECK_EQ(aio_probe_op(NULL, OP_TIMEOUT, &first), 0);
    CHECK_EQ(first.size, offsetof(aio_probe_result, reason));
    CHECK_EQ(first.status, AIO_PROBE_SUPERSEDED);
    CHECK_EQ(first.reason, 77);
    backend_of_environment("kqueue");
    CHECK_EQ(aio_probe(NULL, &(aio_probe_info){.size = sizeof(aio_probe_info)}), -EINVAL);
}

static void ask_in_a_child(void *arg) {
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe_op(arg, 0, &result), AIO_EFORKED);
    CHECK_STR(op(NULL, OP_NOP).name, "nop");
}

TEST(a_forked_copy_cannot_be_asked) {
    aio_ctx *ctx = make_ctx();
    if (has_ring(ctx))
        beyond_valgrind("stumbles over new mappings where fork left old ones out");
    CHECK_EQ(end_child(start_child(ask_in_a_child, ctx)), 0);
    end_ctx(ctx);
}

/* --- why not --------------------------------------------------------------------------------- */

static void check_all_blame(const aio_ctx *ctx, uint32_t reason, int32_t error, const char *word) {
    const aio_probe_info info = info_of(ctx);
    CHECK_EQ(info.backend, AIO_BACKEND_EPOLL);
    CHECK_EQ(info.reason, reason);
    CHECK_EQ(info.error, error);
    CHECK(strstr(info.text, word) != NULL);
    for (uint32_t opcode = 0; opcode < OPERATIONS; opcode++) {
        const aio_probe_result result = op(ctx, opcode);
        CHECK_NE(result.status, AIO_PROBE_YES);
        if (result.status == AIO_PROBE_SUPERSEDED)
            continue;
        CHECK_EQ(result.reason, reason);
        CHECK_EQ(result.error, error);
        CHECK(strncmp(result.text, word, strlen(word)) == 0);
    }
    CHECK_EQ(facility(ctx, AIO_FACILITY_NAPI).status, AIO_PROBE_NO);
    CHECK_EQ(facility(ctx, AIO_FACILITY_NAPI).reason, reason);
}

static void check_filter_is_blamed(unsigned call, unsigned error) {
    aio_ctx *before = ring_or_skip(); /* a ring that there is stays */
    backend_of_environment(NULL);
    forbid_call(call, error);
    aio_ctx *ctx = make_ctx();
    check_all_blame(ctx, AIO_REASON_SECCOMP, -(int32_t)error, "seccomp");
    check_all_blame(NULL, AIO_REASON_SECCOMP, -(int32_t)error, "seccomp");
    CHECK_EQ(op(before, OP_NOP).status, AIO_PROBE_YES);
    end_ctx(ctx);
    end_ctx(before);
}

TEST(a_filter_that_says_eperm_is_blamed) { check_filter_is_blamed(SYS_io_uring_setup, EPERM); }
TEST(a_filter_that_says_enosys_is_blamed) { check_filter_is_blamed(SYS_io_uring_setup, ENOSYS); }
TEST(a_filter_on_enter_alone_is_blamed) { check_filter_is_blamed(SYS_io_uring_enter, EACCES); }

TEST(a_filter_put_on_later_makes_facilities_say_so) {
    aio_ctx *ctx = ring_or_skip();
    forbid_call(SYS_io_uring_setup, EPERM);
    const aio_probe_result napi = facility(ctx, AIO_FACILITY_NAPI);
    CHECK_EQ(napi.status, AIO_PROBE_NO);
    CHECK_EQ(napi.reason, AIO_REASON_SECCOMP);
    CHECK_EQ(napi.error, -EPERM);
    end_ctx(ctx);
}

TEST(a_lack_of_descriptors_is_blamed) {
    beyond_valgrind("keeps the limit to itself");
    aio_ctx *ctx = ring_or_skip();
    backend_of_environment(NULL);
    const int next = SYS(dup(0));
    SYS(close(next));
    struct rlimit old;
    SYS(getrlimit(RLIMIT_NOFILE, &old));
    SYS(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, old.rlim_max}));
    const aio_probe_info info = info_of(NULL);
    CHECK_EQ(info.reason, AIO_REASON_LIMIT);
    CHECK_EQ(info.error, -EMFILE);
    const aio_probe_result clock = facility(ctx, AIO_FACILITY_CLOCK);
    CHECK_EQ(clock.reason, AIO_REASON_LIMIT);
    CHECK_EQ(op(ctx, OP_NOP).status, AIO_PROBE_YES);
    SYS(setrlimit(RLIMIT_NOFILE, &old));
    end_ctx(ctx);
}

/* --- facilities ------------------------------------------------------------------------------ */

TEST(facilities_are_yes_or_say_why_not) {
    aio_ctx *ctx = ring_or_skip();
    const uint32_t version = info_of(ctx).kernel_version;
    for (uint32_t number = 0; number < FACILITIES; number++) {
        const aio_probe_result result = facility(ctx, number);
        CHECK(*result.name != 0);
        CHECK(*result.text != 0);
        CHECK(*result.functions != 0);
        if (result.reason == AIO_REASON_HARDWARE)
            continue;
        if (number == AIO_FACILITY_ZERO_COPY_RECV && result.reason == AIO_REASON_PERMISSION)
            continue; /* interfaces do not answer everybody */
        if (version < result.since)
            CHECK_EQ(result.reason, AIO_REASON_KERNEL);
        CHECK_EQ(result.status == AIO_PROBE_YES, result.reason == AIO_REASON_NONE);
        if (version >= (6u << 16 | 16) && result.status != AIO_PROBE_YES)
            FAIL("%s: %s", result.name, result.text);
    }
    end_ctx(ctx);
}

TEST(polled_storage_is_a_matter_of_hardware) {
    aio_ctx *ctx = ring_or_skip();
    const bool polled = system("grep -qs 1 /sys/block/*/queue/io_poll") == 0;
    const aio_probe_result result = facility(ctx, AIO_FACILITY_IOPOLL);
    CHECK_EQ(result.status, polled ? AIO_PROBE_YES : AIO_PROBE_NO);
    CHECK_EQ(result.reason, polled ? AIO_REASON_NONE : AIO_REASON_HARDWARE);
    end_ctx(ctx);
}

/* --- the program ----------------------------------------------------------------------------- */

static int run_program(const char *argument, char *out, size_t size) {
    int fds[2];
    if (access(AIO_PROBE_PROGRAM, X_OK) != 0)
        SKIP("no aio-probe beside the tests");
    make_pipe(fds);
    const pid_t pid = SYS(fork());
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        execl(AIO_PROBE_PROGRAM, "aio-probe", argument, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    size_t len = 0;
    for (ssize_t got; len < size - 1 && (got = read(fds[0], out + len, size - 1 - len)) > 0;)
        len += (size_t)got;
    out[len] = 0;
    close(fds[0]);
    int status;
    SYS(waitpid(pid, &status, 0));
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int count_of(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static char output[65536];

TEST(the_program_prints_a_table) {
    CHECK_EQ(run_program(NULL, output, sizeof output), 0);
    CHECK(strstr(output, "operations") != NULL);
    CHECK(strstr(output, "62 pipe") != NULL);
    CHECK_GE(count_of(output, "\n"), OPERATIONS + FACILITIES);
    CHECK_EQ(run_program("--yaml", output, sizeof output), 2);
    CHECK_STR(output, "");
}

TEST(the_program_says_why_under_a_filter) {
    end_ctx(ring_or_skip());
    backend_of_environment(NULL);
    forbid_call(SYS_io_uring_setup, EPERM);
    CHECK_EQ(run_program("--json", output, sizeof output), 0);
    CHECK(strstr(output, "\"backend\": \"epoll\"") != NULL);
    CHECK(strstr(output, "\"reason\": \"seccomp: io_uring is refused; EPERM\"") != NULL);
    CHECK(strstr(output, "\"name\": \"nop\", \"opcode\": 0, \"status\": \"emulated\", "
                         "\"since\": \"5.1\", \"functions\": \"aio_submit_nop\", \"reason\": "
                         "\"seccomp: io_uring is refused; EPERM; ") != NULL);
    CHECK_EQ(count_of(output, "\"status\": \"yes\""), 0);
}

HARNESS_MAIN
