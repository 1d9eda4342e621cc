// buffer_pool and buffer: receives that take a buffer when there is data, and not before, so that
// many silent connections share a few.
//
//     auto pool = aio::buffer_pool::create(ctx, {.count = 256, .buffer_size = 4096}).value();
//     auto incoming = aio::recv_multishot(ctx, fd, pool);
//     while (auto data = co_await incoming.next())
//         parse(aio::as_text(*data));                  // a buffer, released when it is destroyed
//
// A buffer outlives its pool and its context, and may be released on any thread. Receives into a
// pool can be given up without waiting for anything: they refer to no memory of the program's.
#pragma once

#include <aio/bytes.hpp>
#include <aio/multishot.hpp>

#include <algorithm>
#include <utility>

namespace aio {

/// A buffer of a pool, or a piece of one, that is yours until it is destroyed.
class [[nodiscard]] buffer {
  public:
    buffer() noexcept = default;
    buffer(aio_buffer_pool *pool, const aio_buffer_lease &lease) noexcept
        : pool_(pool), data_(static_cast<std::byte *>(lease.data)), size_(lease.len),
          lease_(lease.id) {}
    buffer(buffer &&other) noexcept { swap(other); }
    buffer &operator=(buffer &&other) noexcept {
        buffer(std::move(other)).swap(*this);
        return *this;
    }
    ~buffer() {
        if (lease_ > 0)
            aio_buffer_pool_release(pool_, lease_);
    }

    std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::byte *begin() const noexcept { return data_; }
    std::byte *end() const noexcept { return data_ + size_; }

    /// The lease of the C interface; release() gives it to the caller.
    int64_t native() const noexcept { return lease_; }
    int64_t release() noexcept { return std::exchange(lease_, 0); }

    void swap(buffer &other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(lease_, other.lease_);
    }

  private:
    aio_buffer_pool *pool_ = nullptr;
    std::byte *data_ = nullptr;
    std::size_t size_ = 0;
    int64_t lease_ = 0;
};

namespace detail {

/// A pool whose owner is gone before all that receives into it: given up receives take a turn or
/// two to end. Its context looks again until it can be destroyed.
class ending_pool final : public home::resident, public pooled_frame {
  public:
    static void begin(home &home, aio_buffer_pool *pool) {
        auto *self = new ending_pool(home.ctx, pool);
        home.enlist(*self);
        self->look_later();
    }
    ~ending_pool() override {
        if (id_ > 0)
            aio_ctx_detach(ctx_, id_); // a timer refers to no memory
        if (pool_ != nullptr)
            aio_buffer_pool_destroy(pool_); // with its context: nothing receives any more
    }

  private:
    ending_pool(aio_ctx *ctx, aio_buffer_pool *pool) noexcept : ctx_(ctx), pool_(pool) {}

    void look_later() noexcept {
        id_ = aio_submit_timer(ctx_, wait_ns_, nullptr, &ending_pool::look, this);
        wait_ns_ = std::min(wait_ns_ * 2, wait_ns_max);
    }
    static void look(void *user_data, int32_t result, uint32_t) noexcept {
        auto *self = static_cast<ending_pool *>(user_data);
        self->id_ = 0;
        if (result != 0)
            return; // the context ends, and this with it
        if (aio_buffer_pool_destroy(self->pool_) == -EBUSY) {
            self->look_later();
        } else {
            self->pool_ = nullptr;
            delete self;
        }
    }

    static constexpr uint64_t wait_ns_max = 100'000'000;
    aio_ctx *ctx_;
    aio_buffer_pool *pool_;
    aio_op_id id_ = 0;
    uint64_t wait_ns_ = 1'000'000;
};

} // namespace detail

/// Options of a pool; the meaning of each is that of the same field of aio_buffer_pool_options.
struct buffer_pool_options {
    uint32_t count = 0;
    uint32_t buffer_size = 0;
    uint32_t flags = 0;
    uint32_t count_max = 0;
    uint32_t low_water = 0;
    aio_post_fn on_low_water = nullptr;
    void *low_water_arg = nullptr;
};

/// A pool of buffers for the receives of a context.
class buffer_pool {
  public:
    static result<buffer_pool> create(context &ctx, const buffer_pool_options &options = {}) {
        aio_buffer_pool_options native{};
        native.size = sizeof native;
        native.count = options.count;
        native.buffer_size = options.buffer_size;
        native.flags = options.flags;
        native.count_max = options.count_max;
        native.low_water = options.low_water;
        native.on_low_water = options.on_low_water;
        native.low_water_arg = options.low_water_arg;
        aio_buffer_pool *pool = nullptr;
        if (int32_t status = aio_buffer_pool_create(ctx.native(), &native, &pool); status != 0)
            return unexpected::from_status(status);
        return buffer_pool(ctx.where(), pool);
    }
    /// Throws std::system_error when there can be none.
    explicit buffer_pool(context &ctx, const buffer_pool_options &options = {})
        : buffer_pool(create(ctx, options).value()) {}

    buffer_pool(buffer_pool &&other) noexcept
        : home_(other.home_), pool_(std::exchange(other.pool_, nullptr)) {}
    buffer_pool &operator=(buffer_pool &&other) noexcept {
        std::swap(home_, other.home_);
        std::swap(pool_, other.pool_);
        return *this;
    }
    /// On the context's thread, or when the context is gone. What receives into it should have
    /// ended or been given up: the pool is freed when that has.
    ~buffer_pool() {
        if (pool_ != nullptr && aio_buffer_pool_destroy(pool_) == -EBUSY)
            detail::ending_pool::begin(*home_, pool_);
    }

