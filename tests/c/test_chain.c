/* Section ctx, the part on order: links, hard links and barriers. */
#include "harness.h"

#include <poll.h>

#define LINK WITH(.flags = AIO_SUBMIT_LINK)
#define HARDLINK WITH(.flags = AIO_SUBMIT_HARDLINK)
#define BARRIER WITH(.flags = AIO_SUBMIT_BARRIER)

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

/* --- links ----------------------------------------------------------------------------------- */

TEST(linked_operations_run_one_after_the_other) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("chain", NULL, 0);
    struct order order = {0};
    struct call c[4];
    for (int round = 0; round < scaled(200); round++) {
        order.count = 0;
        for (int i = 0; i < 4; i++)
            c[i] = (struct call){.order = &order, .tag = i};
        char text[16], back[16] = {0};
        snprintf(text, sizeof text, "%07d", round);
        SYS(ftruncate(fd, 0));
        ID(aio_submit_write(ctx, fd, text, 7, 0, LINK, on_call, &c[0]));
        ID(aio_submit_fsync(ctx, fd, AIO_FSYNC_DATASYNC, LINK, on_call, &c[1]));
        ID(aio_submit_read(ctx, fd, back, 7, 0, LINK, on_call, &c[2]));
        ID(aio_submit_nop(ctx, NULL, on_call, &c[3]));
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(c[0].result, 7);
        CHECK_EQ(c[1].result, 0);
        CHECK_EQ(c[2].result, 7);
        CHECK_EQ(c[3].result, 0);
        CHECK_STR(back, text);
        CHECK_EQ(order.count, 4);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(order.tags[i], i);
    }
    close(fd);
    end_ctx(ctx);
}

TEST(a_member_waits_for_the_one_before_it) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call next = {0}, free_nop = {0};
    gate_submit(ctx, &gate, LINK);
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    ID(aio_submit_nop(ctx, NULL, on_call, &free_nop)); /* after the chain, not in it */
    CHECK_EQ(await_call(ctx, &free_nop), 0);
    check_blocked(ctx, &next);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &next), 0);
    CHECK_EQ(gate.call.result, 1);
    end_ctx(ctx);
}

TEST(a_failure_breaks_the_rest_of_the_chain) {
    aio_ctx *ctx = make_ctx();
    struct call fails = {0}, second = {0}, third = {0}, outside = {0};
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, LINK, on_call, &fails));
    ID(aio_submit_nop(ctx, LINK, on_call, &second));
    ID(aio_submit_nop(ctx, NULL, on_call, &third));
    ID(aio_submit_nop(ctx, NULL, on_call, &outside));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(fails.result, -EBADF);
    CHECK_EQ(fails.flags & AIO_CQE_ABORTED, 0);
    CHECK_EQ(second.result, -ECANCELED);
    CHECK_EQ(second.flags, AIO_CQE_ABORTED);
    CHECK_EQ(third.result, -ECANCELED);
    CHECK_EQ(third.flags, AIO_CQE_ABORTED);
    CHECK_EQ(outside.result, 0);
    end_ctx(ctx);
}

TEST(a_short_read_breaks_a_link) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("short", "abc", 3);
    char data[8] = {0};
    struct call read = {0}, next = {0};
    ID(aio_submit_read(ctx, fd, data, 8, 0, LINK, on_call, &read));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(read.result, 3);
    CHECK_EQ(next.result, -ECANCELED);
    CHECK_EQ(next.flags, AIO_CQE_ABORTED);
    close(fd);
    end_ctx(ctx);
}

