// SPDX-License-Identifier: MIT
// Pools of frames: what is asked of the module and of what stands in for it, what each refusal becomes, and that nothing is
// left open.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/lineup.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mock_ioctl.h"
#include "search_bed.h"

enum { POOL = 100, FRAME = 200, MEMORY = 300, BYTES = 8192 };

struct stage {
	struct messages messages;
	struct lineup_ctx *ctx;
	struct mock mock;
};

static int set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &s->messages };

	pthread_mutex_init(&s->messages.lock, NULL);
	assert_int_equal(lineup_ctx_create(&options, &s->ctx), 0);
	mock_init(&s->mock, s->ctx);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;

	mock_done(&s->mock);
	lineup_ctx_destroy(s->ctx);
	free(s);
	return 0;
}

static struct lineup_frames_options want(enum lineup_frames_kind kind, uint32_t count)
{
	return (struct lineup_frames_options){
		.size = sizeof(struct lineup_frames_options), .kind = kind, .frame_bytes = BYTES, .count = count
	};
}

static void expect_create(struct stage *s, const struct lineup_pool_create *want_in, uint64_t bytes, int result)
{
	struct lineup_pool_create out = *want_in;

	out.frame_bytes = bytes;
	out.pool = 5;
	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_CREATE, want_in, result ? NULL : &out, result);
}

static void expect_get(struct stage *s, int fd, int result)
{
	struct lineup_frame_get in = { 0 }, out = { .frame = 9, .index = 1, .fd = fd };

	mock_ioctl(&s->mock, POOL, LINEUP_IOC_FRAME_GET, &in, result ? NULL : &out, result);
}

static void the_module_is_asked_for_what_was_wanted(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 3);
	struct lineup_pool_create in = { .frame_bytes = BYTES,
					 .frames = 3,
					 .flags = LINEUP_POOL_CONTIGUOUS | LINEUP_POOL_SYNC_CHECK,
					 .node = 1,
					 .dma_bits = 32 };
	struct lineup_frames *frames;

	o.flags = LINEUP_FRAMES_CONTIGUOUS | LINEUP_FRAMES_SYNC_CHECK | LINEUP_FRAMES_ON_NODE;
	o.frame_bytes = BYTES - 4095; /* rounded up to whole pages */
	o.node = 1;
	o.dma_bits = 32;
	expect_create(s, &in, BYTES, 0);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	assert_int_equal(lineup_frames_kind(frames), LINEUP_FRAMES_MODULE);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
	assert_int_equal(s->messages.count, 0);
}

static void without_a_node_any_will_do(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_MODULE, 0);
	struct lineup_pool_create in = { .frame_bytes = BYTES, .frames = 8, .node = LINEUP_NODE_ANY };
	struct lineup_frames *frames;

	expect_create(s, &in, BYTES, 0);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
}

static struct lineup_frames *module_pool(struct stage *s, uint32_t count)
{
	struct lineup_frames_options o = want(LINEUP_FRAMES_MODULE, count);
	struct lineup_frames *frames;

	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_CREATE, NULL, NULL, 0);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	return frames;
}

static void a_frame_goes_round(void **state)
{
	struct stage *s = *state;
	struct lineup_frames *frames = module_pool(s, 2);
	struct lineup_frame *frame;
	struct dma_buf_sync begin = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ },
			    end = { .flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW };
	uint8_t *memory = aligned_alloc(4096, BYTES);
	void *data;

	for (int round = 0; round < 3; round++) {
		expect_get(s, FRAME + round, 0);
		mock_mmap(&s->mock, FRAME + round, BYTES, 0, memory, 0);
		mock_ioctl(&s->mock, FRAME + round, DMA_BUF_IOCTL_SYNC, &begin, NULL, 0);
		mock_ioctl(&s->mock, FRAME + round, DMA_BUF_IOCTL_SYNC, &end, NULL, 0);
		mock_munmap(&s->mock, memory, BYTES);
		mock_close(&s->mock, FRAME + round);
		assert_int_equal(lineup_frame_take(frames, &frame), 0);
		assert_int_equal(lineup_frame_fd(frame), FRAME + round);
		assert_int_equal(lineup_frame_bytes(frame), BYTES);
		assert_int_equal(lineup_frame_map(frame, &data), 0);
		assert_ptr_equal(data, memory);
		assert_int_equal(lineup_frame_map(frame, &data), 0); /* no second mapping */
		assert_int_equal(lineup_frame_begin(frame, LINEUP_FRAME_READ), 0);
		assert_int_equal(lineup_frame_end(frame, LINEUP_FRAME_READ | LINEUP_FRAME_WRITE), 0);
		lineup_frame_put(frame);
		mock_done(&s->mock);
	}
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
	free(memory);
}

