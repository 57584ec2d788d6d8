// SPDX-License-Identifier: MIT
// The calls of the faulty file system: real ones, mirrored in the model, failed or shortened where a test wants it.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty_disk.h"

const char *const faulty_call_name[FAULTY_CALLS] = {
	"creation", "pwrite", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "mkdir", "rmdir", "open", "pread", "flock", "fstat",
};

/* Where @name leads: the directory's node and the last component, into @last. -1: outside of the root. */
static int resolve(const struct faulty_io *f, int dir, const char *name, char *last)
{
	size_t root_length = strlen(f->root);
	int at;

	if (name[0] == '/') {
		if (strncmp(name, f->root, root_length) || (name[root_length] && name[root_length] != '/'))
			return -1;
		at = 0;
		name += root_length;
	} else {
		at = dir >= 0 && (size_t)dir < f->fd_count ? f->fd_node[dir] : -1;
		if (at < 0)
			return -1;
	}
	faulty_copy_name(last, ".");
	while (*name) {
		size_t length = strcspn(name, "/");

		if (length) {
			if (strcmp(last, ".")) {
				at = !strcmp(last, "..") ? f->nodes[at].parent : faulty_node_find(f, at, last);
				if (at < 0)
					return -1;
			}
			if (length > NAME_MAX)
				return -1;
			memcpy(last, name, length);
			last[length] = 0;
		}
		name += length + !!name[length];
	}
	return at;
}

static int resolved_node(const struct faulty_io *f, int parent, const char *last)
{
	if (parent < 0)
		return -1;
	if (!strcmp(last, "."))
		return parent;
	if (!strcmp(last, ".."))
		return f->nodes[parent].parent;
	return faulty_node_find(f, parent, last);
}

static int fd_node(const struct faulty_io *f, int fd)
{
	return fd >= 0 && (size_t)fd < f->fd_count ? f->fd_node[fd] : -1;
}

static void fd_set_node(struct faulty_io *f, int fd, int node)
{
	if ((size_t)fd >= f->fd_count) {
		f->fd_node = faulty_grown(f->fd_node, (size_t)fd + 1, sizeof(*f->fd_node));
		while (f->fd_count <= (size_t)fd)
			f->fd_node[f->fd_count++] = -1;
	}
	f->fd_node[fd] = node;
}

static void name_of(const struct faulty_io *f, int node, char *name)
{
	strcpy(name, node ? "?" : ".");
	for (size_t i = 0; i < f->node_count; i++) {
		const struct faulty_node *n = &f->nodes[i];
		struct view v;

		if (!n->directory)
			continue;
		faulty_view_make(n, n->move_count, &v);
		for (size_t e = 0; e < v.count; e++)
			if (v.entry[e].node == node)
				strcpy(name, v.entry[e].name);
	}
}

/* 0: let the call happen; else what it returns. */
static int before(struct faulty_io *f, enum faulty_call call, const char *name)
{
	bool mutating = FAULTY_MUTATING >> call & 1;

	f->call = call;
	if (name != f->name)
		faulty_copy_name(f->name, name);
	if (mutating) {
		f->mutations++;
		if (f->hook && !f->in_hook) {
			f->in_hook = true;
			f->hook(f, f->hook_arg);
			f->in_hook = false;
		}
	}
	if (f->failed && f->fail_for_ever && call != FAULTY_FLOCK)
		return f->fail_error;
	if (!(f->fail_mask >> call & 1) || ++f->fail_calls != f->fail_at)
		return 0;
	if (f->fail_exit)
		_exit(FAULTY_EXIT);
	f->failed = true;
	f->failed_call = call;
	faulty_copy_name(f->failed_name, f->name);
	return f->fail_error;
}

static int before_fd(struct faulty_io *f, enum faulty_call call, int fd)
{
	int node = fd_node(f, fd);

	if (node < 0)
		return 0;
	name_of(f, node, f->name);
	return before(f, call, f->name);
}

static int faulty_open(void *arg, int dir, const char *name, int flags, mode_t mode)
{
	struct faulty_io *f = arg;
	char last[NAME_MAX + 1];
	int parent = resolve(f, dir, name, last), node = resolved_node(f, parent, last), fd, err;

	if (parent < 0)
		return lineup_io_system.open(NULL, dir, name, flags, mode);
	err = before(f, flags & (O_CREAT | O_TRUNC) ? FAULTY_CREATE : FAULTY_OPEN, last);
	if (err)
		return err;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		faulty_broken("O_TMPFILE is not modelled", name);
	fd = lineup_io_system.open(NULL, dir, name, flags, mode);
	if (fd < 0)
		return fd;
	if (node < 0) {
		if (!(flags & O_CREAT))
			faulty_broken("opened a file that the model does not have", name);
		node = faulty_node_new(f, false, parent);
		faulty_node_move(f, parent, MOVE_LINK, last, node, "");
	} else if (flags & O_TRUNC && f->nodes[node].live.size) {
		faulty_node_change(&f->nodes[node], true, NULL, 0, 0);
	}
	fd_set_node(f, fd, node);
	return fd;
}

