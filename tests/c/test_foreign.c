/* Section ctx, the part on foreign loops: a context inside somebody else's epoll, level and edge
 * triggered. What happens while the loop sleeps must wake it, without any further event. */
#include "harness.h"

#include <poll.h>
#include <sys/epoll.h>

struct loop {
    aio_ctx *ctx;
    int epoll_fd;
    int sleeps; /* how often epoll_wait was entered with a wait */
};

static struct loop loop_open(uint32_t trigger) {
    struct loop loop = {.ctx = make_ctx(), .epoll_fd = SYS(epoll_create1(EPOLL_CLOEXEC))};
    struct epoll_event event = {.events = EPOLLIN | trigger};
    SYS(epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, SYS(aio_ctx_fd(loop.ctx)), &event));
    return loop;
}

static void loop_close(struct loop *loop) {
    end_ctx(loop->ctx);
    close(loop->epoll_fd);
}

/* The protocol of the header: flush, poll the descriptor at most next_timeout, run_once with 0. */
static void loop_turn(struct loop *loop, const char *what) {
    const int32_t ready = aio_ctx_flush(loop->ctx);
    CHECK_GE(ready, 0);
    CHECK_LE(ready, 1);
    const int64_t timeout_ns = aio_ctx_next_timeout_ns(loop->ctx);
    CHECK_GE(timeout_ns, -1);
    const int patience_ms = 20000 * (int)test_slow();
    const int64_t timeout_ms = timeout_ns / (int64_t)MS + 1;
    struct epoll_event event;
    if (ready == 0) {
        loop->sleeps++;
        const int wait_ms =
            timeout_ns < 0 || timeout_ms > patience_ms ? patience_ms : (int)timeout_ms;
        const int count = epoll_wait(loop->epoll_fd, &event, 1, timeout_ns == 0 ? 0 : wait_ms);
        CHECK_GE(count, 0);
        if (count == 0 && wait_ms == patience_ms && timeout_ns != 0)
            FAIL("slept for ever, waiting for %s", what);
    }
    CHECK_GE(aio_ctx_run_once(loop->ctx, 0), 0);
}

