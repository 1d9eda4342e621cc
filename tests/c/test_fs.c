/* Section fs: files and folders. Values are compared with what the plain system calls see. */
#include "harness.h"

#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

TEST(a_file_is_created_written_read_and_closed) {
    aio_ctx *ctx = make_ctx();
    const char *path = temp_path("life");
    struct call open = {0}, write = {0}, read = {0}, close = {0};
    const int fd =
        DO(ctx, open,
           aio_submit_openat(ctx, AT_FDCWD, path, O_CREAT | O_RDWR, 0640, NULL, on_call, &open));
    CHECK_GE(fd, 0);
    CHECK_EQ(DO(ctx, write, aio_submit_write(ctx, fd, "hello", 5, 0, NULL, on_call, &write)), 5);
    char data[16] = {0};
    CHECK_EQ(DO(ctx, read, aio_submit_read(ctx, fd, data, sizeof data, 1, NULL, on_call, &read)),
             4);
    CHECK_MEM(data, "ello", 5);
    CHECK_EQ(DO(ctx, close, aio_submit_close(ctx, fd, NULL, on_call, &close)), 0);
    CHECK(!is_open(fd));
    struct stat st;
    SYS(stat(path, &st));
    CHECK_EQ(st.st_size, 5);
    CHECK_EQ(st.st_mode & 0777, 0640 & ~umask(0));
    end_ctx(ctx);
}

TEST(a_read_at_the_end_of_the_file_is_zero) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("end", "abc", 3);
    char data[8] = {0};
    struct call at = {0}, beyond = {0}, over = {0};
    CHECK_EQ(DO(ctx, at, aio_submit_read(ctx, fd, data, 8, 3, NULL, on_call, &at)), 0);
    CHECK_EQ(DO(ctx, beyond, aio_submit_read(ctx, fd, data, 8, 99, NULL, on_call, &beyond)), 0);
    CHECK_EQ(DO(ctx, over, aio_submit_read(ctx, fd, data, 8, 2, NULL, on_call, &over)), 1);
    CHECK_EQ(data[0], 'c');
    close(fd);
    end_ctx(ctx);
}

TEST(offset_current_uses_and_moves_the_position_of_the_file) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("position", "0123456789", 10);
    char data[4] = {0};
    struct call first = {0}, second = {0}, third = {0};
    SYS(lseek(fd, 2, SEEK_SET));
    CHECK_EQ(DO(ctx, first,
                aio_submit_read(ctx, fd, data, 3, AIO_OFFSET_CURRENT, NULL, on_call, &first)),
             3);
    CHECK_MEM(data, "234", 3);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5);
    CHECK_EQ(DO(ctx, second,
                aio_submit_write(ctx, fd, "xy", 2, AIO_OFFSET_CURRENT, NULL, on_call, &second)),
             2);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 7);
    CHECK_EQ(DO(ctx, third, aio_submit_read(ctx, fd, data, 3, 4, NULL, on_call, &third)), 3);
    CHECK_MEM(data, "4xy", 3);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 7); /* an explicit offset leaves it alone */
    close(fd);
    end_ctx(ctx);
}

TEST(an_offset_above_four_gigabytes_is_not_cut) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("sparse", NULL, 0);
    const uint64_t offset = 5ull << 32 | 12345;
    struct call write = {0}, read = {0};
    CHECK_EQ(DO(ctx, write, aio_submit_write(ctx, fd, "far", 3, offset, NULL, on_call, &write)), 3);
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, offset + 3);
    char data[4] = {0};
    CHECK_EQ(DO(ctx, read, aio_submit_read(ctx, fd, data, 4, offset, NULL, on_call, &read)), 3);
    CHECK_MEM(data, "far", 3);
    close(fd);
    end_ctx(ctx);
}

TEST(appending_goes_to_the_end_of_the_file) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("append", "abc", 3));
    const int fd = SYS(open(temp_path("append"), O_RDWR | O_APPEND | O_CLOEXEC));
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_write(ctx, fd, "def", 3, 0, NULL, on_call, &call)), 3);
    char data[8] = {0};
    CHECK_EQ(pread(fd, data, 8, 0), 6);
    CHECK_MEM(data, "abcdef", 6);
    close(fd);
    end_ctx(ctx);
}