static int faulty_close(void *arg, int fd)
{
	struct faulty_io *f = arg;

	if (fd_node(f, fd) >= 0)
		f->fd_node[fd] = -1;
	return lineup_io_system.close(NULL, fd);
}

static ssize_t faulty_pread(void *arg, int fd, void *data, size_t size, off_t offset)
{
	struct faulty_io *f = arg;
	int err = before_fd(f, FAULTY_PREAD, fd);

	if (err)
		return err;
	if (f->read_max && size > f->read_max && !(fcntl(fd, F_GETFL) & O_DIRECT))
		size = f->read_max;
	return lineup_io_system.pread(NULL, fd, data, size, offset);
}

static ssize_t faulty_pwrite(void *arg, int fd, const void *data, size_t size, off_t offset)
{
	struct faulty_io *f = arg;
	int node = fd_node(f, fd), err = before_fd(f, FAULTY_PWRITE, fd);
	ssize_t n;

	if (err && f->fail_short && f->fail_short < size && f->fail_calls == f->fail_at) {
		size = f->fail_short;
		f->fail_at++; /* the continuation */
		f->fail_short = 0;
	} else if (err) {
		return err;
	}
	if (f->write_max && size > f->write_max)
		size = f->write_max;
	n = lineup_io_system.pwrite(NULL, fd, data, size, offset);
	if (n > 0 && node >= 0)
		faulty_node_change(&f->nodes[node], false, data, (size_t)n, (size_t)offset);
	return n;
}

static int sync_call(struct faulty_io *f, enum faulty_call call, int fd)
{
	int node = fd_node(f, fd), err = before_fd(f, call, fd);

	if (node < 0)
		return 0;
	if (err)
		faulty_node_fail(&f->nodes[node]);
	else
		faulty_node_sync(&f->nodes[node]);
	return err;
}

static int faulty_fdatasync(void *arg, int fd)
{
	return sync_call(arg, FAULTY_FDATASYNC, fd);
}

static int faulty_fsync(void *arg, int fd)
{
	return sync_call(arg, FAULTY_FSYNC, fd);
}

static int faulty_ftruncate(void *arg, int fd, off_t size)
{
	struct faulty_io *f = arg;
	int node = fd_node(f, fd), err = before_fd(f, FAULTY_FTRUNCATE, fd);

	if (!err)
		err = lineup_io_system.ftruncate(NULL, fd, size);
	if (!err && node >= 0)
		faulty_node_change(&f->nodes[node], true, NULL, 0, (size_t)size);
	return err;
}

static int faulty_rename(void *arg, int dir, const char *from, const char *to)
{
	struct faulty_io *f = arg;
	char last[NAME_MAX + 1], last_to[NAME_MAX + 1];
	int parent = resolve(f, dir, from, last), parent_to = resolve(f, dir, to, last_to), node, err;

	if (parent != parent_to)
		faulty_broken("a rename between directories is not modelled", from);
	node = resolved_node(f, parent, last);
	err = parent < 0 ? 0 : before(f, FAULTY_RENAME, last_to);
	if (!err)
		err = lineup_io_system.rename(NULL, dir, from, to);
	if (!err && parent >= 0)
		faulty_node_move(f, parent, MOVE_RENAME, last, node, last_to);
	return err;
}

static int remove_call(struct faulty_io *f, enum faulty_call call, int dir, const char *name)
{
	char last[NAME_MAX + 1];
	int parent = resolve(f, dir, name, last), node = resolved_node(f, parent, last);
	int err = parent < 0 ? 0 : before(f, call, last);

	if (!err)
		err = (call == FAULTY_UNLINK ? lineup_io_system.unlink : lineup_io_system.rmdir)(NULL, dir, name);
	if (!err && parent >= 0)
		faulty_node_move(f, parent, MOVE_UNLINK, last, node, "");
	return err;
}

static int faulty_unlink(void *arg, int dir, const char *name)
{
	return remove_call(arg, FAULTY_UNLINK, dir, name);
}

