// SPDX-License-Identifier: MIT
/* The ABI of /dev/lineup: one wrong thing a case and its errno, structs of other sizes, what a refused call leaves behind. */
#include <signal.h>
#include "common.h"

#define FRAME_BYTES (64ul << 10)

union argument {
	struct lineup_version version;
	struct lineup_pool_create create;
	struct lineup_pool_info info;
	struct lineup_pool_revoke revoke;
	struct lineup_frame_get get;
	struct lineup_frame_revoke frame_revoke;
	struct lineup_frame_info frame_info;
	struct lineup_stats stats;
	uint8_t bytes[512];
};

/* ---- pool create -------------------------------------------------------------------------------------------------------- */

FIXTURE(create)
{
	int fd;
};

FIXTURE_VARIANT(create)
{
	struct lineup_pool_create arg;
	int err;
};

FIXTURE_SETUP(create)
{
	self->fd = lineup_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(create)
{
	close(self->fd);
}

#define REFUSED(name, error, ...) \
	FIXTURE_VARIANT_ADD(create, name) \
	{ \
		.arg = { .frame_bytes = FRAME_BYTES, .frames = 2, .node = -1, __VA_ARGS__ }, .err = error \
	}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
REFUSED(frame_bytes_0, -EINVAL, .frame_bytes = 0);
REFUSED(frame_bytes_beyond_the_limit, -E2BIG, .frame_bytes = LINEUP_FRAME_BYTES_MAX + 1);
REFUSED(frame_bytes_that_overflow_when_rounded, -E2BIG, .frame_bytes = UINT64_MAX);
REFUSED(contiguous_frame_bytes_beyond_the_limit, -E2BIG, .frame_bytes = LINEUP_FRAME_BYTES_MAX, .flags = LINEUP_POOL_CONTIGUOUS);
REFUSED(frames_0, -EINVAL, .frames = 0);
REFUSED(frames_beyond_the_limit, -E2BIG, .frames = LINEUP_FRAMES_MAX + 1);
REFUSED(frames_max, -E2BIG, .frames = UINT32_MAX);
REFUSED(flag_unknown, -EINVAL, .flags = 0x10);
REFUSED(flag_highest, -EINVAL, .flags = 0x80000000);
REFUSED(node_below_any, -EINVAL, .node = -2);
REFUSED(node_offline, -EINVAL, .node = 60);
REFUSED(node_that_overflows, -EINVAL, .node = INT_MAX);
REFUSED(dma_bits_below_24, -EINVAL, .dma_bits = 23);
REFUSED(dma_bits_above_64, -EINVAL, .dma_bits = 65);
REFUSED(dma_bits_max, -EINVAL, .dma_bits = UINT32_MAX);
REFUSED(pool_not_0, -EINVAL, .pool = 1);
REFUSED(shmem_and_contiguous, -EINVAL, .flags = LINEUP_POOL_SHMEM | LINEUP_POOL_CONTIGUOUS);
REFUSED(shmem_and_write_combine, -EINVAL, .flags = LINEUP_POOL_SHMEM | LINEUP_POOL_WRITE_COMBINE);
REFUSED(shmem_and_sync_check, -EINVAL, .flags = LINEUP_POOL_SHMEM | LINEUP_POOL_SYNC_CHECK);
REFUSED(shmem_and_node, -EINVAL, .flags = LINEUP_POOL_SHMEM, .node = 0);
REFUSED(shmem_and_dma_bits, -EINVAL, .flags = LINEUP_POOL_SHMEM, .dma_bits = 32);
REFUSED(reserved_0_set, -EINVAL, .reserved = { 1 });
REFUSED(reserved_3_set, -EINVAL, .reserved = { 0, 0, 0, 1ull << 63 });
REFUSED(more_memory_than_there_is, -ENOMEM, .frame_bytes = LINEUP_FRAME_BYTES_MAX, .frames = LINEUP_FRAMES_MAX);
#pragma GCC diagnostic pop

TEST_F(create, is_refused_and_changes_nothing)
{
	struct lineup_pool_create arg = variant->arg;
	struct lineup_stats before, after;
	struct lineup_pool_info info;

	ASSERT_EQ(stats_get(self->fd, &before), 0);
	EXPECT_EQ(call(self->fd, LINEUP_IOC_POOL_CREATE, &arg), variant->err);
	EXPECT_EQ(memcmp(&arg, &variant->arg, sizeof(arg)), 0);
	ASSERT_EQ(stats_get(self->fd, &after), 0);
	EXPECT_EQ(after.bytes, before.bytes);
	EXPECT_EQ(after.pools, before.pools);
	EXPECT_EQ(pool_info(self->fd, 0, &info), -ENXIO);
	arg = (struct lineup_pool_create){ .frame_bytes = FRAME_BYTES, .frames = 2, .node = -1 };
	EXPECT_EQ(call(self->fd, LINEUP_IOC_POOL_CREATE, &arg), 0);
}

TEST(a_pool_says_what_was_asked_for)
{
	struct lineup_pool_create arg = {
		.frame_bytes = 5000, .frames = 3, .flags = LINEUP_POOL_CONTIGUOUS, .node = 0, .dma_bits = 32
	};
	struct lineup_pool_info info;
	int fd = lineup_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(call(fd, LINEUP_IOC_POOL_CREATE, &arg), 0);
	EXPECT_EQ(arg.frame_bytes, 2 * PAGE);
	EXPECT_NE(arg.pool, 0);
	ASSERT_EQ(pool_info(fd, 0, &info), 0);
	EXPECT_EQ(info.pool, arg.pool);
	EXPECT_EQ(info.state, 0);
	EXPECT_EQ(info.frame_bytes, 2 * PAGE);
	EXPECT_EQ(info.bytes, 6 * PAGE);
	EXPECT_EQ(info.pool_flags, LINEUP_POOL_CONTIGUOUS);
	EXPECT_EQ(info.node, 0);
	EXPECT_EQ(info.dma_bits, 32);
	EXPECT_EQ(info.frames, 3);
	EXPECT_EQ(info.frames_free, 3);
	EXPECT_EQ(info.frames_out + info.frames_held_back + info.frames_freed + info.frames_lost, 0);
	EXPECT_EQ(info.uid, getuid());
	EXPECT_EQ(info.pid, (uint32_t)getpid());
	EXPECT_EQ(strcmp(info.comm, "abi"), 0);
	close(fd);
}

TEST(a_descriptor_has_one_pool)
{
	struct lineup_pool_create arg = { .frame_bytes = PAGE, .frames = 1, .node = -1 };
	int fd = pool_new(PAGE, 1, 0);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(call(fd, LINEUP_IOC_POOL_CREATE, &arg), -EBUSY);
	close(fd);
}

TEST(the_largest_frame_of_each_kind_can_be_had)
{
	struct lineup_version version = { 0 };
	int fd = lineup_open(), pool;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(call(fd, LINEUP_IOC_VERSION, &version), 0);
	pool = pool_new(version.contiguous_bytes_max, 1, LINEUP_POOL_CONTIGUOUS);
	EXPECT_GE(pool, 0);
	close(pool);
	EXPECT_EQ(pool_new(version.contiguous_bytes_max + 1, 1, LINEUP_POOL_CONTIGUOUS), -E2BIG);
	pool = pool_new(version.frame_bytes_max, 1, 0);
	EXPECT_GE(pool, 0);
	close(pool);
	pool = pool_new(PAGE, version.frames_max, 0);
	EXPECT_GE(pool, 0);
	close(pool);
	close(fd);
}

/* ---- the other calls ---------------------------------------------------------------------------------------------------- */

TEST(version_says_the_limits)
{
	struct lineup_version version = { 0 };
	int fd = lineup_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(call(fd, LINEUP_IOC_VERSION, &version), 0);
	EXPECT_EQ(version.abi, LINEUP_ABI);
	EXPECT_EQ(version.frames_max, LINEUP_FRAMES_MAX);
	EXPECT_EQ(version.frame_bytes_max, LINEUP_FRAME_BYTES_MAX);
	EXPECT_GE(version.contiguous_bytes_max, 1ull << 20);
	EXPECT_LE(version.contiguous_bytes_max, version.frame_bytes_max);
	EXPECT_EQ(version.features & ~(uint64_t)(LINEUP_FEATURE_WRITE_COMBINE | LINEUP_FEATURE_SHMEM), 0);
	close(fd);
}

TEST(calls_that_need_a_pool_say_so)
{
	struct lineup_pool_info info;
	int fd = lineup_open();

	ASSERT_GE(fd, 0);
	EXPECT_EQ(frame_new(fd, NULL, NULL), -ENXIO);
	EXPECT_EQ(frame_revoke(fd, 1), -ENXIO);
	EXPECT_EQ(pool_revoke(fd), -ENXIO);
	EXPECT_EQ(pool_info(fd, 0, &info), -ENXIO);
	close(fd);
}

TEST(frames_come_with_ids_of_their_own)
{
	uint64_t id[3], again;
	uint32_t index[3], seen = 0;
	int pool = pool_new(PAGE, 3, 0), fd[3];

	ASSERT_GE(pool, 0);
	EXPECT_EQ(ready(pool, POLLIN, 0), POLLIN);
	for (int i = 0; i < 3; i++) {
		fd[i] = frame_new(pool, &id[i], &index[i]);
		ASSERT_GE(fd[i], 0);
		EXPECT_NE(id[i], 0);
		ASSERT_LT(index[i], 3);
		seen |= 1u << index[i];
		EXPECT_EQ(fcntl(fd[i], F_GETFD), FD_CLOEXEC);
		EXPECT_EQ(fcntl(fd[i], F_GETFL) & O_ACCMODE, O_RDWR);
		EXPECT_EQ(lseek(fd[i], 0, SEEK_END), PAGE);
	}
	EXPECT_EQ(seen, 7);
	EXPECT_TRUE(id[0] != id[1] && id[1] != id[2] && id[0] != id[2]);
	EXPECT_EQ(ready(pool, POLLIN, 0), 0);
	EXPECT_EQ(frame_new(pool, NULL, NULL), -EAGAIN);
	close(fd[1]);
	EXPECT_EQ(ready(pool, POLLIN, WAIT_MS), POLLIN);
	fd[1] = frame_new(pool, &again, &seen);
	ASSERT_GE(fd[1], 0);
	EXPECT_EQ(seen, index[1]);
	EXPECT_TRUE(again != id[0] && again != id[1] && again != id[2]);
	close(pool);
}

TEST(frame_info_knows_our_frames_only)
{
	struct lineup_frame_info info;
	int pool = pool_new(2 * PAGE, 2, LINEUP_POOL_CONTIGUOUS), fd, heap, plain = open("/proc/self/exe", O_RDONLY);
	uint64_t id;
	uint32_t index;

	ASSERT_GE(pool, 0);
	fd = frame_new(pool, &id, &index);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(frame_info(pool, fd, &info), 0);
	EXPECT_EQ(info.frame, id);
	EXPECT_EQ(info.index, index);
	EXPECT_EQ(info.bytes, 2 * PAGE);
	EXPECT_EQ(info.pool_flags, LINEUP_POOL_CONTIGUOUS);
	EXPECT_EQ(info.node, -1);
	EXPECT_EQ(info.dma_bits, 64);
	EXPECT_EQ(info.state, 0);
	heap = heap_new(PAGE);
	ASSERT_GE(heap, 0);
	ASSERT_EQ(frame_info(pool, heap, &info), 0);
	EXPECT_NE(info.frame, 0);
	EXPECT_NE(info.frame, id);
	EXPECT_EQ(frame_info(pool, -1, &info), -EBADF);
	EXPECT_EQ(frame_info(pool, 1000000, &info), -EBADF);
	EXPECT_EQ(frame_info(pool, plain, &info), -EINVAL);
	EXPECT_EQ(frame_info(pool, pool, &info), -EINVAL);
	close(heap);
	close(pool);
}

/* Every pool that exists is met once, in the order of ids, and the walk ends. */
TEST(a_walk_meets_every_pool)
{
	int pool[3], fd = lineup_open();
	struct lineup_pool_info info, own;
	unsigned int met = 0;
	uint64_t last = 0;

	ASSERT_GE(fd, 0);
	for (int i = 0; i < 3; i++) {
		pool[i] = pool_new(PAGE, i + 1, 0);
		ASSERT_GE(pool[i], 0);
	}
	for (;;) {
		memset(&info, 0, sizeof(info));
		info.pool = last;
		info.flags = LINEUP_INFO_NEXT;
		if (call(fd, LINEUP_IOC_POOL_INFO, &info))
			break;
		ASSERT_GT(info.pool, last);
		last = info.pool;
		for (int i = 0; i < 3; i++) {
			ASSERT_EQ(pool_info(pool[i], 0, &own), 0);
			if (own.pool == info.pool)
				met |= 1u << i;
		}
		EXPECT_EQ(pool_info(fd, last, &own), 0);
	}
	EXPECT_EQ(errno, ENOENT);
	EXPECT_EQ(met, 7);
	EXPECT_EQ(pool_info(fd, last + 1, &info), -ENOENT);
	for (int i = 0; i < 3; i++)
		close(pool[i]);
	EXPECT_EQ(pool_info(fd, last, &info), -ENOENT);
	close(fd);
}

TEST(heap_refuses_what_it_does_not_know)
{
	struct dma_heap_allocation_data arg;
	int heap = open("/dev/dma_heap/lineup", O_RDWR | O_CLOEXEC);

	ASSERT_GE(heap, 0);
	arg = (struct dma_heap_allocation_data){ .fd_flags = O_RDWR | O_CLOEXEC };
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, &arg), -EINVAL);
	arg = (struct dma_heap_allocation_data){ .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC, .fd = 1 };
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, &arg), -EINVAL);
	arg = (struct dma_heap_allocation_data){ .len = PAGE, .fd_flags = O_RDWR | O_DIRECTORY };
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, &arg), -EINVAL);
	arg = (struct dma_heap_allocation_data){ .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC, .heap_flags = 1 };
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, &arg), -EINVAL);
	arg = (struct dma_heap_allocation_data){ .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC + 1, &arg), -ENOTTY);
	EXPECT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, NULL), -EFAULT);
	close(heap);
}

