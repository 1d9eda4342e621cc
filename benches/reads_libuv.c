/* Reads on libuv: uv_fs_read with a request per slot, used again and again. Its pool has the four
 * threads that it has by default, or UV_THREADPOOL_SIZE. */
#include "reads.h"

#include <stdlib.h>
#include <uv.h>

struct uv_reads {
    uv_loop_t loop;
    uv_fs_t requests[READS_DEPTH_MAX];
};

static void on_read(uv_fs_t *request);

static void start(struct reads_slot *slot, uv_loop_t *loop, uv_fs_t *request) {
    if (!reads_next(slot))
        return;
    uv_buf_t buffer = uv_buf_init(slot->buffer, READS_BLOCK);
    request->data = slot;
    bench_check(
        uv_fs_read(loop, request, slot->run->fd, &buffer, 1, (int64_t)slot->offset, on_read),
        "uv_fs_read");
}

static void on_read(uv_fs_t *request) {
    struct reads_slot *slot = request->data;
    reads_done(slot, request->result);
    uv_loop_t *loop = request->loop;
    uv_fs_req_cleanup(request);
    start(slot, loop, request);
}

static void uv_reads_open(struct reads_run *run) {
    struct uv_reads *reads = malloc(sizeof *reads);
    if (!reads)
        bench_die("no memory");
    bench_check(uv_loop_init(&reads->loop), "uv_loop_init");
    run->engine = reads;
}

static void uv_reads_run(struct reads_run *run) {
    struct uv_reads *reads = run->engine;
    for (uint64_t i = 0; i < run->depth; i++)
        start(&run->slots[i], &reads->loop, &reads->requests[i]);
    bench_check(uv_run(&reads->loop, UV_RUN_DEFAULT), "uv_run");
}

static void uv_reads_close(struct reads_run *run) {
    struct uv_reads *reads = run->engine;
    bench_check(uv_loop_close(&reads->loop), "uv_loop_close");
    free(reads);
}

const struct reads_engine reads_libuv = {uv_reads_open, uv_reads_run, uv_reads_close, NULL};
