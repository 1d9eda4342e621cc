/* Whole transfers (read_exact, write_all, recv_exact, send_all): what comes in pieces is one
 * operation with one callback, however it ends, and the count is right in every ending. */
#include "harness.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#define CUR AIO_OFFSET_CURRENT

/* --- pieces ---------------------------------------------------------------------------------- */

TEST(read_exact_goes_on_where_a_pipe_gives_little) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[10] = {0};
    struct call call = {0};
    make_pipe(fds);
    ID(aio_submit_read_exact(ctx, fds[0], data, 10, CUR, NULL, on_call, &call));
    for (int i = 0; i < 10; i++) {
        check_blocked(ctx, &call);
        write_all_or_fail(fds[1], &"0123456789"[i], 1);
    }
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.bytes, 10);
    CHECK_MEM(data, "0123456789", 10);
    end_ctx(ctx);
}

/* The offset of the second piece is not 0 any more, which sockets refuse. */
TEST(a_stream_may_be_given_an_offset_of_zero) {
    int fds[2];
    make_socket_pair(fds);
    aio_ctx *ctx = make_ctx();
    char data[10] = {0};
    struct call read = {0}, write = {0};
    ID(aio_submit_read_exact(ctx, fds[0], data, 10, 0, NULL, on_call, &read));
    for (int i = 0; i < 10; i += 2) {
        check_blocked(ctx, &read);
        write_all_or_fail(fds[1], &"0123456789"[i], 2);
    }
    CHECK_EQ(await_call(ctx, &read), 0);
    CHECK_MEM(data, "0123456789", 10);
    CHECK_EQ(DO(ctx, write, aio_submit_write_all(ctx, fds[0], "abc", 3, 0, NULL, on_call, &write)),
             0);
    CHECK_EQ(recv(fds[1], data, sizeof data, MSG_DONTWAIT), 3);
    end_ctx(ctx);
}

TEST(files_are_read_and_written_at_their_offsets_and_positions) {
    aio_ctx *ctx = make_ctx();
    static char data[300000], back[300000];
    const int fd = temp_file("file", NULL, 0);
    struct call call = {0};
    pattern_fill(data, sizeof data, 5);
    CHECK_EQ(DO(ctx, call, aio_submit_write_all(ctx, fd, data, 200000, 100, NULL, on_call, &call)),
             0);
    CHECK_EQ(call.bytes, 200000);
    SYS(lseek(fd, 200100, SEEK_SET));
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_write_all(ctx, fd, data + 200000, 100000, CUR, NULL, on_call, &call)),
             0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 300100);
    call = (struct call){0};
    CHECK_EQ(
        DO(ctx, call, aio_submit_read_exact(ctx, fd, back, sizeof back, 100, NULL, on_call, &call)),
        0);
    CHECK(pattern_holds(back, sizeof back, 5));
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 300100);
    end_ctx(ctx);
}

struct reader {
    int fd;
    size_t size;
    char *data;
};

/* In odd pieces, with pauses. */
static void *read_slowly(void *arg) {
    const struct reader *reader = arg;
    size_t done = 0;
    for (int i = 0; done < reader->size; i++) {
        const size_t want = 1 + (size_t)(i * 7919) % 65537;
        const size_t left = reader->size - done;
        const ssize_t got = read(reader->fd, reader->data + done, want < left ? want : left);
        if (got <= 0)
            break;
        done += (size_t)got;
        if (i % 16 == 0)
            sleep_ms(1);
    }
    return (void *)(uintptr_t)done;
}

