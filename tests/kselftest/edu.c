// SPDX-License-Identifier: MIT
/*
 * A capture card, QEMU's edu device with the sample driver: DMA into frames and out of them, and what becomes of a transfer when
 * the frame is revoked, everybody lets go, or the card is unbound or unplugged.
 *
 * The card moves 2 KiB in 100 ms, through 2 KiB of memory: from a frame, it keeps the last piece; into a frame, it repeats that.
 * EDU_BITS says how many address bits the card has; EDU_MEANS=bounce|iommu that frames lie where it does not reach by itself, and
 * why they are reached all the same; EDU_UNPLUG=1 that the machine's monitor may take the card out.
 */
#include <dirent.h>
#include <linux/sync_file.h>
#include <pthread.h>
#include "../../kmod/samples/educap.h"
#include "drm.h"

#define FRAME_BYTES (64ul << 10)
#define PIECE EDUCAP_PIECE_BYTES
#define TRANSFER (4 * PIECE)	/* 0.4 s */
#define DRIVER "/sys/bus/pci/drivers/educap/"

static unsigned int card_bits(void)
{
	return getenv("EDU_BITS") ? atoi(getenv("EDU_BITS")) : 28;
}

static int card_open(void)
{
	int fd = open("/dev/educap0", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int transfer(int card, int frame, uint32_t direction, uint64_t offset, uint32_t bytes)
{
	struct educap_transfer arg = { .offset = offset, .bytes = bytes, .direction = direction, .fd = frame };

	return call(card, EDUCAP_IOC_TRANSFER, &arg);
}

/* A sync_file of the frame's writers, or of all who use it. */
static int sync_export(int fd, uint32_t access)
{
	struct dma_buf_export_sync_file arg = { .flags = access, .fd = -1 };
	int err = call(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);

	return err ? err : arg.fd;
}

/* 0: not yet; 1: done; an errno: failed with it. */
static int sync_status(int fd)
{
	struct sync_file_info info = { 0 };

	return ioctl(fd, SYNC_IOC_FILE_INFO, &info) ? -errno : info.status;
}

FIXTURE(edu)
{
	int card;
	int pool;
	int fd;
	uint64_t id;
	uint8_t *at;
};

FIXTURE_VARIANT(edu)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(edu, scattered) { .flags = 0 };
FIXTURE_VARIANT_ADD(edu, contiguous) { .flags = LINEUP_POOL_CONTIGUOUS };
FIXTURE_VARIANT_ADD(edu, write_combine) { .flags = LINEUP_POOL_WRITE_COMBINE };
FIXTURE_VARIANT_ADD(edu, sync_check) { .flags = LINEUP_POOL_SYNC_CHECK };

/* Without an IOMMU or bounce buffers, frames have to lie where the card reaches; with them, they have to lie elsewhere. */
FIXTURE_SETUP(edu)
{
	struct lineup_pool_create arg = { .frame_bytes = FRAME_BYTES, .frames = 2, .flags = variant->flags, .node = -1 };

	self->pool = -1;
	self->card = card_open();
	if (self->card < 0)
		SKIP(return, "no edu card with the sample driver");
	if (!getenv("EDU_MEANS"))
		arg.dma_bits = card_bits();
	self->pool = lineup_open();
	ASSERT_EQ(call(self->pool, LINEUP_IOC_POOL_CREATE, &arg), 0);
	self->fd = frame_new(self->pool, &self->id, NULL);
	ASSERT_GE(self->fd, 0);
	self->at = map(self->fd, FRAME_BYTES, 0);
	ASSERT_NE(self->at, MAP_FAILED);
}

FIXTURE_TEARDOWN(edu)
{
	close(self->card);
	close(self->pool);
}

/* The pieces of a transfer into a frame: seed's piece again and again. */
static bool repeats(const uint8_t *at, uint32_t seed, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PIECE)
		if (differs(at + i, seed, PIECE) != -1)
			return false;
	return true;
}

/* Puts seed's piece into the card's memory, by way of the frame. */
static int load_card(FIXTURE_DATA(edu) *self, uint32_t seed)
{
	int err = sync_begin(self->fd, DMA_BUF_SYNC_RW);

	if (err)
		return err;
	fill(self->at, seed, PIECE);
	err = sync_end(self->fd, DMA_BUF_SYNC_RW);
	if (!err)
		err = transfer(self->card, self->fd, EDUCAP_TO_CARD, 0, PIECE);
	if (!err && ready(self->fd, POLLOUT, WAIT_MS) != POLLOUT)
		err = -ETIME;
	return err;
}

TEST_F(edu, frames_lie_where_this_machine_is_about_them)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	(void)*(volatile uint8_t *)self->at;
	ASSERT_EQ(pread(fd, &entry, 8, (uintptr_t)self->at / PAGE * 8), 8);
	close(fd);
	entry &= (1ull << 55) - 1;
	if (getenv("EDU_MEANS")) {
		EXPECT_GE(entry * PAGE, 1ull << card_bits());
	} else {
		EXPECT_LT(entry * PAGE, 1ull << card_bits());
	}
}

