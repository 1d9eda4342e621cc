/* Version and status codes, and what every function says to arguments that are not allowed. The bad
 * arguments that all submit functions share are in test_operations, a row each. */
#include "harness.h"

#include <poll.h>
#include <sys/uio.h>

struct named {
    int32_t status;
    const char *name;
};

static const struct named own_codes[] = {
    {AIO_EWRONGTHREAD, "AIO_EWRONGTHREAD"},
    {AIO_EREENTRANT, "AIO_EREENTRANT"},
    {AIO_EPENDING, "AIO_EPENDING"},
    {AIO_EDESTROYED, "AIO_EDESTROYED"},
    {AIO_ESTUCK, "AIO_ESTUCK"},
    {AIO_EORPHANED, "AIO_EORPHANED"},
    {AIO_EPANIC, "AIO_EPANIC"},
    {AIO_EFORKED, "AIO_EFORKED"},
    {AIO_ECLOSED, "AIO_ECLOSED"},
    {AIO_EEOF, "AIO_EEOF"},
};

static const struct named system_codes[] = {
    {-EPERM, "EPERM"},
    {-ENOENT, "ENOENT"},
    {-EINTR, "EINTR"},
    {-EIO, "EIO"},
    {-EBADF, "EBADF"},
    {-EAGAIN, "EAGAIN"},
    {-ENOMEM, "ENOMEM"},
    {-EACCES, "EACCES"},
    {-EBUSY, "EBUSY"},
    {-EEXIST, "EEXIST"},
    {-EINVAL, "EINVAL"},
    {-EPIPE, "EPIPE"},
    {-E2BIG, "E2BIG"},
    {-ENOBUFS, "ENOBUFS"},
    {-ETIMEDOUT, "ETIMEDOUT"},
    {-ECANCELED, "ECANCELED"},
    {-EOPNOTSUPP, "EOPNOTSUPP"},
    {-ECONNRESET, "ECONNRESET"},
    {-EALREADY, "EALREADY"},
    {-EOVERFLOW, "EOVERFLOW"},
    {-ENAMETOOLONG, "ENAMETOOLONG"},
};

TEST(the_version_and_its_text_agree) {
    const uint32_t version = aio_version();
    char text[32];
    snprintf(text, sizeof text, "%u.%u.%u", version >> 16, version >> 8 & 0xff, version & 0xff);
    CHECK_STR(aio_version_string(), text);
    CHECK_GT(version, 0);
}

TEST(own_codes_have_their_names_and_a_text_each) {
    for (int i = 0; i < COUNT_OF(own_codes); i++) {
        CHECK_LT(own_codes[i].status, -5000);
        CHECK_STR(aio_error_name(own_codes[i].status), own_codes[i].name);
        const char *text = aio_strerror(own_codes[i].status);
        CHECK(text != NULL && strlen(text) > 5);
        CHECK(strcmp(text, aio_strerror(-5999)) != 0);
        for (int n = 0; n < i; n++) {
            CHECK_NE(own_codes[n].status, own_codes[i].status);
            CHECK(strcmp(aio_strerror(own_codes[n].status), text) != 0);
        }
    }
}

TEST(system_codes_have_the_names_of_errno) {
    for (int i = 0; i < COUNT_OF(system_codes); i++) {
        CHECK_STR(aio_error_name(system_codes[i].status), system_codes[i].name);
        const char *text = aio_strerror(system_codes[i].status);
        CHECK(text != NULL && strlen(text) > 2);
        for (int n = 0; n < i; n++)
            CHECK(strcmp(aio_strerror(system_codes[n].status), text) != 0);
    }
}

