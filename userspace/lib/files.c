// SPDX-License-Identifier: MIT
// The gallery's directory: naming, reading, writing, wiping and listing its files.
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "gallery_files.h"

static const char *const kinds[] = { "journal", "segment", "deleted" };

int lineup_fault_set(struct lineup_fault *fault, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return err;
}

int lineup_fault_io(struct lineup_fault *fault, int err, const char *name, const char *verb)
{
	return lineup_fault_set(fault, err, "%s: cannot %s: %s", name, verb, strerror(-err));
}

void lineup_files_name(char name[LINEUP_GALLERY_NAME_BYTES], const char *kind, uint32_t generation)
{
	snprintf(name, LINEUP_GALLERY_NAME_BYTES, "%s-%08x", kind, generation);
}

int lineup_files_open(const struct lineup_files *files, const char *name, int flags, int *fd, struct lineup_fault *fault)
{
	int n = files->ctx->io->open(files->ctx->io_arg, files->dir, name, flags | O_NOFOLLOW, 0600);

	if (n < 0)
		return lineup_fault_io(fault, n, name, flags & O_CREAT ? "create" : "open");
	*fd = n;
	return 0;
}

void lineup_files_close(const struct lineup_files *files, int fd)
{
	if (fd >= 0)
		files->ctx->io->close(files->ctx->io_arg, fd);
}

static int read_open_file(const struct lineup_files *files, const char *name, int fd, uint64_t size_max, void **data, size_t *size,
			  struct lineup_fault *fault)
{
	struct stat st;
	void *p;
	int err = files->ctx->io->fstat(files->ctx->io_arg, fd, &st);

	if (err)
		return lineup_fault_io(fault, err, name, "read its size");
	if (!S_ISREG(st.st_mode))
		return lineup_fault_set(fault, -EBADMSG, "%s: is not a regular file", name);
	if ((uint64_t)st.st_size > size_max)
		return lineup_fault_set(fault, -EBADMSG, "%s: is %lld bytes long, more than it can be", name,
					(long long)st.st_size);
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return lineup_fault_set(fault, -ENOMEM, "%s: no memory to read it", name);
	err = lineup_io_read(files->ctx, fd, p, (size_t)st.st_size, 0);
	if (err) {
		free(p);
		return lineup_fault_io(fault, err == -ENODATA ? -EIO : err, name, "read");
	}
	*data = p;
	*size = (size_t)st.st_size;
	return 0;
}

int lineup_files_read(const struct lineup_files *files, const char *name, uint64_t size_max, void **data, size_t *size,
		      struct lineup_fault *fault)
{
	int fd = -1, err = lineup_files_open(files, name, O_RDONLY, &fd, fault);

	if (err)
		return err;
	/* Who overwrites an old file holds it exclusively: then MANIFEST has changed, and the caller will find that out. */
	err = files->ctx->io->flock(files->ctx->io_arg, fd, LOCK_SH | LOCK_NB);
	if (err)
		err = lineup_fault_io(fault, err, name, "lock");
	else
		err = read_open_file(files, name, fd, size_max, data, size, fault);
	lineup_files_close(files, fd);
	return err;
}

int lineup_files_write(const struct lineup_files *files, const char *name, const void *data, size_t size,
		       struct lineup_fault *fault)
{
	int fd = -1, err = lineup_files_open(files, name, O_RDWR | O_CREAT | O_TRUNC, &fd, fault);
	const char *verb = "write";

	if (err)
		return err;
	err = lineup_io_write(files->ctx, fd, data, size, 0);
	if (!err) {
		verb = "sync";
		err = files->ctx->io->fdatasync(files->ctx->io_arg, fd);
	}
	lineup_files_close(files, fd);
	if (err) {
		lineup_fault_io(fault, err, name, verb);
		lineup_files_wipe(files, name);
	}
	return err;
}

int lineup_files_sync(const struct lineup_files *files, struct lineup_fault *fault)
{
	int err = files->ctx->io->fsync(files->ctx->io_arg, files->dir);

	return err ? lineup_fault_io(fault, err, "directory", "sync") : 0;
}

bool lineup_files_zero(const void *data, size_t size)
{
	static const uint8_t zero[256];
	const uint8_t *p = data;

	for (; size > sizeof(zero); p += sizeof(zero), size -= sizeof(zero))
		if (memcmp(p, zero, sizeof(zero)))
			return false;
	return !memcmp(p, zero, size);
}

