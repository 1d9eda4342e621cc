/* Sends that may be made inside their submit: a context that answers one message at a time, and
 * whatever a callback does after its reply. The reply's callback comes once, after the running one,
 * with the result that a send has, as of any other operation. */
#include "harness.h"
#include <sys/syscall.h>

/* So many replies, and the next one may be made at once. */
#define ROUNDS 8
#define LEN 5

/* One end asks, the context answers; in the last round `attack` has the word. */
struct talk {
    aio_ctx *ctx;
    int pair[2];
    int round, replies;
    bool is_inside; /* a callback of the message's is running */
    bool was_made;  /* the last reply had arrived when its submit returned */
    aio_op_id id;
    char bytes[LEN];
    struct call last, other, third;
    int fd; /* of the test */
    struct order order;
    void (*attack)(struct talk *);
    const aio_submit_options *options; /* of the receives */
};

static void on_message(void *user_data, int32_t result, uint32_t flags);

static void ask(struct talk *t) {
    write_all_or_fail(t->pair[1], "hello", LEN);
    ID(aio_submit_recv(t->ctx, t->pair[0], t->bytes, LEN, 0, t->options, on_message, t));
}

static void take_reply(struct talk *t) {
    char reply[LEN];
    read_all_or_fail(t->pair[1], reply, LEN);
    CHECK_MEM(reply, "hello", LEN);
}

static void on_reply(void *user_data, int32_t result, uint32_t flags) {
    struct talk *t = user_data;
    CHECK(!t->is_inside);
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    CHECK_EQ(++t->replies, t->round);
    take_reply(t);
    ask(t);
}

/* Submits the last reply, whose end `last` tells; notes whether it has arrived already. */
static void reply_to(struct talk *t, int fd, const void *data, size_t len) {
    char one;
    t->last.order = t->other.order = &t->order;
    t->last.tag = 1;
    t->other.tag = 2;
    t->id = ID(aio_submit_send(t->ctx, fd, data, len, 0, NULL, on_call, &t->last));
    CHECK_EQ(t->last.calls, 0);
    t->was_made = recv(t->pair[1], &one, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void reply(struct talk *t) { reply_to(t, t->pair[0], t->bytes, LEN); }

static void on_message(void *user_data, int32_t result, uint32_t flags) {
    struct talk *t = user_data;
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    t->is_inside = true;
    if (++t->round < ROUNDS)
        ID(aio_submit_send(t->ctx, t->pair[0], t->bytes, LEN, 0, NULL, on_reply, t));
    else
        t->attack(t);
    t->is_inside = false;
}

static struct talk *make_talk(aio_ctx *ctx, void (*attack)(struct talk *)) {
    struct talk *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    t->ctx = ctx;
    t->attack = attack;
    make_socket_pair(t->pair);
    return t;
}

static void end_talk(struct talk *t) {
    close(t->pair[0]);
    close(t->pair[1]);
    free(t);
}

static struct talk *talk_of(aio_ctx *ctx, void (*attack)(struct talk *), int fd) {
    struct talk *t = make_talk(ctx, attack);
    t->fd = fd;
    ask(t);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    return t;
}

/* Talks; the last reply must have been made at once, or the test would be of something else. */
static struct talk *talk(aio_ctx *ctx, void (*attack)(struct talk *)) {
    struct talk *t = talk_of(ctx, attack, -1);
    CHECK_EQ(t->round, ROUNDS);
    CHECK_EQ(t->was_made, has_ring(ctx));
    return t;
}

static void check_told(const struct talk *t) {
    CHECK_EQ(t->last.calls, 1);
    CHECK_EQ(t->last.finals, 1);
    CHECK_EQ(t->last.result, LEN);
    CHECK_EQ(t->last.flags, 0);
    CHECK_EQ(t->last.id, t->id);
    CHECK_EQ(t->last.bytes, LEN);
}

/* The usual test: talk, whatever happens after the reply, which is told. */
static struct talk *check_talk(void (*attack)(struct talk *)) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = talk(ctx, attack);
    check_told(t);
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
    return t;
}

/* --- what is refused ------------------------------------------------------------------------- */

static void on_message_without_send(void *user_data, int32_t result, uint32_t flags) {
    struct talk *t = user_data;
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    CHECK_EQ(aio_submit_send(t->ctx, t->pair[0], t->bytes, LEN, 0, NULL, on_call_never, NULL),
             -EACCES);
    if (++t->round == ROUNDS)
        return;
    write_all_or_fail(t->pair[1], "hello", LEN);
    ID(aio_submit_recv(t->ctx, t->pair[0], t->bytes, LEN, 0, NULL, on_message_without_send, t));
}

TEST(a_context_that_may_not_send_does_not_send) {
    const uint8_t allowed[] = {27}; /* IORING_OP_RECV */
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.allowed_ops = allowed, .allowed_ops_count = 1));
    struct talk *t = make_talk(ctx, NULL);
    write_all_or_fail(t->pair[1], "hello", LEN);
    ID(aio_submit_recv(ctx, t->pair[0], t->bytes, LEN, 0, NULL, on_message_without_send, t));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(t->round, ROUNDS);
    CHECK(!is_readable(t->pair[1], 0));
    CHECK_EQ(stats_of(ctx).submitted, ROUNDS);
    end_ctx(ctx);
    end_talk(t);
}