TEST(every_status_has_a_text_that_stays_where_it_is) {
    for (int32_t status = -6000; status < 200; status++) {
        const char *text = aio_strerror(status), *name = aio_error_name(status);
        CHECK(text != NULL && *text);
        CHECK(name != NULL && *name);
        CHECK(aio_strerror(status) == text); /* no shared buffer is overwritten */
    }
    CHECK(aio_strerror(INT32_MIN) != NULL);
    CHECK(aio_strerror(INT32_MAX) != NULL);
    CHECK(aio_error_name(INT32_MIN) != NULL);
}

/* --- contexts -------------------------------------------------------------------------------- */

TEST(create_refuses_bad_options_and_makes_nothing) {
    aio_ctx *ctx = NULL;
    const int before = open_descriptors();
    CHECK_EQ(aio_ctx_create(NULL, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_create(&(aio_ctx_options){.size = 0}, &ctx), -EINVAL);
    CHECK_EQ(aio_ctx_create(&(aio_ctx_options){.size = 4}, &ctx), -EINVAL);
    CHECK_EQ(aio_ctx_create(&(aio_ctx_options){.size = 23}, &ctx), -EINVAL);
    CHECK_EQ(aio_ctx_create(CTX_WITH(.backend = 99), &ctx), -EINVAL);
    CHECK_EQ(aio_ctx_create(CTX_WITH(.flags = 1u << 31), &ctx), -EINVAL);
    struct {
        aio_ctx_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger}, .later = 1};
    CHECK_EQ(aio_ctx_create(&larger.options, &ctx), -E2BIG);
    CHECK(ctx == NULL);
    CHECK_EQ(open_descriptors(), before);
    larger.later = 0;
    CHECK_EQ(aio_ctx_create(&larger.options, &ctx), 0);
    end_ctx(ctx);
}

TEST(fields_of_later_versions_must_be_zero_at_create) {
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(CTX_WITH(.reserved0 = 1), &ctx), -EINVAL);
    CHECK_EQ(aio_ctx_create(CTX_WITH(.reserved = {0, 0, 0, 0, 0, 0, 0, 1}), &ctx), -EINVAL);
    CHECK(ctx == NULL);
}

