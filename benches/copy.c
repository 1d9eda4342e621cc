/* Copying a tree: copy_tree of the examples beside `cp -a`, with the source in the page cache.
 *
 * The figure is wall time, because that is what a user waits for; each copy starts with nothing
 * left to write back, and removing the last copy is not measured. The first copy of each program
 * is compared with the source, contents and all, and its system calls are counted. */
#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct workload {
    const char *copy_tree, *source, *target;
};

/* Runs a program to its end; anything but success ends the benchmark. */
static void run(char *const argv[]) {
    extern char **environ;
    pid_t pid;
    int status;
    int error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (error)
        bench_die("%s: %s", argv[0], strerror(error));
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("%s ended with %#x", argv[0], status);
}

static void clear_target(const struct workload *work) {
    run((char *[]){"rm", "-rf", "--", (char *)work->target, NULL});
    sync();
}

static void copy(const struct workload *work, bool with_cp) {
    char *source = (char *)work->source, *target = (char *)work->target;
    if (with_cp)
        run((char *[]){"cp", "-a", "--", source, target, NULL});
    else
        run((char *[]){(char *)work->copy_tree, source, target, NULL});
}

static double sample(const struct workload *work, bool with_cp) {
    clear_target(work);
    uint64_t start_ns = bench_clock_ns();
    copy(work, with_cp);
    return (double)(bench_clock_ns() - start_ns) / 1e6;
}

static double cp_sample(void *arg, const void *subject) {
    (void)subject;
    return sample(arg, true);
}

static double aio_sample(void *arg, const void *subject) {
    (void)subject;
    return sample(arg, false);
}

/* What one copy calls, counted in the processes that it starts. */
static double verified_system_calls(const struct workload *work, bool with_cp) {
    clear_target(work);
    int counter = bench_count_system_calls(0);
    uint64_t before = counter < 0 ? 0 : bench_counter(counter);
    copy(work, with_cp);
    uint64_t after = counter < 0 ? 0 : bench_counter(counter);
    if (counter >= 0)
        close(counter);
    run((char *[]){"diff", "-r", "--no-dereference", "--", (char *)work->source,
                   (char *)work->target, NULL});
    return (double)(after - before);
}

int main(int argc, char **argv) {
    struct workload work = {.source = "/usr/share"};
    uint64_t rounds = 5;
    const char *json = NULL;
    const struct bench_flag flags[] = {
        {"copy-tree", NULL, &work.copy_tree, "the program copy_tree"},
        {"source", NULL, &work.source, "the tree (/usr/share)"},
        {"target", NULL, &work.target, "a folder that does not exist, on the disk to measure"},
        {"rounds", &rounds, NULL, "rounds of A B B A"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!work.copy_tree || !work.target)
        bench_die("--copy-tree and --target are needed");
    if (access(work.target, F_OK) == 0)
        bench_die("%s exists", work.target);

    const struct bench_engine engines[] = {
        {"cp -a", cp_sample, BENCH_LIMIT, NULL, NULL},
        {"copy_tree", aio_sample, BENCH_ENGINE, NULL, NULL},
    };
    struct bench_figure figures[2];
    struct bench_report out;
    bench_report_open(&out, "Copy of a tree", "ms of wall time", rounds, json);
    for (size_t e = 0; e < 2; e++) {
        double calls = verified_system_calls(&work, e == 0);
        if (calls > 0)
            bench_report_exact(&out, work.source, engines[e].name, "system calls", calls);
    }
    bench_compare(engines, 2, rounds, &work, figures);
    bench_report_case(&out, work.source, engines, figures, 2);
    clear_target(&work);
    return bench_report_close(&out);
}
