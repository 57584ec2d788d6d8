// SPDX-License-Identifier: MIT
// Capturing from a V4L2 device that exists in a script only: negotiation, fallback, drops, damaged and short images,
// unplugging.
#include <fcntl.h>
#include <linux/lineup.h>
#include <linux/videodev2.h>
#include <stdlib.h>
#include <string.h>

#include "mock_ioctl.h"
#include "search_bed.h"

enum {
	VIDEO = 50, POOL = 100, FRAME = 200, MEMORY = 300, BUFFERS = 4,
	WIDTH = 64, HEIGHT = 32, STRIDE = 128, BYTES = STRIDE * HEIGHT, FRAME_BYTES = 4096, TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE,
};
#define NAME "/dev/video7"

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

/* ---- pieces of the script ---- */

static const struct v4l2_capability webcam = {
	.driver = "mock",
	.card = "a card",
	.capabilities = V4L2_CAP_DEVICE_CAPS,
	.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING,
};

static struct v4l2_format format(uint32_t fourcc, uint32_t width, uint32_t height, uint32_t stride, uint32_t bytes)
{
	struct v4l2_format f = { .type = TYPE };

	f.fmt.pix.pixelformat = fourcc;
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	f.fmt.pix.bytesperline = stride;
	f.fmt.pix.sizeimage = bytes;
	return f;
}

static void expect_query(struct stage *s, const struct v4l2_format *f)
{
	struct v4l2_format in = { .type = TYPE };

	mock_open(&s->mock, NAME, VIDEO);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_QUERYCAP, NULL, &webcam, 0);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_G_FMT, &in, f, 0);
}

static void expect_usual(struct stage *s)
{
	struct v4l2_format f = format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, BYTES);

	expect_query(s, &f);
}

static void expect_request(struct stage *s, uint32_t memory, uint32_t count, uint32_t granted, int result)
{
	struct v4l2_requestbuffers in = { .count = count, .type = TYPE, .memory = memory }, out = in;

	out.count = granted;
	mock_ioctl(&s->mock, VIDEO, VIDIOC_REQBUFS, &in, result ? NULL : &out, result);
}

static void expect_queue(struct stage *s, uint32_t index, int fd, int result)
{
	struct v4l2_buffer in = { .type = TYPE, .index = index, .memory = V4L2_MEMORY_DMABUF, .length = FRAME_BYTES };

	in.m.fd = fd;
	mock_ioctl(&s->mock, VIDEO, VIDIOC_QBUF, &in, NULL, result);
}

static void expect_module_pool(struct stage *s, uint32_t count, uint32_t flags, int result)
{
	struct lineup_pool_create in = { .frame_bytes = FRAME_BYTES, .frames = count, .flags = flags, .node = LINEUP_NODE_ANY };

	mock_open(&s->mock, "/dev/lineup", POOL);
	mock_ioctl(&s->mock, POOL, LINEUP_IOC_POOL_CREATE, &in, NULL, result);
}

static void expect_frame(struct stage *s, uint32_t index)
{
	struct lineup_frame_get out = { .frame = 1 + index, .index = index, .fd = FRAME + (int)index };

	mock_ioctl(&s->mock, POOL, LINEUP_IOC_FRAME_GET, NULL, &out, 0);
}

static void expect_start(struct stage *s)
{
	int type = TYPE;

	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMON, &type, NULL, 0);
}

static void expect_closed_frames(struct stage *s, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mock_close(&s->mock, FRAME + (int)i);
	mock_close(&s->mock, POOL);
}

static void expect_stop(struct stage *s)
{
	int type = TYPE;

	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMOFF, &type, NULL, 0);
	expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
	expect_closed_frames(s, BUFFERS);
	mock_close(&s->mock, VIDEO);
}

static int open_capture(struct stage *s, struct lineup_capture_options o)
{
	o.size = sizeof(o);
	s->capture = NULL;
	return lineup_capture_open(s->ctx, NAME, &o, &s->capture);
}

/* A capture from YUYV 64 x 32 into four frames of the module. */
static void running(struct stage *s)
{
	expect_usual(s);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, 0, 0);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		expect_frame(s, i);
		expect_queue(s, i, FRAME + (int)i, 0);
	}
	expect_start(s);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), 0);
	mock_done(&s->mock);
}

static void finish(struct stage *s)
{
	expect_stop(s);
	lineup_capture_close(s->capture);
	mock_done(&s->mock);
}

