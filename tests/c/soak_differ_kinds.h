/* What the families of soak_differ's operations share: the choice of arguments, mostly sensible
 * ones, and how they reach a submit function. */
#pragma once
#include "soak_differ.h"

#define CHOOSES(name_) static bool name_(struct op *op)
#define SUBMITS(name_) static aio_op_id name_(struct op *op, struct side *side, aio_callback done)
#define ACTS(name_) static int64_t name_(struct op *op, struct side *side)
#define CTX worlds[side->world].ctx
#define FD number_of(side->world, op->slot)
#define OTHER number_of(side->world, op->other)
#define NAME name_text(op->name)
#define OTHER_NAME name_text(op->other_name)
#define MEMORY memory_of(op, side)
#define TAIL (op->options.size ? &op->options : NULL), done, side
#define ONE_OF(...)                                                                                \
    ((const int[]){__VA_ARGS__})[dice(sizeof((const int[]){__VA_ARGS__}) / sizeof(int))]

enum { BAD_RWF = 0x4000 };

int some_slot(unsigned is);
int free_place(int first, int end);
size_t some_len(void);
uint64_t some_offset(int slot);
enum memory some_memory(void);
int some_flags(struct op *op, int bad, int good);
bool fits(struct op *op, int to);
int vectors_of(const struct op *op, const struct side *side, struct iovec vectors[1025]);
int64_t outcome(int64_t result); /* of a system call */