static void an_empty_pool_is_no_error(void **state)
{
	struct stage *s = *state;
	struct lineup_frames *frames = module_pool(s, 2);
	struct lineup_frame *a, *b, *c;

	expect_get(s, FRAME, 0);
	expect_get(s, FRAME + 1, 0);
	assert_int_equal(lineup_frame_take(frames, &a), 0);
	assert_int_equal(lineup_frame_take(frames, &b), 0);
	assert_int_equal(lineup_frame_take(frames, &c), -EAGAIN);
	/* Also where the module holds one back that came back. */
	mock_close(&s->mock, FRAME);
	lineup_frame_put(a);
	expect_get(s, 0, -EAGAIN);
	assert_int_equal(lineup_frame_take(frames, &a), -EAGAIN);
	assert_int_equal(s->messages.count, 0);
	mock_close(&s->mock, FRAME + 1);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames); /* the frame that was not put goes with it */
}

static void a_revoked_pool_and_a_revoked_frame_say_so(void **state)
{
	struct stage *s = *state;
	struct lineup_frames *frames = module_pool(s, 2);
	struct lineup_frame *frame, *other;
	void *data;

	expect_get(s, FRAME, 0);
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	mock_ioctl(&s->mock, FRAME, DMA_BUF_IOCTL_SYNC, NULL, NULL, -ENODEV);
	assert_int_equal(lineup_frame_begin(frame, LINEUP_FRAME_READ), -ENODEV);
	assert_int_equal(messages_with(&s->messages, "revoked"), 1);
	mock_mmap(&s->mock, FRAME, BYTES, 0, NULL, -ENODEV);
	assert_int_equal(lineup_frame_map(frame, &data), -ENODEV);
	assert_int_equal(messages_with(&s->messages, "revoked"), 2);
	expect_get(s, 0, -ENODEV);
	assert_int_equal(lineup_frame_take(frames, &other), -ENODEV);
	assert_int_equal(messages_with(&s->messages, "the pool is revoked"), 1);
	mock_close(&s->mock, FRAME);
	lineup_frame_put(frame);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
}

/* What is there but refuses is obeyed: no other kind is tried behind a quota's back. */
static void each_refusal_of_the_module_is_the_end(void **state)
{
	static const struct {
		int error;
		const char *text;
	} refusals[] = {
		{ -EDQUOT, "RLIMIT_MEMLOCK" }, { -ENOMEM, "max_bytes" }, { -E2BIG, "more than the module allows" },
		{ -EOPNOTSUPP, "write-combined" },
		{ -EINVAL, "do not go together" },
	};
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 2);
	struct lineup_frames *frames = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (refusals[i].error == -EOPNOTSUPP)
			o.flags = LINEUP_FRAMES_UNCACHED; /* which nobody else has */
		messages_clear(&s->messages);
		mock_open(&s->mock, "/dev/lineup", POOL);
		mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_CREATE, NULL, NULL, refusals[i].error);
		mock_close(&s->mock, POOL);
		assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), refusals[i].error);
		assert_null(frames);
		assert_int_equal(s->messages.errors, 1);
		assert_int_equal(messages_with(&s->messages, refusals[i].text), 1);
		mock_done(&s->mock);
		o.flags = 0;
	}
}

static void expect_udmabuf(struct stage *s, int i, int result)
{
	struct udmabuf_create in = { .memfd = (uint32_t)(MEMORY + i), .flags = UDMABUF_FLAGS_CLOEXEC, .size = BYTES };

	mock_memfd(&s->mock, BYTES, MEMORY + i);
	mock_ioctl(&s->mock, POOL, UDMABUF_CREATE, &in, NULL, result);
	mock_close(&s->mock, MEMORY + i);
}

