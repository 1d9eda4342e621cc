/* Round trips between two threads that sleep until they are woken, both on one CPU: messages of
 * ring to ring (MSG_RING), and what goes through the mailbox, whose owner is woken by an eventfd
 * (posted functions, notifiers, channels), against the same two ways by hand.
 *
 * Each thread answers what it gets until the count is reached. The cost is the time from what the
 * first side sends to the answer, because sleeping and waking is what is measured, and the median
 * of these, because both sides wait for whoever else uses the CPU. */
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SQ_ENTRIES = 8, CQ_ENTRIES = 16 };
enum { REGISTER_SEND_MSG_RING = 31 }; /* Debian 12's headers do not have it */

struct workload {
    uint64_t count;
};

/* One of the two threads. The first begins; `other` is the one that it wakes. */
struct side {
    struct side *other;
    uint64_t left; /* answers that it has yet to give */
    bool begins;
    /* Of the first: when it last began, and how long each answer took. */
    uint64_t start_ns;
    double *times_ns;
    pthread_barrier_t *both;
    struct bare_ring ring;
    int event_fd;
    aio_ctx *ctx;
    aio_notifier *notifier; /* that this side waits for */
    aio_channel *channel;   /* that it receives from */
    uint64_t record;
};

static double run_both(const struct workload *load, void *(*body)(void *side)) {
    pthread_barrier_t both;
    struct side sides[2] = {{.begins = true}, {.begins = false}};
    pthread_t thread;
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 2; i++) {
        sides[i].other = &sides[1 - i];
        sides[i].left = load->count;
        sides[i].both = &both;
    }
    /* The other thread's preparations are not timed: it waits at the barrier for the first. */
    double *times_ns = malloc(load->count * sizeof *times_ns);
    sides[0].times_ns = times_ns;
    if (!times_ns || pthread_create(&thread, NULL, body, &sides[1]) != 0)
        bench_die("no thread");
    body(&sides[0]);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&both);
    const double ns = bench_median(times_ns, load->count);
    free(times_ns);
    return ns;
}

/* An answer is there. */
static void answered(struct side *side) {
    if (!side->begins)
        return;
    const uint64_t now_ns = bench_clock_ns();
    *side->times_ns++ = (double)(now_ns - side->start_ns);
    side->start_ns = now_ns;
}

/* --- by hand --------------------------------------------------------------------------------- */

