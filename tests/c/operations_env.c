/* What an attempt at an operation has around it: a context, descriptors and files that are closed
 * at its end, a thread, a child. */
#include "name_server.h"
#include "operations.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/wait.h>

bool is_test_of(const char *op) {
    const size_t len = strlen(op);
    return strncmp(harness_running(), op, len) == 0 && harness_running()[len] == '_';
}

void env_open(struct env *e, uint32_t ctx_flags) {
    memset(e, 0, sizeof *e);
    const uint32_t flags = ctx_flags | (is_test_of("recv_zc") ? AIO_CTX_CQE32 : 0);
    e->ctx = make_ctx_with(flags ? CTX_WITH(.flags = flags) : NULL);
    e->fd = e->other = -1;
    e->peer_len = sizeof e->peer;
}

void env_close(struct env *e) {
    if (e->has_helper) {
        __atomic_store_n(&e->helper_stops, true, __ATOMIC_RELEASE);
        CHECK_EQ(pthread_join(e->helper, NULL), 0);
    }
    if (e->there)
        end_ctx(e->there);
    if (e->child) {
        kill(e->child, SIGKILL);
        waitpid(e->child, NULL, 0);
    }
    for (int i = 0; i < e->fd_count; i++)
        if (is_open(e->fds[i]))
            close(e->fds[i]);
    if (e->pool)
        CHECK_EQ(aio_buffer_pool_destroy(e->pool), 0);
    if (e->notifier)
        CHECK_EQ(aio_notifier_destroy(e->notifier), 0);
    if (e->channel)
        CHECK_EQ(aio_channel_destroy(e->channel), 0);
    if (e->server)
        name_server_stop(e->server);
    aio_resolver_destroy(e->resolver);
    if (e->undo)
        e->undo(e);
}

void env_start_helper(struct env *e, void *(*body)(void *env)) {
    CHECK_EQ(pthread_create(&e->helper, NULL, body, e), 0);
    e->has_helper = true;
}

int env_keep(struct env *e, int fd) {
    CHECK_GE(fd, 0);
    CHECK_LT(e->fd_count, COUNT_OF(e->fds));
    e->fds[e->fd_count++] = fd;
    return fd;
}

void env_keep_both(struct env *e, const int fds[2]) {
    e->fd = env_keep(e, fds[0]);
    e->other = env_keep(e, fds[1]);
}

void env_path(const struct env *e, char path[512], const char *name) {
    snprintf(path, 512, "%s/%s-%p-%" PRIu64, temp_dir(), name, (const void *)e, now_ns());
}

int env_file(struct env *e, char path[512], const char *name, int flags) {
    env_path(e, path, name);
    const int fd = env_keep(e, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    write_all_or_fail(fd, "hello", 5);
    if (flags == O_RDWR)
        return fd;
    return env_keep(e, SYS(open(path, flags | O_CLOEXEC)));
}

void check_is_zero(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 0);
}

void env_no_descriptor_left(const struct env *e) {
    if (has_ring(e->ctx))
        beyond_valgrind("keeps the limit to itself, and the kernel does not know it");
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = (rlim_t)SYS(dup(0));
    SYS(close((int)limit.rlim_cur));
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
}
