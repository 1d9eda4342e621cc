/* Section ctx, the part on threads: post, stop, cancel, hold and stats from anywhere; adoption and
 * what the wrong thread is told; handles that outlive their context. */
#include "harness.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <poll.h>
#include <time.h>

/* A thread that does what the test says and is joined before the test ends. */
typedef void *(*thread_fn)(void *arg);

static pthread_t start_thread(thread_fn fn, void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static void join(pthread_t thread) { CHECK_EQ(pthread_join(thread, NULL), 0); }

/* --- post ------------------------------------------------------------------------------------ */

struct message {
    aio_ctx *ctx;
    pthread_t ran_on;
    int ran;
    unsigned delay_ms;
    bool release;
};

static void receive_message(void *arg) {
    struct message *message = arg;
    message->ran++;
    message->ran_on = pthread_self();
    CHECK(aio_ctx_current() == message->ctx);
    if (message->release)
        aio_ctx_release(message->ctx);
}

static void *post_message(void *arg) {
    struct message *message = arg;
    sleep_ms(message->delay_ms);
    CHECK_EQ(aio_ctx_post(message->ctx, receive_message, message), 0);
    return NULL;
}

TEST(posted_work_runs_on_the_thread_of_the_context) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_ctx_run(ctx), 0);
    struct message message = {.ctx = ctx};
    join(start_thread(post_message, &message));
    CHECK_EQ(message.ran, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* what is posted keeps run from ending */
    CHECK_EQ(message.ran, 1);
    CHECK(pthread_equal(message.ran_on, pthread_self()));
    end_ctx(ctx);
}

TEST(a_post_wakes_a_sleeping_context) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < scaled(50); i++) {
        struct message message = {.ctx = ctx, .delay_ms = (unsigned)(i % 5), .release = true};
        aio_ctx_hold(ctx);
        const pthread_t thread = start_thread(post_message, &message);
        CHECK_EQ(aio_ctx_run(ctx), 0); /* sleeps without a limit until the post */
        CHECK_EQ(message.ran, 1);
        join(thread);
    }
    end_ctx(ctx);
}

TEST(a_post_wakes_run_once_without_a_limit) {
    aio_ctx *ctx = make_ctx();
    struct call idle = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &idle));
    struct message message = {.ctx = ctx, .delay_ms = 20};
    const pthread_t thread = start_thread(post_message, &message);
    while (!message.ran)
        CHECK_GE(aio_ctx_run_once(ctx, -1), 0);
    join(thread);
    CHECK_EQ(idle.calls, 0);
    end_ctx(ctx);
}

static void note_tag(void *arg) {
    void **args = arg;
    order_note(args[0], (int)(intptr_t)args[1]);
}

TEST(posts_of_one_thread_run_in_their_order) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    void *args[100][2];
    for (int i = 0; i < 100; i++) {
        args[i][0] = &order;
        args[i][1] = (void *)(intptr_t)i;
        CHECK_EQ(aio_ctx_post(ctx, note_tag, args[i]), 0);
    }
    CHECK_EQ(order.count, 0); /* never inside the post call */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 100);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(order.tags[i], i);
    end_ctx(ctx);
}

TEST(posts_before_adoption_wait_in_the_mailbox) {
    aio_ctx *ctx = make_ctx();
    struct message messages[10];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 10; i++) {
        messages[i].ctx = ctx;
        join(start_thread(post_message, &messages[i]));
        CHECK_EQ(messages[i].ran, 0);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(messages[i].ran, 1);
        CHECK(pthread_equal(messages[i].ran_on, pthread_self()));
    }
    end_ctx(ctx);
}

struct relay {
    aio_ctx *ctx;
    int left;
    struct call call;
};

static void post_on(void *arg) {
    struct relay *relay = arg;
    if (--relay->left > 0)
        CHECK_EQ(aio_ctx_post(relay->ctx, post_on, relay), 0);
    else
        ID(aio_submit_nop(relay->ctx, NULL, on_call, &relay->call));
}

