/* Faults that the engine once had, each as the smallest program that showed it. The rest of the
 * suite tests what the header says section by section; these are kept so that they do not return.
 */
#include "harness.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define HERE AIO_OFFSET_CURRENT

/* A receive that ends when the test writes to its peer. */
struct gate {
    int pair[2];
    char byte;
    struct call call;
    aio_op_id id;
};

static void gate_submit(aio_ctx *ctx, struct gate *gate, const aio_submit_options *options) {
    memset(gate, 0, sizeof *gate);
    make_socket_pair(gate->pair);
    gate->id =
        ID(aio_submit_recv(ctx, gate->pair[0], &gate->byte, 1, 0, options, on_call, &gate->call));
}

static void gate_open(struct gate *gate) { write_all_or_fail(gate->pair[1], "x", 1); }

static pthread_t start_thread(void *(*body)(void *arg), void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

static void run_thread(void *(*body)(void *arg), void *arg) {
    CHECK_EQ(pthread_join(start_thread(body, arg), NULL), 0);
}

/* --- barriers -------------------------------------------------------------------------------- */

TEST(a_timer_behind_a_waiting_barrier_does_not_open_it) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call held = {0}, timer = {0};
    gate_submit(ctx, &gate, NULL);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &held));
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &timer)); /* was counted as one before it */
    CHECK_EQ(await_call(ctx, &timer), 0);
    check_blocked(ctx, &held);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(gate.call.result, 1);
    end_ctx(ctx);
}

TEST(timers_behind_a_waiting_barrier_do_not_lock_it) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call held = {0}, timers[2] = {{0}, {0}};
    gate_submit(ctx, &gate, NULL);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &held));
    for (int i = 0; i < 2; i++)
        ID(aio_submit_timer(ctx, MS, NULL, on_call, &timers[i]));
    sleep_ms(3);
    RUN_UNTIL(ctx, timers[0].finals && timers[1].finals); /* in one turn: its count went round */
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &held), 0);
    end_ctx(ctx);
}

/* The engine counts what the kernel does not have. A context with nothing but timers then needs no
 * system call to look at them. */
TEST(a_close_behind_a_barrier_is_counted_once) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call closing = {0}, timers[3] = {{0}, {0}, {0}};
    const int fd = temp_file("held", NULL, 0);
    gate_submit(ctx, &gate, NULL);
    ID(aio_submit_close(ctx, fd, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &closing));
    check_blocked(ctx, &closing);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &closing), 0);
    CHECK(!is_open(fd));
    for (int i = 0; i < 3; i++)
        ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timers[i]));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    const uint64_t before = stats_of(ctx).system_calls;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(stats_of(ctx).system_calls, before);
    end_ctx(ctx);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void refuse_splice(bool first_is_closing) {
    aio_ctx *ctx = make_ctx();
    struct gate closing, other;
    struct call closed = {0}, refused = {0}, last = {0};
    gate_submit(ctx, &closing, NULL);
    gate_submit(ctx, &other, NULL);
    ID(aio_submit_close(ctx, closing.pair[0], NULL, on_call, &closed));
    const int from = first_is_closing ? closing.pair[0] : other.pair[0];
    const int to = first_is_closing ? other.pair[0] : closing.pair[0];
    ID(aio_submit_splice(ctx, from, HERE, to, HERE, 8, 0, NULL, on_call, &refused));
    CHECK_EQ(await_call(ctx, &refused), -EBADF);
    CHECK_EQ(await_call(ctx, &closed), 0);
    check_blocked(ctx, &other.call);
    /* The list of the other descriptor had lost its receive. */
    CHECK_EQ(aio_ctx_cancel_fd(ctx, other.pair[0], 0), 1);
    ID(aio_submit_close(ctx, other.pair[0], NULL, on_call, &last));
    CHECK_EQ(await_call(ctx, &last), 0);
    CHECK_EQ(other.call.result, -ECANCELED);
    check_nothing_in_flight(ctx);
    CHECK(peer_sees_fin(other.pair[1], 1000));
    end_ctx(ctx);
}

TEST(a_refused_splice_leaves_the_other_descriptors_list_alone) {
    refuse_splice(false);
    refuse_splice(true);
}

