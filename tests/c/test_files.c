/* The table of direct descriptors: what fills, uses and empties its slots. That every operation on
 * a descriptor works through a slot is shown in test_operations. */
#include "harness.h"

#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TABLE(...) (&(aio_files_options){.size = sizeof(aio_files_options), __VA_ARGS__})
#define ON_SLOT WITH(.flags = AIO_SUBMIT_FIXED_FILE)
#define ANYWHERE WITH(.flags = AIO_SUBMIT_DIRECT)
#define INTO(slot_) WITH(.flags = AIO_SUBMIT_DIRECT, .file_slot = (slot_) + 1)
#define LINKED_ON_SLOT WITH(.flags = AIO_SUBMIT_FIXED_FILE | AIO_SUBMIT_LINK)
#define LINKED_INTO(slot_)                                                                         \
    WITH(.flags = AIO_SUBMIT_DIRECT | AIO_SUBMIT_LINK, .file_slot = (slot_) + 1)

static aio_ctx *make_ctx_of(uint32_t count) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = count)), 0);
    return ctx;
}

static void put(aio_ctx *ctx, uint32_t slot, int fd) {
    CHECK_EQ(aio_files_update(ctx, slot, &fd, 1), 1);
}

/* The same, and the slot alone keeps the file. */
static void move(aio_ctx *ctx, uint32_t slot, int fd) {
    put(ctx, slot, fd);
    SYS(close(fd));
}

static int32_t make_socket(aio_ctx *ctx, const aio_submit_options *options) {
    struct call call = {0};
    return DO(ctx, call, aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, options, on_call, &call));
}

static int32_t close_slot(aio_ctx *ctx, int slot) {
    struct call call = {0};
    return DO(ctx, call, aio_submit_close(ctx, slot, ON_SLOT, on_call, &call));
}

static int32_t send_through(aio_ctx *ctx, int slot, const char *text) {
    struct call call = {0};
    return DO(ctx, call,
              aio_submit_send(ctx, slot, text, strlen(text), 0, ON_SLOT, on_call, &call));
}

static int32_t read_through(aio_ctx *ctx, int slot, char *data, size_t len) {
    struct call call = {0};
    return DO(ctx, call, aio_submit_read(ctx, slot, data, len, 0, ON_SLOT, on_call, &call));
}

/* How many slots can be allocated; they are free afterwards as well. */
static int free_slots(aio_ctx *ctx) {
    int slots[512], count = 0;
    int32_t result;
    while ((result = make_socket(ctx, ANYWHERE)) >= 0) {
        CHECK_LT(count, COUNT_OF(slots));
        slots[count++] = result;
    }
    CHECK_EQ(result, -ENFILE);
    for (int i = 0; i < count; i++)
        CHECK_EQ(close_slot(ctx, slots[i]), 0);
    return count;
}

static int descriptors_that_survive_exec(void) {
    int count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += is_open(fd) && !is_cloexec(fd);
    return count;
}

/* What was filled for nobody may be emptied a little later: before Linux 6.13, by a worker. */
static void check_free_slots(aio_ctx *ctx, int count) {
    const uint64_t limit = patience_end_ns();
    int found;
    while ((found = free_slots(ctx)) != count && now_ns() < limit)
        sleep_ms(1);
    CHECK_EQ(found, count);
}

static void check_empty(aio_ctx *ctx, int slot) {
    const uint64_t limit = patience_end_ns();
    int32_t result = 0;
    while (result != -EBADF && now_ns() < limit) {
        struct call call = {0};
        result = DO(ctx, call, aio_submit_fsync(ctx, slot, 0, ON_SLOT, on_call, &call));
    }
    CHECK_EQ(result, -EBADF);
}

static int file_that_says(const char *name, const char *text) {
    return temp_file(name, text, strlen(text));
}

/* --- the table ------------------------------------------------------------------------------- */

TEST(a_table_is_registered_once_and_given_up) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_files_unregister(ctx), -ENXIO);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), 0);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), -EBUSY);
    CHECK_EQ(make_socket(ctx, INTO(3)), 3);
    CHECK_EQ(aio_files_unregister(ctx), 0);
    CHECK_EQ(aio_files_unregister(ctx), -ENXIO);
    CHECK_EQ(send_through(ctx, 3, "x"), -EBADF);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 2)), 0);
    check_free_slots(ctx, 2);
    end_ctx(ctx);
}

TEST(what_cannot_be_registered_is_refused) {
    struct {
        aio_files_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger, .count = 4}, .later = 1};
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_files_register(NULL, TABLE(.count = 4)), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, NULL), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, &(aio_files_options){.size = 4, .count = 4}), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, &larger.options), -E2BIG);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 0)), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4, .reserved = {1})), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4, .alloc_first = 4)), -EINVAL);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4, .alloc_first = 3, .alloc_count = 2)),
             -EINVAL);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4, .alloc_first = 1, .alloc_count = ~0u)),
             -EINVAL);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 1048577)), -EMFILE);
    if (!under_valgrind()) { /* which keeps the limit to itself */
        SYS(setrlimit(RLIMIT_NOFILE, &(struct rlimit){100, 100}));
        CHECK_EQ(aio_files_register(ctx, TABLE(.count = 101)), -EMFILE);
    }
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 100)), 0);
    end_ctx(ctx);
}

static void *use_the_table_elsewhere(void *arg) {
    aio_ctx *ctx = arg;
    const int fd = -1;
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_files_unregister(ctx), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_files_update(ctx, 0, &fd, 1), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_files_install(ctx, 0, 0), AIO_EWRONGTHREAD);
    return NULL;
}

TEST(the_table_belongs_to_the_thread_of_its_context) {
    aio_ctx *ctx = make_ctx_of(4);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, use_the_table_elsewhere, ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_ctx(ctx);
}

