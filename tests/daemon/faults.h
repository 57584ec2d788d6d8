/* SPDX-License-Identifier: MIT */
/* The switches of the preloaded faults: a file that the test maps as well, named by $LINEUP_FAULTS. All numbers are 32 bits, little-endian. */
#ifndef TEST_DAEMON_FAULTS_H
#define TEST_DAEMON_FAULTS_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct faults {
	atomic_uint sync_error;    /* errno of fdatasync and fsync of regular files; 0: as they are */
	atomic_uint write_error;   /* of pwrite and write to regular files */
	atomic_uint read_error;    /* of pread of regular files */
	atomic_uint hold_sync;     /* not 0: fdatasync and fsync wait until it is */
	atomic_uint held;          /* how many wait now */
	atomic_uint injected;      /* calls that failed by one of these */
	atomic_int clock_seconds;  /* added to the clock of the day */
	atomic_uint device_lost;   /* not 0: the GPU refuses all work */
	atomic_uint submissions;   /* to the GPU so far */
};

/* NULL without $LINEUP_FAULTS. */
static inline struct faults *faults_map(void)
{
	const char *path = getenv("LINEUP_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	return map == MAP_FAILED ? NULL : map;
}

#endif
