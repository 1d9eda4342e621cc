/* Section notifier: signals are counted, told together, wake whoever waits, and are never lost. */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>

static aio_notifier *make_notifier(void) {
    aio_notifier *notifier = NULL;
    CHECK_EQ(aio_notifier_create(&notifier), 0);
    CHECK(notifier != NULL);
    return notifier;
}

static void signal_times(aio_notifier *notifier, int times) {
    for (int i = 0; i < times; i++)
        CHECK_EQ(aio_notifier_signal(notifier), 0);
}

static pthread_t start_thread(void *(*body)(void *arg), void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

TEST(signals_before_a_wait_are_counted) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    signal_times(notifier, 3);
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    CHECK_EQ(call.calls, 0); /* never inside the submit call */
    signal_times(notifier, 4);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.result, 7);
    CHECK_EQ(call.flags, 0);
    CHECK_EQ(call.bytes, 7);
    call = (struct call){0};
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    check_blocked(ctx, &call); /* they were told */
    signal_times(notifier, 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

static void *signal_soon(void *arg) {
    sleep_ms(20);
    signal_times(arg, 1);
    return NULL;
}

TEST(a_signal_wakes_a_sleeping_context) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    for (int i = 0; i < 5; i++) { /* the first wake-up is a special one */
        struct call call = {0};
        ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
        const pthread_t thread = start_thread(signal_soon, notifier);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(call.result, 1);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

struct signaller {
    aio_notifier *notifier;
    int times;
    bool yields;
};

static void *signal_often(void *arg) {
    const struct signaller *signaller = arg;
    for (int i = 0; i < signaller->times; i++) {
        signal_times(signaller->notifier, 1);
        if (signaller->yields && i % 7 == 0)
            sched_yield();
    }
    return NULL;
}

TEST(several_threads_signal_and_every_signal_is_told_once) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    struct signaller signallers[3];
    pthread_t threads[3];
    const int times = scaled(20000);
    const aio_op_id id =
        ID(aio_submit_notifier_wait_multishot(ctx, notifier, NULL, on_call, &call));
    for (int i = 0; i < 3; i++) {
        signallers[i] = (struct signaller){notifier, times, i != 0};
        threads[i] = start_thread(signal_often, &signallers[i]);
    }
    RUN_UNTIL(ctx, call.sum >= 3 * times);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    check_blocked(ctx, &(struct call){0});
    CHECK_EQ(call.sum, 3 * times);
    CHECK_EQ(call.finals, 0);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

/* One message, and one callback, for all that come while the context is busy. */
TEST(a_burst_is_told_once) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    ID(aio_submit_notifier_wait_multishot(ctx, notifier, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    struct signaller signaller = {notifier, 1000, false};
    CHECK_EQ(pthread_join(start_thread(signal_often, &signaller), NULL), 0);
    RUN_UNTIL(ctx, call.calls);
    CHECK_EQ(call.result, 1000);
    CHECK_EQ(stats_of(ctx).callbacks, 1);
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

static void nothing(void *arg) { (void)arg; }

/* What was written to this process's eventfds and not read: each write is a system call of somebody
 * who wakes a context. */
static uint64_t unread_wakes(void) {
    uint64_t sum = 0;
    char path[64], line[256];
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file))
            if (!strncmp(line, "eventfd-count:", 14))
                sum += strtoull(line + 14, NULL, 16);
        if (file)
            fclose(file);
    }
    return sum;
}

struct burst {
    aio_ctx *ctx;
    aio_notifier *notifier;
    aio_channel *channel;
};

static void *send_a_burst(void *arg) {
    const struct burst *burst = arg;
    const uint64_t record = 1;
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(aio_notifier_signal(burst->notifier), 0);
        CHECK_EQ(aio_channel_send(burst->channel, &record), 0);
        CHECK_EQ(aio_ctx_post(burst->ctx, nothing, NULL), 0);
    }
    return NULL;
}

