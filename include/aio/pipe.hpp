// pipe: two ends that own their descriptors.
//
//     auto ends = co_await aio::pipe::open(ctx);      // result<aio::pipe>
//     co_await aio::write_all(ctx, ends->writer, "text");
#pragma once

#include <aio/operation.hpp>

#include <array>

namespace aio {

struct pipe {
    descriptor reader;
    descriptor writer;

    /// Makes a pipe, close-on-exec. `flags`: as for pipe2(2).
    static auto open(context &ctx, int flags = 0) noexcept;
};

namespace detail {

/// Where aio_submit_pipe writes, in the operation itself.
struct pipe_ends {
    mutable std::array<int, 2> numbers{-1, -1};
};

inline aio_op_id submit_pipe(aio_ctx *ctx, const pipe_ends *ends, int flags,
                             const aio_submit_options *options, aio_callback callback,
                             void *user_data) noexcept {
    return aio_submit_pipe(ctx, ends->numbers.data(), flags, options, callback, user_data);
}

struct gives_pipe {
    using type = pipe;
    template <class Call> static pipe from(const told &now, const Call &call) noexcept {
        const auto &numbers = call.template argument<by_address<pipe_ends>>().value.numbers;
        const bool is_slot = (now.asked & AIO_SUBMIT_DIRECT) != 0;
        const auto end = [&](int number) {
            return descriptor(now.ctx, is_slot ? file_ref::slot(number) : file_ref(number));
        };
        return {end(numbers[0]), end(numbers[1])};
    }
};

} // namespace detail

inline auto pipe::open(context &ctx, int flags) noexcept {
    return detail::submits<detail::gives_pipe, &detail::submit_pipe>(
        ctx, detail::by_address<detail::pipe_ends>{}, flags);
}

} // namespace aio
