/*
 * offload_hash: prints the SHA-256 of every file below a directory, as sha256sum does.
 *
 * The context opens, reads and closes; hashing would hold it up, so that it is done on a pool of
 * threads that compute, one for each processor. Each file has two buffers: while one is hashed, the
 * other is filled. Progress is shown all the while, because the context's thread never computes.
 *
 *     offload_hash [--in-flight N] [--threads N] DIR
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024, IN_FLIGHT_DEFAULT = 32, IN_FLIGHT_MAX = 4096 };
#define PROGRESS_NS UINT64_C(100000000)

/* ---- SHA-256 (FIPS 180-4) ------------------------------------------------------------------ */

struct sha256 {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
};

static const uint32_t sha256_begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void sha256_block(uint32_t state[8], const unsigned char *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                               choice + sha256_constants[i] + w[i];
        const uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void sha256_add(struct sha256 *sha, const unsigned char *data, size_t size) {
    while (size > 0) {
        const size_t at = sha->length % sizeof sha->block;
        if (at == 0 && size >= sizeof sha->block) {
            sha256_block(sha->state, data);
            sha->length += sizeof sha->block;
            data += sizeof sha->block;
            size -= sizeof sha->block;
            continue;
        }
        const size_t room = sizeof sha->block - at, part = size < room ? size : room;
        memcpy(sha->block + at, data, part);
        sha->length += part;
        if (part == room)
            sha256_block(sha->state, sha->block);
        data += part;
        size -= part;
    }
}

/* The padding: a one, zeroes, and the number of bits. */
static void sha256_end(struct sha256 *sha) {
    const uint64_t bits = sha->length * 8;
    const unsigned char one = 0x80, zero = 0;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(sha, &one, 1);
    while (sha->length % sizeof sha->block != 56)
        sha256_add(sha, &zero, 1);
    sha256_add(sha, length, sizeof length);
}

/* ---- files --------------------------------------------------------------------------------- */

struct piece {
    unsigned char *data;
    enum { EMPTY, READING, FULL, HASHING } state;
    int32_t size;
};

/* One operation reads and one hashes at the most; neither uses a piece of the other. */
struct file {
    struct file *next_free;
    char *path;
    int fd;
    uint64_t offset;
    unsigned to_read, to_hash; /* which of the two is next */
    struct piece pieces[2];
    struct sha256 sha;
    bool is_whole;
    int32_t error;
};

static struct {
    aio_ctx *ctx;
    aio_thread_pool *pool;
    FTS *tree;
    struct file *free_files;
    unsigned files_open;
    bool failed, shows_progress;
    aio_op_id progress;
    uint64_t files, bytes;
} job;

static void next_files(void);
static void advance(struct file *file);

static void say(const char *path, int32_t error) {
    fprintf(stderr, "%soffload_hash: %s: %s\n", job.shows_progress ? "\r\033[K" : "", path,
            aio_strerror(error));
    job.failed = true;
}

static void check(int64_t status, const char *what) {
    if (status < 0) {
        say(what, (int32_t)status);
        exit(1);
    }
}

static void finish(struct file *file) {
    if (file->error != 0) {
        say(file->path, file->error);
    } else {
        for (int i = 0; i < 8; i++)
            printf("%08" PRIx32, file->sha.state[i]);
        printf("  %s\n", file->path);
        job.files++;
    }
    if (file->fd >= 0)
        close(file->fd); /* nothing of it is in flight */
    free(file->path);
    file->next_free = job.free_files;
    job.free_files = file;
    job.files_open--;
    next_files();
}

/* These two run on a thread of the pool; until their callback nothing else touches what they use.
 */
static int32_t hash_piece(void *arg) AIO_NOEXCEPT {
    struct file *file = arg;
    const struct piece *piece = &file->pieces[file->to_hash];
    sha256_add(&file->sha, piece->data, (size_t)piece->size);
    return 0;
}

static int32_t hash_end(void *arg) AIO_NOEXCEPT {
    struct file *file = arg;
    sha256_end(&file->sha);
    return 0;
}

static void on_piece(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct file *file = user_data;
    struct piece *piece = &file->pieces[file->to_hash];
    (void)flags;
    file->error = result < 0 ? result : file->error;
    job.bytes += (uint64_t)piece->size;
    piece->state = EMPTY;
    file->to_hash ^= 1;
    advance(file);
}

static void on_end(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct file *file = user_data;
    (void)flags;
    file->error = result < 0 ? result : file->error;
    finish(file);
}

static void on_read(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct file *file = user_data;
    struct piece *piece = &file->pieces[file->to_read];
    (void)flags;
    if (result <= 0) {
        file->error = result;
        file->is_whole = true;
        piece->state = EMPTY;
    } else {
        file->offset += (uint64_t)result;
        piece->size = result;
        piece->state = FULL;
        file->to_read ^= 1;
    }
    advance(file);
}

/* Starts whatever can go on. A file has one function at most on the pool, which has room for one of
 * each file in flight: it is never full. */
static void advance(struct file *file) {
    struct piece *next = &file->pieces[file->to_read], *full = &file->pieces[file->to_hash];
    if (file->error == 0 && !file->is_whole && next->state == EMPTY) {
        next->state = READING;
        check(aio_submit_read(job.ctx, file->fd, next->data, BUFFER_BYTES, file->offset, NULL,
                              on_read, file),
              "read");
    }
    if (file->error == 0 && full->state == FULL) {
        full->state = HASHING;
        check(aio_submit_work(job.ctx, job.pool, hash_piece, file, NULL, on_piece, file), "work");
    }
    for (int i = 0; i < 2; i++)
        if (file->pieces[i].state == READING || file->pieces[i].state == HASHING)
            return;
    if (file->error != 0)
        finish(file);
    else if (file->is_whole)
        check(aio_submit_work(job.ctx, job.pool, hash_end, file, NULL, on_end, file), "work");
}

static void on_open(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct file *file = user_data;
    (void)flags;
    if (result < 0) {
        file->error = result;
        finish(file);
        return;
    }
    file->fd = result;
    advance(file);
}

/* ---- the tree ------------------------------------------------------------------------------ */

static void begin(const char *path) {
    struct file *file = job.free_files;
    job.free_files = file->next_free;
    job.files_open++;
    unsigned char *buffers[2] = {file->pieces[0].data, file->pieces[1].data};
    *file = (struct file){.path = strdup(path), .fd = -1};
    check(file->path != NULL ? 0 : -ENOMEM, "memory");
    memcpy(file->sha.state, sha256_begin, sizeof sha256_begin);
    for (int i = 0; i < 2; i++)
        file->pieces[i].data = buffers[i];
    check(aio_submit_openat(job.ctx, AT_FDCWD, path, O_RDONLY, 0, NULL, on_open, file), "open");
}

/* Takes files from the tree while there is room for them; the last one to end ends the program. */
static void next_files(void) {
    const FTSENT *entry;
    while (job.tree != NULL && job.free_files != NULL) {
        entry = fts_read(job.tree);
        if (entry == NULL) {
            fts_close(job.tree);
            job.tree = NULL;
        } else if (entry->fts_info == FTS_F) {
            begin(entry->fts_path);
        } else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
                   entry->fts_info == FTS_NS) {
            say(entry->fts_path, -entry->fts_errno);
        }
    }
    if (job.tree == NULL && job.files_open == 0 && job.progress > 0) {
        aio_ctx_cancel(job.ctx, job.progress);
        job.progress = 0;
    }
}