TEST(posted_work_posts_and_submits) {
    aio_ctx *ctx = make_ctx();
    struct relay relay = {.ctx = ctx, .left = 1000};
    CHECK_EQ(aio_ctx_post(ctx, post_on, &relay), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(relay.left, 0);
    CHECK_EQ(relay.call.finals, 1);
    end_ctx(ctx);
}

/* Two contexts on two threads throw a ball to each other; each sleeps in between. */
struct player {
    aio_ctx *ctx;
    struct player *other;
    int left;
};

static void hit(void *arg) {
    struct player *player = arg;
    if (--player->left == 0)
        aio_ctx_release(player->ctx);
    if (player->other->left > 0)
        CHECK_EQ(aio_ctx_post(player->other->ctx, hit, player->other), 0);
}

static void *play(void *arg) {
    struct player *player = arg;
    CHECK_EQ(aio_ctx_run(player->ctx), 0);
    end_ctx(player->ctx);
    return NULL;
}

TEST(two_contexts_wake_each_other) {
    const int hits = scaled(5000);
    struct player a = {.left = hits}, b = {.left = hits};
    a.other = &b;
    b.other = &a;
    a.ctx = make_ctx();
    b.ctx = make_ctx();
    aio_ctx_hold(a.ctx);
    aio_ctx_hold(b.ctx);
    CHECK_EQ(aio_ctx_ref(b.ctx), 0); /* the last hit may run before its post has returned */
    const pthread_t thread = start_thread(play, &b);
    CHECK_EQ(aio_ctx_post(a.ctx, hit, &a), 0);
    CHECK_EQ(aio_ctx_run(a.ctx), 0);
    join(thread);
    aio_ctx_unref(b.ctx);
    CHECK_EQ(a.left, 0);
    CHECK_EQ(b.left, 0);
    end_ctx(a.ctx);
}

/* --- stop ------------------------------------------------------------------------------------ */

TEST(a_stop_before_the_run_counts_and_the_run_consumes_it) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0};
    ID(aio_submit_timer(ctx, 5 * MS, NULL, on_call, &timer));
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* does not wait for timer or release */
    CHECK_EQ(timer.calls, 0);
    aio_ctx_release(ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* consumed: this one runs to the end */
    CHECK_EQ(timer.finals, 1);
    end_ctx(ctx);
}

static void *stop_later(void *arg) {
    sleep_ms(20);
    CHECK_EQ(aio_ctx_stop(arg), 0);
    return NULL;
}

TEST(a_stop_from_another_thread_ends_a_sleeping_run) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    const pthread_t thread = start_thread(stop_later, ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(timer.calls, 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    join(thread);
    end_ctx(ctx);
}

static void stop_here(struct call *call) { CHECK_EQ(aio_ctx_stop(call->ctx), 0); }

TEST(a_stop_in_a_callback_leaves_the_rest_in_flight) {
    aio_ctx *ctx = make_ctx();
    struct call stopper = {.then = stop_here}, timer = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &stopper));
    ID(aio_submit_timer(ctx, 100 * MS * test_slow(), NULL, on_call, &timer));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(stopper.finals, 1);
    CHECK_EQ(timer.calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(timer.finals, 1);
    end_ctx(ctx);
}

static aio_ctx *stopped_by_signal;

static void on_stop_signal(int number) {
    (void)number;
    aio_ctx_stop(stopped_by_signal);
}

TEST(a_stop_from_a_signal_handler_ends_a_sleeping_run) {
    aio_ctx *ctx = stopped_by_signal = make_ctx();
    struct call timer = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    const struct sigaction action = {.sa_handler = on_stop_signal};
    SYS(sigaction(SIGUSR1, &action, NULL));
    timer_t clock;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SYS(timer_create(CLOCK_MONOTONIC, &event, &clock));
    const struct itimerspec once = {.it_value = {0, 20000000}};
    SYS(timer_settime(clock, 0, &once, NULL));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(timer.calls, 0);
    timer_delete(clock);
    end_ctx(ctx);
}

TEST(run_once_and_reap_use_a_stop_up_as_well) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0};
    aio_completion record;
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(aio_ctx_run_once(ctx, -1), 0); /* does not wait an hour */
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, -1), 0);
    const uint64_t start = now_ns();
    CHECK_EQ(aio_ctx_run_once(ctx, 10 * (int64_t)MS), 0); /* none is left over */
    CHECK_GE(now_ns() - start, 10 * MS);
    end_ctx(ctx);
}

TEST(a_stop_before_adoption_counts) {
    aio_ctx *ctx = make_ctx();
    join(start_thread(stop_later, ctx));
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    aio_ctx_release(ctx);
    end_ctx(ctx);
}

/* --- cancel ---------------------------------------------------------------------------------- */

struct cancel_later {
    aio_ctx *ctx;
    aio_op_id id;
    int32_t status;
};

static void *cancel_from_here(void *arg) {
    struct cancel_later *later = arg;
    sleep_ms(10);
    later->status = aio_ctx_cancel(later->ctx, later->id);
    return NULL;
}

