// Posts on Boost.Asio: asio::post to an io_context that one thread runs and another posts to, so
// that its lock is needed.
#include "posts.h"

#include <boost/asio.hpp>

namespace asio = boost::asio;

namespace {

struct owner {
    asio::io_context context;
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

void open(posts_run *run) { run->owner = new owner; }

void post(posts_run *run, void *arg) {
    asio::post(static_cast<owner *>(run->owner)->context, [arg] { posts_one_seen(arg); });
}

void run_all(posts_run *run) {
    while (run->seen < run->count)
        static_cast<owner *>(run->owner)->context.run_one();
}

void close(posts_run *run) { delete static_cast<owner *>(run->owner); }

} // namespace

extern const posts_engine posts_asio = {open, post, run_all, close};
