// SPDX-License-Identifier: MIT
/* What a frame is as memory: mappings, placement, and everything in the kernel that pins pages behind a user's address. */
#include <setjmp.h>
#include <signal.h>
#include <sys/uio.h>
#define KINDS_WITH_HEAP
#include "kinds.h"

/* A raw disk whose 32-bit word i is word(DISK_SEED, i): see kernel_tests.sh. */
#define DISK getenv("LINEUP_DISK")
#define DISK_SEED 7
#define SCRATCH_BYTES (4ul << 20)	/* at the end of the disk, for what tests write */

static sigjmp_buf caught;

static void on_fault(int signal)
{
	siglongjmp(caught, signal);
}

/* The signal that reading or writing a byte raises, or 0. */
static int touch(volatile uint8_t *at, bool write)
{
	struct sigaction action = { .sa_handler = on_fault }, bus, segv;
	int signal = sigsetjmp(caught, 1);

	if (!signal) {
		sigaction(SIGBUS, &action, &bus);
		sigaction(SIGSEGV, &action, &segv);
		if (write)
			*at = 1;
		else
			(void)*at;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return signal;
}

/* ---- mappings ----------------------------------------------------------------------------------------------------------- */

TEST_F(frame, begins_as_zeroes)
{
	EXPECT_EQ(not_zero(self->at, FRAME_BYTES), -1);
}

TEST_F(frame, two_mappings_are_one_memory)
{
	uint8_t *half = map(self->fd, FRAME_BYTES / 2, FRAME_BYTES / 2);

	ASSERT_NE(half, MAP_FAILED);
	fill(self->at + FRAME_BYTES / 2, 1, FRAME_BYTES / 2);
	EXPECT_EQ(differs(half, 1, FRAME_BYTES / 2), -1);
	fill(half, 2, PAGE);
	EXPECT_EQ(differs(self->at + FRAME_BYTES / 2, 2, PAGE), -1);
	munmap(half, FRAME_BYTES / 2);
}

TEST_F(frame, every_page_is_another)
{
	for (size_t i = 0; i < FRAME_BYTES / PAGE; i++)
		fill(self->at + i * PAGE, i, PAGE);
	for (size_t i = 0; i < FRAME_BYTES / PAGE; i++) {
		ASSERT_EQ(differs(self->at + i * PAGE, i, PAGE), -1) TH_LOG("page %zu", i);
	}
}

TEST_F(frame, private_mappings_are_refused)
{
	EXPECT_EQ(mmap(NULL, FRAME_BYTES, PROT_READ, MAP_PRIVATE, self->fd, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
}

TEST_F(frame, mappings_end_where_the_frame_ends)
{
	EXPECT_EQ(map(self->fd, FRAME_BYTES + PAGE, 0), MAP_FAILED);
	EXPECT_EQ(map(self->fd, FRAME_BYTES, PAGE), MAP_FAILED);
	EXPECT_EQ(map(self->fd, PAGE, FRAME_BYTES), MAP_FAILED);
	EXPECT_EQ(map(self->fd, PAGE, LONG_MAX - PAGE + 1), MAP_FAILED);
	EXPECT_EQ(mremap(self->at, FRAME_BYTES, 2 * FRAME_BYTES, MREMAP_MAYMOVE), MAP_FAILED);
}

TEST_F(frame, a_mapping_can_move_shrink_and_be_split)
{
	uint8_t *room = mmap(NULL, 2 * FRAME_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *moved;

	ASSERT_NE(room, MAP_FAILED);
	fill(self->at, 3, FRAME_BYTES);
	moved = mremap(self->at, FRAME_BYTES, FRAME_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	ASSERT_EQ(moved, room);
	self->at = moved;
	EXPECT_EQ(differs(moved, 3, FRAME_BYTES), -1);
	EXPECT_EQ(munmap(moved + 4 * PAGE, PAGE), 0);
	EXPECT_EQ(touch(moved + 4 * PAGE, false), SIGSEGV);
	EXPECT_EQ(differs(moved, 3, 4 * PAGE), -1);
	EXPECT_EQ(touch(moved + 5 * PAGE, true), 0);
}

TEST_F(frame, read_only_mappings_are_read_only)
{
	uint8_t *at = mmap(NULL, FRAME_BYTES, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(at, MAP_FAILED);
	self->at[5] = 77;
	EXPECT_EQ(at[5], 77);
	EXPECT_EQ(touch(at, true), SIGSEGV);
	EXPECT_EQ(mprotect(at, PAGE, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(touch(at, true), 0);
	munmap(at, FRAME_BYTES);
}

TEST_F(frame, a_child_shares_it)
{
	pid_t child = fork();

	if (!child) {
		fill(self->at, 9, FRAME_BYTES);
		_exit(0);
	}
	ASSERT_EQ(child_end(child), 0);
	EXPECT_EQ(differs(self->at, 9, FRAME_BYTES), -1);
}

/* ---- placement, as the kernel tells root ------------------------------------------------------------------------------- */

/* Page frame numbers behind a mapping, or -1: /proc/self/pagemap. */
static int page_frames(const uint8_t *at, uint64_t *pfn, size_t pages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	for (size_t i = 0; i < pages; i++)
		(void)*(volatile const uint8_t *)(at + i * PAGE);
	got = pread(fd, pfn, pages * 8, (uintptr_t)at / PAGE * 8);
	close(fd);
	for (size_t i = 0; i < pages; i++) {
		if (!(pfn[i] >> 63))
			return -1;
		pfn[i] &= (1ull << 55) - 1;
	}
	return got == (ssize_t)pages * 8 ? 0 : -1;
}

TEST_F(frame, contiguous_frames_are_one_run)
{
	static uint64_t pfn[FRAME_BYTES / PAGE];
	size_t runs = 1;

	if (page_frames(self->at, pfn, FRAME_BYTES / PAGE))
		SKIP(return, "no pagemap");
	for (size_t i = 1; i < FRAME_BYTES / PAGE; i++)
		runs += pfn[i] != pfn[i - 1] + 1;
	TH_LOG("%zu runs", runs);
	if (variant->flags & LINEUP_POOL_CONTIGUOUS) {
		EXPECT_EQ(runs, 1);
	}
}

TEST(frames_lie_below_the_address_a_device_reaches)
{
	static const uint32_t bits[] = { 24, 28, 31, 32 };
	static uint64_t pfn[64];

	for (size_t i = 0; i < 4; i++) {
		struct lineup_pool_create arg = { .frame_bytes = 64 * PAGE, .frames = 4, .node = -1, .dma_bits = bits[i] };
		int pool = lineup_open();

		ASSERT_GE(pool, 0);
		ASSERT_EQ(call(pool, LINEUP_IOC_POOL_CREATE, &arg), 0) TH_LOG("%u bits", bits[i]);
		for (int n = 0; n < 4; n++) {
			int fd = frame_new(pool, NULL, NULL);
			uint8_t *at = map(fd, 64 * PAGE, 0);

			ASSERT_NE(at, MAP_FAILED);
			if (page_frames(at, pfn, 64))
				SKIP(return, "no pagemap");
			for (int p = 0; p < 64; p++) {
				ASSERT_LT(pfn[p] * PAGE, 1ull << bits[i]) TH_LOG("%u bits, frame %d, page %d", bits[i], n, p);
			}
			munmap(at, 64 * PAGE);
			/* fd stays open: the next frame is another one */
		}
		close(pool);
	}
}

TEST(frames_lie_on_the_node_asked_for)
{
	static void *pages[256];
	static int where[256];

	if (number_read("/sys/devices/system/node/possible") < 0 || access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "one NUMA node");
	for (int node = 0; node < 2; node++) {
		struct lineup_pool_create arg = { .frame_bytes = 256 * PAGE, .frames = 2, .node = node };
		int pool = lineup_open(), fd;
		uint8_t *at;

		ASSERT_EQ(call(pool, LINEUP_IOC_POOL_CREATE, &arg), 0);
		fd = frame_new(pool, NULL, NULL);
		at = map(fd, 256 * PAGE, 0);
		ASSERT_NE(at, MAP_FAILED);
		for (int i = 0; i < 256; i++) {
			pages[i] = at + i * PAGE;
			(void)*(volatile uint8_t *)pages[i];
		}
		ASSERT_EQ(syscall(SYS_move_pages, 0, 256l, pages, NULL, where, 0), 0);
		for (int i = 0; i < 256; i++) {
			ASSERT_EQ(where[i], node) TH_LOG("page %d", i);
		}
		munmap(at, 256 * PAGE);
		close(fd);
		close(pool);
	}
}

/* ---- pages behind a user's address -------------------------------------------------------------------------------------- */

TEST_F(frame, o_direct_reads_into_it)
{
	int disk = DISK ? open(DISK, O_RDONLY | O_DIRECT) : -1;

	if (disk < 0)
		SKIP(return, "no disk");
	ASSERT_EQ(pread(disk, self->at, FRAME_BYTES, 0), (ssize_t)FRAME_BYTES) TH_LOG("%s", strerror(errno));
	EXPECT_EQ(differs(self->at, DISK_SEED, FRAME_BYTES), -1);
	close(disk);
}

TEST_F(frame, o_direct_reads_into_the_middle_of_it)
{
	int disk = DISK ? open(DISK, O_RDONLY | O_DIRECT) : -1;

	if (disk < 0)
		SKIP(return, "no disk");
	ASSERT_EQ(pread(disk, self->at + 3 * PAGE + 512, 2 * PAGE, 0), (ssize_t)(2 * PAGE)) TH_LOG("%s", strerror(errno));
	EXPECT_EQ(not_zero(self->at, 3 * PAGE + 512), -1);
	EXPECT_EQ(differs(self->at + 3 * PAGE + 512, DISK_SEED, 2 * PAGE), -1);
	EXPECT_EQ(not_zero(self->at + 5 * PAGE + 512, PAGE), -1);
	close(disk);
}

TEST_F(frame, o_direct_writes_from_it)
{
	int disk = DISK ? open(DISK, O_RDWR | O_DIRECT) : -1, plain;
	static uint8_t back[FRAME_BYTES];
	off_t end;

	if (disk < 0)
		SKIP(return, "no disk");
	end = lseek(disk, 0, SEEK_END) - SCRATCH_BYTES;
	fill(self->at, 11 + variant->flags, FRAME_BYTES);
	ASSERT_EQ(pwrite(disk, self->at, FRAME_BYTES, end), (ssize_t)FRAME_BYTES) TH_LOG("%s", strerror(errno));
	plain = open(DISK, O_RDONLY);
	ASSERT_EQ(posix_fadvise(plain, 0, 0, POSIX_FADV_DONTNEED), 0);
	ASSERT_EQ(pread(plain, back, FRAME_BYTES, end), (ssize_t)FRAME_BYTES);
	EXPECT_EQ(differs(back, 11 + variant->flags, FRAME_BYTES), -1);
	close(plain);
	close(disk);
}

TEST_F(frame, copies_by_the_kernel_work)
{
	static uint8_t copy[PAGE];
	int pipes[2];
	struct iovec from = { self->at + PAGE, PAGE }, to = { copy, PAGE };

	fill(self->at + PAGE, 21, PAGE);
	ASSERT_EQ(pipe(pipes), 0);
	ASSERT_EQ(write(pipes[1], self->at + PAGE, PAGE), (ssize_t)PAGE);
	ASSERT_EQ(read(pipes[0], self->at + 2 * PAGE, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(differs(self->at + 2 * PAGE, 21, PAGE), -1);
	ASSERT_EQ(process_vm_readv(getpid(), &to, 1, &from, 1, 0), (ssize_t)PAGE) TH_LOG("%s", strerror(errno));
	EXPECT_EQ(differs(copy, 21, PAGE), -1);
	close(pipes[0]);
	close(pipes[1]);
}

/* A page in a pipe is the frame's own, seen to be so by a write that comes after vmsplice(). */
TEST_F(frame, vmsplice_lends_its_pages)
{
	struct iovec iov = { self->at, PAGE };
	static uint8_t copy[PAGE];
	int pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	fill(self->at, 31, PAGE);
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), (ssize_t)PAGE) TH_LOG("%s", strerror(errno));
	fill(self->at, 32, PAGE);
	ASSERT_EQ(read(pipes[0], copy, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(differs(copy, 32, PAGE), -1);
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(frame, system_calls_can_read_their_arguments_from_it)
{
	strcpy((char *)self->at, "/proc/self/exe");
	EXPECT_EQ(access((char *)self->at, F_OK), 0);
	EXPECT_GT(readlink("/proc/self/exe", (char *)self->at + PAGE - 4, 8), 0);
}

TEST_HARNESS_MAIN
