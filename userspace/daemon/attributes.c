// SPDX-License-Identifier: MIT
// Attributes in memory: a table by subject, what is staged, and bitmaps of the filters that were last asked for.
#include "attributes.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attributes_file.h"

enum {
	BUCKETS_MIN = 64,
	SELECTIONS_MAX = 8,
	JSON_FLAGS = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
};

/* What is in force for a subject; without text while something staged, or rows on the disk, still need its name. */
struct entry {
	struct entry *next;       /* in its bucket */
	struct entry *next_dirty; /* of those whose rows have to be written anew */
	bool dirty;
	uint32_t staged;          /* changes that point here */
	uint32_t number;
	uint64_t sequence;
	char *text;
	size_t size;
	char subject[];
};

struct change {
	struct entry *entry;
	uint32_t number;
	uint64_t sequence;
	char *text;
	size_t size;
};

/* What a filter selects, up to date. */
struct selection {
	char *text;               /* NULL: not used */
	size_t size;
	struct filter *filter;
	uint8_t *bits;
	uint64_t bytes;
	uint64_t used;            /* when, as a count of selections */
};

struct attributes {
	struct attributes_file *file;
	uint64_t sequence;        /* of the gallery when it was opened */
	struct entry **bucket;
	uint64_t buckets, entries, count;
	unsigned char key[crypto_shorthash_KEYBYTES];
	struct entry *dirty;
	struct change *change;
	size_t changes, changes_max;
	struct selection selection[SELECTIONS_MAX];
	uint64_t selections;
};

/* Attributes are about people. */
static void erase(char *text, size_t size)
{
	if (text)
		explicit_bzero(text, size);
	free(text);
}

static char *copy(const char *text, size_t size)
{
	char *to = malloc(size + 1);

	if (to) {
		memcpy(to, text, size);
		to[size] = 0;
	}
	return to;
}

/* ---- the table ---- */

static struct entry **bucket_of(const struct attributes *a, const char *subject)
{
	uint64_t hash = 0;

	crypto_shorthash((unsigned char *)&hash, (const unsigned char *)subject, strlen(subject), a->key);
	return &a->bucket[hash & (a->buckets - 1)];
}

static struct entry *find(const struct attributes *a, const char *subject)
{
	struct entry *e = a->buckets ? *bucket_of(a, subject) : NULL;

	while (e && strcmp(e->subject, subject) != 0)
		e = e->next;
	return e;
}

static int grow(struct attributes *a)
{
	uint64_t buckets = a->buckets, wanted = buckets ? 2 * buckets : BUCKETS_MIN;
	struct entry **old = a->bucket, **bucket = calloc(wanted, sizeof(*bucket));

	if (!bucket)
		return -ENOMEM;
	a->bucket = bucket;
	a->buckets = wanted;
	for (uint64_t i = 0; i < buckets; i++) {
		for (struct entry *e = old[i], *next; e; e = next) {
			struct entry **to = bucket_of(a, e->subject);

			next = e->next;
			e->next = *to;
			*to = e;
		}
	}
	free(old);
	return 0;
}

/* The subject's, made if need be; NULL: no memory. */
static struct entry *entry_for(struct attributes *a, const char *subject)
{
	size_t size = strlen(subject) + 1;
	struct entry *e = find(a, subject), **to;

	if (e || (a->entries >= a->buckets && grow(a)))
		return e;
	e = calloc(1, sizeof(*e) + size);
	if (!e)
		return NULL;
	memcpy(e->subject, subject, size);
	to = bucket_of(a, subject);
	e->next = *to;
	*to = e;
	a->entries++;
	return e;
}

/* Forgets the subject if nothing is known or wanted of it any more. */
static void release(struct attributes *a, struct entry *e)
{
	struct entry **to;

	if (e->text || e->dirty || e->staged)
		return;
	for (to = bucket_of(a, e->subject); *to != e; to = &(*to)->next)
		;
	*to = e->next;
	a->entries--;
	free(e);
}

static void mark(struct attributes *a, struct entry *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	e->next_dirty = a->dirty;
	a->dirty = e;
}

static void forget_changes(struct attributes *a)
{
	for (size_t i = 0; i < a->changes; i++) {
		struct change *c = &a->change[i];

		erase(c->text, c->size);
		c->entry->staged--;
		release(a, c->entry);
	}
	a->changes = 0;
}

/* ---- filters ---- */

static bool entry_matches(const struct filter *filter, const struct entry *e)
{
	json_t *json = e->text ? json_loadb(e->text, e->size, JSON_FLAGS, NULL) : NULL;
	bool match = filter_matches(filter, json);

	json_decref(json);
	return match;
}

static void drop_selection(struct selection *s)
{
	free(s->text);
	free(s->bits);
	filter_destroy(s->filter);
	*s = (struct selection){ 0 };
}

