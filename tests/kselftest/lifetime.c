// SPDX-License-Identifier: MIT
/*
 * Every order in which the references to a frame can go: descriptors here, in a child, in a socket, mappings, the pool; then the
 * module.
 */
#include <signal.h>
#include <sys/uio.h>
#include "kinds.h"

#define MODULE getenv("LINEUP_MODULE")	/* lineup.ko, to load it again */

/* Who can hold a frame or its pool. Each of them is let go once, in an order of its own a test. */
enum holder { POOL, DESCRIPTOR, MAPPING, CHILD, SOCKET, HOLDERS };

struct held {
	int pool;
	int fd;
	uint8_t *at;
	pid_t child;
	int pair[2];
};

static int module_remove(void)
{
	return syscall(SYS_delete_module, "lineup", O_NONBLOCK) ? -errno : 0;
}

static int module_insert(void)
{
	int fd = MODULE ? open(MODULE, O_RDONLY | O_CLOEXEC) : -1, err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return err;
}

/*
 * Nobody uses the module any more, but a frame whose last reference went in another task returns a moment later. The sample driver,
 * which uses its symbols, is taken out by whoever runs this.
 */
static int module_remove_soon(void)
{
	int err = module_remove();

	for (int ms = 0; err == -EWOULDBLOCK && ms < WAIT_MS; ms += 10) {
		usleep(10000);
		err = module_remove();
	}
	return err;
}

/*
 * A child with what it inherited, except some descriptors (-1 ends the list). They are closed when this returns: killed with a
 * pool's last descriptor, the child would take the pool with it.
 */