TEST(vectors_are_gathered_and_scattered_in_order) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("vectors", NULL, 0);
    char one[] = "one", two[] = "twotwo", a[5] = {0}, b[16] = {0};
    struct iovec out[3] = {{one, 3}, {NULL, 0}, {two, 6}}, in[2] = {{a, 5}, {b, 16}};
    struct call write = {0}, read = {0};
    ID(aio_submit_writev(ctx, fd, out, 3, 0, 0, NULL, on_call, &write));
    memset(out, 0xff, sizeof out); /* the array was copied */
    CHECK_EQ(await_call(ctx, &write), 9);
    ID(aio_submit_readv(ctx, fd, in, 2, 0, 0, NULL, on_call, &read));
    memset(in, 0xff, sizeof in);
    CHECK_EQ(await_call(ctx, &read), 9);
    CHECK_MEM(a, "onetw", 5);
    CHECK_MEM(b, "otwo", 5);
    close(fd);
    end_ctx(ctx);
}

TEST(a_thousand_and_twenty_four_vectors_are_accepted) {
    aio_ctx *ctx = make_ctx();
    static char bytes[1024];
    static struct iovec iov[1024];
    for (int i = 0; i < 1024; i++) {
        bytes[i] = (char)(i * 7);
        iov[i] = (struct iovec){&bytes[i], 1};
    }
    const int fd = temp_file("many", NULL, 0);
    struct call write = {0}, none = {0};
    ID(aio_submit_writev(ctx, fd, iov, 1024, 0, 0, NULL, on_call, &write));
    CHECK_EQ(await_call(ctx, &write), 1024);
    char back[1024] = {0};
    CHECK_EQ(pread(fd, back, sizeof back, 0), 1024);
    CHECK_MEM(back, bytes, sizeof back);
    ID(aio_submit_writev(ctx, fd, NULL, 0, 0, 0, NULL, on_call, &none));
    CHECK_EQ(await_call(ctx, &none), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(the_flags_of_preadv2_are_passed_on) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("flags", "0123456789", 10);
    char data[4] = {'A', 'B', 'C', 'D'};
    struct iovec iov = {data, 4};
    struct call append = {0}, bad = {0};
    ID(aio_submit_writev(ctx, fd, &iov, 1, 0, RWF_APPEND | RWF_DSYNC, NULL, on_call, &append));
    CHECK_EQ(await_call(ctx, &append), 4);
    char all[16] = {0};
    CHECK_EQ(pread(fd, all, sizeof all, 0), 14);
    CHECK_MEM(all, "0123456789ABCD", 14);
    ID(aio_submit_readv(ctx, fd, &iov, 1, 0, 1 << 30, NULL, on_call, &bad));
    CHECK_EQ(await_call(ctx, &bad), -EOPNOTSUPP);
    close(fd);
    end_ctx(ctx);
}

TEST(a_large_transfer_arrives_whole) {
    aio_ctx *ctx = make_ctx();
    const size_t len = 8 << 20;
    unsigned char *out = malloc(len), *in = calloc(1, len);
    CHECK(out && in);
    pattern_fill(out, len, 3);
    const int fd = temp_file("large", NULL, 0);
    size_t done = 0;
    while (done < len) {
        struct call call = {0};
        ID(aio_submit_write(ctx, fd, out + done, len - done, done, NULL, on_call, &call));
        CHECK_GT(await_call(ctx, &call), 0);
        done += (size_t)call.result;
    }
    for (done = 0; done < len;) {
        struct call call = {0};
        ID(aio_submit_read(ctx, fd, in + done, len - done, done, NULL, on_call, &call));
        CHECK_GT(await_call(ctx, &call), 0);
        done += (size_t)call.result;
    }
    CHECK(pattern_holds(in, len, 3));
    free(out);
    free(in);
    close(fd);
    end_ctx(ctx);
}

TEST(openat_takes_the_folder_as_a_descriptor) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("inside", "x", 1));
    const int dir = SYS(open(temp_dir(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    char path[] = "inside";
    struct call call = {0};
    ID(aio_submit_openat(ctx, dir, path, O_RDONLY, 0, NULL, on_call, &call));
    memset(path, 'z', sizeof path - 1); /* the path was copied */
    const int fd = await_call(ctx, &call);
    CHECK_GE(fd, 0);
    char byte = 0;
    CHECK_EQ(read(fd, &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    close(fd);
    close(dir);
    end_ctx(ctx);
}

TEST(opened_files_are_close_on_exec_unless_inherited) {
    aio_ctx *ctx = make_ctx();
    struct call safe = {0}, open = {0};
    const int a =
        DO(ctx, safe,
           aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, NULL, on_call, &safe));
    const int b = DO(ctx, open,
                     aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0,
                                       WITH(.flags = AIO_SUBMIT_INHERIT), on_call, &open));
    CHECK(is_cloexec(a));
    CHECK(!is_cloexec(b));
    close(a);
    close(b);
    end_ctx(ctx);
}

TEST(fsync_and_datasync_succeed_on_a_file) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("sync", "abc", 3);
    struct call all = {0}, data = {0};
    CHECK_EQ(DO(ctx, all, aio_submit_fsync(ctx, fd, 0, NULL, on_call, &all)), 0);
    CHECK_EQ(DO(ctx, data, aio_submit_fsync(ctx, fd, AIO_FSYNC_DATASYNC, NULL, on_call, &data)), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(statx_agrees_with_fstat) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("stat", "12345678", 8);
    struct statx sx;
    memset(&sx, 0, sizeof sx);
    struct call call = {0}, by_fd = {0};
    ID(aio_submit_statx(ctx, AT_FDCWD, temp_path("stat"), 0, STATX_BASIC_STATS, &sx, NULL, on_call,
                        &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ(sx.stx_size, 8);
    CHECK_EQ(sx.stx_ino, st.st_ino);
    CHECK_EQ(sx.stx_mode, st.st_mode);
    CHECK_EQ(sx.stx_nlink, st.st_nlink);
    CHECK_EQ(sx.stx_mtime.tv_sec, st.st_mtim.tv_sec);
    CHECK_EQ(sx.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
    CHECK_EQ(makedev(sx.stx_dev_major, sx.stx_dev_minor), st.st_dev);
    memset(&sx, 0, sizeof sx);
    ID(aio_submit_statx(ctx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &sx, NULL, on_call, &by_fd));
    CHECK_EQ(await_call(ctx, &by_fd), 0);
    CHECK_EQ(sx.stx_size, 8);
    close(fd);
    end_ctx(ctx);
}

TEST(statx_sees_the_link_or_what_it_points_to) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("target", "12345", 5));
    SYS(symlink("target", temp_path("link")));
    struct statx sx;
    memset(&sx, 0, sizeof sx);
    struct call follow = {0}, link = {0};
    ID(aio_submit_statx(ctx, AT_FDCWD, temp_path("link"), 0, STATX_BASIC_STATS, &sx, NULL, on_call,
                        &follow));
    CHECK_EQ(await_call(ctx, &follow), 0);
    CHECK(S_ISREG(sx.stx_mode));
    CHECK_EQ(sx.stx_size, 5);
    ID(aio_submit_statx(ctx, AT_FDCWD, temp_path("link"), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS,
                        &sx, NULL, on_call, &link));
    CHECK_EQ(await_call(ctx, &link), 0);
    CHECK(S_ISLNK(sx.stx_mode));
    CHECK_EQ(sx.stx_size, 6);
    end_ctx(ctx);
}

TEST(ftruncate_cuts_and_extends) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("cut", "0123456789", 10);
    struct call cut = {0}, extend = {0};
    struct stat st;
    CHECK_EQ(DO(ctx, cut, aio_submit_ftruncate(ctx, fd, 4, NULL, on_call, &cut)), 0);
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 4);
    CHECK_EQ(DO(ctx, extend, aio_submit_ftruncate(ctx, fd, 1ull << 33, NULL, on_call, &extend)), 0);
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 1ll << 33);
    char data[6] = {1, 1, 1, 1, 1, 1};
    CHECK_EQ(pread(fd, data, 6, 0), 6);
    CHECK_MEM(data, "0123\0\0", 6);
    close(fd);
    end_ctx(ctx);
}