static void expect_dequeue(struct stage *s, uint32_t index, uint32_t sequence, uint32_t bytes, uint32_t flags)
{
	struct v4l2_buffer in = { .type = TYPE, .memory = V4L2_MEMORY_DMABUF };
	struct v4l2_buffer out = { .type = TYPE,
				   .memory = V4L2_MEMORY_DMABUF,
				   .index = index,
				   .sequence = sequence,
				   .bytesused = bytes,
				   .flags = flags | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
				   .timestamp = { .tv_sec = 3, .tv_usec = 5 } };

	mock_poll(&s->mock, VIDEO, POLLIN, 1);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, &in, &out, 0);
}

static void cycle(struct stage *s, uint32_t index, uint32_t sequence, uint64_t dropped)
{
	struct lineup_shot shot;

	expect_dequeue(s, index, sequence, BYTES, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	assert_int_equal(shot.index, index);
	assert_int_equal(shot.sequence, sequence);
	if (shot.dropped != dropped)
		fail_msg("sequence %u: %llu dropped, not %llu", sequence, (unsigned long long)shot.dropped,
			 (unsigned long long)dropped);
	expect_queue(s, index, FRAME + (int)index, 0);
	assert_int_equal(lineup_capture_give(s->capture, &shot), 0);
	mock_done(&s->mock);
}

/* ---- the usual way ---- */

static void frames_of_the_module_go_to_the_device_and_come_back(void **state)
{
	struct stage *s = *state;
	struct lineup_capture_info info;
	struct lineup_shot shot;

	running(s);
	lineup_capture_info(s->capture, &info);
	assert_string_equal(info.driver, "mock");
	assert_string_equal(info.card, "a card");
	assert_int_equal(info.kind, LINEUP_FRAMES_MODULE);
	assert_true(info.fourcc == V4L2_PIX_FMT_YUYV && info.width == WIDTH && info.height == HEIGHT && info.stride == STRIDE);
	assert_true(info.buffers == BUFFERS && info.frame_bytes == BYTES);
	expect_dequeue(s, 2, 0, BYTES, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	assert_int_equal(lineup_frame_fd(shot.frame), FRAME + 2);
	assert_true(shot.flags == 0 && shot.bytes == BYTES && shot.timestamp_ns == 3000005000ull && shot.sequence == 0 &&
		    shot.dropped == 0);
	assert_true(shot.fourcc == V4L2_PIX_FMT_YUYV && shot.width == WIDTH && shot.height == HEIGHT && shot.stride == STRIDE);
	expect_queue(s, 2, FRAME + 2, 0);
	assert_int_equal(lineup_capture_give(s->capture, &shot), 0);
	/* Given twice is a mistake of the caller's, which the device does not see. */
	assert_int_equal(lineup_capture_give(s->capture, &shot), -EINVAL);
	assert_int_equal(s->messages.count, 1);
	finish(s);
}

static void gaps_in_the_sequence_are_counted(void **state)
{
	struct stage *s = *state;

	running(s);
	cycle(s, 0, 5, 0);         /* the first one: where the device's count begins */
	cycle(s, 1, 6, 0);
	cycle(s, 2, 9, 2);
	cycle(s, 3, 10, 0);
	cycle(s, 0, 10, 0);        /* a device that repeats itself, or begins again, has dropped nothing */
	cycle(s, 1, 0, 0);
	cycle(s, 2, 1, 0);
	cycle(s, 3, UINT32_MAX, 0);
	cycle(s, 0, 1, 1);         /* around the end of its count */
	finish(s);
}

static void damaged_and_short_images_are_marked(void **state)
{
	static const struct {
		uint32_t bytes, flags, marks;
		uint64_t usable;
	} cases[] = {
		{ BYTES, V4L2_BUF_FLAG_ERROR, LINEUP_SHOT_DAMAGED, BYTES },
		{ BYTES - 1, 0, LINEUP_SHOT_SHORT, BYTES - 1 },
		{ 0, 0, LINEUP_SHOT_SHORT, 0 },
		{ 0, V4L2_BUF_FLAG_ERROR, LINEUP_SHOT_DAMAGED | LINEUP_SHOT_SHORT, 0 },
		{ FRAME_BYTES + 1, 0, LINEUP_SHOT_SHORT, FRAME_BYTES }, /* more than the frame holds: nobody may read so far */
		{ FRAME_BYTES, 0, 0, FRAME_BYTES },
	};
	struct stage *s = *state;

	running(s);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lineup_shot shot;

		expect_dequeue(s, i % BUFFERS, i, cases[i].bytes, cases[i].flags);
		assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
		assert_int_equal(shot.flags, cases[i].marks);
		assert_int_equal(shot.bytes, cases[i].usable);
		expect_queue(s, i % BUFFERS, FRAME + (int)i % BUFFERS, 0);
		assert_int_equal(lineup_capture_give(s->capture, &shot), 0);
	}
	finish(s);
}

/* A JPEG has no lines: it is as long as it is. */
static void compressed_images_may_be_of_any_length(void **state)
{
	struct stage *s = *state;
	struct v4l2_format f = format(V4L2_PIX_FMT_MJPEG, WIDTH, HEIGHT, 0, BYTES);
	struct lineup_shot shot;

	expect_query(s, &f);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, 0, 0);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		expect_frame(s, i);
		expect_queue(s, i, FRAME + (int)i, 0);
	}
	expect_start(s);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), 0);
	expect_dequeue(s, 0, 0, 1, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	assert_int_equal(shot.flags, 0);
	finish(s);
}

