/* SPDX-License-Identifier: MIT */
/* The model behind faulty_io.h: files and directories, what is durable of them and what is not yet. */
#ifndef FAULTY_DISK_H
#define FAULTY_DISK_H

#include "faulty_io.h"

enum { VIEW_MAX = 512 };

struct bytes {
	uint8_t *data;
	size_t size;
};

struct change { /* of a file's contents, not yet durable */
	bool truncate;
	bool failed; /* to be synced: later syncs leave it out, a cut may find it on the disk or not */
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

/* A test that cannot go on because the harness itself is wrong. */
_Noreturn void faulty_broken(const char *what, const char *detail);
/* realloc and memdup that do not fail. */
void *faulty_grown(void *p, size_t count, size_t size);
void *faulty_copied(const void *p, size_t size);
void faulty_copy_name(char *to, const char *from);

void faulty_bytes_resize(struct bytes *b, size_t size);
struct bytes faulty_bytes_copy(const struct bytes *b);
bool faulty_read_file(int dir, const char *name, struct bytes *b);

/* Nodes are known by their index: a new one may move them all. */
int faulty_node_new(struct faulty_io *f, bool directory, int parent);
int faulty_node_find(const struct faulty_io *f, int dir, const char *name);
void faulty_node_move(struct faulty_io *f, int dir, int kind, const char *name, int node, const char *to);
void faulty_node_change(struct faulty_node *n, bool truncate, const void *data, size_t size, size_t offset);
void faulty_node_sync(struct faulty_node *n);
void faulty_changes_forget(struct faulty_node *n);
void faulty_node_fail(struct faulty_node *n); /* its sync failed */
/* A directory's entries after the first @moves of those that are not durable. */
void faulty_view_make(const struct faulty_node *n, size_t moves, struct view *v);
/* An empty model, without nodes. */
void faulty_begin(struct faulty_io *f, const char *root);

#endif
