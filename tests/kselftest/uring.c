// SPDX-License-Identifier: MIT
/*
 * io_uring into frames, from a disk: plain reads, fixed buffers and the fallback where a kernel registers none, pins that
 * outlive a frame.
 */
#include <liburing.h>
#include <sys/utsname.h>
#include "kinds.h"

#define DISK getenv("LINEUP_DISK")
#define DISK_SEED 7

static int disk_open(void)
{
	return DISK ? open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
}

/* Linux registers file mappings other than shmem and hugetlb from 6.? on; of those tested, 6.1 does not and 6.12 does. */
static bool registers_any_mapping(void)
{
	struct utsname name;
	int major, minor;

	uname(&name);
	return sscanf(name.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 12));
}

/* Waits for one completion and gives its result. */
static int finish(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int res = io_uring_wait_cqe(ring, &cqe);

	if (!res) {
		res = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return res;
}

/* Reads so many bytes of the disk's start in pieces, all under way at once, with the buffer registered or not. */
static int read_pieces(struct io_uring *ring, int disk, uint8_t *at, size_t bytes, size_t piece, bool fixed)
{
	unsigned int pieces = 0;
	int err = 0;

	for (size_t i = 0; i < bytes; i += piece, pieces++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		if (fixed)
			io_uring_prep_read_fixed(sqe, disk, at + i, piece, i, 0);
		else
			io_uring_prep_read(sqe, disk, at + i, piece, i);
	}
	if (io_uring_submit(ring) != (int)pieces)
		return -EIO;
	while (pieces--) {
		int res = finish(ring);

		if (res != (int)piece)
			err = res < 0 ? res : -EIO;
	}
	return err;
}

TEST_F(frame, read_fills_it)
{
	struct io_uring ring;
	int disk = disk_open();

	if (disk < 0)
		SKIP(return, "no disk");
	ASSERT_EQ(io_uring_queue_init(64, &ring, 0), 0);
	ASSERT_EQ(read_pieces(&ring, disk, self->at, FRAME_BYTES, FRAME_BYTES, false), 0);
	EXPECT_EQ(differs(self->at, DISK_SEED, FRAME_BYTES), -1);
	memset(self->at, 0, FRAME_BYTES);
	ASSERT_EQ(read_pieces(&ring, disk, self->at, FRAME_BYTES, 32768, false), 0);
	EXPECT_EQ(differs(self->at, DISK_SEED, FRAME_BYTES), -1);
	io_uring_queue_exit(&ring);
	close(disk);
}

/* What a program does: registers the frame, and reads plainly if the kernel does not take it. Which it is, is known beforehand. */
TEST_F(frame, read_fixed_fills_it_or_is_refused_cleanly)
{
	struct iovec iov = { self->at, FRAME_BYTES };
	bool can = registers_any_mapping() || variant->flags & LINEUP_POOL_SHMEM;
	struct io_uring ring;
	int disk = disk_open();

	if (disk < 0)
		SKIP(return, "no disk");
	ASSERT_EQ(io_uring_queue_init(64, &ring, 0), 0);
	ASSERT_EQ(io_uring_register_buffers(&ring, &iov, 1), can ? 0 : -EOPNOTSUPP);
	ASSERT_EQ(read_pieces(&ring, disk, self->at, FRAME_BYTES, 32768, can), 0);
	EXPECT_EQ(differs(self->at, DISK_SEED, FRAME_BYTES), -1);
	io_uring_queue_exit(&ring);
	close(disk);
}

/* Registered, then unmapped and closed: the ring alone has the pages, and they are nobody else's until it is gone. */
TEST_F(frame, a_registered_buffer_holds_the_frame_back)
{
	struct iovec iov = { self->at, FRAME_BYTES };
	struct lineup_pool_info info;
	struct io_uring ring;
	uint32_t first = self->index;
	int disk = disk_open(), other;
	uint32_t index;

	if (disk < 0)
		SKIP(return, "no disk");
	ASSERT_EQ(io_uring_queue_init(64, &ring, 0), 0);
	if (io_uring_register_buffers(&ring, &iov, 1))
		SKIP(return, "this kernel registers no such mapping");
	frame_drop(self);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_held_back, 1);
	EXPECT_EQ(info.frames_free, FRAMES - 1);
	other = frame_new(self->pool, NULL, &index);
	ASSERT_GE(other, 0);
	EXPECT_NE(index, first);
	EXPECT_EQ(frame_new(self->pool, NULL, NULL), -EAGAIN);
	io_uring_queue_exit(&ring);
	EXPECT_EQ(ready(self->pool, POLLIN, WAIT_MS), POLLIN);
	close(other);
	EXPECT_TRUE(frames_come_back(self->pool, FRAMES));
	for (int i = 0; i < FRAMES; i++) {
		ASSERT_EQ(frame_take(self, variant), 0);
		ASSERT_EQ(not_zero(self->at, FRAME_BYTES), -1);
	}
	close(disk);
}

/* Reads under way when everything is closed, unmapped and revoked: they end, and the next owner finds zeroes, not the disk. */
TEST_F(frame, reads_under_way_end_before_the_frame_comes_back)
{
	struct io_uring ring;
	int disk = disk_open();

	if (disk < 0)
		SKIP(return, "no disk");
	for (int round = 0; round < 8; round++) {
		ASSERT_EQ(io_uring_queue_init(64, &ring, 0), 0);
		for (unsigned int i = 0; i < 32; i++)
			io_uring_prep_read(io_uring_get_sqe(&ring), disk, self->at + i * 32768, 32768, i * 32768);
		ASSERT_EQ(io_uring_submit(&ring), 32);
		frame_drop(self);
		for (unsigned int i = 0; i < 32; i++)
			(void)finish(&ring);
		io_uring_queue_exit(&ring);
		ASSERT_TRUE(frames_come_back(self->pool, FRAMES));
		ASSERT_EQ(frame_take(self, variant), 0);
		ASSERT_EQ(not_zero(self->at, FRAME_BYTES), -1) TH_LOG("round %d", round);
	}
	close(disk);
}

TEST_HARNESS_MAIN
