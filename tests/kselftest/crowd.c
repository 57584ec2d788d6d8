// SPDX-License-Identifier: MIT
/*
 * Several processes at once, with no order between them: they make pools, share them, take frames from them, fill, pass and revoke
 * them, and are killed. No model could say what each call answers; what must hold however they interleave is checked all the time:
 * a new frame is zero, what its holder wrote stays until it is revoked, no answer is one that the ABI does not know, a pool's frames
 * add up, and no more is pinned than max_bytes. In the end nothing is left, and the counters agree with what the processes counted.
 *
 * LINEUP_SEED=n draws others, LINEUP_OPERATIONS=n more; the interleaving is the kernel's.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include "common.h"

enum { PROCESSES = 5, POOLS = 3, FRAMES = 5, IDS = 32, PAGES_MAX = 8, FRAMES_MAX = 4, QUOTA_PAGES = 100 };

#define MAX_BYTES "/sys/module/lineup/parameters/max_bytes"

/* What all processes see. */
static struct board {
	atomic_ullong gets, gets_over, refused;
	atomic_ullong ids[IDS];		/* of frames that somebody got: to be revoked by anybody */
	atomic_uint done[PROCESSES];
	atomic_uint lives[PROCESSES];
	atomic_bool failed;
	char failure[256];
} *board;

struct held {
	int fd;				/* -1: none */
	uint8_t *at;			/* NULL: it could not be mapped, being revoked */
	size_t bytes;
	uint32_t seed;
};

/* What travels with a descriptor. */
struct parcel {
	bool is_pool;
	uint32_t seed;
};

static int pools[POOLS] = { -1, -1, -1 };
static struct held held[FRAMES] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
static int bazaar[2];			/* all write to one end and read from the other */
static uint64_t random_state;
static sigjmp_buf caught;

static uint64_t draw(uint64_t below)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

#define FAIL(...) fail_with(__LINE__, __VA_ARGS__)

static void fail_with(int line, const char *what, long long value)
{
	if (!atomic_exchange(&board->failed, true))
		snprintf(board->failure, sizeof(board->failure), "line %d: %s: %lld", line, what, value);
	_exit(1);
}

static void on_bus(int signal)
{
	siglongjmp(caught, signal);
}

/* ---- one process -------------------------------------------------------------------------------------------------------- */

/* In a bracket: what is there is as the seed says (0: zeroes), and becomes as @next says (0: stays). Or it is revoked. */
static void look(struct held *h, uint32_t next)
{
	volatile int begun = sync_begin(h->fd, DMA_BUF_SYNC_RW);
	volatile bool gone = false;
	volatile ssize_t wrong = -1;
	int err;

	if (begun && begun != -ENODEV)
		FAIL("sync begin", begun);
	if (h->at && !sigsetjmp(caught, 1)) {
		wrong = h->seed ? differs(h->at, h->seed, h->bytes) : not_zero(h->at, h->bytes);
		if (wrong == -1 && next)
			fill(h->at, next, h->bytes); /* also while it is being revoked: until that is done */
	} else {
		gone = true;
	}
	if (wrong != -1)
		FAIL("a frame is not as it was left, at byte", wrong);
	if (next)
		h->seed = next;
	err = begun ? 0 : sync_end(h->fd, DMA_BUF_SYNC_RW);
	if (err && err != -ENODEV)
		FAIL("sync end", err);
	err = gone ? sync_begin(h->fd, DMA_BUF_SYNC_READ) : -ENODEV;
	if (err != -ENODEV)
		FAIL("no memory behind a frame that is not revoked", err);
}

static void take_in(struct held *h, int fd, uint32_t seed)
{
	*h = (struct held){ .fd = fd, .seed = seed, .bytes = lseek(fd, 0, SEEK_END) };
	h->at = map(fd, h->bytes, 0);
	if (h->at != MAP_FAILED)
		return;
	if (errno != ENODEV)
		FAIL("mmap", errno);
	h->at = NULL;
}

