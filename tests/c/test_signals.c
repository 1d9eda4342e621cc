/* Waiting for signals: what is told, to whom, and that the program's own handlers stay as they
 * are. Every test runs in a process of its own, whose signals it may use as it likes. */
#include "harness.h"

#include <dlfcn.h>
#include <sys/wait.h>

#define QUEUED (SIGRTMIN + 1)

static aio_op_id wait_for(aio_ctx *ctx, int signo, struct call *call) {
    return ID(aio_submit_signal(ctx, signo, NULL, on_call, call));
}

static void end_wait(aio_ctx *ctx, aio_op_id id, struct call *call) {
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, call), -ECANCELED);
}

static struct sigaction action_of(int signo) {
    struct sigaction action;
    SYS(sigaction(signo, NULL, &action));
    return action;
}

/* What callbacks were told beside their results. */
static struct {
    int count;
    siginfo_t infos[256];
} told;

static void note_info(struct call *call) {
    siginfo_t info;
    if (call->result < 0)
        return;
    CHECK_EQ(aio_ctx_current_signal(call->ctx, &info), 0);
    CHECK_LT(told.count, COUNT_OF(told.infos));
    told.infos[told.count++] = info;
}

static void queue_value(int value) {
    SYS(sigqueue(getpid(), QUEUED, (union sigval){.sival_int = value}));
}

/* --- what is told ---------------------------------------------------------------------------- */

TEST(a_signal_is_told_with_its_sender) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_info};
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    SYS(kill(getpid(), SIGUSR1));
    CHECK_EQ(call.calls, 0);
    RUN_UNTIL(ctx, call.calls == 1);
    CHECK_EQ(call.result, 1);
    CHECK_EQ(call.flags, AIO_CQE_MORE);
    CHECK_EQ(told.infos[0].si_signo, SIGUSR1);
    CHECK_EQ(told.infos[0].si_code, SI_USER);
    CHECK_EQ(told.infos[0].si_pid, getpid());
    CHECK_EQ(told.infos[0].si_uid, getuid());
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

TEST(queued_signals_come_one_by_one_with_their_values) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_info};
    const aio_op_id id = wait_for(ctx, QUEUED, &call);
    for (int i = 0; i < 20; i++)
        queue_value(100 + i);
    RUN_UNTIL(ctx, call.calls == 20);
    CHECK_EQ(call.sum, 20);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(told.infos[i].si_code, SI_QUEUE);
        CHECK_EQ(told.infos[i].si_value.sival_int, 100 + i);
    }
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

TEST(deliveries_that_are_too_many_are_merged_and_counted) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_info};
    const aio_op_id id = wait_for(ctx, QUEUED, &call);
    for (int i = 0; i < 1000; i++)
        queue_value(i);
    RUN_UNTIL(ctx, call.sum == 1000);
    CHECK_EQ(call.calls, 32);
    CHECK_EQ(call.first, 1000 - 31);
    for (int i = 0; i < 32; i++) /* the newest of each */
        CHECK_EQ(told.infos[i].si_value.sival_int, 968 + i);
    queue_value(7);
    RUN_UNTIL(ctx, call.calls == 33);
    CHECK_EQ(call.result, 1);
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

TEST(the_end_of_a_child_says_which_and_how) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_info};
    const aio_op_id id = wait_for(ctx, SIGCHLD, &call);
    const pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(7);
    RUN_UNTIL(ctx, call.calls == 1);
    CHECK_EQ(told.infos[0].si_code, CLD_EXITED);
    CHECK_EQ(told.infos[0].si_pid, pid);
    CHECK_EQ(told.infos[0].si_status, 7);
    CHECK_EQ(end_child(pid), 7); /* it was left for its owner */
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

TEST(a_record_says_who_sent_it) {
    aio_ctx *ctx = make_ctx();
    aio_completion record = {0};
    const aio_op_id id = ID(aio_submit_signal(ctx, QUEUED, NULL, AIO_CALLBACK_REAP, ctx));
    queue_value(1);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
    CHECK_EQ(record.id, id);
    CHECK_EQ(record.result, 1);
    CHECK_EQ(record.flags, AIO_CQE_MORE);
    CHECK_EQ(record.extra & UINT32_MAX, getpid());
    CHECK_EQ((int32_t)(record.extra >> 32), SI_QUEUE);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
    CHECK_EQ(record.result, -ECANCELED);
    end_ctx(ctx);
}

