// SPDX-License-Identifier: MIT
/* Quota: what a user without privilege may pin, what all may, what a memory cgroup may; and who may open the nodes at all. */
#include <grp.h>
#include <linux/io_uring.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include "common.h"

#define USER 1000
#define OTHER_USER 1001
#define GROUP 990		/* stands for group "lineup"; the guest gives it the nodes, as the udev rule would */
#define LIMIT (16 * PAGE)
#define MAX_BYTES "/sys/module/lineup/parameters/max_bytes"
#define CGROUP "/tmp/cgroup"

/* Becomes a user without privilege and with a small limit. */
static void become(uid_t user, gid_t group, size_t limit)
{
	struct rlimit arg = { limit, limit };

	if (setrlimit(RLIMIT_MEMLOCK, &arg) || setgroups(0, NULL) || setresgid(group, group, group) || setresuid(user, user, user))
		abort();
}

TEST(nodes_are_for_the_owner_and_the_group)
{
	static const char *const nodes[] = { "/dev/lineup", "/dev/dma_heap/lineup" };
	struct stat st;

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(stat(nodes[i], &st), 0);
		EXPECT_TRUE(S_ISCHR(st.st_mode));
		EXPECT_EQ(st.st_mode & 07777, 0660);
		EXPECT_EQ(st.st_uid, 0);
	}
}

TEST(others_cannot_open_the_nodes)
{
	become(USER, USER, LIMIT);
	EXPECT_EQ(lineup_open(), -EACCES);
	EXPECT_EQ(heap_new(PAGE), -EACCES);
}

TEST(a_user_gets_his_limit_and_not_a_page_more)
{
	struct lineup_stats stats;
	int any, pool;

	become(USER, GROUP, LIMIT);
	any = lineup_open();
	ASSERT_GE(any, 0);
	ASSERT_EQ(stats_get(any, &stats), 0);
	EXPECT_EQ(stats.user_bytes, 0);
	EXPECT_EQ(stats.user_bytes_max, LIMIT);
	EXPECT_EQ(pool_new(LIMIT + 1, 1, 0), -EDQUOT);
	EXPECT_EQ(pool_new(PAGE, LIMIT / PAGE + 1, 0), -EDQUOT);
	EXPECT_EQ(heap_new(LIMIT + 1), -EDQUOT);
	pool = pool_new(LIMIT, 1, 0);
	ASSERT_GE(pool, 0);
	ASSERT_EQ(stats_get(any, &stats), 0);
	EXPECT_EQ(stats.user_bytes, LIMIT);
	EXPECT_EQ(stats.user_locked_bytes, LIMIT);
	EXPECT_EQ(pool_new(1, 1, 0), -EDQUOT);
	EXPECT_EQ(heap_new(1), -EDQUOT);
	close(pool);
	pool = heap_new(LIMIT);
	EXPECT_GE(pool, 0);
	close(pool);
}

TEST(pools_add_up_and_give_back)
{
	int pool[4];

	become(USER, GROUP, LIMIT);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++) {
			pool[i] = pool_new(PAGE, LIMIT / PAGE / 4, 0);
			ASSERT_GE(pool[i], 0) TH_LOG("round %d, pool %d", round, i);
		}
		EXPECT_EQ(pool_new(1, 1, 0), -EDQUOT);
		close(pool[round]);
		pool[round] = heap_new(LIMIT / 4);
		ASSERT_GE(pool[round], 0);
		EXPECT_EQ(heap_new(1), -EDQUOT);
		for (int i = 0; i < 4; i++)
			close(pool[i]);
	}
}

TEST(each_kind_of_memory_is_charged)
{
	static const uint32_t flags[] = {
		0, LINEUP_POOL_CONTIGUOUS, LINEUP_POOL_WRITE_COMBINE, LINEUP_POOL_SHMEM, LINEUP_POOL_SYNC_CHECK
	};

	become(USER, GROUP, LIMIT);
	for (int i = 0; i < 5; i++) {
		int pool = pool_new(LIMIT, 1, flags[i]);

		if (pool == -EOPNOTSUPP)
			continue;
		ASSERT_GE(pool, 0) TH_LOG("flags %x", flags[i]);
		EXPECT_EQ(pool_new(1, 1, flags[i]), -EDQUOT);
		close(pool);
	}
}