/* The table of descriptors grew up to whatever number was named. */
TEST(a_stray_descriptor_number_costs_no_table) {
    static const int strays[] = {INT32_MAX, 1 << 29, 0x7654321};
    if (!memory_figures_are_ours())
        SKIP("the figure would be somebody else's");
    aio_ctx *ctx = make_ctx();
    struct call warm = {0};
    ID(aio_submit_fsync(ctx, 9999, 0, NULL, on_call, &warm));
    CHECK_EQ(await_call(ctx, &warm), -EBADF);
    const int64_t before_kib = resident_kib();
    for (int i = 0; i < COUNT_OF(strays); i++) {
        struct call call = {0};
        ID(aio_submit_fsync(ctx, strays[i], 0, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), -EBADF);
        CHECK_EQ(aio_ctx_cancel_fd(ctx, strays[i], 0), 0);
    }
    CHECK_LT(resident_kib() - before_kib, 2048);
    end_ctx(ctx);
}

TEST(quiet_is_refused_where_the_result_is_a_descriptor) {
    aio_ctx *ctx = make_ctx();
    const aio_submit_options *quiet = WITH(.flags = AIO_SUBMIT_QUIET);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 4);
    CHECK_EQ(aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, quiet, on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, quiet, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_accept(ctx, listener, NULL, NULL, 0, quiet, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_accept_multishot(ctx, listener, 0, quiet, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
    close(listener);
}

/* --- close ----------------------------------------------------------------------------------- */

TEST(a_detached_close_still_closes) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    gate_submit(ctx, &gate, NULL);
    aio_op_id id = ID(aio_submit_close(ctx, gate.pair[0], NULL, on_call_never, NULL));
    CHECK_EQ(aio_ctx_detach(ctx, id), 0); /* waits for the receive, and was forgotten */
    CHECK_EQ(await_call(ctx, &gate.call), -ECANCELED);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(!is_open(gate.pair[0]));
    CHECK(peer_sees_fin(gate.pair[1], 1000));

    const int fd = temp_file("detached", NULL, 0);
    const aio_submit_options *async = WITH(.flags = AIO_SUBMIT_ASYNC);
    id = ID(aio_submit_close(ctx, fd, async, on_call_never, NULL));
    CHECK_EQ(aio_ctx_detach(ctx, id), 0); /* its cancel would arrive before a worker has begun */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(!is_open(fd));
    end_ctx(ctx);
}

TEST(a_close_in_a_chain_respects_a_waiting_close) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call waiting = {0}, head = {0}, second = {0};
    gate_submit(ctx, &gate, NULL);
    ID(aio_submit_close(ctx, gate.pair[0], NULL, on_call, &waiting));
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &head));
    ID(aio_submit_close(ctx, gate.pair[0], NULL, on_call, &second));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(second.result, -EBADF); /* it took the number away from the one that waits */
    CHECK_EQ(waiting.result, 0);
    CHECK_EQ(gate.call.result, -ECANCELED);
    CHECK(!is_open(gate.pair[0]));
    end_ctx(ctx);
}

struct reopened {
    aio_op_id close_id;
    int fd;
    char byte;
    struct call recv, second;
};

/* The list is empty now, so that the close would start at the end of the turn. */
static void cancel_the_close(struct call *call) {
    struct reopened *later = call->arg;
    CHECK_EQ(aio_ctx_cancel(call->ctx, later->close_id), 0);
    ID(aio_submit_recv(call->ctx, later->fd, &later->byte, 1, 0, NULL, on_call, &later->recv));
    ID(aio_submit_close(call->ctx, later->fd, NULL, on_call, &later->second));
}

TEST(a_cancelled_close_leaves_nothing_behind_for_a_later_one) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct order order = {0};
    struct reopened later = {
        .fd = pair[0], .recv = {.order = &order, .tag = 1}, .second = {.order = &order, .tag = 2}};
    struct call recv = {.then = cancel_the_close, .arg = &later}, first = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    later.close_id = ID(aio_submit_close(ctx, pair[0], NULL, on_call, &first));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(first.result, -ECANCELED);
    CHECK_EQ(later.recv.result, -ECANCELED);
    CHECK_EQ(later.second.result, 0);
    CHECK_EQ(order.count, 2);
    CHECK_EQ(order.tags[0], 1); /* the second close did not wait for the receive */
    CHECK(!is_open(pair[0]));
    end_ctx(ctx);
}

/* --- cancel ---------------------------------------------------------------------------------- */

