// connect: a stream to a host by its name, on whichever of its addresses answers first ("happy
// eyeballs", RFC 8305).
//
//     auto page = co_await aio::connect(ctx, "example.org", "https", {.limit = 10s});
//     if (!page) log(page.error());                            // result<aio::socket>
//
// Addresses are tried in the order in which they were found, the families in turn; the next one
// when the one before has failed, or has not answered within attempt_delay. The first that connects
// is the result; the others are cancelled and waited for, and so are lookups that are not needed
// any more. If none connects, the error is that of the address that was tried first; if there is no
// address, that of the lookup. Asking the strand to stop ends all of it.
//
// Names are found as the C library does (/etc/hosts, nsswitch.conf), or by a dns_resolver, which
// asks for the addresses of either family apart, so that a slow answer for one does not hold the
// other back; or by lookups of your own.
#pragma once

#include <aio/event.hpp>
#include <aio/resolve.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/timeout.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace aio {

struct connect_options {
    using nanoseconds = std::chrono::nanoseconds;

    /// For all of it, lookups included.
    time_limit limit{};
    /// How long an address has before the next one is tried as well.
    nanoseconds attempt_delay = std::chrono::milliseconds(250);
    /// How long addresses of IPv4 that were found wait for those of IPv6.
    nanoseconds resolution_delay = std::chrono::milliseconds(50);
    /// AF_INET or AF_INET6: only that family.
    int family = AF_UNSPEC;
    /// Called with each socket before it connects, to set its options; null: nothing is.
    result<void> (*prepare)(socket &) = nullptr;
};

namespace detail {

using endpoints = result<std::vector<endpoint>>;

template <class T>
concept endpoints_lookup =
    awaitable<T> && std::is_same_v<std::remove_cvref_t<await_result_t<T>>, endpoints>;

/// One connect by name: what was found, what is being tried, and who has won. Lookups and attempts
/// are tasks of a scope, and signal `changed_` when they end.
class connecting {
    using clock = time_limit::clock;

  public:
    connecting(context &ctx, const connect_options &options) noexcept
        : ctx_(ctx), options_(options), attempts_(ctx) {}

    /// Preferred ones come before those that wait already.
    void add(const std::vector<endpoint> &found, bool is_preferred) {
        auto where = is_preferred ? pending_.begin() : pending_.end();
        for (const endpoint &each : found) {
            if (options_.family == AF_UNSPEC || options_.family == each.family())
                where = pending_.insert(where, each) + 1;
        }
    }

    /// Looks for addresses. Those that others find wait a little for a preferred lookup.
    template <endpoints_lookup Lookup> void look_up(Lookup lookup, bool is_preferred) {
        (is_preferred ? preferred_lookups_ : other_lookups_)++;
        attempts_.spawn(find(std::move(lookup), is_preferred));
    }

    task<result<socket>> run() {
        std::error_code stopped;
        while (!winner_ && !stopped && !attempts_.stop_requested()) {
            const clock::time_point now = clock::now();
            if (options_.limit && options_.limit.time() <= now)
                stopped = errc::deadline;
            else if (!pending_.empty() && next_start_ <= now && !is_held_back(now))
                begin(take_next(), now);
            else if (pending_.empty() && running_ + preferred_lookups_ + other_lookups_ == 0)
                break;
            else
                stopped = co_await something(now);
        }
        attempts_.request_stop();
        // What the tasks return is nothing; what they throw comes out here.
        static_cast<void>(co_await attempts_.join());
        if (winner_)
            co_return std::move(*winner_);
        co_return unexpected(stopped ? stopped : failure());
    }

  private:
    /// Counts down when a task ends, however it does.
    class ending {
      public:
        ending(connecting &of, std::size_t &count) noexcept : of_(of), count_(count) {}
        ending(const ending &) = delete;
        ending &operator=(const ending &) = delete;
        ~ending() {
            count_--;
            of_.changed_.set();
        }

      private:
        connecting &of_;
        std::size_t &count_;
    };

    template <class Lookup> task<> find(Lookup lookup, bool is_preferred) {
        const ending one(*this, is_preferred ? preferred_lookups_ : other_lookups_);
        const auto found = co_await std::move(lookup);
        if (!found) {
            if (!lookup_error_)
                lookup_error_ = found.error();
            co_return;
        }
        add(*found, is_preferred);
        if (!is_preferred)
            held_until_ = clock::now() + options_.resolution_delay;
    }

    task<> attempt(endpoint to, std::size_t number) {
        const ending one(*this, running_);
        auto made = co_await make_socket(ctx_, to.family(), SOCK_STREAM);
        socket stream;
        result<void> done;
        if (made) {
            stream = socket(ctx_, std::move(*made));
            if (options_.prepare != nullptr)
                done = options_.prepare(stream);
        } else {
            done = unexpected(made.error());
        }
        if (done)
            done = co_await aio::connect(ctx_, stream, to.data(), to.size());
        if (done && !winner_) {
            winner_.emplace(std::move(stream));
        } else if (!done && number < first_failed_) {
            first_failed_ = number;
            error_ = done.error();
        }
        // After a failure the next one need not wait.
        next_start_ = clock::time_point::min();
    }