static void without_the_module_udmabuf_is_next_and_said_once(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 2);
	struct lineup_frames *frames;
	struct lineup_frame *frame;
	struct dma_buf_sync begin = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE };

	for (int round = 0; round < 2; round++) {
		mock_open(&s->mock, "/dev/lineup", -ENOENT);
		mock_open(&s->mock, "/dev/udmabuf", POOL);
		expect_udmabuf(s, 0, FRAME);
		expect_udmabuf(s, 1, FRAME + 1);
		assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
		assert_int_equal(lineup_frames_kind(frames), LINEUP_FRAMES_UDMABUF);
		assert_int_equal(lineup_frame_take(frames, &frame), 0);
		assert_int_equal(lineup_frame_fd(frame), FRAME);
		mock_ioctl(&s->mock, FRAME, DMA_BUF_IOCTL_SYNC, &begin, NULL, 0);
		assert_int_equal(lineup_frame_begin(frame, LINEUP_FRAME_WRITE), 0);
		lineup_frame_put(frame);
		mock_close(&s->mock, FRAME);
		mock_close(&s->mock, FRAME + 1);
		mock_close(&s->mock, POOL);
		lineup_frames_destroy(frames);
	}
	assert_int_equal(s->messages.count, 1);
	assert_int_equal(messages_with(&s->messages, "the module lineup is not loaded; using udmabuf"), 1);
}

static void a_user_outside_the_group_goes_on_and_hears_why(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 1);
	struct dma_heap_allocation_data in = { .len = BYTES, .fd_flags = O_RDWR | O_CLOEXEC }, out = in;
	struct lineup_frames *frames;

	out.fd = FRAME;
	mock_open(&s->mock, "/dev/lineup", -EACCES);
	mock_open(&s->mock, "/dev/udmabuf", -ENOENT);
	mock_open(&s->mock, "/dev/dma_heap/system", POOL);
	mock_ioctl(&s->mock, POOL, DMA_HEAP_IOCTL_ALLOC, &in, &out, 0);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	assert_int_equal(lineup_frames_kind(frames), LINEUP_FRAMES_HEAP);
	assert_int_equal(messages_with(&s->messages, "is this user in the group lineup?; using dma-heap"), 1);
	mock_close(&s->mock, FRAME);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
}

static void with_nothing_at_all_memory_is_left(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 1);
	struct lineup_frames *frames;
	struct lineup_frame *frame;

	mock_open(&s->mock, "/dev/lineup", -ENOENT);
	mock_open(&s->mock, "/dev/udmabuf", -EACCES);
	mock_open(&s->mock, "/dev/dma_heap/system", -ENOENT);
	mock_memfd(&s->mock, BYTES, MEMORY);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	assert_int_equal(lineup_frames_kind(frames), LINEUP_FRAMES_MEMORY);
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	/* No bracket is asked of a kernel that has none for it. */
	assert_int_equal(lineup_frame_begin(frame, LINEUP_FRAME_WRITE), 0);
	assert_int_equal(lineup_frame_end(frame, LINEUP_FRAME_WRITE), 0);
	lineup_frame_put(frame);
	mock_close(&s->mock, MEMORY);
	lineup_frames_destroy(frames);
}

/* udmabuf's limits on sizes are no quota of the user's: the next kind is tried. */
static void what_is_too_much_for_udmabuf_is_had_elsewhere(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 2);
	struct dma_heap_allocation_data in = { .len = BYTES, .fd_flags = O_RDWR | O_CLOEXEC }, out = in;
	struct lineup_frames *frames;

	mock_open(&s->mock, "/dev/lineup", -ENOENT);
	mock_open(&s->mock, "/dev/udmabuf", POOL);
	expect_udmabuf(s, 0, -EINVAL);
	mock_close(&s->mock, POOL);
	mock_open(&s->mock, "/dev/dma_heap/system", POOL);
	for (int i = 0; i < 2; i++) {
		out.fd = (uint32_t)(FRAME + i);
		mock_ioctl(&s->mock, POOL, DMA_HEAP_IOCTL_ALLOC, &in, &out, 0);
	}
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	assert_int_equal(lineup_frames_kind(frames), LINEUP_FRAMES_HEAP);
	mock_close(&s->mock, FRAME);
	mock_close(&s->mock, FRAME + 1);
	mock_close(&s->mock, POOL);
	lineup_frames_destroy(frames);
}

/* A device that does not reach all memory gets no frames that lie anywhere: not silently, and not before anything is asked. */
static void address_bits_are_kept_or_refused(void **state)
{
	static const enum lineup_frames_kind others[] = { LINEUP_FRAMES_UDMABUF, LINEUP_FRAMES_HEAP, LINEUP_FRAMES_MEMORY };
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_AUTO, 1);
	struct lineup_frames *frames = NULL;

	o.dma_bits = 32;
	mock_open(&s->mock, "/dev/lineup", -ENOENT);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "the module lineup is not loaded"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		messages_clear(&s->messages);
		o.kind = others[i];
		assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), -ENOTSUP);
		assert_int_equal(messages_with(&s->messages, "below 32 address bits need lineup.ko"), 1);
	}
	assert_null(frames);
	mock_done(&s->mock);
	o.dma_bits = 64; /* all there are */
	mock_memfd(&s->mock, BYTES, MEMORY);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	mock_close(&s->mock, MEMORY);
	lineup_frames_destroy(frames);
}