static void ask_in_a_callback(struct call *call) {
    siginfo_t info;
    CHECK_EQ(aio_ctx_current_signal(call->ctx, &info), -ENOENT);
    CHECK_EQ(aio_ctx_current_signal(call->ctx, NULL), -EINVAL);
}

TEST(there_is_nothing_to_tell_in_other_callbacks) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = ask_in_a_callback};
    siginfo_t info;
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    CHECK_EQ(aio_ctx_current_signal(ctx, &info), -ENOENT);
    CHECK_EQ(aio_ctx_current_signal(NULL, &info), -EINVAL);
    end_ctx(ctx);
}

TEST(what_came_before_a_cancel_is_told_first) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_op_id id = wait_for(ctx, SIGTERM, &call);
    raise(SIGTERM);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.first, 1);
    end_ctx(ctx);
}

TEST(what_came_before_the_wait_is_not_told) {
    aio_ctx *ctx = make_ctx();
    struct call first = {0}, second = {0};
    const aio_op_id id = wait_for(ctx, SIGUSR1, &first);
    raise(SIGUSR1);
    const aio_op_id later = wait_for(ctx, SIGUSR1, &second);
    RUN_UNTIL(ctx, first.calls == 1);
    run_for_ms(ctx, 10);
    CHECK_EQ(second.calls, 0);
    end_wait(ctx, later, &second);
    end_wait(ctx, id, &first);
    end_ctx(ctx);
}

TEST(an_idle_deadline_starts_anew_with_each_signal) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const uint64_t start = now_ns();
    ID(aio_submit_signal(ctx, SIGUSR1,
                         WITH(.flags = AIO_SUBMIT_TIMEOUT_IDLE, .timeout_ns = 200 * MS), on_call,
                         &call));
    run_for_ms(ctx, 50);
    raise(SIGUSR1);
    CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    CHECK_GE(call.at_ns - start, 250 * MS);
    end_ctx(ctx);
}

/* --- to whom --------------------------------------------------------------------------------- */

TEST(every_operation_that_waits_is_told) {
    aio_ctx *ctx = make_ctx();
    struct call calls[3] = {0};
    aio_op_id ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = wait_for(ctx, i < 2 ? SIGUSR1 : SIGUSR2, &calls[i]);
    raise(SIGUSR1);
    RUN_UNTIL(ctx, calls[0].calls == 1 && calls[1].calls == 1);
    end_wait(ctx, ids[0], &calls[0]);
    raise(SIGUSR1);
    raise(SIGUSR2);
    RUN_UNTIL(ctx, calls[1].calls == 2 && calls[2].calls == 1);
    CHECK_EQ(calls[0].calls, 2); /* its one signal and its end */
    for (int i = 1; i < 3; i++)
        end_wait(ctx, ids[i], &calls[i]);
    end_ctx(ctx);
}

struct waiter {
    pthread_t thread;
    pthread_barrier_t *start;
    struct call call;
};

static void *wait_on_a_thread(void *arg) {
    struct waiter *waiter = arg;
    aio_ctx *ctx = make_ctx();
    wait_for(ctx, SIGUSR1, &waiter->call);
    pthread_barrier_wait(waiter->start);
    RUN_UNTIL(ctx, waiter->call.calls == 1);
    end_ctx(ctx); /* in flight */
    CHECK_EQ(waiter->call.result, -ECANCELED);
    CHECK_EQ(waiter->call.flags, AIO_CQE_ABORTED);
    return NULL;
}

TEST(every_context_that_waits_is_told_and_wakes) {
    struct waiter waiters[4] = {0};
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, COUNT_OF(waiters) + 1);
    for (int i = 0; i < COUNT_OF(waiters); i++) {
        waiters[i].start = &start;
        CHECK_EQ(pthread_create(&waiters[i].thread, NULL, wait_on_a_thread, &waiters[i]), 0);
    }
    pthread_barrier_wait(&start);
    sleep_ms(20); /* most of them sleep */
    SYS(kill(getpid(), SIGUSR1));
    for (int i = 0; i < COUNT_OF(waiters); i++) {
        CHECK_EQ(pthread_join(waiters[i].thread, NULL), 0);
        CHECK_EQ(waiters[i].call.calls, 2);
        CHECK_EQ(waiters[i].call.first, 1);
    }
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
    pthread_barrier_destroy(&start);
}

static void *signal_itself(void *arg) {
    (void)arg;
    errno = 1234;
    raise(SIGUSR1);
    CHECK_EQ(errno, 1234);
    return NULL;
}