static void let_go(struct held *h)
{
	if (h->at)
		munmap(h->at, h->bytes);
	close(h->fd);
	h->fd = -1;
}

static void do_pool(int *pool)
{
	static const uint32_t flags[] = { 0, 0, LINEUP_POOL_CONTIGUOUS, LINEUP_POOL_SHMEM, LINEUP_POOL_SYNC_CHECK };

	if (*pool >= 0) {
		close(*pool);
		*pool = -1;
		return;
	}
	*pool = pool_new((1 + draw(PAGES_MAX)) * PAGE, 1 + draw(FRAMES_MAX), flags[draw(5)]);
	if (*pool == -ENOMEM)
		atomic_fetch_add(&board->refused, 1);
	else if (*pool < 0)
		FAIL("pool", *pool);
}

static void do_get(int pool, struct held *h)
{
	uint64_t id;
	int fd;

	if (pool < 0)
		return;
	if (h->fd >= 0)
		let_go(h);
	fd = frame_new(pool, &id, NULL);
	atomic_fetch_add(&board->gets_over, fd == -ENODEV);
	if (fd == -EAGAIN || fd == -ENODEV)
		return;
	if (fd < 0)
		FAIL("get", fd);
	atomic_fetch_add(&board->gets, 1);
	atomic_store(&board->ids[draw(IDS)], id);
	take_in(h, fd, 0);
	look(h, 1 + draw(1 << 30));
}

/* Gives a frame away, or lets others use a pool as well. Nothing waits: a full bazaar takes no more. */
static void do_send(int pool, struct held *h)
{
	struct parcel parcel = { .is_pool = draw(3) == 0, .seed = h->seed };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &parcel, sizeof(parcel) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
	int fd = parcel.is_pool ? pool : h->fd;

	if (fd < 0)
		return;
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(bazaar[1], &msg, MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN && errno != ETOOMANYREFS)
			FAIL("send", errno);
	} else if (!parcel.is_pool) {
		let_go(h);
	}
}

static void do_receive(int *pool, struct held *h)
{
	struct parcel parcel;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &parcel, sizeof(parcel) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(bazaar[0], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(parcel) || !CMSG_FIRSTHDR(&msg))
		return;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	if (parcel.is_pool) {
		if (*pool >= 0)
			close(*pool);
		*pool = fd;
		return;
	}
	if (h->fd >= 0)
		let_go(h);
	take_in(h, fd, parcel.seed);
	look(h, 0);
}

static void do_revoke(int pool)
{
	int err;

	if (pool < 0)
		return;
	err = draw(8) ? frame_revoke(pool, atomic_load(&board->ids[draw(IDS)])) : pool_revoke(pool);
	if (err && err != -ENOENT)
		FAIL("revoke", err);
}

static void step(void)
{
	int *pool = &pools[draw(POOLS)];
	struct held *h = &held[draw(FRAMES)];

	switch (draw(16)) {
	case 0:
		do_pool(pool);
		break;
	case 1 ... 5:
		if (*pool < 0)
			do_pool(pool);
		do_get(*pool, h);
		break;
	case 6 ... 9:
		if (h->fd >= 0)
			look(h, draw(2) ? 1 + draw(1 << 30) : 0);
		break;
	case 10:
		if (h->fd >= 0)
			let_go(h);
		break;
	case 11:
	case 12:
		do_send(*pool, h);
		break;
	case 13:
	case 14:
		do_receive(pool, h);
		break;
	default:
		do_revoke(*pool);
	}
}

/* Some die with all they have; where one left off, the next goes on. */
static void live(int i, uint64_t seed, unsigned int operations)
{
	random_state = seed * 1000 + (uint64_t)i * 100 + atomic_fetch_add(&board->lives[i], 1);
	signal(SIGBUS, on_bus);
	while (atomic_load(&board->done[i]) < operations) {
		if (!draw(300))
			raise(SIGKILL);
		step();
		atomic_fetch_add(&board->done[i], 1);
	}
	_exit(0);
}

/* ---- all of them -------------------------------------------------------------------------------------------------------- */

