// split: the two directions of one stream as two objects, for two coroutines.
//
//     auto [reader, writer] = aio::split(std::move(connection));
//     scope.spawn(hear(std::move(reader)));
//     scope.spawn(speak(std::move(writer)));
//
// The halves share the stream, which is closed when both are gone; either may go first, and the
// other goes on. A writer half that goes tells the peer that nothing more comes, where the stream
// has a shutdown() as sockets do: so a peer that reads to the end sees it, although this side may
// still read. What one half does never waits for the other, nor is it ended with it.
//
// Both are of the stream's thread. Splitting takes memory, once; nothing after it does.
#pragma once

#include <aio/stream.hpp>

#include <memory>
#include <utility>

namespace aio {

/// Reads from a stream whose other half writes.
template <read_stream Stream> class reader_half {
  public:
    explicit reader_half(std::shared_ptr<Stream> shared) noexcept : shared_(std::move(shared)) {}

    auto read_some(mutable_bytes room) { return shared_->read_some(room); }
    /// The whole stream, for its options and addresses.
    Stream &stream() const noexcept { return *shared_; }
    explicit operator bool() const noexcept { return shared_ != nullptr; }

  private:
    std::shared_ptr<Stream> shared_;
};

/// Writes to a stream whose other half reads.
template <class Stream> class writer_half {
    static_assert(write_stream<Stream>);
    static constexpr bool is_shut_down =
        requires(Stream &stream) { stream.shutdown().submit(nullptr, nullptr); };

  public:
    explicit writer_half(std::shared_ptr<Stream> shared) noexcept : shared_(std::move(shared)) {}
    writer_half(writer_half &&other) noexcept = default;
    writer_half &operator=(writer_half &&other) noexcept {
        if (this != &other) {
            tell_end();
            shared_ = std::move(other.shared_);
        }
        return *this;
    }
    ~writer_half() { tell_end(); }

    auto write_some(bytes data) { return shared_->write_some(data); }
    auto writev_some(std::span<const iovec> parts)
        requires gather_stream<Stream>
    {
        return shared_->writev_some(parts);
    }
    /// Tells the peer that nothing more comes, and how that went.
    auto shutdown()
        requires is_shut_down
    {
        return shared_->shutdown();
    }
    /// Gives up without telling the peer; the stream lives as long as the other half.
    void forget() noexcept { shared_.reset(); }
    /// The whole stream, for its options and addresses.
    Stream &stream() const noexcept { return *shared_; }
    explicit operator bool() const noexcept { return shared_ != nullptr; }

  private:
    void tell_end() noexcept {
        // The last half closes, which tells it too.
        if constexpr (is_shut_down) {
            if (shared_ != nullptr && shared_.use_count() > 1)
                static_cast<void>(
                    shared_->shutdown().submit([](void *, int32_t, uint32_t) noexcept {}, nullptr));
        }
    }

    std::shared_ptr<Stream> shared_;
};

/// Takes a stream apart: a pair of its reader_half and its writer_half.
template <class Stream> auto split(Stream &&stream) {
    static_assert(!std::is_lvalue_reference_v<Stream>,
                  "aio: the halves own the stream: aio::split(std::move(stream))");
    static_assert(read_stream<Stream> && write_stream<Stream>,
                  "aio: a stream has read_some(mutable_bytes) and write_some(bytes), which give "
                  "a result<std::size_t> when they are awaited");
    auto shared = std::make_shared<Stream>(std::move(stream));
    return std::pair(reader_half<Stream>(shared), writer_half<Stream>(shared));
}

/// Puts the halves of one stream together again; std::errc::invalid_argument if they are not.
template <class Stream>
result<Stream> unite(reader_half<Stream> &&reader, writer_half<Stream> &&writer) noexcept {
    if (!reader || !writer || &reader.stream() != &writer.stream())
        return unexpected(std::errc::invalid_argument);
    Stream whole = std::move(reader.stream());
    writer.forget();
    reader = reader_half<Stream>(nullptr);
    return whole;
}

} // namespace aio