TEST(a_signal_of_one_thread_is_told_and_leaves_its_errno) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    pthread_t thread;
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    CHECK_EQ(pthread_create(&thread, NULL, signal_itself, NULL), 0);
    RUN_UNTIL(ctx, call.calls == 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

TEST(a_blocked_signal_comes_when_it_is_let_through) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    SYS(kill(getpid(), SIGUSR1));
    run_for_ms(ctx, 10);
    CHECK_EQ(call.calls, 0);
    SYS(sigprocmask(SIG_UNBLOCK, &set, NULL));
    RUN_UNTIL(ctx, call.calls == 1);
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

/* --- the program's own handlers -------------------------------------------------------------- */

static struct {
    volatile sig_atomic_t calls, value, masks_are_right;
} own;

/* A signal to the process may come a moment later, where there are other threads. */
static void await_handled(int calls) {
    const uint64_t limit_ns = patience_end_ns();
    while (own.calls < calls && now_ns() < limit_ns)
        sleep_ms(1);
    CHECK_EQ(own.calls, calls);
}

static bool is_blocked(int signo) {
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    return sigismember(&set, signo);
}

static void own_handler(int signo, siginfo_t *info, void *context) {
    (void)context;
    own.calls++;
    own.value = info->si_value.sival_int;
    own.masks_are_right =
        is_blocked(signo) && is_blocked(SIGUSR2) && is_blocked(SIGHUP) && !is_blocked(SIGTERM);
}

TEST(a_handler_of_the_programs_is_called_and_comes_back) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    struct sigaction action = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaddset(&action.sa_mask, SIGUSR2);
    SYS(sigaction(QUEUED, &action, NULL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    const aio_op_id id = wait_for(ctx, QUEUED, &call);
    CHECK(action_of(QUEUED).sa_sigaction != own_handler);
    queue_value(77);
    await_handled(1); /* without a turn */
    CHECK_EQ(own.value, 77);
    CHECK_EQ(own.masks_are_right, 1);
    CHECK(!is_blocked(QUEUED) && !is_blocked(SIGUSR2) && is_blocked(SIGHUP));
    RUN_UNTIL(ctx, call.calls == 1);
    end_wait(ctx, id, &call);
    const struct sigaction after = action_of(QUEUED);
    CHECK(after.sa_sigaction == own_handler);
    CHECK_EQ(after.sa_flags & ~0x04000000, SA_SIGINFO | SA_RESTART); /* SA_RESTORER */
    CHECK(sigismember(&after.sa_mask, SIGUSR2) && !sigismember(&after.sa_mask, SIGTERM));
    queue_value(78);
    await_handled(2);
    end_ctx(ctx);
}

static volatile sig_atomic_t depth, deepest;

static void nesting_handler(int signo) {
    if (++depth > deepest)
        deepest = depth;
    if (depth < 3)
        raise(signo);
    depth--;
}

TEST(a_handler_that_may_nest_does) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const struct sigaction action = {.sa_handler = nesting_handler, .sa_flags = SA_NODEFER};
    SYS(sigaction(SIGUSR1, &action, NULL));
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    raise(SIGUSR1);
    CHECK_EQ(deepest, 3);
    RUN_UNTIL(ctx, call.sum == 3);
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

static void counting_handler(int signo) {
    (void)signo;
    own.calls++;
}

TEST(a_handler_for_once_is_called_once) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const struct sigaction action = {.sa_handler = counting_handler, .sa_flags = SA_RESETHAND};
    SYS(sigaction(SIGUSR1, &action, NULL));
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK_EQ(own.calls, 1);
    RUN_UNTIL(ctx, call.sum == 2);
    end_wait(ctx, id, &call);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
    end_ctx(ctx);
}

TEST(what_is_ignored_is_told_and_ignored_again) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    signal(SIGHUP, SIG_IGN);
    const aio_op_id id = wait_for(ctx, SIGHUP, &call);
    raise(SIGHUP);
    RUN_UNTIL(ctx, call.calls == 1);
    end_wait(ctx, id, &call);
    CHECK(action_of(SIGHUP).sa_handler == SIG_IGN);
    raise(SIGHUP);
    end_ctx(ctx);
}

