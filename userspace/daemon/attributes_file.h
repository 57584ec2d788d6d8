/* SPDX-License-Identifier: MIT */
/* The file attributes.db of a gallery: an SQLite database of rows (subject, sequence, number, text), for attributes.c alone. */
#ifndef LINEUPD_ATTRIBUTES_FILE_H
#define LINEUPD_ATTRIBUTES_FILE_H

#include "daemon.h"

struct attributes_file;

struct attributes_row {
	const char *subject;
	uint64_t sequence;
	uint32_t number;
	const char *text; /* NULL: none from here on */
	size_t size;
};

/*
 * All functions return 0, or -errno once it is logged: -ENOSPC, -ENOMEM, -EBADMSG (damaged, or not ours), -EACCES, -EIO. A
 * transaction that failed is over, and what the disk holds of it is unknown until the next one has succeeded or the file is
 * opened again.
 */

/*
 * Opens the file, or nothing if there is none or an empty one: the first transaction makes it. Takes away rows with a larger
 * sequence than @sequence.
 */
int attributes_file_open(const char *gallery_path, uint64_t sequence, struct attributes_file **file);
void attributes_file_close(struct attributes_file *file); /* takes NULL */
/*
 * Tells every row, by subject and then by sequence, until @each returns non-zero, which is then returned. The row is valid
 * during the call.
 */
int attributes_file_read(struct attributes_file *file, int (*each)(void *arg, const struct attributes_row *row), void *arg);
/* The sequence last noted; UINT64_MAX: none. */
uint64_t attributes_file_noted(const struct attributes_file *file);

int attributes_file_begin(struct attributes_file *file);
int attributes_file_clear(struct attributes_file *file, const char *subject);               /* all rows of it */
int attributes_file_put(struct attributes_file *file, const struct attributes_row *row); /* or replaces the one with this sequence */
int attributes_file_note(struct attributes_file *file, uint64_t sequence);
int attributes_file_commit(struct attributes_file *file); /* durable when it returns 0 */

/* Overwrites what the write-ahead log holds, which is old rows too. Outside transactions. */
int attributes_file_wipe(struct attributes_file *file);

#endif