TEST_F(edu, moves_bytes_both_ways)
{
	ASSERT_EQ(load_card(self, 5), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 8 * PIECE, TRANSFER), 0);
	ASSERT_EQ(ready(self->fd, POLLIN, WAIT_MS), POLLIN);
	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	EXPECT_EQ(differs(self->at, 5, PIECE), -1);
	EXPECT_EQ(not_zero(self->at + PIECE, 7 * PIECE), -1);
	EXPECT_TRUE(repeats(self->at + 8 * PIECE, 5, TRANSFER));
	EXPECT_EQ(not_zero(self->at + 8 * PIECE + TRANSFER, FRAME_BYTES - 8 * PIECE - TRANSFER), -1);
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
}

/* Where there is a card that needs them: they are seen in use while it is at work. */
TEST_F(edu, uses_bounce_buffers_where_it_must)
{
	const char *used = "/sys/kernel/debug/swiotlb/io_tlb_used";

	ASSERT_EQ(load_card(self, 6), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, TRANSFER), 0);
	if (number_read(used) >= 0) {
		EXPECT_GT(number_read(used), 0);
	}
	/* the bytes are elsewhere now, and in the frame when poll() says so */
	ASSERT_EQ(ready(self->fd, POLLIN, WAIT_MS), POLLIN);
	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	EXPECT_TRUE(repeats(self->at, 6, TRANSFER));
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
}

TEST_F(edu, poll_and_sync_files_tell_the_end)
{
	int sync;

	ASSERT_EQ(load_card(self, 7), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, TRANSFER), 0);
	EXPECT_EQ(ready(self->fd, POLLIN, 0), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, 0), 0);
	EXPECT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, 0), -EINVAL);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	EXPECT_EQ(sync_status(sync), 0);
	EXPECT_EQ(ready(sync, POLLIN, WAIT_MS), POLLIN);
	EXPECT_EQ(sync_status(sync), 1);
	EXPECT_EQ(ready(self->fd, POLLIN | POLLOUT, WAIT_MS), POLLIN | POLLOUT);
	close(sync);
}

/* Reading by the card holds back writers only. */
TEST_F(edu, a_transfer_from_the_frame_lets_others_read_it)
{
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_CARD, 0, TRANSFER), 0);
	EXPECT_EQ(ready(self->fd, POLLIN, 0), POLLIN);
	EXPECT_EQ(ready(self->fd, POLLOUT, 0), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, WAIT_MS), POLLOUT);
}

/* Everybody lets go while the card writes: the frame comes back when it is done, and is wiped after that, not before. */
TEST_F(edu, a_frame_that_all_let_go_is_not_recycled_under_it)
{
	struct lineup_pool_info info;

	ASSERT_EQ(load_card(self, 8), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, TRANSFER), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_free, 1);
	ASSERT_TRUE(frames_come_back(self->pool, 2));
	for (int i = 0; i < 2; i++) {
		int fd = frame_new(self->pool, NULL, NULL);
		uint8_t *at = map(fd, FRAME_BYTES, 0);

		ASSERT_NE(at, MAP_FAILED);
		ASSERT_EQ(sync_begin(fd, DMA_BUF_SYNC_READ), 0);
		EXPECT_EQ(not_zero(at, FRAME_BYTES), -1);
		ASSERT_EQ(sync_end(fd, DMA_BUF_SYNC_READ), 0);
	}
}

