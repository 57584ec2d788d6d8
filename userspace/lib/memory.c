// SPDX-License-Identifier: MIT
// Memory that is more than malloc's: probes that must leave no trace, and large pages for galleries.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "internal.h"

enum { HUGE_BYTES = 2 << 20 };

static size_t page_round(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return round_up(size ? size : 1, page);
}

void *lineup_secret_alloc(struct lineup_ctx *ctx, size_t size)
{
	size_t length = page_round(size);
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* Fails only for a range or an advice the kernel does not know: then the promise cannot be kept. */
	if (madvise(p, length, MADV_DONTDUMP)) {
		munmap(p, length);
		return NULL;
	}
	if (mlock(p, length))
		lineup_warn_once(ctx, LINEUP_ONCE_LOCK,
				 "probes: RLIMIT_MEMLOCK is too low to lock %zu KiB in memory: they could reach swap space", length >> 10);
	return p;
}

void lineup_secret_free(void *p, size_t size)
{
	if (!p)
		return;
	explicit_bzero(p, size);
	munmap(p, page_round(size));
}

/* Where huge pages are switched off, for the system or for this process, madvise succeeds all the same. */
static bool huge_pages_off(void)
{
	char text[64] = "";
	int fd;

	if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1)
		return true;
	fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false; /* built without them: madvise says so */
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return strstr(text, "[never]");
}

void *lineup_pages_alloc(struct lineup_ctx *ctx, size_t size)
{
	size_t length = round_up(size ? size : 1, HUGE_BYTES);
	uint8_t *p = mmap(NULL, length + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *aligned;

	if (p == MAP_FAILED)
		return NULL;
	aligned = (uint8_t *)round_up((uintptr_t)p, HUGE_BYTES);
	if (aligned > p)
		munmap(p, (size_t)(aligned - p));
	munmap(aligned + length, (size_t)(p + HUGE_BYTES - aligned));
	if (madvise(aligned, length, MADV_HUGEPAGE))
		lineup_warn_once(ctx, LINEUP_ONCE_HUGEPAGE, "memory: no huge pages here (%s): scans of a resident gallery are slower",
				 strerror(errno));
	else if (huge_pages_off())
		lineup_warn_once(ctx, LINEUP_ONCE_HUGEPAGE, "memory: huge pages are switched off: scans of a resident gallery are slower");
	madvise(aligned, length, MADV_DONTDUMP);
	return aligned;
}

void lineup_pages_free(void *p, size_t size)
{
	if (p)
		munmap(p, round_up(size ? size : 1, HUGE_BYTES));
}