TEST(two_chains_in_a_row_do_not_touch_each_other) {
    aio_ctx *ctx = make_ctx();
    struct call a[2], b[2];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, LINK, on_call, &a[0]));
    ID(aio_submit_nop(ctx, NULL, on_call, &a[1]));
    ID(aio_submit_nop(ctx, LINK, on_call, &b[0]));
    ID(aio_submit_nop(ctx, NULL, on_call, &b[1]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(a[1].result, -ECANCELED);
    CHECK_EQ(b[0].result, 0);
    CHECK_EQ(b[1].result, 0);
    end_ctx(ctx);
}

TEST(a_chain_of_file_work_ends_with_a_close) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("closing", NULL, 0);
    struct call write = {0}, sync = {0}, close_call = {0};
    ID(aio_submit_write(ctx, fd, "kept", 4, 0, LINK, on_call, &write));
    ID(aio_submit_fsync(ctx, fd, 0, LINK, on_call, &sync));
    ID(aio_submit_close(ctx, fd, NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(write.result, 4);
    CHECK_EQ(sync.result, 0);
    CHECK_EQ(close_call.result, 0);
    CHECK(!is_open(fd));
    struct stat st;
    SYS(stat(temp_path("closing"), &st));
    CHECK_EQ(st.st_size, 4);
    end_ctx(ctx);
}

TEST(a_timer_cannot_be_a_member_and_does_not_disturb_the_chain) {
    aio_ctx *ctx = make_ctx();
    struct call c[2];
    memset(c, 0, sizeof c);
    ID(aio_submit_nop(ctx, LINK, on_call, &c[0]));
    CHECK_EQ(aio_submit_timer(ctx, MS, LINK, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_timer(ctx, MS, HARDLINK, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_timer(ctx, MS, BARRIER, on_call_never, NULL), -EINVAL);
    ID(aio_submit_nop(ctx, NULL, on_call, &c[1]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(c[0].result, 0);
    CHECK_EQ(c[1].result, 0);
    end_ctx(ctx);
}

TEST(a_timer_cannot_be_the_last_member_and_leaves_the_chain_open) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call last = {0};
    gate_submit(ctx, &gate, LINK);
    CHECK_EQ(aio_submit_timer(ctx, MS, NULL, on_call_never, NULL), -EINVAL);
    ID(aio_submit_nop(ctx, NULL, on_call, &last));
    check_blocked(ctx, &last);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &last), 0);
    end_ctx(ctx);
}

/* --- hard links ------------------------------------------------------------------------------ */

TEST(a_hard_link_holds_after_a_failure) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    struct call c[3];
    for (int i = 0; i < 3; i++)
        c[i] = (struct call){.order = &order, .tag = i};
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, HARDLINK, on_call, &c[0]));
    ID(aio_submit_read(ctx, 9998, &byte, 1, 0, HARDLINK, on_call, &c[1]));
    ID(aio_submit_nop(ctx, NULL, on_call, &c[2]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(c[0].result, -EBADF);
    CHECK_EQ(c[1].result, -EBADF);
    CHECK_EQ(c[2].result, 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(order.tags[i], i);
    end_ctx(ctx);
}

TEST(a_hard_link_still_waits_for_the_one_before_it) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call next = {0};
    gate_submit(ctx, &gate, HARDLINK);
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    check_blocked(ctx, &next);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &next), 0);
    end_ctx(ctx);
}

TEST(a_hard_link_survives_a_short_read) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("hard", "abc", 3);
    char data[8] = {0};
    struct call read = {0}, next = {0};
    ID(aio_submit_read(ctx, fd, data, 8, 0, HARDLINK, on_call, &read));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(read.result, 3);
    CHECK_EQ(next.result, 0);
    close(fd);
    end_ctx(ctx);
}

/* --- length ---------------------------------------------------------------------------------- */

