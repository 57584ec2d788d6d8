// SPDX-License-Identifier: MIT
/* Prints what the module has now, one "name number" a line: all zero when nobody uses it. */
#include "common.h"

int main(void)
{
	struct lineup_stats stats;
	int err = -1;

	/* What goes in another task returns a moment later. */
	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		int fd = lineup_open();

		err = fd < 0 ? fd : stats_get(fd, &stats);
		close(fd);
		if (err || !(stats.bytes | stats.pools | stats.frames_out | stats.frames_held_back | stats.fences))
			break;
		usleep(10000);
	}
	if (err) {
		printf("error %d\n", err);
		return 1;
	}
	printf("bytes %llu\npools %u\nframes_out %u\nframes_held_back %u\nfences %u\nuser_locked_bytes %llu\n",
	       (unsigned long long)stats.bytes, stats.pools, stats.frames_out, stats.frames_held_back, stats.fences,
	       (unsigned long long)stats.user_locked_bytes);
	return 0;
}