static pid_t child_without(const int *fds)
{
	int done[2];
	pid_t child;

	if (pipe(done))
		return -errno;
	child = fork();
	if (!child) {
		while (*fds != -1)
			close(*fds++);
		if (write(done[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(done[1]);
	if (read(done[0], &(char){ 0 }, 1) != 1)
		child = -EIO;
	close(done[0]);
	return child;
}

static int hold(struct held *held, uint32_t flags)
{
	held->pool = pool_new(FRAME_BYTES, 1, flags);
	if (held->pool < 0)
		return held->pool;
	held->fd = frame_new(held->pool, NULL, NULL);
	held->at = map(held->fd, FRAME_BYTES, 0);
	if (held->fd < 0 || held->at == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, held->pair))
		return -errno;
	fill(held->at, 1, FRAME_BYTES);
	fd_send(held->pair[0], held->fd);
	/* The child has no end of the socket, so that closing ours throws away what lies in it. */
	held->child = child_without((int[]){ held->pool, held->pair[0], held->pair[1], -1 });
	return held->child < 0 ? held->child : 0;
}

static void let_go(struct held *held, enum holder who)
{
	switch (who) {
	case POOL:
		close(held->pool);
		break;
	case DESCRIPTOR:
		close(held->fd);
		break;
	case MAPPING:
		munmap(held->at, FRAME_BYTES);
		break;
	case CHILD:
		kill(held->child, SIGKILL);
		waitpid(held->child, NULL, 0);
		break;
	case SOCKET:
		close(held->pair[0]);
		close(held->pair[1]);
		break;
	case HOLDERS:
		break;
	}
}

/* The frame's bytes are as they were as long as anybody has it. */
static bool intact(struct held *held, unsigned int gone)
{
	uint8_t *at;
	bool is;

	if (!(gone & 1u << MAPPING))
		return differs(held->at, 1, FRAME_BYTES) == -1;
	if (gone & 1u << DESCRIPTOR)
		return true;	/* nobody here can look */
	at = map(held->fd, PAGE, 0);
	is = at != MAP_FAILED && differs(at, 1, PAGE) == -1;
	munmap(at, PAGE);
	return is;
}

/* The next permutation in lexicographic order; false after the last. */
static bool next_order(enum holder *order)
{
	int i = HOLDERS - 2, j = HOLDERS - 1;
	enum holder swap;

	while (i >= 0 && order[i] > order[i + 1])
		i--;
	if (i < 0)
		return false;
	while (order[j] < order[i])
		j--;
	swap = order[i], order[i] = order[j], order[j] = swap;
	for (int a = i + 1, b = HOLDERS - 1; a < b; a++, b--)
		swap = order[a], order[a] = order[b], order[b] = swap;
	return true;
}

FIXTURE(order)
{
	int unused;
};

FIXTURE_VARIANT(order)
{
	uint32_t flags;
	bool unload;		/* after each order, the module goes and comes */
};

FIXTURE_VARIANT_ADD(order, scattered) { .flags = 0 };
FIXTURE_VARIANT_ADD(order, shmem) { .flags = LINEUP_POOL_SHMEM };
FIXTURE_VARIANT_ADD(order, contiguous_and_rmmod) { .flags = LINEUP_POOL_CONTIGUOUS, .unload = true };
FIXTURE_VARIANT_ADD(order, sync_check) { .flags = LINEUP_POOL_SYNC_CHECK };

FIXTURE_SETUP(order)
{
	(void)self;
	if (variant->unload && !MODULE)
		SKIP(return, "no module to load again");
}

FIXTURE_TEARDOWN(order)
{
	(void)self;
}

/*
 * 120 orders. After each step the module cannot be removed, the frame's bytes are intact, and the pool, as long as it is ours to
 * ask, has the frame out until the last of the frame's holders is gone and free afterwards.
 */
TEST_F(order, every_order_of_letting_go)
{
	enum holder order[HOLDERS] = { POOL, DESCRIPTOR, MAPPING, CHILD, SOCKET };
	const unsigned int frame = 1u << DESCRIPTOR | 1u << MAPPING | 1u << CHILD | 1u << SOCKET, all = frame | 1u << POOL;
	int orders = 0;

	(void)self;
	do {
		struct lineup_pool_info info;
		struct held held;
		unsigned int gone = 0;

		ASSERT_EQ(hold(&held, variant->flags), 0);
		for (int i = 0; i < HOLDERS; i++) {
			if (variant->unload) {
				ASSERT_EQ(module_remove(), -EWOULDBLOCK) TH_LOG("order %d, step %d", orders, i);
			}
			let_go(&held, order[i]);
			gone |= 1u << order[i];
			ASSERT_TRUE(intact(&held, gone)) TH_LOG("order %d, step %d", orders, i);
			if (gone & 1u << POOL)
				continue;
			if ((gone & frame) == frame) {
				ASSERT_TRUE(frames_come_back(held.pool, 1)) TH_LOG("order %d", orders);
			}
			ASSERT_EQ(pool_info(held.pool, 0, &info), 0);
			ASSERT_EQ(info.frames_free, (gone & frame) == frame) TH_LOG("order %d, step %d", orders, i);
		}
		ASSERT_EQ(gone, all);
		if (variant->unload) {
			ASSERT_EQ(module_remove_soon(), 0) TH_LOG("order %d", orders);
			ASSERT_EQ(access("/dev/lineup", F_OK), -1);
			ASSERT_EQ(access("/dev/dma_heap/lineup", F_OK), -1);
			ASSERT_EQ(module_insert(), 0);
		}
		orders++;
	} while (next_order(order));
	EXPECT_EQ(orders, 120);
}

/* Closed pools leave nothing behind, whatever became of their frames. */
TEST_F(frame, charges_go_with_the_last_holder)
{
	struct lineup_stats before, with, after;
	int any = lineup_open();
	pid_t child;

	frame_drop(self);
	close(self->pool);
	for (int ms = 0; ms < 1000 && !stats_get(any, &before) && before.pools; ms += 10)
		usleep(10000);
	self->pool = pool_new(FRAME_BYTES, FRAMES, variant->flags);
	ASSERT_EQ(frame_take(self, variant), 0);
	child = child_without((int[]){ self->pool, -1 });
	ASSERT_EQ(stats_get(any, &with), 0);
	EXPECT_EQ(with.bytes - before.bytes, FRAMES * FRAME_BYTES);
	close(self->pool);
	self->pool = -1;
	frame_drop(self);
	ASSERT_EQ(stats_get(any, &with), 0);
	EXPECT_EQ(with.bytes - before.bytes, FRAME_BYTES);
	kill(child, SIGKILL);
	child_end(child);
	for (int ms = 0; ms < WAIT_MS && !stats_get(any, &after) && after.bytes != before.bytes; ms += 10)
		usleep(10000);
	EXPECT_EQ(after.bytes, before.bytes);
	EXPECT_EQ(after.pools, before.pools);
	EXPECT_EQ(after.user_bytes, before.user_bytes);
	close(any);
}

/*
 * The frame is closed and unmapped while a pipe has its page: the page keeps its bytes, and the frame stays away until they are
 * read.
 */
TEST_F(frame, a_page_in_a_pipe_holds_the_frame_back)
{
	struct iovec iov = { self->at, PAGE };
	struct lineup_pool_info info;
	static uint8_t copy[PAGE];
	int pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	fill(self->at, 41, PAGE);
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), (ssize_t)PAGE) TH_LOG("%s", strerror(errno));
	frame_drop(self);
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_free, FRAMES - 1);
	EXPECT_EQ(info.frames_out, 0);
	EXPECT_EQ(info.frames_held_back, 1);
	ASSERT_EQ(read(pipes[0], copy, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(differs(copy, 41, PAGE), -1);
	close(pipes[0]);
	close(pipes[1]);
	EXPECT_TRUE(frames_come_back(self->pool, FRAMES));
	ASSERT_EQ(pool_info(self->pool, 0, &info), 0);
	EXPECT_EQ(info.frames_held_back, 0);
}

/* A pool's descriptor travels: whoever has it last owns the pool. */
TEST(a_pool_lives_as_long_as_a_descriptor_of_it)
{
	int pair[2], pool = pool_new(PAGE, 2, 0), fd;

	ASSERT_GE(pool, 0);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fd_send(pair[0], pool);
	close(pool);
	pool = fd_receive(pair[1]);
	ASSERT_GE(pool, 0);
	fd = frame_new(pool, NULL, NULL);
	EXPECT_GE(fd, 0);
	close(fd);
	close(pool);
}

/* A socket in a socket in itself: only the garbage collector of sockets lets the frame go. */
TEST(a_frame_in_a_ring_of_sockets_comes_back)
{
	int pair[2], more[2], pool = pool_new(PAGE, 1, 0), fd;

	ASSERT_GE(pool, 0);
	fd = frame_new(pool, NULL, NULL);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fd_send(pair[0], fd);
	fd_send(pair[0], pair[0]);
	fd_send(pair[0], pair[1]);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	/* closing any socket wakes the collector */
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, more), 0);
		close(more[0]);
		close(more[1]);
	}
	EXPECT_TRUE(frames_come_back(pool, 1));
	close(pool);
}

TEST_HARNESS_MAIN