TEST(a_table_in_use_is_not_given_up) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    struct sockaddr_in addr;
    char data[8];
    int fds[2], listener = make_tcp_listener(&addr, 8);
    make_socket_pair(fds);
    put(ctx, 0, fds[0]);
    ID(aio_submit_recv(ctx, 0, data, sizeof data, 0, ON_SLOT, on_call, &call));
    CHECK_EQ(aio_files_unregister(ctx), -EBUSY);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 0, AIO_CANCEL_FIXED_FILE), 1);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    call = (struct call){0};
    const aio_op_id id =
        ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, ANYWHERE, on_call, &call));
    CHECK_EQ(aio_files_unregister(ctx), -EBUSY);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    call = (struct call){0};
    ID(aio_submit_files_update(ctx, 1, fds, 2, NULL, on_call, &call));
    CHECK_EQ(aio_files_unregister(ctx), -EBUSY);
    CHECK_EQ(await_call(ctx, &call), 2);
    CHECK_EQ(aio_files_unregister(ctx), 0);
    end_ctx(ctx);
}

/* --- filling slots --------------------------------------------------------------------------- */

TEST(slots_are_allocated_until_the_table_is_full) {
    aio_ctx *ctx = make_ctx_of(3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(make_socket(ctx, ANYWHERE), i);
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    CHECK_EQ(close_slot(ctx, 1), 0);
    CHECK_EQ(make_socket(ctx, ANYWHERE), 1);
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    end_ctx(ctx);
}

TEST(a_given_slot_is_the_result_and_its_file_is_replaced) {
    aio_ctx *ctx = make_ctx_of(3);
    int fds[2];
    make_socket_pair(fds);
    move(ctx, 2, fds[0]);
    CHECK_EQ(make_socket(ctx, INTO(2)), 2);
    CHECK(peer_sees_fin(fds[1], 5000));
    check_free_slots(ctx, 2);
    end_ctx(ctx);
}

TEST(only_the_range_is_allocated_from) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 0);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 10, .alloc_first = 4, .alloc_count = 3)), 0);
    for (int i = 4; i < 7; i++)
        CHECK_EQ(make_socket(ctx, ANYWHERE), i);
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    CHECK_EQ(make_socket(ctx, INTO(0)), 0);
    CHECK_EQ(make_socket(ctx, INTO(9)), 9);
    CHECK_EQ(close_slot(ctx, 9), 0);
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    CHECK_EQ(close_slot(ctx, 5), 0);
    CHECK_EQ(make_socket(ctx, ANYWHERE), 5);
    end_ctx(ctx);
}

TEST(a_range_without_its_length_goes_to_the_end) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 0);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 10, .alloc_first = 8)), 0);
    CHECK_EQ(make_socket(ctx, ANYWHERE), 8);
    CHECK_EQ(make_socket(ctx, ANYWHERE), 9);
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    end_ctx(ctx);
}

TEST(what_makes_a_descriptor_makes_one_in_a_slot) {
    aio_ctx *ctx = make_ctx_of(8);
    needs_known_calls(ctx);
    struct call call = {0};
    char data[8] = {0};
    const struct open_how how = {.flags = O_RDONLY};
    close(file_that_says("open", "hello"));
    const char *path = temp_path("open");
    const int before = open_descriptors();
    CHECK_EQ(
        DO(ctx, call, aio_submit_openat(ctx, AT_FDCWD, path, O_RDONLY, 0, INTO(6), on_call, &call)),
        6);
    CHECK_EQ(read_through(ctx, 6, data, sizeof data), 5);
    CHECK_MEM(data, "hello", 5);
    memset(data, 0, sizeof data);
    call = (struct call){0};
    const int slot =
        DO(ctx, call,
           aio_submit_openat2(ctx, AT_FDCWD, path, &how, sizeof how, ANYWHERE, on_call, &call));
    CHECK_GE(slot, 0);
    CHECK_LT(slot, 8);
    CHECK_NE(slot, 6);
    CHECK_EQ(read_through(ctx, slot, data, sizeof data), 5);
    CHECK_MEM(data, "hello", 5);
    if (has_ring(ctx))
        CHECK_EQ(open_descriptors(), before);
    else
        CHECK_EQ(open_descriptors(), before + 2);
    end_ctx(ctx);
}

TEST(a_pipe_has_two_slots) {
    aio_ctx *ctx = make_ctx_of(8);
    needs_ring_of(ctx, 6, 16);
    struct call call = {0};
    char data[8] = {0};
    int pair[2] = {-1, -1};
    CHECK_EQ(make_socket(ctx, INTO(1)), 1);
    CHECK_EQ(DO(ctx, call, aio_submit_pipe(ctx, pair, 0, ANYWHERE, on_call, &call)), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_GE(pair[i], 0);
        CHECK_LT(pair[i], 6);
        CHECK_NE(pair[i], 1);
    }
    CHECK_NE(pair[0], pair[1]);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_pipe(ctx, pair, 0, INTO(6), on_call, &call)), 0);
    CHECK_EQ(pair[0], 6);
    CHECK_EQ(pair[1], 7);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_write(ctx, 7, "hello", 5, AIO_OFFSET_CURRENT, ON_SLOT, on_call, &call)),
             5);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_read(ctx, 6, data, 8, AIO_OFFSET_CURRENT, ON_SLOT, on_call, &call)),
             5);
    CHECK_MEM(data, "hello", 5);
    CHECK_EQ(aio_submit_pipe(ctx, pair, 0, INTO(7), on_call_never, NULL), -EINVAL);
    check_free_slots(ctx, 3);
    end_ctx(ctx);
}

TEST(a_pipe_without_two_free_slots_leaves_none_behind) {
    aio_ctx *ctx = make_ctx_of(3);
    needs_ring_of(ctx, 6, 16);
    struct call call = {0};
    int pair[2];
    CHECK_EQ(make_socket(ctx, ANYWHERE), 0);
    CHECK_EQ(make_socket(ctx, ANYWHERE), 1);
    CHECK_EQ(DO(ctx, call, aio_submit_pipe(ctx, pair, 0, ANYWHERE, on_call, &call)), -ENFILE);
    check_free_slots(ctx, 1);
    end_ctx(ctx);
}

