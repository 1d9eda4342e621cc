/* The file of the benchmark of reads: what it has where, and that it stays in the page cache. */
#include "reads.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

uint64_t reads_word_at(uint64_t position) { return bench_random(&position); }

const char *reads_file_system(int fd) {
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

int reads_make_file(const char *folder, uint64_t size) {
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
            uint64_t word = reads_word_at(at + i);
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

const void *reads_keep_cached(int fd, uint64_t size) {
    void *mapping = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        bench_die("mmap: %s", strerror(errno));
    (void)mlock(mapping, size);
    return mapping;
}

void reads_check_cached(const void *mapping, uint64_t size) {
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

int reads_open_direct(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0)
        bench_die("O_DIRECT: %s", strerror(errno));
    return direct;
}
