// Sockets as types: socket, and what has more of its own, tcp_listener, udp_socket, unix_socket.
//
//     auto listener = aio::tcp_listener::bind(ctx, aio::endpoint::any_v6(8080)).value();
//     auto incoming = listener.accept_multishot();
//     while (auto connection = co_await incoming.next())
//         scope.spawn(talk(aio::socket(ctx, std::move(*connection))));
//
//     const aio::endpoint at = aio::endpoint::parse("127.0.0.1:80").value();
//     auto client = co_await aio::socket::connect(ctx, at);
//     co_await client->send_all("GET / HTTP/1.0\r\n\r\n").timeout(5s);
//
// A socket owns its descriptor and refers to its context, which outlives it. Its operations are
// those of net.hpp; stream.hpp has more. Options are set at once, by name (socket_options.hpp):
// `socket.set(aio::no_delay, true)`.
#pragma once

#include <aio/buffers.hpp>
#include <aio/endpoint.hpp>
#include <aio/net.hpp>
#include <aio/socket_options.hpp>
#include <aio/task.hpp>
#include <aio/zero_copy.hpp>

#include <utility>

namespace aio {

namespace detail {

inline result<void> last_call(int status) noexcept {
    if (status < 0)
        return unexpected::from_status(-errno);
    return {};
}

} // namespace detail

/// A socket of any kind.
class socket {
  public:
    socket() noexcept = default;
    socket(context &ctx, descriptor owned) noexcept : ctx_(&ctx), owned_(std::move(owned)) {}

    /// An operation that gives a descriptor, for `aio::socket(ctx, ...)`.
    static auto open(context &ctx, int domain, int type, int protocol = 0) noexcept {
        return make_socket(ctx, domain, type, protocol);
    }
    /// A stream to an address.
    static task<result<socket>> connect(context &ctx, endpoint to) {
        auto made = co_await make_socket(ctx, to.family(), SOCK_STREAM);
        if (!made)
            co_return unexpected(made.error());
        socket stream(ctx, std::move(*made));
        const auto connected = co_await aio::connect(ctx, stream, to.data(), to.size());
        if (!connected)
            co_return unexpected(connected.error());
        co_return stream;
    }

    auto recv(const mutable_bytes &room) noexcept { return aio::recv(get_context(), owned_, room); }
    auto recv(const mutable_bytes &room, int flags) noexcept {
        return aio::recv(get_context(), owned_, room, flags);
    }
    auto send(const bytes &data) noexcept { return aio::send(get_context(), owned_, data); }
    auto send(const bytes &data, int flags) noexcept {
        return aio::send(get_context(), owned_, data, flags);
    }
    auto recv_exact(const mutable_bytes &room) noexcept {
        return aio::recv_exact(get_context(), owned_, room);
    }
    auto send_all(const bytes &data, int flags = 0) noexcept {
        return aio::send_all(get_context(), owned_, data, flags);
    }
    /// What read_exact, write_all and the others of stream.hpp are made of.
    auto read_some(const mutable_bytes &room) noexcept {
        return aio::recv(get_context(), owned_, room);
    }
    auto write_some(const bytes &data) noexcept { return aio::send(get_context(), owned_, data); }
    auto writev_some(std::span<const iovec> parts) noexcept {
        return aio::sendv(get_context(), owned_, parts);
    }
    auto send_zc(const bytes &data, int flags = 0) noexcept {
        return aio::send_zc(get_context(), owned_, data, flags);
    }
    auto recvmsg(msghdr &message, int flags = 0) noexcept {
        return aio::recvmsg(get_context(), owned_, message, flags);
    }
    auto sendmsg(const msghdr &message, int flags = 0) noexcept {
        return aio::sendmsg(get_context(), owned_, message, flags);
    }
    auto recv_multishot(const buffer_pool &pool, int flags = 0) {
        return aio::recv_multishot(get_context(), owned_, pool, flags);
    }
    auto shutdown(int how = SHUT_WR) noexcept { return aio::shutdown(get_context(), owned_, how); }
    /// Closes, and tells how that went. Without it the destructor closes.
    auto close() noexcept {
        return detail::submits<detail::gives_nothing, &detail::submit_closing>(
            get_context(), detail::by_address<detail::closing>{{std::move(owned_)}});
    }

    /// Sets an option, at once. What is in a slot has set_option instead; here it is
    /// std::errc::bad_file_descriptor.
    template <class T>
    result<void> set(const socket_option<T> &option,
                     const std::type_identity_t<T> &value) noexcept {
        return detail::set_option_now(number(), option, value);
    }
    /// Asks for one, at once.
    template <class T> result<T> get(const socket_property<T> &option) const {
        return detail::get_option_now(number(), option);
    }
    result<endpoint> local_endpoint() const noexcept { return asked(&::getsockname); }
    result<endpoint> peer_endpoint() const noexcept { return asked(&::getpeername); }

    context &get_context() const noexcept {
        AIO_DETAIL_EXPECTS(ctx_ != nullptr, "aio: a socket that was made without a context");
        return *ctx_;
    }
    /// The descriptor, as an argument of operations; it stays the socket's.
    operator file_ref() const noexcept { return owned_; }
    int native() const noexcept { return owned_.number(); }
    explicit operator bool() const noexcept { return static_cast<bool>(owned_); }
    /// Gives the descriptor up.
    descriptor release() noexcept { return std::move(owned_); }