TEST(a_chain_as_long_as_the_queue_is_whole_wherever_it_starts) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 16));
    for (int before = 0; before <= 5; before++) {
        struct order order = {0};
        struct gate gate;
        struct call c[4];
        int nops = 0;
        for (int i = 0; i < before; i++)
            ID(aio_submit_nop(ctx, NULL, on_call_count, &nops));
        gate_submit(ctx, &gate, LINK);
        for (int i = 1; i < 4; i++) {
            c[i] = (struct call){.order = &order, .tag = i};
            ID(aio_submit_nop(ctx, i < 3 ? LINK : NULL, on_call, &c[i]));
        }
        check_blocked(ctx, &c[1]); /* no link was lost between two submissions */
        CHECK_EQ(c[2].calls + c[3].calls, 0);
        CHECK_EQ(nops, before);
        gate_open(&gate);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(order.count, 3);
        for (int i = 1; i < 4; i++) {
            CHECK_EQ(c[i].result, 0);
            CHECK_EQ(order.tags[i - 1], i);
        }
        close(gate.pair[0]);
        close(gate.pair[1]);
    }
    end_ctx(ctx);
}

TEST(a_chain_longer_than_the_queue_fails_whole) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 16));
    const int fd = temp_file("long", NULL, 0);
    struct call c[6];
    memset(c, 0, sizeof c);
    for (int i = 0; i < 5; i++)
        ID(aio_submit_write(ctx, fd, "x", 1, 0, LINK, on_call, &c[i]));
    ID(aio_submit_write(ctx, fd, "x", 1, 0, NULL, on_call, &c[5]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(c[i].calls, 1);
        CHECK_EQ(c[i].result, -EINVAL);
    }
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 0); /* nothing of it was started */
    struct call after = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(await_call(ctx, &after), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(a_chain_left_open_fails_whole) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("open", NULL, 0);
    struct call c[2], after = {0};
    memset(c, 0, sizeof c);
    ID(aio_submit_write(ctx, fd, "x", 1, 0, LINK, on_call, &c[0]));
    ID(aio_submit_nop(ctx, LINK, on_call, &c[1]));
    CHECK_EQ(c[0].calls + c[1].calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(c[i].calls, 1);
        CHECK_EQ(c[i].result, -EINVAL);
    }
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 0);
    ID(aio_submit_nop(ctx, NULL, on_call, &after)); /* and does not take in what comes next */
    CHECK_EQ(await_call(ctx, &after), 0);
    close(fd);
    end_ctx(ctx);
}

static void leave_open(struct call *call) {
    ID(aio_submit_nop(call->ctx, LINK, on_call, call->arg));
}

TEST(a_chain_left_open_by_a_callback_fails) {
    aio_ctx *ctx = make_ctx();
    struct call open = {0}, call = {.then = leave_open, .arg = &open};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(open.calls, 1);
    CHECK_EQ(open.result, -EINVAL);
    end_ctx(ctx);
}

static void submit_chain(struct call *call) {
    struct call *chain = call->arg;
    for (int i = 0; i < 3; i++)
        ID(aio_submit_nop(call->ctx, i < 2 ? LINK : NULL, on_call, &chain[i]));
}

TEST(a_chain_submitted_in_a_callback_runs) {
    aio_ctx *ctx = make_ctx();
    struct call chain[3];
    memset(chain, 0, sizeof chain);
    struct call call = {.then = submit_chain, .arg = chain};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(chain[i].calls, 1);
        CHECK_EQ(chain[i].result, 0);
    }
    end_ctx(ctx);
}

/* --- cancel and deadline --------------------------------------------------------------------- */