/* The second frame is refused: the first is closed again. */
static void a_half_made_pool_leaves_nothing_open(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_UDMABUF, 2);
	struct lineup_frames *frames;

	mock_open(&s->mock, "/dev/udmabuf", POOL);
	expect_udmabuf(s, 0, FRAME);
	expect_udmabuf(s, 1, -EINVAL);
	mock_close(&s->mock, FRAME);
	mock_close(&s->mock, POOL);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "udmabuf refuses frame 1"), 1);
	mock_done(&s->mock);
	mock_open(&s->mock, "/dev/udmabuf", POOL);
	mock_memfd(&s->mock, BYTES, -EMFILE);
	mock_close(&s->mock, POOL);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), -EMFILE);
}

static void a_module_that_gives_less_than_asked_is_not_believed(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_MODULE, 2);
	struct lineup_pool_create in = { .frame_bytes = BYTES, .frames = 2, .node = LINEUP_NODE_ANY };
	struct lineup_frames *frames;

	expect_create(s, &in, BYTES - 4096, 0);
	mock_close(&s->mock, POOL);
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), -EPROTO);
}

static void options_that_cannot_be_are_refused_before_anything_is_asked(void **state)
{
	static const struct {
		struct lineup_frames_options o;
		int error;
	} wrong[] = {
		{ { .frame_bytes = 0 }, -EINVAL },
		{ { .frame_bytes = BYTES, .flags = 1u << 31 }, -EINVAL },
		{ { .frame_bytes = (256ull << 20) + 1 }, -E2BIG },
		{ { .frame_bytes = BYTES, .count = 4097 }, -E2BIG },
		{ { .frame_bytes = BYTES, .dma_bits = 23 }, -EINVAL },
		{ { .frame_bytes = BYTES, .dma_bits = 65 }, -EINVAL },
		{ { .frame_bytes = BYTES, .kind = LINEUP_FRAMES_DEVICE }, -EINVAL },
		{ { .frame_bytes = BYTES, .kind = LINEUP_FRAMES_HEAP, .flags = LINEUP_FRAMES_CONTIGUOUS }, -ENOTSUP },
	};
	struct stage *s = *state;
	struct lineup_frames *frames;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct lineup_frames_options o = wrong[i].o;

		o.size = sizeof(o);
		messages_clear(&s->messages);
		assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), wrong[i].error);
		assert_int_equal(s->messages.errors, 1);
	}
}

/* ---- the list of pools ---- */

static struct lineup_frames_info seen[4];
static unsigned int seen_count;

static int see(void *arg, const struct lineup_frames_info *info)
{
	seen[seen_count++] = *info;
	return *(int *)arg;
}

static void expect_info(struct stage *s, uint64_t after, const struct lineup_pool_info *answer, int result)
{
	struct lineup_pool_info in = { .pool = after, .flags = LINEUP_INFO_NEXT };

	mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_INFO, &in, answer, result);
}

static void the_list_tells_quota_pools_and_owners(void **state)
{
	struct stage *s = *state;
	struct lineup_stats stats = {
		.bytes = 10, .bytes_max = 100, .user_bytes = 8, .user_bytes_max = LINEUP_UNLIMITED, .pools = 2, .refused_user = 3
	};
	struct lineup_pool_info a = { .pool = 3,
				      .frame_bytes = BYTES,
				      .frames = 4,
				      .frames_free = 1,
				      .frames_out = 2,
				      .frames_held_back = 1,
				      .uid = 1000,
				      .pid = 7,
				      .node = -1,
				      .pool_flags = LINEUP_POOL_SHMEM,
				      .comm = "0123456789abcdef" };
	struct lineup_pool_info b = { .pool = 8, .node = 1, .state = LINEUP_POOL_CLOSED | LINEUP_POOL_REVOKED | LINEUP_POOL_HEAP };
	struct lineup_frames_quota quota;
	int result = 0;

	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_STATS, &(struct lineup_stats){ 0 }, &stats, 0);
	expect_info(s, 0, &a, 0);
	expect_info(s, 3, &b, 0);
	expect_info(s, 8, NULL, -ENOENT);
	mock_close(&s->mock, POOL);
	seen_count = 0;
	assert_int_equal(lineup_frames_list(s->ctx, &quota, see, &result), 0);
	assert_int_equal(seen_count, 2);
	assert_true(quota.bytes == 10 && quota.bytes_max == 100 && quota.user_bytes == 8 && quota.user_bytes_max == UINT64_MAX &&
		    quota.refused_user == 3);
	assert_true(seen[0].id == 3 && seen[0].frames_out == 2 && seen[0].uid == 1000 && seen[0].pid == 7 && seen[0].node == -1);
	assert_true(seen[0].flags == LINEUP_FRAMES_SHMEM && !seen[0].closed && !seen[0].revoked && !seen[0].heap);
	assert_string_equal(seen[0].command, "0123456789abcde"); /* ended whatever came */
	assert_true(seen[1].flags == LINEUP_FRAMES_ON_NODE && seen[1].node == 1 && seen[1].closed && seen[1].revoked &&
		    seen[1].heap);
}

