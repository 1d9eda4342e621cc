/* Peers that are programs of their own: how a child of a benchmark becomes one. The programs, and
 * what they are told, are in benches/peers. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { NUMBERS_MAX = 8, DIGITS_MAX = 24 };

const char *bench_peers;

void bench_become(const char *program, const char *workload, const uint64_t *numbers,
                  size_t count) {
    char path[4096], texts[NUMBERS_MAX][DIGITS_MAX];
    char *argv[NUMBERS_MAX + 3] = {(char *)program, (char *)workload};
    if (count > NUMBERS_MAX)
        bench_die("%s: at most %d numbers", program, NUMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%" PRIu64, numbers[i]);
        argv[i + 2] = texts[i];
    }
    snprintf(path, sizeof path, "%s/%s", bench_peers, program);
    execv(path, argv);
    bench_die("%s: %s", path, strerror(errno));
}

uint64_t bench_inherit(int fd) {
    if (fcntl(fd, F_SETFD, 0) < 0)
        bench_die("fcntl: %s", strerror(errno));
    return (uint64_t)fd;
}