TEST(cancel_wait_on_a_later_member_of_a_chain_returns) {
    aio_ctx *ctx = make_ctx();
    struct gate head, second;
    gate_submit(ctx, &head, WITH(.flags = AIO_SUBMIT_HARDLINK));
    gate_submit(ctx, &second, WITH(.flags = AIO_SUBMIT_HARDLINK));
    const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call_never, NULL));
    CHECK_GE(aio_ctx_flush(ctx), 0);
    /* Each member becomes the head when the one before it has completed, callback or not. */
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
    CHECK_EQ(head.call.calls + second.call.calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(head.call.result, -ECANCELED);
    CHECK_EQ(second.call.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(cancel_wait_behind_a_member_that_has_completed_returns) {
    aio_ctx *ctx = make_ctx();
    struct gate head;
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    gate_submit(ctx, &head, WITH(.flags = AIO_SUBMIT_LINK));
    gate_open(&head);
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    CHECK_GE(aio_ctx_flush(ctx), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0); /* asked for the end of the head for ever */
    CHECK_EQ(head.call.calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(head.call.result, 1);
    end_ctx(ctx);
}

/* A worker that copies into a page which is not there cannot be interrupted. Every refused cancel
 * made a repetition of its own, so that their number doubled. */
TEST(a_cancel_that_cannot_be_done_yet_is_repeated_rarely) {
    int fault;
    void *page = make_faulting_page(&fault);
    aio_ctx *ctx = make_ctx();
    const int file = temp_file("slow", "0123456789", 10);
    const aio_submit_options *async = WITH(.flags = AIO_SUBMIT_ASYNC);
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_read(ctx, file, page, 10, 0, async, on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    if (!is_readable(fault, 5000))
        SKIP("the read does not fault here");
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    check_blocked(ctx, &call);
    for (const uint64_t end = patience_end_ns(); stats_of(ctx).cancels < 3 && now_ns() < end;)
        run_for_ms(ctx, 5);
    CHECK_GE(stats_of(ctx).cancels, 3);
    CHECK_LE(stats_of(ctx).cancels, 20); /* 100 us, then twice as long each time */
    CHECK_EQ(call.calls, 0);
    resolve_fault(fault, page);
    const int32_t result = await_call(ctx, &call);
    CHECK(result == 10 || result == -ECANCELED);
    end_ctx(ctx);
}

static void *cancel_something_else(void *arg) {
    CHECK_EQ(aio_ctx_cancel(arg, 12345), -ENOENT);
    return NULL;
}

TEST(a_cancel_from_a_stranger_does_not_adopt) {
    aio_ctx *ctx = make_ctx();
    run_thread(cancel_something_else, ctx);
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
}

/* --- sleep ----------------------------------------------------------------------------------- */

/* A run looks whether it is held before it prepares to sleep. Between the two the engine reads what
 * signals to foreign loops arrive by, which is where this function, in place of the library's,
 * steps in. */
static aio_ctx *released_in_read;

ssize_t read(int fd, void *data, size_t len) {
    if (released_in_read) {
        aio_ctx_release(released_in_read);
        released_in_read = NULL;
    }
    return syscall(SYS_read, fd, data, len);
}

TEST(the_last_release_wakes_a_run_that_is_falling_asleep) {
    aio_ctx *ctx = make_ctx();
    aio_ctx_hold(ctx);
    aio_ctx_release(ctx); /* the first one ever signals in any case */
    run_for_ms(ctx, 5);   /* and that is used up */
    SYS(aio_ctx_fd(ctx));
    alarm(10 * test_slow());
    aio_ctx_hold(ctx);
    released_in_read = ctx;
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(released_in_read == NULL); /* else the engine has changed and this shows nothing */
    end_ctx(ctx);
}

/* The kernel defers completions to the thread of the ring, and tells of them once. */
TEST(flush_tells_of_deferred_completions) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    gate_submit(ctx, &gate, NULL);
    CHECK_EQ(aio_ctx_flush(ctx), 0);
    gate_open(&gate);
    const int fd = SYS(aio_ctx_fd(ctx)); /* the event is past */
    CHECK(aio_ctx_flush(ctx) == 1 || is_readable(fd, 1000));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 1);
    CHECK_EQ(gate.call.result, 1);
    end_ctx(ctx);
}

/* What a foreign loop does between two sleeps; true: there is nothing more to do. */
static bool foreign_turn(aio_ctx *ctx, const struct call *call) {
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    while (aio_ctx_flush(ctx) == 1)
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    return call->finals;
}

TEST(a_stop_does_not_hide_a_completion_from_an_edge_triggered_loop) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    const int epoll_fd = SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    SYS(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, SYS(aio_ctx_fd(ctx)), &event));
    gate_submit(ctx, &gate, NULL);
    while (aio_ctx_flush(ctx) == 1 || SYS(epoll_wait(epoll_fd, &event, 1, 20)) > 0)
        CHECK(!foreign_turn(ctx, &gate.call));
    gate_open(&gate);
    CHECK_EQ(aio_ctx_stop(ctx), 0); /* uses the first run_once up */
    do {
        CHECK_EQ(SYS(epoll_wait(epoll_fd, &event, 1, 2000)), 1);
    } while (!foreign_turn(ctx, &gate.call));
    CHECK_EQ(gate.call.result, 1);
    close(epoll_fd);
    end_ctx(ctx);
}

