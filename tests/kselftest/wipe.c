// SPDX-License-Identifier: MIT
/* A frame's bytes are zero for its next owner, whoever wrote them and however the frame came back. */
#include "kinds.h"

/* Takes frames until the one with that index comes, and leaves that one in self. */
static int take_again(FIXTURE_DATA(frame) *self, const FIXTURE_VARIANT(frame) *variant, uint32_t index)
{
	for (int i = 0; i < FRAMES; i++) {
		int err = frame_take(self, variant);

		if (err || self->index == index)
			return err;
		/* left open on purpose: the next one is another */
	}
	return -ENOENT;
}

TEST_F(frame, is_zero_for_its_next_owner)
{
	struct lineup_stats before, after;
	int any = lineup_open();
	uint32_t index = self->index;

	for (int round = 0; round < 4; round++) {
		fill(self->at, round + 1, FRAME_BYTES);
		ASSERT_EQ(stats_get(any, &before), 0);
		frame_drop(self);
		ASSERT_TRUE(frames_come_back(self->pool, 1));
		ASSERT_EQ(stats_get(any, &after), 0);
		EXPECT_EQ(after.bytes_wiped - before.bytes_wiped, FRAME_BYTES);
		ASSERT_EQ(take_again(self, variant, index), 0);
		ASSERT_EQ(not_zero(self->at, FRAME_BYTES), -1) TH_LOG("round %d", round);
	}
	close(any);
}

/* The last reference is a mapping, through which the last byte is written after everything else is closed. */
TEST_F(frame, is_zero_after_a_write_through_the_last_mapping)
{
	uint32_t index = self->index;

	close(self->fd);
	fill(self->at, 1, FRAME_BYTES);
	munmap(self->at, FRAME_BYTES);
	ASSERT_TRUE(frames_come_back(self->pool, FRAMES));
	ASSERT_EQ(take_again(self, variant, index), 0);
	EXPECT_EQ(not_zero(self->at, FRAME_BYTES), -1);
}

TEST_F(frame, is_zero_when_its_holder_was_killed)
{
	uint32_t index = self->index;
	pid_t child;
	int go[2];

	ASSERT_EQ(pipe(go), 0);
	child = fork();
	if (!child) {
		fill(self->at, 1, FRAME_BYTES);
		if (write(go[1], "", 1) != 1)
			_exit(1);
		for (;;)
			fill(self->at, 2, FRAME_BYTES);
	}
	ASSERT_EQ(read(go[0], &(char){ 0 }, 1), 1);
	frame_drop(self);
	kill(child, SIGKILL);
	ASSERT_EQ(child_end(child), 256 + SIGKILL);
	ASSERT_TRUE(frames_come_back(self->pool, FRAMES));
	ASSERT_EQ(take_again(self, variant, index), 0);
	EXPECT_EQ(not_zero(self->at, FRAME_BYTES), -1);
}

TEST(a_frame_of_the_heap_is_zero_for_its_next_owner)
{
	for (int round = 0; round < 32; round++) {
		int fd = heap_new(FRAME_BYTES);
		uint8_t *at = map(fd, FRAME_BYTES, 0);

		ASSERT_NE(at, MAP_FAILED);
		ASSERT_EQ(not_zero(at, FRAME_BYTES), -1) TH_LOG("round %d", round);
		fill(at, round + 1, FRAME_BYTES);
		munmap(at, FRAME_BYTES);
		close(fd);
	}
}

/* New pools, of memory that was somebody's: filled by a process that has just gone. The guest does not clear pages on its own. */
TEST_F(frame, is_zero_in_a_new_pool_of_used_memory)
{
	size_t bytes = 64ul << 20;
	pid_t child = fork();

	if (!child) {
		uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED)
			_exit(1);
		memset(at, 0x5a, bytes);
		_exit(0);
	}
	ASSERT_EQ(child_end(child), 0);
	for (int i = 0; i < 32; i++) {
		int pool = pool_new(FRAME_BYTES, 1, variant->flags), fd;
		uint8_t *at;

		ASSERT_GE(pool, 0);
		fd = frame_new(pool, NULL, NULL);
		ASSERT_GE(fd, 0);
		at = map(fd, FRAME_BYTES, 0);
		ASSERT_NE(at, MAP_FAILED);
		ASSERT_EQ(not_zero(at, FRAME_BYTES), -1) TH_LOG("pool %d", i);
		/* all of it stays until the test ends, so that each pool has other memory */
	}
}

TEST_HARNESS_MAIN