TEST(a_cancel_from_another_thread_ends_the_operation_here) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call recv = {0}, timer = {0};
    struct cancel_later first = {.ctx = ctx, .status = 1}, second = first;
    first.id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    second.id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    pthread_t thread = start_thread(cancel_from_here, &first);
    CHECK_EQ(await_call(ctx, &recv), -ECANCELED);
    join(thread);
    thread = start_thread(cancel_from_here, &second);
    CHECK_EQ(await_call(ctx, &timer), -ECANCELED);
    join(thread);
    CHECK_EQ(first.status, 0);
    CHECK_EQ(second.status, 0);
    CHECK(pthread_equal(recv.thread, pthread_self()));
    CHECK(pthread_equal(timer.thread, pthread_self()));
    end_ctx(ctx);
}

TEST(a_stale_cancel_from_another_thread_touches_nothing) {
    aio_ctx *ctx = make_ctx();
    struct call done = {0}, timer = {0};
    struct cancel_later later = {.ctx = ctx, .status = 1};
    later.id = ID(aio_submit_nop(ctx, NULL, on_call, &done));
    CHECK_EQ(await_call(ctx, &done), 0);
    ID(aio_submit_timer(ctx, 60 * MS, NULL, on_call, &timer)); /* may have the same slot */
    join(start_thread(cancel_from_here, &later));
    CHECK_EQ(later.status, 0); /* asked for; the outcome is the operation's own */
    CHECK_EQ(await_call(ctx, &timer), 0);
    end_ctx(ctx);
}

/* --- hold ------------------------------------------------------------------------------------ */

struct holder {
    aio_ctx *ctx;
    int released;
};

static void *release_later(void *arg) {
    struct holder *holder = arg;
    sleep_ms(20);
    __atomic_store_n(&holder->released, 1, __ATOMIC_RELEASE);
    aio_ctx_release(holder->ctx);
    return NULL;
}

TEST(a_hold_keeps_run_from_ending_until_the_last_release) {
    aio_ctx *ctx = make_ctx();
    aio_ctx_hold(ctx);
    aio_ctx_hold(ctx);
    aio_ctx_release(ctx);
    struct holder holder = {.ctx = ctx};
    const pthread_t thread = start_thread(release_later, &holder);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(__atomic_load_n(&holder.released, __ATOMIC_ACQUIRE), 1);
    join(thread);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

static void *hold_post_release(void *arg) {
    struct message *message = arg;
    aio_ctx_hold(message->ctx);
    CHECK_EQ(aio_ctx_post(message->ctx, receive_message, message), 0);
    aio_ctx_release(message->ctx);
    return NULL;
}

TEST(hold_and_release_work_from_any_thread) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < scaled(100); i++) {
        struct message message = {.ctx = ctx};
        const pthread_t thread = start_thread(hold_post_release, &message);
        while (!message.ran)
            CHECK_GE(aio_ctx_run_once(ctx, 1000 * (int64_t)MS), 0);
        join(thread);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

/* --- the wrong thread ------------------------------------------------------------------------ */

struct intruder {
    aio_ctx *ctx;
    aio_op_id id;
    int fd;
};

static void *call_everything(void *arg) {
    const struct intruder *intruder = arg;
    aio_ctx *ctx = intruder->ctx;
    char byte = 0;
    aio_completion record;
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_submit_timer(ctx, 1, NULL, on_call_never, NULL), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_submit_recv(ctx, intruder->fd, &byte, 1, 0, NULL, on_call_never, NULL),
             AIO_EWRONGTHREAD);
    CHECK_EQ(aio_submit_close(ctx, intruder->fd, NULL, on_call_never, NULL), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_run(ctx), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_run_once(ctx, 0), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_flush(ctx), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 0), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, intruder->fd, 0), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_cancel_all(ctx), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 1), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, intruder->id), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_detach(ctx, intruder->id), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EWRONGTHREAD);
    return NULL;
}

TEST(the_wrong_thread_is_told_so_and_changes_nothing) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call call = {0};
    struct intruder intruder = {.ctx = ctx, .fd = pair[0]};
    intruder.id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    join(start_thread(call_everything, &intruder));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    end_ctx(ctx);
}

static void *adopt_and_finish(void *arg) {
    aio_ctx *ctx = arg;
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK(pthread_equal(call.thread, pthread_self()));
    end_ctx(ctx);
    return NULL;
}

TEST(a_context_made_here_is_used_and_destroyed_there) {
    for (int i = 0; i < 20; i++)
        join(start_thread(adopt_and_finish, make_ctx()));
}

static void *run_and_keep(void *arg) {
    CHECK_EQ(aio_ctx_run(arg), 0);
    return NULL;
}

