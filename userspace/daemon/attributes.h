/* SPDX-License-Identifier: MIT */
/*
 * The attributes of a gallery's subjects: JSON text by subject, in the SQLite file attributes.db beside the gallery's own, and
 * in memory.
 */
#ifndef LINEUPD_ATTRIBUTES_H
#define LINEUPD_ATTRIBUTES_H

#include "filter.h"

/*
 * How they stay in step with the gallery across a crash. A row is (subject's name, sequence, its number, text), text NULL for
 * "none from here on". A change that comes with an operation is written and synced *before* the gallery's commit, with the
 * sequence number the operation will have; of a subject's rows the one with the largest sequence that is not larger than the
 * gallery's is in force. Opening drops rows with a larger sequence: their operation never was. A change of attributes alone
 * has the sequence of the last operation before it, and replaces a row with the same.
 *
 * A subject whose rows on the disk are not, or may not be, exactly the one in force is written anew with the next commit:
 * superseded rows, those of operations that failed, those of a commit whose outcome is unknown. Therefore attributes_commit
 * comes before *every* commit of the gallery, also when nothing was put: a row that nobody took back must not come into force
 * with an operation that happens to get its number.
 *
 * Deleted rows are overwritten in the database (secure_delete), and in its log by attributes_settle.
 *
 * One thread at a time.
 */
struct attributes;

/* Opens or (with the first change) makes the file. @sequence: the gallery's. Reads all into memory. -EBADMSG, -EIO ...: logged. */
int attributes_open(const char *gallery_path, uint64_t sequence, struct attributes **attributes);
void attributes_close(struct attributes *attributes); /* takes NULL; what is staged is forgotten */
/*
 * After opening: makes attributes follow what was done to the gallery while nobody kept them, that is by the program lineup.
 * Asks @subject for each subject that has attributes: 0 with its number; -ENOENT: it has no templates, so its attributes go;
 * another error ends it. Does nothing if attributes_settle was last called at the sequence that the gallery still has.
 */
int attributes_follow(struct attributes *attributes, int (*subject)(void *arg, const char *subject, uint32_t *number), void *arg);

/*
 * Copies. Any JSON value, no member named twice: else -EINVAL, as for more than DAEMON_ATTRIBUTE_BYTES_MAX. @size 0: none
 * (removes). Staged until the commit.
 */
int attributes_put(struct attributes *attributes, const char *subject, uint32_t number, uint64_t sequence, const char *text,
		   size_t size);
/*
 * Makes what was put durable, in one transaction; nothing put and nothing to write anew: nothing is written. On failure all
 * that was put is forgotten, and the gallery's commit must not follow. -EIO, -ENOSPC: logged.
 */
int attributes_commit(struct attributes *attributes);
/*
 * The gallery's commit with these sequences has succeeded (or, after attributes alone, nothing had to): what was put is in
 * force.
 */
void attributes_apply(struct attributes *attributes);
/*
 * It failed, or there will be none: takes back from the file what was committed but not applied, at the latest with the next
 * commit.
 */
void attributes_revert(struct attributes *attributes);
/*
 * Nothing is staged: writes anew what has to be, overwrites the log, and notes that all is in step with the gallery at
 * @sequence. After a compaction, so that what was deleted is gone from here too, and before closing.
 */
int attributes_settle(struct attributes *attributes, uint64_t sequence);

/* The text of @subject, NUL-terminated, valid until the next change; NULL: none. */
const char *attributes_get(const struct attributes *attributes, const char *subject);
/*
 * A bitmap over subject numbers [0, numbers) of those that match @filter, compiled from @text: caller frees. Elements without
 * attributes match nothing. Remembers the last few filters' bitmaps, and keeps them up to date. -ENOMEM.
 */
int attributes_select(struct attributes *attributes, const struct filter *filter, const char *text, size_t size, uint64_t numbers,
		      uint8_t **bitmap);
uint64_t attributes_count(const struct attributes *attributes);

#endif