TEST(a_pipe_nobody_waits_for_leaves_no_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    needs_ring_of(ctx, 6, 16);
    int pair[2];
    for (int slot = -1; slot < 2; slot++) {
        const aio_op_id id = ID(
            aio_submit_pipe(ctx, pair, 0, slot < 0 ? ANYWHERE : INTO(slot), on_call_never, NULL));
        CHECK_EQ(aio_ctx_flush(ctx), 1); /* it has succeeded, and the result waits */
        const int32_t status = aio_ctx_cancel_wait(ctx, id);
        CHECK_EQ(status, 0);
        check_free_slots(ctx, 4);
    }
    end_ctx(ctx);
}

TEST(impossible_options_are_refused) {
    aio_ctx *ctx = make_ctx();
    char data[8];
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, ANYWHERE, on_call_never, NULL),
             -ENXIO);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(0), on_call_never, NULL), -ENXIO);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), 0);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(4), on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(~0u - 1), on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(
        aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, WITH(.file_slot = 1), on_call_never, NULL),
        -EINVAL);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0,
                               WITH(.flags = AIO_SUBMIT_DIRECT | AIO_SUBMIT_INHERIT), on_call_never,
                               NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0,
                               WITH(.flags = AIO_SUBMIT_DIRECT | AIO_SUBMIT_QUIET), on_call_never,
                               NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_read(ctx, 0, data, sizeof data, 0, ANYWHERE, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_accept_multishot(ctx, 0, 0, INTO(1), on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_timer(ctx, 1, WITH(.file_slot = 1), on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 0, 2), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, -1, AIO_CANCEL_FIXED_FILE), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 4, AIO_CANCEL_FIXED_FILE), 0);
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
}

TEST(close_on_exec_is_nothing_to_a_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    close(file_that_says("open", "hello"));
    const int before = descriptors_that_survive_exec();
    CHECK_EQ(DO(ctx, call,
                aio_submit_openat(ctx, AT_FDCWD, temp_path("open"), O_RDONLY | O_CLOEXEC, 0,
                                  ANYWHERE, on_call, &call)),
             0);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ANYWHERE, on_call,
                                  &call)),
             1);
    /* Where slots hold descriptors, they do not survive exec either. */
    CHECK_EQ(descriptors_that_survive_exec(), before);
    end_ctx(ctx);
}

/* --- using slots ----------------------------------------------------------------------------- */

TEST(a_slot_without_a_file_is_a_bad_descriptor) {
    aio_ctx *ctx = make_ctx();
    char data[8];
    CHECK_EQ(read_through(ctx, 0, data, sizeof data), -EBADF); /* there is no table */
    CHECK_EQ(close_slot(ctx, 0), -EBADF);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), 0);
    const int slots[] = {0, 3, 4, 1 << 30, INT32_MAX, -1, INT32_MIN};
    for (int i = 0; i < COUNT_OF(slots); i++) {
        CHECK_EQ(read_through(ctx, slots[i], data, sizeof data), -EBADF);
        CHECK_EQ(close_slot(ctx, slots[i]), -EBADF);
    }
    for (int fd = 0; fd < 3; fd++)
        CHECK(is_open(fd));
    end_ctx(ctx);
}

TEST(numbers_of_slots_and_of_descriptors_are_not_mixed_up) {
    aio_ctx *ctx = make_ctx_of(64);
    struct call on_fd = {0}, on_slot = {0}, on_nothing = {0};
    char data[8];
    int a[2], b[2];
    make_socket_pair(a);
    make_socket_pair(b);
    put(ctx, (uint32_t)a[0], b[0]);
    ID(aio_submit_recv(ctx, a[0], data, 8, 0, NULL, on_call, &on_fd));
    ID(aio_submit_recv(ctx, a[0], data, 8, 0, ON_SLOT, on_call, &on_slot));
    ID(aio_submit_recv(ctx, a[0] | 1 << 30, data, 8, 0, NULL, on_call, &on_nothing));
    CHECK_EQ(aio_ctx_cancel_fd(ctx, a[0] | 1 << 30, 0), 0);
    CHECK_EQ(await_call(ctx, &on_nothing), -EBADF);
    on_nothing = (struct call){0};
    CHECK_EQ(DO(ctx, on_nothing, aio_submit_close(ctx, a[0] | 1 << 30, NULL, on_call, &on_nothing)),
             -EBADF);
    check_blocked(ctx, &on_fd);
    check_blocked(ctx, &on_slot);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, a[0], 0), 1);
    CHECK_EQ(await_call(ctx, &on_fd), -ECANCELED);
    CHECK_EQ(on_slot.calls, 0);
    write_all_or_fail(b[1], "hello", 5);
    CHECK_EQ(await_call(ctx, &on_slot), 5);
    end_ctx(ctx);
}

TEST(splice_moves_from_slot_to_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    char data[8] = {0};
    int to[2];
    make_pipe(to);
    move(ctx, 0, file_that_says("from", "hello"));
    put(ctx, 1, to[1]);
    CHECK_EQ(DO(ctx, call,
                aio_submit_splice(ctx, 0, 0, 1, AIO_OFFSET_CURRENT, 16, SPLICE_F_FD_IN_FIXED,
                                  ON_SLOT, on_call, &call)),
             5);
    read_all_or_fail(to[0], data, 5);
    CHECK_MEM(data, "hello", 5);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_splice(ctx, 0, 0, to[1], AIO_OFFSET_CURRENT, 16, SPLICE_F_FD_IN_FIXED,
                                  NULL, on_call, &call)),
             5);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_splice(ctx, 3, 0, 1, AIO_OFFSET_CURRENT, 16, SPLICE_F_FD_IN_FIXED,
                                  ON_SLOT, on_call, &call)),
             -EBADF);
    end_ctx(ctx);
}

TEST(a_caller_filled_entry_takes_and_fills_slots) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    char data[8] = {0};
    close(file_that_says("raw", "hello"));
    const int before = descriptors_that_survive_exec();
    struct io_uring_sqe sqe = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .file_index = 3};
    sqe.addr = (uintptr_t)temp_path("raw");
    CHECK_EQ(DO(ctx, call, aio_submit_raw(ctx, (void *)&sqe, NULL, on_call, &call)), 2);
    CHECK_EQ(descriptors_that_survive_exec(), before);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = 2, .len = 8};
    sqe.addr = (uintptr_t)data;
    sqe.flags = IOSQE_FIXED_FILE;
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_raw(ctx, (void *)&sqe, NULL, on_call, &call)), 5);
    CHECK_MEM(data, "hello", 5);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .file_index = 3};
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_raw(ctx, (void *)&sqe, NULL, on_call, &call)), 0);
    check_free_slots(ctx, 4);
    CHECK(is_open(0));
    end_ctx(ctx);
}

