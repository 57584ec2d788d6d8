// SPDX-License-Identifier: MIT
// A disk that loses what was not synced: the model of it, and the directories that a power cut leaves.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty_disk.h"

void faulty_broken(const char *what, const char *detail)
{
	fprintf(stderr, "faulty_io: %s: %s\n", what, detail);
	abort();
}

void *faulty_grown(void *p, size_t count, size_t size)
{
	p = realloc(p, count * size);
	if (!p)
		faulty_broken("no memory", "realloc");
	return p;
}

void *faulty_copied(const void *p, size_t size)
{
	void *copy;

	if (!size)
		return NULL;
	copy = faulty_grown(NULL, 1, size);
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

void faulty_bytes_resize(struct bytes *b, size_t size)
{
	if (size > b->size) {
		b->data = faulty_grown(b->data, 1, size);
		memset(b->data + b->size, 0, size - b->size);
	}
	b->size = size;
}

static void bytes_apply(struct bytes *b, const struct change *c)
{
	if (c->truncate) {
		faulty_bytes_resize(b, c->offset);
		return;
	}
	if (c->offset + c->size > b->size)
		faulty_bytes_resize(b, c->offset + c->size);
	memcpy(b->data + c->offset, c->data, c->size);
}

void faulty_copy_name(char *to, const char *from)
{
	if (strlen(from) > NAME_MAX)
		faulty_broken("name too long", from);
	strcpy(to, from);
}

/* ---- the model ---------------------------------------------------------------------------------------------------------- */

int faulty_node_new(struct faulty_io *f, bool directory, int parent)
{
	f->nodes = faulty_grown(f->nodes, f->node_count + 1, sizeof(*f->nodes));
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
		faulty_broken("too many entries", name);
	faulty_copy_name(v->entry[v->count].name, name);
	v->entry[v->count++].node = node;
}

static void view_apply(struct view *v, const struct move *m)
{
	view_drop(v, m->entry.name);
	if (m->kind == MOVE_LINK)
		view_put(v, m->entry.name, m->entry.node);
	else if (m->kind == MOVE_RENAME)
		view_put(v, m->to, m->entry.node);
}

void faulty_view_make(const struct faulty_node *n, size_t moves, struct view *v)
{
	v->count = n->entry_count;
	if (v->count)
		memcpy(v->entry, n->entries, v->count * sizeof(*v->entry));
	for (size_t i = 0; i < moves; i++)
		view_apply(v, &n->moves[i]);
}

int faulty_node_find(const struct faulty_io *f, int dir, const char *name)
{
	struct view v;

	faulty_view_make(&f->nodes[dir], f->nodes[dir].move_count, &v);
	for (size_t i = 0; i < v.count; i++)
		if (!strcmp(v.entry[i].name, name))
			return v.entry[i].node;
	return -1;
}

void faulty_node_move(struct faulty_io *f, int dir, int kind, const char *name, int node, const char *to)
{
	struct faulty_node *n = &f->nodes[dir];
	struct move *m;

	n->moves = faulty_grown(n->moves, n->move_count + 1, sizeof(*n->moves));
	m = &n->moves[n->move_count++];
	memset(m, 0, sizeof(*m));
	m->kind = kind;
	faulty_copy_name(m->entry.name, name);
	m->entry.node = node;
	faulty_copy_name(m->to, to);
}

void faulty_node_change(struct faulty_node *n, bool truncate, const void *data, size_t size, size_t offset)
{
	struct change *c;

	n->changes = faulty_grown(n->changes, n->change_count + 1, sizeof(*n->changes));
	c = &n->changes[n->change_count++];
	*c = (struct change) { .truncate = truncate, .offset = offset, .size = size, .data = faulty_copied(data, size) };
	bytes_apply(&n->live, c);
}

void faulty_changes_forget(struct faulty_node *n)
{
	for (size_t i = 0; i < n->change_count; i++)
		free(n->changes[i].data);
	n->change_count = 0;
}

void faulty_node_sync(struct faulty_node *n)
{
	if (n->directory) {
		struct view v;

		faulty_view_make(n, n->move_count, &v);
		free(n->entries);
		n->entries = faulty_copied(v.entry, v.count * sizeof(*v.entry));
		n->entry_count = v.count;
		n->move_count = 0;
		return;
	}
	for (size_t i = 0; i < n->change_count; i++)
		if (!n->changes[i].failed)
			bytes_apply(&n->durable, &n->changes[i]);
	faulty_changes_forget(n);
}

void faulty_node_fail(struct faulty_node *n)
{
	for (size_t i = 0; i < n->change_count; i++)
		n->changes[i].failed = true;
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
	version = faulty_grown(NULL, size_max / FAULTY_SECTOR + 1, sizeof(*version));
	for (size_t i = 0; i <= size_max / FAULTY_SECTOR; i++)
		version[i] = random_version(seed, keep, n->change_count);
	faulty_bytes_resize(&b, n->durable.size);
	if (b.size)
		memcpy(b.data, n->durable.data, b.size);
	faulty_bytes_resize(&b, size_max);
	for (size_t i = 0; i < n->change_count; i++)
		apply_by_sector(&b, &n->changes[i], i, version);
	free(version);
	faulty_bytes_resize(&b, size);
	return b;
}

static struct bytes contents(const struct faulty_node *n, enum faulty_loss loss, uint64_t *seed)
{
	const struct bytes *from = loss == FAULTY_KEEP || loss == FAULTY_LOSE_NAMES ? &n->live : &n->durable;
	struct bytes b = { 0 };

	if (loss == FAULTY_RANDOM)
		return random_contents(n, seed);
	faulty_bytes_resize(&b, from->size);
	if (b.size)
		memcpy(b.data, from->data, b.size);
	if (loss == FAULTY_ZERO_DATA)
		faulty_bytes_resize(&b, n->live.size);
	return b;
}

static void write_file(int dir, const char *name, const struct bytes *b)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		faulty_broken("cannot make an image", name);
	for (size_t at = 0; at < b->size;) {
		ssize_t n = pwrite(fd, b->data + at, b->size - at, (off_t)at);

		if (n <= 0)
			faulty_broken("cannot write an image", name);
		at += (size_t)n;
	}
	close(fd);
}

