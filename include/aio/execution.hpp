// Senders, schedulers and stop tokens of P2300 (std::execution) over a context.
//
//     using namespace aio::execution;
//     sender auto greeting = as_sender(ctx, aio::recv(ctx, fd, room).timeout(30s));
//     scheduler auto here = context_scheduler(ctx);           // schedule(here): a turn of ctx
//     aio::result<int> sum = co_await as_awaitable(compute()); // any sender, in a task of ours
//
// Whatever can be awaited is a sender: operations, tasks, next() of a multishot, waits of an event.
// Its value is set_value's; an error of its result set_error's, as a std::error_code; an exception
// set_error's too, as a std::exception_ptr; and every cancellation is set_stopped. A stop by the
// receiver's token, from any thread, ends what is awaited as the stop of a strand does.
//
// Started on the context's thread, a sender ends there. Others begin with schedule, which may be
// started on any thread, and ends on the context's. The context outlives what is made of it here.
// An operation state lies where its owner puts it and takes no other memory. Destroying it while it
// runs, on the context's thread, ends what is awaited, as destroying a coroutine does: no receiver
// is called, and nothing is written later.
//
// There is one set of P2300's words for each library that has algorithms (std::execution, stdexec),
// and set_value_t of one is not set_value_t of another. Here they are a template parameter, `V`:
// by default those of this header, aio::execution::vocabulary. For stdexec:
//
//     struct words {
//         using sender_t = stdexec::sender_t;          // and receiver_t, operation_state_t,
//         using set_value_t = stdexec::set_value_t;    // scheduler_t, set_error_t, set_stopped_t,
//         using get_stop_token_t = stdexec::get_stop_token_t;
//         template <class T> using get_completion_scheduler_t =
//             stdexec::get_completion_scheduler_t<T>;
//         template <class... S> using completion_signatures =
//             stdexec::completion_signatures<S...>;
//         template <class S, class Env> using completion_signatures_of =
//             stdexec::completion_signatures_of_t<S, Env>;
//         template <class S, class R> static auto connect(S &&sender, R &&receiver) {
//             return stdexec::connect(std::forward<S>(sender), std::forward<R>(receiver));
//         }
//     };
//     auto [n] = *stdexec::sync_wait(as_sender<words>(ctx, aio::nop(ctx)) | ...);
#pragma once

#include <aio/detail/awaitable_sender.hpp>
#include <aio/detail/sender_awaiter.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace aio::execution {

// ---- P2300's words ----

struct sender_t {};
struct receiver_t {};
struct operation_state_t {};
struct scheduler_t {};

inline constexpr struct set_value_t {
    template <class Receiver, class... T>
    void operator()(Receiver &&receiver, T &&...values) const noexcept {
        std::forward<Receiver>(receiver).set_value(std::forward<T>(values)...);
    }
} set_value{};
inline constexpr struct set_error_t {
    template <class Receiver, class E>
    void operator()(Receiver &&receiver, E &&error) const noexcept {
        std::forward<Receiver>(receiver).set_error(std::forward<E>(error));
    }
} set_error{};
inline constexpr struct set_stopped_t {
    template <class Receiver> void operator()(Receiver &&receiver) const noexcept {
        std::forward<Receiver>(receiver).set_stopped();
    }
} set_stopped{};
inline constexpr struct connect_t {
    template <class Sender, class Receiver>
    auto operator()(Sender &&sender, Receiver &&receiver) const {
        return std::forward<Sender>(sender).connect(std::forward<Receiver>(receiver));
    }
} connect{};
inline constexpr struct start_t {
    template <class State> void operator()(State &state) const noexcept { state.start(); }
} start{};
inline constexpr struct schedule_t {
    template <class Scheduler> auto operator()(Scheduler &&scheduler) const {
        return std::forward<Scheduler>(scheduler).schedule();
    }
} schedule{};
/// The environment of a sender or receiver; an empty one if it says nothing.
inline constexpr struct get_env_t {
    template <class T> auto operator()(const T &of) const noexcept {
        return detail::environment_of(of);
    }
} get_env{};
/// The stop token of an environment; never_stop_token if it has none.
inline constexpr struct get_stop_token_t {
    template <class Env> auto operator()(const Env &environment) const noexcept {
        if constexpr (requires { environment.query(*this); })
            return environment.query(*this);
        else
            return never_stop_token();
    }
} get_stop_token{};
template <class Tag> struct get_completion_scheduler_t {
    template <class Env> auto operator()(const Env &environment) const noexcept {
        return environment.query(*this);
    }
};
template <class Tag> inline constexpr get_completion_scheduler_t<Tag> get_completion_scheduler{};
template <class... Signatures> struct completion_signatures {};

