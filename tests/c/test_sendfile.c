/* sendfile: files, sockets and pipes in all directions, slow and vanishing peers, the count in
 * every ending, and that no byte of one transfer reaches another. */
#include "harness.h"

#include <sys/mman.h>

#define CUR AIO_OFFSET_CURRENT

static int pattern_file(const char *name, size_t size, uint64_t seed) {
    char *data = malloc(size);
    CHECK(data != NULL);
    pattern_fill(data, size, seed);
    const int fd = temp_file(name, data, size);
    free(data);
    return fd;
}

struct reader {
    int fd;
    size_t size; /* at most so much */
    char *data;
    size_t done;
    bool slow;
};

static void *read_to_the_end(void *arg) {
    struct reader *reader = arg;
    for (int i = 0; reader->done < reader->size; i++) {
        const size_t left = reader->size - reader->done, want = reader->slow ? 5003 : 1 << 16;
        const ssize_t got =
            read(reader->fd, reader->data + reader->done, want < left ? want : left);
        if (got <= 0)
            break;
        reader->done += (size_t)got;
        if (reader->slow && i % 8 == 0)
            sleep_ms(1);
    }
    return NULL;
}

/* `size` bytes of a file of that size arrive whole at a reader. */
static void check_arrives(int out, int in, size_t size, bool slow) {
    aio_ctx *ctx = make_ctx();
    const int file = pattern_file("large", size, 9);
    struct reader reader = {in, size, malloc(size), 0, slow};
    struct call call = {0};
    pthread_t thread;
    CHECK(reader.data != NULL);
    CHECK_EQ(pthread_create(&thread, NULL, read_to_the_end, &reader), 0);
    CHECK_EQ(DO(ctx, call, aio_submit_sendfile(ctx, out, file, 0, size, NULL, on_call, &call)), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.bytes, size);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reader.done, size);
    CHECK(pattern_holds(reader.data, size, 9));
    free(reader.data);
    end_ctx(ctx);
}

TEST(a_large_file_arrives_over_tcp) {
    int fds[2];
    make_tcp_pair(fds);
    check_arrives(fds[0], fds[1], (3 << 20) + 17, false);
}

TEST(a_slow_peer_gets_it_all) {
    int fds[2];
    make_socket_pair(fds);
    check_arrives(fds[0], fds[1], (1 << 20) + 1, true);
}

TEST(a_socket_that_does_not_block_is_waited_for) {
    int fds[2];
    make_tcp_pair(fds);
    SYS(fcntl(fds[0], F_SETFL, O_NONBLOCK));
    check_arrives(fds[0], fds[1], (3 << 20) + 17, true);
}

TEST(a_pipe_is_sent_to) {
    int fds[2];
    make_pipe(fds);
    check_arrives(fds[1], fds[0], (1 << 20) + 5, false);
}

TEST(a_file_is_copied_to_a_file) {
    aio_ctx *ctx = make_ctx();
    const size_t size = 700001;
    const int from = pattern_file("from", size, 4), to = temp_file("to", NULL, 0);
    char *back = malloc(size);
    struct call call = {0};
    CHECK(back != NULL);
    CHECK_EQ(DO(ctx, call, aio_submit_sendfile(ctx, to, from, 0, size, NULL, on_call, &call)), 0);
    CHECK_EQ(pread(to, back, size, 0), (ssize_t)size);
    CHECK(pattern_holds(back, size, 4));
    free(back);
    end_ctx(ctx);
}

TEST(a_socket_is_sent_from) {
    aio_ctx *ctx = make_ctx();
    int in[2], out[2];
    char data[16] = {0};
    struct call call = {0};
    make_tcp_pair(in);
    make_tcp_pair(out);
    ID(aio_submit_sendfile(ctx, out[0], in[0], CUR, 10, NULL, on_call, &call));
    for (int i = 0; i < 10; i += 5) {
        check_blocked(ctx, &call);
        write_all_or_fail(in[1], &"0123456789"[i], 5);
    }
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.bytes, 10);
    read_all_or_fail(out[1], data, 10);
    CHECK_STR(data, "0123456789");
    end_ctx(ctx);
}

TEST(a_socket_that_does_not_block_is_sent_from) {
    aio_ctx *ctx = make_ctx();
    int in[2], out[2];
    char data[16] = {0};
    struct call call = {0};
    make_socket_pair(in);
    make_socket_pair(out);
    SYS(fcntl(in[0], F_SETFL, O_NONBLOCK));
    ID(aio_submit_sendfile(ctx, out[0], in[0], CUR, 5, NULL, on_call, &call));
    check_blocked(ctx, &call);
    write_all_or_fail(in[1], "hello", 5);
    CHECK_EQ(await_call(ctx, &call), 0);
    read_all_or_fail(out[1], data, 5);
    CHECK_STR(data, "hello");
    end_ctx(ctx);
}

/* --- where it begins and ends ----------------------------------------------------------------- */

