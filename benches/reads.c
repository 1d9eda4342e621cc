/* Reads of 4 KiB at random offsets of a file: from the page cache, what a read costs where it need
 * not wait for a disk; or, with --direct 1, past it.
 *
 * Each sample starts a process that does all reads with so many in flight. The figure is that
 * process's CPU time per read, of all its threads, read while it sleeps before and
 * after. In a first, unmeasured run every byte is compared with what was written; in the measured
 * one the two ends of each block, which name its place in the file. System calls are counted in a
 * sample of their own.
 *
 *   pread                  pread(2), one after the other: what the copy itself costs
 *   bare, bare-fixed       a hand-written ring; fixed: with the file and the buffers registered
 *   aio-uring, aio-epoll   aio_submit_read on each of the engine's backends
 *   ...-fixed              the same with the file and the buffers registered
 *   aio-uring-reap         that with records taken in batches
 *   liburing, libuv        registered as above; uv_fs_read; if they were there at the build
 *   monoio, compio, kimojio   programs of benches/peers, with --peers */
#include "reads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = READS_BLOCK / sizeof(uint64_t), MIB = 1 << 20 };

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
        if (word != reads_word_at(slot->offset + i * sizeof word))
            bench_die("the block at %" PRIu64 " has wrong contents", slot->offset);
    }
    slot->run->completed++;
}

/* --- a sample --- */

struct workload {
    int fd;
    const void *mapping;
    uint64_t size, depth, count;
    uint64_t cpus, cpu;
    bool is_direct;
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
    const uint64_t blocks = load->size / READS_BLOCK;
    if (load->cpus == 1)
        bench_pin(load->cpu);
    if (load->engine->program) {
        const uint64_t numbers[] = {bench_inherit(channel), bench_inherit(load->fd), blocks,
                                    load->depth, load->count};
        bench_become(load->engine->program, "reads", numbers, sizeof numbers / sizeof numbers[0]);
    }
    char *buffers = aligned_alloc(READS_BLOCK, load->depth * READS_BLOCK);
    if (!buffers)
        bench_die("no memory");
    run = (struct reads_run){
        .fd = load->fd, .blocks = blocks, .depth = load->depth, .seed = 1, .buffers = buffers};
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
    load->engine = engine;
    return (double)bench_child_cost(reader_main, load, load->count_system_calls) /
           (double)load->count;
}

static double sample(void *arg, const void *engine) { return reads_sample(engine, arg); }

#define PROGRAM(name) (&(const struct reads_engine){NULL, NULL, NULL, name}), .program = name

static const struct bench_engine engines[] = {
    {"pread", sample, BENCH_ENGINE, &reads_pread, NULL},
    {"bare", sample, BENCH_LIMIT, &reads_bare, NULL},
    {"bare-fixed", sample, BENCH_LIMIT, &reads_bare_fixed, NULL},
    {"aio-uring", sample, BENCH_ENGINE, &reads_aio_uring, NULL},
    {"aio-uring-fixed", sample, BENCH_ENGINE, &reads_aio_uring_fixed, NULL},
    {"aio-uring-reap", sample, BENCH_ENGINE, &reads_aio_uring_reap, NULL},
    {"aio-epoll", sample, BENCH_ENGINE, &reads_aio_epoll, NULL},
    {"aio-epoll-fixed", sample, BENCH_ENGINE, &reads_aio_epoll_fixed, NULL},
#ifdef BENCH_LIBURING
    {"liburing", sample, BENCH_ENGINE, &reads_liburing, NULL},
#endif
#ifdef BENCH_LIBUV
    {"libuv", sample, BENCH_PEER, &reads_libuv, NULL},
#endif
    {"monoio", sample, BENCH_PEER, PROGRAM("peer-monoio")},
    {"compio", sample, BENCH_PEER, PROGRAM("peer-compio")},
    {"kimojio", sample, BENCH_PEER, PROGRAM("peer-kimojio")},
};

static void report(struct bench_report *out, struct workload *load, uint64_t rounds,
                   const struct bench_engine *chosen, size_t count) {
    struct bench_figure figures[BENCH_ENGINES_MAX];
    char name[64];
    snprintf(name, sizeof name, "depth %" PRIu64 ", %s", load->depth,
             load->cpus == 1 ? "one CPU" : "all CPUs");
    load->count_system_calls = false;
    bench_compare(chosen, count, rounds, load, figures);
    if (!load->is_direct)
        reads_check_cached(load->mapping, load->size);
    bench_report_case(out, name, chosen, figures, count);
    int counter = bench_count_system_calls(0);
    if (counter < 0)
        return;
    close(counter);
    load->count_system_calls = true;
    for (size_t e = 0; e < count; e++)
        bench_report_exact(out, name, chosen[e].name, "system calls per read",
                           chosen[e].sample(load, chosen[e].subject));
}

int main(int argc, char **argv) {
    uint64_t cpus = 0, count = 200000, rounds = 31, mib = 64, is_direct = 0;
    struct workload load = {.cpu = 1};
    const char *names = NULL, *depths = "1,32,128", *limits = NULL, *folder = ".", *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names, "run these alone, separated by commas, see reads.c"},
        {"peers", NULL, &bench_peers, "the folder of the programs of benches/peers"},
        {"depth", NULL, &depths, "reads in flight, a list"},
        {"cpus", &cpus, NULL, "1: the process on one CPU, 2: on all; 0: both"},
        {"cpu", &load.cpu, NULL, "the one CPU"},
        {"direct", &is_direct, NULL, "1: past the page cache (O_DIRECT)"},
        {"mib", &mib, NULL, "size of the file"},
        {"folder", NULL, &folder, "where the file is made, not in memory"},
        {"count", &count, NULL, "reads of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"limit", NULL, &limits, "highest ratios, such as aio-epoll/libuv=0.5"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(depths, each);
    for (size_t i = 0; i < cases; i++)
        if (each[i] > READS_DEPTH_MAX)
            bench_die("--depth is at most %d", READS_DEPTH_MAX);
    if (cpus > 2 || is_direct > 1 || !mib || count < 10 * READS_DEPTH_MAX)
        bench_die("--cpus is at most 2, --mib at least 1, --count at least %d",
                  10 * READS_DEPTH_MAX);
    struct bench_engine chosen[BENCH_ENGINES_MAX];
    size_t chosen_count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);

    load.size = mib * MIB;
    load.fd = reads_make_file(folder, load.size);
    load.is_direct = is_direct;
    const char *file_system = reads_file_system(load.fd);
    if (strcmp(file_system, "tmpfs") == 0)
        bench_die("%s is in memory: choose a --folder on a disk", folder);
    if (is_direct)
        load.fd = reads_open_direct(load.fd);
    else
        load.mapping = reads_keep_cached(load.fd, load.size);
    char title[128];
    snprintf(title, sizeof title, "%s reads of 4 KiB of %" PRIu64 " MiB on %s",
             is_direct ? "Direct" : "Cached", mib, file_system);
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