static int set_bit(struct selection *s, uint64_t number)
{
	uint64_t bytes = number / 8 + 1;
	uint8_t *bits;

	if (bytes > s->bytes) {
		bytes = bytes < 2 * s->bytes ? 2 * s->bytes : bytes;
		bits = realloc(s->bits, bytes);
		if (!bits)
			return -ENOMEM;
		memset(bits + s->bytes, 0, bytes - s->bytes);
		s->bits = bits;
		s->bytes = bytes;
	}
	s->bits[number / 8] |= (uint8_t)(1 << number % 8);
	return 0;
}

/* Before (@gone) and after an entry changes. One that cannot follow is made anew when it is asked for. */
static void update_selections(struct attributes *a, const struct entry *e, bool gone)
{
	for (size_t i = 0; i < SELECTIONS_MAX; i++) {
		struct selection *s = &a->selection[i];

		if (!s->text || !e->text)
			continue;
		if (gone && e->number / 8 < s->bytes)
			s->bits[e->number / 8] &= (uint8_t)~(1 << e->number % 8);
		else if (!gone && entry_matches(s->filter, e) && set_bit(s, e->number))
			drop_selection(s);
	}
}

static int make_selection(struct attributes *a, const char *text, size_t size, struct selection *s)
{
	char error[256];
	int err = 0;

	*s = (struct selection){ .text = copy(text, size), .size = size };
	if (!s->text)
		return -ENOMEM;
	err = filter_compile(text, size, &s->filter, error);
	for (uint64_t i = 0; !err && i < a->buckets; i++)
		for (struct entry *e = a->bucket[i]; !err && e; e = e->next)
			if (entry_matches(s->filter, e))
				err = set_bit(s, e->number);
	if (err)
		drop_selection(s);
	return err;
}

int attributes_select(struct attributes *a, const struct filter *filter, const char *text, size_t size, uint64_t numbers,
		      uint8_t **bitmap)
{
	struct selection *s = NULL, *oldest = &a->selection[0];
	uint64_t bytes = numbers / 8 + (numbers % 8 != 0);
	uint8_t *bits = calloc(bytes + !bytes, 1);
	int err = bits ? 0 : -ENOMEM;

	(void)filter; /* it is compiled again, to be kept */
	for (size_t i = 0; i < SELECTIONS_MAX && !s; i++) {
		struct selection *t = &a->selection[i];

		if (t->text && t->size == size && !memcmp(t->text, text, size))
			s = t;
		else if (t->used < oldest->used)
			oldest = t;
	}
	if (!err && !s) {
		drop_selection(oldest);
		err = make_selection(a, text, size, oldest);
		s = oldest;
	}
	if (err) {
		free(bits);
		return err;
	}
	s->used = ++a->selections;
	memcpy(bits, s->bits ? s->bits : bits, s->bytes < bytes ? s->bytes : bytes);
	if (numbers % 8)
		bits[bytes - 1] &= (uint8_t)((1 << numbers % 8) - 1);
	*bitmap = bits;
	return 0;
}

/* ---- changes ---- */

/* Gives @e what it takes: @text. The rows on the disk that it replaces are superseded. */
static void enforce(struct attributes *a, struct entry *e, uint32_t number, uint64_t sequence, char *text, size_t size)
{
	update_selections(a, e, true);
	if ((e->text && e->sequence != sequence) || !text)
		mark(a, e);
	a->count += !e->text && text;
	a->count -= e->text && !text;
	erase(e->text, e->size);
	e->number = number;
	e->sequence = sequence;
	e->text = text;
	e->size = size;
	update_selections(a, e, false);
}

static int load_row(void *arg, const struct attributes_row *row)
{
	struct attributes *a = arg;
	struct entry *e = entry_for(a, row->subject);
	char *text = e && row->text ? copy(row->text, row->size) : NULL;

	if (!e || (row->text && !text))
		return -ENOMEM;
	enforce(a, e, row->number, row->sequence, text, row->size);
	return 0;
}

int attributes_open(const char *gallery_path, uint64_t sequence, struct attributes **attributes)
{
	struct attributes *a = calloc(1, sizeof(*a));
	int err = a ? 0 : -ENOMEM;

	if (!err) {
		a->sequence = sequence;
		randombytes_buf(a->key, sizeof(a->key));
		err = attributes_file_open(gallery_path, sequence, &a->file);
	}
	err = err ? err : attributes_file_read(a->file, load_row, a);
	if (err)
		attributes_close(a);
	else
		*attributes = a;
	return err;
}

void attributes_close(struct attributes *a)
{
	if (!a)
		return;
	forget_changes(a);
	free(a->change);
	for (size_t i = 0; i < SELECTIONS_MAX; i++)
		drop_selection(&a->selection[i]);
	for (uint64_t i = 0; i < a->buckets; i++) {
		for (struct entry *e = a->bucket[i], *next; e; e = next) {
			next = e->next;
			erase(e->text, e->size);
			free(e);
		}
	}
	free(a->bucket);
	attributes_file_close(a->file);
	free(a);
}

