// SPDX-License-Identifier: MIT
/* Brackets of DMA_BUF_IOCTL_SYNC, and the checking of them: which accesses are counted, and that nobody pays who did not ask. */
#include "kinds.h"

#define TRACE "/sys/kernel/tracing/"

TEST_F(frame, brackets_nest_and_bad_flags_are_refused)
{
	struct dma_buf_sync bad = { .flags = DMA_BUF_SYNC_START };

	EXPECT_EQ(call(self->fd, DMA_BUF_IOCTL_SYNC, &bad), -EINVAL);
	bad.flags = 0x80;
	EXPECT_EQ(call(self->fd, DMA_BUF_IOCTL_SYNC, &bad), -EINVAL);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_RW), 0);
	}
	self->at[0] = 1;
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(sync_end(self->fd, DMA_BUF_SYNC_RW), 0);
	}
	EXPECT_EQ(self->at[0], 1);
}

FIXTURE(checked)
{
	int pool;
	int fd;
	uint8_t *at;
};

FIXTURE_SETUP(checked)
{
	self->pool = pool_new(4 * PAGE, 1, LINEUP_POOL_SYNC_CHECK);
	ASSERT_GE(self->pool, 0);
	self->fd = frame_new(self->pool, NULL, NULL);
	ASSERT_GE(self->fd, 0);
	self->at = map(self->fd, 4 * PAGE, 0);
	ASSERT_NE(self->at, MAP_FAILED);
}

FIXTURE_TEARDOWN(checked)
{
	munmap(self->at, 4 * PAGE);
	close(self->fd);
	close(self->pool);
}

static uint64_t violations(int pool)
{
	struct lineup_pool_info info;

	return pool_info(pool, 0, &info) ? UINT64_MAX : info.sync_violations;
}

TEST_F(checked, access_inside_a_bracket_is_not_counted)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_RW), 0);
		fill(self->at, i, 4 * PAGE);
		EXPECT_EQ(differs(self->at, i, 4 * PAGE), -1);
		ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_RW), 0);
	}
	EXPECT_EQ(violations(self->pool), 0);
}

TEST_F(checked, access_before_the_first_bracket_is_counted_and_proceeds)
{
	EXPECT_EQ(self->at[5], 0);
	EXPECT_EQ(violations(self->pool), 1);
}

TEST_F(checked, access_after_a_bracket_is_counted_once_for_each)
{
	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_RW), 0);
		fill(self->at, i, 4 * PAGE);
		ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_RW), 0);
		EXPECT_EQ(differs(self->at, i, PAGE), -1);
		EXPECT_EQ(violations(self->pool), (uint64_t)i);
	}
}

TEST_F(checked, only_the_last_end_closes_the_bracket)
{
	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_READ), 0);
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
	(void)*(volatile uint8_t *)self->at;
	EXPECT_EQ(violations(self->pool), 0);
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_READ), 0);
	(void)*(volatile uint8_t *)self->at;
	EXPECT_EQ(violations(self->pool), 1);
}

TEST_F(checked, another_process_is_caught_too)
{
	pid_t child;

	ASSERT_EQ(sync_begin(self->fd, DMA_BUF_SYNC_RW), 0);
	self->at[0] = 1;
	ASSERT_EQ(sync_end(self->fd, DMA_BUF_SYNC_RW), 0);
	child = fork();
	if (!child)
		_exit(self->at[0] != 1);
	ASSERT_EQ(child_end(child), 0);
	EXPECT_EQ(violations(self->pool), 1);
}

/* The trace names the task that did it. */
TEST_F(checked, a_violation_is_traced_with_its_task)
{
	static char text[65536];
	char task[16];
	ssize_t n;
	int fd;

	if (text_write(TRACE "events/lineup/lineup_sync_violation/enable", "1"))
		SKIP(return, "no tracing in this kernel");
	text_write(TRACE "trace", "");
	(void)*(volatile uint8_t *)(self->at + PAGE + 5);
	EXPECT_EQ(violations(self->pool), 1);
	fd = open(TRACE "trace", O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text_write(TRACE "events/lineup/lineup_sync_violation/enable", "0");
	ASSERT_GT(n, 0);
	text[n] = 0;
	EXPECT_NE(strstr(text, "lineup_sync_violation"), NULL);
	snprintf(task, sizeof(task), "-%d ", getpid());
	EXPECT_NE(strstr(text, task), NULL) TH_LOG("%s", text);
	EXPECT_NE(strstr(text, "offset=4096 "), NULL) TH_LOG("%s", text);
}

TEST(a_pool_that_did_not_ask_counts_nothing)
{
	int pool = pool_new(PAGE, 1, 0), fd = frame_new(pool, NULL, NULL);
	uint8_t *at = map(fd, PAGE, 0);

	ASSERT_NE(at, MAP_FAILED);
	at[0] = 1;
	ASSERT_EQ(sync_begin(fd, DMA_BUF_SYNC_RW), 0);
	ASSERT_EQ(sync_end(fd, DMA_BUF_SYNC_RW), 0);
	at[0] = 2;
	EXPECT_EQ(violations(pool), 0);
	close(pool);
}

TEST_HARNESS_MAIN
