/* Section space: what a row of operations_space.c does not show: holes, sizes that stay, and advice
 * about more than 32 bits can say. */
#include "harness.h"

#include <linux/falloc.h>
#include <sys/mman.h>

static int32_t allocate(aio_ctx *ctx, int fd, int mode, uint64_t offset, uint64_t len) {
    struct call call = {0};
    ID(aio_submit_fallocate(ctx, fd, mode, offset, len, NULL, on_call, &call));
    return await_call(ctx, &call);
}

TEST(a_hole_reads_as_zeroes_and_its_neighbours_stay) {
    aio_ctx *ctx = make_ctx();
    enum { PAGE = 4096 };
    static char data[3 * PAGE], back[3 * PAGE];
    memset(data, 'd', sizeof data);
    const int fd = temp_file("file", data, sizeof data);
    CHECK_EQ(allocate(ctx, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE), 0);
    memset(data + PAGE, 0, PAGE);
    CHECK_EQ(pread(fd, back, sizeof back, 0), (ssize_t)sizeof back);
    CHECK_MEM(back, data, sizeof data);
    end_ctx(ctx);
}

TEST(space_behind_the_end_does_not_change_the_size_when_asked) {
    aio_ctx *ctx = make_ctx();
    struct stat st;
    const int fd = temp_file("file", "hello", 5);
    CHECK_EQ(allocate(ctx, fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 5);
    CHECK_GE(st.st_blocks * 512, 1 << 20);
    CHECK_EQ(allocate(ctx, fd, 0, 0, 100), 0);
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 100);
    end_ctx(ctx);
}

TEST(advice_about_a_file_leaves_what_is_in_it) {
    const int advice[] = {POSIX_FADV_WILLNEED, POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                          POSIX_FADV_NOREUSE,  POSIX_FADV_DONTNEED,   POSIX_FADV_NORMAL};
    aio_ctx *ctx = make_ctx();
    static char data[100000], back[100000];
    pattern_fill(data, sizeof data, 7);
    const int fd = temp_file("file", data, sizeof data);
    SYS(fsync(fd));
    for (int i = 0; i < COUNT_OF(advice); i++) {
        struct call call = {0}, far = {0};
        CHECK_EQ(
            DO(ctx, call, aio_submit_fadvise(ctx, fd, 0, 50000, advice[i], NULL, on_call, &call)),
            0);
        CHECK_EQ(
            DO(ctx, far,
               aio_submit_fadvise(ctx, fd, 1ull << 33, 1ull << 34, advice[i], NULL, on_call, &far)),
            0);
    }
    CHECK_EQ(pread(fd, back, sizeof back, 0), (ssize_t)sizeof back);
    CHECK(pattern_holds(back, sizeof back, 7));
    end_ctx(ctx);
}

/* Rings had 32 bits for the length before Linux 6.11, and would have taken this for nothing. */
TEST(advice_about_more_than_four_gigabytes_reaches_the_end) {
    beyond_valgrind("has no room for so much");
    const size_t size = 5ull << 30;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        SKIP("no address space for it");
    aio_ctx *ctx = make_ctx();
    const size_t places[] = {0, (4ull << 30) + 4096, size - 4096};
    struct call call = {0};
    for (int i = 0; i < COUNT_OF(places); i++)
        memory[places[i]] = 'x';
    CHECK_EQ(
        DO(ctx, call, aio_submit_madvise(ctx, memory, size, MADV_DONTNEED, NULL, on_call, &call)),
        0);
    for (int i = 0; i < COUNT_OF(places); i++)
        CHECK_EQ(memory[places[i]], 0);
    SYS(munmap(memory, size));
    end_ctx(ctx);
}

HARNESS_MAIN
