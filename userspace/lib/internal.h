/* SPDX-License-Identifier: MIT */
/* What every stage of the library uses: the context, messages, memory, small arithmetic. Grouped by the file that defines it. */
#ifndef LINEUP_INTERNAL_H
#define LINEUP_INTERNAL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lineup.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define LINEUP_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Files are little endian and columns are used where they lie: the library runs on little-endian machines only. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lineup needs a little-endian machine");

static inline uint64_t round_up(uint64_t n, uint64_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

/* ctx.c */

enum lineup_once { /* warnings that a context gives once */
	LINEUP_ONCE_URING,      /* io_uring refused: pread instead */
	LINEUP_ONCE_DIRECT,     /* no O_DIRECT on this file system */
	LINEUP_ONCE_REGISTER,   /* buffers not registered (RLIMIT_MEMLOCK) */
	LINEUP_ONCE_HUGEPAGE,   /* no huge pages */
	LINEUP_ONCE_LOCK,       /* probe memory not locked (RLIMIT_MEMLOCK): it may be swapped */
	LINEUP_ONCE_SELFTEST,   /* a backend failed its self-test */
	LINEUP_ONCE_RECORDS,    /* records not resident: re-ranking reads the files */
	LINEUP_ONCE_FRAMES,     /* no lineup.ko: frames of a lesser kind */
	LINEUP_ONCE_FIXED,      /* frames not registered with io_uring: plain reads */
	LINEUP_ONCE_SANDBOX,    /* an extractor's sandbox lacks a part */
	LINEUP_ONCE_COUNT,
};

struct lineup_vk_api;

/* How tests make GPUs fail and small galleries look large to them. Zero: as in life. */
struct lineup_gpu_test {
	void (*wrap)(void *arg, struct lineup_vk_api *api); /* called for each device opened, when its functions are known: replaces some */
	void *arg;
	uint32_t cap;              /* survivors' places a probe: forces overflows */
	uint64_t piece_bytes;      /* limit of a piece: forces splits */
	uint32_t chunk_rows;       /* of a scan at most */
	const char *staging;       /* "imported", "driver" or "copied" only; one that cannot be had is -ENOTSUP */
	const char *cache_dir;     /* of the pipeline cache */
	uint32_t silence_ms;       /* without an answer a device counts as lost; 0: two minutes */
	uint32_t loss_again_ms;    /* a second loss within is the last; 0: one minute */
	uint32_t child_ms;         /* time limit of a pipeline that is made in a child process; 0: as in life */
	uint64_t (*now_ns)(void *arg); /* the clock that submissions are measured by; NULL: CLOCK_MONOTONIC */
};

struct lineup_ctx {
	lineup_log_fn *log;
	void *log_arg;
	const struct lineup_io *io; /* io.h: &lineup_io_system, or a test's */
	void *io_arg;
	const struct lineup_engine *engine; /* stream.h: NULL: the system's; or a test's */
	const struct lineup_device_io *device_io; /* capture.h: NULL: the system's, or a test's */
	void *device_io_arg;
	atomic_bool said[LINEUP_ONCE_COUNT];
	/* Limits of the gallery stage that its tests lower; 0: LINEUP_JOURNAL_SEAL_BYTES, LINEUP_RECORD_BYTES_MAX, 32768. */
	uint64_t journal_seal_bytes;
	uint64_t record_bytes_max; /* with room for the record's head, all lists and a row */
	uint64_t spill_rows_min;
	struct lineup_gpu_test gpu_test;
};

/* Logs an error and returns @err (negative errno), so that a failing function can "return lineup_fail(ctx, -EINVAL, ...)". */
int lineup_fail(struct lineup_ctx *ctx, int err, const char *format, ...) LINEUP_PRINTF(3, 4);
void lineup_warn(struct lineup_ctx *ctx, const char *format, ...) LINEUP_PRINTF(2, 3);
void lineup_info(struct lineup_ctx *ctx, const char *format, ...) LINEUP_PRINTF(2, 3);
void lineup_warn_once(struct lineup_ctx *ctx, enum lineup_once what, const char *format, ...) LINEUP_PRINTF(3, 4);
/*
 * Between these two the calling thread's lineup_fail counts what it says; with @demote it says warnings: for steps whose failure is not the caller's, who has
 * another way. Returns the count. Not nested.
 */
void lineup_errors_begin(bool demote);
uint32_t lineup_errors_end(void);
/* What the calling thread's last lineup_fail said. Valid until its next. */
const char *lineup_errors_text(void);
/*
 * Copies a caller's option struct of @user->size bytes (its first field) into @options of @size bytes, zero-filled; NULL @user gives
 * zeros. -EINVAL: size smaller than 4; -E2BIG: unknown bytes that are not zero. Logs.
 */
int lineup_options_copy(struct lineup_ctx *ctx, const char *what, void *options, size_t size, const void *user);

/* memory.c */

/* Zeroed pages kept out of core dumps and, where the limit allows, out of swap; erased by the free. For probes and templates. */
void *lineup_secret_alloc(struct lineup_ctx *ctx, size_t size);
void lineup_secret_free(void *p, size_t size);
/* Zeroed, 2 MiB aligned pages, huge where the kernel has them. */
void *lineup_pages_alloc(struct lineup_ctx *ctx, size_t size);
void lineup_pages_free(void *p, size_t size);

/* crc32c.c */

/* CRC-32C (Castagnoli) of @size bytes, continuing from @crc (0 to begin). */
uint32_t lineup_crc32c(uint32_t crc, const void *data, size_t size);

/* half.c: IEEE 754 binary16, round to nearest even */

float lineup_half_to_float(uint16_t half);
uint16_t lineup_half_from_float(float value);

#endif