TEST(folders_are_made_renamed_and_removed) {
    aio_ctx *ctx = make_ctx();
    struct call make = {0}, rename = {0}, busy = {0}, file = {0}, remove = {0};
    struct stat st;
    const mode_t mask = umask(022);
    CHECK_EQ(DO(ctx, make,
                aio_submit_mkdirat(ctx, AT_FDCWD, temp_path("a"), 0777, NULL, on_call, &make)),
             0);
    umask(mask);
    SYS(stat(temp_path("a"), &st));
    CHECK_EQ(st.st_mode, S_IFDIR | 0755);
    CHECK_EQ(DO(ctx, rename,
                aio_submit_renameat(ctx, AT_FDCWD, temp_path("a"), AT_FDCWD, temp_path("b"), 0,
                                    NULL, on_call, &rename)),
             0);
    CHECK_NE(access(temp_path("a"), F_OK), 0);
    close(temp_file("b/file", "x", 1));
    CHECK_EQ(
        DO(ctx, busy,
           aio_submit_unlinkat(ctx, AT_FDCWD, temp_path("b"), AT_REMOVEDIR, NULL, on_call, &busy)),
        -ENOTEMPTY);
    CHECK_EQ(DO(ctx, file,
                aio_submit_unlinkat(ctx, AT_FDCWD, temp_path("b/file"), 0, NULL, on_call, &file)),
             0);
    CHECK_EQ(DO(ctx, remove,
                aio_submit_unlinkat(ctx, AT_FDCWD, temp_path("b"), AT_REMOVEDIR, NULL, on_call,
                                    &remove)),
             0);
    CHECK_NE(access(temp_path("b"), F_OK), 0);
    end_ctx(ctx);
}