/* A refusal says so in the counters, and leaves no charge and no pool. */
TEST(a_refusal_is_counted_and_costs_nothing)
{
	struct lineup_stats before, after;
	int any;

	become(USER, GROUP, LIMIT);
	any = lineup_open();
	ASSERT_EQ(stats_get(any, &before), 0);
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(pool_new(LIMIT + 1, 1, 0), -EDQUOT);
	}
	ASSERT_EQ(stats_get(any, &after), 0);
	EXPECT_EQ(after.refused_user - before.refused_user, 10);
	EXPECT_EQ(after.bytes, before.bytes);
	EXPECT_EQ(after.user_bytes, before.user_bytes);
	EXPECT_EQ(after.user_locked_bytes, before.user_locked_bytes);
	EXPECT_EQ(after.pools, before.pools);
}

TEST(a_frame_that_outlives_its_pool_is_still_charged)
{
	int pool, fd;

	become(USER, GROUP, LIMIT);
	pool = pool_new(LIMIT / 2, 2, 0);
	fd = frame_new(pool, NULL, NULL);
	ASSERT_GE(fd, 0);
	close(pool);
	EXPECT_EQ(pool_new(LIMIT, 1, 0), -EDQUOT);
	pool = pool_new(LIMIT / 2, 1, 0);
	EXPECT_GE(pool, 0);
	close(pool);
	close(fd);
	pool = pool_new(LIMIT, 1, 0);
	EXPECT_GE(pool, 0);
}

/* One user's processes share his limit; another user has his own; root has none. */
TEST(a_limit_is_a_users)
{
	int go[2], done[2], pool;
	pid_t child;

	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(pipe(done), 0);
	child = fork();
	if (!child) {
		become(USER, GROUP, LIMIT);
		if (pool_new(LIMIT, 1, 0) < 0 || write(go[1], "", 1) != 1 || read(done[0], &(char){ 0 }, 1) < 0)
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(read(go[0], &(char){ 0 }, 1), 1);
	pool = pool_new(2 * LIMIT, 1, 0);
	EXPECT_GE(pool, 0);
	for (int i = 0; i < 2; i++) {
		pid_t user = fork();

		if (!user) {
			become(i ? OTHER_USER : USER, GROUP, LIMIT);
			pool = pool_new(LIMIT, 1, 0);
			_exit(i ? pool < 0 : pool != -EDQUOT);
		}
		EXPECT_EQ(child_end(user), 0) TH_LOG("user %d", i);
	}
	ASSERT_EQ(write(done[1], "", 1), 1);
	EXPECT_EQ(child_end(child), 0);
}

/* A user sees the pools of his own only; root sees all. */
TEST(a_user_sees_his_own_pools)
{
	struct lineup_pool_info info;
	int root = pool_new(PAGE, 1, 0), theirs;
	uint64_t id;

	ASSERT_EQ(pool_info(root, 0, &info), 0);
	id = info.pool;
	EXPECT_EQ(pool_info(root, id, &info), 0);
	become(USER, GROUP, LIMIT);
	theirs = pool_new(PAGE, 1, 0);
	ASSERT_GE(theirs, 0);
	EXPECT_EQ(pool_info(theirs, id, &info), -ENOENT);
	memset(&info, 0, sizeof(info));
	info.flags = LINEUP_INFO_NEXT;
	ASSERT_EQ(call(theirs, LINEUP_IOC_POOL_INFO, &info), 0);
	EXPECT_EQ(info.uid, USER);
	info.flags = LINEUP_INFO_NEXT;
	info = (struct lineup_pool_info){ .pool = info.pool, .flags = LINEUP_INFO_NEXT };
	EXPECT_EQ(call(theirs, LINEUP_IOC_POOL_INFO, &info), -ENOENT);
}

/* io_uring's registered buffers count against the same limit. */
TEST(io_uring_and_pools_share_the_limit)
{
	void *buffer = mmap(NULL, LIMIT / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec { void *base; size_t bytes; } iov = { buffer, LIMIT / 2 };
	struct io_uring_params params = { 0 };
	struct lineup_stats stats;
	int ring, pool;

	become(USER, GROUP, LIMIT);
	ring = syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0)
		SKIP(return, "no io_uring for users");
	ASSERT_EQ(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1), 0);
	EXPECT_EQ(pool_new(LIMIT / 2 + 1, 1, 0), -EDQUOT);
	pool = pool_new(LIMIT / 2, 1, 0);
	ASSERT_GE(pool, 0);
	ASSERT_EQ(stats_get(pool, &stats), 0);
	EXPECT_EQ(stats.user_bytes, LIMIT / 2);
	EXPECT_EQ(stats.user_locked_bytes, LIMIT);
	iov.bytes = PAGE;
	ring = syscall(SYS_io_uring_setup, 4, &params);
	EXPECT_EQ(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1), -1);
}

