// Several things at once, or one within a time: when_all, when_any, race, chain, with_timeout,
// retry.
//
//     auto [text, count] = co_await aio::when_all(read_config(ctx), aio::recv(ctx, fd, room));
//     auto reply = co_await aio::race(ask(ctx, first), ask(ctx, second));
//
// All are tasks, and structured: what they start has ended when they have. What is not wanted any
// more is asked to stop, and waited for; a stop of the strand that awaits them is passed on. They
// take tasks, operations and anything that can be moved and then awaited.
#pragma once

#include <aio/operation.hpp>

#include <optional>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace aio {
namespace detail {

/// A value for what gives none.
template <class T>
using value_of = std::conditional_t<std::is_void_v<T>, std::monostate, std::remove_cvref_t<T>>;

/// Strands whose outcomes matter together: knows which of them ended first, or failed first.
class member_group : public strand_group {
  public:
    using strand_group::strand_group;
    static constexpr std::size_t none = SIZE_MAX;
    std::size_t first = none;        // that ended at all
    std::size_t first_failed = none; // by an exception
};

/// The outcome of one of several strands.
template <class T> class member {
  public:
    void join(member_group &group, std::size_t index) noexcept {
        group_ = &group;
        index_ = index;
    }
    template <class... Value> void set_value(Value &&...value) {
        outcome_.set_value(std::forward<Value>(value)...);
        ended();
    }
    void set_exception() noexcept {
        outcome_.set_exception();
        if (group_->first_failed == member_group::none)
            group_->first_failed = index_;
        ended();
        group_->request_stop();
    }
    value_of<T> take() {
        if constexpr (std::is_void_v<T>) {
            outcome_.take();
            return {};
        } else {
            return outcome_.take();
        }
    }

    bool stops_others = false;

  private:
    void ended() noexcept {
        if (group_->first == member_group::none)
            group_->first = index_;
        if (stops_others)
            group_->request_stop();
    }

    outcome<T> outcome_;
    member_group *group_ = nullptr;
    std::size_t index_ = 0;
};

template <std::size_t... Index, class Members, class... Awaitables>
void start_all(member_group &group, [[maybe_unused]] bool stops_others,
               std::index_sequence<Index...>, Members &members, Awaitables &...awaitables) {
    (std::get<Index>(members).join(group, Index), ...);
    ((std::get<Index>(members).stops_others = stops_others), ...);
    (group.start(std::move(awaitables), std::get<Index>(members)), ...);
}

/// Throws the exception of the first that failed.
template <class... T, std::size_t... Index>
void rethrow(std::tuple<member<T>...> &members, std::size_t failed, std::index_sequence<Index...>) {
    ((Index == failed ? static_cast<void>(std::get<Index>(members).take()) : void()), ...);
}

} // namespace detail

/// Awaits all of them, at once: a tuple of what they give, std::monostate for nothing. If one
/// throws, the others are asked to stop, and the first exception is thrown when all have ended. A
/// result that is an error is a value like any other.
template <awaitable... Awaitables>
    requires(!std::is_lvalue_reference_v<Awaitables> && ...)
auto when_all(Awaitables... awaitables)
    -> task<std::tuple<detail::value_of<await_result_t<Awaitables>>...>> {
    constexpr auto indices = std::index_sequence_for<Awaitables...>();
    std::tuple<detail::member<await_result_t<Awaitables>>...> members;
    detail::member_group group(detail::home_of(co_await this_strand()));
    detail::start_all(group, false, indices, members, awaitables...);
    co_await group.join();
    if (group.first_failed != group.none) [[unlikely]]
        detail::rethrow(members, group.first_failed, indices);
    co_return std::apply(
        [](auto &...member) {
            return std::tuple<detail::value_of<await_result_t<Awaitables>>...>{member.take()...};
        },
        members);
}

/// The same of many of one kind: a vector in their order.
template <awaitable Awaitable>
auto when_all(std::vector<Awaitable> awaitables)
    -> task<std::vector<detail::value_of<await_result_t<Awaitable>>>> {
    std::vector<detail::member<await_result_t<Awaitable>>> members(awaitables.size());
    detail::member_group group(detail::home_of(co_await this_strand()));
    for (std::size_t i = 0; i < members.size(); i++)
        members[i].join(group, i);
    for (std::size_t i = 0; i < members.size(); i++)
        group.start(std::move(awaitables[i]), members[i]);
    co_await group.join();
    if (group.first_failed != group.none) [[unlikely]]
        static_cast<void>(members[group.first_failed].take());
    std::vector<detail::value_of<await_result_t<Awaitable>>> values;
    values.reserve(members.size());
    for (auto &member : members)
        values.push_back(member.take());
    co_return values;
}

/// Awaits the first of them that ends, however it does: a variant whose index() says which. The
/// others are asked to stop, and waited for; what they give all the same is destroyed.
template <awaitable... Awaitables>
    requires(sizeof...(Awaitables) > 0)
auto when_any(Awaitables... awaitables)
    -> task<std::variant<detail::value_of<await_result_t<Awaitables>>...>> {
    using either = std::variant<detail::value_of<await_result_t<Awaitables>>...>;
    constexpr auto indices = std::index_sequence_for<Awaitables...>();
    std::tuple<detail::member<await_result_t<Awaitables>>...> members;
    detail::member_group group(detail::home_of(co_await this_strand()));
    detail::start_all(group, true, indices, members, awaitables...);
    co_await group.join();
    co_return [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        std::optional<either> winner;
        ((Index == group.first ? static_cast<void>(winner.emplace(std::in_place_index<Index>,
                                                                  std::get<Index>(members).take()))
                               : void()),
         ...);
        return std::move(*winner);
    }(indices);
}