TEST(unknown_calls_are_not_typewriters)
{
	union argument arg = { 0 };
	int fd = lineup_open();

	ASSERT_GE(fd, 0);
	EXPECT_EQ(call(fd, _IOWR(LINEUP_IOC_MAGIC, 0x08, struct lineup_stats), &arg), -ENOTTY);
	EXPECT_EQ(call(fd, _IOWR(LINEUP_IOC_MAGIC, 0xff, struct lineup_stats), &arg), -ENOTTY);
	EXPECT_EQ(call(fd, _IOWR('H', 0x00, struct lineup_version), &arg), -ENOTTY);
	EXPECT_EQ(read(fd, &arg, 1), -1);
	EXPECT_EQ(write(fd, &arg, 1), -1);
	EXPECT_EQ(map(fd, PAGE, 0), MAP_FAILED);
	close(fd);
}

/* ---- sizes, bytes, addresses: the same for every call ------------------------------------------------------------------- */

FIXTURE(any)
{
	int fd;
	int frame;
	union argument arg;
	union argument sent;
};

FIXTURE_VARIANT(any)
{
	unsigned int nr;
	size_t bytes;
	size_t reserved;	/* where it begins */
	uint64_t in;		/* a bit for each 4 bytes that may be other than 0 on the way in */
};