static void check_large_one_arrives(int from, int to, bool socket) {
    aio_ctx *ctx = make_ctx();
    const size_t size = (3 << 20) + 17;
    char *data = malloc(size);
    struct reader reader = {to, size, malloc(size)};
    struct call call = {0};
    pthread_t thread;
    void *got;
    CHECK(data && reader.data);
    pattern_fill(data, size, 11);
    CHECK_EQ(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    if (socket)
        ID(aio_submit_send_all(ctx, from, data, size, 0, NULL, on_call, &call));
    else
        ID(aio_submit_write_all(ctx, from, data, size, CUR, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.bytes, size);
    CHECK_EQ(pthread_join(thread, &got), 0);
    CHECK_EQ((uintptr_t)got, size);
    CHECK(pattern_holds(reader.data, size, 11));
    free(reader.data);
    free(data);
    end_ctx(ctx);
}

TEST(write_all_goes_on_while_a_pipe_takes_little) {
    int fds[2];
    make_pipe(fds);
    check_large_one_arrives(fds[1], fds[0], false);
}

TEST(write_all_goes_on_on_a_pipe_that_does_not_block) {
    int fds[2];
    make_pipe(fds);
    if (SYS(fcntl(fds[1], F_SETFL, O_NONBLOCK)) == 0)
        check_large_one_arrives(fds[1], fds[0], false);
}

TEST(send_all_goes_on_while_the_peer_is_slow) {
    int fds[2];
    make_tcp_pair(fds);
    check_large_one_arrives(fds[0], fds[1], true);
}

TEST(send_all_goes_on_on_a_socket_that_does_not_block) {
    int fds[2];
    make_socket_pair(fds);
    if (SYS(fcntl(fds[0], F_SETFL, O_NONBLOCK)) == 0)
        check_large_one_arrives(fds[0], fds[1], true);
}

TEST(recv_exact_takes_what_comes_in_bits) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[10] = {0};
    struct call call = {0};
    make_tcp_pair(fds);
    ID(aio_submit_recv_exact(ctx, fds[0], data, 10, 0, NULL, on_call, &call));
    for (int i = 0; i < 10; i++) {
        check_blocked(ctx, &call);
        write_all_or_fail(fds[1], &"0123456789"[i], 1);
    }
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.bytes, 10);
    CHECK_MEM(data, "0123456789", 10);
    end_ctx(ctx);
}

TEST(more_than_one_call_can_move_is_moved) {
    beyond_valgrind("has no room for so much");
    const size_t size = 5ull << 30; /* never touched: /dev/null does not look at it */
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        SKIP("no address space for it");
    aio_ctx *ctx = make_ctx();
    const int fd = SYS(open("/dev/null", O_WRONLY | O_CLOEXEC));
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_write_all(ctx, fd, memory, size, 0, NULL, on_call, &call)),
             0);
    CHECK_EQ(call.bytes, size);
    close(fd);
    SYS(munmap(memory, size));
    end_ctx(ctx);
}

TEST(nothing_is_transferred_at_once) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    make_tcp_pair(fds);
    struct call calls[4] = {{0}};
    ID(aio_submit_recv_exact(ctx, fds[0], NULL, 0, 0, NULL, on_call, &calls[0]));
    ID(aio_submit_send_all(ctx, fds[0], NULL, 0, 0, NULL, on_call, &calls[1]));
    ID(aio_submit_read_exact(ctx, fds[0], NULL, 0, CUR, NULL, on_call, &calls[2]));
    ID(aio_submit_write_all(ctx, fds[0], NULL, 0, CUR, NULL, on_call, &calls[3]));
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(await_call(ctx, &calls[i]), 0);
        CHECK_EQ(calls[i].bytes, 0);
    }
    end_ctx(ctx);
}

/* --- the count in every ending ---------------------------------------------------------------- */

/* Three bytes have come of ten that are wanted. */
struct partial {
    aio_ctx *ctx;
    int fds[2];
    char data[10];
    struct call call;
    aio_op_id id;
};

static void begin_partial(struct partial *p, bool socket, uint64_t timeout_ns) {
    *p = (struct partial){.ctx = make_ctx()};
    const aio_submit_options *options = timeout_ns ? WITH(.timeout_ns = timeout_ns) : NULL;
    if (socket)
        make_tcp_pair(p->fds);
    else
        make_pipe(p->fds);
    write_all_or_fail(p->fds[1], "abc", 3);
    if (socket)
        p->id = ID(
            aio_submit_recv_exact(p->ctx, p->fds[0], p->data, 10, 0, options, on_call, &p->call));
    else
        p->id = ID(
            aio_submit_read_exact(p->ctx, p->fds[0], p->data, 10, CUR, options, on_call, &p->call));
    if (timeout_ns)
        return;
    const uint64_t limit = patience_end_ns();
    for (int left = 3; left > 0;) { /* another thread may take them */
        run_for_ms(p->ctx, 1);
        SYS(ioctl(p->fds[0], FIONREAD, &left));
        CHECK_LT(now_ns(), limit);
    }
    check_blocked(p->ctx, &p->call);
}