#define LOOP_UNTIL(loop_, cond_)                                                                   \
    while (!(cond_))                                                                               \
    loop_turn((loop_), #cond_)

/* Does something after the loop has surely gone to sleep. */
struct later {
    pthread_t thread;
    unsigned delay_ms;
    void (*act)(struct later *later);
    aio_ctx *ctx;
    int fd;
    aio_op_id id;
    struct call *call;
    int ran;
};

static void *act_later(void *arg) {
    struct later *later = arg;
    sleep_ms(later->delay_ms);
    later->act(later);
    return NULL;
}

static void start_later(struct later *later) {
    CHECK_EQ(pthread_create(&later->thread, NULL, act_later, later), 0);
}

static void join_later(struct later *later) { CHECK_EQ(pthread_join(later->thread, NULL), 0); }

static void write_byte(struct later *later) { write_all_or_fail(later->fd, "x", 1); }

static void count_it(void *arg) { ((struct later *)arg)->ran++; }

static void post_it(struct later *later) { CHECK_EQ(aio_ctx_post(later->ctx, count_it, later), 0); }

static void cancel_it(struct later *later) { CHECK_EQ(aio_ctx_cancel(later->ctx, later->id), 0); }

static void set_timer(void *arg) {
    struct later *later = arg;
    ID(aio_submit_timer(later->ctx, 5 * MS, NULL, on_call, later->call));
}

static void post_timer(struct later *later) {
    CHECK_EQ(aio_ctx_post(later->ctx, set_timer, later), 0);
}

static void completion_while_asleep(uint32_t trigger, const aio_submit_options *options) {
    struct loop loop = loop_open(trigger);
    int pipe_fds[2];
    make_pipe(pipe_fds);
    for (int i = 0; i < scaled(20); i++) {
        char byte = 0;
        struct call call = {0};
        struct later later = {.delay_ms = 5, .act = write_byte, .fd = pipe_fds[1]};
        ID(aio_submit_read(loop.ctx, pipe_fds[0], &byte, 1, AIO_OFFSET_CURRENT, options, on_call,
                           &call));
        start_later(&later);
        LOOP_UNTIL(&loop, call.finals);
        CHECK_EQ(call.result, 1);
        CHECK_EQ(byte, 'x');
        join_later(&later);
    }
    CHECK_GT(loop.sleeps, 0);
    loop_close(&loop);
}

TEST(level_a_completion_while_asleep_is_delivered) { completion_while_asleep(0, NULL); }

TEST(edge_a_completion_while_asleep_is_delivered) { completion_while_asleep(EPOLLET, NULL); }

TEST(level_a_completion_of_a_worker_while_asleep_is_delivered) {
    completion_while_asleep(0, WITH(.flags = AIO_SUBMIT_ASYNC));
}

TEST(edge_a_completion_of_a_worker_while_asleep_is_delivered) {
    completion_while_asleep(EPOLLET, WITH(.flags = AIO_SUBMIT_ASYNC));
}

static void post_while_asleep(uint32_t trigger) {
    struct loop loop = loop_open(trigger);
    for (int i = 0; i < scaled(50); i++) {
        struct later later = {.delay_ms = (unsigned)(i % 6), .act = post_it, .ctx = loop.ctx};
        start_later(&later);
        LOOP_UNTIL(&loop, later.ran);
        CHECK_EQ(later.ran, 1);
        join_later(&later);
    }
    CHECK_GT(loop.sleeps, 0);
    loop_close(&loop);
}

TEST(level_a_post_while_asleep_is_delivered) { post_while_asleep(0); }

TEST(edge_a_post_while_asleep_is_delivered) { post_while_asleep(EPOLLET); }

static void timer_while_asleep(uint32_t trigger) {
    struct loop loop = loop_open(trigger);
    for (int i = 0; i < scaled(10); i++) {
        struct call call = {0};
        const uint64_t start = now_ns(), delay = (uint64_t)i * 700000;
        ID(aio_submit_timer(loop.ctx, delay, NULL, on_call, &call));
        LOOP_UNTIL(&loop, call.finals);
        CHECK_EQ(call.result, 0);
        CHECK_GE(call.at_ns - start, delay);
    }
    loop_close(&loop);
}

TEST(level_a_timer_while_asleep_is_delivered) { timer_while_asleep(0); }

TEST(edge_a_timer_while_asleep_is_delivered) { timer_while_asleep(EPOLLET); }

static void cancel_while_asleep(uint32_t trigger) {
    struct loop loop = loop_open(trigger);
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < scaled(20); i++) {
        char byte = 0;
        struct call call = {0};
        struct later later = {.delay_ms = 5, .act = cancel_it, .ctx = loop.ctx};
        later.id = i & 1
                       ? ID(aio_submit_timer(loop.ctx, HOUR, NULL, on_call, &call))
                       : ID(aio_submit_recv(loop.ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
        start_later(&later);
        LOOP_UNTIL(&loop, call.finals);
        CHECK_EQ(call.result, -ECANCELED);
        join_later(&later);
    }
    loop_close(&loop);
}

TEST(level_a_cancel_while_asleep_is_delivered) { cancel_while_asleep(0); }

TEST(edge_a_cancel_while_asleep_is_delivered) { cancel_while_asleep(EPOLLET); }

static void timer_posted_while_asleep(uint32_t trigger) {
    struct loop loop = loop_open(trigger);
    struct call call = {0};
    struct later later = {.delay_ms = 20, .act = post_timer, .ctx = loop.ctx, .call = &call};
    start_later(&later);
    LOOP_UNTIL(&loop, call.finals);
    CHECK_EQ(call.result, 0);
    join_later(&later);
    loop_close(&loop);
}

TEST(level_a_timer_set_by_posted_work_is_delivered) { timer_posted_while_asleep(0); }

TEST(edge_a_timer_set_by_posted_work_is_delivered) { timer_posted_while_asleep(EPOLLET); }

static void everything_at_once(uint32_t trigger) {
    struct loop loop = loop_open(trigger);
    int pairs[8][2], calls = 0;
    char bytes[8] = {0};
    struct later laters[16];
    memset(laters, 0, sizeof laters);
    for (int i = 0; i < 8; i++) {
        make_socket_pair(pairs[i]);
        ID(aio_submit_recv(loop.ctx, pairs[i][0], &bytes[i], 1, 0, NULL, on_call_count, &calls));
        ID(aio_submit_timer(loop.ctx, (uint64_t)i * MS, NULL, on_call_count, &calls));
        ID(aio_submit_nop(loop.ctx, NULL, on_call_count, &calls));
        laters[i] = (struct later){.delay_ms = (unsigned)i, .act = write_byte, .fd = pairs[i][1]};
        laters[i + 8] = (struct later){.delay_ms = (unsigned)i, .act = post_it, .ctx = loop.ctx};
    }
    for (int i = 0; i < 16; i++)
        start_later(&laters[i]);
    LOOP_UNTIL(&loop, calls == 24);
    for (int i = 8; i < 16; i++)
        LOOP_UNTIL(&loop, laters[i].ran == 1);
    for (int i = 0; i < 16; i++)
        join_later(&laters[i]);
    CHECK_EQ(calls, 24);
    loop_close(&loop);
}

TEST(level_everything_at_once_is_delivered) { everything_at_once(0); }

TEST(edge_everything_at_once_is_delivered) { everything_at_once(EPOLLET); }

TEST(a_deadline_is_part_of_the_next_timeout) {
    struct loop loop = loop_open(0);
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call call = {0};
    const uint64_t start = now_ns();
    ID(aio_submit_recv(loop.ctx, pair[0], &byte, 1, 0, WITH(.timeout_ns = 15 * MS), on_call,
                       &call));
    LOOP_UNTIL(&loop, call.finals);
    CHECK_EQ(call.result, -ETIMEDOUT);
    CHECK_GE(call.at_ns - start, 15 * MS);
    loop_close(&loop);
}

TEST(next_timeout_is_the_time_to_the_first_timer) {
    aio_ctx *ctx = make_ctx();
    struct call late = {0}, early = {0};
    CHECK_EQ(aio_ctx_flush(ctx), 0);
    CHECK_EQ(aio_ctx_next_timeout_ns(ctx), -1);
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &late));
    const int64_t first = aio_ctx_next_timeout_ns(ctx);
    CHECK_GT(first, 0);
    CHECK_LE(first, (int64_t)(HOUR + MS));
    const aio_op_id id = ID(aio_submit_timer(ctx, 50 * MS, NULL, on_call, &early));
    const int64_t second = aio_ctx_next_timeout_ns(ctx);
    CHECK_GE(second, 0);
    CHECK_LE(second, 51 * (int64_t)MS);
    sleep_ms(55);
    CHECK_EQ(aio_ctx_next_timeout_ns(ctx), 0); /* overdue: do not sleep */
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    RUN_UNTIL(ctx, early.finals);
    CHECK_EQ(early.result, -ECANCELED);
    end_ctx(ctx);
    CHECK_EQ(late.calls, 1);
}

