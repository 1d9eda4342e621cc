/* What the engines of the benchmark of sendfile agree on; sendfile.c says what is measured. */
#pragma once

#include "bench.h"

/* Sends the file `count` times. Not there when libuv was not found. */
void sendfile_libuv(int out, int file, uint64_t bytes, uint64_t count);