static void *flush_and_keep(void *arg) {
    CHECK_GE(aio_ctx_flush(arg), 0);
    return NULL;
}

/* A context that nobody has used, and two that want it at the same moment. */
struct wanted {
    aio_ctx *ctx;
    pthread_barrier_t start;
    int64_t submitted, destroyed;
};

static void *use_and_destroy(void *arg) {
    struct wanted *wanted = arg;
    struct call call = {0};
    pthread_barrier_wait(&wanted->start);
    wanted->submitted = aio_submit_nop(wanted->ctx, NULL, on_call, &call);
    if (wanted->submitted > 0) {
        RUN_UNTIL(wanted->ctx, call.calls == 1);
        wanted->destroyed = aio_ctx_destroy(wanted->ctx);
    }
    return NULL;
}

TEST(a_new_context_is_used_by_one_thread_or_destroyed_by_another) {
    for (int round = 0; round < 300; round++) {
        struct wanted wanted = {.ctx = make_ctx(), .destroyed = -1};
        CHECK_EQ(aio_ctx_ref(wanted.ctx), 0);
        CHECK_EQ(pthread_barrier_init(&wanted.start, NULL, 2), 0);
        const pthread_t thread = start_thread(use_and_destroy, &wanted);
        pthread_barrier_wait(&wanted.start);
        const int32_t destroyed = aio_ctx_destroy(wanted.ctx);
        join(thread);
        if (wanted.submitted > 0) {
            CHECK_EQ(wanted.destroyed, 0);
            CHECK(destroyed == AIO_EWRONGTHREAD || destroyed == AIO_ECLOSED);
        } else {
            CHECK_EQ(destroyed, 0);
            CHECK(wanted.submitted == AIO_EWRONGTHREAD || wanted.submitted == AIO_ECLOSED);
        }
        aio_ctx_unref(wanted.ctx);
        pthread_barrier_destroy(&wanted.start);
    }
}

/* Successive threads often have the same pthread_t, so identity by address would be fooled. */
TEST(a_later_thread_is_not_taken_for_the_owner_that_is_gone) {
    for (int i = 0; i < 10; i++) {
        aio_ctx *ctx = make_ctx();
        join(start_thread(i & 1 ? run_and_keep : flush_and_keep, ctx));
        struct call call = {0};
        const aio_op_id status = aio_submit_nop(ctx, NULL, on_call, &call);
        CHECK(status == AIO_EWRONGTHREAD || status == AIO_EORPHANED);
        CHECK_EQ(call.calls, 0);
        CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    }
}

static void *try_to_submit(void *arg) {
    const aio_op_id status = aio_submit_nop(arg, NULL, on_call_never, NULL);
    CHECK(status == AIO_EWRONGTHREAD || status == AIO_EORPHANED);
    return NULL;
}

TEST(a_successor_with_the_same_thread_pointer_is_not_the_owner) {
    for (int i = 0; i < 10; i++) {
        aio_ctx *ctx = make_ctx();
        join(start_thread(run_and_keep, ctx));
        join(start_thread(try_to_submit, ctx)); /* most likely on the very same stack */
        CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    }
}

struct initial {
    aio_ctx *ctx;
    pthread_t thread;
    struct call call;
};

