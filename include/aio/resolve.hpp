// resolve: addresses of names, names of addresses, and DNS.
//
//     auto found = co_await aio::resolve(ctx, "example.org", "http").timeout(5s);
//     for (const aio::endpoint &each : found.value()) ...       // result<address_list>
//
// resolve and reverse ask as the C library does: /etc/hosts, name servers, whatever nsswitch.conf
// says. Nothing interrupts the C library while a server is slow; a wait that is cancelled ends at
// once all the same. dns_resolver is a client of its own, which asks name servers from the contexts
// themselves, knows other kinds of records, and keeps answers as long as they are good.
#pragma once

#include <aio/endpoint.hpp>
#include <aio/operation.hpp>

#include <netdb.h>

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace aio {

/// What a lookup has found, in the order in which one should try: a range of endpoints.
class address_list {
  public:
    class iterator {
      public:
        using iterator_concept = std::forward_iterator_tag;
        using iterator_category = std::input_iterator_tag;
        using value_type = endpoint;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = endpoint;

        iterator() noexcept = default;
        endpoint operator*() const noexcept { return {at_->ai_addr, at_->ai_addrlen}; }
        iterator &operator++() noexcept {
            at_ = at_->ai_next;
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator old = *this;
            ++*this;
            return old;
        }
        friend bool operator==(const iterator &, const iterator &) = default;
        /// All that the C library has told.
        const addrinfo &native() const noexcept { return *at_; }

      private:
        friend address_list;
        explicit iterator(const addrinfo *at) noexcept : at_(at) {}
        const addrinfo *at_ = nullptr;
    };

    address_list() noexcept = default;
    /// Takes over a list of aio_submit_getaddrinfo.
    explicit address_list(addrinfo *list) noexcept : list_(list) {}

    iterator begin() const noexcept { return iterator(list_.get()); }
    iterator end() const noexcept { return {}; }
    bool empty() const noexcept { return list_ == nullptr; }
    /// The first one, which there is in what a lookup has given.
    endpoint front() const noexcept { return *begin(); }
    /// The canonical name, where AI_CANONNAME was asked for; else empty.
    std::string_view canonical_name() const noexcept {
        const bool has = list_ != nullptr && list_->ai_canonname != nullptr;
        return has ? list_->ai_canonname : std::string_view();
    }
    const addrinfo *native() const noexcept { return list_.get(); }

  private:
    struct freeing {
        void operator()(addrinfo *list) const noexcept { aio_addrinfo_free(list); }
    };
    std::unique_ptr<addrinfo, freeing> list_;
};

/// What is looked for: families and kinds of sockets, and AI_* of getaddrinfo(3).
struct resolve_hints {
    int family = AF_UNSPEC;
    int kind = SOCK_STREAM;
    int flags = 0;
};

/// A host and a service, by name.
struct host_name {
    std::string host;
    std::string service;
};

namespace detail {

/// Where the C interface puts a pointer, in the operation.
template <class T> struct out_pointer {
    mutable T *value = nullptr;
};

/// Names that an operation keeps until it is submitted; empty ones are not asked for.
struct names_asked {
    std::string node;
    std::string service;
    addrinfo hints;
};

inline aio_op_id submit_getaddrinfo(aio_ctx *ctx, const names_asked *asked,
                                    const out_pointer<addrinfo> *out,
                                    const aio_submit_options *options, aio_callback callback,
                                    void *user_data) noexcept {
    const auto text = [](const std::string &of) { return of.empty() ? nullptr : of.c_str(); };
    return aio_submit_getaddrinfo(ctx, text(asked->node), text(asked->service), &asked->hints,
                                  &out->value, options, callback, user_data);
}

struct gives_addresses {
    using type = address_list;
    template <class Call> static address_list from(const told &, const Call &call) noexcept {
        using out = by_address<out_pointer<addrinfo>>;
        return address_list(std::exchange(call.template argument<out>().value.value, nullptr));
    }
};

struct host_text {
    mutable char host[NI_MAXHOST];
    mutable char service[NI_MAXSERV];
};

inline aio_op_id submit_getnameinfo(aio_ctx *ctx, const endpoint *address, const host_text *out,
                                    int flags, const aio_submit_options *options,
                                    aio_callback callback, void *user_data) noexcept {
    return aio_submit_getnameinfo(ctx, address->data(), address->size(), out->host,
                                  sizeof out->host, out->service, sizeof out->service, flags,
                                  options, callback, user_data);
}

struct gives_host_name {
    using type = host_name;
    template <class Call> static host_name from(const told &, const Call &call) {
        const host_text &text = call.template argument<by_address<host_text>>().value;
        return {text.host, text.service};
    }
};

} // namespace detail

/// Finds the addresses of a host and a service ("http", "8080"), one of which may be empty:
/// result<address_list>. errc::no_name, errc::no_service and others of aio_submit_getaddrinfo.
inline auto resolve(context &ctx, std::string host, std::string service,
                    const resolve_hints &hints = {}) {
    addrinfo native{};
    native.ai_family = hints.family;
    native.ai_socktype = hints.kind;
    native.ai_flags = hints.flags;
    return detail::submits<detail::gives_addresses, &detail::submit_getaddrinfo>(
        ctx, detail::by_address<detail::names_asked>{{std::move(host), std::move(service), native}},
        detail::by_address<detail::out_pointer<addrinfo>>{});
}

/// Finds the name of an address and of its port: result<host_name>. `flags`: NI_*.
inline auto reverse(context &ctx, const endpoint &address, int flags = 0) noexcept {
    return detail::submits<detail::gives_host_name, &detail::submit_getnameinfo>(
        ctx, detail::by_address<endpoint>{address}, detail::by_address<detail::host_text>{}, flags);
}

/// What resolve keeps, for the whole process; the meaning of each is that of the same field of
/// aio_names_cache_options.
struct names_cache_options {
    uint32_t entries = 0;
    std::chrono::nanoseconds ttl{0};
    std::chrono::nanoseconds negative_ttl{0};
};

/// Sets up what resolve keeps, and empties it: nothing unless a program asks for it, as the C
/// library does not tell for how long an answer is good. Any thread.
inline result<void> set_names_cache(const names_cache_options &options) noexcept {
    aio_names_cache_options native{};
    native.size = sizeof native;
    native.entries = options.entries;
    native.ttl_ns = detail::to_ns(options.ttl);
    native.negative_ttl_ns = detail::to_ns(options.negative_ttl);
    return detail::as_result(aio_names_set_cache(&native));
}

/// What a DNS lookup has found.
class dns_answer {
  public:
    /// Takes over an answer of aio_submit_resolve.
    explicit dns_answer(aio_answer *answer) noexcept : answer_(answer) {}

    /// The name behind all aliases.
    std::string_view name() const noexcept { return aio_answer_name(native()); }
    /// How many records there are: at least one.
    std::size_t size() const noexcept { return aio_answer_count(native()); }
    /// A record; what it points to lives as long as the answer. std::errc::result_out_of_range.
    result<aio_dns_record> record(std::size_t index) const noexcept {
        aio_dns_record record{};
        record.size = sizeof record;
        return detail::as_result(aio_answer_record(native(), static_cast<uint32_t>(index), &record))
            .transform([&] { return record; });
    }
    /// One of the strings of a record that is a text.
    result<std::string_view> text(std::size_t index, std::size_t nth = 0) const noexcept {
        const void *data = nullptr;
        uint32_t size = 0;
        return detail::as_result(aio_answer_string(native(), static_cast<uint32_t>(index),
                                                   static_cast<uint32_t>(nth), &data, &size))
            .transform([&] { return std::string_view(static_cast<const char *>(data), size); });
    }
    /// The addresses among the records, with a port.
    std::vector<endpoint> endpoints(uint16_t port) const {
        std::vector<endpoint> found;
        for (uint32_t i = 0; i < size(); i++) {
            endpoint address;
            socklen_t length = endpoint::capacity();
            if (aio_answer_sockaddr(native(), i, port, address.data(), &length) == 0) {
                address.resize(length);
                found.push_back(address);
            }
        }
        return found;
    }
    const aio_answer *native() const noexcept { return answer_.get(); }

  private:
    struct freeing {
        void operator()(aio_answer *answer) const noexcept { aio_answer_free(answer); }
    };
    std::unique_ptr<aio_answer, freeing> answer_;
};

namespace detail {

inline aio_op_id submit_resolve(aio_ctx *ctx, aio_resolver *resolver, const std::string *name,
                                uint32_t kind, uint32_t flags, const out_pointer<aio_answer> *out,
                                const aio_submit_options *options, aio_callback callback,
                                void *user_data) noexcept {
    return aio_submit_resolve(ctx, resolver, name->c_str(), kind, flags, &out->value, options,
                              callback, user_data);
}

struct gives_answer {
    using type = dns_answer;
    template <class Call> static dns_answer from(const told &, const Call &call) noexcept {
        using out = by_address<out_pointer<aio_answer>>;
        return dns_answer(std::exchange(call.template argument<out>().value.value, nullptr));
    }
};

} // namespace detail

/// Options of a resolver; the meaning of each is that of the same field of aio_resolver_options.
struct dns_resolver_options {
    uint32_t flags = 0;
    const char *conf_path = nullptr;
    const char *hosts_path = nullptr;
    const char *servers = nullptr;
    std::chrono::nanoseconds timeout{0};
    uint32_t attempts = 0;
    uint32_t cache_entries = 0;

    /// For fields that are not above: where it is not null it is used as it is, and they are not.
    const aio_resolver_options *native = nullptr;
};

/// A DNS client, for any number of contexts and threads.
class dns_resolver {
  public:
    static result<dns_resolver> create(const dns_resolver_options &options = {}) {
        aio_resolver_options native{};
        native.size = sizeof native;
        native.flags = options.flags;
        native.conf_path = options.conf_path;
        native.hosts_path = options.hosts_path;
        native.servers = options.servers;
        native.timeout_ns = detail::to_ns(options.timeout);
        native.attempts = options.attempts;
        native.cache_entries = options.cache_entries;
        aio_resolver *made = nullptr;
        const int32_t status =
            aio_resolver_create(options.native != nullptr ? options.native : &native, &made);
        if (status != 0)
            return unexpected::from_status(status);
        return dns_resolver(made);
    }
    /// Throws std::system_error when there can be none.
    explicit dns_resolver(const dns_resolver_options &options = {})
        : dns_resolver(create(options).value()) {}

    /// Looks a name up: result<dns_answer>. `kind`: AIO_DNS_*; `flags`: AIO_RESOLVE_*. The resolver
    /// must live until the submit, and may die before the answer.
    auto resolve(context &ctx, std::string name, uint32_t kind = AIO_DNS_ADDRESS,
                 uint32_t flags = 0) const {
        return detail::submits<detail::gives_answer, &detail::submit_resolve>(
            ctx, resolver_.get(), detail::by_address<std::string>{std::move(name)}, kind, flags,
            detail::by_address<detail::out_pointer<aio_answer>>{});
    }
    /// Forgets the answers that it keeps.
    void forget() noexcept { aio_resolver_forget(resolver_.get()); }
    aio_resolver *native() const noexcept { return resolver_.get(); }

  private:
    struct destroying {
        void operator()(aio_resolver *resolver) const noexcept { aio_resolver_destroy(resolver); }
    };
    explicit dns_resolver(aio_resolver *made) noexcept : resolver_(made) {}

    std::unique_ptr<aio_resolver, destroying> resolver_;
};

} // namespace aio
