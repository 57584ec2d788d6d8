// SPDX-License-Identifier: MIT
// Preloaded into the daemon by its tests: a disk that fails or stalls, and a clock of the day that jumps, as faults.h says.
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include "faults.h"

static struct faults none;
static struct faults *faults = &none;

__attribute__((constructor)) static void begin(void)
{
	struct faults *mapped = faults_map();

	if (mapped)
		faults = mapped;
}

#define NEXT(name) static typeof(name) *next; if (!next) next = (typeof(name) *)dlsym(RTLD_NEXT, #name)

static bool regular(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode);
}

/* Whether the call on @fd is to fail, with errno set. */
static bool fails(int fd, atomic_uint *error)
{
	uint32_t err = *error;

	if (!err || !regular(fd))
		return false;
	faults->injected++;
	errno = (int)err;
	return true;
}

static void hold(int fd)
{
	if (!faults->hold_sync || !regular(fd))
		return;
	faults->held++;
	while (faults->hold_sync)
		usleep(1000);
	faults->held--;
}

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int fdatasync(int fd)
{
	NEXT(fdatasync);
	hold(fd);
	return fails(fd, &faults->sync_error) ? -1 : next(fd);
}

EXPORTED int fsync(int fd)
{
	NEXT(fsync);
	hold(fd);
	return fails(fd, &faults->sync_error) ? -1 : next(fd);
}

EXPORTED ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	NEXT(pwrite);
	return fails(fd, &faults->write_error) ? -1 : next(fd, data, size, offset);
}

EXPORTED ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	NEXT(pwrite64);
	return fails(fd, &faults->write_error) ? -1 : next(fd, data, size, offset);
}

EXPORTED ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	NEXT(pread);
	return fails(fd, &faults->read_error) ? -1 : next(fd, data, size, offset);
}

EXPORTED ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
	NEXT(pread64);
	return fails(fd, &faults->read_error) ? -1 : next(fd, data, size, offset);
}

EXPORTED int clock_gettime(clockid_t clock, struct timespec *t)
{
	NEXT(clock_gettime);
	int err = next(clock, t);

	if (!err && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		t->tv_sec += faults->clock_seconds;
	return err;
}

EXPORTED time_t time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

EXPORTED int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}
