// SPDX-License-Identifier: MIT
// The sample card from a script: one transfer at a time, its outcome by the sync_file, the card's end in each of its moments.
#include <educap.h>
#include <linux/dma-buf.h>
#include <linux/lineup.h>
#include <linux/sync_file.h>
#include <stdlib.h>

#include "mock_ioctl.h"
#include "search_bed.h"

enum { CARD = 60, POOL = 100, FRAME = 200, SYNC = 400, BYTES = 16384, BUFFERS = 2 };

struct stage {
	struct messages messages;
	struct lineup_ctx *ctx;
	struct mock mock;
	struct lineup_capture *capture;
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

static void expect_transfer(struct stage *s, int frame, int result)
{
	struct educap_transfer in = { .bytes = BYTES, .direction = EDUCAP_TO_FRAME, .fd = FRAME + frame };
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_READ, .fd = SYNC + frame };

	mock_ioctl(&s->mock, CARD, EDUCAP_IOC_TRANSFER, &in, NULL, result);
	if (!result)
		mock_ioctl(&s->mock, FRAME + frame, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, NULL, &out, 0);
}

static void expect_outcome(struct stage *s, int frame, int status)
{
	struct sync_file_info info = { .status = status };

	mock_poll(&s->mock, FRAME + frame, POLLIN, 1);
	mock_ioctl(&s->mock, SYNC + frame, SYNC_IOC_FILE_INFO, NULL, &info, 0);
	mock_close(&s->mock, SYNC + frame);
}

static void running(struct stage *s)
{
	struct lineup_pool_create in = { .frame_bytes = BYTES, .frames = BUFFERS, .node = LINEUP_NODE_ANY, .dma_bits = 28 };
	struct lineup_capture_options o = { .size = sizeof(o), .buffers = BUFFERS };

	mock_open(&s->mock, "/dev/educap0", CARD);
	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_CREATE, &in, NULL, 0);
	for (int i = 0; i < BUFFERS; i++) {
		struct lineup_frame_get get = { .frame = 1, .fd = FRAME + i };

		mock_ioctl(&s->mock, POOL, LINEUP_IOC_FRAME_GET, NULL, &get, 0);
	}
	expect_transfer(s, 0, 0);
	assert_int_equal(lineup_capture_open(s->ctx, "edu", &o, &s->capture), 0);
	mock_done(&s->mock);
}

static void finish(struct stage *s, int sync)
{
	/* The card is left idle: who comes next would find it busy. */
	if (sync) {
		mock_poll(&s->mock, FRAME, POLLIN, 1);
		mock_close(&s->mock, sync);
	}
	for (int i = 0; i < BUFFERS; i++)
		mock_close(&s->mock, FRAME + i);
	mock_close(&s->mock, POOL);
	mock_close(&s->mock, CARD);
	lineup_capture_close(s->capture);
	mock_done(&s->mock);
}

static void frames_are_filled_in_turn(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	for (uint32_t n = 0; n < 4; n++) {
		expect_outcome(s, (int)n % BUFFERS, 1);
		expect_transfer(s, (int)(n + 1) % BUFFERS, 0);
		assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
		assert_true(shot.index == n % BUFFERS && shot.sequence == n && shot.bytes == BYTES && !shot.dropped && !shot.flags);
		assert_true(shot.width * shot.height == BYTES && shot.stride == shot.width);
		assert_int_equal(lineup_capture_give(s->capture, &shot), 0);
		mock_done(&s->mock);
	}
	mock_poll(&s->mock, FRAME, 0, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ETIMEDOUT);
	mock_poll(&s->mock, FRAME, 0, -EINTR);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -EINTR);
	assert_int_equal(s->messages.count, 0);
	finish(s, SYNC);
}

static void a_card_that_is_pulled_during_a_transfer_is_gone(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	expect_outcome(s, 0, -ENODEV);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ENODEV);
	assert_int_equal(messages_with(&s->messages, "edu: the device is gone"), 1);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ENODEV);
	finish(s, 0);
}

/* The frame that has come is still handed out; the next take tells. */
static void a_card_that_is_pulled_between_transfers_is_gone(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	expect_outcome(s, 0, 1);
	expect_transfer(s, 1, -ENODEV);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	assert_int_equal(lineup_capture_give(s->capture, &shot), -ENODEV);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ENODEV);
	assert_int_equal(s->messages.errors, 1);
	finish(s, 0);
}

static void without_the_card_it_says_what_is_missing(void **state)
{
	struct stage *s = *state;

	mock_open(&s->mock, "/dev/educap0", -ENOENT);
	assert_int_equal(lineup_capture_open(s->ctx, "edu", NULL, &s->capture), -ENOENT);
	assert_int_equal(messages_with(&s->messages, "is the module educap loaded?"), 1);
}

static void what_the_card_has_not_is_refused(void **state)
{
	static const struct lineup_capture_options wrong[] = {
		{ .size = sizeof(wrong[0]), .fourcc = 1 },          { .size = sizeof(wrong[0]), .width = 8 },
		{ .size = sizeof(wrong[0]), .frame_bytes = 4095 },  { .size = sizeof(wrong[0]), .frame_bytes = 69632 },
		{ .size = sizeof(wrong[0]), .kind = LINEUP_FRAMES_DEVICE },
	};
	struct stage *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(lineup_capture_open(s->ctx, "edu", &wrong[i], &s->capture), -EINVAL);
	assert_int_equal(s->messages.errors, ARRAY_SIZE(wrong));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(frames_are_filled_in_turn),
		TEST(a_card_that_is_pulled_during_a_transfer_is_gone),
		TEST(a_card_that_is_pulled_between_transfers_is_gone),
		TEST(without_the_card_it_says_what_is_missing),
		TEST(what_the_card_has_not_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
