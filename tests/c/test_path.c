/* Section path: what a row of operations_path.c does not show: where openat2 may not go, what it
 * copies, and how extended attributes are asked for. */
#include "harness.h"

#include <linux/openat2.h>
#include <sys/xattr.h>

static int32_t open2(aio_ctx *ctx, int dirfd, const char *path, struct open_how how) {
    struct call call = {0};
    ID(aio_submit_openat2(ctx, dirfd, path, &how, sizeof how, NULL, on_call, &call));
    return await_call(ctx, &call);
}

static void check_same_file(int fd, int other) {
    struct stat a, b;
    SYS(fstat(fd, &a));
    SYS(fstat(other, &b));
    CHECK_EQ(a.st_ino, b.st_ino);
}

/* --- openat2 --------------------------------------------------------------------------------- */

TEST(openat2_stays_where_resolve_says) {
    aio_ctx *ctx = make_ctx();
    needs_known_calls(ctx);
    const int file = temp_file("file", "inside", 6);
    const int folder = SYS(open(temp_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    SYS(symlinkat("file", folder, "link"));
    const struct open_how beneath = {.resolve = RESOLVE_BENEATH};
    const struct open_how rooted = {.resolve = RESOLVE_IN_ROOT};
    const struct open_how linkless = {.resolve = RESOLVE_NO_SYMLINKS};
    const struct open_how magicless = {.resolve = RESOLVE_NO_MAGICLINKS};

    const int inside = open2(ctx, folder, "file", beneath);
    check_same_file(inside, file);
    CHECK_EQ(open2(ctx, folder, "../etc/passwd", beneath), -EXDEV);
    CHECK_EQ(open2(ctx, folder, "/etc/passwd", beneath), -EXDEV);
    const int rooted_file = open2(ctx, folder, "/../file", rooted);
    check_same_file(rooted_file, file);
    CHECK_EQ(open2(ctx, folder, "/etc/passwd", rooted), -ENOENT);
    CHECK_EQ(open2(ctx, folder, "link", linkless), -ELOOP);
    const int linked = open2(ctx, folder, "link", beneath);
    check_same_file(linked, file);
    CHECK_EQ(open2(ctx, AT_FDCWD, "/proc/self/exe", magicless), -ELOOP);
    close(inside);
    close(rooted_file);
    close(linked);
    close(folder);
    end_ctx(ctx);
}

TEST(openat2_makes_descriptors_that_are_names_alone) {
    aio_ctx *ctx = make_ctx();
    needs_known_calls(ctx);
    const int file = temp_file("file", "x", 1);
    const int fd = open2(ctx, AT_FDCWD, temp_path("file"), (struct open_how){.flags = O_PATH});
    CHECK_GE(fd, 0);
    check_same_file(fd, file);
    CHECK(SYS(fcntl(fd, F_GETFL)) & O_PATH);
    CHECK(is_cloexec(fd));
    close(fd);
    end_ctx(ctx);
}

TEST(what_openat2_opens_is_close_on_exec_unless_inherited) {
    aio_ctx *ctx = make_ctx();
    needs_known_calls(ctx);
    close(temp_file("file", "x", 1));
    const struct open_how how = {.flags = O_RDONLY};
    for (int inherit = 0; inherit < 2; inherit++) {
        struct call call = {0};
        ID(aio_submit_openat2(ctx, AT_FDCWD, temp_path("file"), &how, sizeof how,
                              inherit ? WITH(.flags = AIO_SUBMIT_INHERIT) : NULL, on_call, &call));
        CHECK_GE(await_call(ctx, &call), 0);
        CHECK_EQ(is_cloexec(call.result), !inherit);
        close(call.result);
    }
    end_ctx(ctx);
}

TEST(openat2_copies_path_and_how_during_the_call) {
    aio_ctx *ctx = make_ctx();
    needs_known_calls(ctx);
    char path[512];
    snprintf(path, sizeof path, "%s/new", temp_dir());
    struct open_how how = {.flags = O_CREAT | O_EXCL | O_RDWR, .mode = 0640};
    struct call call = {0};
    umask(0);
    ID(aio_submit_openat2(ctx, AT_FDCWD, path, &how, sizeof how, NULL, on_call, &call));
    memset(path, 'x', sizeof path - 1);
    memset(&how, 0xff, sizeof how);
    CHECK_GE(await_call(ctx, &call), 0);
    struct stat st;
    SYS(fstat(call.result, &st));
    CHECK_EQ(st.st_mode, S_IFREG | 0640);
    close(call.result);
    end_ctx(ctx);
}

/* --- extended attributes --------------------------------------------------------------------- */

#define NAME "user.aio"

static int32_t get(aio_ctx *ctx, const char *path, void *value, size_t size) {
    struct call call = {0};
    ID(aio_submit_getxattr(ctx, path, NAME, value, size, NULL, on_call, &call));
    return await_call(ctx, &call);
}

TEST(a_size_of_zero_asks_for_the_size_of_an_attribute) {
    aio_ctx *ctx = make_ctx();
    char value[16] = {0};
    close(temp_file("file", NULL, 0));
    const char *path = temp_path("file");
    SYS(setxattr(path, NAME, "0123456789", 10, 0));
    CHECK_EQ(get(ctx, path, NULL, 0), 10);
    CHECK_EQ(get(ctx, path, value, 9), -ERANGE);
    CHECK_EQ(get(ctx, path, value, 10), 10);
    CHECK_STR(value, "0123456789");
    end_ctx(ctx);
}

TEST(room_for_more_than_any_attribute_is_no_error) {
    aio_ctx *ctx = make_ctx();
    const size_t size = 1 << 20;
    char *value = calloc(1, size);
    CHECK(value != NULL);
    close(temp_file("file", NULL, 0));
    SYS(setxattr(temp_path("file"), NAME, "hello", 5, 0));
    CHECK_EQ(get(ctx, temp_path("file"), value, size), 5);
    CHECK_MEM(value, "hello", 5);
    free(value);
    end_ctx(ctx);
}

TEST(attributes_of_a_name_and_of_its_descriptor_are_the_same) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("file", NULL, 0);
    const char *path = temp_path("file");
    struct call by_path = {0}, by_fd = {0}, empty = {0};
    char value[16] = {0};
    CHECK_EQ(
        DO(ctx, by_fd,
           aio_submit_fsetxattr(ctx, fd, NAME, "first", 5, XATTR_CREATE, NULL, on_call, &by_fd)),
        0);
    CHECK_EQ(get(ctx, path, value, sizeof value), 5);
    CHECK_STR(value, "first");
    CHECK_EQ(DO(ctx, by_path,
                aio_submit_setxattr(ctx, path, NAME, "second", 6, XATTR_REPLACE, NULL, on_call,
                                    &by_path)),
             0);
    by_fd = (struct call){0};
    CHECK_EQ(DO(ctx, by_fd,
                aio_submit_fgetxattr(ctx, fd, NAME, value, sizeof value, NULL, on_call, &by_fd)),
             6);
    CHECK_MEM(value, "second", 6);
    CHECK_EQ(
        DO(ctx, empty, aio_submit_setxattr(ctx, path, NAME, NULL, 0, 0, NULL, on_call, &empty)), 0);
    CHECK_EQ(get(ctx, path, value, sizeof value), 0);
    end_ctx(ctx);
}

TEST(names_of_attributes_and_paths_are_copied_during_the_call) {
    aio_ctx *ctx = make_ctx();
    close(temp_file("file", NULL, 0));
    char path[512], name[] = NAME, value[] = "value", back[16] = {0};
    struct call call = {0};
    snprintf(path, sizeof path, "%s", temp_path("file"));
    ID(aio_submit_setxattr(ctx, path, name, value, 5, 0, NULL, on_call, &call));
    memset(path, 'x', 20);
    memset(name, 'y', sizeof name - 1);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(getxattr(temp_path("file"), NAME, back, sizeof back), 5);
    CHECK_STR(back, "value");
    end_ctx(ctx);
}

HARNESS_MAIN