/* Some of the moves; what follows a lost one under the same name is lost with it. */
static void view_random(const struct faulty_node *n, uint64_t *seed, struct view *v)
{
	const char **lost = faulty_grown(NULL, 2 * n->move_count + 1, sizeof(*lost));
	size_t count = 0;

	faulty_view_make(n, 0, v);
	for (size_t i = 0; i < n->move_count; i++) {
		const struct move *m = &n->moves[i];
		bool keep = faulty_random(seed) % 2;

		for (size_t k = 0; k < count; k++)
			keep &= strcmp(lost[k], m->entry.name) && strcmp(lost[k], m->to);
		if (keep) {
			view_apply(v, m);
		} else {
			lost[count++] = m->entry.name;
			lost[count++] = m->kind == MOVE_RENAME ? m->to : m->entry.name;
		}
	}
	free(lost);
}

static void write_directory(const struct faulty_io *f, int node, enum faulty_loss loss, uint64_t *seed, int dir)
{
	const struct faulty_node *n = &f->nodes[node];
	size_t moves = n->move_count;
	bool prefix = loss != FAULTY_RANDOM || faulty_random(seed) % 2;
	struct view *v = faulty_grown(NULL, 1, sizeof(*v));

	if (loss == FAULTY_LOSE || loss == FAULTY_LOSE_NAMES)
		moves = 0;
	else if (loss == FAULTY_RANDOM)
		moves = faulty_random(seed) % (moves + 1);
	if (prefix)
		faulty_view_make(n, moves, v);
	else
		view_random(n, seed, v);
	for (size_t i = 0; i < v->count; i++) {
		const struct faulty_node *child = &f->nodes[v->entry[i].node];

		if (child->directory) {
			int fd;

			if (mkdirat(dir, v->entry[i].name, 0700))
				faulty_broken("cannot make an image", v->entry[i].name);
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
		faulty_broken("cannot open", path);
	write_directory(f, 0, loss, &seed, dir);
	close(dir);
}

struct bytes faulty_bytes_copy(const struct bytes *b)
{
	return (struct bytes) { .data = faulty_copied(b->data, b->size), .size = b->size };
}

void faulty_fork(const struct faulty_io *f, struct faulty_io *to, const char *path)
{
	faulty_begin(to, path);
	to->nodes = faulty_copied(f->nodes, f->node_count * sizeof(*f->nodes));
	to->node_count = f->node_count;
	for (size_t i = 0; i < f->node_count; i++) {
		const struct faulty_node *a = &f->nodes[i];
		struct faulty_node *b = &to->nodes[i];

		b->live = faulty_bytes_copy(&a->live);
		b->durable = faulty_bytes_copy(&a->durable);
		b->changes = faulty_copied(a->changes, a->change_count * sizeof(*a->changes));
		for (size_t c = 0; c < a->change_count; c++)
			b->changes[c].data = faulty_copied(a->changes[c].data, a->changes[c].size);
		b->entries = faulty_copied(a->entries, a->entry_count * sizeof(*a->entries));
		b->moves = faulty_copied(a->moves, a->move_count * sizeof(*a->moves));
	}
	faulty_image(f, FAULTY_KEEP, 0, path);
}

bool faulty_read_file(int dir, const char *name, struct bytes *b)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		faulty_broken("fstat", name);
	faulty_bytes_resize(b, (size_t)st.st_size);
	if (b->size && pread(fd, b->data, b->size, 0) != (ssize_t)b->size)
		faulty_broken("read", name);
	close(fd);
	return true;
}

static const char *directory_differs(const struct faulty_io *f, int node, int dir)
{
	DIR *stream = fdopendir(dup(dir));
	const char *why = NULL;
	size_t found = 0;
	struct view v;

	faulty_view_make(&f->nodes[node], f->nodes[node].move_count, &v);
	rewinddir(stream);
	for (struct dirent *d; !why && (d = readdir(stream));) {
		int child;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		found++;
		child = faulty_node_find(f, node, d->d_name);
		if (child < 0) {
			why = "a file the model does not have";
		} else if (f->nodes[child].directory) {
			int fd = openat(dir, d->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

			why = fd < 0 ? "a directory cannot be opened" : directory_differs(f, child, fd);
			close(fd);
		} else {
			struct bytes b = { 0 };

			if (!faulty_read_file(dir, d->d_name, &b))
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
		int node = f->nodes[i].directory ? faulty_node_find(f, (int)i, name) : -1;

		if (node >= 0)
			return zeros(&f->nodes[node].live) && zeros(&f->nodes[node].durable) && !f->nodes[node].change_count;
	}
	return false;
}
