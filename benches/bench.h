/* What the benchmarks share: arguments, clocks, interleaved rounds, statistics, the table and its
 * JSON twin. A benchmark describes its engines as functions that return the cost of one sample;
 * bench_compare runs them A B B A and judges them by ratios of the same round, because on a shared
 * machine the absolute times of two moments do not compare. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { BENCH_ROUNDS_MAX = 1000, BENCH_ENGINES_MAX = 4 };

/* Prints "<program>: <message>" and exits with 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Dies when `status` is negative, which is then an errno or a code of the library. */
void bench_check(int64_t status, const char *what);

/* --- arguments: every flag is "--name value", a number or a text --- */
struct bench_flag {
    const char *name;
    uint64_t *number;
    const char **text;
    const char *help;
};
/* The list ends with a NULL name. Exits with 2 and the list for anything else than it names. */
void bench_parse(int argc, char **argv, const struct bench_flag *flags);

/* --- measuring --- */
uint64_t bench_clock_ns(void);          /* CLOCK_MONOTONIC */
uint64_t bench_thread_cpu_ns(void);     /* what this thread ran: others on the CPU do not count */
uint64_t bench_process_cpu_ns(int pid); /* of all threads of a process that is asleep now */
void bench_pin(uint64_t cpu);           /* this thread, and what it creates */
uint64_t bench_random(uint64_t *state); /* splitmix64 */
/* Counts the system calls of `pid` and its later children (0: this thread); -1 where the
 * tracepoint is not allowed. Read the counter with bench_counter. */
int bench_count_system_calls(int pid);
uint64_t bench_counter(int fd);

/* --- comparing --- */
struct bench_engine {
    const char *name;
    double (*sample)(void *arg); /* the cost per operation of one run */
};
struct bench_figure {
    double median, low, high;     /* of all samples */
    double ratio;                 /* median of the same-round ratios to the reference */
    double ratio_low, ratio_high; /* its 95 % bootstrap interval */
    double repeat; /* by how much the two samples of one round differ, median; 0.01 is 1 % */
    bool reference;
};
/* Each round runs the engines forwards and backwards. Of the first `references` engines, the one
 * with the lowest median is the reference. One round is run before and thrown away. */
void bench_compare(const struct bench_engine *engines, size_t count, size_t references,
                   uint64_t rounds, void *arg, struct bench_figure *figures);

/* --- reporting --- */
struct bench_report {
    FILE *json; /* NULL: the table only */
    const char *unit;
    bool first;
};
/* `title` and `unit` say what is measured; `json` is a path or NULL. */
void bench_report_open(struct bench_report *report, const char *title, const char *unit,
                       uint64_t rounds, const char *json);
/* A case is a parameter such as "depth 32". Ratios are printed only when the reference repeats. */
void bench_report_case(struct bench_report *report, const char *name,
                       const struct bench_engine *engines, const struct bench_figure *figures,
                       size_t count);
/* A single number that is exact, such as system calls per request. */
void bench_report_exact(struct bench_report *report, const char *name, const char *engine,
                        const char *unit, double value);
void bench_report_close(struct bench_report *report);
