#include "support.hpp"

#include <aio/operations.hpp>
#include <aio/scope.hpp>

#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <optional>
#include <string>
#include <vector>

namespace {

using aio::context;
using aio::task;

/// Operations of newer kernels say that they are not there.
template <class T> bool is_missing(const aio::result<T> &result) {
    return result.error() == std::errc::operation_not_supported;
}

TEST(operations, files_are_opened_written_read_and_flushed) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("file"), O_CREAT | O_RDWR, 0600))
                .value();
        EXPECT_EQ((co_await aio::write(ctx, file, "0123456789", 0)).value(), 10u);
        std::array<char, 4> some{};
        EXPECT_EQ((co_await aio::read(ctx, file, some, 3)).value(), 4u);
        EXPECT_EQ(std::string(some.data(), 4), "3456");
        std::array<char, 2> first{};
        std::array<char, 3> second{};
        const std::array<iovec, 2> vectors{iovec{first.data(), first.size()},
                                           iovec{second.data(), second.size()}};
        EXPECT_EQ((co_await aio::readv(ctx, file, vectors, 0)).value(), 5u);
        EXPECT_EQ(std::string(second.data(), 3), "234");
        EXPECT_EQ((co_await aio::writev(ctx, file, vectors, 10)).value(), 5u);
        EXPECT_EQ((co_await aio::write_all(ctx, file, "end", 15)).value(), 3u);
        std::string whole(18, ' ');
        EXPECT_EQ((co_await aio::read_exact(ctx, file, whole, 0)).value(), 18u);
        EXPECT_EQ(whole, "012345678901234end");
        EXPECT_EQ((co_await aio::read_exact(ctx, file, whole, 1)).error(), aio::errc::eof);
        EXPECT_TRUE(co_await aio::fsync(ctx, file, AIO_FSYNC_DATASYNC));
        open_how how{};
        how.flags = O_RDONLY;
        auto again = co_await aio::openat2(ctx, AT_FDCWD, folder.path("file"), how, sizeof how);
        EXPECT_EQ((co_await aio::read(ctx, again.value(), some, 15)).value(), 3u);
    };
    ctx.run(all());
}

TEST(operations, space_and_advice) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("file"), O_CREAT | O_RDWR, 0600))
                .value();
        EXPECT_TRUE(co_await aio::ftruncate(ctx, file, 8192));
        EXPECT_TRUE(co_await aio::fallocate(ctx, file, 0, 0, 16384));
        EXPECT_TRUE(co_await aio::sync_file_range(ctx, file, 0, 0, 0));
        EXPECT_TRUE(co_await aio::fadvise(ctx, file, 0, 0, POSIX_FADV_SEQUENTIAL));
        struct statx about{};
        EXPECT_TRUE(co_await aio::statx(ctx, AT_FDCWD, folder.path("file"), 0, STATX_SIZE, about));
        EXPECT_EQ(about.stx_size, 16384u);
        void *page =
            ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EXPECT_TRUE(co_await aio::madvise(ctx, page, 4096, MADV_DONTNEED));
        ::munmap(page, 4096);
    };
    ctx.run(all());
}

TEST(operations, names_are_made_changed_and_removed) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        EXPECT_TRUE(co_await aio::mkdirat(ctx, AT_FDCWD, folder.path("dir")));
        static_cast<void>(
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("dir/a"), O_CREAT | O_RDWR, 0600))
                .value());
        EXPECT_TRUE(co_await aio::renameat(ctx, AT_FDCWD, folder.path("dir/a"), AT_FDCWD,
                                           folder.path("dir/b")));
        EXPECT_TRUE(co_await aio::linkat(ctx, AT_FDCWD, folder.path("dir/b"), AT_FDCWD,
                                         folder.path("dir/c")));
        EXPECT_TRUE(co_await aio::symlinkat(ctx, "b", AT_FDCWD, folder.path("dir/d")));
        EXPECT_EQ((co_await aio::mkdirat(ctx, AT_FDCWD, folder.path("dir"))).error(),
                  std::errc::file_exists);
        for (const char *name : {"dir/b", "dir/c", "dir/d"})
            EXPECT_TRUE(co_await aio::unlinkat(ctx, AT_FDCWD, folder.path(name)));
        EXPECT_TRUE(co_await aio::unlinkat(ctx, AT_FDCWD, folder.path("dir"), AT_REMOVEDIR));
    };
    ctx.run(all());
}