/// The same of many of one kind, at least one: which, and what it gives.
template <awaitable Awaitable>
auto when_any(std::vector<Awaitable> awaitables)
    -> task<std::pair<std::size_t, detail::value_of<await_result_t<Awaitable>>>> {
    std::vector<detail::member<await_result_t<Awaitable>>> members(awaitables.size());
    detail::member_group group(detail::home_of(co_await this_strand()));
    if (members.empty()) [[unlikely]]
        detail::fail(make_error(-EINVAL), "aio::when_any of nothing");
    for (std::size_t i = 0; i < members.size(); i++) {
        members[i].join(group, i);
        members[i].stops_others = true;
    }
    for (std::size_t i = 0; i < members.size(); i++)
        group.start(std::move(awaitables[i]), members[i]);
    co_await group.join();
    co_return {group.first, members[group.first].take()};
}

namespace detail {

/// One of a race: a success stops the others, an error is remembered.
template <class T> class runner {
  public:
    runner(member_group &group, result<T> &prize) noexcept : group_(group), prize_(prize) {}
    void set_value(result<T> ended) {
        if (group_.first != group_.none)
            return;
        if (ended) {
            group_.first = 0;
            prize_ = std::move(ended);
            group_.request_stop();
        } else if (!group_.stop_requested() || !is_cancelled(ended.error())) {
            prize_ = std::move(ended);
        }
    }
    void set_exception() noexcept {
#if AIO_DETAIL_EXCEPTIONS
        exception = std::current_exception();
#endif
    }
#if AIO_DETAIL_EXCEPTIONS
    std::exception_ptr exception;
#endif

  private:
    member_group &group_;
    result<T> &prize_;
};

template <class Awaitable>
using prize_of = typename std::remove_cvref_t<await_result_t<Awaitable>>::value_type;

} // namespace detail

/// Awaits the first of them that succeeds: all give a result of one type. The others are asked to
/// stop, and waited for. If none succeeds, the error of the last; an exception counts as a failure,
/// and is thrown if nobody succeeds.
template <awaitable First, awaitable... Others>
    requires(detail::is_result<std::remove_cvref_t<await_result_t<First>>> &&
             (std::is_same_v<await_result_t<First>, await_result_t<Others>> && ...))
auto race(First first, Others... others) -> task<result<detail::prize_of<First>>> {
    using T = detail::prize_of<First>;
    result<T> prize = unexpected(std::errc::operation_canceled);
    detail::member_group group(detail::home_of(co_await this_strand()));
    // Behind the group they would be gone before the strands that end in them.
    detail::runner<T> runner(group, prize);
    group.start(std::move(first), runner);
    // What succeeds at once lets the others not begin.
    ((group.first == group.none ? group.start(std::move(others), runner) : void()), ...);
    co_await group.join();
#if AIO_DETAIL_EXCEPTIONS
    if (group.first == group.none && runner.exception)
        std::rethrow_exception(runner.exception);
#endif
    co_return prize;
}

namespace detail {

/// A chain that its next member is to close. Where none comes, something that succeeds closes it:
/// what strangers submit must not become a member.
class open_chain {
  public:
    open_chain() noexcept = default;
    open_chain(const open_chain &) = delete;
    open_chain &operator=(const open_chain &) = delete;
    ~open_chain() { close(); }

    void open(aio_ctx *ctx) noexcept { ctx_ = ctx; }
    void forget() noexcept { ctx_ = nullptr; }
    void close() noexcept {
        if (aio_ctx *const ctx = std::exchange(ctx_, nullptr))
            aio_submit_nop(ctx, nullptr, [](void *, int32_t, uint32_t) noexcept {}, nullptr);
    }

  private:
    aio_ctx *ctx_ = nullptr;
};

/// Starts a member of a chain; false if it was refused, or one before it: then it has ended.
template <bool is_last, class Operation, class Member>
bool start_link(member_group &group, open_chain &chain, Operation &operation, Member &member) {
    const std::size_t before = group.size();
    if constexpr (is_last)
        group.start(std::move(operation), member);
    else
        group.start(std::move(operation).link(), member);
    if (group.size() == before) {
        chain.close();
        return false;
    }
    is_last ? chain.forget() : chain.open(operation.native());
    return true;
}

} // namespace detail

/// Operations, each of which begins when the one before has succeeded, handed over together: a
/// tuple of their results. After one that fails, or is refused, the rest is errc::aborted.
template <class... Operations>
auto chain(Operations... operations) -> task<std::tuple<await_result_t<Operations>...>> {
    std::tuple<detail::member<await_result_t<Operations>>...> members;
    std::tuple<Operations &...> all(operations...);
    detail::member_group group(detail::home_of(co_await this_strand()));
    const auto start = [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        detail::open_chain chain;
        bool goes_on = true;
        (std::get<Index>(members).join(group, Index), ...);
        ((goes_on ? void(goes_on = detail::start_link < Index + 1 ==
                                   sizeof...(Index) > (group, chain, std::get<Index>(all),
                                                       std::get<Index>(members)))
                  : std::get<Index>(members).set_value(unexpected(errc::aborted))),
         ...);
    };
    start(std::index_sequence_for<Operations...>());
    co_await group.join();
    co_return std::apply(
        [](auto &...member) { return std::tuple<await_result_t<Operations>...>{member.take()...}; },
        members);
}

} // namespace aio