static void reply_then_run(struct talk *t) {
    reply(t);
    CHECK_EQ(aio_ctx_run(t->ctx), AIO_EREENTRANT);
    CHECK_EQ(aio_ctx_run_once(t->ctx, 0), AIO_EREENTRANT);
    CHECK_EQ(aio_ctx_in_flight(t->ctx), 1);
}

TEST(a_run_inside_the_callback_that_replied_is_refused) { end_talk(check_talk(reply_then_run)); }

static void use_copy(void *arg) {
    struct talk *t = arg;
    CHECK_EQ(aio_submit_send(t->ctx, t->pair[0], "x", 1, 0, NULL, on_call_never, NULL),
             AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel(t->ctx, t->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_destroy(t->ctx), 0);
}

static void reply_then_fork(struct talk *t) {
    reply(t);
    CHECK_EQ(end_child(start_child(use_copy, t)), 0);
}

TEST(a_child_that_is_forked_after_a_reply_has_no_part_in_it) {
    end_talk(check_talk(reply_then_fork));
}

/* --- asked to end ---------------------------------------------------------------------------- */

static void reply_then_cancel(struct talk *t) {
    reply(t);
    const int32_t all = aio_ctx_cancel_all(t->ctx);
    CHECK(t->was_made ? all == 0 : all == 1);
    CHECK_EQ(aio_ctx_cancel(t->ctx, t->id), -EALREADY);
    CHECK_EQ(aio_ctx_cancel_fd(t->ctx, t->pair[0], 0), 0);
    CHECK_EQ(aio_ctx_cancel_group(t->ctx, 7), 0);
    CHECK_EQ(aio_ctx_detach(t->ctx, t->id), -EBUSY);
}

TEST(a_reply_that_was_made_cannot_be_cancelled_and_is_told) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = talk(ctx, reply_then_cancel);
    CHECK_EQ(t->last.calls, 1);
    if (t->was_made)
        check_told(t);
    else
        CHECK(t->last.result == -ECANCELED || t->last.result == LEN);
    end_ctx(ctx);
    end_talk(t);
}

static void *cancel_elsewhere(void *arg) {
    struct talk *t = arg;
    CHECK_EQ(aio_ctx_cancel(t->ctx, t->id), 0);
    return NULL;
}

static void reply_then_cancel_elsewhere(struct talk *t) {
    pthread_t thread;
    reply(t);
    CHECK_EQ(pthread_create(&thread, NULL, cancel_elsewhere, t), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(a_cancel_by_another_thread_comes_too_late_for_a_reply_that_was_made) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = talk(ctx, reply_then_cancel_elsewhere);
    CHECK_EQ(t->last.calls, 1);
    if (t->was_made)
        check_told(t);
    end_ctx(ctx);
    end_talk(t);
}

static void reply_then_close(struct talk *t) {
    reply(t);
    ID(aio_submit_close(t->ctx, t->pair[0], NULL, on_call, &t->other));
    ID(aio_submit_nop(t->ctx, NULL, on_call_count, &t->replies));
}

TEST(a_close_after_a_reply_comes_after_its_callback) {
    struct talk *t = check_talk(reply_then_close);
    CHECK_EQ(t->other.calls, 1);
    CHECK_EQ(t->other.result, 0);
    CHECK_EQ(t->order.tags[0], 1);
    CHECK_EQ(t->order.tags[1], 2);
    CHECK(peer_sees_fin(t->pair[1], 5000));
    close(t->pair[1]);
    free(t);
}

static void reply_then_stop(struct talk *t) {
    reply(t);
    ID(aio_submit_timer(t->ctx, HOUR, NULL, on_call, &t->other));
    CHECK_EQ(aio_ctx_stop(t->ctx), 0);
}

TEST(a_stop_after_a_reply_stops) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = talk(ctx, reply_then_stop);
    CHECK_EQ(t->other.calls, 0);
    CHECK_EQ(await_call(ctx, &t->last), LEN);
    check_told(t);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 1);
    CHECK_EQ(await_call(ctx, &t->other), -ECANCELED);
    end_ctx(ctx);
    end_talk(t);
}