static void count_post(void *arg) { ++*(int *)arg; }

TEST(own_post_after_flush_signals_the_foreign_descriptor) {
    aio_ctx *ctx = make_ctx();
    int ran = 0;
    const int fd = SYS(aio_ctx_fd(ctx));
    while (aio_ctx_flush(ctx) == 1 || is_readable(fd, 20))
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_ctx_post(ctx, count_post, &ran), 0); /* from another handler of the same loop */
    CHECK(is_readable(fd, 1000));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 1);
    CHECK_EQ(ran, 1);
    end_ctx(ctx);
}

/* The second call gave out a descriptor that nothing ever signals. */
TEST(a_foreign_descriptor_that_could_not_be_registered_stays_an_error) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    const int before = open_descriptors();
    forbid_call(has_ring(ctx) ? SYS_io_uring_register : SYS_epoll_ctl, EPERM);
    CHECK_EQ(aio_ctx_fd(ctx), -EPERM);
    CHECK_EQ(aio_ctx_fd(ctx), -EPERM);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void *open_some_for_the_batch(void *arg) {
    for (int i = 0; i < 5; i++)
        ID(aio_submit_openat(arg, AT_FDCWD, "/dev/null", O_RDONLY, 0, NULL, AIO_CALLBACK_REAP,
                             NULL));
    CHECK_GE(aio_ctx_run_once(arg, 0), 0);
    return NULL;
}

TEST(reap_results_that_nobody_takes_are_closed_at_destroy) {
    end_ctx(make_ctx());
    const int before = open_descriptors();
    aio_ctx *ctx = make_ctx();
    open_some_for_the_batch(ctx); /* as records */
    end_ctx(ctx);
    CHECK_EQ(open_descriptors(), before);

    ctx = make_ctx();
    for (int i = 0; i < 5; i++) /* on their way */
        ID(aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, NULL, AIO_CALLBACK_REAP,
                             NULL));
    end_ctx(ctx);
    CHECK_EQ(open_descriptors(), before);

    ctx = make_ctx();
    run_thread(open_some_for_the_batch, ctx); /* as records of an orphan */
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(open_descriptors(), before);
}

static struct call orphans[2];

static void *leave_two_timers(void *arg) {
    for (int i = 0; i < 2; i++)
        ID(aio_submit_timer(arg, HOUR, NULL, on_call, &orphans[i]));
    return NULL;
}

static void destroy_again(struct call *call) {
    CHECK_EQ(aio_ctx_destroy(call->arg), AIO_EPENDING); /* freed it under the feet of the first */
    CHECK_EQ(aio_submit_nop(call->arg, NULL, on_call_never, NULL), -ECANCELED);
    CHECK_EQ(aio_ctx_post(call->arg, count_post, NULL), AIO_ECLOSED);
}

TEST(an_orphan_can_be_destroyed_from_its_own_callbacks) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 2; i++)
        orphans[i] = (struct call){.then = destroy_again, .arg = ctx};
    run_thread(leave_two_timers, ctx);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(orphans[i].calls, 1);
        CHECK_EQ(orphans[i].result, -ECANCELED);
        CHECK_EQ(orphans[i].flags, AIO_CQE_ABORTED);
    }
}

/* The first destroy gave the error of the ring, and every later one AIO_EPENDING for ever. */
TEST(destroy_gives_up_on_a_ring_that_cannot_be_entered) {
    static aio_ctx *ctx; /* static: the context is leaked on purpose and must stay reachable */
    static char byte;
    int pair[2];
    make_socket_pair(pair);
    ctx = make_ctx();
    needs_ring(ctx, "the system calls behind it are many, and none is the entrance");
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    CHECK_GE(aio_ctx_flush(ctx), 0);
    forbid_call(SYS_io_uring_enter, EPERM);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_ESTUCK);
    char text[4096] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, "recv") != NULL);
}

struct forked {
    aio_ctx *ctx;
    aio_op_id id;
};