TEST(the_end_of_the_file_is_short_and_no_error) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[16] = {0};
    struct call call = {0}, behind = {0};
    make_tcp_pair(fds);
    const int file = temp_file("file", "0123456789", 10);
    CHECK_EQ(DO(ctx, call, aio_submit_sendfile(ctx, fds[0], file, 4, 100, NULL, on_call, &call)),
             0);
    CHECK_EQ(call.bytes, 6);
    read_all_or_fail(fds[1], data, 6);
    CHECK_STR(data, "456789");
    CHECK_EQ(lseek(file, 0, SEEK_CUR), 0);
    CHECK_EQ(DO(ctx, behind, aio_submit_sendfile(ctx, fds[0], file, 10, 1, NULL, on_call, &behind)),
             0);
    CHECK_EQ(behind.bytes, 0);
    end_ctx(ctx);
}

TEST(the_position_of_the_file_is_used_and_moved) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char data[16] = {0};
    make_tcp_pair(fds);
    const int file = temp_file("file", "0123456789", 10);
    SYS(lseek(file, 2, SEEK_SET));
    for (int i = 0; i < 2; i++) {
        struct call call = {0};
        CHECK_EQ(
            DO(ctx, call, aio_submit_sendfile(ctx, fds[0], file, CUR, 3, NULL, on_call, &call)), 0);
        CHECK_EQ(call.bytes, 3);
    }
    read_all_or_fail(fds[1], data, 6);
    CHECK_STR(data, "234567");
    CHECK_EQ(lseek(file, 0, SEEK_CUR), 8);
    end_ctx(ctx);
}

TEST(records_have_the_count_of_a_sendfile) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    aio_completion record;
    make_tcp_pair(fds);
    const int file = temp_file("file", "0123456789", 10);
    ID(aio_submit_sendfile(ctx, fds[0], file, 0, 100, NULL, AIO_CALLBACK_REAP, NULL));
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
    CHECK_EQ(record.result, 0);
    CHECK_EQ(record.extra, 10);
    end_ctx(ctx);
}

/* What a peer that reads to the end gets is what was counted. */
static void check_count(struct call *call, int sender, int receiver, uint64_t seed) {
    const size_t size = 8 << 20;
    struct reader reader = {receiver, size, malloc(size), 0, false};
    CHECK(reader.data != NULL);
    SYS(shutdown(sender, SHUT_WR));
    read_to_the_end(&reader);
    CHECK_EQ(call->bytes, reader.done);
    CHECK(pattern_holds(reader.data, reader.done, seed));
    free(reader.data);
}

TEST(one_that_is_cancelled_has_sent_what_it_says) {
    for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        struct call call = {0};
        make_socket_pair(fds);
        if (nonblocking)
            SYS(fcntl(fds[0], F_SETFL, O_NONBLOCK));
        const int file = pattern_file("file", 4 << 20, 5);
        const aio_op_id id =
            ID(aio_submit_sendfile(ctx, fds[0], file, 0, 4 << 20, NULL, on_call, &call));
        const uint64_t limit = patience_end_ns();
        while (!is_readable(fds[1], 0)) { /* until something has arrived */
            run_for_ms(ctx, 1);
            CHECK_LT(now_ns(), limit);
        }
        check_blocked(ctx, &call);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        CHECK_EQ(await_call(ctx, &call), -ECANCELED);
        CHECK_GT(call.bytes, 0);
        check_count(&call, fds[0], fds[1], 5);
        close(file);
        end_ctx(ctx);
    }
}

TEST(a_deadline_is_that_of_the_whole) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    struct call call = {0};
    make_socket_pair(fds);
    const int file = pattern_file("file", 4 << 20, 5);
    ID(aio_submit_sendfile(ctx, fds[0], file, 0, 4 << 20, WITH(.timeout_ns = 30 * MS), on_call,
                           &call));
    CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    check_count(&call, fds[0], fds[1], 5);
    end_ctx(ctx);
}

TEST(closing_either_end_ends_it) {
    for (int end = 0; end < 2; end++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        struct call call = {0}, closed = {0};
        make_socket_pair(fds);
        const int file = pattern_file("file", 4 << 20, 5);
        ID(aio_submit_sendfile(ctx, fds[0], file, 0, 4 << 20, NULL, on_call, &call));
        check_blocked(ctx, &call);
        ID(aio_submit_close(ctx, end ? fds[0] : file, NULL, on_call, &closed));
        CHECK_EQ(await_call(ctx, &closed), 0);
        CHECK_EQ(call.result, -ECANCELED);
        CHECK(!is_open(end ? fds[0] : file));
        end_ctx(ctx);
    }
}

static volatile sig_atomic_t signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

