// SPDX-License-Identifier: MIT
/* Taking frames away from those who hold them: what they see, in which process they are, whoever asked for it. */
#include <linux/membarrier.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include "kinds.h"

static sigjmp_buf caught;

static void on_bus(int signal)
{
	siglongjmp(caught, signal);
}

/* Reads bytes until SIGBUS comes, for ever if need be. */
static void read_until_bus(volatile uint8_t *at)
{
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(caught, 1))
		for (size_t i = 0;; i = (i + PAGE) % FRAME_BYTES)
			(void)at[i];
}

static bool raises_bus(volatile uint8_t *at)
{
	int got = sigsetjmp(caught, 1);

	if (!got) {
		signal(SIGBUS, on_bus);
		(void)*at;
	}
	signal(SIGBUS, SIG_DFL);
	return got == SIGBUS;
}

/* What holds for whoever has a frame that was revoked. */
static void check_revoked(struct __test_metadata *_metadata, FIXTURE_DATA(frame) *self, int any)
{
	struct lineup_frame_info info;

	EXPECT_TRUE(raises_bus(self->at));
	EXPECT_TRUE(raises_bus(self->at + FRAME_BYTES - 1));
	EXPECT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), -ENODEV);
	EXPECT_EQ(map(self->fd, FRAME_BYTES, 0), MAP_FAILED);
	EXPECT_EQ(errno, ENODEV);
	EXPECT_EQ(access((char *)self->at, F_OK), -1);
	EXPECT_EQ(errno, EFAULT);
	ASSERT_EQ(frame_info(any, self->fd, &info), 0);
	EXPECT_EQ(info.state, LINEUP_FRAME_REVOKED);
	EXPECT_EQ(lseek(self->fd, 0, SEEK_END), (off_t)FRAME_BYTES);
}

TEST_F(frame, revoked_is_gone_for_its_holder)
{
	self->at[0] = 1;
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	check_revoked(_metadata, self, self->pool);
	EXPECT_EQ(frame_revoke(self->pool, self->id), 0);
}

/* Of two frames, the other is left alone; the revoked one comes back wiped, except that shmem cannot. */
TEST_F(frame, revoked_leaves_the_others_alone_and_comes_back)
{
	struct lineup_pool_info info;
	int other;
	uint8_t *at;

	other = frame_new(self->pool, NULL, NULL);
	ASSERT_GE(other, 0);
	at = map(other, FRAME_BYTES, 0);
	ASSERT_NE(at, MAP_FAILED);
	fill(at, 1, FRAME_BYTES);
	fill(self->at, 2, FRAME_BYTES);
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	EXPECT_EQ(differs(at, 1, FRAME_BYTES), -1);
	munmap(self->at, FRAME_BYTES);
	self->at = MAP_FAILED;
	close(self->fd);
	if (variant->flags & LINEUP_POOL_SHMEM) {
		for (int ms = 0; ms < WAIT_MS && !pool_info(self->pool, 0, &info) && !info.frames_lost; ms += 10)
			usleep(10000);
		EXPECT_EQ(info.frames_lost, 1);
		EXPECT_EQ(frame_new(self->pool, NULL, NULL), -EAGAIN);
	} else {
		ASSERT_TRUE(frames_come_back(self->pool, 1));
		ASSERT_EQ(frame_take(self, variant), 0);
		EXPECT_EQ(not_zero(self->at, FRAME_BYTES), -1);
		ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
		EXPECT_EQ(info.revokes, 1);
	}
	munmap(at, FRAME_BYTES);
	close(other);
}

/* A mapping is enough to hold a frame, and is emptied like any other. With shmem the dma-buf is gone by then. */
TEST_F(frame, revoked_while_only_a_mapping_is_left)
{
	self->at[0] = 1;
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(self->at[0], 1);
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	EXPECT_TRUE(raises_bus(self->at));
	EXPECT_TRUE(raises_bus(self->at + FRAME_BYTES - 1));
}

/*
 * A path keeps a dma-buf without its file, whose memory the next file gets. Revocation finds the dma-buf, and leaves the other
 * file's mappings alone: the pages written to there exist nowhere else.
 */
