// endpoint: the address of a socket, of IPv4, IPv6 or a unix socket; parsed from text and printed.
//
//     auto here = aio::endpoint::parse("127.0.0.1:8080");      // result<endpoint>
//     auto any = aio::endpoint::any_v6(8080);
//     auto local = aio::endpoint::unix_path("/run/service");
#pragma once

#include <aio/result.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace aio {

class endpoint {
  public:
    /// No address: of family AF_UNSPEC.
    endpoint() noexcept : size_(0) { storage_.plain.sa_family = AF_UNSPEC; }

    /// As a call of the system gives it; longer ones are cut.
    endpoint(const sockaddr *address, socklen_t size) noexcept : endpoint() {
        size_ = size < sizeof storage_ ? size : static_cast<socklen_t>(sizeof storage_);
        std::memcpy(&storage_, address, size_);
    }

    static endpoint v4(uint32_t address, uint16_t port) noexcept {
        endpoint made;
        made.storage_.v4 = {};
        made.storage_.v4.sin_family = AF_INET;
        made.storage_.v4.sin_port = htons(port);
        made.storage_.v4.sin_addr.s_addr = htonl(address);
        made.size_ = sizeof(sockaddr_in);
        return made;
    }
    static endpoint v6(const in6_addr &address, uint16_t port, uint32_t scope_id = 0) noexcept {
        endpoint made;
        made.storage_.v6 = {};
        made.storage_.v6.sin6_family = AF_INET6;
        made.storage_.v6.sin6_port = htons(port);
        made.storage_.v6.sin6_addr = address;
        made.storage_.v6.sin6_scope_id = scope_id;
        made.size_ = sizeof(sockaddr_in6);
        return made;
    }
    static endpoint any_v4(uint16_t port) noexcept { return v4(INADDR_ANY, port); }
    static endpoint any_v6(uint16_t port) noexcept { return v6(in6addr_any, port); }
    static endpoint loopback_v4(uint16_t port) noexcept { return v4(INADDR_LOOPBACK, port); }
    static endpoint loopback_v6(uint16_t port) noexcept { return v6(in6addr_loopback, port); }

    /// A unix socket: a path, or with '\0' first a name of the abstract kind. Fails with
    /// std::errc::filename_too_long above 107 bytes.
    static result<endpoint> unix_path(std::string_view path) noexcept {
        endpoint made;
        made.storage_.local = {};
        made.storage_.local.sun_family = AF_UNIX;
        const bool is_abstract = !path.empty() && path.front() == '\0';
        if (path.size() + (is_abstract ? 0 : 1) > sizeof made.storage_.local.sun_path)
            return unexpected(std::errc::filename_too_long);
        if (!path.empty())
            std::memcpy(made.storage_.local.sun_path, path.data(), path.size());
        made.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                            (is_abstract ? 0 : 1));
        return made;
    }

    /// "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract"; numbers alone, no names. An
    /// address without a port has port 0.
    static result<endpoint> parse(std::string_view text) noexcept;

    int family() const noexcept { return storage_.plain.sa_family; }
    bool is_v4() const noexcept { return family() == AF_INET; }
    bool is_v6() const noexcept { return family() == AF_INET6; }
    bool is_unix() const noexcept { return family() == AF_UNIX; }

    /// 0 of what has none.
    uint16_t port() const noexcept {
        return is_v4()   ? ntohs(storage_.v4.sin_port)
               : is_v6() ? ntohs(storage_.v6.sin6_port)
                         : uint16_t{0};
    }
    void set_port(uint16_t port) noexcept {
        if (is_v4())
            storage_.v4.sin_port = htons(port);
        else if (is_v6())
            storage_.v6.sin6_port = htons(port);
    }

    /// As parse() reads it.
    std::string to_string() const;

    const sockaddr *data() const noexcept { return &storage_.plain; }
    sockaddr *data() noexcept { return &storage_.plain; }
    socklen_t size() const noexcept { return size_; }
    static constexpr socklen_t capacity() noexcept { return sizeof(sockaddr_storage); }
    /// After a call of the system has written it.
    void resize(socklen_t size) noexcept { size_ = size < capacity() ? size : capacity(); }

    friend bool operator==(const endpoint &a, const endpoint &b) noexcept {
        return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
    }

  private:
    union {
        sockaddr plain;
        sockaddr_in v4;
        sockaddr_in6 v6;
        sockaddr_un local;
        sockaddr_storage any;
    } storage_{.any = {}};
    socklen_t size_;
};

namespace detail {

/// A whole decimal number of a port.
inline result<uint16_t> parse_port(std::string_view text) noexcept {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size())
        return unexpected(std::errc::invalid_argument);
    return port;
}

/// inet_pton wants a terminator.
template <class Address> bool parse_address(int family, std::string_view text, Address &out) {
    char copy[INET6_ADDRSTRLEN] = {};
    if (text.size() >= sizeof copy)
        return false;
    std::memcpy(copy, text.data(), text.size());
    return ::inet_pton(family, copy, &out) == 1;
}

} // namespace detail

inline result<endpoint> endpoint::parse(std::string_view text) noexcept {
    if (text.starts_with("unix:")) {
        text.remove_prefix(5);
        if (!text.starts_with('@'))
            return unix_path(text);
        std::string name(text);
        name[0] = '\0';
        return unix_path(name);
    }
    const bool has_brackets = text.starts_with('[');
    const std::size_t bracket = has_brackets ? text.find(']') : std::string_view::npos;
    std::string_view address = text;
    std::string_view port = "0";
    if (has_brackets) {
        if (bracket == std::string_view::npos)
            return unexpected(std::errc::invalid_argument);
        address = text.substr(1, bracket - 1);
        const std::string_view rest = text.substr(bracket + 1);
        if (!rest.empty() && rest.front() != ':')
            return unexpected(std::errc::invalid_argument);
        if (!rest.empty())
            port = rest.substr(1);
    } else if (const std::size_t colon = text.find(':');
               colon != std::string_view::npos && colon == text.rfind(':')) {
        address = text.substr(0, colon);
        port = text.substr(colon + 1);
    }
    const result<uint16_t> number = detail::parse_port(port);
    if (!number)
        return unexpected(number.error());
    in_addr four{};
    in6_addr six{};
    if (!has_brackets && detail::parse_address(AF_INET, address, four))
        return v4(ntohl(four.s_addr), *number);
    if (detail::parse_address(AF_INET6, address, six))
        return v6(six, *number);
    return unexpected(std::errc::invalid_argument);
}

inline std::string endpoint::to_string() const {
    char text[INET6_ADDRSTRLEN] = {};
    if (is_v4()) {
        ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text, sizeof text);
        return std::string(text) + ':' + std::to_string(port());
    }
    if (is_v6()) {
        ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text, sizeof text);
        return '[' + std::string(text) + "]:" + std::to_string(port());
    }
    if (!is_unix())
        return "none";
    const std::size_t length = size_ - offsetof(sockaddr_un, sun_path);
    if (size_ <= offsetof(sockaddr_un, sun_path))
        return "unix:";
    const char *path = storage_.local.sun_path;
    if (path[0] == '\0')
        return "unix:@" + std::string(path + 1, length - 1);
    return "unix:" + std::string(path, ::strnlen(path, length));
}

} // namespace aio