/* Each pool's frames add up, whatever happens to them. */
static const char *pools_add_up(int any)
{
	struct lineup_pool_info info = { 0 };
	uint64_t last = 0;

	for (;;) {
		int err;

		info = (struct lineup_pool_info){ .pool = last, .flags = LINEUP_INFO_NEXT };
		err = call(any, LINEUP_IOC_POOL_INFO, &info);
		if (err)
			return err == -ENOENT ? NULL : "the list of pools fails";
		if (info.pool <= last)
			return "the list of pools does not go on";
		last = info.pool;
		if (info.frames_free + info.frames_out + info.frames_held_back + info.frames_freed + info.frames_lost != info.frames)
			return "a pool's frames do not add up";
		if (info.bytes > info.frames * info.frame_bytes)
			return "a pool is charged more than it has";
	}
}

static bool is_over(int any, const struct lineup_stats *before)
{
	struct lineup_stats now;

	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		if (!stats_get(any, &now) && !now.pools && !now.frames_out && !now.frames_held_back && !now.bytes &&
		    now.gets - before->gets == now.returns - before->returns)
			return true;
		usleep(10000);
	}
	return false;
}

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 1200

TEST(many_at_once_leave_nothing_behind)
{
	uint64_t seed = getenv("LINEUP_SEED") ? strtoull(getenv("LINEUP_SEED"), NULL, 0) : 1;
	unsigned int operations = getenv("LINEUP_OPERATIONS") ? atoi(getenv("LINEUP_OPERATIONS")) : 5000, alive = PROCESSES;
	long long quota = number_read(MAX_BYTES);
	struct lineup_stats before, now;
	const char *wrong = NULL;
	pid_t children[PROCESSES];
	char text[32];
	int any = lineup_open();

	ASSERT_GE(any, 0);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(board, MAP_FAILED);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bazaar), 0);
	snprintf(text, sizeof(text), "%lu", QUOTA_PAGES * PAGE);
	ASSERT_EQ(text_write(MAX_BYTES, text), 0);
	ASSERT_EQ(stats_get(any, &before), 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (!children[i])
			live(i, seed, operations);
	}
	while (alive) {
		alive = 0;
		for (int i = 0; i < PROCESSES; i++) {
			int status;

			if (children[i] > 0 && waitpid(children[i], &status, WNOHANG) == children[i]) {
				children[i] = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? fork() : -1;
				if (!children[i])
					live(i, seed, operations);
				if (children[i] < 0 && (!WIFEXITED(status) || WEXITSTATUS(status)) && !board->failed)
					wrong = "a process died of what it should not";
			}
			alive += children[i] > 0;
		}
		wrong = wrong ? wrong : pools_add_up(any);
		if (!wrong && !stats_get(any, &now) && now.bytes > QUOTA_PAGES * PAGE)
			wrong = "more is pinned than max_bytes";
		usleep(1000);
	}
	close(bazaar[0]);
	close(bazaar[1]);
	snprintf(text, sizeof(text), "%lld", quota);
	EXPECT_EQ(text_write(MAX_BYTES, text), 0);
	ASSERT_FALSE(board->failed) TH_LOG("%s", board->failure);
	ASSERT_EQ(wrong, NULL) TH_LOG("%s", wrong);
	EXPECT_TRUE(is_over(any, &before));
	ASSERT_EQ(stats_get(any, &now), 0);
	/* A pool that is revoked while a frame is taken from it takes that back, but has counted it. */
	EXPECT_GE(now.gets - before.gets, board->gets);
	EXPECT_LE(now.gets - before.gets, board->gets + board->gets_over);
	EXPECT_EQ(now.refused_module + now.refused_memory - before.refused_module - before.refused_memory, board->refused);
	TH_LOG("seed %llu: %llu frames, %llu refusals, %llu revoked", (unsigned long long)seed, (unsigned long long)board->gets,
	       (unsigned long long)board->refused, (unsigned long long)(now.revokes - before.revokes));
}

TEST_HARNESS_MAIN
