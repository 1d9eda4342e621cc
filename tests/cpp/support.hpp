// What the C++ tests share: a context, sockets and pipes, and assertions about results.
#pragma once

#include <aio/context.hpp>
#include <aio/descriptor.hpp>
#include <aio/time.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;

namespace support {

/// Two connected stream sockets of the unix kind.
inline std::array<int, 2> socket_pair() {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0)
        throw std::runtime_error("socketpair");
    return fds;
}

/// A listener on a free port of 127.0.0.1, and its address.
inline std::pair<int, sockaddr_in> listener() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr *>(&address), size) != 0 ||
        ::listen(fd, 64) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size) != 0)
        throw std::runtime_error("listener");
    return {fd, address};
}

/// Gives `value` after so long.
inline aio::task<int> after(aio::context &ctx, std::chrono::milliseconds time, int value) {
    (co_await aio::sleep_for(ctx, time)).value();
    co_return value;
}

inline int connected_to(const sockaddr_in &address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
        throw std::runtime_error("connect");
    return fd;
}

inline void write_text(int fd, const std::string &text) {
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

/// A folder of its own, removed with what is in it.
class temp_folder {
  public:
    temp_folder() {
        std::string name = "/tmp/aio_cpp_XXXXXX";
        if (::mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    ~temp_folder() {
        const std::string command = "rm -rf '" + path_ + "'";
        static_cast<void>(std::system(command.c_str()) == 0);
    }
    std::string path(const std::string &name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

/// Counts what lives, and what ended.
struct counted {
    explicit counted(int &alive) : alive(&alive) { ++*this->alive; }
    counted(counted &&other) noexcept : alive(std::exchange(other.alive, nullptr)) {}
    counted &operator=(counted &&) = delete;
    ~counted() {
        if (alive != nullptr)
            --*alive;
    }
    int *alive;
};

inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

/// How much slower than usual tests run (sanitizers, valgrind).
inline int slow() {
    const char *text = std::getenv("AIO_TEST_SLOW");
    return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

} // namespace support
