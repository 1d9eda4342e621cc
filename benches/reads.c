/* Reads of 4 KiB at random offsets of a file that is in the page cache: what a read costs where it
 * need not wait for a disk.
 *
 * Each sample starts a process that does all reads with so many in flight. The figure is that
 * process's CPU time per read, of all its threads, read from schedstat while it sleeps before and
 * after. In a first, unmeasured run every byte is compared with what was written; in the measured
 * one the two ends of each block, which name its place in the file. System calls are counted in a
 * sample of their own.
 *
 *   pread       pread(2), one after the other: what the copy itself costs
 *   bare        a hand-written ring
 *   aio-uring, aio-epoll   aio_submit_read on each of the engine's backends
 *   libuv       uv_fs_read, if libuv was there at the build */
#include "reads.h"
#include "bare_ring.h"

#include <aio_rs.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>

enum { SQ_ENTRIES = 256, CQ_ENTRIES = 512, WORDS = READS_BLOCK / sizeof(uint64_t), MIB = 1 << 20 };

/* --- the file and its contents --- */

/* What the file has at a position, a multiple of 8. */
static uint64_t word_at(uint64_t position) { return bench_random(&position); }

static const char *file_system_name(int fd) {
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        {EXT4_SUPER_MAGIC, "ext4"},   {XFS_SUPER_MAGIC, "xfs"},
        {BTRFS_SUPER_MAGIC, "btrfs"}, {OVERLAYFS_SUPER_MAGIC, "overlay"},
        {F2FS_SUPER_MAGIC, "f2fs"},   {TMPFS_MAGIC, "tmpfs"},
    };
    static char number[32];
    struct statfs stat;
    if (fstatfs(fd, &stat) < 0)
        bench_die("fstatfs: %s", strerror(errno));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].magic == (unsigned long)stat.f_type)
            return known[i].name;
    snprintf(number, sizeof number, "file system %#lx", (unsigned long)stat.f_type);
    return number;
}

/* Has no name and is on the disk, so that nothing is written back while a read is measured. */
static int make_file(const char *folder, uint64_t size) {
    char path[4096], *chunk = malloc(MIB);
    snprintf(path, sizeof path, "%s/aio_rs-reads.XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0 || !chunk)
        bench_die("%s: %s", path, strerror(errno));
    unlink(path);
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error)
        bench_die("posix_fallocate: %s", strerror(error));
    for (uint64_t at = 0; at < size; at += MIB) {
        for (uint64_t i = 0; i < MIB; i += sizeof(uint64_t)) {
            uint64_t word = word_at(at + i);
            memcpy(chunk + i, &word, sizeof word);
        }
        if (pwrite(fd, chunk, MIB, (off_t)at) != MIB)
            bench_die("pwrite: %s", strerror(errno));
    }
    if (fsync(fd) < 0)
        bench_die("fsync: %s", strerror(errno));
    free(chunk);
    return fd;
}

/* Keeps the file in memory where that is allowed: some kernels give back what has not been read for
 * seconds, also while there is plenty. Returns what check_cached wants. */
static const void *keep_cached(int fd, uint64_t size) {
    void *mapping = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        bench_die("mmap: %s", strerror(errno));
    (void)mlock(mapping, size);
    return mapping;
}

static void check_cached(const void *mapping, uint64_t size) {
    size_t pages = size / (size_t)sysconf(_SC_PAGESIZE), missing = 0;
    unsigned char *resident = malloc(pages);
    if (!resident || mincore((void *)mapping, size, resident) < 0)
        bench_die("mincore: %s", strerror(errno));
    for (size_t i = 0; i < pages; i++)
        missing += !(resident[i] & 1);
    if (missing)
        bench_die("%zu pages of the file have not stayed in memory: choose fewer --mib", missing);
    free(resident);
}

/* --- what the engines share --- */

bool reads_next(struct reads_slot *slot) {
    struct reads_run *run = slot->run;
    if (run->started == run->count)
        return false;
    run->started++;
    slot->offset = bench_random(&run->seed) % run->blocks * READS_BLOCK;
    /* What an earlier read left must not pass for the result of this one. */
    if (run->whole) {
        memset(slot->buffer, 0, READS_BLOCK);
    } else {
        memset(slot->buffer, 0, sizeof(uint64_t));
        memset(slot->buffer + READS_BLOCK - sizeof(uint64_t), 0, sizeof(uint64_t));
    }
    return true;
}

void reads_done(struct reads_slot *slot, int64_t result) {
    if (result != READS_BLOCK)
        bench_die("a read ended with %" PRId64, result);
    for (size_t i = 0; i < WORDS; i += slot->run->whole ? 1 : WORDS - 1) {
        uint64_t word;
        memcpy(&word, slot->buffer + i * sizeof word, sizeof word);
        if (word != word_at(slot->offset + i * sizeof word))
            bench_die("the block at %" PRIu64 " has wrong contents", slot->offset);
    }
    slot->run->completed++;
}

/* --- by hand --- */

static void nothing(struct reads_run *run) { (void)run; }

