// Senders of P2300 as awaitables: a receiver that resumes the coroutine on its own context, on
// whichever thread the sender ends, and whose stop token is the strand's.
#pragma once

#include <aio/detail/home.hpp>
#include <aio/result.hpp>
#include <aio/stop_token.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace aio::detail {

struct no_values {};

/// One type for the values of a sender: of none void, of several a tuple.
template <class... T> struct joined {
    using type = std::tuple<std::decay_t<T>...>;
};
template <class T> struct joined<T> {
    using type = std::decay_t<T>;
};
template <> struct joined<> {
    using type = void;
};

/// What a completion signature brings if it is one of values, and no_values if it is not.
template <class V, class Signature> struct values_of_signature;
template <class V, class Tag, class... T> struct values_of_signature<V, Tag(T...)> {
    using type = typename std::conditional_t<std::is_same_v<Tag, typename V::set_value_t>,
                                             joined<T...>, std::type_identity<no_values>>::type;
};

/// The same of a list of signatures, one of which at most may be of values.
template <class V, class Found, class... Signatures> struct values_of_all {
    using type = Found;
};
template <class V, class Found, class First, class... Rest>
struct values_of_all<V, Found, First, Rest...> {
    using one = typename values_of_signature<V, First>::type;
    static_assert(std::is_same_v<one, no_values> || std::is_same_v<Found, no_values> ||
                      std::is_same_v<one, Found>,
                  "aio: a sender that is awaited must have one kind of values: into_variant");
    using type =
        typename values_of_all<V, std::conditional_t<std::is_same_v<one, no_values>, Found, one>,
                               Rest...>::type;
};
template <class V, class List> struct values_of;
template <class V, template <class...> class List, class... Signatures>
struct values_of<V, List<Signatures...>> {
    using found = typename values_of_all<V, no_values, Signatures...>::type;
    using type = std::conditional_t<std::is_same_v<found, no_values>, void, found>;
};

template <class V, class Sender, bool EndsWhenDestroyed>
class sender_awaiter final : public queued_suspension, private inbox::entry {
    class environment {
      public:
        explicit environment(const sender_awaiter &of) noexcept : of_(&of) {}
        inplace_stop_token query(typename V::get_stop_token_t) const noexcept {
            return of_->source_.get_token();
        }

      private:
        const sender_awaiter *of_;
    };

    using value_type = typename values_of<
        V, typename V::template completion_signatures_of<Sender, environment>>::type;

    class receiver {
      public:
        using receiver_concept = typename V::receiver_t;
        explicit receiver(sender_awaiter &of) noexcept : of_(&of) {}

        template <class... T> void set_value(T &&...values) && noexcept {
            of_->ended([&] { of_->given_.emplace(std::in_place, std::forward<T>(values)...); });
        }
        template <class E> void set_error(E &&error) && noexcept {
            of_->ended([&] { of_->take_error(std::forward<E>(error)); });
        }
        void set_stopped() && noexcept {
            of_->ended([&] { of_->given_.emplace(unexpected(std::errc::operation_canceled)); });
        }
        environment get_env() const noexcept { return environment(*of_); }

      private:
        sender_awaiter *of_;
    };

  public:
    explicit sender_awaiter(Sender &&sender)
        : entry([](entry &self) noexcept { static_cast<sender_awaiter &>(self).resume(); }),
          state_(V::connect(std::move(sender), receiver(*this))) {}

    ~sender_awaiter() {
        std::unique_lock lock(mutex_);
        if (stage_ != stage::waits)
            return;
        is_dying_ = true;
        if constexpr (!EndsWhenDestroyed) {
            lock.unlock();
            source_.request_stop();
            lock.lock();
            changed_.wait(lock, [&] { return stage_ == stage::ended; });
        }
    }

    bool await_ready() const noexcept { return false; }

    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        if (!begin(handle, [](suspension &self) noexcept {
                static_cast<sender_awaiter &>(self).pass_stop();
            })) {
            given_.emplace(unexpected(std::errc::operation_canceled));
            return false;
        }
        home_ = strand_access::home_of(strand_of(handle));
        state_.start();
        const std::lock_guard lock(mutex_);
        if (stage_ == stage::ended) {
            end();
            return false;
        }
        stage_ = stage::waits;
        return true;
    }

    result<value_type> await_resume() {
#if AIO_DETAIL_EXCEPTIONS
        if (exception_)
            std::rethrow_exception(std::exchange(exception_, nullptr));
#endif
        return *std::move(given_);
    }

  private:
    enum class stage : unsigned char { starts, waits, ended };

    void pass_stop() noexcept {
        is_stopping_ = true;
        source_.request_stop();
        is_stopping_ = false;
    }

    /// Nothing is resumed inside a request to stop; nor on a thread that is not the context's.
    template <class Store> void ended(Store store) noexcept {
        bool goes_on_here = false;
        {
            const std::lock_guard lock(mutex_);
#if AIO_DETAIL_EXCEPTIONS
            try {
                store();
            } catch (...) {
                exception_ = std::current_exception();
            }
#else
            store();
#endif
            // Under the lock: who destroys this waits for it.
            if (std::exchange(stage_, stage::ended) != stage::waits)
                return;
            if (is_dying_)
                changed_.notify_one();
            else if (home_ == nullptr || aio_ctx_current() == home_->ctx)
                goes_on_here = true;
            else
                home_->box().push(*this); // refused: the context ends, and nobody goes on
        }
        if (goes_on_here)
            is_stopping_ ? resume_later() : resume();
    }

    template <class E> void take_error(E &&error) {
        using type = std::remove_cvref_t<E>;
        if constexpr (std::is_same_v<type, std::error_code>) {
            given_.emplace(unexpected(error));
        } else if constexpr (std::is_error_code_enum_v<type> || std::is_same_v<type, std::errc>) {
            given_.emplace(unexpected(make_error_code(error)));
        } else {
#if AIO_DETAIL_EXCEPTIONS
            if constexpr (std::is_same_v<type, std::exception_ptr>)
                exception_ = std::forward<E>(error);
            else
                exception_ = std::make_exception_ptr(std::forward<E>(error));
#else
            fail(make_error(-EINVAL), "aio: a sender has ended with an exception");
#endif
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    stage stage_ = stage::starts;
    bool is_dying_ = false;
    bool is_stopping_ = false; // of the context's thread
    home *home_ = nullptr;
    inplace_stop_source source_;
    std::optional<result<value_type>> given_;
#if AIO_DETAIL_EXCEPTIONS
    std::exception_ptr exception_;
#endif
    decltype(V::connect(std::declval<Sender>(), std::declval<receiver>())) state_;
};

} // namespace aio::detail
