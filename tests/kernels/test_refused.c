/* What becomes of a context on a kernel that refuses io_uring: one that is too old, and one whose
 * administrator says so. For the guests of tools/kernels alone, as root: the machine's setting is
 * changed. */
#include "harness.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

enum { NOBODY = 65534, RING_GROUP = 4711 };

#define DISABLED "/proc/sys/kernel/io_uring_disabled"
#define GROUP "/proc/sys/kernel/io_uring_group"

/* --- the kernel's settings and the caller's rights -------------------------------------------- */

static void set(const char *file, int value) {
    const int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        SKIP("no %s: it is of Linux 6.6", file);
    SYS(fd);
    char text[16];
    const int len = snprintf(text, sizeof text, "%d\n", value);
    CHECK_EQ(write(fd, text, (size_t)len), len);
    close(fd);
}

/* Nobody sets it back: tests give their rights up, and this program is a guest's last. */
static void disable(int value) {
    set(GROUP, -1);
    set(DISABLED, value);
}

static void become_nobody(gid_t group) {
    SYS(setgroups(group ? 1 : 0, &group));
    SYS(setgid(NOBODY));
    SYS(setuid(NOBODY));
}

static void drop_cap_sys_admin(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    SYS(syscall(SYS_capget, &head, data));
    data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
    data[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
    SYS(syscall(SYS_capset, &head, data));
}

/* --- what contexts are made ------------------------------------------------------------------- */

struct log {
    int warnings;       /* all */
    int about_fallback; /* those that name the fallback */
};

static void on_log(void *arg, int32_t level, const char *message) {
    struct log *log = arg;
    log->warnings += level == AIO_LOG_WARN;
    log->about_fallback += level == AIO_LOG_WARN && strstr(message, "epoll") != NULL;
}

static aio_info info_of(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return info;
}

static void check_works(aio_ctx *ctx) {
    int pair[2];
    char sent[] = "over the wire", received[sizeof sent] = "";
    make_socket_pair(pair);
    struct call recv = {0}, send = {0}, timer = {0};
    ID(aio_submit_recv(ctx, pair[0], received, sizeof received, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    CHECK_EQ(
        DO(ctx, send, aio_submit_send(ctx, pair[1], sent, sizeof sent, 0, NULL, on_call, &send)),
        sizeof sent);
    CHECK_EQ(await_call(ctx, &recv), sizeof sent);
    CHECK_STR(received, sent);
    CHECK_EQ(DO(ctx, timer, aio_submit_timer(ctx, MS, NULL, on_call, &timer)), 0);
    close(pair[0]);
    close(pair[1]);
}

static void check_ring(void) {
    struct log log = {0};
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.log = on_log, .log_arg = &log));
    const aio_info info = info_of(ctx);
    CHECK_EQ(info.backend, AIO_BACKEND_URING);
    CHECK_EQ(info.fallback_status, 0);
    CHECK_EQ(log.about_fallback, 0);
    check_works(ctx);
    end_ctx(ctx);
}

/* AUTO falls back and says why, once per context. */
static void check_fallback(int32_t why) {
    struct log log = {0};
    for (int i = 1; i <= 2; i++) {
        aio_ctx *ctx = make_ctx_with(CTX_WITH(.log = on_log, .log_arg = &log));
        const aio_info info = info_of(ctx);
        CHECK_EQ(info.backend, AIO_BACKEND_EPOLL);
        CHECK_EQ(info.fallback_status, why);
        check_works(ctx);
        end_ctx(ctx);
        CHECK_EQ(log.about_fallback, i);
        CHECK_EQ(log.warnings, i);
    }
    /* Who asks for epoll is not told that it is a fallback. */
    aio_ctx *ctx =
        make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL, .log = on_log, .log_arg = &log));
    CHECK_EQ(info_of(ctx).backend, AIO_BACKEND_EPOLL);
    CHECK_EQ(info_of(ctx).fallback_status, 0);
    end_ctx(ctx);
    CHECK_EQ(log.warnings, 2);
}

/* ... and a ring that was asked for is an error. */
static void check_refused(int32_t why) {
    check_fallback(why);
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx), why);
    CHECK(ctx == NULL);
}

/* --- the tests -------------------------------------------------------------------------------- */

static bool linux_is_at_least(int major, int minor) {
    struct utsname name;
    int its_major = 0, its_minor = 0;
    SYS(uname(&name));
    CHECK_EQ(sscanf(name.release, "%d.%d", &its_major, &its_minor), 2);
    return its_major > major || (its_major == major && its_minor >= minor);
}

TEST(auto_takes_the_ring_from_linux_6_1_on) {
    if (linux_is_at_least(6, 1))
        check_ring();
    else
        check_fallback(-ENOSYS);
}

/* Linux 5.10 gave one, in which operations hung. */
TEST(a_ring_that_is_asked_for_needs_linux_5_19) {
    aio_ctx *ctx = NULL;
    const bool given = linux_is_at_least(5, 19);
    CHECK_EQ(aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx), given ? 0 : -ENOSYS);
    CHECK_EQ(ctx != NULL, given);
    if (given)
        end_ctx(ctx);
}

TEST(sysctl_1_refuses_an_unprivileged_user) {
    disable(1);
    become_nobody(0);
    check_refused(-EPERM);
}

TEST(sysctl_1_refuses_root_without_cap_sys_admin) {
    disable(1);
    drop_cap_sys_admin();
    CHECK_EQ(geteuid(), 0);
    check_refused(-EPERM);
}

TEST(sysctl_1_lets_cap_sys_admin_have_a_ring) {
    disable(1);
    check_ring();
}

TEST(sysctl_1_lets_the_group_have_a_ring) {
    disable(1);
    set(GROUP, RING_GROUP);
    become_nobody(RING_GROUP);
    check_ring();
}

TEST(sysctl_2_refuses_everybody) {
    disable(2);
    check_refused(-EPERM);
}

TEST(a_ring_made_before_the_refusal_goes_on) {
    disable(0);
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_URING));
    disable(2);
    check_works(ctx); /* which adopts it: the ring is enabled after the refusal */
    end_ctx(ctx);
}

HARNESS_MAIN