/* --- connections ----------------------------------------------------------------------------- */

TEST(a_connection_lives_in_slots_at_both_ends) {
    aio_ctx *ctx = make_ctx_of(8);
    struct sockaddr_in addr;
    struct call accepted = {0}, connected = {0}, received = {0};
    char data[8] = {0};
    const int listener = make_tcp_listener(&addr, 8);
    ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, INTO(7), on_call, &accepted));
    CHECK_EQ(DO(ctx, connected,
                aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, INTO(1), on_call, &connected)),
             1);
    connected = (struct call){0};
    CHECK_EQ(
        DO(ctx, connected,
           aio_submit_connect(ctx, 1, (void *)&addr, sizeof addr, ON_SLOT, on_call, &connected)),
        0);
    CHECK_EQ(await_call(ctx, &accepted), 7);
    CHECK_EQ(send_through(ctx, 1, "hello"), 5);
    CHECK_EQ(DO(ctx, received, aio_submit_recv(ctx, 7, data, 8, 0, ON_SLOT, on_call, &received)),
             5);
    CHECK_MEM(data, "hello", 5);
    received = (struct call){0};
    ID(aio_submit_recv(ctx, 7, data, 8, 0, ON_SLOT, on_call, &received));
    CHECK_EQ(close_slot(ctx, 1), 0);
    CHECK_EQ(await_call(ctx, &received), 0); /* the end of the stream */
    end_ctx(ctx);
}

TEST(closing_a_slot_ends_what_waits_there_and_lets_the_peer_see_fin) {
    aio_ctx *ctx = make_ctx_of(4);
    struct order order = {0};
    struct call received = {.order = &order, .tag = 1}, closed = {.order = &order, .tag = 2};
    struct call late = {0};
    const int none = -1;
    char data[8];
    int fds[2];
    make_tcp_pair(fds);
    move(ctx, 2, fds[0]);
    ID(aio_submit_recv(ctx, 2, data, 8, 0, ON_SLOT, on_call, &received));
    check_blocked(ctx, &received);
    ID(aio_submit_close(ctx, 2, ON_SLOT, on_call, &closed));
    ID(aio_submit_recv(ctx, 2, data, 8, 0, ON_SLOT, on_call, &late));
    /* What were put there now would be closed. */
    CHECK_EQ(aio_files_update(ctx, 2, &none, 1), -EBUSY);
    CHECK_EQ(aio_submit_files_update(ctx, 1, (int[]){-1, -1}, 2, NULL, on_call_never, NULL),
             -EBUSY);
    CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(2), on_call_never, NULL), -EBUSY);
    CHECK_EQ(await_call(ctx, &closed), 0);
    CHECK_EQ(received.result, -ECANCELED);
    CHECK_EQ(late.result, -EBADF);
    CHECK_EQ(order.count, 2);
    CHECK_EQ(order.tags[0], 1);
    CHECK(peer_sees_fin(fds[1], 5000));
    CHECK_EQ(make_socket(ctx, INTO(2)), 2);
    end_ctx(ctx);
}

/* Before Linux 6.13 the kernel itself lets what a slot held live on until older operations on any
 * slot have ended. */
TEST(a_peer_sees_fin_while_operations_on_other_slots_wait) {
    aio_ctx *ctx = make_ctx_of(4);
    struct sockaddr_in addr;
    struct call waiting = {0}, accepted = {0}, sent = {0}, closed = {0};
    char data[8];
    int idle[2], clients[3];
    const int listener = make_tcp_listener(&addr, 8);
    make_tcp_pair(idle);
    move(ctx, 3, idle[0]);
    ID(aio_submit_recv(ctx, 3, data, 8, 0, ON_SLOT, on_call, &waiting));
    check_blocked(ctx, &waiting);
    for (int i = 0; i < 3; i++)
        clients[i] = tcp_connect_to(&addr);
    for (int i = 0; i < 2; i++) {
        accepted = (struct call){0};
        CHECK_EQ(DO(ctx, accepted,
                    aio_submit_accept(ctx, listener, NULL, NULL, 0, INTO(i), on_call, &accepted)),
                 i);
    }
    CHECK_EQ(close_slot(ctx, 0), 0);
    CHECK(peer_sees_fin(clients[0], 5000));
    ID(aio_submit_send(ctx, 1, "bye", 3, 0, LINKED_ON_SLOT, on_call, &sent));
    ID(aio_submit_close(ctx, 1, ON_SLOT, on_call, &closed));
    CHECK_EQ(await_call(ctx, &closed), 0);
    CHECK_EQ(sent.result, 3);
    CHECK(peer_sees_fin(clients[1], 5000));
    const aio_op_id id =
        ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, ANYWHERE, on_call_never, NULL));
    CHECK_EQ(aio_ctx_flush(ctx), 1); /* it is there, and nobody wants it */
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
    CHECK(peer_sees_fin(clients[2], 5000));
    CHECK_EQ(waiting.calls, 0);
    end_ctx(ctx);
}

TEST(closing_a_slot_does_not_shut_down_what_has_another_descriptor) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    struct sockaddr_in addr;
    int fds[2];
    make_tcp_pair(fds);
    put(ctx, 0, fds[0]);
    CHECK_EQ(close_slot(ctx, 0), 0);
    write_all_or_fail(fds[0], "x", 1);
    CHECK(is_readable(fds[1], 5000));
    needs_ring_of(ctx, 6, 8);
    const int listener = make_tcp_listener(&addr, 8), client = tcp_connect_to(&addr);
    CHECK_EQ(
        DO(ctx, call, aio_submit_accept(ctx, listener, NULL, NULL, 0, INTO(0), on_call, &call)), 0);
    const int fd = aio_files_install(ctx, 0, 0);
    CHECK_EQ(close_slot(ctx, 0), 0);
    write_all_or_fail(fd, "x", 1);
    CHECK(is_readable(client, 5000));
    end_ctx(ctx);
}