static void a_quiet_device_and_a_signal_change_nothing(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	mock_poll(&s->mock, VIDEO, 0, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ETIMEDOUT);
	mock_poll(&s->mock, VIDEO, 0, -EINTR);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -EINTR);
	mock_poll(&s->mock, VIDEO, POLLIN, 1); /* another reader was faster */
	mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, NULL, NULL, -EAGAIN);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ETIMEDOUT);
	assert_int_equal(s->messages.count, 0);
	cycle(s, 0, 0, 0);
	finish(s);
}

static void a_call_broken_off_by_a_signal_is_made_again(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	mock_poll(&s->mock, VIDEO, POLLIN, 1);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, NULL, NULL, -EINTR);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, NULL, &(struct v4l2_buffer){ .index = 1, .bytesused = BYTES }, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	finish(s);
}

static void with_all_frames_taken_there_is_nothing_to_wait_for(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		expect_dequeue(s, i, i, BYTES, 0);
		assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	}
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -EBUSY);
	assert_int_equal(messages_with(&s->messages, "all 4 frames are taken"), 1);
	expect_queue(s, 3, FRAME + 3, 0);
	assert_int_equal(lineup_capture_give(s->capture, &shot), 0);
	cycle(s, 3, 4, 0);
	finish(s);
}

/* ---- the device goes away ---- */

static void expect_gone(struct stage *s, int err, const char *text)
{
	struct lineup_shot shot;

	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), err);
	assert_int_equal(s->messages.errors, 1);
	if (!messages_with(&s->messages, text))
		fail_msg("\"%s\" does not say \"%s\"", s->messages.text[0], text);
	/* Nothing is asked of it any more, and nothing said twice. */
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ENODEV);
	assert_int_equal(lineup_capture_give(s->capture, &shot), -ENODEV);
	assert_int_equal(s->messages.errors, 1);
	finish(s);
}

static void unplugging_is_an_error_and_no_hang(void **state)
{
	static const struct {
		short revents;
		int dequeue, err;
		const char *text;
	} ways[] = {
		{ POLLIN | POLLHUP | POLLERR, -ENODEV, -ENODEV, "the device is gone" },
		{ POLLIN, -ENODEV, -ENODEV, "the device is gone" },
		{ POLLIN, -ENXIO, -ENODEV, "the device is gone" },
		{ POLLHUP | POLLERR, -EAGAIN, -ENODEV, "the device is gone" },
		{ POLLERR, -EAGAIN, -EIO, "reports an error" },
		{ POLLERR, -EIO, -EIO, "Input/output error" },
		{ POLLIN, -EPIPE, -EPIPE, "Broken pipe" },
	};
	struct stage *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		messages_clear(&s->messages);
		running(s);
		mock_poll(&s->mock, VIDEO, ways[i].revents, 1);
		mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, NULL, NULL, ways[i].dequeue);
		expect_gone(s, ways[i].err, ways[i].text);
	}
}

static void unplugging_while_a_frame_is_given_back(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	expect_dequeue(s, 0, 0, BYTES, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	expect_queue(s, 0, FRAME, -ENODEV);
	assert_int_equal(lineup_capture_give(s->capture, &shot), -ENODEV);
	assert_int_equal(messages_with(&s->messages, "the device is gone"), 1);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -ENODEV);
	finish(s);
}

