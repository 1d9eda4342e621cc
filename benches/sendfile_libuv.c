/* sendfile on libuv: uv_fs_sendfile, which sends what the socket takes and is called again. */
#include "sendfile.h"

#include <uv.h>

static struct {
    uv_fs_t request;
    int out, file;
    uint64_t bytes, at, left;
} transfer;

static void go_on(uv_loop_t *loop);

static void on_sent(uv_fs_t *request) {
    uv_loop_t *loop = request->loop;
    bench_check(request->result, "uv_fs_sendfile");
    transfer.at += (uint64_t)request->result;
    uv_fs_req_cleanup(request);
    go_on(loop);
}

static void go_on(uv_loop_t *loop) {
    if (transfer.at == transfer.bytes) {
        transfer.at = 0;
        transfer.left--;
    }
    if (transfer.left)
        bench_check(uv_fs_sendfile(loop, &transfer.request, transfer.out, transfer.file,
                                   (int64_t)transfer.at, transfer.bytes - transfer.at, on_sent),
                    "uv_fs_sendfile");
}

void sendfile_libuv(int out, int file, uint64_t bytes, uint64_t count) {
    uv_loop_t loop;
    transfer.out = out;
    transfer.file = file;
    transfer.bytes = bytes;
    transfer.at = 0;
    transfer.left = count;
    bench_check(uv_loop_init(&loop), "uv_loop_init");
    go_on(&loop);
    bench_check(uv_run(&loop, UV_RUN_DEFAULT), "uv_run");
    bench_check(uv_loop_close(&loop), "uv_loop_close");
}