TEST(a_multishot_accept_fills_slots_until_there_are_none) {
    aio_ctx *ctx = make_ctx_of(3);
    struct sockaddr_in addr;
    struct call call = {0};
    int clients[4];
    const int listener = make_tcp_listener(&addr, 8);
    ID(aio_submit_accept_multishot(ctx, listener, 0, ANYWHERE, on_call, &call));
    for (int i = 0; i < 3; i++) {
        clients[i] = tcp_connect_to(&addr);
        RUN_UNTIL(ctx, call.calls == i + 1);
        CHECK_EQ(call.result, i);
        CHECK_EQ(call.flags & AIO_CQE_MORE, AIO_CQE_MORE);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(send_through(ctx, i, "x"), 1);
        CHECK(is_readable(clients[i], 5000));
    }
    clients[3] = tcp_connect_to(&addr);
    CHECK_EQ(await_call(ctx, &call), -ENFILE);
    CHECK(peer_sees_fin(clients[3], 5000));
    end_ctx(ctx);
}

TEST(connections_beyond_the_limit_of_descriptors) {
    enum { COUNT = 300 };
    aio_ctx *ctx = make_ctx();
    needs_ring(ctx, "without a ring each filled slot is a descriptor of the process");
    beyond_valgrind("keeps the limit to itself");
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 2 * COUNT)), 0);
    struct sockaddr_in addr;
    struct call accepted = {0};
    const int listener = make_tcp_listener(&addr, COUNT);
    const int next = SYS(dup(0));
    SYS(close(next));
    SYS(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, (rlim_t)next}));
    CHECK_EQ(dup(0), -1);
    ID(aio_submit_accept_multishot(ctx, listener, 0, ANYWHERE, on_call, &accepted));
    for (int i = 0; i < COUNT; i++) {
        struct call call = {0};
        const int slot = DO(
            ctx, call, aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, ANYWHERE, on_call, &call));
        CHECK_GE(slot, 0);
        call = (struct call){0};
        CHECK_EQ(
            DO(ctx, call,
               aio_submit_connect(ctx, slot, (void *)&addr, sizeof addr, ON_SLOT, on_call, &call)),
            0);
        RUN_UNTIL(ctx, accepted.calls == i + 1);
        CHECK_GE(accepted.result, 0);
        CHECK_EQ(send_through(ctx, slot, "x"), 1);
    }
    CHECK_EQ(make_socket(ctx, ANYWHERE), -ENFILE);
    end_ctx(ctx);
}

/* In bytes, counted page by page: the figure that resident_kib reads may be 100 KiB behind. */
static int64_t resident_exactly(void) {
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    CHECK(file != NULL);
    while (kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "Rss: %lld", &kib) != 1)
            kib = -1;
    fclose(file);
    CHECK_GE(kib, 0);
    return kib * 1024;
}

TEST(an_idle_receive_on_a_slot_costs_its_operation_and_four_bytes) {
    enum { COUNT = 12000, FIRST = 2000 }; /* what the first ones cost is not theirs */
    if (!memory_figures_are_ours())
        SKIP("memory is not as the program's");
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 1024));
    needs_ring(ctx, "without a ring what waits is kept by the process, not by the kernel");
    char data[1];
    int ended = 0, fds[2], *all = malloc(COUNT * sizeof *all);
    int64_t before = 0;
    make_socket_pair(fds);
    for (int i = 0; i < COUNT; i++)
        all[i] = fds[0];
    for (uint32_t count = FIRST; count <= COUNT; count += COUNT - FIRST) {
        before = resident_exactly();
        CHECK_EQ(aio_files_register(ctx, TABLE(.count = count)), 0);
        CHECK_EQ(aio_files_update(ctx, 0, all, count), count);
        if (count == FIRST)
            CHECK_EQ(aio_files_unregister(ctx), 0);
    }
    CHECK_LE(resident_exactly() - before, COUNT * 4 + 16 * 1024);
    for (int i = 0; i < COUNT; i++) {
        if (i == FIRST) {
            CHECK_GE(aio_ctx_flush(ctx), 0);
            before = resident_exactly();
        }
        ID(aio_submit_recv(ctx, i, data, 1, 0, ON_SLOT, on_call_count, &ended));
    }
    CHECK_GE(aio_ctx_flush(ctx), 0);
    CHECK_LE(resident_exactly() - before, (COUNT - FIRST) * 64 + 16 * 1024);
    CHECK_EQ(aio_ctx_cancel_all(ctx), COUNT);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(ended, COUNT);
    free(all);
    end_ctx(ctx);
}

/* --- update and install ---------------------------------------------------------------------- */

TEST(an_update_gives_slots_files_of_their_own) {
    aio_ctx *ctx = make_ctx_of(4);
    char data[8] = {0};
    const int one = file_that_says("one", "one"), two = file_that_says("two", "two");
    CHECK_EQ(aio_files_update(ctx, 1, (int[]){one, -1, two}, 3), 3);
    SYS(close(one));
    SYS(close(two));
    CHECK_EQ(read_through(ctx, 1, data, 8), 3);
    CHECK_MEM(data, "one", 3);
    CHECK_EQ(read_through(ctx, 2, data, 8), -EBADF);
    CHECK_EQ(read_through(ctx, 3, data, 8), 3);
    CHECK_MEM(data, "two", 3);
    put(ctx, 1, -1);
    CHECK_EQ(read_through(ctx, 1, data, 8), -EBADF);
    end_ctx(ctx);
}

TEST(an_update_stops_at_a_bad_descriptor) {
    aio_ctx *ctx = make_ctx_of(4);
    char data[8];
    const int one = file_that_says("one", "one");
    struct call call = {0};
    CHECK_EQ(aio_files_update(ctx, 0, (int[]){one, one, one, one}, 4), 4);
    CHECK_EQ(aio_files_update(ctx, 0, (int[]){one, 9999, one}, 3), 1);
    CHECK_EQ(read_through(ctx, 0, data, 8), 3);
    CHECK_EQ(read_through(ctx, 1, data, 8), -EBADF);
    CHECK_EQ(read_through(ctx, 2, data, 8), 3);
    CHECK_EQ(aio_files_update(ctx, 3, (int[]){9999}, 1), -EBADF);
    CHECK_EQ(DO(ctx, call,
                aio_submit_files_update(ctx, 0, (int[]){one, -1, 9999}, 3, NULL, on_call, &call)),
             2);
    end_ctx(ctx);
}

