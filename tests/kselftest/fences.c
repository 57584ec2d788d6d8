// SPDX-License-Identifier: MIT
/* Completion: fences in a frame's reservation object, poll() on the dma-buf, sync_files. vgem's fences stand for a driver's. */
#include <linux/sync_file.h>
#include <pthread.h>
#include "drm.h"

FIXTURE(fence)
{
	int drm;
	int pool;
	int fd;
	uint64_t id;
	uint32_t handle;
};

FIXTURE_SETUP(fence)
{
	self->pool = -1;
	self->drm = vgem_open();
	if (self->drm < 0)
		SKIP(return, "no vgem");
	self->pool = pool_new(PAGE, 2, 0);
	ASSERT_GE(self->pool, 0);
	self->fd = frame_new(self->pool, &self->id, NULL);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &self->handle), 0);
}

FIXTURE_TEARDOWN(fence)
{
	close(self->drm);
	close(self->pool);
}

/* A sync_file of what one must wait for before such access, or -errno. */
static int sync_export(int fd, uint32_t access)
{
	struct dma_buf_export_sync_file arg = { .flags = access, .fd = -1 };
	int err = call(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);

	return err ? err : arg.fd;
}

static int sync_import(int fd, int sync, uint32_t access)
{
	struct dma_buf_import_sync_file arg = { .flags = access, .fd = sync };

	return call(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg);
}

TEST_F(fence, an_idle_frame_is_ready)
{
	EXPECT_EQ(ready(self->fd, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
}

/* Who reads waits for writers; who writes waits for everybody. */
TEST_F(fence, a_writer_holds_back_readers_and_writers)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true);

	ASSERT_GT(fence, 0);
	EXPECT_EQ(ready(self->fd, POLLIN, 0), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, 0), 0);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	EXPECT_EQ(ready(self->fd, POLLIN | POLLOUT, WAIT_MS), POLLIN | POLLOUT);
}

TEST_F(fence, a_reader_holds_back_writers_only)
{
	int fence = vgem_fence_begin(self->drm, self->handle, false);

	ASSERT_GT(fence, 0);
	EXPECT_EQ(ready(self->fd, POLLIN, 0), POLLIN);
	EXPECT_EQ(ready(self->fd, POLLOUT, 0), 0);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, WAIT_MS), POLLOUT);
}

static void *wait_for_input(void *arg)
{
	return (void *)(intptr_t)ready(*(int *)arg, POLLIN, WAIT_MS);
}

TEST_F(fence, a_waiter_in_poll_wakes_when_it_signals)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true);
	pthread_t thread;
	void *got;

	ASSERT_GT(fence, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, wait_for_input, &self->fd), 0);
	usleep(50000);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_EQ((intptr_t)got, POLLIN);
}

TEST_F(fence, a_sync_file_signals_with_it)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true), sync;
	struct sync_file_info info = { 0 };

	ASSERT_GT(fence, 0);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	EXPECT_EQ(ready(sync, POLLIN, 0), 0);
	ASSERT_EQ(ioctl(sync, SYNC_IOC_FILE_INFO, &info), 0);
	EXPECT_EQ(info.status, 0);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	EXPECT_EQ(ready(sync, POLLIN, WAIT_MS), POLLIN);
	info = (struct sync_file_info){ 0 };
	ASSERT_EQ(ioctl(sync, SYNC_IOC_FILE_INFO, &info), 0);
	EXPECT_EQ(info.status, 1);
	close(sync);
}

TEST_F(fence, a_sync_file_of_an_idle_frame_is_signalled)
{
	int sync = sync_export(self->fd, DMA_BUF_SYNC_RW);

	ASSERT_GE(sync, 0);
	EXPECT_EQ(ready(sync, POLLIN, 0), POLLIN);
	close(sync);
	EXPECT_EQ(sync_export(self->fd, 0), -EINVAL);
}

/* The fence of one frame, put on another: that one waits for it, and outlives the first. */
TEST_F(fence, a_sync_file_makes_another_frame_wait)
{
	int other = frame_new(self->pool, NULL, NULL), fence = vgem_fence_begin(self->drm, self->handle, true), sync;

	ASSERT_GE(other, 0);
	ASSERT_GT(fence, 0);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	EXPECT_EQ(ready(other, POLLIN, 0), POLLIN);
	ASSERT_EQ(sync_import(other, sync, DMA_BUF_SYNC_WRITE), 0);
	EXPECT_EQ(ready(other, POLLIN, 0), 0);
	close(sync);
	close(self->fd);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	EXPECT_EQ(ready(other, POLLIN, WAIT_MS), POLLIN);
	close(other);
}

/* A frame whose fence never came, or came late, is not handed to the next owner with the fence still on it. */
TEST_F(fence, the_next_use_of_a_frame_begins_idle)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true), next[2];

	ASSERT_GT(fence, 0);
	close(self->fd);
	close(self->drm);
	self->drm = -1;
	ASSERT_TRUE(frames_come_back(self->pool, 2));
	for (int i = 0; i < 2; i++) {
		next[i] = frame_new(self->pool, NULL, NULL);
		ASSERT_GE(next[i], 0);
		EXPECT_EQ(ready(next[i], POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	}
}

/* Revocation tells importers, who signal; a fence that a program holds is signalled by the program. Nobody waits for ever. */
TEST_F(fence, a_waiter_wakes_after_the_frame_is_revoked)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true);
	pthread_t thread;
	void *got;

	ASSERT_GT(fence, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, wait_for_input, &self->fd), 0);
	usleep(50000);
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_TRUE((intptr_t)got & POLLIN);
}

/* A bracket waits for the device: begin returns after the fence, not before. */
static void *bracket(void *arg)
{
	return (void *)(intptr_t)sync_begin(*(int *)arg, DMA_BUF_SYNC_READ);
}

TEST_F(fence, a_bracket_waits_for_the_writer)
{
	int fence = vgem_fence_begin(self->drm, self->handle, true);
	pthread_t thread;
	void *got;

	ASSERT_GT(fence, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, bracket, &self->fd), 0);
	usleep(50000);
	EXPECT_EQ(pthread_tryjoin_np(thread, &got), EBUSY);
	ASSERT_EQ(vgem_fence_signal(self->drm, fence), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_EQ((intptr_t)got, 0);
}

TEST_HARNESS_MAIN
