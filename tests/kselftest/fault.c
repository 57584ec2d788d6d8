// SPDX-License-Identifier: MIT
/*
 * Every allocation that a call makes fails once. /proc/thread-self/fail-nth (CONFIG_FAULT_INJECTION) makes the n-th allocation,
 * or copy from or to user memory, of this thread fail; n goes up until the call no longer has so many. Then it has to succeed,
 * and each time before either to succeed all the same or to say -ENOMEM or -EFAULT and leave nothing behind.
 */
#include <linux/io_uring.h>
#include "kinds.h"

#define N_MAX 2000
#define FAIL_NTH "/proc/thread-self/fail-nth"
#define DEBUG "/sys/kernel/debug/"

/* What is injected: every allocation, also those that may wait, also of single pages; without a word in the log. */
static int injection_begin(void)
{
	static const char *const settings[][2] = {
		{ DEBUG "failslab/ignore-gfp-wait", "N" }, { DEBUG "failslab/verbose", "0" },
		{ DEBUG "fail_page_alloc/ignore-gfp-wait", "N" }, { DEBUG "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ DEBUG "fail_page_alloc/min-order", "0" }, { DEBUG "fail_page_alloc/verbose", "0" },
		{ DEBUG "fail_usercopy/verbose", "0" },
	};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (text_write(settings[i][0], settings[i][1]) && access(settings[i][0], F_OK) == 0)
			return -EIO;
	return access(FAIL_NTH, F_OK) ? -ENOENT : 0;
}

/*
 * Arms the n-th failure. The descriptor is kept open: opening it would allocate. Writing to it copies, so what is still armed may
 * strike.
 */
static void arm(int fd, int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", n);

	while (pwrite(fd, text, length, 0) < 0)
		if (errno != EFAULT)
			abort();
}

/* Disarms, and tells whether the failure had come. If it comes to the reading here, it had not. */
static bool disarm(int fd)
{
	char text[16] = "";
	bool came = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	arm(fd, 0);
	return came;
}

struct attempt {
	int any;
	int pool;
	int frame;
	uint32_t flags;
	uint64_t id;
	void *at;
};

/* Each does one thing and undoes it with the failure disarmed; 0 or -errno. */
static int do_create(struct attempt *a, int nth, int n, bool *failed)
{
	struct lineup_pool_create arg = { .frame_bytes = 3 * PAGE, .frames = 2, .flags = a->flags, .node = -1 };
	int fd = lineup_open(), err;

	arm(nth, n);
	err = call(fd, LINEUP_IOC_POOL_CREATE, &arg);
	*failed = disarm(nth);
	close(fd);
	return err;
}

static int do_open(struct attempt *a, int nth, int n, bool *failed)
{
	int fd;

	(void)a;
	arm(nth, n);
	fd = lineup_open();
	*failed = disarm(nth);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int do_get(struct attempt *a, int nth, int n, bool *failed)
{
	int fd;

	arm(nth, n);
	fd = frame_new(a->pool, NULL, NULL);
	*failed = disarm(nth);
	if (fd < 0)
		return fd;
	/* the return must not need memory either */
	arm(nth, 1);
	close(fd);
	disarm(nth);
	return 0;
}

static int do_heap(struct attempt *a, int nth, int n, bool *failed)
{
	struct dma_heap_allocation_data arg = { .len = 3 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/lineup", O_RDWR | O_CLOEXEC), err;

	(void)a;
	arm(nth, n);
	err = call(heap, DMA_HEAP_IOCTL_ALLOC, &arg);
	*failed = disarm(nth);
	if (!err)
		close(arg.fd);
	close(heap);
	return err;
}

/* A fault that finds no memory for a page table is SIGBUS or killed; read() into the mapping says -EFAULT instead. */
static int do_map(struct attempt *a, int nth, int n, bool *failed)
{
	int zero = open("/dev/zero", O_RDONLY), err = 0;
	void *at;

	arm(nth, n);
	at = map(a->frame, 3 * PAGE, 0);
	if (at == MAP_FAILED)
		err = -errno;
	else if (read(zero, at, 3 * PAGE) != (ssize_t)(3 * PAGE))
		err = -EFAULT;
	*failed = disarm(nth);
	if (at != MAP_FAILED)
		munmap(at, 3 * PAGE);
	close(zero);
	return err;
}

static int do_sync(struct attempt *a, int nth, int n, bool *failed)
{
	int err;

	arm(nth, n);
	err = sync_begin(a->frame, DMA_BUF_SYNC_RW);
	*failed = disarm(nth);
	return err ? err : sync_end(a->frame, DMA_BUF_SYNC_RW);
}

static int do_sync_file(struct attempt *a, int nth, int n, bool *failed)
{
	struct dma_buf_export_sync_file arg = { .flags = DMA_BUF_SYNC_RW, .fd = -1 };
	int err;

	arm(nth, n);
	err = call(a->frame, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);
	*failed = disarm(nth);
	if (!err)
		close(arg.fd);
	return err;
}

static int do_info(struct attempt *a, int nth, int n, bool *failed)
{
	struct lineup_pool_info pool;
	struct lineup_frame_info frame;
	struct lineup_stats stats;
	int err;

	arm(nth, n);
	err = pool_info(a->pool, 0, &pool);
	if (!err)
		err = frame_info(a->any, a->frame, &frame);
	if (!err)
		err = stats_get(a->any, &stats);
	*failed = disarm(nth);
	return err;
}

/* Revocation is called in need and at exit: it may fail for its argument, never for want of memory. */
static int do_revoke(struct attempt *a, int nth, int n, bool *failed)
{
	uint64_t id = 0;
	int fd = frame_new(a->pool, &id, NULL), err;
	struct lineup_frame_revoke arg = { .frame = id };

	arm(nth, n);
	err = call(a->pool, LINEUP_IOC_FRAME_REVOKE, &arg);
	*failed = disarm(nth);
	if (!err && sync_begin(fd, DMA_BUF_SYNC_READ) != -ENODEV)
		err = -EPROTO;
	close(fd);
	return err;
}

FIXTURE(fault)
{
	struct attempt a;
	int nth;
};

FIXTURE_VARIANT(fault)
{
	int (*attempt)(struct attempt *a, int nth, int n, bool *failed);
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(fault, open) { .attempt = do_open };
FIXTURE_VARIANT_ADD(fault, create) { .attempt = do_create };
FIXTURE_VARIANT_ADD(fault, create_contiguous) { .attempt = do_create, .flags = LINEUP_POOL_CONTIGUOUS };
FIXTURE_VARIANT_ADD(fault, create_write_combine) { .attempt = do_create, .flags = LINEUP_POOL_WRITE_COMBINE };
FIXTURE_VARIANT_ADD(fault, create_shmem) { .attempt = do_create, .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(fault, get) { .attempt = do_get };
FIXTURE_VARIANT_ADD(fault, get_shmem) { .attempt = do_get, .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(fault, heap) { .attempt = do_heap };
FIXTURE_VARIANT_ADD(fault, map) { .attempt = do_map };
FIXTURE_VARIANT_ADD(fault, map_shmem) { .attempt = do_map, .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(fault, map_sync_check) { .attempt = do_map, .flags = LINEUP_POOL_SYNC_CHECK };
FIXTURE_VARIANT_ADD(fault, sync) { .attempt = do_sync };
FIXTURE_VARIANT_ADD(fault, sync_file) { .attempt = do_sync_file };
FIXTURE_VARIANT_ADD(fault, info) { .attempt = do_info };
FIXTURE_VARIANT_ADD(fault, revoke) { .attempt = do_revoke };

FIXTURE_SETUP(fault)
{
	self->a = (struct attempt){ .flags = variant->flags, .any = lineup_open(), .pool = pool_new(3 * PAGE, 2, variant->flags) };
	if (self->a.pool == -EOPNOTSUPP && variant->flags & LINEUP_POOL_WRITE_COMBINE)
		SKIP(return, "no write-combined memory here");
	ASSERT_GE(self->a.pool, 0);
	self->a.frame = frame_new(self->a.pool, &self->a.id, NULL);
	ASSERT_GE(self->a.frame, 0);
	if (injection_begin())
		SKIP(return, "this kernel injects no faults");
	self->nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->nth, 0);
}

FIXTURE_TEARDOWN(fault)
{
	close(self->a.frame);
	close(self->a.pool);
	close(self->a.any);
}

static bool is_as_before(const struct lineup_stats *now, const struct lineup_stats *before)
{
	return now->bytes == before->bytes && now->pools == before->pools && now->frames_out == before->frames_out &&
	       !now->frames_held_back;
}

TEST_F(fault, every_failure_leaves_nothing_behind)
{
	struct lineup_stats before, after;
	int n, injected = 0, refused = 0;

	ASSERT_EQ(stats_get(self->a.any, &before), 0);
	for (n = 1; n < N_MAX; n++) {
		bool failed = false;
		int err = variant->attempt(&self->a, self->nth, n, &failed);

		injected += failed;
		refused += err != 0;
		ASSERT_TRUE(!err || err == -ENOMEM || err == -EFAULT || err == -ENFILE) TH_LOG("failure %d: %s", n, strerror(-err));
		if (err == -ENOMEM && variant->attempt == do_revoke) {
			ASSERT_EQ(err, 0) TH_LOG("revocation wanted memory");
		}
		for (int ms = 0; ms < WAIT_MS && !stats_get(self->a.any, &after) && !is_as_before(&after, &before); ms++)
			usleep(1000);
		ASSERT_EQ(after.bytes, before.bytes) TH_LOG("failure %d, result %d", n, err);
		ASSERT_EQ(after.pools, before.pools) TH_LOG("failure %d, result %d", n, err);
		ASSERT_EQ(after.frames_out, before.frames_out) TH_LOG("failure %d, result %d", n, err);
		if (!failed) {
			ASSERT_EQ(err, 0);
			break;
		}
	}
	TH_LOG("%d failures injected, %d of them refused the call", injected, refused);
	EXPECT_LT(n, N_MAX);
	EXPECT_GT(injected, 0);
}

#define MAX_BYTES "/sys/module/lineup/parameters/max_bytes"

/* Quotas refuse before anything is allocated: the first failure is that of the argument's copy, and there is no second. */
TEST(a_pool_over_the_quota_allocates_nothing)
{
	long long quota = number_read(MAX_BYTES);
	struct attempt a = { 0 };
	bool failed = false;
	char text[32];
	int nth;

	if (injection_begin())
		SKIP(return, "this kernel injects no faults");
	nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_GE(nth, 0);
	ASSERT_EQ(text_write(MAX_BYTES, "4096"), 0);
	EXPECT_EQ(do_create(&a, nth, 1, &failed), -EFAULT);
	EXPECT_TRUE(failed);
	EXPECT_EQ(do_create(&a, nth, 2, &failed), -ENOMEM);
	EXPECT_FALSE(failed);
	snprintf(text, sizeof(text), "%lld", quota);
	EXPECT_EQ(text_write(MAX_BYTES, text), 0);
}

TEST_HARNESS_MAIN