TEST(a_burst_wakes_a_sleeping_context_once) {
    struct burst burst = {.ctx = make_ctx(), .notifier = make_notifier()};
    struct call wait = {0}, receive = {0};
    uint64_t records[128];
    CHECK_EQ(aio_channel_create(NULL, &burst.channel), 0);
    ID(aio_submit_notifier_wait_multishot(burst.ctx, burst.notifier, NULL, on_call, &wait));
    ID(aio_submit_channel_receive_multishot(burst.ctx, burst.channel, records, 128, NULL, on_call,
                                            &receive));
    /* The first thread ever that wakes a context does so in any case, in each of its loops. */
    CHECK_EQ(pthread_join(start_thread(send_a_burst, &burst), NULL), 0);
    RUN_UNTIL(burst.ctx, wait.sum == 100 && receive.sum == 100);
    CHECK_GE(aio_ctx_fd(burst.ctx), 0); /* from here on it sleeps in a loop of the test's own */
    for (int round = 2; round <= 6; round++) {
        int32_t status;
        while ((status = aio_ctx_flush(burst.ctx)) == 1)
            CHECK_GE(aio_ctx_run_once(burst.ctx, 0), 0);
        CHECK_EQ(status, 0);
        const uint64_t before = unread_wakes();
        CHECK_EQ(pthread_join(start_thread(send_a_burst, &burst), NULL), 0);
        CHECK_EQ(unread_wakes() - before, 1);
        RUN_UNTIL(burst.ctx, wait.sum == 100 * round && receive.sum == 100 * round);
        CHECK_EQ(wait.calls, round);
        CHECK_EQ(receive.calls, round);
    }
    end_ctx(burst.ctx);
    CHECK_EQ(aio_notifier_destroy(burst.notifier), 0);
    CHECK_EQ(aio_channel_destroy(burst.channel), 0);
}

static void wait_again(struct call *call) {
    call->then = NULL;
    ID(aio_submit_notifier_wait(call->ctx, call->arg, NULL, on_call, call));
}

TEST(one_operation_waits_at_a_time) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {.then = wait_again, .arg = notifier};
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    CHECK_EQ(aio_submit_notifier_wait(ctx, notifier, NULL, on_call_never, NULL), -EBUSY);
    CHECK_EQ(aio_submit_notifier_wait_multishot(other, notifier, NULL, on_call_never, NULL),
             -EBUSY);
    signal_times(notifier, 1);
    RUN_UNTIL(ctx, call.calls == 1); /* its callback waits again: it has ended before */
    CHECK_EQ(aio_submit_notifier_wait(other, notifier, NULL, on_call_never, NULL), -EBUSY);
    call.finals = 0;
    signal_times(notifier, 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    call = (struct call){0};
    ID(aio_submit_notifier_wait(other, notifier, NULL, on_call, &call));
    signal_times(notifier, 1);
    CHECK_EQ(await_call(other, &call), 1);
    end_ctx(ctx);
    end_ctx(other);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

TEST(a_wait_that_is_given_up_takes_no_signal) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0}, next = {0};
    const aio_op_id id = ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    signal_times(notifier, 2);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0); /* before the turn that would have told it */
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    ID(aio_submit_notifier_wait(ctx, notifier, WITH(.timeout_ns = HOUR), on_call, &next));
    CHECK_EQ(await_call(ctx, &next), 2);
    next = (struct call){0};
    const aio_op_id waited = ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call_never, NULL));
    signal_times(notifier, 1);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, waited), 0);
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &next));
    CHECK_EQ(await_call(ctx, &next), 1);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

TEST(destroy_tells_what_was_sent_and_then_the_end) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    ID(aio_submit_notifier_wait_multishot(ctx, notifier, NULL, on_call, &call));
    signal_times(notifier, 2);
    CHECK_EQ(aio_notifier_destroy(notifier), 0); /* the operation keeps it */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.first, 2);
    CHECK_EQ(call.first_flags, AIO_CQE_MORE);
    CHECK_EQ(call.result, AIO_ECLOSED);
    CHECK_EQ(call.flags, 0);
    end_ctx(ctx);
}

TEST(a_reference_outlives_destroy) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    CHECK_EQ(aio_notifier_ref(notifier), 0);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
    CHECK_EQ(aio_notifier_signal(notifier), AIO_ECLOSED);
    CHECK_EQ(DO(ctx, call, aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call)),
             AIO_ECLOSED);
    aio_notifier_unref(notifier);
    end_ctx(ctx);
}

TEST(a_context_that_goes_leaves_the_notifier) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    signal_times(notifier, 1);
    ctx = make_ctx();
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call)), 1);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

static aio_notifier *of_handler;
static int handled;

static void on_signal(int number) {
    (void)number;
    const int saved = errno;
    __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
    aio_notifier_signal(of_handler);
    errno = saved;
}

static void *interrupt_main(void *arg) {
    for (int i = 0; i < scaled(2000); i++) {
        CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGUSR1), 0);
        if (i % 3 == 0)
            sched_yield();
    }
    return NULL;
}

