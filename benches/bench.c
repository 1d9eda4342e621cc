/* The shared part of the benchmarks: see bench.h. Nothing here runs while something is measured,
 * except the clocks. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A reference that differs from itself by more than this makes wall-clock ratios worthless. */
static const double REPEAT_MAX = 0.05;
/* What the upper end of an interval may have beyond a limit, and of how many rounds it must be. */
static const double LIMIT_ALLOWANCE = 0.02;
static const char BY_HAND[] = "by-hand";
enum {
    LIMIT_ROUNDS = 31,
    RESAMPLES = 2000,
    QUIESCE_US = 2000, /* what a process that has nothing left to do takes until all of it sleeps */
};

void bench_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static _Noreturn void usage(const struct bench_flag *flags) {
    fprintf(stderr, "usage: %s [--name value]...\n", program_invocation_short_name);
    for (; flags->name; flags++) {
        fprintf(stderr, "  --%-12s %s", flags->name, flags->help);
        if (flags->number)
            fprintf(stderr, " (%" PRIu64 ")", *flags->number);
        else if (*flags->text)
            fprintf(stderr, " (%s)", *flags->text);
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

size_t bench_numbers(const char *list, uint64_t numbers[BENCH_NUMBERS_MAX]) {
    const char *at = list;
    for (size_t count = 0; count < BENCH_NUMBERS_MAX;) {
        char *end;
        errno = 0;
        numbers[count] = strtoull(at, &end, 10);
        if (errno || end == at || !numbers[count++] || (*end && *end != ','))
            break;
        if (!*end)
            return count;
        at = end + 1;
    }
    bench_die("%s is no list of at most %d numbers such as 1,64", list, BENCH_NUMBERS_MAX);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_clock_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

uint64_t bench_thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

uint64_t bench_process_cpu_ns(pid_t pid) {
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    if (error)
        bench_die("the CPU clock of %d: %s", pid, strerror(error));
    return clock_ns(clock);
}

bool bench_be_undisturbed(void) {
    const struct sched_param priority = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    return sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
}

void bench_pin(uint64_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        bench_die("CPU %" PRIu64 ": %s", cpu, strerror(errno));
}

int bench_count_system_calls(pid_t pid) {
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

void bench_child_start(struct bench_child *child, void (*body)(int channel, void *arg), void *arg,
                       bool count_system_calls) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        bench_die("socketpair: %s", strerror(errno));
    pid_t parent = getpid();
    fflush(NULL);
    *child = (struct bench_child){.pid = fork(), .channel = ends[0], .counter = -1};
    if (child->pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        /* So that the counter is there before the first thread is, and is inherited by all. */
        bench_child_stop(ends[1]);
        body(ends[1], arg);
        _exit(0);
    }
    close(ends[1]);
    bench_child_await(child);
    if (count_system_calls)
        child->counter = bench_count_system_calls(child->pid);
    if (count_system_calls && child->counter < 0)
        bench_die("system calls cannot be counted: %s", strerror(errno));
    bench_child_go_on(child);
}

void bench_child_stop(int channel) {
    char byte = 0;
    if (send(channel, &byte, 1, MSG_NOSIGNAL) != 1 || read(channel, &byte, 1) != 1)
        bench_die("the parent is gone");
}

void bench_child_await(const struct bench_child *child) {
    char byte;
    if (read(child->channel, &byte, 1) != 1)
        bench_die("the process that is measured has ended");
    usleep(QUIESCE_US);
}

void bench_child_go_on(const struct bench_child *child) {
    if (send(child->channel, "", 1, MSG_NOSIGNAL) != 1)
        bench_die("the process that is measured: %s", strerror(errno));
}

uint64_t bench_child_spent(const struct bench_child *child) {
    return child->counter < 0 ? bench_process_cpu_ns(child->pid) : bench_counter(child->counter);
}

uint64_t bench_child_memory(const struct bench_child *child) {
    char path[64], line[128];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", child->pid);
    FILE *rollup = fopen(path, "r");
    uint64_t kib, total = 0;
    while (rollup && fgets(line, sizeof line, rollup))
        if (sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
            total += kib * 1024;
    if (!rollup || !total)
        bench_die("%s: cannot be read", path);
    fclose(rollup);
    return total;
}

void bench_child_end(const struct bench_child *child) {
    int status;
    if (waitpid(child->pid, &status, 0) != child->pid || status != 0)
        bench_die("the process that is measured ended with %#x", status);
    close(child->channel);
    if (child->counter >= 0)
        close(child->counter);
}

uint64_t bench_child_cost(void (*body)(int channel, void *arg), void *arg,
                          bool count_system_calls) {
    struct bench_child child;
    bench_child_start(&child, body, arg, count_system_calls);
    bench_child_await(&child);
    uint64_t before = bench_child_spent(&child);
    bench_child_go_on(&child);
    bench_child_await(&child);
    uint64_t after = bench_child_spent(&child);
    bench_child_go_on(&child);
    bench_child_end(&child);
    return after - before;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void ratio_interval(const double *ratios, size_t count, struct bench_ratio *ratio) {
    static double medians[RESAMPLES], resample[BENCH_ROUNDS_MAX];
    uint64_t seed = 1;
    for (size_t i = 0; i < RESAMPLES; i++) {
        for (size_t j = 0; j < count; j++)
            resample[j] = ratios[bench_random(&seed) % count];
        medians[i] = bench_median(resample, count);
    }
    qsort(medians, RESAMPLES, sizeof *medians, by_value);
    ratio->low = medians[RESAMPLES / 40];
    ratio->high = medians[RESAMPLES - 1 - RESAMPLES / 40];
}

/* Of the last bench_compare: forwards and backwards. */
static double samples[BENCH_ENGINES_MAX][BENCH_ROUNDS_MAX][2];
static size_t rounds_sampled;

size_t bench_choose(const struct bench_engine *all, size_t count, const char *names,
                    struct bench_engine *chosen) {
    bool wanted[BENCH_ENGINES_MAX] = {false};
    size_t chosen_count = 0;
    for (size_t length; names && *names; names += length + (names[length] == ',')) {
        length = strcspn(names, ",");
        size_t e = 0;
        while (e < count && (strlen(all[e].name) != length || strncmp(all[e].name, names, length)))
            e++;
        if (e == count)
            bench_die("there is no engine %.*s", (int)length, names);
        wanted[e] = true;
    }
    for (size_t e = 0; e < count; e++)
        if ((!names || wanted[e]) && (!all[e].program || bench_peers))
            chosen[chosen_count++] = all[e];
    if (!chosen_count)
        bench_die("no engine was chosen");
    return chosen_count;
}

void bench_compare(const struct bench_engine *engines, size_t count, uint64_t rounds, void *arg,
                   struct bench_figure *figures) {
    static double scratch[2 * BENCH_ROUNDS_MAX];
    if (rounds < 1 || rounds > BENCH_ROUNDS_MAX || count > BENCH_ENGINES_MAX)
        bench_die("1 to %d rounds", BENCH_ROUNDS_MAX);
    for (size_t e = 0; e < count; e++)
        engines[e].sample(arg, engines[e].subject);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t e = 0; e < count; e++)
            samples[e][r][0] = engines[e].sample(arg, engines[e].subject);
        for (size_t e = count; e-- > 0;)
            samples[e][r][1] = engines[e].sample(arg, engines[e].subject);
    }
    rounds_sampled = rounds;
    for (size_t e = 0; e < count; e++) {
        struct bench_figure *figure = &figures[e];
        for (size_t r = 0; r < rounds; r++) {
            double first = samples[e][r][0], second = samples[e][r][1];
            double difference = first > second ? first - second : second - first;
            scratch[r] = difference > 0 ? 2 * difference / (first + second) : 0;
        }
        figure->repeat = bench_median(scratch, rounds);
        memcpy(scratch, samples[e], 2 * rounds * sizeof *scratch);
        figure->median = bench_median(scratch, 2 * rounds);
        figure->low = scratch[0];
        figure->high = scratch[2 * rounds - 1];
    }
}

struct bench_ratio bench_ratio(size_t engine, size_t to) {
    static double ratios[BENCH_ROUNDS_MAX];
    struct bench_ratio ratio;
    for (size_t r = 0; r < rounds_sampled; r++)
        ratios[r] = (samples[engine][r][0] + samples[engine][r][1]) /
                    (samples[to][r][0] + samples[to][r][1]);
    ratio_interval(ratios, rounds_sampled, &ratio);
    ratio.median = bench_median(ratios, rounds_sampled);
    return ratio;
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
    printf("  %-26s %-15s %9s %9s %9s  %s\n", "case", "engine", "median", "low", "high",
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

static size_t engine_named(const char *name, const struct bench_engine *engines, size_t count) {
    size_t e = 0;
    while (e < count && strcmp(engines[e].name, name))
        e++;
    return e;
}

static bool has_role(enum bench_role role, const struct bench_engine *engines, size_t count) {
    bool has = false;
    for (size_t e = 0; e < count; e++)
        has |= engines[e].role == role;
    return has;
}

void bench_report_limits(struct bench_report *report, const char *limits,
                         const struct bench_engine *engines, size_t count) {
    while (limits && *limits) {
        struct bench_limit *limit = &report->limit[report->limits++];
        int read = 0;
        if (report->limits > BENCH_LIMITS_MAX ||
            sscanf(limits, "%31[^/]/%31[^=]=%lf%n", limit->engine, limit->to, &limit->most,
                   &read) != 3 ||
            (limits[read] != ',' && limits[read]))
            bench_die("--limit is a list such as aio-epoll/libuv=1.0, of at most %d",
                      BENCH_LIMITS_MAX);
        bool is_by_hand = !strcmp(limit->to, BY_HAND) && has_role(BENCH_LIMIT, engines, count);
        if (engine_named(limit->engine, engines, count) == count ||
            (!is_by_hand && engine_named(limit->to, engines, count) == count))
            bench_die("%s/%s cannot be judged: both must run", limit->engine, limit->to);
        limits += read + (limits[read] == ',');
    }
}

/* The place of the fastest engine with a role; `count` if there is none. */
static size_t fastest(enum bench_role role, const struct bench_engine *engines,
                      const struct bench_figure *figures, size_t count) {
    size_t best = count;
    for (size_t e = 0; e < count; e++)
        if (engines[e].role == role && (best == count || figures[e].median < figures[best].median))
            best = e;
    return best;
}

/* A ratio in the table and in the row of JSON. */
static void report_ratio(struct bench_report *report, const char *key, struct bench_ratio ratio) {
    printf("  %.3f [%.3f, %.3f]", ratio.median, ratio.low, ratio.high);
    if (report->json)
        fprintf(report->json, ", \"%s\": %.4f, \"%s_low\": %.4f, \"%s_high\": %.4f", key,
                ratio.median, key, ratio.low, key, ratio.high);
}

/* The upper end of the interval counts, with a little allowance. */
static void judge(struct bench_report *report, const char *name, const struct bench_limit *limit,
                  const struct bench_engine *engines, const struct bench_figure *figures,
                  size_t count) {
    size_t to = strcmp(limit->to, BY_HAND) ? engine_named(limit->to, engines, count)
                                           : fastest(BENCH_LIMIT, engines, figures, count);
    struct bench_ratio ratio = bench_ratio(engine_named(limit->engine, engines, count), to);
    const char *verdict = "cannot be judged: repeat the run on a quieter machine";
    if (rounds_sampled < LIMIT_ROUNDS)
        verdict = "cannot be judged: 31 rounds at least";
    else if (ratio.high <= limit->most + LIMIT_ALLOWANCE)
        verdict = "holds";
    else if (ratio.low > limit->most)
        verdict = "over the limit";
    report->failed |= strcmp(verdict, "holds") != 0;
    printf("  %-26s %s/%s  %.3f [%.3f, %.3f], limit %.3f: %s\n", name, limit->engine, limit->to,
           ratio.median, ratio.low, ratio.high, limit->most, verdict);
    report_row(report,
               "{\"case\": \"%s\", \"engine\": \"%s\", \"to\": \"%s\", \"ratio\": %.4f, "
               "\"ratio_low\": %.4f, \"ratio_high\": %.4f, \"limit\": %.4f, \"verdict\": \"%s\"}",
               name, limit->engine, limit->to, ratio.median, ratio.low, ratio.high, limit->most,
               verdict);
}

/* The end of a row of JSON: what was measured, round by round, for those who judge. */
static void report_samples(struct bench_report *report, size_t engine) {
    if (!report->json)
        return;
    fputs(", \"samples\": [", report->json);
    for (size_t r = 0; r < rounds_sampled; r++)
        fprintf(report->json, "%s[%.3f, %.3f]", r ? ", " : "", samples[engine][r][0],
                samples[engine][r][1]);
    fputs("]}", report->json);
}

void bench_report_case(struct bench_report *report, const char *name,
                       const struct bench_engine *engines, const struct bench_figure *figures,
                       size_t count) {
    size_t reference = fastest(BENCH_LIMIT, engines, figures, count);
    size_t peer = fastest(BENCH_PEER, engines, figures, count);
    if (reference == count)
        reference = 0;
    for (size_t e = 0; e < count; e++) {
        const struct bench_figure *figure = &figures[e];
        printf("  %-26s %-15s %9.1f %9.1f %9.1f", name, engines[e].name, figure->median,
               figure->low, figure->high);
        report_row(report,
                   "{\"case\": \"%s\", \"engine\": \"%s\", \"median\": %.3f, \"low\": %.3f, "
                   "\"high\": %.3f, \"repeats_within\": %.4f, \"reference\": %s",
                   name, engines[e].name, figure->median, figure->low, figure->high, figure->repeat,
                   e == reference ? "true" : "false");
        if (report->has_no_ratios) {
            putchar('\n');
            report_samples(report, e);
            continue;
        }
        if (e == reference)
            printf("  %-20s", "reference");
        else if (figures[reference].repeat > REPEAT_MAX)
            printf("  %-20s", "no ratio");
        else
            report_ratio(report, "ratio", bench_ratio(e, reference));
        if (peer < count && e != peer) {
            printf("; to %s", engines[peer].name);
            report_ratio(report, "peer_ratio", bench_ratio(e, peer));
        }
        putchar('\n');
        report_samples(report, e);
    }
    if (report->has_no_ratios)
        return;
    printf("  %-26s %s repeats within %.1f %%\n", name, engines[reference].name,
           100 * figures[reference].repeat);
    if (figures[reference].repeat > REPEAT_MAX)
        printf("  %-26s the reference does not repeat within 5 %%: read no ratio from this run\n",
               name);
    for (size_t i = 0; i < report->limits; i++)
        judge(report, name, &report->limit[i], engines, figures, count);
    fflush(stdout);
}

void bench_report_exact(struct bench_report *report, const char *name, const char *engine,
                        const char *unit, double value) {
    printf("  %-26s %-15s %9.3f %s\n", name, engine, value, unit);
    report_row(report, "{\"case\": \"%s\", \"engine\": \"%s\", \"unit\": \"%s\", \"exact\": %.4f}",
               name, engine, unit, value);
}

int bench_report_close(struct bench_report *report) {
    if (report->json) {
        fputs("\n ]}\n", report->json);
        if (fclose(report->json) != 0)
            bench_die("JSON: %s", strerror(errno));
    }
    return report->failed;
}
