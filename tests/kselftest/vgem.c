// SPDX-License-Identifier: MIT
/* DRM PRIME both ways, with vgem: frames as its objects, its objects back as frames or as what they are. */
#include "drm.h"

#define FRAME_BYTES (1ul << 20)

FIXTURE(prime)
{
	int drm;
	int pool;
	int fd;
	uint64_t id;
	uint8_t *at;
};

FIXTURE_VARIANT(prime)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(prime, scattered) { .flags = 0 };
FIXTURE_VARIANT_ADD(prime, contiguous) { .flags = LINEUP_POOL_CONTIGUOUS };
FIXTURE_VARIANT_ADD(prime, shmem) { .flags = LINEUP_POOL_SHMEM };

FIXTURE_SETUP(prime)
{
	self->pool = -1;
	self->drm = vgem_open();
	if (self->drm < 0)
		SKIP(return, "no vgem");
	self->pool = pool_new(FRAME_BYTES, 2, variant->flags);
	ASSERT_GE(self->pool, 0);
	self->fd = frame_new(self->pool, &self->id, NULL);
	ASSERT_GE(self->fd, 0);
	self->at = map(self->fd, FRAME_BYTES, 0);
	ASSERT_NE(self->at, MAP_FAILED);
}

FIXTURE_TEARDOWN(prime)
{
	close(self->drm);
	close(self->pool);
}

static void *object_map(int drm, uint32_t handle, size_t bytes)
{
	struct drm_mode_map_dumb arg = { .handle = handle };

	return drmIoctl(drm, DRM_IOCTL_MODE_MAP_DUMB, &arg) ? MAP_FAILED : map(drm, bytes, arg.offset);
}

TEST_F(prime, a_frame_goes_in_and_comes_back_as_itself)
{
	uint32_t handle = 0, again = 0;
	struct lineup_frame_info info;
	struct stat a, b;
	int back = -1;

	ASSERT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &handle), 0);
	ASSERT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &again), 0);
	EXPECT_EQ(handle, again);
	ASSERT_EQ(drmPrimeHandleToFD(self->drm, handle, DRM_CLOEXEC | DRM_RDWR, &back), 0);
	fstat(self->fd, &a);
	fstat(back, &b);
	EXPECT_EQ(a.st_ino, b.st_ino);
	ASSERT_EQ(frame_info(self->pool, back, &info), 0);
	EXPECT_EQ(info.frame, self->id);
	EXPECT_EQ(drmCloseBufferHandle(self->drm, handle), 0);
	close(back);
}

TEST_F(prime, an_object_holds_a_frame_that_everybody_else_let_go)
{
	struct lineup_pool_info info;
	uint32_t handle = 0;
	uint8_t *at;
	int back = -1;

	fill(self->at, 3, FRAME_BYTES);
	ASSERT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &handle), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_out, 1);
	ASSERT_EQ(drmPrimeHandleToFD(self->drm, handle, DRM_CLOEXEC | DRM_RDWR, &back), 0);
	at = map(back, FRAME_BYTES, 0);
	ASSERT_NE(at, MAP_FAILED);
	EXPECT_EQ(differs(at, 3, FRAME_BYTES), -1);
	munmap(at, FRAME_BYTES);
	close(back);
	EXPECT_EQ(drmCloseBufferHandle(self->drm, handle), 0);
	EXPECT_TRUE(frames_come_back(self->pool, 2));
}

TEST_F(prime, a_revoked_frame_cannot_be_imported)
{
	uint32_t handle = 0;

	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	EXPECT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &handle), -1);
	EXPECT_EQ(errno, ENODEV);
}

TEST_F(prime, a_frame_revoked_after_import_drains)
{
	uint32_t handle = 0;

	ASSERT_EQ(drmPrimeFDToHandle(self->drm, self->fd, &handle), 0);
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	EXPECT_EQ(drmCloseBufferHandle(self->drm, handle), 0);
	/* back in its pool, or lost if it was shmem-backed */
	EXPECT_TRUE(frames_come_back(self->pool, variant->flags & LINEUP_POOL_SHMEM ? 1 : 2));
}

/* The other way: what vgem exports is a dma-buf like ours, and not taken for ours. */
TEST(an_object_of_vgem_is_not_taken_for_a_frame)
{
	struct drm_mode_create_dumb arg = { .width = 256, .height = 256, .bpp = 32 };
	struct lineup_frame_info info;
	int drm = vgem_open(), any = lineup_open(), fd = -1;
	uint8_t *object, *at;

	if (drm < 0)
		SKIP(return, "no vgem");
	ASSERT_EQ(drmIoctl(drm, DRM_IOCTL_MODE_CREATE_DUMB, &arg), 0);
	ASSERT_EQ(drmPrimeHandleToFD(drm, arg.handle, DRM_CLOEXEC | DRM_RDWR, &fd), 0);
	EXPECT_EQ(frame_info(any, fd, &info), -EINVAL);
	object = object_map(drm, arg.handle, arg.size);
	at = map(fd, arg.size, 0);
	ASSERT_NE(object, MAP_FAILED);
	ASSERT_NE(at, MAP_FAILED);
	fill(object, 5, arg.size);
	EXPECT_EQ(differs(at, 5, arg.size), -1);
	close(fd);
	close(any);
	close(drm);
}

TEST_HARNESS_MAIN
