/* A failure inside the engine, and memory that cannot be had, brought about from outside by a limit
 * of the address space: `panics engine` ends with 0 if the call said AIO_EPANIC, `panics memory`
 * does not come to its end. Which text they leave on stderr is the script's to check. */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void ignore(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
}

static void posted(void *arg) { (void)arg; }

static void limit_address_space(rlim_t bytes) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0)
        exit(3);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        exit(3);
}

/* The queues of a ring have grown, and there is no place to map them to. */
static int fail_in_the_engine(void) {
    const aio_ctx_options options = {.size = sizeof options,
                                     .backend = AIO_BACKEND_URING,
                                     .sq_entries = 4,
                                     .sq_entries_max = 64,
                                     .destroy_grace_ns = 100000000};
    aio_ctx *ctx;
    const int32_t status = aio_ctx_create(&options, &ctx);
    if (status == -EOPNOTSUPP || status == -ENOSYS || status == -EPERM)
        return 77;
    if (status != 0 || aio_submit_nop(ctx, NULL, ignore, NULL) < 0 || aio_ctx_run(ctx) != 0)
        return 4;
    limit_address_space(1);
    int64_t id = 1;
    for (int i = 0; i < 8 && id > 0; i++)
        id = aio_submit_nop(ctx, NULL, ignore, NULL);
    if (id > 0)
        id = aio_ctx_run(ctx);
    limit_address_space(RLIM_INFINITY);
    if (id != AIO_EPANIC || aio_submit_nop(ctx, NULL, ignore, NULL) != AIO_EPANIC)
        return 5;
    /* What the kernel says in the queues that could not be mapped, nobody hears. */
    return aio_ctx_destroy(ctx) == AIO_ESTUCK ? 0 : 6;
}

static int run_out_of_memory(void) {
    aio_ctx *ctx;
    if (aio_ctx_create(NULL, &ctx) != 0)
        return 4;
    limit_address_space(1);
    for (size_t size = 1 << 20; size >= 16; size /= 2)
        while (malloc(size) != NULL)
            ;
    for (int i = 0; i < 100; i++)
        if (aio_ctx_post(ctx, posted, NULL) != 0)
            return 5;
    return 6;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    return strcmp(argv[1], "engine") == 0 ? fail_in_the_engine() : run_out_of_memory();
}