static void pread_run(struct reads_run *run) {
    /* Through all buffers, as the others go: a single one would stay in the first-level cache. */
    for (uint64_t i = 0; reads_next(&run->slots[i]); i = (i + 1) % run->depth) {
        struct reads_slot *slot = &run->slots[i];
        ssize_t result = pread(run->fd, slot->buffer, READS_BLOCK, (off_t)slot->offset);
        reads_done(slot, result < 0 ? -errno : result);
    }
}

static void bare_open(struct reads_run *run) {
    struct bare_ring *ring = malloc(sizeof *ring);
    if (!ring)
        bench_die("no memory");
    bench_check(bare_ring_create(ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    run->engine = ring;
}

static void bare_start(struct reads_run *run, uint64_t index) {
    struct reads_slot *slot = &run->slots[index];
    if (!reads_next(slot))
        return;
    struct io_uring_sqe *sqe = bare_ring_sqe(run->engine);
    if (!sqe)
        bench_die("the bare ring takes no entry");
    sqe->opcode = IORING_OP_READ;
    sqe->fd = run->fd;
    sqe->off = slot->offset;
    sqe->addr = (uintptr_t)slot->buffer;
    sqe->len = READS_BLOCK;
    sqe->user_data = index;
}

static void bare_run(struct reads_run *run) {
    struct bare_ring *ring = run->engine;
    for (uint64_t i = 0; i < run->depth; i++)
        bare_start(run, i);
    while (run->completed < run->count) {
        bench_check(bare_ring_enter(ring, 1), "enter");
        unsigned head = bare_ring_head(ring), tail = bare_ring_tail(ring);
        for (; head != tail; head++) {
            const struct io_uring_cqe *cqe = bare_ring_cqe(ring, head);
            reads_done(&run->slots[cqe->user_data], cqe->res);
            bare_start(run, cqe->user_data);
        }
        bare_ring_consume(ring, head);
    }
}

static void bare_close(struct reads_run *run) {
    bare_ring_destroy(run->engine);
    free(run->engine);
}

/* --- on the engine --- */

static void on_read(void *user_data, int32_t result, uint32_t flags);

static void aio_start(struct reads_slot *slot) {
    if (reads_next(slot))
        bench_check(aio_submit_read(slot->run->engine, slot->run->fd, slot->buffer, READS_BLOCK,
                                    slot->offset, NULL, on_read, slot),
                    "aio_submit_read");
}

static void on_read(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    reads_done(user_data, result);
    aio_start(user_data);
}

static void aio_open(struct reads_run *run, uint32_t backend) {
    aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
    };
    aio_ctx *ctx;
    bench_check(aio_ctx_create(&options, &ctx), "aio_ctx_create");
    run->engine = ctx;
}

static void uring_open(struct reads_run *run) { aio_open(run, AIO_BACKEND_URING); }

static void epoll_open(struct reads_run *run) { aio_open(run, AIO_BACKEND_EPOLL); }

static void aio_run(struct reads_run *run) {
    for (uint64_t i = 0; i < run->depth; i++)
        aio_start(&run->slots[i]);
    bench_check(aio_ctx_run(run->engine), "aio_ctx_run");
}

static void aio_close(struct reads_run *run) {
    bench_check(aio_ctx_destroy(run->engine), "aio_ctx_destroy");
}

/* --- a sample --- */

struct workload {
    int fd;
    const void *mapping;
    uint64_t size, depth, count;
    uint64_t cpus, cpu;
    bool count_system_calls;
    const struct reads_engine *engine; /* of the sample that runs */
};

static void run_all(struct reads_run *run, const struct reads_engine *engine, uint64_t count,
                    bool whole) {
    run->started = run->completed = 0;
    run->count = count;
    run->whole = whole;
    engine->run(run);
    if (run->completed != count)
        bench_die("%" PRIu64 " of %" PRIu64 " reads completed", run->completed, count);
}

static void reader_main(int channel, void *arg) {
    const struct workload *load = arg;
    static struct reads_run run;
    if (load->cpus == 1)
        bench_pin(load->cpu);
    char *buffers = aligned_alloc(READS_BLOCK, load->depth * READS_BLOCK);
    if (!buffers)
        bench_die("no memory");
    run = (struct reads_run){
        .fd = load->fd, .blocks = load->size / READS_BLOCK, .depth = load->depth, .seed = 1};
    for (uint64_t i = 0; i < load->depth; i++)
        run.slots[i] = (struct reads_slot){.run = &run, .buffer = buffers + i * READS_BLOCK};
    load->engine->open(&run);
    run_all(&run, load->engine, load->count / 10, true);
    bench_child_stop(channel);
    run_all(&run, load->engine, load->count, false);
    bench_child_stop(channel);
    load->engine->close(&run);
    free(buffers);
}

/* CPU time in ns, or system calls, per read. */
static double reads_sample(const struct reads_engine *engine, struct workload *load) {
    struct bench_child child;
    load->engine = engine;
    bench_child_start(&child, reader_main, load, load->count_system_calls);
    bench_child_await(&child);
    uint64_t before = bench_child_spent(&child);
    bench_child_go_on(&child);
    bench_child_await(&child);
    uint64_t after = bench_child_spent(&child);
    bench_child_go_on(&child);
    bench_child_end(&child);
    return (double)(after - before) / (double)load->count;
}

static double sample_pread(void *arg) {
    static const struct reads_engine engine = {nothing, pread_run, nothing};
    return reads_sample(&engine, arg);
}

static double sample_bare(void *arg) {
    static const struct reads_engine engine = {bare_open, bare_run, bare_close};
    return reads_sample(&engine, arg);
}

static double sample_uring(void *arg) {
    static const struct reads_engine engine = {uring_open, aio_run, aio_close};
    return reads_sample(&engine, arg);
}

static double sample_epoll(void *arg) {
    static const struct reads_engine engine = {epoll_open, aio_run, aio_close};
    return reads_sample(&engine, arg);
}

#ifdef BENCH_LIBUV
static double sample_libuv(void *arg) { return reads_sample(&reads_libuv, arg); }
#endif

static const struct bench_engine engines[] = {
    {"pread", sample_pread, BENCH_ENGINE},     {"bare", sample_bare, BENCH_LIMIT},
    {"aio-uring", sample_uring, BENCH_ENGINE}, {"aio-epoll", sample_epoll, BENCH_ENGINE},
#ifdef BENCH_LIBUV
    {"libuv", sample_libuv, BENCH_PEER},
#endif
};

static void report(struct bench_report *out, struct workload *load, uint64_t rounds,
                   const struct bench_engine *chosen, size_t count) {
    struct bench_figure figures[BENCH_ENGINES_MAX];
    char name[64];
    snprintf(name, sizeof name, "depth %" PRIu64 ", %s", load->depth,
             load->cpus == 1 ? "one CPU" : "all CPUs");
    load->count_system_calls = false;
    bench_compare(chosen, count, rounds, load, figures);
    check_cached(load->mapping, load->size);
    bench_report_case(out, name, chosen, figures, count);
    int counter = bench_count_system_calls(0);
    if (counter < 0)
        return;
    close(counter);
    load->count_system_calls = true;
    for (size_t e = 0; e < count; e++)
        bench_report_exact(out, name, chosen[e].name, "system calls per read",
                           chosen[e].sample(load));
}

int main(int argc, char **argv) {
    uint64_t cpus = 0, count = 200000, rounds = 15, mib = 64;
    struct workload load = {.cpu = 1};
    const char *names = NULL, *depths = "1,32,128", *limits = NULL, *folder = ".", *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names,
         "run these alone, separated by commas: pread, bare, aio-uring, aio-epoll, libuv"},
        {"depth", NULL, &depths, "reads in flight, a list"},
        {"cpus", &cpus, NULL, "1: the process on one CPU, 2: on all; 0: both"},
        {"cpu", &load.cpu, NULL, "the one CPU"},
        {"mib", &mib, NULL, "size of the file"},
        {"folder", NULL, &folder, "where the file is made, not in memory"},
        {"count", &count, NULL, "reads of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"limit", NULL, &limits, "highest ratios, such as aio-epoll/libuv=0.5"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
#ifndef BENCH_LIBUV
    fputs("libuv was not found when this was built (libuv1-dev): it has no row\n", stderr);
#endif
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(depths, each);
    for (size_t i = 0; i < cases; i++)
        if (each[i] > READS_DEPTH_MAX)
            bench_die("--depth is at most %d", READS_DEPTH_MAX);
    if (cpus > 2 || !mib || count < 10 * READS_DEPTH_MAX)
        bench_die("--cpus is at most 2, --mib at least 1, --count at least %d",
                  10 * READS_DEPTH_MAX);
    struct bench_engine chosen[BENCH_ENGINES_MAX];
    size_t chosen_count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);

    load.size = mib * MIB;
    load.fd = make_file(folder, load.size);
    const char *file_system = file_system_name(load.fd);
    if (strcmp(file_system, "tmpfs") == 0)
        bench_die("%s is in memory: choose a --folder on a disk", folder);
    load.mapping = keep_cached(load.fd, load.size);
    char title[128];
#ifdef BENCH_LIBUV
    snprintf(title, sizeof title, "Cached reads of 4 KiB of %" PRIu64 " MiB on %s (libuv %s)", mib,
             file_system, reads_libuv_version());
#else
    snprintf(title, sizeof title, "Cached reads of 4 KiB of %" PRIu64 " MiB on %s", mib,
             file_system);
#endif
    struct bench_report out;
    bench_report_open(&out, title, "ns of CPU time per read, all threads", rounds, json);
    bench_report_limits(&out, limits, chosen, chosen_count);
    for (size_t i = 0; i < cases; i++) {
        load.depth = each[i];
        load.count = count / (load.depth == 1 ? 5 : 1);
        for (load.cpus = 1; load.cpus <= 2; load.cpus++)
            if (!cpus || cpus == load.cpus)
                report(&out, &load, rounds, chosen, chosen_count);
    }
    return bench_report_close(&out);
}