static void a_driver_that_gives_a_buffer_it_has_not_is_not_believed(void **state)
{
	struct stage *s = *state;
	struct lineup_shot shot;

	running(s);
	expect_dequeue(s, BUFFERS, 0, BYTES, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -EPROTO);
	finish(s);
	running(s);
	expect_dequeue(s, 1, 0, BYTES, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	expect_dequeue(s, 1, 1, BYTES, 0); /* which is still taken */
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), -EPROTO);
	finish(s);
}

/* ---- negotiation ---- */

static void a_format_is_asked_for_and_its_like_taken(void **state)
{
	struct stage *s = *state;
	struct v4l2_format have = format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, BYTES),
			   asked = format(V4L2_PIX_FMT_GREY, 100, HEIGHT, 0, 0);
	struct v4l2_format got = format(V4L2_PIX_FMT_GREY, 96, HEIGHT, 96, 96 * HEIGHT);
	struct lineup_capture_info info;

	expect_query(s, &have);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_S_FMT, &asked, &got, 0);
	expect_request(s, V4L2_MEMORY_DMABUF, 3, 3, 0);
	expect_module_pool(s, 3, 0, 0);
	for (uint32_t i = 0; i < 3; i++) {
		expect_frame(s, i);
		expect_queue(s, i, FRAME + (int)i, 0);
	}
	expect_start(s);
	assert_int_equal(
		open_capture(s, (struct lineup_capture_options){ .fourcc = V4L2_PIX_FMT_GREY, .width = 100, .buffers = 3 }), 0);
	lineup_capture_info(s->capture, &info);
	assert_true(info.width == 96 && info.height == HEIGHT && info.stride == 96 && info.frame_bytes == 96 * HEIGHT &&
		    info.buffers == 3);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMOFF, NULL, NULL, 0);
	expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
	expect_closed_frames(s, 3);
	mock_close(&s->mock, VIDEO);
	lineup_capture_close(s->capture);
}

static void another_format_than_asked_is_refused(void **state)
{
	struct stage *s = *state;
	struct v4l2_format have = format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, BYTES);

	expect_query(s, &have);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_S_FMT, NULL, &have, 0);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ .fourcc = V4L2_PIX_FMT_GREY }), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "has no format GREY; it offers YUYV"), 1);
}

static void formats_that_cannot_be_are_refused(void **state)
{
	struct stage *s = *state;
	struct v4l2_format wrong[] = {
		format(V4L2_PIX_FMT_YUYV, 0, HEIGHT, STRIDE, BYTES),
		format(V4L2_PIX_FMT_YUYV, WIDTH, 0, STRIDE, BYTES),
		format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, 0),
		format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, BYTES - 1),
		format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, 0, UINT32_MAX),
		format(V4L2_PIX_FMT_YUYV, 65537, HEIGHT, 0, BYTES),
		format(V4L2_PIX_FMT_YUYV, WIDTH, 65536, UINT32_MAX, BYTES), /* the product does not fit in 32 bits */
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		messages_clear(&s->messages);
		expect_query(s, &wrong[i]);
		mock_close(&s->mock, VIDEO);
		assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -EPROTO);
		assert_int_equal(messages_with(&s->messages, "cannot be"), 1);
		mock_done(&s->mock);
	}
}

static void what_cannot_capture_says_what_it_is(void **state)
{
	static const struct {
		uint32_t caps;
		const char *text;
	} cases[] = {
		{ V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_STREAMING, "does not capture images" },
		{ V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING, "several planes only" },
		{ V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_READWRITE, "read() only" },
	};
	struct stage *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct v4l2_capability cap = { .driver = "mock",
					       .capabilities = V4L2_CAP_DEVICE_CAPS | V4L2_CAP_VIDEO_CAPTURE,
					       .device_caps = cases[i].caps };

		mock_open(&s->mock, NAME, VIDEO);
		mock_ioctl(&s->mock, VIDEO, VIDIOC_QUERYCAP, NULL, &cap, 0);
		mock_close(&s->mock, VIDEO);
		assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -ENOTSUP);
		assert_int_equal(messages_with(&s->messages, cases[i].text), 1);
	}
	mock_open(&s->mock, NAME, VIDEO);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_QUERYCAP, NULL, NULL, -ENOTTY);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "not a V4L2 device"), 1);
	mock_open(&s->mock, NAME, -ENOENT);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -ENOENT);
}

static void a_device_in_use_says_so(void **state)
{
	struct stage *s = *state;
	struct v4l2_format have = format(V4L2_PIX_FMT_YUYV, WIDTH, HEIGHT, STRIDE, BYTES);

	expect_query(s, &have);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_S_FMT, NULL, NULL, -EBUSY);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ .width = 32 }), -EBUSY);
	assert_int_equal(messages_with(&s->messages, "in use by somebody else"), 1);
	expect_usual(s);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, 0, -EBUSY);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -EBUSY);
}