TEST(operations, extended_attributes) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        const std::string path = folder.path("file");
        auto file = (co_await aio::openat(ctx, AT_FDCWD, path, O_CREAT | O_RDWR, 0600)).value();
        const auto set = co_await aio::setxattr(ctx, path, "user.one", "1st");
        if (is_missing(set))
            co_return; // not on this file system
        set.value();
        EXPECT_TRUE(co_await aio::fsetxattr(ctx, file, "user.two", "2nd"));
        std::array<char, 8> value{};
        EXPECT_EQ((co_await aio::fgetxattr(ctx, file, "user.one", value)).value(), 3u);
        EXPECT_EQ(std::string(value.data(), 3), "1st");
        EXPECT_EQ((co_await aio::getxattr(ctx, path, "user.two", value)).value(), 3u);
        EXPECT_EQ(std::string(value.data(), 3), "2nd");
    };
    ctx.run(all());
}

TEST(operations, sockets_are_made_bound_connected_and_shut_down) {
    context ctx;
    const auto all = [&]() -> task<> {
        auto listening = (co_await aio::make_socket(ctx, AF_INET, SOCK_STREAM)).value();
        const int one = 1;
        EXPECT_TRUE(co_await aio::setsockopt(ctx, listening, SOL_SOCKET, SO_REUSEADDR,
                                             aio::bytes(&one, sizeof one)));
        int value = 0;
        EXPECT_EQ((co_await aio::getsockopt(ctx, listening, SOL_SOCKET, SO_REUSEADDR,
                                            aio::mutable_bytes(&value, sizeof value)))
                      .value(),
                  sizeof value);
        EXPECT_EQ(value, 1);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto *plain = reinterpret_cast<sockaddr *>(&address);
        socklen_t size = sizeof address;
        EXPECT_TRUE(co_await aio::bind(ctx, listening, plain, size));
        EXPECT_TRUE(co_await aio::listen(ctx, listening));
        ::getsockname(listening.number(), plain, &size);
        auto client = (co_await aio::make_socket(ctx, AF_INET, SOCK_STREAM)).value();
        EXPECT_TRUE(co_await aio::connect(ctx, client, plain, size));
        sockaddr_in peer{};
        socklen_t peer_size = sizeof peer;
        auto server = (co_await aio::accept(ctx, listening, 0, reinterpret_cast<sockaddr *>(&peer),
                                            &peer_size))
                          .value();
        EXPECT_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));

        std::string text = "message";
        iovec vector{text.data(), text.size()};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        EXPECT_EQ((co_await aio::sendmsg(ctx, client, message)).value(), 7u);
        EXPECT_EQ((co_await aio::poll(ctx, server, POLLIN)).value() & POLLIN, unsigned{POLLIN});
        EXPECT_EQ((co_await aio::socket_inq(ctx, server)).value(), 7u);
        EXPECT_EQ((co_await aio::recvmsg(ctx, server, message)).value(), 7u);
        EXPECT_TRUE(co_await aio::shutdown(ctx, client, SHUT_WR));
        EXPECT_EQ((co_await aio::recv(ctx, server, text)).value(), 0u);
        EXPECT_EQ((co_await aio::socket_outq(ctx, server)).value(), 0u);
        const auto sent = co_await aio::sendmsg_zc(ctx, server, message);
        EXPECT_TRUE(is_missing(sent) || sent == 7u);
    };
    ctx.run(all());
}