#define WORDS(type, field) ((1ull << sizeof(((type *)0)->field) / 4) - 1) << offsetof(type, field) / 4
#define CALL(name, number, type, may) \
	FIXTURE_VARIANT_ADD(any, name) \
	{ \
		.nr = number, .bytes = sizeof(type), .reserved = offsetof(type, reserved), .in = may \
	}

CALL(version, 0, struct lineup_version, 0);
CALL(pool_create, 1, struct lineup_pool_create,
     WORDS(struct lineup_pool_create, frame_bytes) | WORDS(struct lineup_pool_create, frames) |
     WORDS(struct lineup_pool_create, flags) | WORDS(struct lineup_pool_create, node) | WORDS(struct lineup_pool_create, dma_bits));
CALL(pool_info, 2, struct lineup_pool_info, WORDS(struct lineup_pool_info, pool) | WORDS(struct lineup_pool_info, flags));
CALL(pool_revoke, 3, struct lineup_pool_revoke, 0);
CALL(frame_get, 4, struct lineup_frame_get, 0);
CALL(frame_revoke, 5, struct lineup_frame_revoke, WORDS(struct lineup_frame_revoke, frame));
CALL(frame_info, 6, struct lineup_frame_info, WORDS(struct lineup_frame_info, fd));
CALL(stats, 7, struct lineup_stats, 0);