/* Holes and what is zero already are left alone: overwriting them would only take space. */
static int overwrite(const struct lineup_files *files, const char *name, int fd)
{
	uint8_t *piece = calloc(2, LINEUP_GALLERY_PIECE_BYTES), *zero = piece + LINEUP_GALLERY_PIECE_BYTES;
	struct stat st;
	int err;

	if (!piece)
		return -ENOMEM;
	err = files->ctx->io->fstat(files->ctx->io_arg, fd, &st);
	for (uint64_t at = 0; !err && at < (uint64_t)st.st_size; at += LINEUP_GALLERY_PIECE_BYTES) {
		uint64_t left = (uint64_t)st.st_size - at;
		size_t size = left < LINEUP_GALLERY_PIECE_BYTES ? left : LINEUP_GALLERY_PIECE_BYTES;

		err = lineup_io_read(files->ctx, fd, piece, size, at);
		if (err)
			lineup_warn(files->ctx, "gallery: %s: byte %llu: cannot read: %s; it is overwritten unread", name,
				    (unsigned long long)at, strerror(-err));
		if (err || !lineup_files_zero(piece, size))
			err = lineup_io_write(files->ctx, fd, zero, size, at);
		if (!err)
			err = lineup_pace_spend(files->pace, 2 * size);
	}
	if (!err)
		err = files->ctx->io->fdatasync(files->ctx->io_arg, fd);
	free(piece);
	return err;
}

int lineup_files_wipe(const struct lineup_files *files, const char *name)
{
	const struct lineup_io *io = files->ctx->io;
	int fd = io->open(files->ctx->io_arg, files->dir, name, O_RDWR | O_NOFOLLOW, 0), err;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	err = io->flock(files->ctx->io_arg, fd, LOCK_EX | LOCK_NB);
	if (err == -EWOULDBLOCK)
		err = -EBUSY;
	if (!err)
		err = overwrite(files, name, fd);
	if (!err)
		err = io->unlink(files->ctx->io_arg, files->dir, name);
	lineup_files_close(files, fd);
	return err;
}

/* Whether @name is "KIND-GGGGGGGG". */
static bool parse_name(const char *name, const char **kind, uint32_t *generation)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		char again[LINEUP_GALLERY_NAME_BYTES];
		size_t length = strlen(kinds[k]);

		if (strncmp(name, kinds[k], length) || name[length] != '-')
			continue;
		*kind = kinds[k];
		*generation = (uint32_t)strtoul(name + length + 1, NULL, 16);
		lineup_files_name(again, kinds[k], *generation);
		return !strcmp(name, again);
	}
	return false;
}

/* Listing changes nothing, so it goes past the table of operations. */
static int list(const struct lineup_files *files, int (*each)(void *arg, const char *name), void *arg, struct lineup_fault *fault)
{
	int fd = openat(files->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		err = -errno;
		if (fd >= 0)
			files->ctx->io->close(files->ctx->io_arg, fd);
		return lineup_fault_io(fault, err, "directory", "list");
	}
	while (!err && (errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			err = each(arg, entry->d_name);
	if (!err && errno)
		err = lineup_fault_io(fault, -errno, "directory", "list");
	closedir(dir);
	return err;
}

struct sweep {
	const struct lineup_files *files;
	bool (*keep)(void *arg, const char *kind, uint32_t generation);
	void *arg;
	uint32_t held;
	int err;
	char name[LINEUP_GALLERY_NAME_BYTES];
};

static int sweep_one(void *arg, const char *name)
{
	struct sweep *s = arg;
	const char *kind = name;
	uint32_t generation = 0;
	int err;

	if ((strcmp(name, "MANIFEST.new") && !parse_name(name, &kind, &generation)) || s->keep(s->arg, kind, generation))
		return 0;
	err = lineup_files_wipe(s->files, name);
	if (err == -EBUSY || err == -ECANCELED) {
		s->held++;
	} else if (err) {
		s->err = err;
		snprintf(s->name, sizeof(s->name), "%s", name);
	}
	return 0;
}

int lineup_files_sweep(const struct lineup_files *files, bool (*keep)(void *arg, const char *kind, uint32_t generation), void *arg,
		       uint32_t *held, struct lineup_fault *fault)
{
	struct sweep s = { .files = files, .keep = keep, .arg = arg };
	int err = list(files, sweep_one, &s, fault);

	*held = s.held;
	if (err)
		return err;
	return s.err ? lineup_fault_io(fault, s.err, s.name, "wipe") : 0;
}

static int unused_one(void *arg, const char *name)
{
	const char *kind;
	uint32_t generation;

	(void)arg;
	return strcmp(name, "lock") && strcmp(name, "MANIFEST.new") && !parse_name(name, &kind, &generation) ? -EEXIST : 0;
}

int lineup_files_unused(const struct lineup_files *files, struct lineup_fault *fault)
{
	int err = list(files, unused_one, NULL, fault);

	return err == -EEXIST ? lineup_fault_set(fault, err, "exists already") : err;
}