TEST(rename_flags_forbid_replacing_and_exchange) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("one", "1", 1));
    close(temp_file("two", "22", 2));
    struct call keep = {0}, swap = {0};
    CHECK_EQ(DO(ctx, keep,
                aio_submit_renameat(ctx, AT_FDCWD, temp_path("one"), AT_FDCWD, temp_path("two"),
                                    RENAME_NOREPLACE, NULL, on_call, &keep)),
             -EEXIST);
    CHECK_EQ(DO(ctx, swap,
                aio_submit_renameat(ctx, AT_FDCWD, temp_path("one"), AT_FDCWD, temp_path("two"),
                                    RENAME_EXCHANGE, NULL, on_call, &swap)),
             0);
    struct stat st;
    SYS(stat(temp_path("one"), &st));
    CHECK_EQ(st.st_size, 2);
    end_ctx(ctx);
}

TEST(a_symbolic_link_says_what_it_was_given) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, again = {0};
    CHECK_EQ(
        DO(ctx, call,
           aio_submit_symlinkat(ctx, "some/where", AT_FDCWD, temp_path("s"), NULL, on_call, &call)),
        0);
    char target[32] = {0};
    CHECK_EQ(readlink(temp_path("s"), target, sizeof target), 10);
    CHECK_STR(target, "some/where");
    CHECK_EQ(DO(ctx, again,
                aio_submit_symlinkat(ctx, "x", AT_FDCWD, temp_path("s"), NULL, on_call, &again)),
             -EEXIST);
    end_ctx(ctx);
}

TEST(a_hard_link_is_the_same_file) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("original", "x", 1));
    SYS(symlink("original", temp_path("pointer")));
    struct call link = {0}, follow = {0};
    CHECK_EQ(DO(ctx, link,
                aio_submit_linkat(ctx, AT_FDCWD, temp_path("original"), AT_FDCWD,
                                  temp_path("second"), 0, NULL, on_call, &link)),
             0);
    CHECK_EQ(DO(ctx, follow,
                aio_submit_linkat(ctx, AT_FDCWD, temp_path("pointer"), AT_FDCWD, temp_path("third"),
                                  AT_SYMLINK_FOLLOW, NULL, on_call, &follow)),
             0);
    struct stat a, b, c;
    SYS(lstat(temp_path("original"), &a));
    SYS(lstat(temp_path("second"), &b));
    SYS(lstat(temp_path("third"), &c));
    CHECK_EQ(a.st_ino, b.st_ino);
    CHECK_EQ(a.st_ino, c.st_ino);
    CHECK_EQ(a.st_nlink, 3);
    end_ctx(ctx);
}

TEST(splice_moves_bytes_between_files_and_pipes) {
    aio_ctx *ctx = make_ctx();
    const int from = temp_file("from", "0123456789", 10), to = temp_file("to", NULL, 0);
    int pipe_fds[2];
    make_pipe(pipe_fds);
    struct call in = {0}, out = {0}, end = {0};
    CHECK_EQ(DO(ctx, in,
                aio_submit_splice(ctx, from, 2, pipe_fds[1], AIO_OFFSET_CURRENT, 5, 0, NULL,
                                  on_call, &in)),
             5);
    CHECK_EQ(DO(ctx, out,
                aio_submit_splice(ctx, pipe_fds[0], AIO_OFFSET_CURRENT, to, 3, 100, 0, NULL,
                                  on_call, &out)),
             5);
    char data[16] = {0};
    CHECK_EQ(pread(to, data, sizeof data, 0), 8);
    CHECK_MEM(data,
              "\0\0\0"
              "23456",
              8);
    CHECK_EQ(lseek(from, 0, SEEK_CUR), 0); /* explicit offsets leave the positions alone */
    CHECK_EQ(lseek(to, 0, SEEK_CUR), 0);
    CHECK_EQ(DO(ctx, end,
                aio_submit_splice(ctx, from, 10, pipe_fds[1], AIO_OFFSET_CURRENT, 5, 0, NULL,
                                  on_call, &end)),
             0);
    end_ctx(ctx);
}