TEST(fields_of_later_versions_must_be_zero_at_submit) {
    aio_ctx *ctx = make_ctx();
    const aio_submit_options *bad[] = {
        WITH(.file_slot = 1),     WITH(.buf_index = 1),     WITH(.reserved0 = 1),
        WITH(.reserved = {1, 0}), WITH(.reserved = {0, 1}),
    };
    for (int i = 0; i < COUNT_OF(bad); i++)
        CHECK_EQ(aio_submit_nop(ctx, bad[i], on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

TEST(every_function_of_a_context_refuses_null) {
    aio_completion record;
    aio_info info = {.size = sizeof info};
    aio_stats stats = {.size = sizeof stats};
    char text[8];
    CHECK_EQ(aio_ctx_destroy(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_ref(NULL), -EINVAL);
    aio_ctx_unref(NULL);
    CHECK_EQ(aio_ctx_run(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_run_once(NULL, 0), -EINVAL);
    CHECK_EQ(aio_ctx_stop(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_post(NULL, free, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_cancel(NULL, 1), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(NULL, 0, 0), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_all(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_group(NULL, 1), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_wait(NULL, 1), -EINVAL);
    CHECK_EQ(aio_ctx_detach(NULL, 1), -EINVAL);
    CHECK_EQ(aio_ctx_flush(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_fd(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_next_timeout_ns(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_reap(NULL, &record, sizeof record, 1, 0), -EINVAL);
    aio_ctx_hold(NULL);
    aio_ctx_release(NULL);
    CHECK_EQ(aio_ctx_current_op(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_current_bytes(NULL), 0);
    CHECK_EQ(aio_ctx_info(NULL, &info), -EINVAL);
    CHECK_EQ(aio_ctx_stats(NULL, &stats), -EINVAL);
    CHECK_EQ(aio_ctx_dump(NULL, text, sizeof text), -EINVAL);
    CHECK_EQ(aio_ctx_in_flight(NULL), -EINVAL);
    CHECK(aio_ctx_user_data(NULL) == NULL);
    aio_ctx_set_user_data(NULL, text);
}

TEST(functions_of_a_context_refuse_other_bad_arguments) {
    aio_ctx *ctx = make_ctx();
    aio_completion record;
    aio_info info = {.size = 3};
    aio_stats stats = {.size = 0};
    CHECK_EQ(aio_ctx_post(ctx, NULL, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 0, 2), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, -1, 0), -EINVAL);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 0), -EINVAL);
    CHECK_EQ(aio_ctx_reap(ctx, NULL, sizeof record, 1, 0), -EINVAL);
    CHECK_EQ(aio_ctx_reap(ctx, &record, 0, 1, 0), -EINVAL);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record - 8, 1, 0), -EINVAL);
    CHECK_EQ(aio_ctx_info(ctx, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_info(ctx, &info), -EINVAL);
    CHECK_EQ(aio_ctx_stats(ctx, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_stats(ctx, &stats), -EINVAL);
    CHECK_EQ(aio_ctx_dump(ctx, NULL, 8), -EINVAL);
    end_ctx(ctx);
}

/* --- arguments of operations ----------------------------------------------------------------- */

TEST(operations_refuse_null_where_it_is_not_allowed) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("null", "x", 1), at = AT_FDCWD;
    const uint64_t here = AIO_OFFSET_CURRENT;
    const aio_op_id statuses[] = {
        aio_submit_raw(ctx, NULL, NULL, on_call_never, NULL),
        aio_submit_openat(ctx, at, NULL, O_RDONLY, 0, NULL, on_call_never, NULL),
        aio_submit_read(ctx, fd, NULL, 1, 0, NULL, on_call_never, NULL),
        aio_submit_write(ctx, fd, NULL, 1, here, NULL, on_call_never, NULL),
        aio_submit_readv(ctx, fd, NULL, 1, 0, 0, NULL, on_call_never, NULL),
        aio_submit_writev(ctx, fd, NULL, 1, 0, 0, NULL, on_call_never, NULL),
        aio_submit_statx(ctx, at, NULL, 0, 0, &(struct statx){0}, NULL, on_call_never, NULL),
        aio_submit_statx(ctx, at, "/", 0, 0, NULL, NULL, on_call_never, NULL),
        aio_submit_unlinkat(ctx, at, NULL, 0, NULL, on_call_never, NULL),
        aio_submit_mkdirat(ctx, at, NULL, 0, NULL, on_call_never, NULL),
        aio_submit_renameat(ctx, at, NULL, at, "x", 0, NULL, on_call_never, NULL),
        aio_submit_renameat(ctx, at, "x", at, NULL, 0, NULL, on_call_never, NULL),
        aio_submit_symlinkat(ctx, NULL, at, "x", NULL, on_call_never, NULL),
        aio_submit_symlinkat(ctx, "x", at, NULL, NULL, on_call_never, NULL),
        aio_submit_linkat(ctx, at, NULL, at, "x", 0, NULL, on_call_never, NULL),
        aio_submit_linkat(ctx, at, "x", at, NULL, 0, NULL, on_call_never, NULL),
        aio_submit_bind(ctx, fd, NULL, 16, NULL, on_call_never, NULL),
        aio_submit_connect(ctx, fd, NULL, 16, NULL, on_call_never, NULL),
        aio_submit_accept(ctx, fd, (struct sockaddr *)&(struct sockaddr_in){0}, NULL, 0, NULL,
                          on_call_never, NULL),
        aio_submit_accept(ctx, fd, NULL, &(socklen_t){16}, 0, NULL, on_call_never, NULL),
        aio_submit_recv(ctx, fd, NULL, 1, 0, NULL, on_call_never, NULL),
        aio_submit_send(ctx, fd, NULL, 1, 0, NULL, on_call_never, NULL),
        aio_submit_sendmsg(ctx, fd, NULL, 0, NULL, on_call_never, NULL),
        aio_submit_recvmsg(ctx, fd, NULL, 0, NULL, on_call_never, NULL),
    };
    for (int i = 0; i < COUNT_OF(statuses); i++) {
        if (statuses[i] != -EINVAL)
            FAIL("line %d of the list gave %lld", i, (long long)statuses[i]);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(operations_refuse_counts_and_lengths_out_of_range) {
    aio_ctx *ctx = make_ctx();
    static struct iovec iov[1025];
    static char byte, control[65 * 1024];
    static char addr[200];
    const int fd = temp_file("range", "x", 1);
    for (int i = 0; i < COUNT_OF(iov); i++)
        iov[i] = (struct iovec){&byte, 1};
    const struct msghdr long_name = {
        .msg_name = addr, .msg_namelen = 129, .msg_iov = iov, .msg_iovlen = 1};
    const struct msghdr long_control = {
        .msg_control = control, .msg_controllen = 64 * 1024 + 1, .msg_iov = iov, .msg_iovlen = 1};
    const struct msghdr many = {.msg_iov = iov, .msg_iovlen = 1025};
    const struct msghdr no_array = {.msg_iov = NULL, .msg_iovlen = 1};
    struct msghdr many_in = many;
    const aio_op_id statuses[] = {
        aio_submit_readv(ctx, fd, iov, -1, 0, 0, NULL, on_call_never, NULL),
        aio_submit_readv(ctx, fd, iov, 1025, 0, 0, NULL, on_call_never, NULL),
        aio_submit_writev(ctx, fd, iov, -1, 0, 0, NULL, on_call_never, NULL),
        aio_submit_writev(ctx, fd, iov, 1025, 0, 0, NULL, on_call_never, NULL),
        aio_submit_sendmsg(ctx, fd, &long_name, 0, NULL, on_call_never, NULL),
        aio_submit_sendmsg(ctx, fd, &long_control, 0, NULL, on_call_never, NULL),
        aio_submit_sendmsg(ctx, fd, &many, 0, NULL, on_call_never, NULL),
        aio_submit_sendmsg(ctx, fd, &no_array, 0, NULL, on_call_never, NULL),
        aio_submit_recvmsg(ctx, fd, &many_in, 0, NULL, on_call_never, NULL),
        aio_submit_ftruncate(ctx, fd, 1ull << 63, NULL, on_call_never, NULL),
        aio_submit_bind(ctx, fd, (struct sockaddr *)addr, 0, NULL, on_call_never, NULL),
        aio_submit_connect(ctx, fd, (struct sockaddr *)addr, 0, NULL, on_call_never, NULL),
        aio_submit_bind(ctx, fd, (struct sockaddr *)addr, 129, NULL, on_call_never, NULL),
        aio_submit_connect(ctx, fd, (struct sockaddr *)addr, 129, NULL, on_call_never, NULL),
    };
    for (int i = 0; i < COUNT_OF(statuses); i++) {
        if (statuses[i] != -EINVAL)
            FAIL("line %d of the list gave %lld", i, (long long)statuses[i]);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(a_refused_submit_leaves_nothing_behind) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(aio_submit_nop(ctx, NULL, NULL, NULL), -EINVAL);
        CHECK_EQ(aio_submit_openat(ctx, AT_FDCWD, NULL, 0, 0, NULL, on_call_never, NULL), -EINVAL);
    }
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    CHECK_EQ(stats_of(ctx).submitted, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

struct told {
    int32_t level;
    int count;
    char text[256];
};

static void note_refusal(void *arg, int32_t level, const char *message) {
    struct told *told = arg;
    if (level != AIO_LOG_REFUSED)
        return;
    told->level = level;
    told->count++;
    snprintf(told->text, sizeof told->text, "%s", message);
}

/* The call has failed, and the log said so: once, and with these words. */
#define CHECK_TOLD(call_, name_, words_)                                                           \
    do {                                                                                           \
        told = (struct told){0};                                                                   \
        CHECK_EQ(call_, -EINVAL);                                                                  \
        CHECK_EQ(told.count, 1);                                                                   \
        CHECK(strncmp(told.text, name_ ": -EINVAL: ", strlen(name_ ": -EINVAL: ")) == 0);          \
        if (!strstr(told.text, words_))                                                            \
            FAIL("the log says: %s", told.text);                                                   \
    } while (0)

TEST(the_log_says_why_a_call_was_refused_where_that_is_asked_for) {
    struct told told = {0};
    struct call call = {0};
    aio_ctx *ctx = make_ctx_with(
        CTX_WITH(.flags = AIO_CTX_LOG_REFUSALS, .log = note_refusal, .log_arg = &told));
    const aio_submit_options unsized = {.flags = AIO_SUBMIT_LINK};
    aio_submit_options odd = {.size = sizeof odd, .flags = 1u << 30};
    CHECK_TOLD(aio_submit_nop(ctx, NULL, NULL, NULL), "nop", "the callback is NULL");
    CHECK_TOLD(aio_submit_nop(ctx, &unsized, on_call, &call), "nop",
               "the size of a structure is 0");
    CHECK_TOLD(aio_submit_nop(ctx, &odd, on_call, &call), "nop", "flags of the options");
    odd.flags = 0;
    odd.reserved[1] = 1;
    CHECK_TOLD(aio_submit_nop(ctx, &odd, on_call, &call), "nop", "a reserved field");
    CHECK_TOLD(aio_submit_nop(ctx, WITH(.buf_index = 1), on_call, &call), "nop", "buf_index");
    CHECK_TOLD(aio_submit_nop(ctx, WITH(.file_slot = 1), on_call, &call), "nop", "file_slot");
    CHECK_TOLD(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_KEEP_RESULT), on_call, &call), "nop",
               "AIO_SUBMIT_KEEP_RESULT means nothing");
    CHECK_TOLD(aio_submit_poll(ctx, 0, 1, WITH(.flags = AIO_SUBMIT_TIMEOUT_IDLE), on_call, &call),
               "poll", "AIO_SUBMIT_TIMEOUT_IDLE is for multishots");
    CHECK_TOLD(aio_submit_recv(ctx, 0, NULL, 1, 0, NULL, on_call, &call), "recv",
               "the buffer is NULL");
    CHECK_TOLD(aio_submit_openat(ctx, AT_FDCWD, NULL, 0, 0, NULL, on_call, &call), "openat",
               "a pointer is NULL");
    CHECK_TOLD(aio_submit_timer(ctx, 1, WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &call), "timer",
               "a timer takes no flag");
    CHECK_TOLD(aio_submit_interval(ctx, 0, NULL, on_call, &call), "interval", "period");
    CHECK_TOLD(aio_submit_signal(ctx, SIGUSR1, WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &call),
               "aio_submit_signal", "are for others");
    /* One reason is told through the callback. */
    told = (struct told){0};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &call));
    CHECK_TOLD(aio_submit_timer(ctx, 1, NULL, on_call, &call), "timer", "a chain is open");
    told = (struct told){0};
    CHECK_EQ(await_call(ctx, &call), -EINVAL);
    CHECK_EQ(told.count, 1);
    CHECK_STR(told.text, "a chain: -EINVAL: it was open at the end of its turn: all of it ends so");
    end_ctx(ctx);
}

TEST(the_log_says_nothing_of_refusals_by_default) {
    struct told told = {0};
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.log = note_refusal, .log_arg = &told));
    CHECK_EQ(aio_submit_nop(ctx, NULL, NULL, NULL), -EINVAL);
    struct call call = {0};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &call));
    CHECK_EQ(await_call(ctx, &call), -EINVAL);
    CHECK_EQ(told.count, 0);
    end_ctx(ctx);
}

HARNESS_MAIN
