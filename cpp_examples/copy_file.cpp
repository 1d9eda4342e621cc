// copy_file: copies a file with several pieces of it in flight.
//
//     copy_file FROM TO                   TO must not exist
//
// A scope with a limit bounds how many pieces there are at a time, and so the memory that they
// take, however long the file is: admit() waits until there is room for one more.
#include <aio/file.hpp>
#include <aio/scope.hpp>

#include <algorithm>
#include <iostream>
#include <vector>

constexpr uint64_t piece_size = 256 * 1024;

aio::task<aio::result<void>> copy_piece(aio::file &from, aio::file &to, uint64_t at,
                                        uint64_t size) {
    std::vector<std::byte> room(size);
    if (const auto got = co_await from.read_exact(room, at); !got)
        co_return aio::unexpected(got.error());
    const auto put = co_await to.write_all(room, at);
    co_return put.transform([](std::size_t) {});
}

aio::task<uint64_t> copy(aio::context &ctx, std::string source, std::string target) {
    aio::file from = (co_await aio::file::open(ctx, source, O_RDONLY)).value();
    aio::file to =
        (co_await aio::file::open(ctx, target, O_WRONLY | O_CREAT | O_EXCL, 0644)).value();
    const uint64_t size = (co_await from.size()).value();

    aio::scope pieces(ctx, {.concurrency = 16});
    for (uint64_t at = 0; at < size && co_await pieces.admit(); at += piece_size)
        pieces.spawn(copy_piece(from, to, at, std::min(piece_size, size - at)));
    (co_await pieces.join()).value(); // the first error of a piece

    (co_await to.sync_data()).value();
    (co_await to.close()).value();
    co_return size;
}

int main(int argc, char **argv) try {
    if (argc != 3) {
        std::cerr << "usage: copy_file FROM TO\n";
        return 2;
    }
    aio::context ctx;
    std::cout << ctx.run(copy(ctx, argv[1], argv[2])) << " bytes\n";
} catch (const std::exception &error) {
    std::cerr << "copy_file: " << error.what() << '\n';
    return 1;
}
