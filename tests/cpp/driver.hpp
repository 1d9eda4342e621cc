// A small library of P2300 that knows nothing of aio: its own words, receivers, `then`,
// `when_both`, `sync_wait`, and a sender that ends on a thread of its own. Senders of ours that
// work with it keep to the letter of P2300, and not just to what they expect of themselves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

namespace driver {

struct sender_t {};
struct receiver_t {};
struct operation_state_t {};
struct scheduler_t {};
struct set_value_t {};
struct set_error_t {};
struct set_stopped_t {};
struct get_stop_token_t {};
template <class> struct get_completion_scheduler_t {};
template <class...> struct completion_signatures {};

template <class Sender>
concept sender =
    std::is_base_of_v<sender_t, typename std::remove_cvref_t<Sender>::sender_concept> &&
    std::is_nothrow_move_constructible_v<std::remove_cvref_t<Sender>>;

/// What a sender is connected to must be a receiver, and gives an operation state that is started
/// once, cannot be moved and says that nothing is thrown.
template <sender Sender, class Receiver> auto connect(Sender &&sender, Receiver &&receiver) {
    using state = decltype(std::forward<Sender>(sender).connect(std::forward<Receiver>(receiver)));
    static_assert(std::is_base_of_v<operation_state_t, typename state::operation_state_concept>);
    static_assert(!std::is_move_constructible_v<state> && std::is_destructible_v<state>);
    static_assert(noexcept(std::declval<state &>().start()));
    return std::forward<Sender>(sender).connect(std::forward<Receiver>(receiver));
}

struct words {
    using sender_t = driver::sender_t;
    using receiver_t = driver::receiver_t;
    using operation_state_t = driver::operation_state_t;
    using scheduler_t = driver::scheduler_t;
    using set_value_t = driver::set_value_t;
    using set_error_t = driver::set_error_t;
    using set_stopped_t = driver::set_stopped_t;
    using get_stop_token_t = driver::get_stop_token_t;
    template <class Tag> using get_completion_scheduler_t = driver::get_completion_scheduler_t<Tag>;
    template <class... S> using completion_signatures = driver::completion_signatures<S...>;
    template <class S, class> using completion_signatures_of = typename S::completion_signatures;
    template <class S, class R> static auto connect(S &&sender, R &&receiver) {
        return driver::connect(std::forward<S>(sender), std::forward<R>(receiver));
    }
};

struct no_env {};
template <class T> auto env_of(const T &of) {
    if constexpr (requires { of.get_env(); })
        return of.get_env();
    else
        return no_env();
}

// ---- what ended, kept ----

/// What a receiver was told: values, an error, an exception, a stop; and how often.
template <class... T> struct told {
    std::optional<std::tuple<T...>> values;
    std::error_code error;
    std::exception_ptr exception;
    bool stopped = false;
    std::atomic<int> times = 0;
    std::thread::id thread;
};

template <class Token> struct token_env {
    Token token;
    Token query(get_stop_token_t) const noexcept { return token; }
};

/// A receiver that notes what it is told, and calls `after`.
template <class Token, class After, class... T> struct notes {
    using receiver_concept = receiver_t;
    told<T...> *to;
    Token token;
    After after;

    token_env<Token> get_env() const noexcept { return {token}; }
    template <class... V> void set_value(V &&...values) && noexcept {
        to->values.emplace(std::forward<V>(values)...);
        finish();
    }
    void set_error(std::error_code error) && noexcept {
        to->error = error;
        finish();
    }
    void set_error(std::exception_ptr exception) && noexcept {
        to->exception = std::move(exception);
        finish();
    }
    void set_stopped() && noexcept {
        to->stopped = true;
        finish();
    }
    void finish() noexcept {
        to->thread = std::this_thread::get_id();
        After last(std::move(after));
        to->times++;
        last();
    }
};

template <class... T, class Token, class After>
notes<Token, After, T...> noting(told<T...> &to, Token token, After after) {
    return {&to, std::move(token), std::move(after)};
}

// ---- algorithms ----

/// What a sender with these ends has in the end when `f` is called with its values.
template <class F, class End> struct after {
    using type = completion_signatures<End>;
};
template <class F, class... V> struct after<F, set_value_t(V...)> {
    using given = std::invoke_result_t<F, V...>;
    template <class T> struct end_of {
        using type = completion_signatures<set_value_t(T)>;
    };
    template <class T>
        requires std::is_void_v<T>
    struct end_of<T> {
        using type = completion_signatures<set_value_t()>;
    };
    using type = typename end_of<given>::type;
};
template <class... A, class... B>
completion_signatures<A..., B...> operator+(completion_signatures<A...>,
                                            completion_signatures<B...>);
template <class F, class Ends> struct after_all;
template <class F, class... End> struct after_all<F, completion_signatures<End...>> {
    using type = decltype((completion_signatures<>() + ... + typename after<F, End>::type()));
};

template <class Sender, class F> struct then_sender {
    using sender_concept = sender_t;
    using completion_signatures =
        typename after_all<F, typename Sender::completion_signatures>::type;
    Sender sender;
    F f;

    template <class R> struct receiver {
        using receiver_concept = receiver_t;
        R next;
        F f;
        auto get_env() const noexcept { return env_of(next); }
        template <class... V> void set_value(V &&...values) && noexcept {
            if constexpr (std::is_void_v<std::invoke_result_t<F, V...>>) {
                std::invoke(std::move(f), std::forward<V>(values)...);
                std::move(next).set_value();
            } else {
                std::move(next).set_value(std::invoke(std::move(f), std::forward<V>(values)...));
            }
        }
        template <class E> void set_error(E &&error) && noexcept {
            std::move(next).set_error(std::forward<E>(error));
        }
        void set_stopped() && noexcept { std::move(next).set_stopped(); }
    };
    template <class R> auto connect(R next) && {
        return driver::connect(std::move(sender), receiver<R>{std::move(next), std::move(f)});
    }
};
template <sender Sender, class F> then_sender<Sender, F> then(Sender sender, F f) {
    return {std::move(sender), std::move(f)};
}

/// Begins the second, which is made of what the first gives, where the first ends.
template <class Sender, class F> struct let_value_sender {
    using sender_concept = sender_t;
    Sender sender;
    F f;

    template <class R> struct state {
        using operation_state_concept = operation_state_t;
        struct receiver {
            using receiver_concept = receiver_t;
            state *of;
            auto get_env() const noexcept { return env_of(of->next); }
            template <class... V> void set_value(V &&...values) && noexcept {
                of->go_on(std::forward<V>(values)...);
            }
            template <class E> void set_error(E &&error) && noexcept {
                std::move(of->next).set_error(std::forward<E>(error));
            }
            void set_stopped() && noexcept { std::move(of->next).set_stopped(); }
        };
        using second_sender = std::invoke_result_t<F>;
        using second_state =
            decltype(driver::connect(std::declval<second_sender>(), std::declval<R>()));
        struct emplaced {
            state *of;
            operator second_state() const {
                return driver::connect(std::move(of->f)(), std::move(of->next));
            }
        };

        state(Sender &&sender, F &&f, R &&next)
            : f(std::move(f)), next(std::move(next)),
              first(driver::connect(std::move(sender), receiver{this})) {}
        state(state &&) = delete;
        void start() & noexcept { first.start(); }
        void go_on() noexcept { second.emplace(emplaced{this}).start(); }

        F f;
        R next;
        decltype(driver::connect(std::declval<Sender>(), std::declval<receiver>())) first;
        std::optional<second_state> second;
    };
    template <class R> state<R> connect(R next) && {
        return {std::move(sender), std::move(f), std::move(next)};
    }
};
template <sender Sender, class F> let_value_sender<Sender, F> let_value(Sender sender, F f) {
    return {std::move(sender), std::move(f)};
}

/// Both at once, with one value each: a pair of the values when both have ended; the first error or
/// stop ends the other by `Source`, and counts.
template <class Source, class A, class B, class Va, class Vb> struct both_sender {
    using sender_concept = sender_t;
    using completion_signatures =
        driver::completion_signatures<set_value_t(Va, Vb), set_error_t(std::error_code),
                                      set_stopped_t()>;
    A a;
    B b;

    template <class R> struct state {
        using operation_state_concept = operation_state_t;
        using token = decltype(std::declval<Source &>().get_token());
        struct pass {
            state *of;
            void operator()() const noexcept { of->source.request_stop(); }
        };
        using outer_token = decltype(env_of(std::declval<R &>()).query(get_stop_token_t()));
        template <int I> struct receiver {
            using receiver_concept = receiver_t;
            state *of;
            token_env<token> get_env() const noexcept { return {of->source.get_token()}; }
            template <class V> void set_value(V &&value) && noexcept {
                std::get<I>(of->values).emplace(std::forward<V>(value));
                of->one_ended();
            }
            void set_error(std::error_code error) && noexcept { of->failed(error); }
            void set_error(std::exception_ptr) && noexcept { std::terminate(); }
            void set_stopped() && noexcept { of->failed({}); }
        };

        state(A &&a, B &&b, R &&next)
            : next(std::move(next)), first(driver::connect(std::move(a), receiver<0>{this})),
              second(driver::connect(std::move(b), receiver<1>{this})) {}
        state(state &&) = delete;
        void start() & noexcept {
            on_stop.emplace(env_of(next).query(get_stop_token_t()), pass{this});
            first.start();
            second.start();
        }
        void failed(std::error_code why) noexcept {
            if (!has_failed.exchange(true))
                error = why;
            source.request_stop();
            one_ended();
        }
        void one_ended() noexcept {
            if (--left != 0)
                return;
            on_stop.reset();
            if (!has_failed)
                std::move(next).set_value(*std::move(std::get<0>(values)),
                                          *std::move(std::get<1>(values)));
            else if (error)
                std::move(next).set_error(error);
            else
                std::move(next).set_stopped();
        }

        R next;
        Source source;
        std::optional<typename outer_token::template callback_type<pass>> on_stop;
        std::tuple<std::optional<Va>, std::optional<Vb>> values;
        std::error_code error;
        std::atomic<bool> has_failed = false;
        std::atomic<int> left = 2;
        decltype(driver::connect(std::declval<A>(), std::declval<receiver<0>>())) first;
        decltype(driver::connect(std::declval<B>(), std::declval<receiver<1>>())) second;
    };
    template <class R> state<R> connect(R next) && {
        return {std::move(a), std::move(b), std::move(next)};
    }
};
template <class Source, class Va, class Vb, sender A, sender B>
both_sender<Source, A, B, Va, Vb> when_both(A a, B b) {
    return {std::move(a), std::move(b)};
}

/// Ends with a number, or stopped, on a thread of its own, when `go` is called or it is stopped.
template <class Token> class thread_sender {
  public:
    using sender_concept = sender_t;
    using completion_signatures =
        driver::completion_signatures<set_value_t(int), set_error_t(int), set_stopped_t()>;
    explicit thread_sender(std::chrono::milliseconds after) : after_(after) {}

    template <class R> class state {
      public:
        using operation_state_concept = operation_state_t;
        state(R &&next, std::chrono::milliseconds after) : next_(std::move(next)), after_(after) {}
        state(state &&) = delete;
        ~state() {
            if (thread_.joinable())
                thread_.detach(); // it has called the receiver, and touches nothing of this
        }
        void start() & noexcept {
            const Token token = env_of(next_).query(get_stop_token_t());
            // The thread begins when start() has done with this.
            const std::lock_guard lock(mutex_);
            thread_ = std::thread([this, token] {
                {
                    const std::lock_guard begun(mutex_);
                }
                const auto end = std::chrono::steady_clock::now() + after_;
                while (!token.stop_requested() && std::chrono::steady_clock::now() < end)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                R next(std::move(next_));
                if (token.stop_requested())
                    std::move(next).set_stopped();
                else
                    std::move(next).set_value(7);
            });
        }

      private:
        R next_;
        std::chrono::milliseconds after_;
        std::mutex mutex_;
        std::thread thread_;
    };
    template <class R> state<R> connect(R next) && { return {std::move(next), after_}; }

  private:
    std::chrono::milliseconds after_;
};

} // namespace driver
