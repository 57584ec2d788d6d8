// SPDX-License-Identifier: MIT
/* A V4L2 device captures into frames: what arrives is what arrives in the driver's own buffers. */
#include <linux/videodev2.h>
#include "common.h"

#define BUFFERS 4
#define TYPE V4L2_BUF_TYPE_VIDEO_CAPTURE

/* The n-th instance. */
static int vivid_open(int n)
{
	for (int i = 0; i < 64; i++) {
		struct v4l2_capability cap;
		char name[32];
		int fd;

		snprintf(name, sizeof(name), "/dev/video%d", i);
		fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &cap) && !strcmp((char *)cap.driver, "vivid") &&
		    cap.device_caps & V4L2_CAP_VIDEO_CAPTURE && !n--)
			return fd;
		close(fd);
	}
	return -1;
}

/* Sets a control that is known by its name only, vivid's own ones being private. */
static int control_set(int fd, const char *name, int value)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	while (!ioctl(fd, VIDIOC_QUERYCTRL, &query)) {
		if (!strcmp((char *)query.name, name)) {
			struct v4l2_control control = { .id = query.id, .value = value };

			return call(fd, VIDIOC_S_CTRL, &control);
		}
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	return -ENOENT;
}

FIXTURE(vivid)
{
	int device;
	int pool;
	struct v4l2_format format;
	int fd[BUFFERS];
	uint8_t *at[BUFFERS];
};

FIXTURE_VARIANT(vivid)
{
	uint32_t flags;
	int instance;		/* 0 takes any memory, 1 wants it contiguous */
};

