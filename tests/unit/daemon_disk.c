// SPDX-License-Identifier: MIT
// A VFS that remembers what was written since the last sync of each file, to take an arbitrary part of it away.
#include "daemon_disk.h"

#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHANGES_MAX = 4096, PATHS_MAX = 512 };

/* A write or a truncation that is not synced: what was there, and what was to be there. */
struct change {
	char path[PATHS_MAX];
	off_t offset, size_before;
	char *before, *after;     /* [size_old], [size]; .after NULL: truncated to .offset */
	size_t size_old, size;
};

struct disk_file {
	sqlite3_file base;
	char path[PATHS_MAX];
	sqlite3_file *real;
};

static sqlite3_vfs *below;
static enum daemon_disk_fault fault;
static uint64_t fault_at, counted, seed;
static struct change changes[CHANGES_MAX];
static size_t change_count;

static unsigned int pick(unsigned int n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(seed >> 33) % n;
}

static void drop(size_t i)
{
	free(changes[i].before);
	free(changes[i].after);
}

static void remember(const char *path, const void *data, size_t size, off_t offset)
{
	struct change *c = &changes[change_count++];
	int fd = open(path, O_RDONLY);
	struct stat st;
	ssize_t n;

	assert(change_count < CHANGES_MAX && fd >= 0 && !fstat(fd, &st));
	*c = (struct change){ .offset = offset, .size_before = st.st_size, .size = size };
	strcpy(c->path, path);
	c->size_old = data ? size : st.st_size > offset ? (size_t)(st.st_size - offset) : 0;
	c->before = malloc(c->size_old + 1);
	n = pread(fd, c->before, c->size_old, offset);
	c->size_old = n > 0 ? (size_t)n : 0;
	close(fd);
	if (data) {
		c->after = malloc(size + 1);
		memcpy(c->after, data, size);
	}
}

static void synced(const char *path)
{
	size_t kept = 0;

	for (size_t i = 0; i < change_count; i++) {
		if (strcmp(changes[i].path, path) == 0)
			drop(i);
		else
			changes[kept++] = changes[i];
	}
	change_count = kept;
}

/* Everything not synced is undone, from the last to the first; then some of it is done again, some of that in part. */
static void lose_power(void)
{
	for (size_t i = change_count; i--;) {
		int fd = open(changes[i].path, O_RDWR);

		if (fd < 0)
			continue;
		if (pwrite(fd, changes[i].before, changes[i].size_old, changes[i].offset) < 0 ||
		    ftruncate(fd, changes[i].size_before))
			abort();
		close(fd);
	}
	for (size_t i = 0; i < change_count; i++) {
		struct change *c = &changes[i];
		int fd = open(c->path, O_RDWR);
		size_t size = c->size > 512 && !pick(3) ? 512 * pick((unsigned int)(c->size / 512)) : c->size;

		if (fd >= 0 && pick(2) && (c->after ? pwrite(fd, c->after, size, c->offset) < 0 : ftruncate(fd, c->offset)))
			abort();
		if (fd >= 0)
			close(fd);
	}
	_exit(DISK_LOST);
}

/* Counts a change; SQLITE_OK: it may be made. */
static int change(int code)
{
	counted++;
	if (!fault_at || counted < fault_at || (counted > fault_at && fault != DISK_STAYS_BAD))
		return SQLITE_OK;
	switch (fault) {
	case DISK_POWER_LOSS: lose_power(); return code;
	case DISK_FULL: return SQLITE_FULL;
	case DISK_WHOLE: return SQLITE_OK;
	default: return code;
	}
}

static sqlite3_file *real(sqlite3_file *file)
{
	return ((struct disk_file *)file)->real;
}

static int disk_close(sqlite3_file *file)
{
	sqlite3_file *r = real(file);
	int code = r->pMethods ? r->pMethods->xClose(r) : SQLITE_OK;

	free(r);
	return code;
}

static int disk_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	return real(file)->pMethods->xRead(real(file), data, size, offset);
}

static int disk_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	int code = change(SQLITE_IOERR_WRITE);

	if (code != SQLITE_OK)
		return code;
	remember(((struct disk_file *)file)->path, data, (size_t)size, offset);
	return real(file)->pMethods->xWrite(real(file), data, size, offset);
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int code = change(SQLITE_IOERR_TRUNCATE);

	if (code != SQLITE_OK)
		return code;
	remember(((struct disk_file *)file)->path, NULL, 0, size);
	return real(file)->pMethods->xTruncate(real(file), size);
}

static int disk_sync(sqlite3_file *file, int flags)
{
	int code = change(SQLITE_IOERR_FSYNC);

	(void)flags;
	if (code == SQLITE_OK)
		synced(((struct disk_file *)file)->path);
	return code;
}

static int disk_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real(file)->pMethods->xFileSize(real(file), size);
}

static int disk_lock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xLock(real(file), level);
}

static int disk_unlock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xUnlock(real(file), level);
}

static int disk_reserved(sqlite3_file *file, int *out)
{
	return real(file)->pMethods->xCheckReservedLock(real(file), out);
}

static int disk_control(sqlite3_file *file, int op, void *arg)
{
	return op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE
		       ? SQLITE_NOTFOUND
		       : real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int disk_sector(sqlite3_file *file)
{
	return real(file)->pMethods->xSectorSize(real(file));
}

/* No promises: not even that a write touches nothing beside it. */
static int disk_traits(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static int disk_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags, int *out)
{
	static const sqlite3_io_methods methods = {
		1,	   disk_close,	disk_read,     disk_write,   disk_truncate, disk_sync,	 disk_size,
		disk_lock, disk_unlock, disk_reserved, disk_control, disk_sector,   disk_traits, NULL,
		NULL,	   NULL,	NULL,	       NULL,	     NULL,
	};
	struct disk_file *f = (struct disk_file *)file;
	int code;

	(void)vfs;
	*f = (struct disk_file){ .real = calloc(1, (size_t)below->szOsFile) };
	if (path)
		strncpy(f->path, path, sizeof(f->path) - 1);
	code = below->xOpen(below, path, f->real, flags, out);
	if (code == SQLITE_OK)
		f->base.pMethods = &methods;
	else
		free(f->real);
	return code;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	int code = change(SQLITE_IOERR_DELETE);

	(void)vfs, (void)sync;
	if (code != SQLITE_OK)
		return code;
	synced(path);
	return below->xDelete(below, path, 0);
}

void daemon_disk_init(void)
{
	static sqlite3_vfs vfs;

	if (below)
		return;
	below = sqlite3_vfs_find(NULL);
	vfs = *below;
	vfs.iVersion = 1;
	vfs.szOsFile = sizeof(struct disk_file);
	vfs.zName = "disk";
	vfs.xOpen = disk_open;
	vfs.xDelete = disk_delete;
	assert(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

void daemon_disk_set(enum daemon_disk_fault what, uint64_t at, uint64_t with)
{
	fault = what;
	fault_at = at;
	counted = 0;
	seed = with;
}

uint64_t daemon_disk_changes(void)
{
	return counted;
}

void daemon_disk_forget(void)
{
	for (size_t i = 0; i < change_count; i++)
		drop(i);
	change_count = 0;
	daemon_disk_set(DISK_WHOLE, 0, 1);
}