/* The same when the whole pool is closed: nothing to come back to, and nothing is freed under the card. */
TEST_F(edu, a_pool_that_is_closed_waits_for_it)
{
	struct lineup_stats before, after;
	int any = lineup_open();

	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, TRANSFER), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	close(self->pool);
	self->pool = -1;
	ASSERT_EQ(stats_get(any, &before), 0);
	EXPECT_EQ(before.frames_out, 1);
	for (int ms = 0; ms < WAIT_MS && !stats_get(any, &after) && (after.bytes || after.fences); ms += 10)
		usleep(10000);
	EXPECT_EQ(after.bytes, 0);
	EXPECT_EQ(after.fences, 0);
	close(any);
}

static void *wait_for_input(void *arg)
{
	return (void *)(intptr_t)ready(*(int *)arg, POLLIN, WAIT_MS);
}

TEST_F(edu, revocation_stops_it_and_wakes_who_waits)
{
	pthread_t thread;
	void *got;
	int sync;

	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, EDUCAP_BYTES_MAX), 0);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, wait_for_input, &self->fd), 0);
	usleep(150000);
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_TRUE((intptr_t)got & POLLIN);
	EXPECT_EQ(ready(sync, POLLIN, WAIT_MS), POLLIN);
	EXPECT_EQ(sync_status(sync), -ENODEV);
	EXPECT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, PIECE), -ENODEV);
	close(sync);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	EXPECT_TRUE(frames_come_back(self->pool, 2));
	self->fd = frame_new(self->pool, NULL, NULL);
	ASSERT_GE(self->fd, 0);
	EXPECT_EQ(transfer(self->card, self->fd, EDUCAP_TO_CARD, 0, PIECE), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, WAIT_MS), POLLOUT);
}

/* The owner of the pool dies while the card writes. */
TEST_F(edu, a_killed_owner_stops_it)
{
	int pair[2], sync;
	pid_t owner;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	owner = fork();
	if (!owner) {
		struct lineup_pool_create arg = { .frame_bytes = FRAME_BYTES, .frames = 1, .node = -1 };
		int pool = lineup_open(), fd;

		arg.dma_bits = getenv("EDU_MEANS") ? 0 : card_bits();
		if (call(pool, LINEUP_IOC_POOL_CREATE, &arg))
			_exit(1);
		fd = frame_new(pool, NULL, NULL);
		if (transfer(self->card, fd, EDUCAP_TO_FRAME, 0, EDUCAP_BYTES_MAX))
			_exit(2);
		fd_send(pair[1], fd);
		for (;;)
			pause();
	}
	close(self->fd);
	self->fd = fd_receive(pair[0]);
	ASSERT_GE(self->fd, 0);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	kill(owner, SIGKILL);
	child_end(owner);
	EXPECT_EQ(ready(sync, POLLIN, WAIT_MS), POLLIN);
	EXPECT_EQ(sync_status(sync), -ENODEV);
	EXPECT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), -ENODEV);
	close(sync);
}