static void on_progress(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    (void)user_data;
    (void)result;
    if (!job.shows_progress)
        return;
    if (flags & AIO_CQE_MORE)
        fprintf(stderr, "\r\033[K%" PRIu64 " files, %" PRIu64 " MB", job.files,
                job.bytes / 1000000);
    else
        fputs("\r\033[K", stderr);
}

/* ---- main ---------------------------------------------------------------------------------- */

static void make_files(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct file *file = calloc(1, sizeof *file);
        check(file != NULL ? 0 : -ENOMEM, "memory");
        for (int p = 0; p < 2; p++) {
            file->pieces[p].data = malloc(BUFFER_BYTES);
            check(file->pieces[p].data != NULL ? 0 : -ENOMEM, "memory");
        }
        file->next_free = job.free_files;
        job.free_files = file;
    }
}

static void free_files(void) {
    while (job.free_files != NULL) {
        struct file *file = job.free_files;
        job.free_files = file->next_free;
        free(file->pieces[0].data);
        free(file->pieces[1].data);
        free(file);
    }
}

static unsigned number(const char *text, unsigned most) {
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value == 0 || value > most) {
        fprintf(stderr, "offload_hash: not a number from 1 to %u: %s\n", most, text);
        exit(2);
    }
    return (unsigned)value;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"in-flight", required_argument, NULL, 'n'},
                                            {"threads", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    unsigned in_flight = IN_FLIGHT_DEFAULT;
    aio_thread_pool_options pool = {.size = sizeof pool, .kind = AIO_THREAD_POOL_COMPUTE};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?')
            return 2;
        if (option == 'n')
            in_flight = number(optarg, IN_FLIGHT_MAX);
        else
            pool.threads_max = number(optarg, 1024);
    }
    if (argc - optind != 1) {
        fputs("usage: offload_hash [--in-flight N] [--threads N] DIR\n", stderr);
        return 2;
    }
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    pool.queue_max = in_flight;
    pool.name = "hash";
    job.shows_progress = isatty(STDERR_FILENO);
    check(aio_thread_pool_create(&pool, &job.pool), "pool");
    check(aio_ctx_create(NULL, &job.ctx), "context");
    make_files(in_flight);
    job.tree = fts_open((char *[]){argv[optind], NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    check(job.tree != NULL ? 0 : -ENOMEM, "memory");
    job.progress = aio_submit_interval(job.ctx, PROGRESS_NS, NULL, on_progress, NULL);
    check(job.progress, "interval");
    next_files();
    check(aio_ctx_run(job.ctx), "run");
    check(aio_ctx_destroy(job.ctx), "destroy");
    check(aio_thread_pool_destroy(job.pool), "destroy");
    free_files();
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double seconds =
        (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    fprintf(stderr, "%" PRIu64 " files, %.1f MB in %.2f s\n", job.files, (double)job.bytes / 1e6,
            seconds);
    return job.failed ? 1 : 0;
}
