// Counts allocations: every operator new and, where the C library lets it be replaced, malloc. For
// one unit of a program.
#pragma once

#include <aio/detail/config.hpp>

#include <atomic>
#include <cstddef>

namespace support {

inline std::atomic<long> allocations{0};

} // namespace support

// Frames are not pooled under AddressSanitizer, and ThreadSanitizer's malloc cannot be replaced:
// GCC and clang say each in its way that it is there.
#if defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#if !defined(COUNTS_ALLOCATIONS)
#define COUNTS_ALLOCATIONS AIO_DETAIL_POOLS
#endif

// Skips a test where they are not counted.
#define NEEDS_A_COUNTER                                                                            \
    if (!COUNTS_ALLOCATIONS)                                                                       \
    GTEST_SKIP() << "allocations are the sanitizer's"

#if COUNTS_ALLOCATIONS
// The C library's own entry points: what they replace is behind them.
extern "C" {
void *__libc_malloc(std::size_t size);
void *__libc_calloc(std::size_t count, std::size_t size);
void *__libc_realloc(void *memory, std::size_t size);

void *malloc(std::size_t size) noexcept {
    support::allocations++;
    return __libc_malloc(size);
}
void *calloc(std::size_t count, std::size_t size) noexcept {
    support::allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *memory, std::size_t size) noexcept {
    support::allocations++;
    return __libc_realloc(memory, size);
}
}
#endif