TEST(cancelling_the_running_head_breaks_the_chain) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call next = {0};
    gate_submit(ctx, &gate, LINK);
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    check_blocked(ctx, &gate.call);
    CHECK_EQ(aio_ctx_cancel(ctx, gate.id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(gate.call.result, -ECANCELED);
    CHECK_EQ(gate.call.flags & AIO_CQE_ABORTED, 0);
    CHECK_EQ(next.result, -ECANCELED);
    CHECK_EQ(next.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(cancelling_a_member_that_has_not_started_cancels_the_head) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call second = {0}, third = {0};
    gate_submit(ctx, &gate, LINK);
    const aio_op_id id = ID(aio_submit_nop(ctx, LINK, on_call, &second));
    ID(aio_submit_nop(ctx, NULL, on_call, &third));
    check_blocked(ctx, &gate.call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(second.calls, 0); /* never inside the cancel call */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(gate.call.result, -ECANCELED);
    CHECK_EQ(second.result, -ECANCELED);
    CHECK_EQ(third.result, -ECANCELED);
    CHECK_EQ(third.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(a_deadline_of_the_running_head_breaks_the_chain) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call next = {0};
    gate_submit(ctx, &gate, WITH(.flags = AIO_SUBMIT_LINK, .timeout_ns = 5 * MS));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(gate.call.result, -ETIMEDOUT);
    CHECK_EQ(gate.call.flags, AIO_CQE_DEADLINE);
    CHECK_EQ(next.result, -ECANCELED);
    CHECK_EQ(next.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(a_deadline_of_a_member_that_has_not_started_cancels_the_head) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call second = {0}, third = {0};
    gate_submit(ctx, &gate, LINK);
    const uint64_t start = now_ns();
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK, .timeout_ns = 5 * MS), on_call, &second));
    ID(aio_submit_nop(ctx, NULL, on_call, &third));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(gate.call.result, -ECANCELED);
    CHECK_EQ(second.result, -ETIMEDOUT);
    CHECK_EQ(second.flags, AIO_CQE_DEADLINE);
    CHECK_GE(second.at_ns - start, 5 * MS);
    CHECK_EQ(third.result, -ECANCELED);
    CHECK_EQ(third.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(cancelling_in_an_open_chain_fails_what_is_still_to_come) {
    for (int waiting = 0; waiting < 2; waiting++) {
        aio_ctx *ctx = make_ctx();
        struct call first = {0}, second = {0}, last = {0}, after = {0};
        const int fd = temp_file("open", NULL, 0);
        const aio_op_id id = ID(aio_submit_nop(ctx, LINK, on_call, &first));
        ID(aio_submit_nop(ctx, LINK, on_call, &second));
        CHECK_EQ(waiting ? aio_ctx_cancel_wait(ctx, id) : aio_ctx_cancel(ctx, id), 0);
        ID(aio_submit_write(ctx, fd, "x", 1, 0, NULL, on_call, &last));
        ID(aio_submit_nop(ctx, NULL, on_call, &after));
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(first.calls, !waiting);
        CHECK_EQ(second.calls, 1);
        CHECK(second.result == -ECANCELED || second.result == -EINVAL);
        CHECK_EQ(last.calls, 1);
        CHECK_EQ(last.result, -ECANCELED); /* it depended on the first */
        CHECK_EQ(after.result, 0);
        struct stat st;
        SYS(fstat(fd, &st));
        CHECK_EQ(st.st_size, 0);
        close(fd);
        end_ctx(ctx);
    }
}

/* --- barriers -------------------------------------------------------------------------------- */

TEST(a_barrier_waits_for_everything_before_it_and_holds_nothing_after_it) {
    aio_ctx *ctx = make_ctx();
    struct gate first, second;
    struct call held = {0}, later = {0};
    gate_submit(ctx, &first, NULL);
    gate_submit(ctx, &second, NULL);
    ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    ID(aio_submit_nop(ctx, NULL, on_call, &later));
    CHECK_EQ(await_call(ctx, &later), 0);
    check_blocked(ctx, &held);
    gate_open(&first);
    CHECK_EQ(await_call(ctx, &first.call), 1);
    check_blocked(ctx, &held);
    gate_open(&second);
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(second.call.result, 1);
    end_ctx(ctx);
}

TEST(a_barrier_with_nothing_before_it_starts_at_once) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, BARRIER, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
}

TEST(a_barrier_does_not_care_how_those_before_it_ended) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call fails = {0}, held = {0};
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, NULL, on_call, &fails));
    gate_submit(ctx, &gate, NULL);
    ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    check_blocked(ctx, &held);
    CHECK_EQ(fails.result, -EBADF);
    CHECK_EQ(aio_ctx_cancel(ctx, gate.id), 0);
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(gate.call.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(a_barrier_does_not_wait_for_a_multishot) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call poll = {0}, interval = {0}, held = {0};
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &poll));
    ID(aio_submit_interval(ctx, 3600 * 1000 * MS, NULL, on_call, &interval));
    ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(poll.calls + interval.calls, 0);
    end_ctx(ctx);
}

