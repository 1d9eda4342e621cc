/* The shared part of the benchmarks: see bench.h. Nothing here runs while something is measured,
 * except the clocks. */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* A reference that differs from itself by more than this makes wall-clock ratios worthless. */
static const double REPEAT_MAX = 0.05;
enum { RESAMPLES = 2000 };

void bench_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void bench_check(int64_t status, const char *what) {
    if (status < 0)
        bench_die("%s: status %" PRId64, what, status);
}

static _Noreturn void usage(const struct bench_flag *flags) {
    fprintf(stderr, "usage: %s [--name value]...\n", program_invocation_short_name);
    for (; flags->name; flags++) {
        fprintf(stderr, "  --%-12s %s", flags->name, flags->help);
        if (flags->number)
            fprintf(stderr, " (%" PRIu64 ")", *flags->number);
        fputc('\n', stderr);
    }
    exit(2);
}

void bench_parse(int argc, char **argv, const struct bench_flag *flags) {
    for (int i = 1; i < argc; i += 2) {
        const struct bench_flag *flag = flags;
        while (flag->name && (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, flag->name)))
            flag++;
        if (!flag->name || i + 1 == argc)
            usage(flags);
        if (flag->text) {
            *flag->text = argv[i + 1];
        } else {
            char *end;
            errno = 0;
            *flag->number = strtoull(argv[i + 1], &end, 10);
            if (errno || *end || end == argv[i + 1])
                usage(flags);
        }
    }
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_clock_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

uint64_t bench_thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

uint64_t bench_process_cpu_ns(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        bench_die("%s: %s", path, strerror(errno));
    uint64_t total = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        char file[sizeof path + sizeof task->d_name + 16];
        snprintf(file, sizeof file, "%s/%s/schedstat", path, task->d_name);
        FILE *schedstat = fopen(file, "r");
        uint64_t ran;
        if (!schedstat || fscanf(schedstat, "%" SCNu64, &ran) != 1)
            bench_die("%s: cannot be read", file);
        fclose(schedstat);
        total += ran;
    }
    closedir(tasks);
    return total;
}

void bench_pin(uint64_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        bench_die("CPU %" PRIu64 ": %s", cpu, strerror(errno));
}

uint64_t bench_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int bench_count_system_calls(int pid) {
    FILE *id = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "r");
    if (!id)
        id = fopen("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id", "r");
    if (!id)
        return -1;
    struct perf_event_attr event = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof event,
        .inherit = 1,
    };
    bool known = fscanf(id, "%" SCNu64, (uint64_t *)&event.config) == 1;
    fclose(id);
    if (!known)
        return -1;
    return (int)syscall(__NR_perf_event_open, &event, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

uint64_t bench_counter(int fd) {
    uint64_t value;
    if (read(fd, &value, sizeof value) != (ssize_t)sizeof value)
        bench_die("perf counter: %s", strerror(errno));
    return value;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts `values`. */
static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void ratio_interval(const double *ratios, size_t count, double *low, double *high) {
    static double medians[RESAMPLES], resample[BENCH_ROUNDS_MAX];
    uint64_t seed = 1;
    for (size_t i = 0; i < RESAMPLES; i++) {
        for (size_t j = 0; j < count; j++)
            resample[j] = ratios[bench_random(&seed) % count];
        medians[i] = median(resample, count);
    }
    qsort(medians, RESAMPLES, sizeof *medians, by_value);
    *low = medians[RESAMPLES / 40];
    *high = medians[RESAMPLES - 1 - RESAMPLES / 40];
}

void bench_compare(const struct bench_engine *engines, size_t count, size_t references,
                   uint64_t rounds, void *arg, struct bench_figure *figures) {
    static double samples[BENCH_ENGINES_MAX][BENCH_ROUNDS_MAX][2];
    static double scratch[2 * BENCH_ROUNDS_MAX];
    if (rounds < 1 || rounds > BENCH_ROUNDS_MAX || count > BENCH_ENGINES_MAX)
        bench_die("1 to %d rounds", BENCH_ROUNDS_MAX);
    for (size_t e = 0; e < count; e++)
        engines[e].sample(arg);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t e = 0; e < count; e++)
            samples[e][r][0] = engines[e].sample(arg);
        for (size_t e = count; e-- > 0;)
            samples[e][r][1] = engines[e].sample(arg);
    }
    size_t reference = 0;
    for (size_t e = 0; e < count; e++) {
        struct bench_figure *figure = &figures[e];
        for (size_t r = 0; r < rounds; r++) {
            double first = samples[e][r][0], second = samples[e][r][1];
            double difference = first > second ? first - second : second - first;
            scratch[r] = 2 * difference / (first + second);
        }
        figure->repeat = median(scratch, rounds);
        memcpy(scratch, samples[e], 2 * rounds * sizeof *scratch);
        figure->median = median(scratch, 2 * rounds);
        figure->low = scratch[0];
        figure->high = scratch[2 * rounds - 1];
        if (e < references && figure->median < figures[reference].median)
            reference = e;
    }
    for (size_t e = 0; e < count; e++) {
        struct bench_figure *figure = &figures[e];
        for (size_t r = 0; r < rounds; r++)
            scratch[r] = (samples[e][r][0] + samples[e][r][1]) /
                         (samples[reference][r][0] + samples[reference][r][1]);
        ratio_interval(scratch, rounds, &figure->ratio_low, &figure->ratio_high);
        figure->ratio = median(scratch, rounds);
        figure->reference = e == reference;
    }
}

