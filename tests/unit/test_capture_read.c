// SPDX-License-Identifier: MIT
// Gallery blocks read into frames: what arrives is what the file holds, by every engine, through short and failing reads, and
// into every kind of frame there is.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "search_bed.h"
#include "stream_frame.h"

enum { DIM = 256, ROWS = 20000 };

struct fixture {
	struct bed *bed;
	struct lineup_snapshot *snapshot;
	const struct lineup_segment *segment;
	uint64_t block_bytes;
	uint32_t blocks;     /* of the segment */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };
	struct lineup_matrix rows = rows_random(&rng, ROWS, DIM);

	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->ctx->journal_seal_bytes = 1; /* a segment on disk at once */
	bed_enrol(f->bed, &rows, 0, ROWS, NULL, NULL, NULL);
	rows_free(&rows);
	f->snapshot = lineup_gallery_snapshot(f->bed->gallery);
	f->segment = &f->snapshot->segments[0];
	assert_null(f->segment->blocks);
	f->block_bytes = f->segment->shape.block_bytes;
	f->blocks = (uint32_t)f->segment->block_count;
	assert_true(f->blocks >= 2);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lineup_snapshot_put(f->snapshot);
	bed_close(f->bed);
	free(f);
	return 0;
}

static struct lineup_frames *pool(struct fixture *f, enum lineup_frames_kind kind, uint32_t flags, uint32_t blocks)
{
	struct lineup_frames_options o = {
		.size = sizeof(o), .kind = kind, .frame_bytes = blocks * f->block_bytes, .count = 1, .flags = flags
	};
	struct lineup_frames *frames = NULL;

	return lineup_frames_create(f->bed->ctx, &o, &frames) ? NULL : frames;
}

/* Reads blocks by lineup_stream_frame and compares with a plain read of the file. */
static void read_and_compare(struct fixture *f, struct lineup_frames *frames, uint64_t first, uint32_t count,
			     const struct lineup_engine *engine)
{
	uint8_t *want = malloc(count * f->block_bytes), *data;
	struct lineup_frame *frame;

	assert_int_equal(
		pread(f->segment->fd, want, count * f->block_bytes, (off_t)(f->segment->blocks_offset + first * f->block_bytes)),
		(ssize_t)(count * f->block_bytes));
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, first, count, frame, engine), 0);
	assert_int_equal(lineup_frame_map(frame, (void **)&data), 0);
	assert_int_equal(lineup_frame_begin(frame, LINEUP_FRAME_READ), 0);
	assert_memory_equal(data, want, count * f->block_bytes);
	assert_int_equal(lineup_frame_end(frame, LINEUP_FRAME_READ), 0);
	lineup_frame_put(frame);
	free(want);
}

static void blocks_arrive_as_the_file_holds_them(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);

	assert_non_null(frames);
	read_and_compare(f, frames, 0, f->blocks, NULL);
	read_and_compare(f, frames, 1, f->blocks - 1, NULL);
	read_and_compare(f, frames, 0, 1, &lineup_engine_pread);
	lineup_frames_destroy(frames);
}

/*
 * The engine's own registration, with nothing to fall back on: a frame whose mapping the kernel does not register has no fixed
 * buffer. A memfd is shmem, which every kernel registers.
 */
static void frames_are_registered_as_fixed_buffers(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);
	void *engine;
	struct lineup_frame *frame;
	void *data;
	int err;

	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	assert_int_equal(lineup_frame_map(frame, &data), 0);
	messages_clear(&f->bed->messages);
	err = lineup_engine_uring.create(f->bed->ctx, (int[]){ f->segment->fd_direct, f->segment->fd }, 2, data,
					 lineup_frame_bytes(frame), &engine);
	if (err) {
		print_message("io_uring: %s\n", strerror(-err));
		skip();
	}
	lineup_engine_uring.destroy(engine);
	if (messages_with(&f->bed->messages, "RLIMIT_MEMLOCK")) {
		print_message("RLIMIT_MEMLOCK is too low here\n");
		skip();
	}
	assert_int_equal(f->bed->messages.count, 0);
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
}