TEST_F(edu, each_wrong_argument_is_refused)
{
	struct educap_transfer good = { .bytes = PIECE, .direction = EDUCAP_TO_CARD, .fd = self->fd }, bad;
	int plain = open("/proc/self/exe", O_RDONLY);

#define WRONG(error, ...) \
	do { \
		bad = good; \
		__VA_ARGS__; \
		EXPECT_EQ(call(self->card, EDUCAP_IOC_TRANSFER, &bad), error) TH_LOG("%s", #__VA_ARGS__); \
	} while (0)
	WRONG(-EINVAL, bad.direction = 2);
	WRONG(-EINVAL, bad.bytes = 0);
	WRONG(-EINVAL, bad.bytes = 4);
	WRONG(-EINVAL, bad.bytes = EDUCAP_BYTES_MAX + 8);
	WRONG(-EINVAL, bad.offset = 4);
	WRONG(-EINVAL, bad.offset = FRAME_BYTES);
	WRONG(-EINVAL, bad.offset = FRAME_BYTES - PIECE + 8);
	WRONG(-EINVAL, bad.offset = UINT64_MAX - 7);
	WRONG(-EINVAL, bad.reserved = 1);
	WRONG(-EBADF, bad.fd = -1);
	WRONG(-EINVAL, bad.fd = plain);
	EXPECT_EQ(call(self->card, EDUCAP_IOC_TRANSFER, NULL), -EFAULT);
	EXPECT_EQ(call(self->card, EDUCAP_IOC_TRANSFER + 1, &good), -ENOTTY);
	EXPECT_EQ(transfer(self->card, self->fd, EDUCAP_TO_CARD, 0, PIECE), 0);
	EXPECT_EQ(ready(self->fd, POLLOUT, WAIT_MS), POLLOUT);
	close(plain);
}

TEST_F(edu, a_second_transfer_is_refused_while_one_runs)
{
	int other = frame_new(self->pool, NULL, NULL);

	ASSERT_GE(other, 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_CARD, 0, TRANSFER), 0);
	EXPECT_EQ(transfer(self->card, other, EDUCAP_TO_CARD, 0, PIECE), -EBUSY);
	EXPECT_EQ(ready(other, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	EXPECT_EQ(ready(self->fd, POLLOUT, WAIT_MS), POLLOUT);
	close(other);
}

/* ---- the card goes ------------------------------------------------------------------------------------------------------ */

/* The card's PCI address, from the folder of its driver. */
static int card_address(char *to, size_t size)
{
	DIR *dir = opendir(DRIVER);
	struct dirent *entry;
	int err = -ENOENT;

	while (dir && (entry = readdir(dir))) {
		if (strchr(entry->d_name, ':')) {
			snprintf(to, size, "%.32s", entry->d_name);
			err = 0;
		}
	}
	if (dir)
		closedir(dir);
	return err;
}

static int card_comes_back(void)
{
	int fd = -ENOENT;

	for (int ms = 0; ms < WAIT_MS; ms += 100) {
		fd = card_open();
		if (fd >= 0)
			break;
		usleep(100000);
	}
	return fd;
}

/* A transfer runs and somebody waits for it; then the card goes, in the way that is given, and comes back. */
static void card_goes(struct __test_metadata *_metadata, FIXTURE_DATA(edu) *self, int (*take)(const char *),
		      int (*bring)(const char *))
{
	char address[64];
	pthread_t thread;
	void *got;
	int sync;

	ASSERT_EQ(card_address(address, sizeof(address)), 0);
	ASSERT_EQ(load_card(self, 9), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, EDUCAP_BYTES_MAX), 0);
	sync = sync_export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_GE(sync, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, wait_for_input, &self->fd), 0);
	usleep(150000);
	ASSERT_EQ(take(address), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_TRUE((intptr_t)got & POLLIN);
	EXPECT_EQ(ready(sync, POLLIN, WAIT_MS), POLLIN);
	EXPECT_EQ(sync_status(sync), -ENODEV);
	EXPECT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, PIECE), -ENODEV);
	/* the frame is ours as before, and nobody's but ours when it comes back */
	EXPECT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_RW), 0);
	fill(self->at, 10, FRAME_BYTES);
	EXPECT_EQ(differs(self->at, 10, FRAME_BYTES), -1);
	EXPECT_EQ(sync_end(self->fd, DMA_BUF_SYNC_RW), 0);
	close(sync);
	close(self->card);
	ASSERT_EQ(bring(address), 0);
	self->card = card_comes_back();
	ASSERT_GE(self->card, 0);
	ASSERT_EQ(load_card(self, 11), 0);
	ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, PIECE, PIECE), 0);
	ASSERT_EQ(ready(self->fd, POLLIN, WAIT_MS), POLLIN);
	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	EXPECT_EQ(differs(self->at + PIECE, 11, PIECE), -1);
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	EXPECT_TRUE(frames_come_back(self->pool, 2));
}

static int unbind(const char *address)
{
	return text_write(DRIVER "unbind", address);
}

static int bind_again(const char *address)
{
	return text_write(DRIVER "bind", address);
}

static int remove_by_sysfs(const char *address)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", address);
	return text_write(path, "1");
}

static int rescan(const char *address)
{
	(void)address;
	return text_write("/sys/bus/pci/rescan", "1");
}

/* The machine's own way: the host pulls the card, and the guest's hotplug driver lets it go. */
static int pull(const char *address)
{
	char path[128];

	printf("\nVM: monitor device_del card\n");
	fflush(stdout);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", address);
	for (int ms = 0; ms < WAIT_MS; ms += 100) {
		if (access(path, F_OK))
			return 0;
		usleep(100000);
	}
	return -ETIME;
}

