// task<T>: a coroutine that runs when it is awaited and gives its value, or its exception, to who
// awaits it.
//
//     aio::task<std::size_t> echo_once(aio::context &ctx, int fd) {
//         std::array<char, 512> text;
//         auto got = co_await aio::recv(ctx, fd, text);
//         co_return (co_await aio::send(ctx, fd, std::span(text).first(got.value()))).value();
//     }
//     std::size_t sent = co_await echo_once(ctx, fd);
//
// Lazy: nothing runs before co_await. Move-only, and awaited once, by value. Control passes from
// task to task by symmetric transfer, so that loops of a million tasks need no stack. Frames come
// from the thread's pool, or with std::allocator_arg and an allocator as the first parameters, from
// that. Destroying a task destroys what it awaits; an operation in flight is ended as operation.hpp
// says.
//
// With GCC 12, whose coroutines have faults that later ones have not:
//  - `if (co_await x)` in a coroutine that declares no variable crashes, as the condition is put
//    where the frame begins. Write `if (const auto ok = co_await x; ok)`, or declare any variable.
//    Tasks look for it, and say so.
//  - A temporary lambda that captures by value what has a destructor is destroyed twice when it is
//    part of a co_await expression. Name it first: `auto fn = [text] {...}; co_await run(fn);`
//  - So is an aggregate whose members have destructors, however it is written: in
//    `co_await jobs.send({name, 1})`, send(job{name, 1}) and send(job(name, 1)). Name it first, and
//    move it.
//
// GCC makes a call of a symmetric transfer where it does not optimise (-O0, -O1, -Og), unless it is
// told -foptimize-sibling-calls, as CMake's aio_rs::cpp does; with -fsanitize=address always. Then
// a loop over tasks that end without waiting takes stack for each.
#pragma once

#include <aio/detail/frame_pool.hpp>
#include <aio/error.hpp>
#include <aio/suspension.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace aio {

template <class T> class task;

namespace detail {

template <class> inline constexpr bool never = false;

/// What a task has in the end: nothing yet, a value, an exception.
template <class T> class outcome {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T> *, T>;

  public:
    outcome() noexcept {}
    outcome(const outcome &) = delete;
    outcome &operator=(const outcome &) = delete;
    ~outcome() {
        if (kind_ == kind::value)
            std::destroy_at(std::addressof(value_));
#if AIO_DETAIL_EXCEPTIONS
        else if (kind_ == kind::exception)
            std::destroy_at(std::addressof(exception_));
#endif
    }

    bool is_set() const noexcept { return kind_ != kind::nothing; }

    template <class U> void set_value(U &&value) {
        if constexpr (std::is_reference_v<T>)
            value_ = std::addressof(static_cast<T>(value));
        else
            std::construct_at(std::addressof(value_), std::forward<U>(value));
        kind_ = kind::value;
    }

    /// Also after a value: a destructor of a coroutine's local may throw behind its co_return.
    void set_exception() noexcept {
#if AIO_DETAIL_EXCEPTIONS
        if (kind_ == kind::value)
            std::destroy_at(std::addressof(value_));
        std::construct_at(std::addressof(exception_), std::current_exception());
        kind_ = kind::exception;
#else
        std::terminate();
#endif
    }

    /// The value, or its exception again; once.
    T take() {
#if AIO_DETAIL_EXCEPTIONS
        if (kind_ == kind::exception) [[unlikely]]
            std::rethrow_exception(std::move(exception_));
#endif
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }

  private:
    enum class kind : unsigned char { nothing, value, exception };
    union {
        stored value_;
#if AIO_DETAIL_EXCEPTIONS
        std::exception_ptr exception_;
#endif
    };
    kind kind_ = kind::nothing;
};

/// The same of a task that gives nothing.
template <> class outcome<void> {
  public:
    bool is_set() const noexcept { return is_set_; }
    void set_value() noexcept { is_set_ = true; }
#if AIO_DETAIL_EXCEPTIONS
    void set_exception() noexcept {
        exception_ = std::current_exception();
        is_set_ = true;
    }
    void take() {
        if (exception_) [[unlikely]]
            std::rethrow_exception(std::exchange(exception_, nullptr));
    }
#else
    [[noreturn]] void set_exception() noexcept { std::terminate(); }
    void take() noexcept {}
#endif

  private:
#if AIO_DETAIL_EXCEPTIONS
    std::exception_ptr exception_;
#endif
    bool is_set_ = false;
};

class task_promise_base : public pooled_frame {
  public:
#if AIO_DETAIL_FRAMES_MAY_BE_WRONG
    /// In a frame that begins too late, functions of it are where nothing was set yet.
    struct initial_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
            if (handle.promise().continuation_ != nullptr) [[unlikely]]
                frame_is_wrong();
        }
        void await_resume() const noexcept {}
    };
    initial_awaiter initial_suspend() const noexcept { return {}; }