/*
 * In the virtual machine, and wherever else the module is. Linux 6.1 registers shmem-backed frames only; the others are read
 * into without.
 */
static void frames_of_the_module_take_blocks(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames;
	struct utsname name;
	bool old;

	if (access("/dev/lineup", R_OK | W_OK)) {
		print_message("no /dev/lineup\n");
		skip();
	}
	assert_int_equal(uname(&name), 0);
	old = !strncmp(name.release, "6.1.", 4);
	for (int shmem = 0; shmem < 2; shmem++) {
		frames = pool(f, LINEUP_FRAMES_MODULE, shmem ? LINEUP_FRAMES_SHMEM : 0, f->blocks);
		assert_non_null(frames);
		f->bed->ctx->said[LINEUP_ONCE_REGISTER] = false;
		messages_clear(&f->bed->messages);
		read_and_compare(f, frames, 0, f->blocks, NULL);
		assert_int_equal(messages_with(&f->bed->messages, "are not registered"), old && !shmem);
		lineup_frames_destroy(frames);
	}
}

static void frames_of_the_systems_heap_and_of_udmabuf_take_blocks(void **state)
{
	static const enum lineup_frames_kind kinds[] = { LINEUP_FRAMES_UDMABUF, LINEUP_FRAMES_HEAP };
	struct fixture *f = *state;
	unsigned int tried = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct lineup_frames *frames = pool(f, kinds[i], 0, f->blocks);

		if (!frames)
			continue;
		tried++;
		read_and_compare(f, frames, 0, f->blocks, NULL);
		lineup_frames_destroy(frames);
	}
	if (!tried) {
		print_message("neither udmabuf nor DMA heap here\n");
		skip();
	}
}

/* ---- an engine that reads as badly as it may ---- */

static struct {
	int result;          /* of read number @at, in place of what it would be; INT32_MAX: half of it */
	unsigned int at, reads;
	bool no_direct;
	unsigned int in_flight;
	unsigned int waits, waits_failing; /* so many fail, from wait number @at on */
} plan;

static struct lineup_read waiting[LINEUP_STREAM_DEPTH_MAX];
static int bad_fds[2];

static int bad_create(struct lineup_ctx *ctx, const int *fds, unsigned int count, void *memory, size_t size, void **engine)
{
	(void)ctx, (void)memory, (void)size;
	assert_int_equal(count, 2);
	memcpy(bad_fds, fds, sizeof(bad_fds));
	*engine = &plan;
	return 0;
}

static int bad_submit(void *engine, const struct lineup_read *read)
{
	(void)engine;
	assert_true(plan.in_flight < LINEUP_STREAM_DEPTH_MAX);
	waiting[plan.in_flight++] = *read;
	return 0;
}

/* The last one in comes first. */
static int bad_wait(void *engine, unsigned int *slot, int *result)
{
	struct lineup_read *r;
	uint32_t size;

	(void)engine;
	if (plan.waits_failing && plan.waits++ >= plan.at && plan.waits_failing--)
		return -ENOMEM;
	r = &waiting[--plan.in_flight];
	size = r->size;
	*slot = r->slot;
	if (plan.no_direct && !r->file) {
		*result = -EINVAL;
		return 0;
	}
	if (plan.reads++ == plan.at && plan.result != INT32_MAX) {
		*result = plan.result;
		return 0;
	}
	if (plan.reads == plan.at + 1 && plan.result == INT32_MAX)
		size /= 2;
	*result = (int)pread(bad_fds[1], r->data, size, (off_t)r->offset);
	return 0;
}

static void bad_destroy(void *engine)
{
	(void)engine;
	assert_int_equal(plan.in_flight, 0); /* nothing writes to the frame any more */
}

static const struct lineup_engine bad = {
	.name = "bad", .create = bad_create, .submit = bad_submit, .wait = bad_wait, .destroy = bad_destroy
};