TEST(children_that_nobody_waits_for_still_leave_no_zombie) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    signal(SIGCHLD, SIG_IGN);
    wait_for(ctx, SIGCHLD, &call);
    const pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(0);
    CHECK_EQ(waitpid(pid, NULL, 0), -1); /* until it is gone */
    CHECK_EQ(errno, ECHILD);
    end_ctx(ctx);
    CHECK(action_of(SIGCHLD).sa_handler == SIG_IGN);
}

static struct sigaction below;

static void calling_handler(int signo, siginfo_t *info, void *context) {
    own.calls++;
    if (below.sa_flags & SA_SIGINFO)
        below.sa_sigaction(signo, info, context);
}

TEST(a_handler_put_over_it_is_left_alone) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, again = {0};
    const struct sigaction action = {.sa_sigaction = calling_handler, .sa_flags = SA_SIGINFO};
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    SYS(sigaction(SIGUSR1, &action, &below));
    raise(SIGUSR1);
    RUN_UNTIL(ctx, call.calls == 1);
    CHECK_EQ(own.calls, 1);
    end_wait(ctx, id, &call);
    CHECK(action_of(SIGUSR1).sa_sigaction == calling_handler);
    raise(SIGUSR1); /* it still calls the library's */
    CHECK_EQ(own.calls, 2);
    CHECK_EQ(aio_submit_signal(ctx, SIGUSR1, NULL, on_call_never, NULL), -EBUSY);
    SYS(sigaction(SIGUSR1, &below, NULL));
    const aio_op_id later = wait_for(ctx, SIGUSR1, &again);
    raise(SIGUSR1);
    RUN_UNTIL(ctx, again.calls == 1);
    end_wait(ctx, later, &again);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
    end_ctx(ctx);
}

/* --- what is refused ------------------------------------------------------------------------- */

TEST(signals_that_nobody_may_wait_for_are_refused) {
    aio_ctx *ctx = make_ctx();
    const struct sigaction before = action_of(SIGSEGV);
    const int refused[] = {-1,     0,      SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,       SIGILL,
                           SIGFPE, SIGSYS, SIGTRAP, 32,      33,      SIGRTMAX + 1, INT32_MAX};
    for (int i = 0; i < COUNT_OF(refused); i++)
        CHECK_EQ(aio_submit_signal(ctx, refused[i], NULL, on_call_never, NULL), -EINVAL);
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    if (info.interrupt_signal)
        CHECK_EQ(aio_submit_signal(ctx, (int)info.interrupt_signal, NULL, on_call_never, NULL),
                 -EINVAL);
    CHECK(action_of(SIGSEGV).sa_handler == before.sa_handler);
    end_ctx(ctx);
}

/* --- fork ------------------------------------------------------------------------------------ */

static void signal_oneself(void *arg) {
    (void)arg;
    raise(SIGUSR1);
    _exit(3);
}

TEST(a_forked_child_has_the_default_action_again) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    CHECK_EQ(end_child(start_child(signal_oneself, NULL)), 128 + SIGUSR1);
    run_for_ms(ctx, 10);
    CHECK_EQ(call.calls, 0); /* the child's signal is the child's */
    raise(SIGUSR1);
    RUN_UNTIL(ctx, call.calls == 1);
    end_wait(ctx, id, &call);
    end_ctx(ctx);
}

static void signal_oneself_twice(void *arg) {
    (void)arg;
    queue_value(5);
    await_handled(1);
    CHECK_EQ(own.value, 5);
    CHECK(action_of(QUEUED).sa_sigaction == own_handler);
    queue_value(6);
    await_handled(2);
    _exit(3);
}

TEST(a_forked_child_has_the_programs_handler_again) {
    aio_ctx *ctx = make_ctx();
    const struct sigaction action = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO};
    SYS(sigaction(QUEUED, &action, NULL));
    struct call call = {0};
    wait_for(ctx, QUEUED, &call);
    CHECK_EQ(end_child(start_child(signal_oneself_twice, NULL)), 3);
    end_ctx(ctx);
    CHECK_EQ(call.calls, 1);
}

static void wait_in_the_child(void *arg) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_op_id id = wait_for(ctx, SIGUSR2, &call);
    raise(SIGUSR2);
    RUN_UNTIL(ctx, call.calls == 1);
    end_wait(ctx, id, &call);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL); /* nobody waits for it here */
    CHECK_EQ(aio_ctx_destroy(arg), 0);
    end_ctx(ctx);
    _exit(5);
}

