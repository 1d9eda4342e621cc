// thread_channel<T>: a bounded queue from any number of threads to one coroutine.
//
//     aio::thread_channel<job> jobs(1024);
//     std::thread producer([jobs] { jobs.send(job{...}); });       // a copy refers to the same one
//     ...
//     while (auto job = co_await jobs.receive(ctx))                // result<job>; errc::eof in the
//     end
//         co_await work(*job);
//
// Sending never waits: a full channel says so. It takes no lock, and makes a system call only if
// the receiving context sleeps. Plain data (trivially copyable) of up to 64 KiB is copied through
// the channel itself; other values are moved into memory of the sender's frame pool, of which the
// channel carries the address. For coroutines of one thread, channel waits for room as well.
#pragma once

#include <aio/detail/adapted.hpp>
#include <aio/multishot.hpp>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>

namespace aio {
namespace detail {

/// What a channel of the C interface carries of a T, and back.
template <class T> struct record_of {
    struct box : pooled_frame {
        explicit box(T &&value) : value(std::move(value)) {}
        T value;
    };
    using type = box *;
    static type make(T &&value) { return new box(std::move(value)); }
    static T open(type record) {
        const std::unique_ptr<box> owned(record);
        return std::move(owned->value);
    }
    /// After a send that has failed.
    static void take_back(type record, T &value) noexcept {
        std::destroy_at(std::addressof(value));
        std::construct_at(std::addressof(value), open(record));
    }
    static void drop(type record) noexcept { delete record; }
};
template <class T>
    requires(std::is_trivially_copyable_v<T> && sizeof(T) <= 65536)
struct record_of<T> {
    using type = T;
    static type make(T &&value) noexcept { return value; }
    static T open(const type &record) noexcept { return record; }
    static void take_back(const type &, T &) noexcept {}
    static void drop(const type &) noexcept {}
};

/// The channel of the C interface. The last that refers to it also drops what nobody received.
template <class T> class thread_channel_core {
  public:
    using record = typename record_of<T>::type;

    explicit thread_channel_core(aio_channel *channel) noexcept : channel(channel) {}
    thread_channel_core(const thread_channel_core &) = delete;
    thread_channel_core &operator=(const thread_channel_core &) = delete;
    ~thread_channel_core() {
        aio_channel_close(channel);
        alignas(record) std::byte room[sizeof(record)];
        while (aio_channel_take(channel, room, 1) == 1)
            record_of<T>::drop(*std::launder(reinterpret_cast<record *>(room)));
        aio_channel_destroy(channel);
    }

    aio_channel *const channel;
};

/// The call of a receive, and where that puts its record.
template <class T, auto Function> class channel_call {
    using record = typename thread_channel_core<T>::record;

  public:
    explicit channel_call(std::shared_ptr<thread_channel_core<T>> from) noexcept
        : from_(std::move(from)) {}
    /// Moved before the submit, when there is no record yet.
    channel_call(channel_call &&other) noexcept : from_(std::move(other.from_)) {}

    aio_op_id operator()(aio_ctx *ctx, const aio_submit_options *options, aio_callback callback,
                         void *user_data) const noexcept {
        return Function(ctx, from_->channel, room_, 1, options, callback, user_data);
    }
    constexpr bool is_on_slot() const noexcept { return false; }

    T take() const noexcept {
        return record_of<T>::open(*std::launder(reinterpret_cast<record *>(room_)));
    }

  private:
    std::shared_ptr<thread_channel_core<T>> from_;
    alignas(record) mutable std::byte room_[sizeof(record)];
};

} // namespace detail

/// See the top of this file. Copies refer to the same channel; the last one closes it.
template <class T> class thread_channel {
    using core = detail::thread_channel_core<T>;
    using record = typename core::record;
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "aio: what goes through a thread_channel must be movable without an exception");

  public:
    using value_type = T;

    /// `capacity` is rounded up to a power of two; 0: 256.
    static result<thread_channel> create(std::size_t capacity = 0) {
        aio_channel_options options{};
        options.size = sizeof options;
        options.capacity = static_cast<uint32_t>(std::min<std::size_t>(capacity, UINT32_MAX));
        options.record_size = sizeof(record);
        aio_channel *made = nullptr;
        if (int32_t status = aio_channel_create(&options, &made); status != 0)
            return unexpected::from_status(status);
        return thread_channel(std::make_shared<core>(made));
    }
    /// Throws std::system_error when there can be none.
    explicit thread_channel(std::size_t capacity = 0) : thread_channel(create(capacity).value()) {}

    /// Sends a value. Any thread. std::errc::resource_unavailable_try_again if it is full,
    /// errc::closed after close(): then the value is still there.
    result<void> send(T &&value) const {
        record made = detail::record_of<T>::make(std::move(value));
        const int32_t status = aio_channel_send(core_->channel, &made);
        if (status != 0)
            detail::record_of<T>::take_back(made, value);
        return detail::as_result(status);
    }
    result<void> send(const T &value) const { return send(T(value)); }

    /// Waits for a value, and takes it: result<T>; errc::eof when it is closed and empty. Context
    /// thread, of any context; one at a time, else std::errc::device_or_resource_busy.
    auto receive(context &ctx) const {
        return detail::adapted(operation<gives_if_any, once>(ctx.native(), once(core_)),
                               takes{core_});
    }

    /// The same again and again: each item is a T; errc::eof in the end.
    auto values(context &ctx) const {
        return multishot<gives_value, repeatedly>(ctx.native(), repeatedly(core_));
    }

    /// Nothing is sent any more; what was sent is still received. Any thread.
    void close() const noexcept { aio_channel_close(core_->channel); }
    /// How many values wait to be received; roughly, while others send. Any thread.
    std::size_t size() const noexcept {
        return static_cast<std::size_t>(std::max(aio_channel_length(core_->channel), 0));
    }
    std::size_t capacity() const noexcept {
        return static_cast<std::size_t>(std::max(aio_channel_capacity(core_->channel), 0));
    }

    aio_channel *native() const noexcept { return core_->channel; }

  private:
    using once = detail::channel_call<T, &aio_submit_channel_receive>;
    using repeatedly = detail::channel_call<T, &aio_submit_channel_receive_multishot>;

    struct gives_value {
        static constexpr bool last_is_result = false;
        using type = T;
        static T from(const detail::told &, const repeatedly &call) noexcept { return call.take(); }
    };
    struct gives_if_any {
        using type = std::optional<T>;
        static type from(const detail::told &now, const once &call) noexcept {
            return now.result == 0 ? type() : type(call.take());
        }
    };
    struct takes {
        std::shared_ptr<core> kept;
        result<T> operator()(result<std::optional<T>> got) const noexcept {
            if (!got)
                return unexpected(got.error());
            if (!*got)
                return unexpected(errc::eof);
            return result<T>(std::in_place, std::move(**got));
        }
    };

    explicit thread_channel(std::shared_ptr<core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<core> core_;
};

} // namespace aio
