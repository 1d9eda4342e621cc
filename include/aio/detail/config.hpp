// What compilers and flags differ in, decided once: exceptions, sanitizers, attributes. The only
// place where the C++ layer defines macros; all begin with AIO_DETAIL_.
#pragma once

#include <aio_rs.h>

#include <cassert>

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "aio/*.hpp needs C++20: -std=c++20"
#endif

#if defined(__cpp_exceptions)
#define AIO_DETAIL_EXCEPTIONS 1
#else
#define AIO_DETAIL_EXCEPTIONS 0
#endif

// What the program has promised: said and ended where it did not keep it, but for builds with
// NDEBUG.
#define AIO_DETAIL_EXPECTS(condition, message) assert((condition) && message)

// Frames are not pooled under AddressSanitizer, which would not see a use after free in a pool.
#if defined(__SANITIZE_ADDRESS__)
#define AIO_DETAIL_POOLS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AIO_DETAIL_POOLS 0
#endif
#endif
#if !defined(AIO_DETAIL_POOLS)
#define AIO_DETAIL_POOLS 1
#endif

// Where the compiler has it, the frame of a task that is awaited at once lies in its parent's.
#if defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::coro_await_elidable)
#define AIO_DETAIL_ELIDABLE [[clang::coro_await_elidable]]
#endif
#endif
#if !defined(AIO_DETAIL_ELIDABLE)
#define AIO_DETAIL_ELIDABLE
#endif

// GCC 12 lays out some frames wrongly (see task.hpp), which is looked for when they begin.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define AIO_DETAIL_FRAMES_MAY_BE_WRONG 1
#else
#define AIO_DETAIL_FRAMES_MAY_BE_WRONG 0
#endif

// Whether a coroutine knows by itself where its frame is; GCC loads the handle from the frame.
#if defined(__clang__)
#define AIO_DETAIL_FRAME_IS_KNOWN 1
#else
#define AIO_DETAIL_FRAME_IS_KNOWN 0
#endif