TEST(a_forked_child_waits_for_its_own) {
    aio_ctx *ctx = make_ctx();
    struct call calls[2] = {0};
    if (has_ring(ctx))
        beyond_valgrind("stumbles over new mappings where fork left old ones out");
    for (int i = 0; i < 2; i++)
        wait_for(ctx, i ? SIGUSR2 : SIGUSR1, &calls[i]);
    CHECK_EQ(end_child(start_child(wait_in_the_child, ctx)), 5);
    run_for_ms(ctx, 10);
    CHECK_EQ(calls[0].calls + calls[1].calls, 0);
    end_ctx(ctx);
}

/* --- many at once ---------------------------------------------------------------------------- */

static int stops, handled;

static void count_all(int signo) {
    (void)signo;
    __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

static void *storm(void *arg) {
    int *sent = arg;
    while (!__atomic_load_n(&stops, __ATOMIC_RELAXED)) {
        raise(SIGUSR1);
        if (++*sent % 64 == 0)
            sleep_ms(1);
    }
    return NULL;
}

TEST(a_storm_meets_contexts_that_come_and_go) {
    const struct sigaction action = {.sa_handler = count_all};
    pthread_t threads[3];
    int sent[3] = {0};
    int64_t seen = 0;
    SYS(sigaction(SIGUSR1, &action, NULL));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, storm, &sent[i]), 0);
    const int before = open_descriptors();
    const uint64_t limit_ns = patience_end_ns();
    for (int i = 0; i < scaled(200) || (seen == 0 && now_ns() < limit_ns); i++) {
        struct call call = {0};
        aio_ctx *ctx = make_ctx();
        const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
        if (i & 1)
            run_for_ms(ctx, 1);
        if (i & 2)
            CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        end_ctx(ctx);
        CHECK_EQ(call.finals, 1);
        seen += call.sum - call.result;
    }
    CHECK_EQ(open_descriptors(), before);
    __atomic_store_n(&stops, 1, __ATOMIC_RELAXED);
    int total = 0;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        total += sent[i];
    }
    CHECK_EQ(handled, total); /* each exactly once, whoever waited */
    CHECK_GT(seen, 0);
    CHECK_LE(seen, total);
    CHECK(action_of(SIGUSR1).sa_handler == count_all);
}

static __thread volatile sig_atomic_t hesitates;

/* In the place of the C library's: a thread that hesitates takes its time to set an action. */
int sigaction(int signo, const struct sigaction *set, struct sigaction *before) {
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (!next)
        next = (int (*)(int, const struct sigaction *, struct sigaction *))(uintptr_t)dlsym(
            RTLD_NEXT, "sigaction");
    if (set && hesitates) {
        hesitates++;
        sleep_ms(100);
    }
    return next(signo, set, before);
}

static void *signal_itself_late(void *arg) {
    hesitates = 1;
    raise(SIGUSR1);
    *(bool *)arg = hesitates > 1;
    return NULL;
}

/* A handler that has found nobody puts the earlier action back, when somebody else has begun to
 * wait: it took the library's handler away then, and the signal was refused from then on. */
TEST(a_handler_that_comes_late_takes_nothing_from_who_waits_next) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, next = {0};
    pthread_t thread;
    bool has_hesitated = false;
    signal(SIGUSR1, SIG_IGN);
    const aio_op_id id = wait_for(ctx, SIGUSR1, &call);
    const struct sigaction library = action_of(SIGUSR1);
    end_wait(ctx, id, &call);
    SYS(sigaction(SIGUSR1, &library, NULL)); /* as one that has begun and not looked yet */
    CHECK_EQ(pthread_create(&thread, NULL, signal_itself_late, &has_hesitated), 0);
    sleep_ms(50);
    const aio_op_id later = wait_for(ctx, SIGUSR1, &next);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(has_hesitated);
    CHECK(action_of(SIGUSR1).sa_handler == library.sa_handler);
    const int before = next.calls;
    raise(SIGUSR1);
    RUN_UNTIL(ctx, next.calls > before);
    end_wait(ctx, later, &next);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_IGN);
    end_ctx(ctx);
}

static void *wait_and_leave(void *arg) {
    aio_ctx **ctx = arg;
    *ctx = make_ctx();
    static struct call call;
    wait_for(*ctx, SIGUSR1, &call);
    return NULL;
}

TEST(an_orphans_wait_ends_where_it_is_destroyed) {
    const int before = open_descriptors();
    aio_ctx *ctx;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_leave, &ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
    CHECK_EQ(open_descriptors(), before);
}

HARNESS_MAIN