int attributes_follow(struct attributes *a, int (*subject)(void *arg, const char *subject, uint32_t *number), void *arg)
{
	if (attributes_file_noted(a->file) == a->sequence)
		return 0;
	for (uint64_t i = 0; i < a->buckets; i++) {
		for (struct entry *e = a->bucket[i]; e; e = e->next) {
			uint32_t number = e->number;
			int err = e->text ? subject(arg, e->subject, &number) : 0;

			if (err && err != -ENOENT)
				return err;
			if (err) {
				enforce(a, e, e->number, e->sequence, NULL, 0);
			} else if (number != e->number) {
				update_selections(a, e, true);
				e->number = number;
				update_selections(a, e, false);
				mark(a, e);
			}
		}
	}
	return 0;
}

int attributes_put(struct attributes *a, const char *subject, uint32_t number, uint64_t sequence, const char *text, size_t size)
{
	json_t *json = size && size <= DAEMON_ATTRIBUTE_BYTES_MAX ? json_loadb(text, size, JSON_FLAGS, NULL) : NULL;
	struct change *c;
	struct entry *e;

	if (size && !json)
		return -EINVAL;
	json_decref(json);
	if (a->changes == a->changes_max) {
		size_t max = a->changes_max ? 2 * a->changes_max : 64;

		c = realloc(a->change, max * sizeof(*c));
		if (!c)
			return -ENOMEM;
		a->change = c;
		a->changes_max = max;
	}
	e = entry_for(a, subject);
	if (!e)
		return -ENOMEM;
	c = &a->change[a->changes];
	*c = (struct change){ .entry = e, .number = number, .sequence = sequence, .size = size };
	c->text = size ? copy(text, size) : NULL;
	if (size && !c->text) {
		release(a, e);
		return -ENOMEM;
	}
	e->staged++;
	a->changes++;
	return 0;
}

static int put_row(struct attributes *a, const struct entry *e, uint32_t number, uint64_t sequence, const char *text, size_t size)
{
	return attributes_file_put(a->file, &(struct attributes_row){ e->subject, sequence, number, text, size });
}

/* Makes the rows of dirty subjects what is in force, in the present transaction. */
static int write_dirty(struct attributes *a)
{
	int err = 0;

	for (struct entry *e = a->dirty; !err && e; e = e->next_dirty) {
		err = attributes_file_clear(a->file, e->subject);
		if (!err && e->text)
			err = put_row(a, e, e->number, e->sequence, e->text, e->size);
	}
	return err;
}

/* That transaction is durable. */
static void clean_dirty(struct attributes *a)
{
	for (struct entry *e = a->dirty, *next; e; e = next) {
		next = e->next_dirty;
		e->dirty = false;
		release(a, e);
	}
	a->dirty = NULL;
}

int attributes_commit(struct attributes *a)
{
	int err;

	if (!a->changes && !a->dirty)
		return 0;
	err = attributes_file_begin(a->file);
	err = err ? err : write_dirty(a);
	for (size_t i = 0; !err && i < a->changes; i++) {
		struct change *c = &a->change[i];

		err = put_row(a, c->entry, c->number, c->sequence, c->text, c->size);
	}
	err = err ? err : attributes_file_commit(a->file);
	if (!err) {
		clean_dirty(a);
		return 0;
	}
	/* Nobody knows what the file holds of them. */
	for (size_t i = 0; i < a->changes; i++)
		mark(a, a->change[i].entry);
	forget_changes(a);
	return err;
}

void attributes_apply(struct attributes *a)
{
	for (size_t i = 0; i < a->changes; i++) {
		struct change *c = &a->change[i];

		enforce(a, c->entry, c->number, c->sequence, c->text, c->size);
		c->text = NULL;
		c->entry->staged--;
	}
	a->changes = 0;
}

/* What is dirty, and @sequence unless it is UINT64_MAX, in a transaction of its own. */
static int write_anew(struct attributes *a, uint64_t sequence)
{
	int err = attributes_file_begin(a->file);

	err = err ? err : write_dirty(a);
	if (!err && sequence != UINT64_MAX)
		err = attributes_file_note(a->file, sequence);
	err = err ? err : attributes_file_commit(a->file);
	if (!err)
		clean_dirty(a);
	return err;
}

void attributes_revert(struct attributes *a)
{
	for (size_t i = 0; i < a->changes; i++)
		mark(a, a->change[i].entry);
	forget_changes(a);
	if (a->dirty)
		write_anew(a, UINT64_MAX); /* a failure is logged, and they stay dirty */
}

int attributes_settle(struct attributes *a, uint64_t sequence)
{
	bool noted = attributes_file_noted(a->file) == sequence;
	int err = 0;

	if (a->dirty || (!noted && a->count))
		err = write_anew(a, sequence);
	return err ? err : attributes_file_wipe(a->file);
}

const char *attributes_get(const struct attributes *a, const char *subject)
{
	const struct entry *e = find(a, subject);

	return e ? e->text : NULL;
}

uint64_t attributes_count(const struct attributes *a)
{
	return a->count;
}
