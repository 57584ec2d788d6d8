/* SPDX-License-Identifier: MIT */
/* A lineup_io over a real directory that knows what a power cut would leave of it, and can fail, shorten or stop any call. */
#ifndef FAULTY_IO_H
#define FAULTY_IO_H

#include <limits.h>

#include "io.h"

/*
 * The model is stricter than any file system in use, as strict as POSIX allows:
 *
 *	file        written bytes and sizes are in the page cache ("live") until fdatasync or fsync of the file makes them durable. Until
 *	            then a power cut keeps or loses each 512-byte sector on its own, in any version it had, and any of the sizes. The sync makes
 *	            nothing of its directory entry durable.
 *	directory   creations, renames and unlinks are durable after fsync of the directory. Until then a power cut keeps some of them, those
 *	            of one name in their order. A rename is one step.
 *	failed sync what was written before a failed sync stays readable, and no later sync makes it durable (Linux marks the pages clean); a cut
 *	            may find it on the disk or not.
 *
 * kill -9 keeps everything but the part of a write that had not been copied yet. Syncs are modelled only: the real ones would cost time.
 * Paths must be absolute. One thread.
 */
enum faulty_call {
	FAULTY_CREATE, /* open with O_CREAT or O_TRUNC */
	FAULTY_PWRITE,
	FAULTY_FDATASYNC,
	FAULTY_FSYNC,
	FAULTY_FTRUNCATE,
	FAULTY_RENAME,
	FAULTY_UNLINK,
	FAULTY_MKDIR,
	FAULTY_RMDIR, /* the last that changes something */
	FAULTY_OPEN,
	FAULTY_PREAD,
	FAULTY_FLOCK,
	FAULTY_FSTAT,
	FAULTY_CALLS,
};

extern const char *const faulty_call_name[FAULTY_CALLS];

/* What is left of the directory after a cut. */
enum faulty_loss {
	FAULTY_KEEP,       /* everything: kill -9 */
	FAULTY_LOSE,       /* nothing that was not synced */
	FAULTY_LOSE_DATA,  /* directories as they were, files as last synced */
	FAULTY_ZERO_DATA,  /* as before, but with the new sizes: zeros where data had been added */
	FAULTY_LOSE_NAMES, /* files as they were, directories as last synced */
	FAULTY_RANDOM,     /* by the seed */
};

struct faulty_node;

struct faulty_io {
	struct lineup_io io;
	char root[PATH_MAX]; /* an existing directory; durable, with what it holds, when faulty_init returns */
	struct faulty_node *nodes; /* 0 is the root */
	size_t node_count;
	int *fd_node; /* by descriptor; -1: not below the root */
	size_t fd_count;

	/* Called before each mutating call, when it is still to happen; never from itself. */
	void (*hook)(struct faulty_io *f, void *arg);
	void *hook_arg;
	bool in_hook;
	/* The call that is about to happen, for the hook, and the last one that was made to fail. */
	enum faulty_call call;
	char name[NAME_MAX + 1];
	uint64_t mutations;  /* mutating calls so far */

	/* Faults: call number fail_at (from 1), of the kinds in fail_mask, fails with fail_error; 0: none. */
	uint64_t fail_at;
	uint64_t fail_calls; /* calls of these kinds so far */
	uint32_t fail_mask;  /* bit 1 << enum faulty_call */
	int fail_error;
	bool fail_exit;      /* _exit(FAULTY_EXIT) instead */
	bool fail_for_ever;  /* and every call after it, of any kind but close and flock */
	size_t fail_short;   /* a pwrite that fails writes this many bytes first, reports them, and fails when it is continued */
	bool failed;
	char failed_name[NAME_MAX + 1];
	enum faulty_call failed_call;
	size_t write_max;    /* a pwrite writes no more; 0: all */
	size_t read_max;     /* a pread reads no more; 0: all */
};

enum { FAULTY_EXIT = 77, FAULTY_SECTOR = 512 };

#define FAULTY_MUTATING ((1u << (FAULTY_RMDIR + 1)) - 1)
#define FAULTY_ALL ((1u << FAULTY_CALLS) - 1)

void faulty_init(struct faulty_io *f, const char *root);
void faulty_fini(struct faulty_io *f);
/* Clears faults, hook and counters; the model stays. */
void faulty_calm(struct faulty_io *f);
/* Puts what a cut at this moment leaves of the root into the empty directory @path. */
void faulty_image(const struct faulty_io *f, enum faulty_loss loss, uint64_t seed, const char *path);
/* @to (uninitialised) at the new root @path, an empty directory, which gets the live contents; what is not durable in @f is not in @to. */
void faulty_fork(const struct faulty_io *f, struct faulty_io *to, const char *path);
/* The live contents are what the real directory holds; NULL, or what is not. Static text. */
const char *faulty_differs(const struct faulty_io *f);
/* Of the file that the call names (f->name): holds only zeros, live and durable. */
bool faulty_wiped(const struct faulty_io *f, const char *name);

/* splitmix64 */
uint64_t faulty_random(uint64_t *state);
/* Removes everything below @path, and @path itself. */
void faulty_remove(const char *path);
/* A new directory for a test, absolute; into @path[PATH_MAX]. @memory: in memory if possible, for who makes thousands of images. */
void faulty_directory(char *path, bool memory);

#endif