static void end_partial(struct partial *p, int32_t result, uint32_t flags) {
    CHECK_EQ(await_call(p->ctx, &p->call), result);
    CHECK_EQ(p->call.calls, 1);
    CHECK_EQ(p->call.flags & (AIO_CQE_DEADLINE | AIO_CQE_ABORTED), flags);
    CHECK_EQ(p->call.bytes, 3);
    CHECK_MEM(p->data, "abc\0\0\0\0\0\0\0", 10);
    end_ctx(p->ctx);
}

TEST(a_cancelled_transfer_says_how_much_has_come) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        begin_partial(&p, socket, 0);
        CHECK_EQ(aio_ctx_cancel(p.ctx, p.id), 0);
        end_partial(&p, -ECANCELED, 0);
    }
}

TEST(a_transfer_that_meets_its_deadline_says_how_much_has_come) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        begin_partial(&p, socket, 30 * MS * test_slow());
        end_partial(&p, -ETIMEDOUT, AIO_CQE_DEADLINE);
    }
}

TEST(a_transfer_at_the_end_of_its_stream_says_how_much_has_come) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        begin_partial(&p, socket, 0);
        close(p.fds[1]);
        end_partial(&p, AIO_EEOF, 0);
    }
}

TEST(a_transfer_whose_descriptor_is_closed_says_how_much_has_come) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        struct call closed = {0};
        begin_partial(&p, socket, 0);
        ID(aio_submit_close(p.ctx, p.fds[0], NULL, on_call, &closed));
        CHECK_EQ(await_call(p.ctx, &closed), 0);
        end_partial(&p, -ECANCELED, 0);
    }
}

TEST(a_transfer_in_flight_at_destroy_says_how_much_has_come) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        begin_partial(&p, socket, 0);
        CHECK_EQ(aio_ctx_destroy(p.ctx), 0);
        CHECK_EQ(p.call.calls, 1);
        CHECK_EQ(p.call.result, -ECANCELED);
        CHECK_EQ(p.call.flags, AIO_CQE_ABORTED);
        CHECK_EQ(p.call.bytes, 3);
    }
}

TEST(records_have_the_count_in_every_ending) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("file", "hello", 5);
    char data[10];
    aio_completion record;
    for (size_t len = 4; len <= 6; len++) {
        ID(aio_submit_read_exact(ctx, fd, data, len, 0, NULL, AIO_CALLBACK_REAP, NULL));
        CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
        CHECK_EQ(record.result, len > 5 ? AIO_EEOF : 0);
        CHECK_EQ(record.extra, len > 5 ? 5 : len);
    }
    end_ctx(ctx);
}

TEST(the_count_of_a_transfer_is_not_that_of_the_next_operation) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("file", "hello", 5);
    char data[10];
    struct call whole = {0}, plain = {0}, nop = {0};
    CHECK_EQ(DO(ctx, whole, aio_submit_read_exact(ctx, fd, data, 5, 0, NULL, on_call, &whole)), 0);
    CHECK_EQ(DO(ctx, plain, aio_submit_read(ctx, fd, data, 3, 0, NULL, on_call, &plain)), 3);
    CHECK_EQ(DO(ctx, nop, aio_submit_nop(ctx, NULL, on_call, &nop)), 0);
    CHECK_EQ(whole.bytes, 5);
    CHECK_EQ(plain.bytes, 3);
    CHECK_EQ(nop.bytes, 0);
    end_ctx(ctx);
}

/* --- ends between two pieces ------------------------------------------------------------------ */