TEST(operations, data_moves_between_files_pipes_and_sockets) {
    context ctx;
    support::temp_folder folder;
    auto [a, b] = support::socket_pair();
    const auto all = [&, a = a, b = b]() -> task<> {
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("file"), O_CREAT | O_RDWR, 0600))
                .value();
        (co_await aio::write_all(ctx, file, "0123456789", 0)).value();
        EXPECT_EQ((co_await aio::sendfile(ctx, a, file.number(), 2, 5)).value(), 5u);
        std::array<char, 16> text{};
        EXPECT_EQ((co_await aio::recv(ctx, b, text)).value(), 5u);
        EXPECT_EQ(std::string(text.data()), "23456");
        auto first = (co_await aio::pipe::open(ctx)).value();
        auto second = (co_await aio::pipe::open(ctx)).value();
        EXPECT_EQ((co_await aio::splice(ctx, file.number(), 0, first.writer, AIO_OFFSET_CURRENT, 4))
                      .value(),
                  4u);
        EXPECT_EQ((co_await aio::tee(ctx, first.reader.number(), second.writer, 4)).value(), 4u);
        EXPECT_EQ((co_await aio::read(ctx, second.reader, text)).value(), 4u);
    };
    ctx.run(all());
    ::close(a);
    ::close(b);
}

TEST(operations, registered_buffers) {
    context ctx;
    support::temp_folder folder;
    std::vector<char> memory(4096);
    const iovec vector{memory.data(), memory.size()};
    aio_buffers_options table{};
    table.size = sizeof table;
    table.count = 1;
    table.iov = &vector;
    ASSERT_EQ(aio_buffers_register(ctx.native(), &table), 0);
    const auto all = [&]() -> task<> {
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("file"), O_CREAT | O_RDWR, 0600))
                .value();
        std::fill_n(memory.begin(), 10, 'x');
        const aio::bytes ten(memory.data(), 10);
        EXPECT_EQ((co_await aio::write_fixed(ctx, file, ten, 0, 0)).value(), 10u);
        EXPECT_EQ(
            (co_await aio::read_fixed(ctx, file, aio::mutable_bytes(memory.data() + 100, 20), 0, 0))
                .value(),
            10u);
        EXPECT_EQ(memory[109], 'x');
        const std::array<iovec, 1> part{iovec{memory.data(), 10}};
        EXPECT_EQ((co_await aio::writev_fixed(ctx, file, part, 10, 0)).value(), 10u);
        EXPECT_EQ((co_await aio::readv_fixed(ctx, file, part, 15, 0)).value(), 5u);
    };
    ctx.run(all());
}

TEST(operations, the_table_of_descriptors_is_filled_and_read) {
    context ctx;
    auto [a, b] = support::socket_pair();
    aio_files_options table{};
    table.size = sizeof table;
    table.count = 4;
    ASSERT_EQ(aio_files_register(ctx.native(), &table), 0);
    const auto all = [&, a = a, b = b]() -> task<> {
        const std::array<int32_t, 2> fds{a, b};
        EXPECT_EQ((co_await aio::files_update(ctx, 1, fds)).value(), 2u);
        EXPECT_EQ((co_await aio::send(ctx, aio::file_ref::slot(1), "x")).value(), 1u);
        std::array<char, 4> text{};
        const auto made = co_await aio::files_install(ctx, 2);
        if (is_missing(made))
            co_return;
        EXPECT_EQ((co_await aio::recv(ctx, made.value(), text)).value(), 1u);
    };
    ctx.run(all());
    ::close(a);
    ::close(b);
}

TEST(operations, futexes_wait_and_wake) {
    context ctx;
    alignas(4) uint32_t word = 1;
    constexpr uint32_t flags = 2 | 128; // FUTEX2_SIZE_U32 and _PRIVATE, which headers may lack
    const auto all = [&]() -> task<> {
        const auto other = co_await aio::futex_wait(ctx, word, 2, flags);
        if (is_missing(other))
            co_return;
        EXPECT_EQ(other.error(), std::errc::resource_unavailable_try_again);
        EXPECT_EQ((co_await aio::futex_wake(ctx, word, 1, flags)).value(), 0u);
        EXPECT_EQ((co_await aio::futex_wait(ctx, word, 1, flags).timeout(2ms)).error(),
                  aio::errc::deadline);
        futex_waitv entry{};
        entry.uaddr = reinterpret_cast<uintptr_t>(&word);
        entry.val = 2;
        entry.flags = flags;
        const auto several = co_await aio::futex_waitv(ctx, std::span(&entry, 1));
        EXPECT_EQ(several.error(), std::errc::resource_unavailable_try_again);
    };
    ctx.run(all());
}

