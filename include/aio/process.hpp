// process: a program in a child process, with its pipes, and how it ends.
//
//     aio::process_options options;
//     options.arguments = {"sort", "-n"};
//     options.in = options.out = aio::stdio::pipe();
//     auto child = aio::process::spawn(ctx, options).value();
//     co_await aio::send_all(...); child.in.reset();       // descriptors, closed when destroyed
//     auto ended = co_await child.wait();                   // result<process_exit>
//
// Cancellation ends it: a strand that is asked to stop while it waits, request_stop() and the
// object's destruction send `cancel_signal`, and SIGKILL when `kill_after` has passed. With
// cancel_signal 0 the child goes on unheard. There is never a zombie.
#pragma once

#include <aio/descriptor.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace aio {

/// What a standard stream of a child is.
struct stdio {
    uint32_t mode = AIO_SPAWN_INHERIT;
    int number = -1;

    /// This process's own.
    static constexpr stdio inherit() noexcept { return {}; }
    /// /dev/null.
    static constexpr stdio null() noexcept { return {AIO_SPAWN_NULL, -1}; }
    /// A descriptor of the caller's.
    static constexpr stdio descriptor(int number) noexcept { return {AIO_SPAWN_FD, number}; }
    /// A new pipe, whose other end is a member of process.
    static constexpr stdio pipe() noexcept { return {AIO_SPAWN_PIPE, -1}; }
    /// For `err`: what `out` is.
    static constexpr stdio same_as_out() noexcept { return {AIO_SPAWN_STDOUT, -1}; }
};

/// What is started; the meaning of each is that of the same thing of aio_spawn_options.
struct process_options {
    /// argv, the program's name first.
    std::vector<std::string> arguments;
    /// The program, if that is not arguments[0]; without a slash it is looked for in PATH.
    std::string program{};
    /// NAME=value; none: this process's.
    std::optional<std::vector<std::string>> environment{};
    /// Empty: this process's.
    std::string directory{};
    stdio in{};
    stdio out{};
    stdio err{};
    /// Further descriptors, and their numbers in the child.
    std::vector<aio_spawn_fd> descriptors{};
    uint32_t flags = 0;
    int cancel_signal = SIGTERM;
    /// 0: 5 seconds.
    std::chrono::nanoseconds kill_after{0};
};

/// How a child has ended.
struct process_exit {
    /// Its exit status; -1 if a signal has ended it.
    int status;
    /// The signal that has ended it, or 0.
    int signal;
    std::chrono::nanoseconds user_time;
    std::chrono::nanoseconds system_time;
    uint64_t max_rss_kib;

    bool success() const noexcept { return status == 0; }
};

/// See the top of this file. Movable. Context thread.
class process {
    struct state;

  public:
    /// Starts it, or says why not, as execve(2) does: when this returns the program runs.
    static result<process> spawn(context &ctx, const process_options &options);

    process(process &&) noexcept = default;
    process &operator=(process &&) noexcept = default;

    int pid() const noexcept;
    /// Writes to what the child reads; where a pipe was asked for, like the next two.
    descriptor in;
    /// Reads what the child writes.
    descriptor out;
    descriptor err;
    /// The child, as a descriptor that never names another process.
    descriptor pidfd;

    class wait_awaiter;
    /// What wait() gives: movable, and awaited once.
    class [[nodiscard("aio: the child is waited for when this is awaited")]] wait_result {
      public:
        wait_awaiter operator co_await() const noexcept;

      private:
        friend process;
        explicit wait_result(state &of) noexcept : of_(&of) {}
        state *of_;
    };
    /// Waits until it has ended: result<process_exit>, also when it was waited for before. A strand
    /// that is asked to stop has it ended, waits for that, and gets
    /// std::errc::operation_canceled; exit() then has how it ended. One wait at a time, else
    /// std::errc::device_or_resource_busy.
    wait_result wait() noexcept { return wait_result(*state_); }
    /// How it has ended, if it has.
    std::optional<process_exit> exit() const noexcept;

    /// Asks it to end, as cancellation does.
    void request_stop() noexcept;
    /// Sends it a signal; std::errc::no_such_process when it has ended.
    result<void> kill(int signal) noexcept;

  private:
    explicit process(std::unique_ptr<state> state) noexcept;

    std::unique_ptr<state> state_;
};

struct process::state : detail::pooled_frame {
    explicit state(aio_ctx *ctx) noexcept : ctx(ctx) { native.size = sizeof native; }
    state(const state &) = delete;
    state &operator=(const state &) = delete;
    ~state();

    static void complete(void *user_data, int32_t result, uint32_t flags) noexcept;

    aio_ctx *ctx;
    aio_op_id id = 0; // until it has ended
    aio_process native{};
    result<process_exit> ended{unexpected(std::errc::operation_in_progress)};
    wait_awaiter *waiter = nullptr;
};