/* Whoever ends it and whenever: one last callback, and every byte that was written is either
 * counted or still in the pipe. */
TEST(no_byte_is_lost_wherever_a_transfer_is_ended) {
    uint64_t random = test_seed();
    for (int round = 0; round < scaled(2000); round++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        unsigned char data[64] = {0}, left[64];
        struct call call = {0};
        unsigned char next = 0;
        const uint64_t way = random_below(&random, 3);
        make_pipe(fds);
        const aio_op_id id = ID(aio_submit_read_exact(
            ctx, fds[0], data, sizeof data, CUR,
            way == 2 ? WITH(.timeout_ns = 1 + random_below(&random, 50000)) : NULL, on_call,
            &call));
        for (uint64_t i = random_below(&random, 12); i > 0; i--) {
            for (uint64_t k = random_below(&random, 4); k > 0; k--, next++)
                write_all_or_fail(fds[1], &next, 1);
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
        if (way == 0)
            aio_ctx_cancel(ctx, id);
        if (way == 1)
            end_ctx(ctx);
        else
            await_call(ctx, &call);
        CHECK_EQ(call.calls, 1);
        CHECK_EQ(call.result, way == 2 ? -ETIMEDOUT : -ECANCELED);
        CHECK_LE(call.bytes, next);
        for (uint64_t i = 0; i < call.bytes; i++)
            CHECK_EQ(data[i], i);
        SYS(fcntl(fds[0], F_SETFL, O_NONBLOCK));
        const ssize_t got = read(fds[0], left, sizeof left);
        CHECK_EQ((uint64_t)(got < 0 ? 0 : got), next - call.bytes);
        for (ssize_t i = 0; i < got; i++)
            CHECK_EQ(left[i], call.bytes + (uint64_t)i);
        if (way != 1)
            end_ctx(ctx);
        close(fds[0]);
        close(fds[1]);
    }
}

TEST(cancel_wait_between_two_pieces_gives_the_memory_back) {
    for (int socket = 0; socket < 2; socket++) {
        struct partial p;
        begin_partial(&p, socket, 0);
        CHECK_EQ(aio_ctx_detach(p.ctx, p.id), -EBUSY);
        CHECK_EQ(aio_ctx_cancel_wait(p.ctx, p.id), 0);
        CHECK_EQ(aio_ctx_in_flight(p.ctx), 0);
        write_all_or_fail(p.fds[1], "defghij", 7);
        run_for_ms(p.ctx, 5);
        CHECK_EQ(p.call.calls, 0);
        CHECK_MEM(p.data, "abc\0\0\0\0\0\0\0", 10);
        end_ctx(p.ctx);
    }
}

/* --- order ----------------------------------------------------------------------------------- */

TEST(a_barrier_waits_for_the_whole) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[4];
    struct order order = {0};
    struct call read = {.order = &order, .tag = 1}, nop = {.order = &order, .tag = 2};
    make_pipe(fds);
    ID(aio_submit_read_exact(ctx, fds[0], data, 4, CUR, NULL, on_call, &read));
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &nop));
    for (int i = 0; i < 4; i++) {
        check_blocked(ctx, &read);
        check_blocked(ctx, &nop);
        write_all_or_fail(fds[1], "x", 1);
    }
    CHECK_EQ(await_call(ctx, &nop), 0);
    CHECK_EQ(order.tags[0], 1);
    end_ctx(ctx);
}

TEST(what_is_linked_to_send_all_starts_when_all_is_sent) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    const size_t size = 2 << 20;
    struct reader reader = {0, size + 1, malloc(size + 1)};
    char *data = malloc(size);
    struct call send = {0}, shut = {0};
    pthread_t thread;
    void *got;
    CHECK(data && reader.data);
    make_tcp_pair(fds);
    reader.fd = fds[1];
    pattern_fill(data, size, 3);
    ID(aio_submit_send_all(ctx, fds[0], data, size, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call,
                           &send));
    ID(aio_submit_shutdown(ctx, fds[0], SHUT_WR, NULL, on_call, &shut));
    CHECK_EQ(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    CHECK_EQ(await_call(ctx, &shut), 0);
    CHECK_EQ(send.result, 0);
    CHECK_EQ(send.bytes, size);
    CHECK_EQ(pthread_join(thread, &got), 0); /* it has seen the end of the stream */
    CHECK_EQ((uintptr_t)got, size);
    CHECK(pattern_holds(reader.data, size, 3));
    free(reader.data);
    free(data);
    end_ctx(ctx);
}