    bool is_held_back(clock::time_point now) const noexcept {
        return preferred_lookups_ != 0 && now < held_until_;
    }
    void begin(endpoint to, clock::time_point now) {
        next_start_ = now + options_.attempt_delay;
        running_++;
        attempts_.spawn(attempt(to, tried_++));
    }
    /// The first that is not of the family that was tried last; if there is none, the first.
    endpoint take_next() {
        auto next = std::find_if(pending_.begin(), pending_.end(), [this](const endpoint &each) {
            return each.family() != last_family_;
        });
        if (next == pending_.end())
            next = pending_.begin();
        const endpoint to = *next;
        pending_.erase(next);
        last_family_ = to.family();
        return to;
    }
    /// Waits until a task has ended, or for the next thing to do; an error if this is the end.
    task<std::error_code> something(clock::time_point now) {
        time_limit wake = options_.limit;
        if (!pending_.empty()) {
            const clock::time_point next = is_held_back(now) ? held_until_ : next_start_;
            wake = wake ? std::min(wake.time(), next) : next;
        }
        const auto waited = co_await within(changed_.wait(), wake);
        if (!waited && waited.error() != errc::deadline)
            co_return waited.error();
        co_return std::error_code();
    }
    std::error_code failure() const noexcept {
        if (error_)
            return error_;
        if (lookup_error_)
            return lookup_error_;
        return unexpected(std::errc::address_not_available).error();
    }

    context &ctx_;
    connect_options options_;
    std::vector<endpoint> pending_; // found, and not yet tried
    std::optional<socket> winner_;
    auto_event changed_;
    std::size_t preferred_lookups_ = 0;
    std::size_t other_lookups_ = 0;
    std::size_t running_ = 0; // attempts
    std::size_t tried_ = 0;
    int last_family_ = AF_UNSPEC;
    clock::time_point next_start_ = clock::time_point::min();
    clock::time_point held_until_ = clock::time_point::min();
    std::size_t first_failed_ = SIZE_MAX;
    std::error_code error_;        // of the attempt that failed and began first
    std::error_code lookup_error_; // of the lookup that failed first
    scope attempts_;               // goes first, with what refers to the others
};

/// As the C library finds them.
inline task<endpoints> find_endpoints(context &ctx, std::string host, std::string service,
                                      int family) {
    resolve_hints hints;
    hints.family = family;
    const auto found = co_await resolve(ctx, std::move(host), std::move(service), hints);
    if (!found)
        co_return unexpected(found.error());
    co_return std::vector<endpoint>(found->begin(), found->end());
}

/// As name servers tell.
inline task<endpoints> find_endpoints(context &ctx, const dns_resolver &resolver, std::string host,
                                      uint32_t kind, uint16_t port) {
    const auto found = co_await resolver.resolve(ctx, std::move(host), kind);
    if (!found)
        co_return unexpected(found.error());
    co_return found->endpoints(port);
}

} // namespace detail

/// Connects to the first of these addresses that answers.
inline task<result<socket>> connect(context &ctx, std::vector<endpoint> to,
                                    connect_options options = {}) {
    detail::connecting race(ctx, options);
    race.add(to, true);
    co_return co_await race.run();
}

/// Connects to a host and a service ("https", "8080") by their names.
inline task<result<socket>> connect(context &ctx, std::string host, std::string service,
                                    connect_options options = {}) {
    detail::connecting race(ctx, options);
    race.look_up(detail::find_endpoints(ctx, std::move(host), std::move(service), options.family),
                 true);
    co_return co_await race.run();
}

/// Connects to what lookups of your own find: anything that can be awaited and gives a
/// result<std::vector<endpoint>>. What `other` finds waits resolution_delay for `preferred`.
template <detail::endpoints_lookup Preferred, detail::endpoints_lookup Other>
task<result<socket>> connect(context &ctx, Preferred preferred, Other other,
                             connect_options options = {}) {
    detail::connecting race(ctx, options);
    race.look_up(std::move(preferred), true);
    race.look_up(std::move(other), false);
    co_return co_await race.run();
}

/// Connects to a host by its name, which a DNS client looks up. The resolver must live until the
/// task has begun.
inline task<result<socket>> connect(context &ctx, const dns_resolver &resolver, std::string host,
                                    uint16_t port, connect_options options = {}) {
    detail::connecting race(ctx, options);
    if (options.family != AF_INET)
        race.look_up(detail::find_endpoints(ctx, resolver, host, AIO_DNS_AAAA, port), true);
    if (options.family != AF_INET6)
        race.look_up(detail::find_endpoints(ctx, resolver, host, AIO_DNS_A, port), false);
    co_return co_await race.run();
}

} // namespace aio
