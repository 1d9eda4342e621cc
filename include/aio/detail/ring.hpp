// A queue in one block of memory that grows, from the pool of frames: what waits to be taken.
#pragma once

#include <aio/detail/frame_pool.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace aio::detail {

template <class T> class ring {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  public:
    ring() noexcept = default;
    ring(const ring &) = delete;
    ring &operator=(const ring &) = delete;
    ~ring() {
        clear();
        if (slots_ != nullptr)
            frame_pool::deallocate(slots_, capacity_ * sizeof(T));
    }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }

    T &front() noexcept { return slots_[first_]; }

    void push(T &&value) {
        if (size_ == capacity_)
            grow();
        std::construct_at(slots_ + ((first_ + size_) & (capacity_ - 1)), std::move(value));
        size_++;
    }

    T pop() noexcept {
        T *slot = slots_ + first_;
        T value = std::move(*slot);
        std::destroy_at(slot);
        first_ = (first_ + 1) & (capacity_ - 1);
        size_--;
        return value;
    }

    void clear() noexcept {
        while (!empty())
            static_cast<void>(pop());
    }

  private:
    void grow() {
        const std::size_t wider = capacity_ == 0 ? 8 : capacity_ * 2;
        T *slots = static_cast<T *>(frame_pool::allocate(wider * sizeof(T)));
        std::size_t moved = 0;
        for (; !empty(); moved++)
            std::construct_at(slots + moved, pop());
        if (slots_ != nullptr)
            frame_pool::deallocate(slots_, capacity_ * sizeof(T));
        slots_ = slots;
        capacity_ = wider;
        first_ = 0;
        size_ = moved;
    }

    T *slots_ = nullptr;
    std::size_t capacity_ = 0; // a power of two
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

} // namespace aio::detail