TEST(flush_says_that_there_is_work_that_no_event_would_announce) {
    aio_ctx *ctx = make_ctx();
    CHECK_GE(aio_ctx_fd(ctx), 0);
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_ctx_flush(ctx), 0);
    struct later later = {.ctx = ctx};
    CHECK_EQ(aio_ctx_post(ctx, count_it, &later), 0);
    /* Posted on the context's own thread: either the flush says so or the descriptor does. */
    CHECK(aio_ctx_flush(ctx) == 1 || is_readable(aio_ctx_fd(ctx), 1000));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(later.ran, 1);
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0); /* cancelled, its callback is due: work now */
    CHECK(aio_ctx_flush(ctx) == 1 || aio_ctx_next_timeout_ns(ctx) == 0);
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(call.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(an_idle_context_does_not_keep_a_level_triggered_loop_awake) {
    struct loop loop = loop_open(0);
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call idle = {0}, busy = {0};
    ID(aio_submit_recv(loop.ctx, pair[0], &byte, 1, 0, NULL, on_call, &idle));
    struct later later = {.delay_ms = 5, .act = post_it, .ctx = loop.ctx};
    start_later(&later);
    LOOP_UNTIL(&loop, later.ran);
    join_later(&later);
    ID(aio_submit_nop(loop.ctx, NULL, on_call, &busy));
    LOOP_UNTIL(&loop, busy.finals);
    int turns = 0; /* a wake-up or two may still be under way; then it must be quiet */
    for (; turns < 10; turns++) {
        struct epoll_event event;
        if (aio_ctx_flush(loop.ctx) == 0 && epoll_wait(loop.epoll_fd, &event, 1, 50) == 0)
            break;
        CHECK_GE(aio_ctx_run_once(loop.ctx, 0), 0);
    }
    CHECK_LT(turns, 10);
    CHECK_EQ(idle.calls, 0);
    loop_close(&loop);
}

TEST(the_descriptor_is_the_same_at_every_call) {
    aio_ctx *ctx = make_ctx();
    const int fd = SYS(aio_ctx_fd(ctx));
    CHECK_EQ(aio_ctx_fd(ctx), fd);
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(aio_ctx_fd(ctx), fd);
    end_ctx(ctx);
    CHECK(!is_open(fd));
}

TEST(two_contexts_share_a_loop) {
    struct loop a = loop_open(EPOLLET), b = loop_open(EPOLLET);
    struct epoll_event event = {.events = EPOLLIN};
    const int outer = SYS(epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(outer, EPOLL_CTL_ADD, a.epoll_fd, &event));
    SYS(epoll_ctl(outer, EPOLL_CTL_ADD, b.epoll_fd, &event));
    struct later first = {.delay_ms = 10, .act = post_it, .ctx = a.ctx};
    struct later second = {.delay_ms = 20, .act = post_it, .ctx = b.ctx};
    start_later(&first);
    start_later(&second);
    while (!first.ran || !second.ran) {
        if (aio_ctx_flush(a.ctx) == 0 && aio_ctx_flush(b.ctx) == 0)
            CHECK_GE(epoll_wait(outer, &event, 1, 20000), 1);
        CHECK_GE(epoll_wait(a.epoll_fd, &event, 1, 0), 0);
        CHECK_GE(epoll_wait(b.epoll_fd, &event, 1, 0), 0);
        CHECK_GE(aio_ctx_run_once(a.ctx, 0), 0);
        CHECK_GE(aio_ctx_run_once(b.ctx, 0), 0);
    }
    join_later(&first);
    join_later(&second);
    loop_close(&a);
    loop_close(&b);
    close(outer);
}

HARNESS_MAIN
