/* What the engines of the benchmark of reads share; reads.c says what is measured. `depth` slots
 * each have one read in flight: an engine asks for a slot's next block, reads it into the slot's
 * buffer by whatever means, hands the result back, and does so until there is no next block. */
#pragma once

#include "bench.h"

enum { READS_BLOCK = 4096, READS_DEPTH_MAX = 256 };

struct reads_run;

struct reads_slot {
    struct reads_run *run;
    uint64_t offset;
    char *buffer;
};

struct reads_run {
    int fd;
    uint64_t blocks; /* of the file */
    uint64_t depth, count;
    uint64_t started, completed, seed;
    bool whole;   /* compare every byte */
    void *engine; /* the engine's own */
    struct reads_slot slots[READS_DEPTH_MAX];
};

/* Gives the slot a random block to read; false when all reads have been started. */
bool reads_next(struct reads_slot *slot);
/* Counts a read that ended with `result`, and compares what it brought. */
void reads_done(struct reads_slot *slot, int64_t result);

/* What makes an engine ready, does `count` reads from beginning to end, and ends it. */
struct reads_engine {
    void (*open)(struct reads_run *run);
    void (*run)(struct reads_run *run);
    void (*close)(struct reads_run *run);
};

/* uv_fs_read, on libuv's pool of threads. Not there when libuv was not found. */
extern const struct reads_engine reads_libuv;
const char *reads_libuv_version(void);