FIXTURE_VARIANT_ADD(vivid, scattered) { .flags = 0 };
FIXTURE_VARIANT_ADD(vivid, contiguous) { .flags = LINEUP_POOL_CONTIGUOUS };
FIXTURE_VARIANT_ADD(vivid, contiguous_for_a_device_that_wants_it) { .flags = LINEUP_POOL_CONTIGUOUS, .instance = 1 };
FIXTURE_VARIANT_ADD(vivid, shmem) { .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(vivid, sync_check) { .flags = LINEUP_POOL_SYNC_CHECK };

/* A still picture without the running clock: each frame is the same, byte for byte. */
FIXTURE_SETUP(vivid)
{
	int input = 0;

	self->pool = -1;
	self->device = vivid_open(variant->instance);
	if (self->device < 0)
		SKIP(return, "no vivid");
	ASSERT_EQ(ioctl(self->device, VIDIOC_S_INPUT, &input), 0);
	ASSERT_EQ(control_set(self->device, "OSD Text Mode", 2), 0);
	ASSERT_EQ(control_set(self->device, "Test Pattern", 0), 0);
	self->format = (struct v4l2_format){ .type = TYPE };
	self->format.fmt.pix.width = 320;
	self->format.fmt.pix.height = 180;
	self->format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
	ASSERT_EQ(ioctl(self->device, VIDIOC_S_FMT, &self->format), 0);
	self->pool = pool_new(self->format.fmt.pix.sizeimage, BUFFERS, variant->flags);
	ASSERT_GE(self->pool, 0);
	for (int i = 0; i < BUFFERS; i++) {
		self->fd[i] = frame_new(self->pool, NULL, NULL);
		ASSERT_GE(self->fd[i], 0);
		self->at[i] = map(self->fd[i], self->format.fmt.pix.sizeimage, 0);
		ASSERT_NE(self->at[i], MAP_FAILED);
	}
}

FIXTURE_TEARDOWN(vivid)
{
	close(self->device);
	close(self->pool);
}

static int buffers_request(int device, enum v4l2_memory memory, unsigned int count)
{
	struct v4l2_requestbuffers request = { .count = count, .type = TYPE, .memory = memory };

	return call(device, VIDIOC_REQBUFS, &request);
}

static int queue(int device, unsigned int index, int fd)
{
	struct v4l2_buffer buffer = { .type = TYPE, .memory = V4L2_MEMORY_DMABUF, .index = index, .m.fd = fd };

	return call(device, VIDIOC_QBUF, &buffer);
}

/* The next filled buffer's index, or -errno. */
static int dequeue(int device, enum v4l2_memory memory)
{
	struct v4l2_buffer buffer = { .type = TYPE, .memory = memory };

	if (ready(device, POLLIN, WAIT_MS) != POLLIN)
		return -ETIME;
	if (ioctl(device, VIDIOC_DQBUF, &buffer))
		return -errno;
	return buffer.flags & V4L2_BUF_FLAG_ERROR ? -EIO : (int)buffer.index;
}

/* The oracle: one frame through memory that is vivid's own. */
static int picture_by_mmap(int device, uint8_t *to, size_t bytes)
{
	enum v4l2_buf_type type = TYPE;
	struct v4l2_buffer buffer = { .type = TYPE, .memory = V4L2_MEMORY_MMAP };
	void *at[BUFFERS];
	int index = buffers_request(device, V4L2_MEMORY_MMAP, BUFFERS);

	if (index)
		return index;
	for (unsigned int i = 0; i < BUFFERS; i++) {
		buffer.index = i;
		if (ioctl(device, VIDIOC_QUERYBUF, &buffer))
			return -errno;
		at[i] = map(device, buffer.length, buffer.m.offset);
		if (at[i] == MAP_FAILED || ioctl(device, VIDIOC_QBUF, &buffer))
			return -errno;
	}
	ioctl(device, VIDIOC_STREAMON, &type);
	index = dequeue(device, V4L2_MEMORY_MMAP);
	if (index >= 0)
		memcpy(to, at[index], bytes);
	ioctl(device, VIDIOC_STREAMOFF, &type);
	for (unsigned int i = 0; i < BUFFERS; i++)
		munmap(at[i], buffer.length);
	if (index < 0)
		return index;
	return buffers_request(device, V4L2_MEMORY_MMAP, 0);
}

static int stream_begin(FIXTURE_DATA(vivid) *self)
{
	enum v4l2_buf_type type = TYPE;
	int err = buffers_request(self->device, V4L2_MEMORY_DMABUF, BUFFERS);

	for (unsigned int i = 0; !err && i < BUFFERS; i++)
		err = queue(self->device, i, self->fd[i]);
	return err ? err : call(self->device, VIDIOC_STREAMON, &type);
}

TEST_F(vivid, captures_into_frames_what_it_captures_into_its_own_memory)
{
	size_t bytes = self->format.fmt.pix.sizeimage;
	uint8_t *expected[2] = { malloc(bytes), malloc(bytes) };
	enum v4l2_buf_type type = TYPE;

	/* Two patterns, so that a frame which is never written cannot pass. */
	for (int pattern = 1; pattern >= 0; pattern--) {
		ASSERT_EQ(control_set(self->device, "Test Pattern", pattern * 2), 0);
		ASSERT_EQ(picture_by_mmap(self->device, expected[pattern], bytes), 0);
	}
	ASSERT_NE(memcmp(expected[0], expected[1], bytes), 0);
	ASSERT_EQ(stream_begin(self), 0);
	for (int n = 0; n < 24; n++) {
		int index = dequeue(self->device, V4L2_MEMORY_DMABUF);

		ASSERT_GE(index, 0) TH_LOG("frame %d: %s", n, strerror(-index));
		ASSERT_EQ(sync_begin(self->fd[index], DMA_BUF_SYNC_RW), 0);
		/* The change of pattern at n = 12 reaches the buffers that are filled after it. */
		if (n < 12 || n >= 12 + BUFFERS + 1) {
			ASSERT_EQ(memcmp(self->at[index], expected[n >= 12], bytes), 0) TH_LOG("frame %d", n);
		}
		memset(self->at[index], 0xa5, bytes);
		ASSERT_EQ(sync_end(self->fd[index], DMA_BUF_SYNC_RW), 0);
		if (n == 11) {
			ASSERT_EQ(control_set(self->device, "Test Pattern", 2), 0);
		}
		ASSERT_EQ(queue(self->device, index, self->fd[index]), 0);
	}
	EXPECT_EQ(ioctl(self->device, VIDIOC_STREAMOFF, &type), 0);
}

/* The driver keeps what it was given: frames whose descriptors and mappings are gone while it captures go on being filled. */
TEST_F(vivid, holds_frames_that_everybody_else_let_go)
{
	struct lineup_pool_info info;

	ASSERT_EQ(stream_begin(self), 0);
	for (int i = 0; i < BUFFERS; i++) {
		munmap(self->at[i], self->format.fmt.pix.sizeimage);
		close(self->fd[i]);
	}
	EXPECT_GE(dequeue(self->device, V4L2_MEMORY_DMABUF), 0);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_out, BUFFERS);
	close(self->device);
	EXPECT_TRUE(frames_come_back(self->pool, BUFFERS));
}