static void report_row(struct bench_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void report_row(struct bench_report *report, const char *format, ...) {
    if (!report->json)
        return;
    fputs(report->first ? "\n  " : ",\n  ", report->json);
    report->first = false;
    va_list args;
    va_start(args, format);
    vfprintf(report->json, format, args);
    va_end(args);
}

void bench_report_open(struct bench_report *report, const char *title, const char *unit,
                       uint64_t rounds, const char *json) {
    *report = (struct bench_report){.unit = unit, .first = true};
    printf("%s, %s, %" PRIu64 " rounds\n", title, unit, rounds);
    printf("  %-30s %-16s %9s %9s %9s  %s\n", "case", "engine", "median", "low", "high",
           "ratio [95 % interval]");
    if (!json)
        return;
    struct utsname machine;
    uname(&machine);
    report->json = fopen(json, "w");
    if (!report->json)
        bench_die("%s: %s", json, strerror(errno));
    fprintf(report->json,
            "{\"title\": \"%s\", \"unit\": \"%s\", \"rounds\": %" PRIu64 ", \"kernel\": \"%s\",\n"
            " \"rows\": [",
            title, unit, rounds, machine.release);
}

void bench_report_case(struct bench_report *report, const char *name,
                       const struct bench_engine *engines, const struct bench_figure *figures,
                       size_t count) {
    double repeat = 0;
    for (size_t e = 0; e < count; e++)
        if (figures[e].reference)
            repeat = figures[e].repeat;
    for (size_t e = 0; e < count; e++) {
        const struct bench_figure *figure = &figures[e];
        printf("  %-30s %-16s %9.1f %9.1f %9.1f", name, engines[e].name, figure->median,
               figure->low, figure->high);
        if (figure->reference)
            printf("  reference, repeats within %.1f %%\n", 100 * repeat);
        else if (repeat <= REPEAT_MAX)
            printf("  %.3f [%.3f, %.3f]\n", figure->ratio, figure->ratio_low, figure->ratio_high);
        else
            puts("  no ratio");
        report_row(report,
                   "{\"case\": \"%s\", \"engine\": \"%s\", \"median\": %.3f, \"low\": %.3f, "
                   "\"high\": %.3f, \"ratio\": %.4f, \"ratio_low\": %.4f, \"ratio_high\": %.4f, "
                   "\"reference\": %s, \"repeats\": %s}",
                   name, engines[e].name, figure->median, figure->low, figure->high, figure->ratio,
                   figure->ratio_low, figure->ratio_high, figure->reference ? "true" : "false",
                   repeat <= REPEAT_MAX ? "true" : "false");
    }
    if (repeat > REPEAT_MAX)
        printf("  %-30s the reference does not repeat within 5 %%: read no ratio from this run\n",
               name);
    fflush(stdout);
}

void bench_report_exact(struct bench_report *report, const char *name, const char *engine,
                        const char *unit, double value) {
    printf("  %-30s %-16s %9.3f %s\n", name, engine, value, unit);
    report_row(report, "{\"case\": \"%s\", \"engine\": \"%s\", \"unit\": \"%s\", \"exact\": %.4f}",
               name, engine, unit, value);
}

void bench_report_close(struct bench_report *report) {
    if (!report->json)
        return;
    fputs("\n ]}\n", report->json);
    if (fclose(report->json) != 0)
        bench_die("JSON: %s", strerror(errno));
}