/* ---- memory ---- */

/* A driver without scatter-gather refuses the first pool; a contiguous one will do. */
static void contiguous_frames_are_tried_where_scattered_ones_will_not_do(void **state)
{
	struct stage *s = *state;

	expect_usual(s);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, 0, 0);
	expect_frame(s, 0);
	expect_queue(s, 0, FRAME, -EFAULT);
	expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
	mock_close(&s->mock, FRAME);
	mock_close(&s->mock, POOL);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, LINEUP_POOL_CONTIGUOUS, 0);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		expect_frame(s, i);
		expect_queue(s, i, FRAME + (int)i, 0);
	}
	expect_start(s);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), 0);
	assert_int_equal(s->messages.count, 0);
	finish(s);
}

static void a_quota_that_refuses_is_obeyed(void **state)
{
	struct stage *s = *state;

	expect_usual(s);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, 0, -EDQUOT);
	mock_close(&s->mock, POOL);
	expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -EDQUOT);
	assert_int_equal(messages_with(&s->messages, "RLIMIT_MEMLOCK"), 1);
}

static void expect_own_buffers(struct stage *s, bool exported)
{
	expect_request(s, V4L2_MEMORY_MMAP, BUFFERS, BUFFERS, 0);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		struct v4l2_buffer in = { .type = TYPE, .memory = V4L2_MEMORY_MMAP, .index = i }, out = in;
		struct v4l2_exportbuffer export = { .type = TYPE, .index = i, .flags = O_RDWR | O_CLOEXEC }, exported_as = export;

		out.length = FRAME_BYTES;
		out.m.offset = 8192 * i;
		exported_as.fd = FRAME + (int)i;
		mock_ioctl(&s->mock, VIDEO, VIDIOC_QUERYBUF, &in, &out, 0);
		mock_ioctl(&s->mock, VIDEO, VIDIOC_EXPBUF, &export, exported ? &exported_as : NULL, exported ? 0 : -ENOTTY);
	}
	for (uint32_t i = 0; i < BUFFERS; i++) {
		struct v4l2_buffer in = { .type = TYPE, .memory = V4L2_MEMORY_MMAP, .index = i };

		mock_ioctl(&s->mock, VIDEO, VIDIOC_QBUF, &in, NULL, 0);
	}
	expect_start(s);
}

static void expect_stop_own(struct stage *s, bool exported)
{
	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMOFF, NULL, NULL, 0);
	for (int i = 0; i < BUFFERS && exported; i++)
		mock_close(&s->mock, FRAME + i);
	mock_close(&s->mock, VIDEO);
}

/* Neither module nor udmabuf nor heap: the device's own buffers, exported; which is said once. */
static void without_any_pool_the_device_has_its_own(void **state)
{
	static const char *const nodes[] = { "/dev/lineup", "/dev/lineup", "/dev/udmabuf", "/dev/dma_heap/system" };
	struct stage *s = *state;
	struct lineup_capture_info info;

	for (int round = 0; round < 2; round++) {
		expect_usual(s);
		for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
			expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
			mock_open(&s->mock, nodes[i], -ENOENT);
			expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
		}
		expect_own_buffers(s, true);
		assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), 0);
		lineup_capture_info(s->capture, &info);
		assert_int_equal(info.kind, LINEUP_FRAMES_DEVICE);
		expect_stop_own(s, true);
		lineup_capture_close(s->capture);
	}
	assert_int_equal(s->messages.count, 1);
	assert_int_equal(messages_with(&s->messages, "the module lineup is not loaded; using frames of device"), 1);
}