TEST(a_barrier_waits_for_a_timer) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    struct call timer = {.order = &order, .tag = 1}, held = {.order = &order, .tag = 2};
    ID(aio_submit_timer(ctx, 10 * MS, NULL, on_call, &timer));
    ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 2);
    CHECK_EQ(order.tags[0], 1);
    CHECK_EQ(held.result, 0);
    end_ctx(ctx);
}

TEST(barriers_in_a_row_start_in_their_order) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct order order = {0};
    struct call held[5];
    gate_submit(ctx, &gate, NULL);
    for (int i = 0; i < 5; i++) {
        held[i] = (struct call){.order = &order, .tag = i};
        ID(aio_submit_nop(ctx, BARRIER, on_call, &held[i]));
    }
    check_blocked(ctx, &held[0]);
    CHECK_EQ(order.count, 0);
    gate_open(&gate);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 5);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(order.tags[i], i);
    end_ctx(ctx);
}

TEST(a_held_barrier_is_cancelled_without_what_it_waits_for) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call held = {0};
    gate_submit(ctx, &gate, NULL);
    const aio_op_id id = ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    check_blocked(ctx, &held);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(held.calls, 0); /* never inside the cancel call */
    CHECK_EQ(await_call(ctx, &held), -ECANCELED);
    CHECK_EQ(gate.call.calls, 0);
    gate_open(&gate);
    CHECK_EQ(await_call(ctx, &gate.call), 1);
    end_ctx(ctx);
}

TEST(a_held_barrier_meets_its_deadline) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct call held = {0};
    gate_submit(ctx, &gate, NULL);
    const uint64_t start = now_ns();
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER, .timeout_ns = 5 * MS), on_call,
                      &held));
    CHECK_EQ(await_call(ctx, &held), -ETIMEDOUT);
    CHECK_EQ(held.flags, AIO_CQE_DEADLINE);
    CHECK_GE(held.at_ns - start, 5 * MS);
    CHECK_EQ(gate.call.calls, 0);
    end_ctx(ctx);
}

TEST(a_barrier_on_a_chain_holds_the_whole_chain) {
    aio_ctx *ctx = make_ctx();
    struct gate gate;
    struct order order = {0};
    struct call c[2];
    gate_submit(ctx, &gate, NULL);
    for (int i = 0; i < 2; i++)
        c[i] = (struct call){.order = &order, .tag = i};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER | AIO_SUBMIT_LINK), on_call, &c[0]));
    ID(aio_submit_nop(ctx, NULL, on_call, &c[1]));
    check_blocked(ctx, &c[0]);
    CHECK_EQ(c[1].calls, 0);
    gate_open(&gate);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(c[0].result, 0);
    CHECK_EQ(c[1].result, 0);
    CHECK_EQ(order.tags[0], 0);
    CHECK_EQ(order.tags[1], 1);
    end_ctx(ctx);
}

TEST(a_barrier_does_not_hold_back_a_cancel) {
    aio_ctx *ctx = make_ctx();
    struct gate idle, later;
    struct call held = {0};
    gate_submit(ctx, &idle, NULL);
    ID(aio_submit_nop(ctx, BARRIER, on_call, &held));
    gate_submit(ctx, &later, NULL);
    check_blocked(ctx, &held);
    CHECK_EQ(aio_ctx_cancel(ctx, later.id), 0);
    CHECK_EQ(await_call(ctx, &later.call), -ECANCELED);
    CHECK_EQ(held.calls, 0);
    CHECK_EQ(aio_ctx_cancel(ctx, idle.id), 0);
    CHECK_EQ(await_call(ctx, &held), 0);
    end_ctx(ctx);
}

