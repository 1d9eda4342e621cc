/* What the engines of the benchmark of reads share; reads.c says what is measured. `depth` slots
 * each have one read in flight: an engine asks for a slot's next block, reads it into the slot's
 * buffer by whatever means, hands the result back, and does so until there is no next block. */
#pragma once

#include "bench.h"

enum {
    READS_BLOCK = 4096,
    READS_DEPTH_MAX = 256,
    READS_SQ_ENTRIES = 256,
    READS_CQ_ENTRIES = 512,
};

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
    bool whole;    /* compare every byte */
    void *engine;  /* the engine's own */
    char *buffers; /* of all slots, one after the other */
    struct reads_slot slots[READS_DEPTH_MAX];
};

/* Gives the slot a random block to read; false when all reads have been started. */
bool reads_next(struct reads_slot *slot);
/* Counts a read that ended with `result`, and compares what it brought. */
void reads_done(struct reads_slot *slot, int64_t result);

/* What makes an engine ready, does `count` reads from beginning to end, and ends it; or a program
 * of benches/peers that does all of it. */
struct reads_engine {
    void (*open)(struct reads_run *run);
    void (*run)(struct reads_run *run);
    void (*close)(struct reads_run *run);
    const char *program;
};

/* By hand: reads_bare.c. */
extern const struct reads_engine reads_pread, reads_bare, reads_bare_fixed;
/* On the engine, by backend; fixed: with file and buffers registered: reads_aio.c. */
extern const struct reads_engine reads_aio_uring, reads_aio_epoll;
extern const struct reads_engine reads_aio_uring_fixed, reads_aio_epoll_fixed;
extern const struct reads_engine reads_aio_uring_reap;
/* Not there when their libraries were not found. */
extern const struct reads_engine reads_liburing, reads_libuv;

/* --- the file: reads_file.c --- */

/* What the file has at a position, a multiple of 8. */
uint64_t reads_word_at(uint64_t position);
/* Has no name and is on the disk, so that nothing is written back while a read is measured. */
int reads_make_file(const char *folder, uint64_t size);
const char *reads_file_system(int fd);
/* The same file for reads past the page cache. */
int reads_open_direct(int fd);
/* Keeps the file in memory where that is allowed: some kernels give back what has not been read for
 * seconds, also while there is plenty. Returns what reads_check_cached wants. */
const void *reads_keep_cached(int fd, uint64_t size);
void reads_check_cached(const void *mapping, uint64_t size);