#else
    std::suspend_always initial_suspend() const noexcept { return {}; }
#endif

    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) noexcept {
            return handle.promise().continuation_;
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }

    strand *aio_strand() const noexcept { return strand_; }

    /// Who awaits the task, and so in which strand it runs. A stranger's coroutine has none: then
    /// the task begins one of its own, which nobody stops.
    template <class Promise> void awaited_by(std::coroutine_handle<Promise> handle) {
        continuation_ = handle;
        if constexpr (strand_promise<Promise>) {
            strand_ = strand_of(handle);
        } else {
            strand_ = std::construct_at(static_cast<strand *>(frame_pool::allocate(sizeof(strand))),
                                        nullptr);
            owns_strand_ = true;
        }
    }

  protected:
    ~task_promise_base() {
        if (owns_strand_) [[unlikely]]
            frame_pool::deallocate(strand_, sizeof(strand));
    }

  private:
    [[noreturn, gnu::cold, gnu::noinline]] static void frame_is_wrong() noexcept {
        std::fputs(
            "aio: GCC 12 has made a wrong frame of a coroutine that has if (co_await ...) and "
            "no variable: declare one\n",
            stderr);
        std::abort();
    }

    std::coroutine_handle<> continuation_;
    strand *strand_ = nullptr;
    bool owns_strand_ = false;
};

template <class T> class task_promise final : public task_promise_base {
  public:
    task<T> get_return_object() noexcept;
    template <class U = T>
        requires std::is_constructible_v<T, U>
    void return_value(U &&value) {
        outcome_.set_value(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { outcome_.set_exception(); }
    T take() { return outcome_.take(); }

  private:
    outcome<T> outcome_;
};

template <> class task_promise<void> final : public task_promise_base {
  public:
    task<void> get_return_object() noexcept;
    void return_void() noexcept { outcome_.set_value(); }
    void unhandled_exception() noexcept { outcome_.set_exception(); }
    void take() { outcome_.take(); }

  private:
    outcome<void> outcome_;
};

} // namespace detail

/// A coroutine that gives a T: see the top of this file.
template <class T = void>
class [[nodiscard("aio: a task runs only when it is awaited")]]
AIO_DETAIL_ELIDABLE task {
  public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;

    task(const task &) = delete; // aio: a task is moved: std::move(task), or f() directly
    task(task &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    task &operator=(task &&other) noexcept {
        if (this != &other) {
            if (handle_)
                handle_.destroy();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    ~task() {
        if (handle_)
            handle_.destroy();
    }

    class awaiter {
      public:
        explicit awaiter(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) {
            handle_.promise().awaited_by(parent);
            return handle_;
        }
        T await_resume() { return handle_.promise().take(); }

      private:
        std::coroutine_handle<promise_type> handle_;
    };

    /// Runs the task, which must not have been moved from or awaited before.
    awaiter operator co_await() && noexcept {
        AIO_DETAIL_EXPECTS(handle_, "aio: a task was moved from, and is awaited");
        AIO_DETAIL_EXPECTS(!handle_.done(), "aio: a task is awaited a second time");
        return awaiter(handle_);
    }

    template <class U = T> awaiter operator co_await() & noexcept {
        static_assert(detail::never<U>, "aio: a task is awaited once, and by value: "
                                        "co_await std::move(task), or co_await f() directly");
        return awaiter(handle_);
    }

    /// Whether there is a coroutine to await.
    bool valid() const noexcept { return handle_ != nullptr; }

  private:
    friend promise_type;
    explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

    std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T> task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

} // namespace detail
} // namespace aio
