// Buffers as arguments of operations: bytes (to be read from) and mutable_bytes (to be written to),
// made from any contiguous range of plain data: arrays, std::vector, std::string, std::span.
//
// They refer to memory and do not own it: it must live until the operation has ended. In a
// coroutine that awaits the operation at once, locals and temporaries do.
#pragma once

#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

namespace aio {

class bytes;
class mutable_bytes;

namespace detail {

template <class Range>
concept byte_range = std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
                     !std::is_base_of_v<bytes, std::remove_cvref_t<Range>> &&
                     !std::is_base_of_v<mutable_bytes, std::remove_cvref_t<Range>>;

template <class Range>
using element = std::remove_reference_t<std::ranges::range_reference_t<Range>>;

} // namespace detail

/// Memory that an operation writes to.
class mutable_bytes {
  public:
    constexpr mutable_bytes() noexcept = default;
    mutable_bytes(void *data, std::size_t size) noexcept
        : data_(static_cast<std::byte *>(data)), size_(size) {}
    template <detail::byte_range Range>
    mutable_bytes(Range &&range) noexcept
        : data_(start(range)), size_(std::ranges::size(range) * sizeof(detail::element<Range>)) {}

    std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::byte *begin() const noexcept { return data_; }
    std::byte *end() const noexcept { return data_ + size_; }

  private:
    template <class Range> static std::byte *start(Range &range) noexcept {
        using Element = detail::element<Range>;
        static_assert(std::is_trivially_copyable_v<Element>,
                      "aio: a buffer must be of plain data (trivially copyable elements)");
        static_assert(!std::is_const_v<Element>,
                      "aio: a buffer that is written to must not be const");
        if constexpr (std::is_trivially_copyable_v<Element> && !std::is_const_v<Element>)
            return reinterpret_cast<std::byte *>(std::ranges::data(range));
        else
            return nullptr;
    }

    std::byte *data_ = nullptr;
    std::size_t size_ = 0;
};

/// Memory that an operation reads from. A string literal counts without its terminator.
class bytes {
  public:
    constexpr bytes() noexcept = default;
    bytes(const void *data, std::size_t size) noexcept
        : data_(static_cast<const std::byte *>(data)), size_(size) {}
    bytes(mutable_bytes other) noexcept : data_(other.data()), size_(other.size()) {}
    template <std::size_t N>
    bytes(const char (&text)[N]) noexcept : bytes(text, N > 0 && text[N - 1] == '\0' ? N - 1 : N) {}
    template <detail::byte_range Range>
    bytes(const Range &range) noexcept
        : data_(start(range)),
          size_(std::ranges::size(range) * sizeof(detail::element<const Range>)) {}

    const std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    const std::byte *begin() const noexcept { return data_; }
    const std::byte *end() const noexcept { return data_ + size_; }

  private:
    template <class Range> static const std::byte *start(const Range &range) noexcept {
        static_assert(std::is_trivially_copyable_v<detail::element<const Range>>,
                      "aio: a buffer must be of plain data (trivially copyable elements)");
        return reinterpret_cast<const std::byte *>(std::ranges::data(range));
    }

    const std::byte *data_ = nullptr;
    std::size_t size_ = 0;
};

/// What was received, as text.
inline std::string_view as_text(bytes data) noexcept {
    return {reinterpret_cast<const char *>(data.data()), data.size()};
}

} // namespace aio
