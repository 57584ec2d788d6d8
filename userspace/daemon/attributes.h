/* SPDX-License-Identifier: MIT */
/* The attributes of a gallery's subjects: JSON text by subject, in the SQLite file attributes.db beside the gallery's own, and in memory. */
#ifndef LINEUPD_ATTRIBUTES_H
#define LINEUPD_ATTRIBUTES_H

#include "filter.h"

/*
 * How they stay in step with the gallery across a crash. A row is (subject's name, its number, sequence, text), text NULL for "none from here on". A change that comes with an
 * operation is written and synced *before* the gallery's commit, with the sequence number the operation will have; of a subject's rows the one with the largest sequence that is
 * not larger than the gallery's is in force. Opening drops rows with a larger sequence: their operation never was. A change of attributes alone has the gallery's present
 * sequence, and replaces a row with the same. Superseded rows go with the next change. secure_delete is on: what is dropped leaves the disk.
 */
struct attributes;

/* Opens or (with the first change) makes the file. @sequence: the gallery's. Reads all into memory. -EBADMSG, -EIO ...: logged. */
int attributes_open(const char *gallery_path, uint64_t sequence, struct attributes **attributes);
void attributes_close(struct attributes *attributes);

/* Copies; valid JSON objects or any JSON value as Redis takes it: -EINVAL for text that is no JSON. @size 0: none (removes). Staged until the commit. */
int attributes_put(struct attributes *attributes, const char *subject, uint32_t number, uint64_t sequence, const char *text, size_t size);
/* Makes what was put durable, in one transaction; nothing put: nothing is written. On failure all that was put is forgotten. -EIO, -ENOSPC: logged. */
int attributes_commit(struct attributes *attributes);
/* The gallery's commit with these sequences has succeeded (or, after attributes alone, nothing had to): what was put is in force. */
void attributes_apply(struct attributes *attributes);
/* It failed: takes back from the file what was committed but not applied; again at the next open if this fails. */
void attributes_revert(struct attributes *attributes);

/* The text of @subject, NUL-terminated, valid until the next change; NULL: none. */
const char *attributes_get(const struct attributes *attributes, const char *subject);
/*
 * A bitmap over subject numbers [0, numbers) of those that match @filter: caller frees. Elements without attributes match nothing. Remembers the last few filters' bitmaps until
 * something changes. -ENOMEM.
 */
int attributes_select(struct attributes *attributes, const struct filter *filter, const char *text, size_t size, uint64_t numbers, uint8_t **bitmap);
uint64_t attributes_count(const struct attributes *attributes);

#endif