/* --- beside others --------------------------------------------------------------------------- */

static void note_post(void *arg) {
    struct talk *t = arg;
    CHECK_EQ(aio_ctx_current_op(t->ctx), -ENOENT);
    CHECK_EQ(aio_ctx_current_bytes(t->ctx), 0);
    CHECK(aio_ctx_current() == t->ctx);
    order_note(&t->order, 3);
}

static void reply_then_post(struct talk *t) {
    reply(t);
    CHECK_EQ(aio_ctx_post(t->ctx, note_post, t), 0);
}

TEST(a_function_posted_after_a_reply_is_no_operation) {
    struct talk *t = check_talk(reply_then_post);
    CHECK_EQ(t->order.count, 2);
    CHECK_EQ(t->order.tags[0] + t->order.tags[1], 1 + 3);
    end_talk(t);
}

static void reply_then_barrier(struct talk *t) {
    reply(t);
    ID(aio_submit_nop(t->ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &t->other));
}

TEST(a_barrier_after_a_reply_waits_for_it) {
    struct talk *t = check_talk(reply_then_barrier);
    CHECK_EQ(t->order.count, 2);
    CHECK_EQ(t->order.tags[0], 1);
    CHECK_EQ(t->order.tags[1], 2);
    end_talk(t);
}

static void reply_then_chain(struct talk *t) {
    reply(t);
    ID(aio_submit_nop(t->ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &t->other));
    ID(aio_submit_send(t->ctx, t->pair[0], "chain", LEN, 0, NULL, on_call, &t->third));
}

TEST(a_chain_after_a_reply_runs) {
    struct talk *t = check_talk(reply_then_chain);
    char bytes[2 * LEN];
    CHECK_EQ(t->other.result, 0);
    CHECK_EQ(t->third.calls, 1);
    CHECK_EQ(t->third.result, LEN);
    read_all_or_fail(t->pair[1], bytes, sizeof bytes);
    CHECK_MEM(bytes, "hellochain", sizeof bytes);
    end_talk(t);
}

static void reply_in_open_chain(struct talk *t) {
    ID(aio_submit_nop(t->ctx, WITH(.flags = AIO_SUBMIT_LINK, .timeout_ns = HOUR), on_call,
                      &t->other));
    reply(t);
    CHECK(!t->was_made);
    t->was_made = has_ring(t->ctx);
}

TEST(a_reply_that_ends_a_chain_is_not_made_before_it) {
    struct talk *t = check_talk(reply_in_open_chain);
    CHECK_EQ(t->order.tags[0], 2);
    CHECK_EQ(t->order.tags[1], 1);
    end_talk(t);
}

static void reply_twice(struct talk *t) {
    reply(t);
    ID(aio_submit_send(t->ctx, t->pair[0], "again", LEN, 0, NULL, on_call, &t->other));
}

TEST(two_replies_arrive_in_their_order) {
    struct talk *t = check_talk(reply_twice);
    char bytes[2 * LEN];
    CHECK_EQ(t->other.calls, 1);
    read_all_or_fail(t->pair[1], bytes, sizeof bytes);
    CHECK_MEM(bytes, "helloagain", sizeof bytes);
    end_talk(t);
}

static void on_trace(void *arg, aio_ctx *ctx, const aio_trace_event *event) {
    struct talk *t = arg;
    CHECK(ctx == t->ctx);
    if (event->id == t->id)
        t->replies += 100;
}

static void reply_then_trace(struct talk *t) {
    reply(t);
    CHECK_EQ(aio_ctx_set_trace(t->ctx, on_trace, t), 0);
}

TEST(a_trace_that_begins_after_a_reply_sees_its_end) {
    struct talk *t = check_talk(reply_then_trace);
    CHECK_GE(t->replies, 100);
    end_talk(t);
}