    result<void> grow(uint32_t count) noexcept {
        return detail::as_result(aio_buffer_pool_grow(pool_, count));
    }
    result<aio_pool_info> info() const noexcept {
        aio_pool_info info{};
        info.size = sizeof info;
        return detail::as_result(aio_buffer_pool_info(pool_, &info)).transform([&] {
            return info;
        });
    }
    /// Takes over a pool of the C interface, such as one of aio_buffer_pool_create_zero_copy.
    static buffer_pool adopt(context &ctx, aio_buffer_pool *pool) noexcept {
        return buffer_pool(ctx.where(), pool);
    }
    aio_buffer_pool *native() const noexcept { return pool_; }

    // ---- of a pool with AIO_BUFFER_POOL_SEND ----

    /// An empty buffer to fill; std::errc::no_buffer_space when none is empty.
    result<buffer> take() noexcept {
        aio_buffer_lease lease{};
        lease.size = sizeof lease;
        return detail::as_result(aio_buffer_pool_take(pool_, &lease)).transform([&] {
            return buffer(pool_, lease);
        });
    }
    /// Queues the first `size` bytes of it for send_bundle. If it fails the buffer is released.
    result<void> queue(buffer filled, std::size_t size) noexcept {
        const int32_t status = aio_buffer_pool_queue(pool_, filled.native(), size);
        if (status == 0)
            filled.release();
        return detail::as_result(status);
    }
    /// Gives what is queued back unsent; how many buffers.
    result<std::size_t> discard() noexcept {
        const int32_t count = aio_buffer_pool_discard(pool_);
        if (count < 0)
            return unexpected::from_status(count);
        return static_cast<std::size_t>(count);
    }

  private:
    buffer_pool(detail::home *home, aio_buffer_pool *pool) noexcept : home_(home), pool_(pool) {}
    detail::home *home_;
    aio_buffer_pool *pool_;
};

namespace detail {

/// The buffers that a callback brings: several of a bundle, none at the end of a stream.
struct gives_buffer {
    static constexpr bool last_is_result = false;
    using type = buffer;

    template <class Call>
    static bool take(const told &now, const Call &call, buffer &out) noexcept {
        aio_buffer_lease lease{};
        lease.size = sizeof lease;
        if ((now.flags & AIO_CQE_BUFFER) == 0 || aio_ctx_take_buffer(now.ctx, &lease) != 0)
            return false;
        out = buffer(call.template argument<aio_buffer_pool *>(), lease);
        return true;
    }
    template <class Call> static buffer from(const told &now, const Call &call) noexcept {
        buffer one;
        take(now, call, one);
        return one;
    }
    template <class Call, class Push>
    static void each(const told &now, const Call &call, Push push) noexcept {
        for (buffer one; take(now, call, one);)
            push(std::move(one));
    }
};

/// One buffer has no place for a bundle: refused, not dropped.
inline aio_op_id submit_recv_pooled(aio_ctx *ctx, int fd, aio_buffer_pool *pool, int flags,
                                    const aio_submit_options *options, aio_callback callback,
                                    void *user_data) noexcept {
    aio_pool_info info{};
    info.size = sizeof info;
    if (aio_buffer_pool_info(pool, &info) == 0 && (info.flags & AIO_BUFFER_POOL_BUNDLES) != 0)
        return -EINVAL;
    return aio_submit_recv_pooled(ctx, fd, pool, flags, options, callback, user_data);
}

} // namespace detail

/// Receives whenever data comes: each item is a buffer. errc::eof at the end of the stream.
inline auto recv_multishot(context &ctx, file_ref fd, const buffer_pool &pool, int flags = 0) {
    return detail::repeats<detail::gives_buffer, &aio_submit_recv_multishot>(ctx, fd, pool.native(),
                                                                             flags);
}

/// Receives once, into a buffer that is taken when there is data; empty at the end of the stream.
/// Not of a pool with AIO_BUFFER_POOL_BUNDLES.
inline auto recv_pooled(context &ctx, file_ref fd, const buffer_pool &pool,
                        int flags = 0) noexcept {
    return detail::submits<detail::gives_buffer, &detail::submit_recv_pooled>(ctx, fd,
                                                                              pool.native(), flags);
}

/// Receives messages whenever they come: each item is a buffer, which aio_message_parse takes
/// apart. `message` says how much room there is for names and control data, and must live until
/// next().
inline auto recvmsg_multishot(context &ctx, file_ref fd, const buffer_pool &pool,
                              const msghdr &message, int flags = 0) {
    return detail::repeats<detail::gives_buffer, &aio_submit_recvmsg_multishot>(
        ctx, fd, pool.native(), &message, flags);
}

/// Reads whenever there is data, of anything that can be polled: each item is a buffer.
inline auto read_multishot(context &ctx, file_ref fd, const buffer_pool &pool) {
    return detail::repeats<detail::gives_buffer, &aio_submit_read_multishot>(ctx, fd,
                                                                             pool.native());
}

/// Receives without a copy, of a pool of aio_buffer_pool_create_zero_copy: each item is a buffer.
inline auto recv_zc(context &ctx, file_ref fd, const buffer_pool &pool) {
    return detail::repeats<detail::gives_buffer, &aio_submit_recv_zc>(ctx, fd, pool.native());
}

/// Sends what is queued in a pool with AIO_BUFFER_POOL_SEND; gives the count.
inline auto send_bundle(context &ctx, file_ref fd, const buffer_pool &pool,
                        int flags = 0) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_send_bundle>(ctx, fd, pool.native(),
                                                                            flags);
}

} // namespace aio