TEST(operations, the_rest) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    io_uring_sqe raw_nop{};
    raw_nop.opcode = IORING_OP_NOP;
    const auto all = [&, a = a, b = b]() -> task<> {
        EXPECT_TRUE(co_await aio::nop(ctx));
        const auto raw = co_await aio::raw(ctx, raw_nop);
        EXPECT_TRUE(is_missing(raw) || raw == 0);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = b;
        EXPECT_TRUE(co_await aio::epoll_ctl(ctx, epoll, EPOLL_CTL_ADD, b, event));
        support::write_text(a, "x");
        std::array<epoll_event, 2> events{};
        const auto ready = co_await aio::epoll_wait(ctx, epoll, events);
        EXPECT_TRUE(is_missing(ready) || ready == std::size_t{1});
        const auto inq = co_await aio::uring_cmd(ctx, b, 0 /* SIOCINQ */);
        EXPECT_TRUE(is_missing(inq) || inq == 1);
        const pid_t child = ::fork();
        if (child == 0)
            ::_exit(7);
        siginfo_t info{};
        const auto ended =
            co_await aio::waitid(ctx, P_PID, static_cast<uint32_t>(child), &info, WEXITED);
        if (is_missing(ended))
            ::waitpid(child, nullptr, 0);
        else
            EXPECT_EQ(info.si_status, 7);
        EXPECT_TRUE(co_await aio::sleep_until(ctx, std::chrono::steady_clock::now() + 1ms));
        auto readable = aio::poll_multishot(ctx, b, POLLIN);
        EXPECT_EQ((co_await readable.next()).value() & POLLIN, unsigned{POLLIN});
    };
    ctx.run(all());
    ::close(epoll);
    ::close(a);
    ::close(b);
}

TEST(operations, a_yield_lets_others_go_on) {
    context ctx;
    std::string order;
    const auto one = [&](char name) -> task<> {
        for (int i = 0; i < 3; i++) {
            order += name;
            EXPECT_TRUE(co_await aio::yield(ctx));
        }
    };
    struct {
        void set_value() noexcept {}
        void set_exception() noexcept {}
    } ignored;
    aio::detail::strand_group group(ctx.where());
    group.start(one('a'), ignored);
    group.start(one('b'), ignored);
    ctx.run().value();
    EXPECT_EQ(order, "ababab");
}

TEST(operations, a_slot_goes_to_another_context) {
    context one;
    context two;
    auto [a, b] = support::socket_pair();
    aio_files_options table{};
    table.size = sizeof table;
    table.count = 4;
    ASSERT_EQ(aio_files_register(one.native(), &table), 0);
    ASSERT_EQ(aio_files_register(two.native(), &table), 0);
    const int32_t fd = b;
    ASSERT_EQ(aio_files_update(one.native(), 0, &fd, 1), 1);
    // Without a ring it has arrived when the other context has had a turn.
    std::optional<bool> is_sent;
    const auto sends = [&]() -> task<> {
        const auto sent = co_await aio::msg_ring_fd(one, two.native(), 0);
        EXPECT_TRUE(sent || is_missing(sent)) << sent.error().message();
        is_sent = sent.has_value();
    };
    aio::scope sending(one);
    sending.spawn(sends());
    while (!is_sent) {
        one.run_once(1ms).value();
        two.run_once(0ms).value();
    }
    if (*is_sent) {
        const auto receives = [&, a = a]() -> task<> {
            auto incoming = aio::msg_receive_fd(two);
            aio::descriptor slot = (co_await incoming.next()).value();
            EXPECT_TRUE(slot.is_slot());
            support::write_text(a, "over");
            std::array<char, 8> text{};
            EXPECT_EQ((co_await aio::recv(two, slot, text)).value(), 4u);
        };
        two.run(receives());
    }
    ::close(a);
    ::close(b);
}

} // namespace
