/* What an outside project might begin with: one operation, its callback, and the version that the
   header's library says it has. Ends with 0 only when the callback ran once with success; with 77
   where the system has no way to run a context. */
#include <aio_rs.h>
#include <errno.h>
#include <stdio.h>

struct seen {
    int calls;
    int32_t result;
};

static void on_nop(void *user_data, int32_t result, uint32_t flags)
#ifdef __cplusplus
    noexcept
#endif
{
    struct seen *seen = (struct seen *)user_data;
    (void)flags;
    seen->calls += 1;
    seen->result = result;
}

int main(void) {
    struct seen seen = {0, -1};
    aio_ctx *ctx = NULL;
    int32_t status = aio_ctx_create(NULL, &ctx);
    if (status == -ENOSYS || status == -EPERM) {
        fprintf(stderr, "aio_ctx_create: %s\n", aio_strerror(status));
        return 77;
    }
    if (status != 0 || aio_submit_nop(ctx, NULL, on_nop, &seen) <= 0)
        return 1;
    if (aio_ctx_run(ctx) != 0 || seen.calls != 1 || seen.result != 0)
        return 2;
    if (aio_ctx_destroy(ctx) != 0)
        return 3;
    printf("aio_rs %s\n", aio_version_string());
    return 0;
}
