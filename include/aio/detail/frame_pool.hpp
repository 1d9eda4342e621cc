// Memory of coroutine frames. A thread keeps the frames that ended, by size, for those that begin:
// after warm-up a task costs no allocation. As a context is one thread's, this is a context's pool;
// being the thread's it also serves tasks that are made before their context runs, and a frame may
// end on another thread, whose pool keeps it then.
//
// Behind each frame lies one word that says how to free it: null for the pool, else the function
// that gives it back to the allocator passed by std::allocator_arg.
#pragma once

#include <aio/detail/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace aio::detail {

class frame_pool {
  public:
    /// Never null: throws std::bad_alloc, or aborts where there are no exceptions.
    static void *allocate(std::size_t size) {
        const std::size_t kind = kind_of(size);
        if (AIO_DETAIL_POOLS && kind < kinds) {
            if (block *found = mine_.free[kind]) {
                mine_.free[kind] = found->next;
                mine_.count[kind]--;
                return found;
            }
            return from_system(room_of(kind));
        }
        return from_system(size);
    }

    static void deallocate(void *memory, std::size_t size) noexcept {
        const std::size_t kind = kind_of(size);
        if (AIO_DETAIL_POOLS && kind < kinds) {
            if (mine_.count[kind] < kept_bytes_max / room_of(kind)) [[likely]] {
                mine_.free[kind] = ::new (memory) block{mine_.free[kind]};
                mine_.count[kind]++;
                if (!mine_.is_watched) [[unlikely]]
                    watch_thread();
                return;
            }
        }
        to_system(memory);
    }

    /// Gives what this thread keeps back to the system.
    static void trim() noexcept {
        for (std::size_t kind = 0; kind < kinds; kind++) {
            while (block *found = mine_.free[kind]) {
                mine_.free[kind] = found->next;
                ::operator delete(found);
            }
            mine_.count[kind] = 0;
        }
    }

  private:
    // Sizes are rounded up to what malloc has for them, which is multiples of 16 less a word.
    static constexpr std::size_t grain = 16, word = sizeof(void *);
    static constexpr std::size_t kinds = 256;              // larger frames are not kept
    static constexpr std::size_t kept_bytes_max = 1 << 20; // of each size and thread

    struct block {
        block *next;
    };
    struct lists {
        block *free[kinds];
        std::uint32_t count[kinds];
        bool is_watched;
    };

    // Not inlined: GCC would see half of a pair of them, and warn of a mismatch.
    [[gnu::noinline]] static void *from_system(std::size_t size) { return ::operator new(size); }
    [[gnu::noinline]] static void to_system(void *memory) noexcept { ::operator delete(memory); }

    static std::size_t kind_of(std::size_t size) noexcept { return (size + word - 1) / grain; }
    static std::size_t room_of(std::size_t kind) noexcept { return kind * grain + word; }

    /// The thread's end gives its frames back. Of those that end even later, in destructors of
    /// other thread-local objects, none is kept: all lists are full then.
    static void watch_thread() noexcept {
        struct at_exit {
            bool is_watched = true;
            ~at_exit() {
                trim();
                for (std::uint32_t &count : mine_.count)
                    count = UINT32_MAX;
            }
        };
        static thread_local at_exit watch;
        mine_.is_watched = watch.is_watched;
    }

    // Without a constructor or destructor, so that reaching it is an offset from the thread
    // pointer.
    static constinit thread_local lists mine_;
};

inline constinit thread_local frame_pool::lists frame_pool::mine_{};

/// The words behind a frame.
struct frame_end {
    void (*free)(void *frame, std::size_t size) noexcept;

    static constexpr std::size_t round(std::size_t size, std::size_t to) noexcept {
        return (size + to - 1) / to * to;
    }
    static std::size_t offset(std::size_t size) noexcept { return round(size, alignof(frame_end)); }
    static frame_end *of(void *frame, std::size_t size) noexcept {
        return reinterpret_cast<frame_end *>(static_cast<std::byte *>(frame) + offset(size));
    }
};

/// A base of promises: where their frames come from.
class pooled_frame {
  public:
    static void *operator new(std::size_t size) {
        void *frame = frame_pool::allocate(frame_end::offset(size) + sizeof(frame_end));
        ::new (frame_end::of(frame, size)) frame_end{nullptr};
        return frame;
    }

    /// `task<T> f(std::allocator_arg_t, Allocator, ...)` and the same as a member function or
    /// lambda.
    template <class Allocator, class... Args>
    static void *operator new(std::size_t size, std::allocator_arg_t, const Allocator &allocator,
                              const Args &...) {
        return from(size, allocator);
    }
    template <class This, class Allocator, class... Args>
    static void *operator new(std::size_t size, const This &, std::allocator_arg_t,
                              const Allocator &allocator, const Args &...) {
        return from(size, allocator);
    }

    static void operator delete(void *frame, std::size_t size) noexcept {
        if (auto free = frame_end::of(frame, size)->free) [[unlikely]]
            free(frame, size);
        else
            frame_pool::deallocate(frame, frame_end::offset(size) + sizeof(frame_end));
    }

  private:
    struct alignas(__STDCPP_DEFAULT_NEW_ALIGNMENT__) unit {
        std::byte bytes[__STDCPP_DEFAULT_NEW_ALIGNMENT__];
    };

    template <class Allocator> static std::size_t allocator_at(std::size_t size) noexcept {
        return frame_end::round(frame_end::offset(size) + sizeof(frame_end), alignof(Allocator));
    }

    template <class Allocator> static std::size_t units(std::size_t size) noexcept {
        return (allocator_at<Allocator>(size) + sizeof(Allocator) + sizeof(unit) - 1) /
               sizeof(unit);
    }

    /// The allocator lies behind the frame too. Not inlined, for the reason above.
    template <class Given>
    [[gnu::noinline]] static void *from(std::size_t size, const Given &given) {
        using Allocator = typename std::allocator_traits<Given>::template rebind_alloc<unit>;
        static_assert(std::is_pointer_v<typename std::allocator_traits<Allocator>::pointer>,
                      "aio: a frame's allocator must give plain pointers");
        Allocator allocator(given);
        void *frame = std::allocator_traits<Allocator>::allocate(allocator, units<Allocator>(size));
        auto free = [](void *old, std::size_t old_size) noexcept {
            auto *kept = std::launder(reinterpret_cast<Allocator *>(
                static_cast<std::byte *>(old) + allocator_at<Allocator>(old_size)));
            Allocator last(std::move(*kept));
            std::destroy_at(kept);
            std::allocator_traits<Allocator>::deallocate(last, static_cast<unit *>(old),
                                                         units<Allocator>(old_size));
        };
        ::new (frame_end::of(frame, size)) frame_end{free};
        ::new (static_cast<std::byte *>(frame) + allocator_at<Allocator>(size))
            Allocator(std::move(allocator));
        return frame;
    }
};

} // namespace aio::detail
