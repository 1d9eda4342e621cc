// Errors: one category, aio::category(), for everything that the engine says.
//
// A code is an errno, a code of the engine (AIO_E* without its sign) or one of two that tell apart
// what the C interface tells by a flag: errc::deadline (yours, not the network's) and errc::aborted
// (a destroyed context or broken chain, not your cancel). They compare with std::errc as one would
// wish: a deadline == std::errc::timed_out, an abort == std::errc::operation_canceled.
#pragma once

#include <aio/detail/config.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

namespace aio {

/// The engine's own codes, and the two that only this layer has.
enum class errc : int {
    wrong_thread = -AIO_EWRONGTHREAD, ///< Not the context's thread.
    reentrant = -AIO_EREENTRANT,      ///< A context was run inside one of its callbacks.
    pending = -AIO_EPENDING,          ///< Accepted; done when the callback has returned.
    destroyed = -AIO_EDESTROYED,      ///< A callback destroyed the context.
    stuck = -AIO_ESTUCK,              ///< Operations did not end within the grace.
    orphaned = -AIO_EORPHANED,        ///< The context's thread ended without destroying it.
    panic = -AIO_EPANIC,              ///< The engine has failed.
    forked = -AIO_EFORKED,            ///< A forked child's copy.
    closed = -AIO_ECLOSED,            ///< Destroyed, or closed from the other side.
    eof = -AIO_EEOF,                  ///< The end came before the whole was transferred.
    no_name = -AIO_ENONAME,           ///< There is no such name.
    name_try_again = -AIO_ENAMEAGAIN, ///< The name servers have failed for now.
    name_failure = -AIO_ENAMEFAIL,    ///< The name servers have failed for good.
    no_service = -AIO_ENOSERVICE,     ///< There is no such service.
    deadline = 5901,                  ///< The operation's own deadline has passed.
    aborted = 5902,                   ///< Ended by a destroyed context or a broken chain.
};

} // namespace aio

template <> struct std::is_error_code_enum<aio::errc> : std::true_type {};

namespace aio {
namespace detail {

class error_category final : public std::error_category {
  public:
    constexpr error_category() noexcept = default;

    const char *name() const noexcept override { return "aio"; }

    std::string message(int code) const override {
        switch (static_cast<errc>(code)) {
        case errc::deadline:
            return "the deadline has passed";
        case errc::aborted:
            return "ended with its context or chain";
        default:
            return aio_strerror(-code);
        }
    }

    std::error_condition default_error_condition(int code) const noexcept override {
        switch (static_cast<errc>(code)) {
        case errc::deadline:
            return std::errc::timed_out;
        case errc::aborted:
            return std::errc::operation_canceled;
        default:
            // Linux has no errno above 4095.
            return code < 4096 ? std::error_condition(code, std::generic_category())
                               : std::error_condition(code, *this);
        }
    }
};

/// Never destroyed: errors are compared in destructors of other static objects too.
union immortal_category {
    constexpr immortal_category() noexcept : category() {}
    ~immortal_category() {}
    error_category category;
};

inline constinit immortal_category the_category;

} // namespace detail

inline const std::error_category &category() noexcept { return detail::the_category.category; }

inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

/// The error that a negative status stands for; `flags` are those of the callback that brought it.
inline std::error_code make_error(int32_t status, uint32_t flags = 0) noexcept {
    if (status == -ETIMEDOUT && (flags & AIO_CQE_DEADLINE) != 0)
        return errc::deadline;
    if (status == -ECANCELED && (flags & AIO_CQE_ABORTED) != 0)
        return errc::aborted;
    return {-status, category()};
}

/// Whether it is what an operation ends with that was asked to end, or whose context ended.
inline bool is_cancelled(const std::error_code &error) noexcept {
    return error == std::errc::operation_canceled;
}

namespace detail {

/// Throws, or where there are no exceptions says why and aborts: for what has no other way out.
[[noreturn, gnu::cold, gnu::noinline]] inline void fail(const std::error_code &error,
                                                        const char *what) {
#if AIO_DETAIL_EXCEPTIONS
    throw std::system_error(error, what);
#else
    std::fprintf(stderr, "aio: %s: %s\n", what, error.message().c_str());
    std::abort();
#endif
}

} // namespace detail
} // namespace aio