/* A descriptor on which the call succeeds, and an argument with which it does. */
FIXTURE_SETUP(any)
{
	uint64_t id = 0;

	self->frame = -1;
	self->fd = variant->nr == 1 ? lineup_open() : pool_new(FRAME_BYTES, 3, 0);
	ASSERT_GE(self->fd, 0);
	if (variant->nr != 1) {
		self->frame = frame_new(self->fd, &id, NULL);
		ASSERT_GE(self->frame, 0);
	}
	switch (variant->nr) {
	case 1:
		self->arg.create = (struct lineup_pool_create){ .frame_bytes = FRAME_BYTES, .frames = 3, .node = -1 };
		break;
	case 5:
		self->arg.frame_revoke.frame = id;
		break;
	case 6:
		self->arg.frame_info.fd = self->frame;
		break;
	}
	self->sent = self->arg;
}

FIXTURE_TEARDOWN(any)
{
	close(self->frame);
	close(self->fd);
}

static unsigned int sized(unsigned int nr, size_t bytes)
{
	return _IOC(_IOC_READ | _IOC_WRITE, LINEUP_IOC_MAGIC, nr, bytes);
}

TEST_F(any, works)
{
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), &self->arg), 0);
}

TEST_F(any, works_without_the_reserved_fields)
{
	union argument *arg = &self->arg;

	memset(arg->bytes + variant->reserved, 0xee, sizeof(*arg) - variant->reserved);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->reserved), arg), 0);
	for (size_t i = variant->reserved; i < sizeof(*arg); i++) {
		ASSERT_EQ(arg->bytes[i], 0xee) TH_LOG("byte %zu, which the caller did not offer, was written", i);
	}
}

