// SPDX-License-Identifier: MIT
// The faulty file system of the crash and fault tests: real calls, mirrored in a model of what is durable.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty_io.h"

enum { VIEW_MAX = 512 };

struct bytes {
	uint8_t *data;
	size_t size;
};

struct change { /* of a file's contents, not yet durable */
	bool truncate;
	size_t offset; /* of a truncation: the new size */
	size_t size;
	uint8_t *data;
};

struct entry {
	char name[NAME_MAX + 1];
	int node;
};

struct move { /* of a directory's entries, not yet durable */
	enum { MOVE_LINK, MOVE_UNLINK, MOVE_RENAME } kind;
	struct entry entry; /* of a rename: the name before it */
	char to[NAME_MAX + 1];
};

struct faulty_node {
	bool directory;
	int parent;
	struct bytes live, durable;
	struct change *changes;
	size_t change_count;
	struct entry *entries; /* durable */
	size_t entry_count;
	struct move *moves;
	size_t move_count;
};

struct view {
	struct entry entry[VIEW_MAX];
	size_t count;
};

const char *const faulty_call_name[FAULTY_CALLS] = {
	"creation", "pwrite", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "mkdir", "rmdir", "open", "pread", "flock", "fstat",
};

/* A test that cannot go on because the harness itself is wrong. */
static void broken(const char *what, const char *detail)
{
	fprintf(stderr, "faulty_io: %s: %s\n", what, detail);
	abort();
}

static void *grown(void *p, size_t count, size_t size)
{
	p = realloc(p, count * size);
	if (!p)
		broken("no memory", "realloc");
	return p;
}

static void *copied(const void *p, size_t size)
{
	void *copy;

	if (!size)
		return NULL;
	copy = grown(NULL, 1, size);
	memcpy(copy, p, size);
	return copy;
}

uint64_t faulty_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void bytes_resize(struct bytes *b, size_t size)
{
	if (size > b->size) {
		b->data = grown(b->data, 1, size);
		memset(b->data + b->size, 0, size - b->size);
	}
	b->size = size;
}

static void bytes_apply(struct bytes *b, const struct change *c)
{
	if (c->truncate) {
		bytes_resize(b, c->offset);
		return;
	}
	if (c->offset + c->size > b->size)
		bytes_resize(b, c->offset + c->size);
	memcpy(b->data + c->offset, c->data, c->size);
}

static void copy_name(char *to, const char *from)
{
	if (strlen(from) > NAME_MAX)
		broken("name too long", from);
	strcpy(to, from);
}

/* ---- the model ---------------------------------------------------------------------------------------------------------- */

static int node_new(struct faulty_io *f, bool directory, int parent)
{
	f->nodes = grown(f->nodes, f->node_count + 1, sizeof(*f->nodes));
	memset(&f->nodes[f->node_count], 0, sizeof(*f->nodes));
	f->nodes[f->node_count].directory = directory;
	f->nodes[f->node_count].parent = parent;
	return (int)f->node_count++;
}

static void view_drop(struct view *v, const char *name)
{
	for (size_t i = 0; i < v->count; i++)
		if (!strcmp(v->entry[i].name, name))
			v->entry[i--] = v->entry[--v->count];
}

static void view_put(struct view *v, const char *name, int node)
{
	view_drop(v, name);
	if (v->count == VIEW_MAX)
		broken("too many entries", name);
	copy_name(v->entry[v->count].name, name);
	v->entry[v->count++].node = node;
}

/* A directory's entries after the first @moves of those that are not durable. */
static void view_make(const struct faulty_node *n, size_t moves, struct view *v)
{
	v->count = n->entry_count;
	if (v->count)
		memcpy(v->entry, n->entries, v->count * sizeof(*v->entry));
	for (size_t i = 0; i < moves; i++) {
		const struct move *m = &n->moves[i];

		view_drop(v, m->entry.name);
		if (m->kind == MOVE_LINK)
			view_put(v, m->entry.name, m->entry.node);
		else if (m->kind == MOVE_RENAME)
			view_put(v, m->to, m->entry.node);
	}
}