TEST(what_cannot_be_updated_is_refused) {
    aio_ctx *ctx = make_ctx();
    const int fd = 0, bad = -2;
    CHECK_EQ(aio_files_update(ctx, 0, &fd, 1), -ENXIO);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 4)), 0);
    CHECK_EQ(aio_files_update(NULL, 0, &fd, 1), -EINVAL);
    CHECK_EQ(aio_files_update(ctx, 0, NULL, 1), -EINVAL);
    CHECK_EQ(aio_files_update(ctx, 0, &fd, 0), -EINVAL);
    CHECK_EQ(aio_files_update(ctx, 4, &fd, 1), -EINVAL);
    CHECK_EQ(aio_files_update(ctx, ~0u, &fd, 1), -EINVAL);
    CHECK_EQ(aio_files_update(ctx, 0, &bad, 1), -EINVAL);
    end_ctx(ctx);
}

TEST(an_operation_keeps_the_file_it_began_with) {
    aio_ctx *ctx = make_ctx_of(2);
    struct call first = {0}, second = {0};
    char data[2][8] = {{0}};
    int a[2], b[2];
    make_tcp_pair(a);
    make_tcp_pair(b);
    move(ctx, 0, a[0]);
    ID(aio_submit_recv(ctx, 0, data[0], 8, 0, ON_SLOT, on_call, &first));
    check_blocked(ctx, &first);
    move(ctx, 0, b[0]);
    ID(aio_submit_recv(ctx, 0, data[1], 8, 0, ON_SLOT, on_call, &second));
    check_blocked(ctx, &second);
    write_all_or_fail(a[1], "one", 3);
    CHECK_EQ(await_call(ctx, &first), 3);
    CHECK_MEM(data[0], "one", 3);
    CHECK(peer_sees_fin(a[1], 5000)); /* it was the last that had the file */
    check_blocked(ctx, &second);
    write_all_or_fail(b[1], "three", 5);
    CHECK_EQ(await_call(ctx, &second), 5);
    CHECK_MEM(data[1], "three", 5);
    end_ctx(ctx);
}

TEST(an_update_comes_behind_what_was_submitted_before) {
    aio_ctx *ctx = make_ctx_of(2);
    struct call call = {0};
    char data[8] = {0};
    move(ctx, 0, file_that_says("one", "one"));
    ID(aio_submit_read(ctx, 0, data, 8, 0, ON_SLOT, on_call, &call)); /* staged, no more */
    put(ctx, 0, -1);
    CHECK_EQ(await_call(ctx, &call), 3);
    CHECK_MEM(data, "one", 3);
    end_ctx(ctx);
}

TEST(install_makes_an_ordinary_descriptor) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 8);
    char data[8] = {0};
    CHECK_EQ(aio_files_install(ctx, 0, 0), -ENXIO);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 2)), 0);
    move(ctx, 0, file_that_says("one", "one"));
    CHECK_EQ(aio_files_install(NULL, 0, 0), -EINVAL);
    CHECK_EQ(aio_files_install(ctx, 0, 2), -EINVAL);
    CHECK_EQ(aio_files_install(ctx, 1, 0), -EBADF);
    CHECK_EQ(aio_files_install(ctx, 2, 0), -EBADF);
    const int fd = aio_files_install(ctx, 0, 0),
              kept = aio_files_install(ctx, 0, AIO_FILES_INHERIT);
    CHECK_GE(fd, 0);
    CHECK_GE(kept, 0);
    CHECK(is_cloexec(fd));
    CHECK(!is_cloexec(kept));
    CHECK_EQ(close_slot(ctx, 0), 0);
    CHECK_EQ(pread(fd, data, 8, 0), 3);
    CHECK_MEM(data, "one", 3);
    end_ctx(ctx);
    CHECK(is_open(kept));
}

static void install_inside(struct call *call) {
    int *fd = call->arg;
    *fd = aio_files_install(call->ctx, 0, 0);
}