template <class T>
concept sender = std::move_constructible<std::remove_cvref_t<T>> &&
                 std::derived_from<typename std::remove_cvref_t<T>::sender_concept, sender_t>;
template <class T>
concept receiver = std::move_constructible<std::remove_cvref_t<T>> &&
                   std::derived_from<typename std::remove_cvref_t<T>::receiver_concept, receiver_t>;
template <class T>
concept operation_state =
    std::derived_from<typename T::operation_state_concept, operation_state_t> &&
    requires(T &state) {
        { state.start() } noexcept;
    };
template <class T>
concept scheduler =
    std::derived_from<typename std::remove_cvref_t<T>::scheduler_concept, scheduler_t> &&
    std::copy_constructible<std::remove_cvref_t<T>> &&
    std::equality_comparable<std::remove_cvref_t<T>> && requires(T &&value) {
        { std::forward<T>(value).schedule() } -> sender;
    };

/// The words of this header.
struct vocabulary {
    using sender_t = execution::sender_t;
    using receiver_t = execution::receiver_t;
    using operation_state_t = execution::operation_state_t;
    using scheduler_t = execution::scheduler_t;
    using set_value_t = execution::set_value_t;
    using set_error_t = execution::set_error_t;
    using set_stopped_t = execution::set_stopped_t;
    using get_stop_token_t = execution::get_stop_token_t;
    template <class Tag>
    using get_completion_scheduler_t = execution::get_completion_scheduler_t<Tag>;
    template <class... Signatures>
    using completion_signatures = execution::completion_signatures<Signatures...>;
    template <class Sender, class Env>
    using completion_signatures_of = typename std::remove_cvref_t<Sender>::completion_signatures;
    template <class Sender, class Receiver>
    static auto connect(Sender &&sender, Receiver &&receiver) {
        return execution::connect(std::forward<Sender>(sender), std::forward<Receiver>(receiver));
    }
};

// ---- a context's scheduler ----

template <class V = vocabulary> class basic_scheduler;

} // namespace aio::execution

namespace aio::detail {

/// What a sender of a context tells of itself: where it ends with a value.
template <class V> class ends_on {
  public:
    explicit ends_on(home &home) noexcept : home_(&home) {}
    execution::basic_scheduler<V> query(
        typename V::template get_completion_scheduler_t<typename V::set_value_t>) const noexcept;

  private:
    home *home_;
};

/// A turn of a context, asked for from any thread.
template <class V, class Receiver> class schedule_state final : inbox::entry {
  public:
    using operation_state_concept = typename V::operation_state_t;

    schedule_state(home &home, Receiver &&receiver)
        : entry([](entry &self) noexcept { static_cast<schedule_state &>(self).end(0); }),
          home_(home), receiver_(std::move(receiver)) {}
    ~schedule_state() {
        if (id_ > 0)
            aio_ctx_detach(home_.ctx, id_); // a timer refers to no memory
    }

    void start() & noexcept {
        // On the context's thread it takes no post: a timer that is due comes in order as well.
        if (aio_ctx_current() == home_.ctx) {
            id_ = aio_submit_timer_at(home_.ctx, 0, nullptr, &schedule_state::fired, this);
            if (id_ < 0)
                end(static_cast<int32_t>(id_));
        } else if (const int32_t status = home_.box().push(*this); status != 0) {
            end(status);
        }
    }

  private:
    static void fired(void *user_data, int32_t result, uint32_t) noexcept {
        auto *self = static_cast<schedule_state *>(user_data);
        self->id_ = 0;
        self->end(result);
    }
    void end(int32_t status) noexcept {
        if (status == -ECANCELED || status == AIO_ECLOSED ||
            stop_token_of<V>(receiver_).stop_requested())
            std::move(receiver_).set_stopped();
        else if (status < 0)
            std::move(receiver_).set_error(make_error(status));
        else
            std::move(receiver_).set_value();
    }

    home &home_;
    Receiver receiver_;
    aio_op_id id_ = 0;
};

template <class V> class schedule_sender {
  public:
    using sender_concept = typename V::sender_t;
    using completion_signatures =
        typename V::template completion_signatures<typename V::set_value_t(),
                                                   typename V::set_error_t(std::error_code),
                                                   typename V::set_stopped_t()>;

    explicit schedule_sender(home &home) noexcept : home_(&home) {}
    template <class Receiver> schedule_state<V, Receiver> connect(Receiver receiver) const {
        return {*home_, std::move(receiver)};
    }
    ends_on<V> get_env() const noexcept { return ends_on<V>(*home_); }

  private:
    home *home_;
};

template <class V, class Awaitable>
class [[nodiscard("aio: a sender runs only when it is connected and started")]] awaitable_sender {
  public:
    using sender_concept = typename V::sender_t;
    using completion_signatures =
        typename ends<V, await_result_t<Awaitable>, may_throw<Awaitable>>::type;