static int node_find(const struct faulty_io *f, int dir, const char *name)
{
	struct view v;

	view_make(&f->nodes[dir], f->nodes[dir].move_count, &v);
	for (size_t i = 0; i < v.count; i++)
		if (!strcmp(v.entry[i].name, name))
			return v.entry[i].node;
	return -1;
}

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
	copy_name(last, ".");
	while (*name) {
		size_t length = strcspn(name, "/");

		if (length) {
			if (strcmp(last, ".")) {
				at = !strcmp(last, "..") ? f->nodes[at].parent : node_find(f, at, last);
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
	return node_find(f, parent, last);
}

static void node_move(struct faulty_io *f, int dir, int kind, const char *name, int node, const char *to)
{
	struct faulty_node *n = &f->nodes[dir];
	struct move *m;

	n->moves = grown(n->moves, n->move_count + 1, sizeof(*n->moves));
	m = &n->moves[n->move_count++];
	memset(m, 0, sizeof(*m));
	m->kind = kind;
	copy_name(m->entry.name, name);
	m->entry.node = node;
	copy_name(m->to, to);
}

static void node_change(struct faulty_node *n, bool truncate, const void *data, size_t size, size_t offset)
{
	struct change *c;

	n->changes = grown(n->changes, n->change_count + 1, sizeof(*n->changes));
	c = &n->changes[n->change_count++];
	*c = (struct change) { .truncate = truncate, .offset = offset, .size = size, .data = copied(data, size) };
	bytes_apply(&n->live, c);
}

static void changes_forget(struct faulty_node *n)
{
	for (size_t i = 0; i < n->change_count; i++)
		free(n->changes[i].data);
	n->change_count = 0;
}

static void node_sync(struct faulty_node *n)
{
	if (n->directory) {
		struct view v;

		view_make(n, n->move_count, &v);
		free(n->entries);
		n->entries = copied(v.entry, v.count * sizeof(*v.entry));
		n->entry_count = v.count;
		n->move_count = 0;
		return;
	}
	for (size_t i = 0; i < n->change_count; i++)
		bytes_apply(&n->durable, &n->changes[i]);
	changes_forget(n);
}

/* ---- what a cut leaves -------------------------------------------------------------------------------------------------- */

static void apply_by_sector(struct bytes *b, const struct change *c, size_t index, const size_t *version)
{
	size_t begin = c->offset, end = c->truncate ? b->size : c->offset + c->size;

	for (size_t at = begin; at < end;) {
		size_t next = (at / FAULTY_SECTOR + 1) * FAULTY_SECTOR;

		if (next > end)
			next = end;
		if (version[at / FAULTY_SECTOR] > index) {
			if (c->truncate)
				memset(b->data + at, 0, next - at);
			else
				memcpy(b->data + at, c->data + (at - c->offset), next - at);
		}
		at = next;
	}
}

static size_t random_version(uint64_t *seed, unsigned keep, size_t count)
{
	if (faulty_random(seed) % 8 == 0)
		return faulty_random(seed) % (count + 1);
	return faulty_random(seed) % 100 < keep ? count : 0;
}

static struct bytes random_contents(const struct faulty_node *n, uint64_t *seed)
{
	static const unsigned keeps[] = { 3, 50, 97 };
	struct bytes b = { 0 };
	size_t size = n->durable.size, size_max = size, sizes, *version;
	unsigned keep = keeps[faulty_random(seed) % ARRAY_SIZE(keeps)];

	sizes = random_version(seed, 50, n->change_count);
	for (size_t i = 0, now = size; i < n->change_count; i++) {
		const struct change *c = &n->changes[i];

		if (c->truncate)
			now = c->offset;
		else if (c->offset + c->size > now)
			now = c->offset + c->size;
		if (now > size_max)
			size_max = now;
		if (i < sizes)
			size = now;
	}
	version = grown(NULL, size_max / FAULTY_SECTOR + 1, sizeof(*version));
	for (size_t i = 0; i <= size_max / FAULTY_SECTOR; i++)
		version[i] = random_version(seed, keep, n->change_count);
	bytes_resize(&b, n->durable.size);
	if (b.size)
		memcpy(b.data, n->durable.data, b.size);
	bytes_resize(&b, size_max);
	for (size_t i = 0; i < n->change_count; i++)
		apply_by_sector(&b, &n->changes[i], i, version);
	free(version);
	bytes_resize(&b, size);
	return b;
}

static struct bytes contents(const struct faulty_node *n, enum faulty_loss loss, uint64_t *seed)
{
	const struct bytes *from = loss == FAULTY_KEEP || loss == FAULTY_LOSE_NAMES ? &n->live : &n->durable;
	struct bytes b = { 0 };

	if (loss == FAULTY_RANDOM)
		return random_contents(n, seed);
	bytes_resize(&b, from->size);
	if (b.size)
		memcpy(b.data, from->data, b.size);
	if (loss == FAULTY_ZERO_DATA)
		bytes_resize(&b, n->live.size);
	return b;
}

static void write_file(int dir, const char *name, const struct bytes *b)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		broken("cannot make an image", name);
	for (size_t at = 0; at < b->size;) {
		ssize_t n = pwrite(fd, b->data + at, b->size - at, (off_t)at);

		if (n <= 0)
			broken("cannot write an image", name);
		at += (size_t)n;
	}
	close(fd);
}

static void write_directory(const struct faulty_io *f, int node, enum faulty_loss loss, uint64_t *seed, int dir)
{
	const struct faulty_node *n = &f->nodes[node];
	size_t moves = n->move_count;
	struct view *v = grown(NULL, 1, sizeof(*v));

	if (loss == FAULTY_LOSE || loss == FAULTY_LOSE_NAMES)
		moves = 0;
	else if (loss == FAULTY_RANDOM)
		moves = faulty_random(seed) % (moves + 1);
	view_make(n, moves, v);
	for (size_t i = 0; i < v->count; i++) {
		const struct faulty_node *child = &f->nodes[v->entry[i].node];

		if (child->directory) {
			int fd;

			if (mkdirat(dir, v->entry[i].name, 0700))
				broken("cannot make an image", v->entry[i].name);
			fd = openat(dir, v->entry[i].name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
			write_directory(f, v->entry[i].node, loss, seed, fd);
			close(fd);
		} else {
			struct bytes b = contents(child, loss, seed);

			write_file(dir, v->entry[i].name, &b);
			free(b.data);
		}
	}
	free(v);
}

void faulty_image(const struct faulty_io *f, enum faulty_loss loss, uint64_t seed, const char *path)
{
	int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	if (dir < 0)
		broken("cannot open", path);
	write_directory(f, 0, loss, &seed, dir);
	close(dir);
}

static struct bytes bytes_copy(const struct bytes *b)
{
	return (struct bytes) { .data = copied(b->data, b->size), .size = b->size };
}

static const struct lineup_io faulty_table;

static void faulty_begin(struct faulty_io *f, const char *root)
{
	memset(f, 0, sizeof(*f));
	f->io = faulty_table;
	if (strlen(root) >= sizeof(f->root) || root[0] != '/')
		broken("not an absolute path", root);
	strcpy(f->root, root);
}

void faulty_fork(const struct faulty_io *f, struct faulty_io *to, const char *path)
{
	faulty_begin(to, path);
	to->nodes = copied(f->nodes, f->node_count * sizeof(*f->nodes));
	to->node_count = f->node_count;
	for (size_t i = 0; i < f->node_count; i++) {
		const struct faulty_node *a = &f->nodes[i];
		struct faulty_node *b = &to->nodes[i];

		b->live = bytes_copy(&a->live);
		b->durable = bytes_copy(&a->durable);
		b->changes = copied(a->changes, a->change_count * sizeof(*a->changes));
		for (size_t c = 0; c < a->change_count; c++)
			b->changes[c].data = copied(a->changes[c].data, a->changes[c].size);
		b->entries = copied(a->entries, a->entry_count * sizeof(*a->entries));
		b->moves = copied(a->moves, a->move_count * sizeof(*a->moves));
	}
	faulty_image(f, FAULTY_KEEP, 0, path);
}

static bool read_file(int dir, const char *name, struct bytes *b)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		broken("fstat", name);
	bytes_resize(b, (size_t)st.st_size);
	if (b->size && pread(fd, b->data, b->size, 0) != (ssize_t)b->size)
		broken("read", name);
	close(fd);
	return true;
}

static const char *directory_differs(const struct faulty_io *f, int node, int dir)
{
	DIR *stream = fdopendir(dup(dir));
	const char *why = NULL;
	size_t found = 0;
	struct view v;

	view_make(&f->nodes[node], f->nodes[node].move_count, &v);
	rewinddir(stream);
	for (struct dirent *d; !why && (d = readdir(stream));) {
		int child;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		found++;
		child = node_find(f, node, d->d_name);
		if (child < 0) {
			why = "a file the model does not have";
		} else if (f->nodes[child].directory) {
			int fd = openat(dir, d->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

			why = fd < 0 ? "a directory cannot be opened" : directory_differs(f, child, fd);
			close(fd);
		} else {
			struct bytes b = { 0 };

			if (!read_file(dir, d->d_name, &b))
				why = "a file cannot be read";
			else if (b.size != f->nodes[child].live.size)
				why = "a file has another size";
			else if (b.size && memcmp(b.data, f->nodes[child].live.data, b.size))
				why = "a file has other contents";
			free(b.data);
		}
	}
	if (!why && found != v.count)
		why = "a file is missing";
	closedir(stream);
	return why;
}

const char *faulty_differs(const struct faulty_io *f)
{
	int dir = open(f->root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	const char *why = dir < 0 ? "no root" : directory_differs(f, 0, dir);

	close(dir);
	return why;
}

static bool zeros(const struct bytes *b)
{
	for (size_t i = 0; i < b->size; i++)
		if (b->data[i])
			return false;
	return true;
}

bool faulty_wiped(const struct faulty_io *f, const char *name)
{
	for (size_t i = 0; i < f->node_count; i++) {
		int node = f->nodes[i].directory ? node_find(f, (int)i, name) : -1;

		if (node >= 0)
			return zeros(&f->nodes[node].live) && zeros(&f->nodes[node].durable) && !f->nodes[node].change_count;
	}
	return false;
}

/* ---- the calls ---------------------------------------------------------------------------------------------------------- */

static int fd_node(const struct faulty_io *f, int fd)
{
	return fd >= 0 && (size_t)fd < f->fd_count ? f->fd_node[fd] : -1;
}

static void fd_set_node(struct faulty_io *f, int fd, int node)
{
	if ((size_t)fd >= f->fd_count) {
		f->fd_node = grown(f->fd_node, (size_t)fd + 1, sizeof(*f->fd_node));
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
		view_make(n, n->move_count, &v);
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
		copy_name(f->name, name);
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
	copy_name(f->failed_name, f->name);
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
		broken("O_TMPFILE is not modelled", name);
	fd = lineup_io_system.open(NULL, dir, name, flags, mode);
	if (fd < 0)
		return fd;
	if (node < 0) {
		if (!(flags & O_CREAT))
			broken("opened a file that the model does not have", name);
		node = node_new(f, false, parent);
		node_move(f, parent, MOVE_LINK, last, node, "");
	} else if (flags & O_TRUNC && f->nodes[node].live.size) {
		node_change(&f->nodes[node], true, NULL, 0, 0);
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
		node_change(&f->nodes[node], false, data, (size_t)n, (size_t)offset);
	return n;
}

static int sync_call(struct faulty_io *f, enum faulty_call call, int fd)
{
	int node = fd_node(f, fd), err = before_fd(f, call, fd);

	if (node < 0)
		return 0;
	if (err && !f->nodes[node].directory)
		changes_forget(&f->nodes[node]);
	else if (!err)
		node_sync(&f->nodes[node]);
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
		node_change(&f->nodes[node], true, NULL, 0, (size_t)size);
	return err;
}

static int faulty_rename(void *arg, int dir, const char *from, const char *to)
{
	struct faulty_io *f = arg;
	char last[NAME_MAX + 1], last_to[NAME_MAX + 1];
	int parent = resolve(f, dir, from, last), parent_to = resolve(f, dir, to, last_to), node, err;

	if (parent != parent_to)
		broken("a rename between directories is not modelled", from);
	node = resolved_node(f, parent, last);
	err = parent < 0 ? 0 : before(f, FAULTY_RENAME, last_to);
	if (!err)
		err = lineup_io_system.rename(NULL, dir, from, to);
	if (!err && parent >= 0)
		node_move(f, parent, MOVE_RENAME, last, node, last_to);
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
		node_move(f, parent, MOVE_UNLINK, last, node, "");
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
		int node = node_new(f, true, parent); /* may move f->nodes */

		node_move(f, parent, MOVE_LINK, last, node, "");
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
			broken("fstatat", d->d_name);
		child = node_new(f, S_ISDIR(st.st_mode), node);
		node_move(f, node, MOVE_LINK, d->d_name, child, "");
		if (S_ISDIR(st.st_mode)) {
			int fd = openat(dir, d->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

			load_directory(f, child, fd);
			close(fd);
		} else {
			read_file(dir, d->d_name, &f->nodes[child].live);
			f->nodes[child].durable = bytes_copy(&f->nodes[child].live);
		}
	}
	closedir(stream);
	node_sync(&f->nodes[node]);
}

void faulty_init(struct faulty_io *f, const char *root)
{
	int dir = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	if (dir < 0)
		broken("cannot open", root);
	faulty_begin(f, root);
	node_new(f, true, 0);
	load_directory(f, 0, dir);
	close(dir);
}

void faulty_fini(struct faulty_io *f)
{
	for (size_t i = 0; i < f->node_count; i++) {
		struct faulty_node *n = &f->nodes[i];

		changes_forget(n);
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

void faulty_directory(char *path)
{
	const char *base = getenv("TMPDIR");
	char *real;

	snprintf(path, PATH_MAX, "%s/lineup-test-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(path))
		broken("mkdtemp", path);
	real = realpath(path, NULL);
	if (!real)
		broken("realpath", path);
	strcpy(path, real);
	free(real);
}