/* Random operations, chains and barriers, some cancelled: each ends once, and what a barrier let
 * through ended after every one-shot operation that was submitted before it. */
enum { RANDOM_OPS = 200 };

struct random_op {
    struct call call;
    aio_op_id id;
    int pair[2];
    char byte;
    bool is_barrier, is_multishot;
};

TEST(barriers_among_random_operations_keep_their_promise) {
    uint64_t random = test_seed();
    static struct random_op ops[RANDOM_OPS];
    for (int round = 0; round < scaled(30); round++) {
        aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 8, .cq_entries = 16));
        struct order order = {0};
        memset(ops, 0, sizeof ops);
        bool open = false; /* a chain */
        int links = 0;
        for (int i = 0; i < RANDOM_OPS; i++) {
            struct random_op *op = &ops[i];
            const uint64_t pick = open ? 0 : random_below(&random, 100);
            op->call = (struct call){.order = &order, .tag = i};
            op->is_barrier = !open && random_below(&random, 8) == 0;
            op->is_multishot = pick >= 85 && pick < 90 && !op->is_barrier;
            const bool link =
                (pick < 20 || open) && links < 5 && i + 1 < RANDOM_OPS && random_below(&random, 2);
            aio_submit_options options = {.size = sizeof options};
            options.flags = (op->is_barrier ? AIO_SUBMIT_BARRIER : 0) |
                            (link ? AIO_SUBMIT_LINK << random_below(&random, 2) : 0);
            if (random_below(&random, 10) == 0)
                options.timeout_ns = 1 + random_below(&random, 3 * MS);
            make_socket_pair(op->pair);
            if (op->is_multishot)
                op->id = ID(aio_submit_poll_multishot(ctx, op->pair[0], POLLIN, &options, on_call,
                                                      &op->call));
            else if (pick >= 90 && !op->is_barrier)
                op->id = ID(aio_submit_timer(ctx, random_below(&random, 2 * MS), &options, on_call,
                                             &op->call));
            else if (pick >= 50 || (open && random_below(&random, 2)))
                op->id = ID(aio_submit_recv(ctx, op->pair[0], &op->byte, 1, 0, &options, on_call,
                                            &op->call));
            else
                op->id = ID(aio_submit_nop(ctx, &options, on_call, &op->call));
            open = link;
            links = link ? links + 1 : 0;
            if (!open && random_below(&random, 5) == 0)
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            if (!open && random_below(&random, 12) == 0) {
                struct random_op *victim = &ops[random_below(&random, (uint64_t)i + 1)];
                const int32_t status = aio_ctx_cancel(ctx, victim->id);
                CHECK(status == 0 || status == -EALREADY || status == -ENOENT);
            }
        }
        for (int i = 0; i < RANDOM_OPS; i++) {
            write_all_or_fail(ops[i].pair[1], "x", 1);
            if (random_below(&random, 10) == 0)
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            if (ops[i].is_multishot)
                aio_ctx_cancel(ctx, ops[i].id);
        }
        CHECK_EQ(aio_ctx_run(ctx), 0);
        int place[RANDOM_OPS];
        for (int i = 0; i < order.count; i++)
            place[order.tags[i]] = i; /* of its last callback: later ones overwrite */
        for (int i = 0; i < RANDOM_OPS; i++) {
            CHECK_EQ(ops[i].call.finals, 1);
            if (!ops[i].is_barrier || ops[i].call.result < 0)
                continue;
            for (int before = 0; before < i; before++)
                if (!ops[before].is_multishot)
                    CHECK_LT(place[before], place[i]);
        }
        check_nothing_in_flight(ctx);
        end_ctx(ctx);
        for (int i = 0; i < RANDOM_OPS; i++) {
            close(ops[i].pair[0]);
            close(ops[i].pair[1]);
        }
    }
}

HARNESS_MAIN