TEST(a_recv_exact_that_falls_short_breaks_its_chain) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[10];
    struct call recv = {0}, nop = {0};
    make_tcp_pair(fds);
    ID(aio_submit_recv_exact(ctx, fds[0], data, 10, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call,
                             &recv));
    ID(aio_submit_nop(ctx, NULL, on_call, &nop));
    write_all_or_fail(fds[1], "abc", 3);
    check_blocked(ctx, &recv);
    SYS(shutdown(fds[1], SHUT_WR));
    CHECK_EQ(await_call(ctx, &recv), AIO_EEOF);
    CHECK_EQ(recv.bytes, 3);
    CHECK_EQ(await_call(ctx, &nop), -ECANCELED);
    CHECK_EQ(nop.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

/* The kernel ends it with what has come so far, which is no reason to go on. */
TEST(cancelling_what_is_linked_to_a_recv_exact_ends_it_between_two_pieces) {
    for (int waits = 0; waits < 2; waits++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        char data[10];
        struct call recv = {0}, nop = {0};
        make_tcp_pair(fds);
        ID(aio_submit_recv_exact(ctx, fds[0], data, 10, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call,
                                 &recv));
        const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call, &nop));
        write_all_or_fail(fds[1], "abc", 3);
        check_blocked(ctx, &recv);
        if (waits) {
            CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        } else {
            CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
            CHECK_EQ(await_call(ctx, &nop), -ECANCELED);
        }
        CHECK_EQ(await_call(ctx, &recv), -ECANCELED);
        CHECK_EQ(recv.flags, AIO_CQE_ABORTED);
        CHECK_EQ(recv.bytes, 3);
        CHECK_EQ(nop.calls, !waits);
        end_ctx(ctx);
    }
}

TEST(a_whole_transfer_may_be_the_last_of_a_chain) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[4];
    struct call nop = {0}, read = {0};
    make_pipe(fds);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_HARDLINK), on_call, &nop));
    ID(aio_submit_read_exact(ctx, fds[0], data, 4, CUR, NULL, on_call, &read));
    for (int i = 0; i < 4; i++) {
        check_blocked(ctx, &read);
        write_all_or_fail(fds[1], "x", 1);
    }
    CHECK_EQ(await_call(ctx, &read), 0);
    CHECK_EQ(nop.result, 0);
    CHECK_EQ(read.bytes, 4);
    end_ctx(ctx);
}

TEST(the_last_of_a_chain_is_cancelled_between_two_pieces) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[4];
    struct call nop = {0}, read = {0};
    make_pipe(fds);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &nop));
    const aio_op_id id = ID(aio_submit_read_exact(ctx, fds[0], data, 4, CUR, NULL, on_call, &read));
    write_all_or_fail(fds[1], "x", 1);
    check_blocked(ctx, &read);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &read), -ECANCELED);
    CHECK_EQ(read.flags, 0);
    CHECK_EQ(read.bytes, 1);
    end_ctx(ctx);
}

static volatile sig_atomic_t signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

TEST(send_all_to_a_closed_peer_raises_the_signal_only_when_asked) {
    signal(SIGPIPE, count_signal);
    for (int asked = 0; asked < 2; asked++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        struct call call = {0};
        make_socket_pair(fds);
        close(fds[1]);
        ID(aio_submit_send_all(ctx, fds[0], "x", 1, 0,
                               asked ? WITH(.flags = AIO_SUBMIT_SIGPIPE) : NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), -EPIPE);
        CHECK_EQ(call.bytes, 0);
        CHECK_EQ(signals, asked);
        end_ctx(ctx);
    }
}

HARNESS_MAIN