/*
 * A driver that attaches is refused when it maps (when it attached, 6.12's videobuf2 leaked the dma-buf, and the frame never came
 * back); one that fills by CPU gets a mapping of nothing. Capture goes on with the rest.
 */
TEST_F(vivid, a_revoked_frame_is_refused_or_filled_with_nothing)
{
	enum v4l2_buf_type type = TYPE;
	uint64_t id;
	int fd, err;

	ASSERT_EQ(buffers_request(self->device, V4L2_MEMORY_DMABUF, BUFFERS), 0);
	close(self->fd[0]);
	munmap(self->at[0], self->format.fmt.pix.sizeimage);
	ASSERT_TRUE(frames_come_back(self->pool, 1));
	fd = frame_new(self->pool, &id, NULL);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(frame_revoke(self->pool, id), 0);
	err = queue(self->device, 0, fd);
	/* videobuf2 says -EINVAL of whatever the exporter says */
	EXPECT_TRUE(err == 0 || err == -EINVAL) TH_LOG("%s", strerror(-err));
	for (unsigned int i = 1; i < BUFFERS; i++) {
		EXPECT_EQ(queue(self->device, i, self->fd[i]), 0);
	}
	ASSERT_EQ(ioctl(self->device, VIDIOC_STREAMON, &type), 0);
	for (int n = 0; n < BUFFERS - 1; n++) {
		EXPECT_GE(dequeue(self->device, V4L2_MEMORY_DMABUF), 0);
	}
	EXPECT_EQ(ioctl(self->device, VIDIOC_STREAMOFF, &type), 0);
	for (int i = 1; i < BUFFERS; i++) {
		munmap(self->at[i], self->format.fmt.pix.sizeimage);
		close(self->fd[i]);
	}
	close(fd);
	close(self->device);
	self->device = -1;
	EXPECT_TRUE(frames_come_back(self->pool, variant->flags & LINEUP_POOL_SHMEM ? BUFFERS - 1 : BUFFERS));
}

/* The pool goes while the device captures into its frames: capture ends or goes on, and nothing hangs. */
TEST_F(vivid, the_pool_is_revoked_while_it_captures)
{
	enum v4l2_buf_type type = TYPE;

	ASSERT_EQ(stream_begin(self), 0);
	ASSERT_GE(dequeue(self->device, V4L2_MEMORY_DMABUF), 0);
	ASSERT_EQ(pool_revoke(self->pool), 0);
	for (int i = 0; i < BUFFERS - 1; i++) {
		EXPECT_NE(dequeue(self->device, V4L2_MEMORY_DMABUF), -ETIME);
	}
	EXPECT_EQ(ioctl(self->device, VIDIOC_STREAMOFF, &type), 0);
	for (int i = 0; i < BUFFERS; i++) {
		EXPECT_EQ(sync_begin(self->fd[i], DMA_BUF_SYNC_READ), -ENODEV);
	}
}

TEST_HARNESS_MAIN