TEST(the_module_has_a_limit_of_its_own)
{
	struct lineup_stats before, after;
	long long max = number_read(MAX_BYTES);
	int any = lineup_open(), pool;
	char text[32];

	ASSERT_GE(max, 0);
	ASSERT_EQ(stats_get(any, &before), 0);
	EXPECT_EQ(before.user_bytes_max, LINEUP_UNLIMITED);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)before.bytes + 4 * PAGE);
	ASSERT_EQ(text_write(MAX_BYTES, text), 0);
	EXPECT_EQ(pool_new(PAGE, 5, 0), -ENOMEM);
	EXPECT_EQ(heap_new(5 * PAGE), -ENOMEM);
	pool = pool_new(PAGE, 4, 0);
	EXPECT_GE(pool, 0);
	EXPECT_EQ(pool_new(PAGE, 1, 0), -ENOMEM);
	ASSERT_EQ(stats_get(any, &after), 0);
	EXPECT_EQ(after.bytes_max, before.bytes + 4 * PAGE);
	EXPECT_EQ(after.refused_module - before.refused_module, 3);
	close(pool);
	snprintf(text, sizeof(text), "%lld", max);
	ASSERT_EQ(text_write(MAX_BYTES, text), 0);
}

FIXTURE(cgroup)
{
	bool have;
};

FIXTURE_SETUP(cgroup)
{
	mkdir(CGROUP, 0755);
	if (mount("cgroup2", CGROUP, "cgroup2", 0, NULL) || text_write(CGROUP "/cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory cgroups");
	ASSERT_EQ(mkdir(CGROUP "/small", 0755), 0);
	self->have = true;
}

FIXTURE_TEARDOWN(cgroup)
{
	if (self->have) {
		text_write(CGROUP "/cgroup.procs", "0");
		rmdir(CGROUP "/small");
	}
	umount2(CGROUP, MNT_DETACH);
}

TEST_F(cgroup, frames_are_charged_to_the_memory_cgroup)
{
	static const uint32_t flags[] = { 0, LINEUP_POOL_CONTIGUOUS, LINEUP_POOL_SHMEM };
	const long long bytes = 8 << 20;

	ASSERT_EQ(text_write(CGROUP "/small/cgroup.procs", "0"), 0);
	for (int i = 0; i < 3; i++) {
		long long before = number_read(CGROUP "/small/memory.current"), with;
		int pool = pool_new(bytes / 8, 8, flags[i]);

		ASSERT_GE(pool, 0);
		with = number_read(CGROUP "/small/memory.current");
		EXPECT_GE(with - before, bytes * 9 / 10) TH_LOG("flags %x", flags[i]);
		EXPECT_LE(with - before, bytes * 12 / 10) TH_LOG("flags %x", flags[i]);
		close(pool);
	}
	ASSERT_EQ(text_write(CGROUP "/cgroup.procs", "0"), 0);
}

/* The cgroup refuses; the process is not killed, and can go on with less. */
TEST_F(cgroup, a_full_memory_cgroup_refuses_and_kills_nobody)
{
	static const uint32_t flags[] = { 0, LINEUP_POOL_CONTIGUOUS, LINEUP_POOL_SHMEM };
	pid_t child;

	ASSERT_EQ(text_write(CGROUP "/small/memory.max", "33554432"), 0);
	child = fork();
	if (!child) {
		if (text_write(CGROUP "/small/cgroup.procs", "0"))
			_exit(1);
		for (int i = 0; i < 3; i++) {
			int pool = pool_new(1 << 20, 64, flags[i]);

			if (pool != -ENOMEM)
				_exit(10 + i);
			pool = pool_new(1 << 20, 8, flags[i]);
			if (pool < 0)
				_exit(20 + i);
			close(pool);
		}
		_exit(0);
	}
	EXPECT_EQ(child_end(child), 0);
}

TEST_HARNESS_MAIN