static void wake_by_message(struct side *side) {
    struct io_uring_sqe *sqe = bare_ring_sqe(&side->ring);
    sqe->opcode = IORING_OP_MSG_RING;
    sqe->fd = side->other->ring.fd;
    sqe->off = 1;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

/* As a thread without a ring would; Linux 6.13. */
static void wake_by_register_call(struct side *side) {
    struct io_uring_sqe sqe = {.opcode = IORING_OP_MSG_RING, .fd = side->other->ring.fd, .off = 1};
    bench_check(syscall(SYS_io_uring_register, -1, REGISTER_SEND_MSG_RING, &sqe, 1),
                "IORING_REGISTER_SEND_MSG_RING");
}

/* Not by write(3): in a program with threads that has a cancellation point around the call. */
static void wake_by_event_fd(struct side *side) {
    const uint64_t one = 1;
    if (syscall(SYS_write, side->other->event_fd, &one, sizeof one) != sizeof one)
        bench_die("eventfd");
}

static void watch_event_fd(struct side *side) {
    struct io_uring_sqe *sqe = bare_ring_sqe(&side->ring);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = side->event_fd;
    sqe->poll32_events = POLLIN | EPOLLET;
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->user_data = 1;
}

static void answer_by_hand(struct side *side, void (*wake)(struct side *side)) {
    side->start_ns = bench_clock_ns();
    if (side->begins)
        wake(side);
    for (uint64_t got = 0; got < side->left; got++) {
        unsigned head = bare_ring_head(&side->ring);
        bench_check(bare_ring_enter(&side->ring, 1), "enter");
        if (bare_ring_tail(&side->ring) != head + 1 || bare_ring_cqe(&side->ring, head)->res < 0)
            bench_die("not one completion");
        bare_ring_consume(&side->ring, head + 1);
        answered(side);
        if (!side->begins || got + 1 < side->left)
            wake(side);
    }
    bench_check(bare_ring_enter(&side->ring, 0), "enter"); /* the last message */
    pthread_barrier_wait(side->both);
}

static void *message_by_hand(struct side *side, unsigned taskrun) {
    bench_check(bare_ring_create_with(&side->ring, SQ_ENTRIES, CQ_ENTRIES, taskrun, NULL),
                "bare ring");
    pthread_barrier_wait(side->both);
    answer_by_hand(side, wake_by_message);
    bare_ring_destroy(&side->ring);
    return NULL;
}

static void *bare_message_side(void *arg) {
    return message_by_hand(arg, IORING_SETUP_DEFER_TASKRUN);
}

/* Such a ring takes the message in on the sender, which everything else pays for. */
static void *bare_coop_side(void *arg) { return message_by_hand(arg, IORING_SETUP_COOP_TASKRUN); }

static void *bare_register_side(void *arg) {
    struct side *side = arg;
    bench_check(bare_ring_create(&side->ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    pthread_barrier_wait(side->both);
    answer_by_hand(side, wake_by_register_call);
    bare_ring_destroy(&side->ring);
    return NULL;
}

static void *bare_event_fd_side(void *arg) {
    struct side *side = arg;
    bench_check(bare_ring_create(&side->ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    side->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch_event_fd(side);
    bench_check(bare_ring_enter(&side->ring, 0), "enter");
    pthread_barrier_wait(side->both);
    answer_by_hand(side, wake_by_event_fd);
    close(side->event_fd);
    bare_ring_destroy(&side->ring);
    return NULL;
}

/* --- the engine ------------------------------------------------------------------------------ */

/* The ways in which one context tells another something. */
struct way {
    void (*prepare)(struct side *side); /* before the other side begins */
    void (*tell)(struct side *side);
    uint32_t backend;
};

static const struct way *way;

static void answer(struct side *side) {
    answered(side);
    side->left--;
    if (!side->begins || side->left)
        way->tell(side);
    if (!side->left)
        aio_ctx_stop(side->ctx);
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    (void)flags;
    bench_check(result, "a message");
}

static void on_told(void *user_data, int32_t result, uint32_t flags) {
    if (!(flags & AIO_CQE_MORE))
        return; /* destroyed */
    bench_check(result, "a wait");
    answer(user_data);
}

static void on_post(void *arg) { answer(arg); }

static void prepare_nothing(struct side *side) { (void)side; }

static void prepare_message(struct side *side) {
    bench_check(aio_submit_msg_receive(side->ctx, NULL, on_told, side), "aio_submit_msg_receive");
}

static void prepare_notifier(struct side *side) {
    bench_check(aio_notifier_create(&side->notifier), "aio_notifier_create");
    bench_check(aio_submit_notifier_wait_multishot(side->ctx, side->notifier, NULL, on_told, side),
                "aio_submit_notifier_wait_multishot");
}

static void prepare_channel(struct side *side) {
    bench_check(aio_channel_create(NULL, &side->channel), "aio_channel_create");
    bench_check(aio_submit_channel_receive_multishot(side->ctx, side->channel, &side->record, 1,
                                                     NULL, on_told, side),
                "aio_submit_channel_receive_multishot");
}

static void tell_by_message(struct side *side) {
    const aio_submit_options quietly = {.size = sizeof quietly, .flags = AIO_SUBMIT_QUIET};
    bench_check(aio_submit_msg_ring(side->ctx, side->other->ctx, 0, 0, &quietly, on_sent, side),
                "aio_submit_msg_ring");
}

static void tell_by_post(struct side *side) {
    bench_check(aio_ctx_post(side->other->ctx, on_post, side->other), "aio_ctx_post");
}

static void tell_by_notifier(struct side *side) {
    bench_check(aio_notifier_signal(side->other->notifier), "aio_notifier_signal");
}

static void tell_by_channel(struct side *side) {
    bench_check(aio_channel_send(side->other->channel, &side->left), "aio_channel_send");
}

static void *engine_side(void *arg) {
    struct side *side = arg;
    const aio_ctx_options options = {.size = sizeof options, .backend = way->backend};
    bench_check(aio_ctx_create(&options, &side->ctx), "aio_ctx_create");
    way->prepare(side);
    bench_check(aio_ctx_flush(side->ctx), "aio_ctx_flush");
    aio_ctx_hold(side->ctx);
    pthread_barrier_wait(side->both);
    side->start_ns = bench_clock_ns();
    if (side->begins)
        way->tell(side);
    bench_check(aio_ctx_run(side->ctx), "aio_ctx_run");
    bench_check(aio_ctx_flush(side->ctx), "aio_ctx_flush"); /* the last message */
    pthread_barrier_wait(side->both);
    bench_check(aio_ctx_destroy(side->ctx), "aio_ctx_destroy");
    if (side->notifier)
        bench_check(aio_notifier_destroy(side->notifier), "aio_notifier_destroy");
    if (side->channel)
        bench_check(aio_channel_destroy(side->channel), "aio_channel_destroy");
    return NULL;
}

/* --- the table ------------------------------------------------------------------------------- */

struct body {
    void *(*side)(void *side);
};

static double by_hand(void *arg, const void *body) {
    return run_both(arg, ((const struct body *)body)->side);
}

static double by_engine(void *arg, const void *by) {
    way = by;
    return run_both(arg, engine_side);
}

#define BY_HAND(side) by_hand, BENCH_LIMIT, &(const struct body){side}, NULL
#define ENGINE(prepare, tell, backend)                                                             \
    by_engine, BENCH_ENGINE, &(const struct way){prepare, tell, backend}, NULL

static const struct bench_engine engines[] = {
    {"bare-message", BY_HAND(bare_message_side)},
    {"bare-coop", BY_HAND(bare_coop_side)},
    {"bare-register", BY_HAND(bare_register_side)},
    {"bare-eventfd", BY_HAND(bare_event_fd_side)},
    {"aio-message", ENGINE(prepare_message, tell_by_message, AIO_BACKEND_URING)},
    {"aio-post", ENGINE(prepare_nothing, tell_by_post, AIO_BACKEND_URING)},
    {"aio-notifier", ENGINE(prepare_notifier, tell_by_notifier, AIO_BACKEND_URING)},
    {"aio-channel", ENGINE(prepare_channel, tell_by_channel, AIO_BACKEND_URING)},
    {"aio-post-epoll", ENGINE(prepare_nothing, tell_by_post, AIO_BACKEND_EPOLL)},
};

int main(int argc, char **argv) {
    struct bench_engine chosen[sizeof engines / sizeof engines[0]];
    struct workload load = {.count = 4000};
    uint64_t rounds = 31, cpu = 1;
    const char *names = NULL, *limits = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names,
         "which of bare-message, bare-coop, bare-register, bare-eventfd, aio-message, aio-post, "
         "aio-notifier, "
         "aio-channel, aio-post-epoll"},
        {"count", &load.count, NULL, "round trips of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"limit", NULL, &limits, "highest ratios, such as aio-post/by-hand=1.06"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!load.count)
        bench_die("--count is at least 1");
    bench_pin(cpu);
    bool undisturbed = bench_be_undisturbed();
    size_t count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);
    struct bench_figure figures[sizeof engines / sizeof engines[0]];
    struct bench_report report;
    bench_report_open(&report, "wake", "ns of a round trip of two wake-ups, median", rounds, json);
    bench_report_limits(&report, limits, chosen, count);
    if (!undisturbed)
        puts("  at the usual priority: others who use this CPU are in the figures");
    bench_compare(chosen, count, rounds, &load, figures);
    bench_report_case(&report, "one CPU", chosen, figures, count);
    return bench_report_close(&report);
}