static void *outlive_the_initial_thread(void *arg) {
    struct initial *initial = arg;
    CHECK_EQ(pthread_join(initial->thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(initial->ctx), AIO_EORPHANED);
    CHECK_EQ(initial->call.calls, 1);
    CHECK_EQ(initial->call.result, -ECANCELED);
    exit(0);
}

TEST(the_initial_thread_that_ends_orphans_its_context) {
    if (under_thread_sanitizer())
        SKIP("ThreadSanitizer does not know how to join the initial thread");
    static struct initial initial;
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable(); /* it does not look into the thread-local memory of an ended initial thread */
#endif
    initial.thread = pthread_self();
    initial.ctx = make_ctx();
    ID(aio_submit_timer(initial.ctx, HOUR, NULL, on_call, &initial.call));
    CHECK_GE(aio_ctx_run_once(initial.ctx, 0), 0);
    start_thread(outlive_the_initial_thread, &initial);
    pthread_exit(NULL); /* the process goes on, and ends with the other thread's verdict */
}

/* --- stats and handles ----------------------------------------------------------------------- */

struct watcher {
    aio_ctx *ctx;
    bool over;
    uint64_t reads;
};

static void *watch_stats(void *arg) {
    struct watcher *watcher = arg;
    uint64_t completed = 0;
    while (!__atomic_load_n(&watcher->over, __ATOMIC_ACQUIRE)) {
        const aio_stats stats = stats_of(watcher->ctx);
        CHECK_GE(stats.completed, completed); /* a counter never goes back */
        completed = stats.completed;
        watcher->reads++;
    }
    return NULL;
}

TEST(stats_are_read_from_another_thread_while_the_context_runs) {
    struct watcher watcher = {.ctx = make_ctx()};
    const pthread_t thread = start_thread(watch_stats, &watcher);
    int calls = 0;
    const int rounds = scaled(200);
    for (int i = 0; i < rounds; i++) {
        for (int n = 0; n < 100; n++)
            ID(aio_submit_nop(watcher.ctx, NULL, on_call_count, &calls));
        CHECK_EQ(aio_ctx_run(watcher.ctx), 0);
    }
    __atomic_store_n(&watcher.over, true, __ATOMIC_RELEASE);
    join(thread);
    CHECK_EQ(stats_of(watcher.ctx).completed, rounds * 100);
    end_ctx(watcher.ctx);
}

static void post_never(void *arg) { FAIL("posted work that must not run: %p", arg); }

TEST(a_referenced_handle_says_closed_after_destroy) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_ref(ctx), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(aio_ctx_post(ctx, post_never, NULL), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_stop(ctx), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_cancel(ctx, id), AIO_ECLOSED);
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_run(ctx), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_ECLOSED);
    aio_ctx_unref(ctx);
}

struct poster {
    aio_ctx *ctx;
    int accepted;
    int ran;
};

static void count_run(void *arg) {
    __atomic_fetch_add(&((struct poster *)arg)->ran, 1, __ATOMIC_RELAXED);
}

static void *post_until_closed(void *arg) {
    struct poster *poster = arg;
    for (;;) {
        const int32_t status = aio_ctx_post(poster->ctx, count_run, poster);
        if (status == AIO_ECLOSED)
            break;
        CHECK_EQ(status, 0);
        poster->accepted++;
        if (poster->accepted % 64 == 0)
            sched_yield();
    }
    aio_ctx_unref(poster->ctx);
    return NULL;
}

TEST(every_post_that_was_accepted_runs_although_destroy_races) {
    for (int round = 0; round < scaled(30); round++) {
        struct poster poster = {.ctx = make_ctx()};
        CHECK_EQ(aio_ctx_ref(poster.ctx), 0);
        const pthread_t thread = start_thread(post_until_closed, &poster);
        const uint64_t end = now_ns() + (uint64_t)(round % 4) * MS;
        while (now_ns() < end)
            CHECK_GE(aio_ctx_run_once(poster.ctx, 0), 0);
        CHECK_EQ(aio_ctx_destroy(poster.ctx), 0);
        join(thread);
        CHECK_EQ(poster.ran, poster.accepted);
    }
}

enum { SENDERS = 4 };

struct sender {
    aio_ctx *ctx;
    int index, count;
    int *last; /* of each sender, on the receiving side */
    struct numbered {
        struct sender *sender;
        int number;
    } *messages;
};

static void check_number(void *arg) {
    const struct numbered *message = arg;
    int *last = &message->sender->last[message->sender->index];
    CHECK_EQ(message->number, *last + 1);
    *last = message->number;
    if (message->number == message->sender->count - 1)
        aio_ctx_release(message->sender->ctx);
}

static void *send_numbers(void *arg) {
    struct sender *sender = arg;
    for (int i = 0; i < sender->count; i++) {
        sender->messages[i] = (struct numbered){sender, i};
        CHECK_EQ(aio_ctx_post(sender->ctx, check_number, &sender->messages[i]), 0);
    }
    return NULL;
}

TEST(posts_of_four_threads_arrive_in_order_for_each) {
    aio_ctx *ctx = make_ctx();
    int last[SENDERS];
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    const int count = scaled(20000);
    for (int i = 0; i < SENDERS; i++) {
        last[i] = -1;
        senders[i] = (struct sender){.ctx = ctx, .index = i, .count = count, .last = last};
        senders[i].messages = calloc((size_t)count, sizeof *senders[i].messages);
        CHECK(senders[i].messages != NULL);
        aio_ctx_hold(ctx);
    }
    for (int i = 0; i < SENDERS; i++)
        threads[i] = start_thread(send_numbers, &senders[i]);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < SENDERS; i++) {
        join(threads[i]);
        CHECK_EQ(last[i], count - 1);
        free(senders[i].messages);
    }
    end_ctx(ctx);
}

HARNESS_MAIN