static void child_asks(void *arg) {
    const struct forked *forked = arg;
    CHECK_EQ(aio_ctx_cancel(forked->ctx, forked->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_fd(forked->ctx, 0, 0), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_all(forked->ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_group(forked->ctx, 1), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_wait(forked->ctx, forked->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_detach(forked->ctx, forked->id), AIO_EFORKED);
}

static void fork_here(struct call *call) {
    CHECK_EQ(end_child(start_child(child_asks, call->arg)), 0);
}

/* The copy of a context that is being destroyed was not recognised as one. */
TEST(a_child_forked_while_destroy_runs_is_refused) {
    struct forked forked = {.ctx = make_ctx()};
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call timer = {.then = fork_here, .arg = &forked}, recv = {0};
    ID(aio_submit_timer(forked.ctx, HOUR, NULL, on_call, &timer));
    forked.id = ID(aio_submit_recv(forked.ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    CHECK_GE(aio_ctx_flush(forked.ctx), 0);
    end_ctx(forked.ctx);
    CHECK_EQ(timer.calls, 1);
    CHECK_EQ(recv.calls, 1);
}

/* By then the destructors of the thread have run, among them the engine's. */
static void use_at_exit(void) {
    struct call call = {0};
    aio_ctx *ctx = make_ctx();
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
    _exit(0);
}

static void exit_with_a_handler(void *arg) {
    (void)arg;
    struct call call = {0};
    aio_ctx *ctx = make_ctx();
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
    CHECK_EQ(atexit(use_at_exit), 0);
    exit(1); /* the handler turns it into 0 */
}

TEST(a_context_can_be_used_in_atexit) {
    CHECK_EQ(end_child(start_child(exit_with_a_handler, NULL)), 0);
}

/* --- what was said wrongly ------------------------------------------------------------------- */

/* Structures before a page that cannot be read: looking at their supposed tails would fault. */
TEST(a_garbage_size_is_e2big) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    SYS(mprotect(pages + page, page, PROT_NONE));
    static const uint32_t sizes[] = {1 << 30, UINT32_MAX, 0x7ffffff0};
    aio_ctx *ctx = make_ctx(), *none = NULL;
    aio_ctx_options *of_ctx = (aio_ctx_options *)(pages + page - sizeof *of_ctx);
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        *of_ctx = (aio_ctx_options){.size = sizes[i]};
        CHECK_EQ(aio_ctx_create(of_ctx, &none), -E2BIG);
    }
    aio_submit_options *of_submit = (aio_submit_options *)(pages + page - sizeof *of_submit);
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        *of_submit = (aio_submit_options){.size = sizes[i]};
        CHECK_EQ(aio_submit_nop(ctx, of_submit, on_call_never, NULL), -E2BIG);
    }
    end_ctx(ctx);
    munmap(pages, 2 * page);
}

struct asked {
    aio_ctx *ctx;
    aio_op_id id;
    uint64_t bytes;
};

static void ask_current(void *arg) {
    struct asked *asked = arg;
    asked->id = aio_ctx_current_op(asked->ctx);
    asked->bytes = aio_ctx_current_bytes(asked->ctx);
}

TEST(current_op_is_enoent_in_posted_functions) {
    struct asked asked = {.ctx = make_ctx(), .bytes = 1};
    struct gate gate;
    gate_submit(asked.ctx, &gate, NULL);
    gate_open(&gate);
    CHECK_EQ(aio_ctx_post(asked.ctx, ask_current, &asked), 0);
    CHECK_EQ(aio_ctx_run_once(asked.ctx, 0), 2); /* the callback, then the function */
    CHECK_EQ(gate.call.id, gate.id);
    CHECK_EQ(asked.id, -ENOENT);
    CHECK_EQ(asked.bytes, 0);
    end_ctx(asked.ctx);
}

static long long largest_age_ms(aio_ctx *ctx) {
    char text[4096] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    const char *age = strstr(text, " age ");
    CHECK(age != NULL);
    long long largest = 0;
    for (; age; age = strstr(age, " age ")) {
        char *end;
        const long long ms = strtoll(age + 5, &end, 10);
        CHECK_EQ(strncmp(end, " ms", 3), 0);
        largest = ms > largest ? ms : largest;
        age = end;
    }
    return largest;
}

/* The first look at the clock came with the first turn; before it, ages counted from the start of
 * the machine. */
TEST(an_operation_submitted_before_the_first_turn_is_young) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    CHECK_LT(largest_age_ms(ctx), 5000);
    end_ctx(ctx);
}

/* A submit after a turn with timers noted the exact time, the dump looked at a coarse clock, and
 * the difference went below zero and round. */
TEST(an_age_in_a_dump_is_never_negative) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 20; i++) {
        struct call timer = {0}, last = {0};
        ID(aio_submit_timer(ctx, MS / 2, NULL, on_call, &timer));
        CHECK_EQ(await_call(ctx, &timer), 0);
        const aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &last));
        CHECK_LT(largest_age_ms(ctx), 60000);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        CHECK_EQ(await_call(ctx, &last), -ECANCELED);
    }
    end_ctx(ctx);
}

HARNESS_MAIN