TEST_F(frame, revoked_while_only_a_path_is_left)
{
	enum { OTHERS = 800 };
	static uint8_t *at[OTHERS];
	char name[32];
	int path, file, lost = 0;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", self->fd);
	path = open(name, O_PATH | O_CLOEXEC);
	ASSERT_GE(path, 0);
	munmap(self->at, FRAME_BYTES);
	self->at = MAP_FAILED;
	close(self->fd);
	self->fd = -1;
	/* Linux 6.1 frees the memory of a file after a grace period. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (int i = 0; i < OTHERS; i++) {
		file = memfd_create("other", MFD_CLOEXEC);
		ASSERT_GE(file, 0);
		ASSERT_EQ(ftruncate(file, PAGE), 0);
		at[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
		ASSERT_NE((void *)at[i], MAP_FAILED);
		at[i][0] = 1;
	}
	EXPECT_EQ(frame_revoke(self->pool, self->id), 0);
	for (int i = 0; i < OTHERS; i++)
		lost += at[i][0] != 1;
	EXPECT_EQ(lost, 0);
	close(path);
}

TEST_F(frame, an_id_that_is_not_out_is_not_found)
{
	uint64_t id = self->id;

	EXPECT_EQ(frame_revoke(self->pool, 0), -ENOENT);
	EXPECT_EQ(frame_revoke(self->pool, id + 1000000), -ENOENT);
	frame_drop(self);
	ASSERT_TRUE(frames_come_back(self->pool, FRAMES));
	EXPECT_EQ(frame_revoke(self->pool, id), -ENOENT);
}

TEST_F(frame, of_another_pool_cannot_be_revoked)
{
	int other = pool_new(PAGE, 1, 0);

	ASSERT_GE(other, 0);
	EXPECT_EQ(frame_revoke(other, self->id), -ENOENT);
	EXPECT_EQ(self->at[0], 0);
	close(other);
}

/* Several processes read and write it while it is revoked, again and again: each gets SIGBUS and nothing else happens. */
TEST_F(frame, revoked_under_access_in_other_processes)
{
	enum { HOLDERS = 4 };
	pid_t child[HOLDERS];
	int go[2];

	ASSERT_EQ(pipe(go), 0);
	for (int i = 0; i < HOLDERS; i++) {
		child[i] = fork();
		if (!child[i]) {
			self->at[i * PAGE] = i;
			if (write(go[1], "", 1) != 1)
				_exit(1);
			read_until_bus(self->at);
			_exit(sync_begin(self->fd, DMA_BUF_SYNC_READ) == -ENODEV ? 0 : 2);
		}
	}
	for (int i = 0; i < HOLDERS; i++) {
		ASSERT_EQ(read(go[0], &(char){ 0 }, 1), 1);
	}
	ASSERT_EQ(frame_revoke(self->pool, self->id), 0);
	for (int i = 0; i < HOLDERS; i++) {
		EXPECT_EQ(child_end(child[i]), 0);
	}
	check_revoked(_metadata, self, self->pool);
}

/* mmap(), faults and sync against revocation, at the same time and many times. */
struct racer {
	int fd;
	volatile bool stop;
	int strange;
};

static void *map_and_sync(void *arg)
{
	struct racer *racer = arg;

	while (!racer->stop) {
		uint8_t *at = map(racer->fd, FRAME_BYTES, 0);
		int err = sync_begin(racer->fd, DMA_BUF_SYNC_RW);

		racer->strange += (at == MAP_FAILED && errno != ENODEV) || (err && err != -ENODEV);
		/* it may have been revoked between the two */
		err = err ? 0 : sync_end(racer->fd, DMA_BUF_SYNC_RW);
		racer->strange += err && err != -ENODEV;
		if (at != MAP_FAILED)
			munmap(at, FRAME_BYTES);
	}
	return NULL;
}

TEST_F(frame, revoked_while_others_map_and_sync)
{
	for (int round = 0; round < 20; round++) {
		struct racer racer = { 0 };
		pthread_t thread[2];
		int pool = pool_new(FRAME_BYTES, 1, variant->flags);
		uint64_t id = 0;
		uint8_t *late;

		ASSERT_GE(pool, 0);
		racer.fd = frame_new(pool, &id, NULL);
		ASSERT_GE(racer.fd, 0);
		for (int i = 0; i < 2; i++) {
			ASSERT_EQ(pthread_create(&thread[i], NULL, map_and_sync, &racer), 0);
		}
		usleep(round * 500);
		late = map(racer.fd, FRAME_BYTES, 0);
		ASSERT_NE(late, MAP_FAILED);
		ASSERT_EQ(frame_revoke(pool, id), 0);
		EXPECT_TRUE(raises_bus(late));
		racer.stop = true;
		for (int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		EXPECT_EQ(racer.strange, 0);
		munmap(late, FRAME_BYTES);
		close(racer.fd);
		close(pool);
	}
}

enum { REVOKERS = 2, MAPPINGS = 24 };

struct revoker {
	pthread_barrier_t *start;
	int pool, pipe;
	uint64_t id;
	uint8_t **at;
	bool whole_pool;
	int err, reached;
};

/* What can still be reached when the call returns. The kernel's copy says so without a signal. */
static void *revoke_and_look(void *arg)
{
	struct revoker *r = arg;

	pthread_barrier_wait(r->start);
	r->err = r->whole_pool ? pool_revoke(r->pool) : frame_revoke(r->pool, r->id);
	for (int i = MAPPINGS - 1; i >= 0; i--)
		r->reached += write(r->pipe, r->at[i] + FRAME_BYTES - PAGE, 1) == 1;
	return NULL;
}

/* Whoever comes second does not return before the first has emptied the mappings. */
TEST_F(frame, mappings_are_empty_for_each_of_two_who_revoke_at_once)
{
	for (int round = 0; round < 12; round++) {
		int pool = pool_new(FRAME_BYTES, 1, variant->flags), fd, ends[2];
		struct revoker revoker[REVOKERS];
		pthread_t thread[REVOKERS];
		pthread_barrier_t start;
		uint8_t *at[MAPPINGS];
		uint64_t id = 0;

		ASSERT_GE(pool, 0);
		fd = frame_new(pool, &id, NULL);
		ASSERT_GE(fd, 0);
		ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
		ASSERT_EQ(sync_begin(fd, DMA_BUF_SYNC_RW), 0);
		for (int i = 0; i < MAPPINGS; i++) {
			at[i] = map(fd, FRAME_BYTES, 0);
			ASSERT_NE(at[i], MAP_FAILED);
			for (size_t j = 0; j < FRAME_BYTES; j += PAGE)
				at[i][j] = 1;
		}
		pthread_barrier_init(&start, NULL, REVOKERS);
		for (int i = 0; i < REVOKERS; i++) {
			revoker[i] = (struct revoker){ &start, pool, ends[1], id, at, i && round % 2, 0, 0 };
			ASSERT_EQ(pthread_create(&thread[i], NULL, revoke_and_look, &revoker[i]), 0);
		}
		for (int i = 0; i < REVOKERS; i++) {
			pthread_join(thread[i], NULL);
			EXPECT_EQ(revoker[i].err, 0);
			EXPECT_EQ(revoker[i].reached, 0) TH_LOG("round %d", round);
		}
		pthread_barrier_destroy(&start);
		for (int i = 0; i < MAPPINGS; i++)
			munmap(at[i], FRAME_BYTES);
		close(ends[0]);
		close(ends[1]);
		close(fd);
		close(pool);
	}
}

TEST_F(frame, a_revoked_pool_is_over)
{
	struct lineup_pool_info info;
	int other;

	other = frame_new(self->pool, NULL, NULL);
	ASSERT_GE(other, 0);
	ASSERT_EQ(pool_revoke(self->pool), 0);
	check_revoked(_metadata, self, self->pool);
	EXPECT_EQ(sync_begin(other, DMA_BUF_SYNC_READ), -ENODEV);
	EXPECT_EQ(frame_new(self->pool, NULL, NULL), -ENODEV);
	EXPECT_EQ(ready(self->pool, POLLIN, 0), POLLHUP | POLLERR);
	EXPECT_EQ(pool_revoke(self->pool), 0);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.state, LINEUP_POOL_REVOKED);
	close(other);
	frame_drop(self);
	for (int ms = 0; ms < WAIT_MS && !pool_info(self->pool, 0, &info) && info.frames_freed != FRAMES; ms += 10)
		usleep(10000);
	EXPECT_EQ(info.frames_freed, FRAMES);
	EXPECT_EQ(info.bytes, 0);
}

static void *wait_for_frame(void *arg)
{
	return (void *)(intptr_t)ready(*(int *)arg, POLLIN, WAIT_MS);
}

TEST_F(frame, a_waiter_for_a_frame_wakes_when_the_pool_is_revoked)
{
	pthread_t thread;
	void *got;

	ASSERT_GE(frame_new(self->pool, NULL, NULL), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, wait_for_frame, &self->pool), 0);
	usleep(50000);
	ASSERT_EQ(pool_revoke(self->pool), 0);
	ASSERT_EQ(pthread_join(thread, &got), 0);
	EXPECT_TRUE((intptr_t)got & (POLLHUP | POLLERR));
}