static void own_buffers_that_cannot_be_exported_are_mapped_through_the_device(void **state)
{
	struct stage *s = *state;
	struct v4l2_buffer out = { .index = 2, .bytesused = BYTES };
	uint8_t *memory = aligned_alloc(4096, FRAME_BYTES);
	struct lineup_shot shot;
	void *data;

	expect_usual(s);
	expect_own_buffers(s, false);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ .kind = LINEUP_FRAMES_DEVICE }), 0);
	assert_int_equal(s->messages.count, 0); /* it was asked for */
	mock_poll(&s->mock, VIDEO, POLLIN, 1);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_DQBUF, &(struct v4l2_buffer){ .type = TYPE, .memory = V4L2_MEMORY_MMAP }, &out, 0);
	assert_int_equal(lineup_capture_take(s->capture, 1000, &shot), 0);
	assert_int_equal(lineup_frame_fd(shot.frame), -1);
	mock_mmap(&s->mock, VIDEO, FRAME_BYTES, 2 * 8192, memory, 0);
	assert_int_equal(lineup_frame_map(shot.frame, &data), 0);
	assert_ptr_equal(data, memory);
	assert_int_equal(lineup_frame_begin(shot.frame, LINEUP_FRAME_READ), 0);
	assert_int_equal(lineup_frame_end(shot.frame, LINEUP_FRAME_READ), 0);
	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMOFF, NULL, NULL, 0);
	mock_munmap(&s->mock, memory, FRAME_BYTES);
	mock_close(&s->mock, VIDEO);
	lineup_capture_close(s->capture);
	free(memory);
}

static void a_device_that_takes_no_dma_bufs_keeps_its_own(void **state)
{
	struct stage *s = *state;

	expect_usual(s);
	for (int i = 0; i < 4; i++)
		expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, 0, -EINVAL);
	expect_own_buffers(s, true);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), 0);
	assert_int_equal(messages_with(&s->messages, "takes no dma-bufs"), 1);
	expect_stop_own(s, true);
	lineup_capture_close(s->capture);
	mock_done(&s->mock);
	/* Asked for frames of the module only, it is refused. */
	messages_clear(&s->messages);
	expect_usual(s);
	for (int i = 0; i < 2; i++)
		expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, 0, -EINVAL);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ .kind = LINEUP_FRAMES_MODULE }), -ENOTSUP);
	assert_int_equal(messages_with(&s->messages, "takes no dma-bufs"), 1);
}

static void a_start_that_fails_leaves_nothing_open(void **state)
{
	struct stage *s = *state;

	expect_usual(s);
	expect_request(s, V4L2_MEMORY_DMABUF, BUFFERS, BUFFERS, 0);
	expect_module_pool(s, BUFFERS, 0, 0);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		expect_frame(s, i);
		expect_queue(s, i, FRAME + (int)i, 0);
	}
	mock_ioctl(&s->mock, VIDEO, VIDIOC_STREAMON, NULL, NULL, -EIO);
	expect_request(s, V4L2_MEMORY_DMABUF, 0, 0, 0);
	expect_closed_frames(s, BUFFERS);
	mock_close(&s->mock, VIDEO);
	assert_int_equal(open_capture(s, (struct lineup_capture_options){ 0 }), -EIO);
	assert_int_equal(messages_with(&s->messages, "does not start"), 1);
}

static void options_that_cannot_be_are_refused_before_anything_is_asked(void **state)
{
	static const struct lineup_capture_options wrong[] = {
		{ .buffers = 1 }, { .buffers = 33 }, { .width = 65537 }, { .height = 65537 }, { .kind = LINEUP_FRAMES_MEMORY },
	};
	struct stage *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		messages_clear(&s->messages);
		assert_int_equal(open_capture(s, wrong[i]), -EINVAL);
		assert_int_equal(s->messages.errors, 1);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(frames_of_the_module_go_to_the_device_and_come_back),
		TEST(gaps_in_the_sequence_are_counted),
		TEST(damaged_and_short_images_are_marked),
		TEST(compressed_images_may_be_of_any_length),
		TEST(a_quiet_device_and_a_signal_change_nothing),
		TEST(a_call_broken_off_by_a_signal_is_made_again),
		TEST(with_all_frames_taken_there_is_nothing_to_wait_for),
		TEST(unplugging_is_an_error_and_no_hang),
		TEST(unplugging_while_a_frame_is_given_back),
		TEST(a_driver_that_gives_a_buffer_it_has_not_is_not_believed),
		TEST(a_format_is_asked_for_and_its_like_taken),
		TEST(another_format_than_asked_is_refused),
		TEST(formats_that_cannot_be_are_refused),
		TEST(what_cannot_capture_says_what_it_is),
		TEST(a_device_in_use_says_so),
		TEST(contiguous_frames_are_tried_where_scattered_ones_will_not_do),
		TEST(a_quota_that_refuses_is_obeyed),
		TEST(without_any_pool_the_device_has_its_own),
		TEST(own_buffers_that_cannot_be_exported_are_mapped_through_the_device),
		TEST(a_device_that_takes_no_dma_bufs_keeps_its_own),
		TEST(a_start_that_fails_leaves_nothing_open),
		TEST(options_that_cannot_be_are_refused_before_anything_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