TEST(a_closed_peer_is_epipe_and_a_signal_only_when_asked) {
    signal(SIGPIPE, count_signal);
    for (int asked = 0; asked < 2; asked++) {
        aio_ctx *ctx = make_ctx();
        int fds[2];
        struct call call = {0};
        make_socket_pair(fds);
        close(fds[1]);
        const int file = pattern_file("file", 1000, 5);
        ID(aio_submit_sendfile(ctx, fds[0], file, 0, 1000,
                               asked ? WITH(.flags = AIO_SUBMIT_SIGPIPE) : NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), -EPIPE);
        CHECK_EQ(call.bytes, 0);
        CHECK_EQ(signals, asked);
        end_ctx(ctx);
    }
}

TEST(one_that_nobody_waits_for_leaves_nothing) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    make_socket_pair(fds);
    const int file = pattern_file("file", 4 << 20, 5);
    const int before = open_descriptors();
    const aio_op_id id =
        ID(aio_submit_sendfile(ctx, fds[0], file, 0, 4 << 20, NULL, on_call_never, NULL));
    run_for_ms(ctx, 10);
    CHECK_EQ(aio_ctx_detach(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

/* --- pipes ----------------------------------------------------------------------------------- */

TEST(a_pipe_is_used_again_after_success_and_not_after_an_error) {
    aio_ctx *ctx = make_ctx();
    int good[2], bad[2];
    char data[1000];
    make_socket_pair(good);
    make_socket_pair(bad);
    close(bad[1]);
    const int file = pattern_file("file", 1000, 5);
    const int before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        struct call call = {0};
        CHECK_EQ(
            DO(ctx, call, aio_submit_sendfile(ctx, good[0], file, 0, 1000, NULL, on_call, &call)),
            0);
        read_all_or_fail(good[1], data, sizeof data);
        CHECK_EQ(open_descriptors(), before + 2); /* one pipe, and always the same */
    }
    struct call failed = {0};
    CHECK_EQ(
        DO(ctx, failed, aio_submit_sendfile(ctx, bad[0], file, 0, 1000, NULL, on_call, &failed)),
        -EPIPE);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

TEST(only_a_few_pipes_are_kept) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    struct call calls[20] = {{0}};
    make_socket_pair(fds);
    const int file = temp_file("file", "x", 1);
    const int before = open_descriptors();
    for (int i = 0; i < 20; i++)
        ID(aio_submit_sendfile(ctx, fds[0], file, 0, 1, NULL, on_call, &calls[i]));
    for (int i = 0; i < 20; i++)
        CHECK_EQ(await_call(ctx, &calls[i]), 0);
    CHECK_LE(open_descriptors(), before + 2 * 4);
    end_ctx(ctx);
}

/* --- clients that vanish --------------------------------------------------------------------- */

struct client {
    struct sockaddr_in addr;
    uint64_t seed;     /* of what it is to get */
    size_t reads;      /* and of how much, before it vanishes */
    bool reads_itself; /* to the end, and checks the whole */
    size_t size;
    bool right;
};

/* Reads some, checks all of it, and resets the connection. */
static void *be_a_client(void *arg) {
    struct client *client = arg;
    const int fd = tcp_connect_to(&client->addr), little = 1 << 16;
    SYS(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little));
    struct reader reader = {fd, client->reads_itself ? client->size : client->reads, NULL, 0,
                            false};
    reader.data = malloc(reader.size + 1);
    CHECK(reader.data != NULL);
    read_to_the_end(&reader);
    client->right =
        reader.done == reader.size && pattern_holds(reader.data, reader.done, client->seed);
    free(reader.data);
    const struct linger now = {.l_onoff = 1};
    SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    SYS(close(fd));
    return NULL;
}

/* A hundred clients, each of which is to get a file of its own; most reset the connection somewhere
 * in the middle, with little of the rest on its way. Every byte that any of them reads is its own.
 */
TEST(no_byte_of_one_client_reaches_the_next) {
    enum { SIZE = 2 << 20 };
    uint64_t random = test_seed();
    aio_ctx *ctx = make_ctx();
    struct client client = {.size = SIZE};
    const int listener = make_tcp_listener(&client.addr, 16);
    int resets = 0;
    for (int round = 0; round < 100; round++) {
        struct call call = {0};
        pthread_t thread;
        client.seed = random_next(&random);
        client.reads = random_below(&random, SIZE / 2);
        client.reads_itself = round % 10 == 9;
        const int file = pattern_file("file", SIZE, client.seed);
        CHECK_EQ(pthread_create(&thread, NULL, be_a_client, &client), 0);
        const int fd = SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC)), little = 1 << 16;
        SYS(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little));
        ID(aio_submit_sendfile(ctx, fd, file, 0, SIZE, NULL, on_call, &call));
        await_call(ctx, &call);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK(client.right);
        if (client.reads_itself)
            CHECK_EQ(call.result, 0);
        if (call.result != 0)
            CHECK(call.result == -ECONNRESET || call.result == -EPIPE);
        CHECK_GE(call.bytes, client.reads_itself ? SIZE : client.reads);
        CHECK_EQ(call.result != 0, !client.reads_itself);
        resets += call.result != 0;
        close(fd);
        close(file);
    }
    CHECK_EQ(resets, 90);
    end_ctx(ctx);
}

HARNESS_MAIN