static int plug(const char *address)
{
	(void)address;
	/* until the host has taken the card out, its name is in use */
	sleep(2);
	printf("\nVM: monitor device_add %s\n", getenv("EDU_UNPLUG"));
	fflush(stdout);
	return 0;
}

TEST_F(edu, the_driver_is_unbound_during_a_transfer)
{
	card_goes(_metadata, self, unbind, bind_again);
}

TEST_F(edu, the_card_is_removed_during_a_transfer)
{
	card_goes(_metadata, self, remove_by_sysfs, rescan);
}

TEST_F(edu, the_card_is_pulled_during_a_transfer)
{
	card_goes(_metadata, self, pull, plug);
}

/* Unbound with nobody waiting, everything closed before and after: every order of three. */
TEST_F(edu, unbound_in_every_order_with_closing)
{
	static const char orders[6][4] = { "ufc", "ucf", "fuc", "fcu", "cuf", "cfu" };	/* unbind, frame, card */
	char address[64];

	ASSERT_EQ(card_address(address, sizeof(address)), 0);
	munmap(self->at, FRAME_BYTES);
	close(self->fd);
	for (int i = 0; i < 6; i++) {
		ASSERT_TRUE(frames_come_back(self->pool, 2)) TH_LOG("order %d", i);
		self->fd = frame_new(self->pool, NULL, NULL);
		ASSERT_GE(self->fd, 0);
		ASSERT_EQ(transfer(self->card, self->fd, EDUCAP_TO_FRAME, 0, TRANSFER), 0) TH_LOG("order %d", i);
		for (const char *what = orders[i]; *what; what++) {
			if (*what == 'u') {
				ASSERT_EQ(unbind(address), 0);
			} else {
				close(*what == 'f' ? self->fd : self->card);
			}
		}
		ASSERT_EQ(bind_again(address), 0);
		self->card = card_comes_back();
		ASSERT_GE(self->card, 0);
	}
	ASSERT_TRUE(frames_come_back(self->pool, 2));
}

/* ---- buffers of others -------------------------------------------------------------------------------------------------- */

/*
 * Where the card reaches all memory. The sample driver takes any dma-buf: what vgem exports goes to the card and comes back in a
 * frame.
 */
TEST(an_object_of_vgem_goes_through_the_card_into_a_frame)
{
	struct drm_mode_create_dumb arg = { .width = 32, .height = 32, .bpp = 32 };
	struct lineup_pool_create create = { .frame_bytes = PAGE, .frames = 1, .node = -1 };
	int card = card_open(), drm = vgem_open(), pool = lineup_open(), object = -1, fd;
	uint8_t *at;

	if (card < 0 || drm < 0)
		SKIP(return, "no vgem, or no edu card with the sample driver");
	ASSERT_EQ(call(pool, LINEUP_IOC_POOL_CREATE, &create), 0);
	ASSERT_EQ(drmIoctl(drm, DRM_IOCTL_MODE_CREATE_DUMB, &arg), 0);
	ASSERT_EQ(drmPrimeHandleToFD(drm, arg.handle, DRM_CLOEXEC | DRM_RDWR, &object), 0);
	at = map(object, PAGE, 0);
	ASSERT_NE(at, MAP_FAILED);
	fill(at, 3, PIECE);
	ASSERT_EQ(transfer(card, object, EDUCAP_TO_CARD, 0, PIECE), 0);
	ASSERT_EQ(ready(object, POLLOUT, WAIT_MS), POLLOUT);
	fd = frame_new(pool, NULL, NULL);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(transfer(card, fd, EDUCAP_TO_FRAME, 0, PIECE), 0);
	ASSERT_EQ(ready(fd, POLLIN, WAIT_MS), POLLIN);
	at = map(fd, PAGE, 0);
	ASSERT_NE(at, MAP_FAILED);
	ASSERT_EQ(sync_begin(fd, DMA_BUF_SYNC_READ), 0);
	EXPECT_EQ(differs(at, 3, PIECE), -1);
	ASSERT_EQ(sync_end(fd, DMA_BUF_SYNC_READ), 0);
	close(card);
	close(drm);
	close(pool);
}

TEST_HARNESS_MAIN