static void reply_then_look(struct talk *t) {
    static char text[4096];
    char id[64];
    reply(t);
    CHECK_EQ(aio_ctx_in_flight(t->ctx), 1);
    CHECK_EQ(stats_of(t->ctx).submitted, stats_of(t->ctx).completed + 1);
    CHECK_LT(aio_ctx_dump(t->ctx, text, sizeof text), sizeof text);
    snprintf(id, sizeof id, "id %lld send fd %d", (long long)t->id, t->pair[0]);
    CHECK(strstr(text, id) != NULL);
    CHECK(!t->was_made || strstr(text, "in the backend") == NULL);
    CHECK_GE(aio_ctx_flush(t->ctx), 0);
    CHECK_EQ(t->last.calls, 0);
}

TEST(a_reply_that_was_made_is_in_flight_until_it_is_told) { end_talk(check_talk(reply_then_look)); }

TEST(a_reply_in_a_context_of_one_operation) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.max_ops = 1));
    struct talk *t = talk(ctx, reply);
    check_told(t);
    end_ctx(ctx);
    end_talk(t);
}

static void reply_with_no_place_left(struct talk *t) {
    reply(t);
    CHECK_EQ(aio_submit_nop(t->ctx, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(aio_submit_send(t->ctx, t->pair[0], "x", 1, 0, NULL, on_call_never, NULL), -EAGAIN);
}

TEST(a_reply_takes_the_only_place_until_it_is_told) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.max_ops = 1));
    struct talk *t = talk(ctx, reply_with_no_place_left);
    check_told(t);
    take_reply(t);
    CHECK(!is_readable(t->pair[1], 0));
    end_ctx(ctx);
    end_talk(t);
}

/* Deadlines that are armed in every turn, and replies beside them. */
TEST(replies_beside_deadlines_are_told) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = make_talk(ctx, reply);
    aio_submit_options options = {.size = sizeof options, .timeout_ns = HOUR};
    t->options = &options;
    for (int i = 0; i < 20; i++) {
        t->round = t->replies = 0;
        t->last.calls = t->last.finals = 0;
        ask(t);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        check_told(t);
        take_reply(t);
    }
    end_ctx(ctx);
    end_talk(t);
}

static void reply_then_expire(struct talk *t) {
    reply(t);
    ID(aio_submit_recv(t->ctx, t->pair[0], t->bytes, LEN, 0, WITH(.timeout_ns = 20 * MS), on_call,
                       &t->other));
}

TEST(a_deadline_that_is_armed_after_a_reply_passes) {
    struct talk *t = check_talk(reply_then_expire);
    CHECK_EQ(t->other.calls, 1);
    CHECK_EQ(t->other.result, -ETIMEDOUT);
    CHECK_EQ(t->other.flags, AIO_CQE_DEADLINE);
    end_talk(t);
}

TEST(run_once_counts_a_reply_with_what_it_answers) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = make_talk(ctx, reply);
    const bool timeouts[] = {false, true};
    for (int i = 0; i < 2; i++) {
        int told = 0;
        t->round = t->replies = 0;
        t->last.calls = t->last.finals = 0;
        ask(t);
        while (aio_ctx_in_flight(ctx) != 0) {
            const int32_t count = aio_ctx_run_once(ctx, timeouts[i] ? (int64_t)(1000 * MS) : -1);
            CHECK_GE(count, 1);
            told += count;
        }
        CHECK_EQ(told, 2 * ROUNDS);
        check_told(t);
        take_reply(t);
        CHECK_EQ(aio_ctx_current_op(ctx), -ENOENT);
        CHECK_EQ(aio_ctx_current_bytes(ctx), 0);
    }
    CHECK_EQ(stats_of(ctx).callbacks, 4 * ROUNDS);
    end_ctx(ctx);
    end_talk(t);
}

/* --- results --------------------------------------------------------------------------------- */

static struct talk *result_of(void (*attack)(struct talk *), int fd, int32_t result) {
    aio_ctx *ctx = make_ctx();
    struct talk *t = talk_of(ctx, attack, fd);
    CHECK_EQ(t->last.calls, 1);
    CHECK_EQ(t->last.finals, 1);
    CHECK_EQ(t->last.result, result);
    CHECK_EQ(t->last.flags, 0);
    CHECK_EQ(t->last.id, t->id);
    CHECK_EQ(t->last.bytes, result < 0 ? 0 : result);
    CHECK_EQ(stats_of(ctx).failed, result < 0);
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
    return t;
}