TEST(install_inside_a_callback_leaves_other_completions_in_order) {
    enum { COUNT = 50 };
    aio_ctx *ctx = make_ctx_of(2);
    needs_ring_of(ctx, 6, 8);
    struct order order = {0};
    struct call calls[COUNT];
    int fd = -1;
    move(ctx, 0, file_that_says("one", "one"));
    for (int i = 0; i < COUNT; i++) {
        calls[i] = (struct call){.order = &order, .tag = i};
        if (i == 10) {
            calls[i].then = install_inside;
            calls[i].arg = &fd;
        }
        ID(aio_submit_nop(ctx, NULL, on_call, &calls[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(is_open(fd));
    CHECK_EQ(order.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(order.tags[i], i);
    end_ctx(ctx);
}

/* --- chains ---------------------------------------------------------------------------------- */

struct chain {
    struct call opened, got, closed;
    char data[8];
};

static void submit_chain(aio_ctx *ctx, struct chain *c, const char *path, uint32_t slot) {
    memset(c, 0, sizeof *c);
    ID(aio_submit_openat(ctx, AT_FDCWD, path, O_RDONLY, 0, LINKED_INTO(slot), on_call, &c->opened));
    ID(aio_submit_read(ctx, (int)slot, c->data, 8, 0,
                       WITH(.flags = AIO_SUBMIT_FIXED_FILE | AIO_SUBMIT_HARDLINK), on_call,
                       &c->got));
    ID(aio_submit_close(ctx, (int)slot, ON_SLOT, on_call, &c->closed));
}

TEST(a_chain_opens_reads_and_closes_a_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    struct chain c[2];
    close(file_that_says("one", "one"));
    close(file_that_says("three", "three"));
    for (int round = 0; round < 3; round++) { /* the slot is as good as new each time */
        submit_chain(ctx, &c[0], temp_path("one"), 3);
        submit_chain(ctx, &c[1], temp_path("three"), 1);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(c[i].opened.result, i ? 1 : 3);
            CHECK_EQ(c[i].got.result, i ? 5 : 3);
            CHECK_EQ(c[i].closed.result, 0);
        }
        CHECK_MEM(c[0].data, "one", 3);
        CHECK_MEM(c[1].data, "three", 5);
        check_free_slots(ctx, 4);
    }
    end_ctx(ctx);
}

TEST(a_quiet_chain_tells_of_its_end_alone) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call closed = {0};
    char data[8] = {0};
    close(file_that_says("one", "one"));
    ID(aio_submit_openat(
        ctx, AT_FDCWD, temp_path("one"), O_RDONLY, 0,
        WITH(.flags = AIO_SUBMIT_DIRECT | AIO_SUBMIT_LINK | AIO_SUBMIT_QUIET, .file_slot = 2),
        on_call_never, NULL));
    ID(aio_submit_read(ctx, 1, data, 3, 0,
                       WITH(.flags = AIO_SUBMIT_FIXED_FILE | AIO_SUBMIT_LINK | AIO_SUBMIT_QUIET),
                       on_call_never, NULL));
    ID(aio_submit_close(ctx, 1, ON_SLOT, on_call, &closed));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(closed.result, 0);
    CHECK_MEM(data, "one", 3);
    CHECK_EQ(stats_of(ctx).callbacks, 1);
    end_ctx(ctx);
}

TEST(a_chain_whose_open_fails_leaves_the_slot_as_it_was) {
    aio_ctx *ctx = make_ctx_of(4);
    struct chain c;
    submit_chain(ctx, &c, temp_path("none"), 3);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(c.opened.result, -ENOENT);
    CHECK_EQ(c.got.result, -ECANCELED);
    CHECK_EQ(c.got.flags, AIO_CQE_ABORTED);
    CHECK_EQ(c.closed.result, -ECANCELED);
    check_free_slots(ctx, 4);
    end_ctx(ctx);
}

TEST(a_missing_slot_breaks_a_chain) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call synced = {0}, got = {0}, after = {0};
    char data[8];
    ID(aio_submit_fsync(ctx, 2, 0, LINKED_ON_SLOT, on_call, &synced));
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(synced.result, -EBADF);
    CHECK_EQ(after.result, -ECANCELED);
    after = (struct call){0};
    ID(aio_submit_read(ctx, 2, data, 8, 0, LINKED_ON_SLOT, on_call, &got));
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(got.result, -EBADF);
    CHECK_EQ(after.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(a_chain_updates_the_table_and_uses_it) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call updated = {0}, got = {0};
    char data[8] = {0};
    const int fd = file_that_says("one", "one");
    ID(aio_submit_files_update(ctx, 2, &fd, 1, WITH(.flags = AIO_SUBMIT_LINK), on_call, &updated));
    ID(aio_submit_read(ctx, 2, data, 8, 0, ON_SLOT, on_call, &got));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(updated.result, 1);
    CHECK_EQ(got.result, 3);
    end_ctx(ctx);
}

TEST(a_close_in_a_chain_cancels_what_others_have_on_the_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call waiting = {0}, sent = {0}, closed = {0};
    char data[8];
    int fds[2];
    make_tcp_pair(fds);
    move(ctx, 1, fds[0]);
    ID(aio_submit_recv(ctx, 1, data, 8, 0, ON_SLOT, on_call, &waiting));
    check_blocked(ctx, &waiting);
    ID(aio_submit_send(ctx, 1, "bye", 3, 0, LINKED_ON_SLOT, on_call, &sent));
    ID(aio_submit_close(ctx, 1, ON_SLOT, on_call, &closed));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(sent.result, 3);
    CHECK_EQ(closed.result, 0);
    CHECK_EQ(waiting.result, -ECANCELED);
    CHECK(peer_sees_fin(fds[1], 5000));
    end_ctx(ctx);
}

/* --- nothing leaks --------------------------------------------------------------------------- */

TEST(what_arrives_for_nobody_leaves_its_slot) {
    aio_ctx *ctx = make_ctx_of(4);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    for (int given = 0; given < 2; given++) {
        for (int waits = 0; waits < 2; waits++) {
            const aio_op_id id = ID(aio_submit_socket(
                ctx, AF_UNIX, SOCK_STREAM, 0, given ? INTO(2) : ANYWHERE, on_call_never, NULL));
            if (waits)
                CHECK_EQ(aio_ctx_flush(ctx), 1);
            CHECK_EQ(waits ? aio_ctx_cancel_wait(ctx, id) : aio_ctx_detach(ctx, id), 0);
            CHECK_EQ(aio_ctx_run(ctx), 0);
            check_free_slots(ctx, 4);
        }
    }
    const aio_op_id id =
        ID(aio_submit_accept_multishot(ctx, listener, 0, ANYWHERE, on_call_never, NULL));
    int clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = tcp_connect_to(&addr);
    CHECK_EQ(aio_ctx_flush(ctx), 1);
    CHECK_EQ(aio_ctx_detach(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    SYS(close(listener));
    for (int i = 0; i < 3; i++)
        CHECK(peer_sees_fin(clients[i], 5000));
    check_free_slots(ctx, 4);
    end_ctx(ctx);
}

TEST(one_that_arrives_for_nobody_does_not_close_its_successor) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    const aio_op_id first =
        ID(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(2), on_call_never, NULL));
    ID(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, INTO(2), on_call, &call));
    CHECK_EQ(aio_ctx_flush(ctx), 1); /* both have succeeded */
    CHECK_EQ(aio_ctx_detach(ctx, first), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.result, 2);
    CHECK_EQ(close_slot(ctx, 2), 0);
    end_ctx(ctx);
}

TEST(random_ends_of_operations_leak_no_slot) {
    enum { SLOTS = 16, GIVEN = 10 };
    uint64_t state = test_seed();
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 0);
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = SLOTS, .alloc_count = GIVEN)), 0);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    close(file_that_says("one", "one"));
    for (int round = 0; round < scaled(400); round++) {
        struct call calls[6] = {0};
        aio_op_id ids[6];
        bool mine[6];
        int clients[6], client_count = 0;
        for (int i = 0; i < 6; i++) {
            const aio_submit_options *into =
                random_below(&state, 2) ? INTO(GIVEN + (uint32_t)i) : ANYWHERE;
            switch (random_below(&state, 3)) {
            case 0:
                ids[i] = aio_submit_openat(ctx, AT_FDCWD, temp_path("one"), O_RDONLY, 0, into,
                                           on_call, &calls[i]);
                break;
            case 1:
                ids[i] = aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, into, on_call, &calls[i]);
                break;
            default:
                ids[i] = aio_submit_accept(ctx, listener, NULL, NULL, 0, into, on_call, &calls[i]);
                if (random_below(&state, 2))
                    clients[client_count++] = tcp_connect_to(&addr);
            }
            ID(ids[i]);
            if (random_below(&state, 3) == 0)
                CHECK_GE(aio_ctx_flush(ctx), 0);
        }
        for (int i = 0; i < 6; i++) {
            const uint64_t how = random_below(&state, 4);
            mine[i] = how > 1;
            if (how == 0)
                mine[i] = aio_ctx_detach(ctx, ids[i]) != 0;
            else if (how == 1)
                mine[i] = aio_ctx_cancel_wait(ctx, ids[i]) != 0;
            else if (how == 2)
                aio_ctx_cancel(ctx, ids[i]);
        }
        for (int i = 0; i < 6; i++) /* those that are left may wait for ever */
            if (mine[i] && !calls[i].finals)
                aio_ctx_cancel(ctx, ids[i]);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        for (int i = 0; i < 6; i++) {
            CHECK_EQ(calls[i].finals, mine[i]);
            if (mine[i] && calls[i].result >= 0)
                CHECK_EQ(close_slot(ctx, calls[i].result), 0);
        }
        for (int i = 0; i < client_count; i++)
            close(clients[i]);
        while (is_readable(listener, 0)) /* what nobody has accepted */
            close(accept(listener, NULL, NULL));
        check_free_slots(ctx, GIVEN);
        for (int i = 0; i < 6; i++)
            check_empty(ctx, GIVEN + i);
    }
    end_ctx(ctx);
}