static void short_late_and_refused_reads_end_well(void **state)
{
	static const int results[] = { INT32_MAX, -EINTR, -EAGAIN, -EINVAL, -EFAULT };
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);

	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		/* These two ask for another way, and where O_DIRECT is missing (tmpfs before Linux 6.6) there is none. */
		if ((results[i] == -EINVAL || results[i] == -EFAULT) && f->segment->fd_direct < 0)
			continue;
		for (unsigned int at = 0; at < f->blocks; at++) {
			memset(&plan, 0, sizeof(plan));
			plan.result = results[i];
			plan.at = at;
			read_and_compare(f, frames, 0, f->blocks, &bad);
		}
	}
	memset(&plan, 0, sizeof(plan));
	plan.no_direct = true;
	plan.at = UINT32_MAX;
	read_and_compare(f, frames, 0, f->blocks, &bad);
	lineup_frames_destroy(frames);
}

static void failing_reads_are_errors_that_name_the_place(void **state)
{
	static const struct {
		int result, err;
	} cases[] = { { -EIO, -EIO }, { 0, -EBADMSG } };
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);
	struct lineup_frame *frame;

	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&plan, 0, sizeof(plan));
		plan.result = cases[i].result;
		messages_clear(&f->bed->messages);
		assert_int_equal(lineup_stream_frame(f->snapshot, 0, 0, f->blocks, frame, &bad), cases[i].err);
		assert_int_equal(f->bed->messages.errors, 1);
		assert_int_equal(messages_with(&f->bed->messages, "block "), 1);
	}
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
}

/* Waits that fail leave reads in flight: it does not return before they have ended. */
static void failing_waits_leave_nothing_in_flight(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);
	struct lineup_frame *frame;

	assert_true(f->blocks > 1);
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	for (unsigned int at = 0; at < f->blocks; at++) {
		memset(&plan, 0, sizeof(plan));
		plan.at = at;
		plan.result = -EIO;
		plan.waits_failing = 3;
		messages_clear(&f->bed->messages);
		assert_int_equal(lineup_stream_frame(f->snapshot, 0, 0, f->blocks, frame, &bad), -ENOMEM);
		assert_int_equal(f->bed->messages.errors, 1);
		assert_int_equal(messages_with(&f->bed->messages, "waiting"), 1);
	}
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
}

static void damage_is_found(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, f->blocks);
	struct lineup_frame *frame;
	uint8_t byte;
	off_t at = (off_t)(f->segment->blocks_offset + f->block_bytes + 5000);
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->segment->fd);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(pread(fileno(file), &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fileno(file), &byte, 1, at), 1);
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, 1, 1, frame, NULL), -EBADMSG);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, 0, 1, frame, NULL), 0);
	byte ^= 1;
	assert_int_equal(pwrite(fileno(file), &byte, 1, at), 1);
	fclose(file);
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
}

static void blocks_that_are_not_there_or_do_not_fit_are_refused(void **state)
{
	struct fixture *f = *state;
	struct lineup_frames *frames = pool(f, LINEUP_FRAMES_MEMORY, 0, 1);
	struct lineup_frame *frame;

	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, 0, 2, frame, NULL), -EINVAL);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, 0, 0, frame, NULL), -EINVAL);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, f->blocks, 1, frame, NULL), -EINVAL);
	assert_int_equal(lineup_stream_frame(f->snapshot, 0, 1, UINT32_MAX, frame, NULL), -EINVAL);
	assert_int_equal(lineup_stream_frame(f->snapshot, f->snapshot->segment_count, 0, 1, frame, NULL), -EINVAL);
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(blocks_arrive_as_the_file_holds_them),
		TEST(frames_are_registered_as_fixed_buffers),
		TEST(frames_of_the_module_take_blocks),
		TEST(frames_of_the_systems_heap_and_of_udmabuf_take_blocks),
		TEST(short_late_and_refused_reads_end_well),
		TEST(failing_reads_are_errors_that_name_the_place),
		TEST(failing_waits_leave_nothing_in_flight),
		TEST(damage_is_found),
		TEST(blocks_that_are_not_there_or_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
