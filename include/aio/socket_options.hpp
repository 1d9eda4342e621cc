// Socket options by name and with their types.
//
//     connection.set(aio::no_delay, true).value();              // at once: nothing waits for them
//     auto room = listener.get(aio::receive_buffer);            // result<int>
//     socket.set(aio::linger, 0s);                              // close resets the connection
//     socket.set(aio::linger, std::nullopt);                    // as it was
//
// set() and get() are members of socket. On a slot of the context's table, where no call of the
// system reaches, and in chains, they are operations: `co_await set_option(ctx, slot, no_delay,
// true)`. An option that is not here is one of your own:
// `inline constexpr aio::socket_option<int> busy_poll{SOL_SOCKET, SO_BUSY_POLL};`
#pragma once

#include <aio/operation.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <string>

namespace aio {

/// The name of what can be asked of a socket, and its type.
template <class T> struct socket_property {
    using value_type = T;
    int level;
    int name;
};

/// And of what can be set as well.
template <class T> struct socket_option : socket_property<T> {
    constexpr socket_option(int level, int name) noexcept : socket_property<T>{level, name} {}
};

// ---- of any socket ----

inline constexpr socket_option<bool> reuse_address{SOL_SOCKET, SO_REUSEADDR};
/// Several sockets share an address, and the kernel shares out what comes among them.
inline constexpr socket_option<bool> reuse_port{SOL_SOCKET, SO_REUSEPORT};
inline constexpr socket_option<bool> keep_alive{SOL_SOCKET, SO_KEEPALIVE};
/// How long a close waits in the background until what was sent has arrived; 0 resets the
/// connection. None: as long as it takes.
inline constexpr socket_option<std::optional<std::chrono::seconds>> linger{SOL_SOCKET, SO_LINGER};
/// Bytes; the kernel takes twice as much for its own needs, says so when asked, and has a limit
/// (net.core.rmem_max, wmem_max). Before bind and connect, for a window to fit.
inline constexpr socket_option<int> receive_buffer{SOL_SOCKET, SO_RCVBUF};
inline constexpr socket_option<int> send_buffer{SOL_SOCKET, SO_SNDBUF};
/// How many bytes must be there before a receive completes, or a poll says so.
inline constexpr socket_option<int> receive_low_water{SOL_SOCKET, SO_RCVLOWAT};
inline constexpr socket_option<bool> broadcast_allowed{SOL_SOCKET, SO_BROADCAST};
inline constexpr socket_option<int> priority{SOL_SOCKET, SO_PRIORITY};
/// For root: marks of packets, for routing and filters.
inline constexpr socket_option<int> packet_mark{SOL_SOCKET, SO_MARK};
/// The processor that the packets of this socket come to.
inline constexpr socket_option<int> incoming_cpu{SOL_SOCKET, SO_INCOMING_CPU};
/// The name of a network interface; empty, any.
inline constexpr socket_option<std::string> bound_device{SOL_SOCKET, SO_BINDTODEVICE};
/// Unix sockets: received messages carry who has sent them.
inline constexpr socket_option<bool> pass_credentials{SOL_SOCKET, SO_PASSCRED};
/// Unix sockets: who has connected.
inline constexpr socket_property<ucred> peer_credentials{SOL_SOCKET, SO_PEERCRED};
/// An error that nobody was told of; asking clears it.
inline constexpr socket_property<std::error_code> pending_error{SOL_SOCKET, SO_ERROR};
inline constexpr socket_property<bool> is_listening{SOL_SOCKET, SO_ACCEPTCONN};
inline constexpr socket_property<int> address_family{SOL_SOCKET, SO_DOMAIN};
inline constexpr socket_property<int> socket_kind{SOL_SOCKET, SO_TYPE};

// ---- of TCP ----

/// Small pieces are sent at once, and do not wait for an answer to the ones before.
inline constexpr socket_option<bool> no_delay{IPPROTO_TCP, TCP_NODELAY};
/// Until it is unset, only full segments are sent.
inline constexpr socket_option<bool> cork{IPPROTO_TCP, TCP_CORK};
inline constexpr socket_option<bool> quick_ack{IPPROTO_TCP, TCP_QUICKACK};
/// How long a connection is silent before the first probe, and the time between probes.
inline constexpr socket_option<std::chrono::seconds> keep_alive_idle{IPPROTO_TCP, TCP_KEEPIDLE};
inline constexpr socket_option<std::chrono::seconds> keep_alive_interval{IPPROTO_TCP,
                                                                         TCP_KEEPINTVL};
inline constexpr socket_option<int> keep_alive_count{IPPROTO_TCP, TCP_KEEPCNT};
/// How long what was sent may stay without an answer before the connection ends; 0, the default.
inline constexpr socket_option<std::chrono::milliseconds> user_timeout{IPPROTO_TCP,
                                                                       TCP_USER_TIMEOUT};
/// Listeners: a connection is accepted when it has sent something, or after so long. The kernel
/// rounds up.
inline constexpr socket_option<std::chrono::seconds> defer_accept{IPPROTO_TCP, TCP_DEFER_ACCEPT};
/// Listeners: how many connections may bring data with their first packet.
inline constexpr socket_option<int> fast_open{IPPROTO_TCP, TCP_FASTOPEN};
/// Clients: the first send goes out with the first packet.
inline constexpr socket_option<bool> fast_open_connect{IPPROTO_TCP, TCP_FASTOPEN_CONNECT};
/// How much may wait to be sent while a poll still says that there is room.
inline constexpr socket_option<int> unsent_low_water{IPPROTO_TCP, TCP_NOTSENT_LOWAT};
inline constexpr socket_option<int> maximum_segment{IPPROTO_TCP, TCP_MAXSEG};
/// "cubic", "reno", "bbr": what the kernel has.
inline constexpr socket_option<std::string> congestion_control{IPPROTO_TCP, TCP_CONGESTION};

// ---- of IP ----

inline constexpr socket_option<bool> v6_only{IPPROTO_IPV6, IPV6_V6ONLY};
inline constexpr socket_option<int> time_to_live{IPPROTO_IP, IP_TTL};
inline constexpr socket_option<int> hop_limit_v6{IPPROTO_IPV6, IPV6_UNICAST_HOPS};
inline constexpr socket_option<int> type_of_service{IPPROTO_IP, IP_TOS};
inline constexpr socket_option<int> traffic_class_v6{IPPROTO_IPV6, IPV6_TCLASS};
/// Binds to addresses that are not there, or not yet.
inline constexpr socket_option<bool> free_bind{IPPROTO_IP, IP_FREEBIND};

namespace detail {

/// A value as the system has it: most are an int, or a struct of the system's own.
template <class T> struct option_form {
    using native = std::conditional_t<std::is_integral_v<T>, int, T>;
    static_assert(std::is_trivially_copyable_v<native>,
                  "aio: a socket option is bool, int, a duration, std::optional of seconds, "
                  "std::string, or a struct of the system's");
    static native to(const T &value) noexcept { return static_cast<native>(value); }
    static T from(const native &value, socklen_t) noexcept { return static_cast<T>(value); }
    static socklen_t size(const native &) noexcept { return sizeof(native); }
};

template <class Rep, class Period> struct option_form<std::chrono::duration<Rep, Period>> {
    using duration = std::chrono::duration<Rep, Period>;
    using native = int;
    static native to(duration value) noexcept {
        const auto count = value.count();
        if (count > INT32_MAX)
            return INT32_MAX;
        return count < duration::zero().count() ? -1 : static_cast<int>(count); // refused there
    }
    static duration from(native value, socklen_t) noexcept { return duration(value); }
    static socklen_t size(native) noexcept { return sizeof(native); }
};

template <> struct option_form<std::optional<std::chrono::seconds>> {
    using native = struct ::linger;
    static native to(const std::optional<std::chrono::seconds> &value) noexcept {
        using form = option_form<std::chrono::seconds>;
        return {.l_onoff = value ? 1 : 0, .l_linger = value ? form::to(*value) : 0};
    }
    static std::optional<std::chrono::seconds> from(const native &value, socklen_t) noexcept {
        if (value.l_onoff == 0)
            return std::nullopt;
        return std::chrono::seconds(value.l_linger);
    }
    static socklen_t size(const native &) noexcept { return sizeof(native); }
};

template <> struct option_form<std::error_code> {
    using native = int;
    static std::error_code from(native value, socklen_t) noexcept {
        return value == 0 ? std::error_code() : make_error(-value);
    }
    static socklen_t size(native) noexcept { return sizeof(native); }
};

/// Text: names of at most 63 bytes.
struct option_text {
    char text[64];
    socklen_t size;
};
template <> struct option_form<std::string> {
    using native = option_text;
    static native to(const std::string &value) noexcept {
        native made{};
        // One that is cut is longer than any the system has, and refused there.
        made.size = static_cast<socklen_t>(std::min(value.size(), sizeof made.text));
        std::memcpy(made.text, value.data(), made.size);
        return made;
    }
    static std::string from(const native &value, socklen_t size) {
        return std::string(value.text, ::strnlen(value.text, size));
    }
    static socklen_t size(const native &value) noexcept { return value.size; }
};

template <class T> using option_native = typename option_form<T>::native;

/// A native value that the engine writes to, in the operation.
template <class T> struct option_room {
    mutable option_native<T> value;
};

template <class T>
aio_op_id submit_set_option(aio_ctx *ctx, int fd, int level, int name,
                            const option_native<T> *value, const aio_submit_options *options,
                            aio_callback callback, void *user_data) noexcept {
    return aio_submit_setsockopt(ctx, fd, level, name, value, option_form<T>::size(*value), options,
                                 callback, user_data);
}

template <class T>
aio_op_id submit_get_option(aio_ctx *ctx, int fd, int level, int name, const option_room<T> *room,
                            const aio_submit_options *options, aio_callback callback,
                            void *user_data) noexcept {
    constexpr bool is_text = std::is_same_v<option_native<T>, option_text>;
    return aio_submit_getsockopt(ctx, fd, level, name, &room->value,
                                 is_text ? sizeof option_text::text : sizeof room->value, options,
                                 callback, user_data);
}

template <class T> struct gives_option {
    using type = T;
    template <class Call> static T from(const told &now, const Call &call) {
        return option_form<T>::from(
            call.template argument<by_address<option_room<T>>>().value.value,
            static_cast<socklen_t>(now.result));
    }
};

/// At once, by a call of the system.
template <class T>
result<void> set_option_now(int fd, const socket_option<T> &option, const T &value) noexcept {
    const auto native = option_form<T>::to(value);
    if (::setsockopt(fd, option.level, option.name, &native, option_form<T>::size(native)) != 0)
        return unexpected::from_status(-errno);
    return {};
}
template <class T> result<T> get_option_now(int fd, const socket_property<T> &option) {
    option_native<T> native{};
    socklen_t size = sizeof native;
    if constexpr (std::is_same_v<option_native<T>, option_text>)
        size = sizeof native.text;
    if (::getsockopt(fd, option.level, option.name, &native, &size) != 0)
        return unexpected::from_status(-errno);
    return option_form<T>::from(native, size);
}

} // namespace detail

/// Sets an option of a socket, or of a slot: see aio_submit_setsockopt.
template <class T>
auto set_option(context &ctx, file_ref fd, const socket_option<T> &option,
                const std::type_identity_t<T> &value) noexcept {
    return detail::submits<detail::gives_nothing, &detail::submit_set_option<T>>(
        ctx, fd, option.level, option.name,
        detail::by_address<detail::option_native<T>>{detail::option_form<T>::to(value)});
}

/// Asks for an option of a socket, or of a slot, where the kernel has only those of SOL_SOCKET:
/// result<T>. See aio_submit_getsockopt.
template <class T>
auto get_option(context &ctx, file_ref fd, const socket_property<T> &option) noexcept {
    return detail::submits<detail::gives_option<T>, &detail::submit_get_option<T>>(
        ctx, fd, option.level, option.name, detail::by_address<detail::option_room<T>>{});
}

} // namespace aio