class process::wait_awaiter final : public queued_suspension {
  public:
    explicit wait_awaiter(state &of) noexcept : of_(&of) {}
    ~wait_awaiter() {
        if (of_ != nullptr && of_->waiter == this)
            of_->waiter = nullptr;
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        is_busy_ = of_->waiter != nullptr;
        if (of_->id <= 0 || is_busy_)
            return false;
        // The end is waited for also by one that was asked to stop, which makes it soon.
        const strand *mine = strand_of(handle);
        begin_always(handle,
                     [](suspension &self) noexcept { static_cast<wait_awaiter &>(self).stop(); });
        if (mine != nullptr && mine->stop_requested())
            stop();
        of_->waiter = this;
        return true;
    }
    result<process_exit> await_resume() noexcept {
        if (is_busy_)
            return unexpected(std::errc::device_or_resource_busy);
        if (is_stopped_ || of_ == nullptr)
            return unexpected(std::errc::operation_canceled);
        return of_->ended;
    }

  private:
    friend struct process::state;
    void stop() noexcept {
        is_stopped_ = true;
        aio_ctx_cancel(of_->ctx, of_->id);
    }
    void child_ended() noexcept { this->resume(); }
    void lost() noexcept {
        of_ = nullptr;
        this->resume_later();
    }

    state *of_; // null when the process object is gone
    bool is_busy_ = false;
    bool is_stopped_ = false;
};

inline process::state::~state() {
    // The child is ended and reaped without us; nothing of ours is written any more.
    if (id > 0)
        detail::abandon(ctx, id);
    if (waiter != nullptr)
        std::exchange(waiter, nullptr)->lost();
}

inline void process::state::complete(void *user_data, int32_t result, uint32_t flags) noexcept {
    auto *self = static_cast<state *>(user_data);
    self->id = 0;
    aio_process_exit native{};
    native.size = sizeof native;
    if (result < 0) {
        self->ended = unexpected::from_status(result, flags);
    } else {
        const bool is_signal = result >= AIO_SPAWN_SIGNALED;
        process_exit end{
            is_signal ? -1 : result, is_signal ? result - AIO_SPAWN_SIGNALED : 0, {}, {}, 0};
        if (aio_ctx_current_exit(self->ctx, &native) == 0) {
            end.user_time = std::chrono::nanoseconds(native.user_ns);
            end.system_time = std::chrono::nanoseconds(native.system_ns);
            end.max_rss_kib = native.max_rss_kib;
        }
        self->ended = end;
    }
    if (self->waiter != nullptr)
        std::exchange(self->waiter, nullptr)->child_ended();
}

namespace detail {

/// Pointers to strings, with a null behind, as the C interface wants them.
inline std::vector<const char *> pointers_to(const std::vector<std::string> &strings) {
    std::vector<const char *> pointers;
    pointers.reserve(strings.size() + 1);
    for (const std::string &each : strings)
        pointers.push_back(each.c_str());
    pointers.push_back(nullptr);
    return pointers;
}

} // namespace detail

inline result<process> process::spawn(context &ctx, const process_options &options) {
    const std::vector<const char *> argv = detail::pointers_to(options.arguments);
    std::vector<const char *> envp;
    aio_spawn_options native{};
    native.size = sizeof native;
    native.flags = options.flags | AIO_SPAWN_PIDFD;
    native.program = options.program.empty() ? nullptr : options.program.c_str();
    native.argv = argv.data();
    if (options.environment) {
        envp = detail::pointers_to(*options.environment);
        native.envp = envp.data();
    }
    native.cwd = options.directory.empty() ? nullptr : options.directory.c_str();
    native.fds = options.descriptors.data();
    native.fd_count = static_cast<uint32_t>(options.descriptors.size());
    native.stdin_mode = options.in.mode;
    native.stdout_mode = options.out.mode;
    native.stderr_mode = options.err.mode;
    native.stdin_fd = options.in.number;
    native.stdout_fd = options.out.number;
    native.stderr_fd = options.err.number;
    native.cancel_signal = options.cancel_signal;
    native.kill_after_ns = detail::to_ns(options.kill_after);

    auto made = std::make_unique<state>(ctx.native());
    aio_submit_options how{};
    how.size = sizeof how;
    how.flags = AIO_SUBMIT_KEEP_RESULT;
    const aio_op_id id =
        aio_submit_spawn(ctx.native(), &native, &made->native, &how, &state::complete, made.get());
    if (id < 0)
        return unexpected::from_status(static_cast<int32_t>(id));
    made->id = id;
    return process(std::move(made));
}

inline process::process(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {
    const auto own = [this](int number) {
        return number < 0 ? descriptor() : descriptor(state_->ctx, file_ref(number));
    };
    in = own(state_->native.stdin_fd);
    out = own(state_->native.stdout_fd);
    err = own(state_->native.stderr_fd);
    pidfd = own(state_->native.pidfd);
}

inline process::wait_awaiter process::wait_result::operator co_await() const noexcept {
    return wait_awaiter(*of_);
}

inline int process::pid() const noexcept { return state_->native.pid; }

inline std::optional<process_exit> process::exit() const noexcept {
    return state_->ended ? std::optional(*state_->ended) : std::nullopt;
}

inline void process::request_stop() noexcept {
    if (state_->id > 0)
        aio_ctx_cancel(state_->ctx, state_->id);
}

inline result<void> process::kill(int signal) noexcept {
    // Not by its number, which is another's when it has been reaped.
    if (::syscall(SYS_pidfd_send_signal, pidfd.number(), signal, nullptr, 0) != 0)
        return unexpected::from_status(-errno);
    return {};
}

} // namespace aio