static int faulty_rmdir(void *arg, int dir, const char *name)
{
	return remove_call(arg, FAULTY_RMDIR, dir, name);
}

static int faulty_mkdir(void *arg, int dir, const char *name, mode_t mode)
{
	struct faulty_io *f = arg;
	char last[NAME_MAX + 1];
	int parent = resolve(f, dir, name, last), err = parent < 0 ? 0 : before(f, FAULTY_MKDIR, last);

	if (!err)
		err = lineup_io_system.mkdir(NULL, dir, name, mode);
	if (!err && parent >= 0) {
		int node = faulty_node_new(f, true, parent); /* may move f->nodes */

		faulty_node_move(f, parent, MOVE_LINK, last, node, "");
	}
	return err;
}

static int faulty_flock(void *arg, int fd, int operation)
{
	int err = before_fd(arg, FAULTY_FLOCK, fd);

	return err ? err : lineup_io_system.flock(NULL, fd, operation);
}

static int faulty_fstat(void *arg, int fd, struct stat *st)
{
	int err = before_fd(arg, FAULTY_FSTAT, fd);

	return err ? err : lineup_io_system.fstat(NULL, fd, st);
}

static const struct lineup_io faulty_table = {
	.open = faulty_open,
	.close = faulty_close,
	.pread = faulty_pread,
	.pwrite = faulty_pwrite,
	.fdatasync = faulty_fdatasync,
	.fsync = faulty_fsync,
	.ftruncate = faulty_ftruncate,
	.rename = faulty_rename,
	.unlink = faulty_unlink,
	.mkdir = faulty_mkdir,
	.rmdir = faulty_rmdir,
	.flock = faulty_flock,
	.fstat = faulty_fstat,
};

/* ---- life --------------------------------------------------------------------------------------------------------------- */

static void load_directory(struct faulty_io *f, int node, int dir)
{
	DIR *stream = fdopendir(dup(dir));

	rewinddir(stream);
	for (struct dirent *d; (d = readdir(stream));) {
		struct stat st;
		int child;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW))
			faulty_broken("fstatat", d->d_name);
		child = faulty_node_new(f, S_ISDIR(st.st_mode), node);
		faulty_node_move(f, node, MOVE_LINK, d->d_name, child, "");
		if (S_ISDIR(st.st_mode)) {
			int fd = openat(dir, d->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

			load_directory(f, child, fd);
			close(fd);
		} else {
			faulty_read_file(dir, d->d_name, &f->nodes[child].live);
			f->nodes[child].durable = faulty_bytes_copy(&f->nodes[child].live);
		}
	}
	closedir(stream);
	faulty_node_sync(&f->nodes[node]);
}

void faulty_begin(struct faulty_io *f, const char *root)
{
	memset(f, 0, sizeof(*f));
	f->io = faulty_table;
	if (strlen(root) >= sizeof(f->root) || root[0] != '/')
		faulty_broken("not an absolute path", root);
	strcpy(f->root, root);
}

void faulty_init(struct faulty_io *f, const char *root)
{
	int dir = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	if (dir < 0)
		faulty_broken("cannot open", root);
	faulty_begin(f, root);
	faulty_node_new(f, true, 0);
	load_directory(f, 0, dir);
	close(dir);
}

void faulty_fini(struct faulty_io *f)
{
	for (size_t i = 0; i < f->node_count; i++) {
		struct faulty_node *n = &f->nodes[i];

		faulty_changes_forget(n);
		free(n->changes);
		free(n->live.data);
		free(n->durable.data);
		free(n->entries);
		free(n->moves);
	}
	free(f->nodes);
	free(f->fd_node);
	memset(f, 0, sizeof(*f));
}

void faulty_calm(struct faulty_io *f)
{
	f->hook = NULL;
	f->mutations = f->fail_at = f->fail_calls = 0;
	f->fail_mask = 0;
	f->fail_error = 0;
	f->fail_exit = f->fail_for_ever = f->failed = false;
	f->fail_short = f->write_max = f->read_max = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void faulty_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void faulty_directory(char *path, bool memory)
{
	const char *base = getenv("TMPDIR");
	char *real;

	if (!base || !*base)
		base = memory && !access("/dev/shm", W_OK | X_OK) ? "/dev/shm" : "/tmp";
	snprintf(path, PATH_MAX, "%s/lineup-test-XXXXXX", base);
	if (!mkdtemp(path))
		faulty_broken("mkdtemp", path);
	real = realpath(path, NULL);
	if (!real)
		faulty_broken("realpath", path);
	strcpy(path, real);
	free(real);
}