static void a_list_that_does_not_go_forward_ends(void **state)
{
	struct stage *s = *state;
	struct lineup_pool_info a = { .pool = 3 };
	struct lineup_frames_quota quota;
	int result = 0;

	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_STATS, NULL, NULL, 0);
	expect_info(s, 0, &a, 0);
	expect_info(s, 3, &a, 0);
	mock_close(&s->mock, POOL);
	seen_count = 0;
	assert_int_equal(lineup_frames_list(s->ctx, &quota, see, &result), -EPROTO);
	assert_int_equal(s->messages.errors, 1);
}

static void a_list_without_the_module_or_the_right_says_which(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_quota quota;

	mock_open(&s->mock, "/dev/lineup", -ENOENT);
	assert_int_equal(lineup_frames_list(s->ctx, &quota, see, NULL), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "not loaded"), 1);
	mock_open(&s->mock, "/dev/lineup", -EACCES);
	assert_int_equal(lineup_frames_list(s->ctx, &quota, see, NULL), -EACCES);
	assert_int_equal(messages_with(&s->messages, "group lineup"), 1);
}

/* ---- without a script: what this machine has ---- */

static void memory_frames_hold_what_is_written_and_cannot_shrink(void **state)
{
	struct stage *s = *state;
	struct lineup_frames_options o = want(LINEUP_FRAMES_MEMORY, 2);
	struct lineup_frames *frames;
	struct lineup_frame *a, *b;
	uint8_t byte = 0, *data;

	s->ctx->device_io = NULL;
	assert_int_equal(lineup_frames_create(s->ctx, &o, &frames), 0);
	assert_int_equal(lineup_frame_take(frames, &a), 0);
	assert_int_equal(lineup_frame_take(frames, &b), 0);
	assert_ptr_not_equal(a, b);
	assert_int_equal(lineup_frame_map(a, (void **)&data), 0);
	data[BYTES - 1] = 0x5a;
	assert_int_equal(pread(lineup_frame_fd(a), &byte, 1, BYTES - 1), 1);
	assert_int_equal(byte, 0x5a);
	assert_int_equal(ftruncate(lineup_frame_fd(a), 0), -1);
	assert_int_equal(lineup_frame_drm(a, -1, &(uint32_t){ 0 }), -ENOTSUP);
	lineup_frame_put(a);
	lineup_frame_put(b);
	lineup_frames_destroy(frames);
	lineup_frames_destroy(NULL);
	lineup_frame_put(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_module_is_asked_for_what_was_wanted),
		TEST(without_a_node_any_will_do),
		TEST(a_frame_goes_round),
		TEST(an_empty_pool_is_no_error),
		TEST(a_revoked_pool_and_a_revoked_frame_say_so),
		TEST(each_refusal_of_the_module_is_the_end),
		TEST(without_the_module_udmabuf_is_next_and_said_once),
		TEST(a_user_outside_the_group_goes_on_and_hears_why),
		TEST(with_nothing_at_all_memory_is_left),
		TEST(what_is_too_much_for_udmabuf_is_had_elsewhere),
		TEST(address_bits_are_kept_or_refused),
		TEST(a_half_made_pool_leaves_nothing_open),
		TEST(a_module_that_gives_less_than_asked_is_not_believed),
		TEST(options_that_cannot_be_are_refused_before_anything_is_asked),
		TEST(the_list_tells_quota_pools_and_owners),
		TEST(a_list_that_does_not_go_forward_ends),
		TEST(a_list_without_the_module_or_the_right_says_which),
		TEST(memory_frames_hold_what_is_written_and_cannot_shrink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