TEST(pipes_are_read_and_written) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    char data[8] = {0};
    struct call read = {0}, write = {0}, end = {0};
    ID(aio_submit_read(ctx, pipe_fds[0], data, 8, AIO_OFFSET_CURRENT, NULL, on_call, &read));
    check_blocked(ctx, &read);
    ID(aio_submit_write(ctx, pipe_fds[1], "pipe", 4, AIO_OFFSET_CURRENT, NULL, on_call, &write));
    CHECK_EQ(await_call(ctx, &write), 4);
    CHECK_EQ(await_call(ctx, &read), 4);
    CHECK_MEM(data, "pipe", 4);
    ID(aio_submit_read(ctx, pipe_fds[0], data, 8, AIO_OFFSET_CURRENT, NULL, on_call, &end));
    check_blocked(ctx, &end);
    close(pipe_fds[1]);
    CHECK_EQ(await_call(ctx, &end), 0);
    end_ctx(ctx);
}

TEST(five_hundred_files_are_in_flight_at_once) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 500 };
    static struct call opens[COUNT], writes[COUNT], closes[COUNT];
    static char names[COUNT][16], texts[COUNT][16];
    const int dir = SYS(open(temp_dir(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "file%d", i);
        ID(aio_submit_openat(ctx, dir, names[i], O_CREAT | O_WRONLY, 0600, NULL, on_call,
                             &opens[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_GE(opens[i].result, 0);
        const int len = snprintf(texts[i], sizeof texts[i], "text of %d", i);
        ID(aio_submit_write(ctx, opens[i].result, texts[i], (size_t)len, 0, NULL, on_call,
                            &writes[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_close(ctx, opens[i].result, NULL, on_call, &closes[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(writes[i].result, strlen(texts[i]));
        CHECK_EQ(closes[i].result, 0);
        const int fd = SYS(openat(dir, names[i], O_RDONLY));
        char text[16] = {0};
        CHECK_EQ(read(fd, text, sizeof text), strlen(texts[i]));
        CHECK_STR(text, texts[i]);
        close(fd);
    }
    close(dir);
    end_ctx(ctx);
}

TEST(a_path_of_4095_bytes_reaches_the_kernel_and_one_more_does_not) {
    aio_ctx *ctx = make_ctx();
    char path[4098];
    memset(path, '/', sizeof path);
    path[4095] = 0; /* many slashes: the root folder */
    struct call call = {0};
    const int fd =
        DO(ctx, call,
           aio_submit_openat(ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, NULL, on_call, &call));
    CHECK_GE(fd, 0);
    close(fd);
    path[4095] = '/';
    path[4096] = 0;
    CHECK_EQ(aio_submit_openat(ctx, AT_FDCWD, path, O_RDONLY, 0, NULL, on_call_never, NULL),
             -ENAMETOOLONG);
    CHECK_EQ(aio_submit_mkdirat(ctx, AT_FDCWD, path, 0700, NULL, on_call_never, NULL),
             -ENAMETOOLONG);
    CHECK_EQ(aio_submit_renameat(ctx, AT_FDCWD, "a", AT_FDCWD, path, 0, NULL, on_call_never, NULL),
             -ENAMETOOLONG);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

TEST(many_large_paths_in_flight_are_each_copied) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 300 };
    static struct call calls[COUNT];
    char path[3000];
    for (int i = 0; i < COUNT; i++) { /* distinct names behind a long run of slashes */
        memset(path, '/', sizeof path);
        snprintf(path + 2500, sizeof path - 2500, "%s/dir%d", temp_dir(), i);
        ID(aio_submit_mkdirat(ctx, AT_FDCWD, path, 0700, NULL, on_call, &calls[i]));
    }
    memset(path, 0, sizeof path);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].result, 0);
        char name[16];
        snprintf(name, sizeof name, "dir%d", i);
        CHECK_EQ(access(temp_path(name), F_OK), 0);
    }
    end_ctx(ctx);
}

HARNESS_MAIN