/* An owner in another process, which ends in a way of its own while we hold its frame. */
static int frame_of(FIXTURE_DATA(frame) *self, uint32_t flags, int end, pid_t *owner)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return -errno;
	*owner = fork();
	if (!*owner) {
		int pool = pool_new(FRAME_BYTES, 1, flags);

		fd_send(pair[1], frame_new(pool, NULL, NULL));
		if (recv(pair[1], &(char){ 0 }, 1, 0) == 1 && end)
			raise(end);
		_exit(0);
	}
	self->fd = fd_receive(pair[0]);
	if (self->fd < 0)
		return self->fd;
	self->at = map(self->fd, FRAME_BYTES, 0);
	if (self->at == MAP_FAILED || sync_begin(self->fd, DMA_BUF_SYNC_RW))
		return -errno;
	fill(self->at, 5, FRAME_BYTES);
	if (send(pair[0], "", 1, 0) != 1)
		return -errno;
	close(pair[0]);
	close(pair[1]);
	return child_end(*owner);
}

TEST_F(frame, lives_on_when_its_owner_exits)
{
	pid_t owner;

	frame_drop(self);
	ASSERT_EQ(frame_of(self, variant->flags, 0, &owner), 0);
	EXPECT_EQ(differs(self->at, 5, FRAME_BYTES), -1);
	EXPECT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	EXPECT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
}

TEST_F(frame, is_revoked_when_its_owner_is_killed)
{
	static const int ends[] = { SIGKILL, SIGSEGV, SIGABRT, SIGTERM };

	frame_drop(self);
	for (int i = 0; i < 4; i++) {
		pid_t owner;

		ASSERT_EQ(frame_of(self, variant->flags, ends[i], &owner), 256 + ends[i]);
		check_revoked(_metadata, self, self->pool);
		munmap(self->at, FRAME_BYTES);
		close(self->fd);
	}
	self->at = MAP_FAILED;
	self->fd = -1;
}

TEST_HARNESS_MAIN