TEST(destroy_empties_the_table) {
    const int before = open_descriptors();
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    char data[8];
    int used[2], idle[2];
    make_tcp_pair(used);
    make_tcp_pair(idle);
    move(ctx, 0, used[0]);
    move(ctx, 3, idle[0]);
    ID(aio_submit_recv(ctx, 0, data, 8, 0, ON_SLOT, on_call, &call));
    check_blocked(ctx, &call);
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK(peer_sees_fin(used[1], 5000));
    CHECK(peer_sees_fin(idle[1], 5000));
    close(used[1]);
    close(idle[1]);
    CHECK_EQ(open_descriptors(), before);
}

TEST(records_that_nobody_reaps_leave_nothing_open) {
    aio_ctx *ctx = make_ctx_of(4);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8), client = tcp_connect_to(&addr);
    ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, ANYWHERE, AIO_CALLBACK_REAP, NULL));
    RUN_UNTIL(ctx, aio_ctx_in_flight(ctx) == 0);
    end_ctx(ctx);
    CHECK(peer_sees_fin(client, 5000));
}

static void outlive(void *arg) {
    char byte;
    read_all_or_fail(*(int *)arg, &byte, 1);
}

TEST(destroy_empties_the_table_beside_a_forked_child) {
    aio_ctx *ctx = make_ctx_of(4);
    needs_ring(ctx, "without a ring a forked child has the descriptors that slots hold");
    int fds[2], ends[2];
    make_tcp_pair(fds);
    make_pipe(ends);
    CHECK_EQ(make_socket(ctx, INTO(1)), 1);
    move(ctx, 0, fds[0]);
    const pid_t child = start_child(outlive, &ends[0]);
    end_ctx(ctx);
    CHECK(peer_sees_fin(fds[1], 5000));
    write_all_or_fail(ends[1], "x", 1);
    CHECK_EQ(end_child(child), 0);
}

static void use_the_copy(void *arg) {
    aio_ctx *ctx = arg;
    const int fd = -1;
    CHECK_EQ(aio_files_register(ctx, TABLE(.count = 1)), AIO_EFORKED);
    CHECK_EQ(aio_files_update(ctx, 0, &fd, 1), AIO_EFORKED);
    CHECK_EQ(aio_files_install(ctx, 0, 0), AIO_EFORKED);
    CHECK_EQ(aio_files_unregister(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
}

TEST(a_forked_copy_leaves_the_table_alone) {
    aio_ctx *ctx = make_ctx_of(4);
    struct call call = {0};
    char data[8] = {0};
    int fds[2];
    make_tcp_pair(fds);
    move(ctx, 2, fds[0]);
    ID(aio_submit_recv(ctx, 2, data, 8, 0, ON_SLOT, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(end_child(start_child(use_the_copy, ctx)), 0);
    write_all_or_fail(fds[1], "hello", 5);
    CHECK_EQ(await_call(ctx, &call), 5);
    CHECK_EQ(close_slot(ctx, 2), 0);
    CHECK(peer_sees_fin(fds[1], 5000));
    end_ctx(ctx);
}

TEST(the_limit_of_descriptors_holds_where_slots_are_emulated) {
    aio_ctx *ctx = make_ctx_of(64);
    if (has_ring(ctx)) { /* the other half: connections_beyond_the_limit_of_descriptors */
        CHECK_EQ(make_socket(ctx, ANYWHERE), 0);
        end_ctx(ctx);
        return;
    }
    beyond_valgrind("keeps the limit to itself");
    const int next = SYS(dup(0)), zero = 0;
    SYS(close(next));
    SYS(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, (rlim_t)next}));
    CHECK_EQ(make_socket(ctx, ANYWHERE), -EMFILE);
    CHECK_EQ(aio_files_update(ctx, 0, &zero, 1), -EMFILE);
    end_ctx(ctx);
}

HARNESS_MAIN
