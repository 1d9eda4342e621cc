/* What the benchmarks share: arguments, clocks, processes, interleaved rounds, statistics, the
 * table and its JSON twin. A benchmark describes its engines as functions that return the cost of
 * one sample; bench_compare runs them A B B A and judges them by ratios of the same round, because
 * on a shared machine the absolute times of two moments do not compare. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_ROUNDS_MAX = 1000, BENCH_ENGINES_MAX = 24, BENCH_LIMITS_MAX = 8 };

/* Prints "<program>: <message>" and exits with 1. */
void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Dies when `status` is negative, which is then an errno or a code of the library. */
static inline void bench_check(int64_t status, const char *what) {
    if (status < 0)
        bench_die("%s: status %lld", what, (long long)status);
}

/* --- arguments: every flag is "--name value", a number or a text --- */
struct bench_flag {
    const char *name;
    uint64_t *number;
    const char **text;
    const char *help;
};
/* The list ends with a NULL name. Exits with 2 and the list for anything else than it names. */
void bench_parse(int argc, char **argv, const struct bench_flag *flags);
/* The numbers of a list such as "1,64,512", none of them 0; dies for any other text. */
enum { BENCH_NUMBERS_MAX = 16 };
size_t bench_numbers(const char *list, uint64_t numbers[BENCH_NUMBERS_MAX]);

/* --- measuring --- */
uint64_t bench_clock_ns(void);      /* CLOCK_MONOTONIC */
uint64_t bench_thread_cpu_ns(void); /* what this thread ran: others do not count */
/* Of all threads of a process that is asleep now, also those that have ended. */
uint64_t bench_process_cpu_ns(pid_t pid);
void bench_pin(uint64_t cpu);    /* this thread, and what it creates */
bool bench_be_undisturbed(void); /* the same; before all usual threads, if that is allowed */
/* splitmix64 */
static inline uint64_t bench_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
/* Counts the system calls of `pid` and its later threads and children (0: this thread); -1 where
 * the tracepoint is not allowed. Read the counter with bench_counter. */
int bench_count_system_calls(pid_t pid);
uint64_t bench_counter(int fd);

/* --- a process to measure, which dies with its parent --- */
struct bench_child {
    pid_t pid;
    int channel; /* for bench_child_stop and its other side */
    int counter; /* of its system calls, from its start; -1 if they are not counted */
};
/* Forks. The child runs `body`, and ends well when that returns. */
void bench_child_start(struct bench_child *child, void (*body)(int channel, void *arg), void *arg,
                       bool count_system_calls);
/* The child says that it is ready, and sleeps until the parent lets it go on. */
void bench_child_stop(int channel);
/* The parent's side: waits for the child to sleep in bench_child_stop, and wakes it. */
void bench_child_await(const struct bench_child *child);
void bench_child_go_on(const struct bench_child *child);
/* Its CPU time in nanoseconds, or its system calls if they are counted; it must be asleep. */
uint64_t bench_child_spent(const struct bench_child *child);
/* Its private memory in bytes; it must be asleep. */
uint64_t bench_child_memory(const struct bench_child *child);
/* Waits for its end, and dies if that was not a good one. */
void bench_child_end(const struct bench_child *child);
/* All of it for a body that stops twice: what it has spent in between. */
uint64_t bench_child_cost(void (*body)(int channel, void *arg), void *arg, bool count_system_calls);

/* --- peers that are programs of their own: benches/peers --- */
/* Where their programs are, an argument of the benchmark. NULL: they are left out. */
extern const char *bench_peers;
/* In a child: becomes "<program> <workload> <number>..."; see benches/peers/common. */
void bench_become(const char *program, const char *workload, const uint64_t *numbers, size_t count)
    __attribute__((noreturn));
/* Lets what this process becomes have the descriptor, and returns it as one of the numbers. */
uint64_t bench_inherit(int fd);

/* Sorts `values`. */
double bench_median(double *values, size_t count);

/* --- comparing --- */
enum bench_role {
    BENCH_ENGINE,
    BENCH_LIMIT, /* done by hand: what nothing can beat; the fastest of these is the reference */
    BENCH_PEER,  /* another library, to which there is a second ratio */
};
struct bench_engine {
    const char *name;
    /* The cost per operation of one run; `arg` is the workload, `subject` what the engine is. */
    double (*sample)(void *arg, const void *subject);
    enum bench_role role;
    const void *subject;
    const char *program; /* of a peer that is one */
};
struct bench_figure {
    double median, low, high; /* of all samples */
    double repeat; /* by how much the two samples of one round differ, median; 0.01 is 1 % */
};
/* A median of same-round ratios, and its 95 % bootstrap interval. */
struct bench_ratio {
    double median, low, high;
};
/* Copies those of `all` to `chosen` that `names` lists, separated by commas (NULL: all), in the
 * order of `all`, and returns their number. Dies for a name that is not there. Programs are left
 * out when `bench_peers` is NULL. */
size_t bench_choose(const struct bench_engine *all, size_t count, const char *names,
                    struct bench_engine *chosen);
/* Each round runs the engines forwards and backwards. One round is run before and thrown away. */
void bench_compare(const struct bench_engine *engines, size_t count, uint64_t rounds, void *arg,
                   struct bench_figure *figures);
/* Of two engines of the last bench_compare, by their places in it. */
struct bench_ratio bench_ratio(size_t engine, size_t to);

/* --- reporting --- */
struct bench_report {
    FILE *json; /* NULL: the table only */
    const char *unit;
    bool first;
    bool has_no_ratios; /* set it for figures of which only the size counts */
    bool failed;        /* a limit did not hold, or could not be judged */
    size_t limits;
    struct bench_limit {
        char engine[32], to[32];
        double most;
    } limit[BENCH_LIMITS_MAX];
};
/* `title` and `unit` say what is measured; `json` is a path or NULL. */
void bench_report_open(struct bench_report *report, const char *title, const char *unit,
                       uint64_t rounds, const char *json);
/* `limits` is NULL or a list such as "aio-epoll/libuv=1.0,aio-post/by-hand=1.06": the highest ratio
 * that each case may have; "by-hand" is the fastest of those by hand. It holds if the upper end of
 * the interval of at least 31 rounds is at most that and 0.02. Dies for an engine that is not among
 * those given. */
void bench_report_limits(struct bench_report *report, const char *limits,
                         const struct bench_engine *engines, size_t count);
/* Reports, and judges by the limits, the last bench_compare. A case is a parameter such as
 * "depth 32". Ratios to the reference are printed only when it repeats. */
void bench_report_case(struct bench_report *report, const char *name,
                       const struct bench_engine *engines, const struct bench_figure *figures,
                       size_t count);
/* A single number that is exact, such as system calls per request. */
void bench_report_exact(struct bench_report *report, const char *name, const char *engine,
                        const char *unit, double value);
/* Returns the program's exit status: 0, or 1 if a limit did not hold. */
int bench_report_close(struct bench_report *report);

#ifdef __cplusplus
}
#endif