  protected:
    result<void> bind_now(const endpoint &to) noexcept {
        return detail::last_call(::bind(native(), to.data(), to.size()));
    }
    static result<socket> open_now(context &ctx, int domain, int type) noexcept {
        const int fd = ::socket(domain, type | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return unexpected::from_status(-errno);
        return socket(ctx, descriptor(ctx, fd));
    }

  private:
    /// For calls of the system, which know no slots.
    int number() const noexcept { return owned_.is_slot() ? -1 : owned_.number(); }
    result<endpoint> asked(int (*call)(int, sockaddr *, socklen_t *)) const noexcept {
        endpoint answer;
        socklen_t size = endpoint::capacity();
        if (call(number(), answer.data(), &size) != 0)
            return unexpected::from_status(-errno);
        answer.resize(size);
        return answer;
    }

    context *ctx_ = nullptr;
    descriptor owned_;
};

struct listen_options {
    int backlog = 4096;
    bool reuse_port = false; ///< Several sockets share the address: one per context, say.
    bool v6_only = false;    ///< An address of IPv6 does not take IPv4 as well.
};

/// Takes connections of TCP, or of a unix stream socket.
class tcp_listener : public socket {
  public:
    explicit tcp_listener(socket bound) noexcept : socket(std::move(bound)) {}

    /// At once: these calls wait for nothing.
    static result<tcp_listener> bind(context &ctx, const endpoint &at,
                                     const listen_options &options = {}) {
        return bind(ctx, at, options, [](socket &) noexcept { return result<void>(); });
    }
    /// The same; `prepare`, which returns a result<void>, sets what must be set before:
    /// `[](aio::socket &s) { return s.set(aio::receive_buffer, 1 << 20); }`.
    template <class Prepare>
        requires std::is_invocable_r_v<result<void>, Prepare &, socket &>
    static result<tcp_listener> bind(context &ctx, const endpoint &at,
                                     const listen_options &options, Prepare prepare) {
        auto made = open_now(ctx, at.family(), SOCK_STREAM);
        if (!made)
            return unexpected(made.error());
        tcp_listener listener(std::move(*made));
        result<void> done;
        if (!at.is_unix())
            done = listener.set(aio::reuse_address, true);
        if (done && options.reuse_port)
            done = listener.set(aio::reuse_port, true);
        if (done && at.is_v6())
            done = listener.set(aio::v6_only, options.v6_only);
        if (done)
            done = prepare(listener);
        if (done)
            done = listener.bind_now(at);
        if (done)
            done = detail::last_call(::listen(listener.native(), options.backlog));
        if (!done)
            return unexpected(done.error());
        return listener;
    }

    /// The next connection.
    task<result<socket>> accept() {
        auto made = co_await aio::accept(get_context(), *this);
        if (!made)
            co_return unexpected(made.error());
        co_return socket(get_context(), std::move(*made));
    }
    /// One after another: each item is a descriptor, for `aio::socket(ctx, std::move(*item))`.
    auto accept_multishot() { return aio::accept_multishot(get_context(), *this); }
};

/// A datagram, and where it came from.
struct datagram {
    std::size_t size;
    endpoint from;
};

/// Datagrams, of UDP or of a unix socket.
class udp_socket : public socket {
  public:
    explicit udp_socket(socket opened) noexcept : socket(std::move(opened)) {}

    /// At once. `is_shared`: other sockets may have the same address (reuse_port).
    static result<udp_socket> bind(context &ctx, const endpoint &at,
                                   bool is_shared = false) noexcept {
        auto made = open_now(ctx, at.family(), SOCK_DGRAM);
        if (!made)
            return unexpected(made.error());
        udp_socket bound(std::move(*made));
        result<void> done;
        if (is_shared)
            done = bound.set(aio::reuse_port, true);
        if (done)
            done = bound.bind_now(at);
        if (!done)
            return unexpected(done.error());
        return bound;
    }

    task<result<datagram>> recv_from(mutable_bytes room, int flags = 0) {
        datagram got{};
        iovec vector{room.data(), room.size()};
        msghdr message{};
        message.msg_name = got.from.data();
        message.msg_namelen = endpoint::capacity();
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        const auto count = co_await recvmsg(message, flags);
        if (!count)
            co_return unexpected(count.error());
        got.size = *count;
        got.from.resize(message.msg_namelen);
        co_return got;
    }
    task<result<std::size_t>> send_to(bytes data, endpoint to, int flags = 0) {
        iovec vector{const_cast<std::byte *>(data.data()), data.size()};
        msghdr message{};
        message.msg_name = to.data();
        message.msg_namelen = to.size();
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        co_return co_await sendmsg(message, flags);
    }
};

/// Two connected streams, or a connection, of the unix kind.
class unix_socket : public socket {
  public:
    explicit unix_socket(socket opened) noexcept : socket(std::move(opened)) {}

    static result<std::pair<unix_socket, unix_socket>> pair(context &ctx,
                                                            int type = SOCK_STREAM) noexcept {
        int fds[2];
        if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0)
            return unexpected::from_status(-errno);
        return std::pair(unix_socket(socket(ctx, descriptor(ctx, fds[0]))),
                         unix_socket(socket(ctx, descriptor(ctx, fds[1]))));
    }
};

} // namespace aio
