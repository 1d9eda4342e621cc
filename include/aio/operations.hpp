// Every operation of aio_rs.h as a free function: aio::<op>(ctx, arguments as in the man page).
//
// Spans stand for pointer and length, file_ref for descriptors and slots. What gives one result is
// an operation (operation.hpp), what gives many a multishot (multishot.hpp). The comments here say
// what they do in a sentence; aio_rs.h has the rest: kernels, errors, surprises.
#pragma once

#include <aio/buffers.hpp>
#include <aio/files.hpp>
#include <aio/fs.hpp>
#include <aio/futex.hpp>
#include <aio/misc.hpp>
#include <aio/msg_ring.hpp>
#include <aio/net.hpp>
#include <aio/options.hpp>
#include <aio/path.hpp>
#include <aio/pipe.hpp>
#include <aio/poll.hpp>
#include <aio/registered.hpp>
#include <aio/space.hpp>
#include <aio/time.hpp>
#include <aio/zero_copy.hpp>