    awaitable_sender(home &home, Awaitable &&awaitable)
        : home_(&home), awaitable_(std::move(awaitable)) {}

    template <class Receiver> auto connect(Receiver receiver) && {
        using token = decltype(stop_token_of<V>(receiver));
        if constexpr (stoppable<token> && takes_token<Awaitable>) {
            auto watching = std::move(awaitable_).cancel_on(stop_token_of<V>(receiver));
            return awaitable_state<V, decltype(watching), Receiver, false>(
                home_, std::move(watching), std::move(receiver));
        } else {
            return awaitable_state<V, Awaitable, Receiver, stoppable<token>>(
                home_, std::move(awaitable_), std::move(receiver));
        }
    }
    ends_on<V> get_env() const noexcept { return ends_on<V>(*home_); }

  private:
    home *home_;
    Awaitable awaitable_;
};

} // namespace aio::detail

namespace aio::execution {

/// schedule(it) is a sender that ends in a turn of the context, wherever it is started. The
/// scheduler may be made, copied and used on any thread. A stop is looked at when its turn has
/// come.
template <class V> class basic_scheduler {
  public:
    using scheduler_concept = typename V::scheduler_t;

    explicit basic_scheduler(context &ctx) noexcept : home_(ctx.where()) {}
    detail::schedule_sender<V> schedule() const noexcept {
        return detail::schedule_sender<V>(*home_);
    }
    friend bool operator==(const basic_scheduler &, const basic_scheduler &) = default;

  private:
    friend detail::ends_on<V>;
    explicit basic_scheduler(detail::home *home) noexcept : home_(home) {}
    detail::home *home_;
};

using context_scheduler = basic_scheduler<>;

/// An operation, a task or whatever else can be awaited, as a sender that is started on the
/// context's thread: see the top of this file.
template <class V = vocabulary, awaitable Awaitable>
detail::awaitable_sender<V, Awaitable> as_sender(context &ctx, Awaitable awaitable) {
    return {*ctx.where(), std::move(awaitable)};
}

/// Whether an operation state of the sender may be destroyed while it runs, on the thread that has
/// started it, as those of this library may. For a sender made of such ones one may say so.
template <class Sender> inline constexpr bool ends_when_destroyed = false;
template <class V, class Awaitable>
inline constexpr bool ends_when_destroyed<detail::awaitable_sender<V, Awaitable>> = true;
template <class V> inline constexpr bool ends_when_destroyed<detail::schedule_sender<V>> = true;

/// What awaits a sender: movable, and awaited once.
template <class V, class Sender>
class [[nodiscard("aio: a sender runs only when it is awaited")]] sender_awaitable {
  public:
    explicit sender_awaitable(Sender &&sender) : sender_(std::move(sender)) {}
    detail::sender_awaiter<V, Sender, ends_when_destroyed<Sender>> operator co_await() && {
        return detail::sender_awaiter<V, Sender, ends_when_destroyed<Sender>>(std::move(sender_));
    }

  private:
    Sender sender_;
};

/// Awaits a sender in a coroutine of this library, which goes on on its own context wherever the
/// sender ends: a result of its value (of none void, of several a tuple). An error that is a
/// std::error_code, or an enumeration of codes, is the result's; every other is thrown; set_stopped
/// is std::errc::operation_canceled. A stop of the strand is told by the receiver's stop token.
///
/// Destroying the coroutine meanwhile asks a sender of somebody else's to stop and waits for its
/// end, as P2300 lets nobody destroy what runs: that end must come from another thread then. One
/// for which ends_when_destroyed holds is destroyed.
template <class V = vocabulary, class Sender>
sender_awaitable<V, Sender> as_awaitable(Sender sender) {
    return sender_awaitable<V, Sender>(std::move(sender));
}

} // namespace aio::execution

template <class V>
aio::execution::basic_scheduler<V> aio::detail::ends_on<V>::query(
    typename V::template get_completion_scheduler_t<typename V::set_value_t>) const noexcept {
    return execution::basic_scheduler<V>(home_);
}
