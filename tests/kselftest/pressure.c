// SPDX-License-Identifier: MIT
/*
 * Memory pressure: a pool gives its frames whatever the rest of the machine does, and a pool that does not fit is refused, not
 * waited for.
 */
#include <sched.h>
#include <signal.h>
#include <sys/sysinfo.h>
#include "kinds.h"

static uint64_t memory_available(void)
{
	char line[128];
	unsigned long long kb = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb << 10;
}

/* A process that takes all memory but so much, says so, and keeps it. The kernel's choice, if it has to kill somebody. */
static pid_t hog(uint64_t leave, int told)
{
	pid_t child = fork();

	if (child)
		return child;
	text_write("/proc/self/oom_score_adj", "1000");
	while (memory_available() > leave) {
		void *at = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED)
			break;
		memset(at, 0x5a, 4 << 20);
	}
	if (write(told, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* While memory is short: every frame can be had, used and given back, and is zero each time. */
TEST_F(frame, frames_can_be_had_when_memory_cannot)
{
	int told[2], pool;
	pid_t child;

	ASSERT_EQ(pipe(told), 0);
	frame_drop(self);
	pool = pool_new(FRAME_BYTES, 32, variant->flags);
	ASSERT_GE(pool, 0);
	child = hog(24 << 20, told[1]);
	close(told[1]);
	/* if the kernel killed it already, its end of the pipe is closed: that is pressure enough */
	(void)!read(told[0], &(char){ 0 }, 1);
	for (int round = 0; round < 3; round++) {
		int fd[32];

		for (int i = 0; i < 32; i++) {
			fd[i] = frame_new(pool, NULL, NULL);
			ASSERT_GE(fd[i], 0) TH_LOG("round %d, frame %d: %s", round, i, strerror(-fd[i]));
			self->at = map(fd[i], FRAME_BYTES, 0);
			ASSERT_NE(self->at, MAP_FAILED);
			ASSERT_EQ(sync_begin(fd[i], DMA_BUF_SYNC_RW), 0);
			ASSERT_EQ(not_zero(self->at, FRAME_BYTES), -1);
			fill(self->at, i + 1, FRAME_BYTES);
			ASSERT_EQ(differs(self->at, i + 1, FRAME_BYTES), -1);
			ASSERT_EQ(sync_end(fd[i], DMA_BUF_SYNC_RW), 0);
			munmap(self->at, FRAME_BYTES);
			self->at = MAP_FAILED;
		}
		for (int i = 0; i < 32; i++)
			close(fd[i]);
		ASSERT_TRUE(frames_come_back(pool, 32));
	}
	kill(child, SIGKILL);
	child_end(child);
	close(pool);
}

/* Frames are where they are: the kernel may move and reclaim what it likes around them. */
TEST_F(frame, compaction_and_reclaim_leave_frames_alone)
{
	for (int round = 0; round < 3; round++) {
		fill(self->at, round + 1, FRAME_BYTES);
		text_write("/proc/sys/vm/drop_caches", "3");
		text_write("/proc/sys/vm/compact_memory", "1");
		ASSERT_EQ(differs(self->at, round + 1, FRAME_BYTES), -1);
	}
}

/* More than there is, by a module whose limit allows it: refused in the end, everything given back, nobody killed. */
TEST_F(frame, a_pool_that_does_not_fit_is_refused_and_kills_nobody)
{
	static const char *const max = "/sys/module/lineup/parameters/max_bytes";
	long long was = number_read(max);
	struct lineup_stats before, after;
	struct sysinfo info;
	uint64_t bytes;
	char text[32];
	pid_t child;

	sysinfo(&info);
	bytes = (uint64_t)info.totalram * info.mem_unit;
	ASSERT_EQ(text_write(max, "1099511627776"), 0);
	ASSERT_EQ(stats_get(self->pool, &before), 0);
	child = fork();
	if (!child) {
		/* the first to be killed, if anybody was */
		text_write("/proc/self/oom_score_adj", "1000");
		_exit(pool_new(FRAME_BYTES, bytes / FRAME_BYTES, variant->flags) != -ENOMEM);
	}
	EXPECT_EQ(child_end(child), 0);
	snprintf(text, sizeof(text), "%lld", was);
	ASSERT_EQ(text_write(max, text), 0);
	ASSERT_EQ(stats_get(self->pool, &after), 0);
	EXPECT_EQ(after.bytes, before.bytes);
	EXPECT_EQ(after.pools, before.pools);
	EXPECT_GE(after.refused_memory, before.refused_memory + 1);
}

TEST_HARNESS_MAIN