/* The handler runs on the context's own thread, asleep, on its way to sleep, or awake. */
TEST(a_signal_handler_may_signal) {
    aio_ctx *ctx = make_ctx();
    if (has_ring(ctx))
        beyond_valgrind("sleeps on when a handler wakes a ring");
    struct call call = {0};
    pthread_t self = pthread_self();
    of_handler = make_notifier();
    SYS(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESTART},
                  NULL));
    ID(aio_submit_notifier_wait_multishot(ctx, of_handler, NULL, on_call, &call));
    const pthread_t thread = start_thread(interrupt_main, &self);
    RUN_UNTIL(ctx, call.sum >= 1 && call.sum == __atomic_load_n(&handled, __ATOMIC_RELAXED));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(raise(SIGUSR1), 0);
    RUN_UNTIL(ctx, call.sum == handled);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(of_handler), 0);
}

/* The child's copy is its own; the parent hears nothing of it. */
static void in_the_child(void *arg) {
    void **both = arg;
    CHECK_EQ(aio_notifier_signal(both[1]), 0);
    CHECK_EQ(aio_submit_notifier_wait(both[0], both[1], NULL, on_call_never, NULL), AIO_EFORKED);
    CHECK_EQ(aio_ctx_destroy(both[0]), 0);
    CHECK_EQ(aio_notifier_destroy(both[1]), 0);
}

TEST(a_forked_child_signals_its_own_copy) {
    aio_ctx *ctx = make_ctx();
    aio_notifier *notifier = make_notifier();
    struct call call = {0};
    ID(aio_submit_notifier_wait(ctx, notifier, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    void *both[] = {ctx, notifier};
    CHECK_EQ(end_child(start_child(in_the_child, both)), 0);
    check_blocked(ctx, &call);
    signal_times(notifier, 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    end_ctx(ctx);
    CHECK_EQ(aio_notifier_destroy(notifier), 0);
}

TEST(bad_arguments_are_refused) {
    CHECK_EQ(aio_notifier_create(NULL), -EINVAL);
    CHECK_EQ(aio_notifier_destroy(NULL), -EINVAL);
    CHECK_EQ(aio_notifier_ref(NULL), -EINVAL);
    CHECK_EQ(aio_notifier_signal(NULL), -EINVAL);
    aio_notifier_unref(NULL);
}

/* --- without a system call ------------------------------------------------------------------- */

/* From now on this thread dies, with its process, of any call but those for memory and its end. */
static void forbid_system_calls(void) {
#define ALLOW(name_)                                                                               \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name_, 0, 1),                                        \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(brk),
        ALLOW(mmap),
        ALLOW(munmap),
        ALLOW(mprotect),
        ALLOW(madvise),
        ALLOW(exit),
        ALLOW(rt_sigprocmask),
        ALLOW(sigaltstack),
        ALLOW(sched_yield),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    install_filter(filter, COUNT_OF(filter));
}

struct busy {
    aio_ctx *ctx;
    aio_notifier *notifier;
    aio_channel *channel;
    int posts;
    bool done;
};

static void on_post(void *arg) { ((struct busy *)arg)->posts++; }

static void *tell_the_busy_one(void *arg) {
    struct busy *busy = arg;
    const uint64_t record = 1;
    CHECK_EQ(aio_ctx_post(busy->ctx, on_post, busy), 0);
    forbid_system_calls();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(aio_ctx_post(busy->ctx, on_post, busy), 0);
        CHECK_EQ(aio_notifier_signal(busy->notifier), 0);
        CHECK_EQ(aio_channel_send(busy->channel, &record), 0);
    }
    __atomic_store_n(&busy->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Its callback lasts as long as the other thread sends. */
static void be_busy(struct call *call) {
    struct busy *busy = call->arg;
    const pthread_t thread = start_thread(tell_the_busy_one, busy);
    while (!__atomic_load_n(&busy->done, __ATOMIC_ACQUIRE))
        sched_yield();
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(an_awake_context_is_told_without_a_system_call) {
    beyond_valgrind("does not know filters for system calls");
    if (!memory_figures_are_ours())
        SKIP("a sanitizer makes system calls of its own");
    struct busy busy = {.ctx = make_ctx(), .notifier = make_notifier()};
    struct call call = {.then = be_busy, .arg = &busy}, wait = {0}, receive = {0};
    uint64_t records[128];
    CHECK_EQ(aio_channel_create(NULL, &busy.channel), 0);
    ID(aio_submit_notifier_wait(busy.ctx, busy.notifier, NULL, on_call, &wait));
    ID(aio_submit_channel_receive(busy.ctx, busy.channel, records, 128, NULL, on_call, &receive));
    ID(aio_submit_nop(busy.ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(busy.ctx), 0);
    CHECK_EQ(wait.result, 100);
    CHECK_EQ(receive.result, 100);
    CHECK_EQ(busy.posts, 101);
    end_ctx(busy.ctx);
    CHECK_EQ(aio_notifier_destroy(busy.notifier), 0);
    CHECK_EQ(aio_channel_destroy(busy.channel), 0);
}

HARNESS_MAIN