static void reply_to_nothing(struct talk *t) { reply_to(t, t->pair[0], t->bytes, 0); }
static void reply_to_null(struct talk *t) {
    CHECK_EQ(aio_submit_send(t->ctx, t->pair[0], NULL, 1, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_send(t->ctx, t->pair[0], "", 1, 0, NULL, NULL, NULL), -EINVAL);
    reply_to(t, t->pair[0], NULL, 0);
}
static void reply_to_number(struct talk *t) { reply_to(t, t->fd, t->bytes, LEN); }
static void reply_to_gone(struct talk *t) {
    close(t->pair[1]);
    t->pair[1] = -1;
    reply_to(t, t->pair[0], t->bytes, LEN);
}
static void reply_from_nowhere(struct talk *t) {
    reply_to(t, t->pair[0], (const void *)(uintptr_t)8, LEN);
}

TEST(a_reply_of_nothing_succeeds) { end_talk(result_of(reply_to_nothing, -1, 0)); }
TEST(a_reply_of_null_and_no_length_succeeds) { end_talk(result_of(reply_to_null, -1, 0)); }

TEST(a_reply_to_a_number_that_is_no_descriptor_fails) {
    const int numbers[] = {1022, -1, INT32_MIN, 1023, 1024, 1 << 20, 1 << 30, INT32_MAX};
    for (int i = 0; i < COUNT_OF(numbers); i++)
        end_talk(result_of(reply_to_number, numbers[i], -EBADF));
}

TEST(a_reply_to_a_file_fails) {
    end_talk(result_of(reply_to_number, temp_file("plain", "x", 1), -ENOTSOCK));
}

TEST(a_reply_to_an_end_that_is_gone_fails) { end_talk(result_of(reply_to_gone, -1, -EPIPE)); }
TEST(a_reply_from_no_memory_fails) {
    beyond_valgrind("it reports the address");
    end_talk(result_of(reply_from_nowhere, -1, -EFAULT));
}

static void reply_behind_filter(struct talk *t) {
    forbid_call(SYS_sendto, (unsigned)t->fd);
    reply(t);
    CHECK(!t->was_made);
}

static void check_filter(int error) {
    aio_ctx *ctx = make_ctx();
    needs_ring(ctx, "without a ring every send is the plain call");
    struct talk *t = talk_of(ctx, reply_behind_filter, error);
    check_told(t);
    take_reply(t);
    end_ctx(ctx);
    end_talk(t);
}

TEST(a_reply_is_not_interrupted) { check_filter(EINTR); }
TEST(a_reply_is_no_business_of_a_filter_that_forbids) { check_filter(EPERM); }
TEST(a_reply_is_no_business_of_a_filter_that_knows_nothing) { check_filter(ENOSYS); }

/* --- sends that do not fit ------------------------------------------------------------------- */

static char many[8 << 20];

static void reply_much(struct talk *t) { reply_to(t, t->pair[0], many, sizeof many); }

/* A part of it is its result, and that part arrives. */
TEST(a_reply_that_does_not_fit_is_cut) {
    static char got[sizeof many];
    aio_ctx *ctx = make_ctx();
    pattern_fill(many, sizeof many, 1);
    struct talk *t = talk_of(ctx, reply_much, -1);
    CHECK_EQ(t->last.calls, 1);
    CHECK_GT(t->last.result, 0);
    CHECK_EQ(t->last.bytes, t->last.result);
    read_all_or_fail(t->pair[1], got, (size_t)t->last.result);
    CHECK_MEM(got, many, (size_t)t->last.result);
    CHECK(!is_readable(t->pair[1], 0));
    end_ctx(ctx);
    end_talk(t);
}

static void drain(void *arg) { drain_until_empty(((struct talk *)arg)->pair[1]); }

static void reply_to_full(struct talk *t) {
    fill_until_full(t->pair[0]);
    reply(t);
    t->was_made = has_ring(t->ctx);
    ID(aio_submit_timer(t->ctx, 5 * MS, NULL, on_call, &t->other));
    CHECK_EQ(aio_ctx_post(t->ctx, drain, t), 0);
}

TEST(a_reply_that_finds_no_room_waits) { end_talk(check_talk(reply_to_full)); }

HARNESS_MAIN