TEST_F(any, works_with_a_larger_struct_whose_rest_is_zero)
{
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes + 64), &self->arg), 0);
}

TEST_F(any, refuses_a_larger_struct_whose_rest_is_not_zero)
{
	self->arg.bytes[variant->bytes + 63] = 1;
	self->sent = self->arg;
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes + 64), &self->arg), -E2BIG);
	EXPECT_EQ(memcmp(&self->arg, &self->sent, sizeof(self->arg)), 0);
}

TEST_F(any, refuses_a_struct_that_ends_too_early)
{
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->reserved - 1), &self->arg), -EINVAL);
	EXPECT_EQ(call(self->fd, sized(variant->nr, 4), &self->arg), -EINVAL);
	EXPECT_EQ(call(self->fd, sized(variant->nr, 0), &self->arg), -EINVAL);
	EXPECT_EQ(memcmp(&self->arg, &self->sent, sizeof(self->arg)), 0);
}

/* Each byte that is not the caller's to set, by itself. */
TEST_F(any, refuses_each_byte_that_is_not_for_input)
{
	for (size_t i = 0; i < variant->bytes; i++) {
		if (variant->in >> i / 4 & 1)
			continue;
		self->arg = self->sent;
		self->arg.bytes[i] = 0x80;
		ASSERT_EQ(call(self->fd, sized(variant->nr, variant->bytes), &self->arg), -EINVAL) TH_LOG("byte %zu", i);
		self->arg.bytes[i] = self->sent.bytes[i];
		ASSERT_EQ(memcmp(&self->arg, &self->sent, sizeof(self->arg)), 0) TH_LOG("byte %zu", i);
	}
}

TEST_F(any, says_that_it_cannot_read)
{
	uint8_t *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(two, MAP_FAILED);
	munmap(two + PAGE, PAGE);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), NULL), -EFAULT);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), (void *)-4096l), -EFAULT);
	memcpy(two + PAGE - 8, &self->arg, 8);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), two + PAGE - 8), -EFAULT);
}

/* The answer cannot be written: nothing has happened, no descriptor exists, and the call can be made again. */
TEST_F(any, that_cannot_answer_has_done_nothing)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct lineup_stats before, after;
	int next;

	if (variant->nr == 3 || variant->nr == 5)
		return;		/* these have no answer */
	ASSERT_NE(page, MAP_FAILED);
	memcpy(page, &self->arg, sizeof(self->arg));
	ASSERT_EQ(mprotect(page, PAGE, PROT_READ), 0);
	next = dup(self->fd);
	close(next);
	ASSERT_EQ(stats_get(self->fd, &before), 0);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), page), -EFAULT);
	EXPECT_EQ(fcntl(next, F_GETFD), -1);
	ASSERT_EQ(stats_get(self->fd, &after), 0);
	EXPECT_EQ(after.pools, before.pools);
	EXPECT_EQ(after.bytes, before.bytes);
	EXPECT_EQ(after.frames_out, before.frames_out);
	EXPECT_EQ(call(self->fd, sized(variant->nr, variant->bytes), &self->arg), 0);
}

/* A 32-bit program's way in, which a 64-bit one can take too if its argument lies low. */
static volatile sig_atomic_t no_32bit;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)signal, (void)info;
	no_32bit = 1;
#if defined(__x86_64__)
	u->uc_mcontext.gregs[REG_RIP] += 2;	/* past int $0x80 */
#else
	(void)u;
#endif
}

TEST_F(any, works_for_a_32bit_program)
{
#if defined(__x86_64__)
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	void *low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long ret = 54;		/* ioctl */

	ASSERT_NE(low, MAP_FAILED);
	sigaction(SIGSEGV, &action, NULL);
	memcpy(low, &self->arg, sizeof(self->arg));
	__asm__ volatile("int $0x80"
			 : "+a"(ret)
			 : "b"((long)self->fd), "c"((long)sized(variant->nr, variant->bytes)), "d"(low)
			 : "memory", "r8", "r9", "r10", "r11");
	if (no_32bit || (int)ret == -ENOSYS)
		SKIP(return, "this kernel runs no 32-bit programs");
	EXPECT_EQ((int)ret, 0);
#else
	SKIP(return, "not a 64-bit PC");
#endif
}

TEST_HARNESS_MAIN
