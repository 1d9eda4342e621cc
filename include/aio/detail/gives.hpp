// What operations give: how a result of the C interface that is no error becomes a value.
//
// `type` is what the result is of. from() makes it, inside the callback, where the context can be
// asked what the result itself does not say. Of a multishot, `last_is_result` says that its last
// callback, where it is no error, brings a result as well, and not just the end; and each(), where
// there is one, gives all of several that one callback brings.
#pragma once

#include <aio/descriptor.hpp>

namespace aio::detail {

/// What a callback was told, and what its operation was asked for (AIO_SUBMIT_*).
struct told {
    aio_ctx *ctx;
    int32_t result;
    uint32_t flags;
    uint32_t asked;
};

struct gives_nothing {
    using type = void;
};

/// The result, as a number of this type.
template <class T> struct gives_number_of {
    static constexpr bool last_is_result = false;
    using type = T;
    template <class Call> static T from(const told &now, const Call &) noexcept {
        return static_cast<T>(now.result);
    }
};
using gives_count = gives_number_of<std::size_t>;
using gives_number = gives_number_of<int32_t>;

/// Events of poll(2). A file that is always ready tells them in its last callback.
struct gives_events : gives_number_of<uint32_t> {
    static constexpr bool last_is_result = true;
};

/// Zero-copy sends, which tell of their end twice.
struct gives_sent : gives_count {
    static constexpr bool is_notified = true;
};

/// Whole transfers: the count is in the context.
struct gives_transfer {
    using type = std::size_t;
    template <class Call> static std::size_t from(const told &now, const Call &) noexcept {
        return aio_ctx_current_bytes(now.ctx);
    }
};

struct gives_descriptor {
    static constexpr bool last_is_result = false;
    using type = descriptor;
    template <class Call> static descriptor from(const told &now, const Call &) noexcept {
        const bool is_slot = (now.asked & AIO_SUBMIT_DIRECT) != 0;
        return {now.ctx, is_slot ? file_ref::slot(now.result) : file_ref(now.result)};
    }
};

} // namespace aio::detail
