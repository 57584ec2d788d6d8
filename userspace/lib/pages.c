// SPDX-License-Identifier: MIT
// Sorted regions of a segment, in pages of 4096 bytes: how they are written, and looked up without reading all of them.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

static uint64_t per_page(size_t entry_bytes)
{
	return sizeof(((struct disk_page *)0)->data) / entry_bytes;
}

static uint64_t page_count(size_t entry_bytes, uint64_t count)
{
	return (count + per_page(entry_bytes) - 1) / per_page(entry_bytes);
}

uint64_t lineup_pages_bytes(size_t entry_bytes, uint64_t count)
{
	return page_count(entry_bytes, count) * LINEUP_PAGE_BYTES;
}

static uint32_t entries_of(size_t entry_bytes, uint64_t count, uint64_t index)
{
	uint64_t left = count - index * per_page(entry_bytes);

	return (uint32_t)(left < per_page(entry_bytes) ? left : per_page(entry_bytes));
}

int lineup_pages_write(const struct lineup_files *files, int fd, uint64_t offset, const void *entries, size_t entry_bytes,
		       uint64_t count, uint64_t *end)
{
	enum { PAGES = 256 };
	struct disk_page *pages = malloc(PAGES * sizeof(*pages));
	uint64_t total = page_count(entry_bytes, count);
	int err = pages ? 0 : -ENOMEM;

	for (uint64_t first = 0; !err && first < total; first += PAGES) {
		uint64_t n = total - first < PAGES ? total - first : PAGES;

		memset(pages, 0, n * sizeof(*pages));
		for (uint64_t i = 0; i < n; i++) {
			pages[i].entries = entries_of(entry_bytes, count, first + i);
			memcpy(pages[i].data, (const uint8_t *)entries + (first + i) * per_page(entry_bytes) * entry_bytes,
			       pages[i].entries * entry_bytes);
			pages[i].crc = lineup_crc32c(0, (const uint8_t *)&pages[i] + 4, sizeof(pages[i]) - 4);
		}
		err = lineup_io_write(files->ctx, fd, pages, n * sizeof(*pages), offset + first * sizeof(*pages));
	}
	free(pages);
	*end = offset + total * sizeof(*pages);
	return err;
}

const char *lineup_pages_verify(const struct disk_page *page, size_t entry_bytes, uint64_t count, uint64_t index)
{
	uint32_t entries = entries_of(entry_bytes, count, index);

	if (page->crc != lineup_crc32c(0, (const uint8_t *)page + 4, sizeof(*page) - 4))
		return "the page's checksum is wrong";
	if (page->entries != entries)
		return "the page's number of entries is wrong";
	if (!lineup_files_zero(page->data + entries * entry_bytes, sizeof(page->data) - entries * entry_bytes))
		return "unused bytes of the page are not zero";
	return NULL;
}

static int compare_index(const void *entry, const void *key)
{
	uint64_t a = ((const struct disk_index_entry *)entry)->hash, b;

	memcpy(&b, key, sizeof(b));
	return a < b ? -1 : a > b;
}

static int compare_op(const void *entry, const void *key)
{
	return memcmp(((const struct disk_op *)entry)->op_id, key, LINEUP_OP_ID_BYTES);
}

void lineup_pages_index(struct lineup_pages *pages, struct lineup_ctx *ctx, const struct lineup_segment *segment)
{
	*pages = (struct lineup_pages){ .segment = segment,
					.ctx = ctx,
					.offset = segment->index_offset,
					.count = segment->rows,
					.entry_bytes = sizeof(struct disk_index_entry),
					.compare = compare_index,
					.loaded = UINT64_MAX };
}

void lineup_pages_ops(struct lineup_pages *pages, struct lineup_ctx *ctx, const struct lineup_segment *segment)
{
	*pages = (struct lineup_pages){ .segment = segment,
					.ctx = ctx,
					.offset = segment->ops_offset,
					.count = segment->ops,
					.entry_bytes = sizeof(struct disk_op),
					.compare = compare_op,
					.loaded = UINT64_MAX };
}

static int load(struct lineup_pages *p, uint64_t index, struct lineup_fault *fault)
{
	uint64_t offset = p->offset + index * LINEUP_PAGE_BYTES;
	const char *why;
	int err;

	if (p->loaded == index)
		return 0;
	p->loaded = UINT64_MAX;
	err = lineup_io_read(p->ctx, p->segment->fd, &p->page, sizeof(p->page), offset);
	if (err)
		return lineup_fault_set(fault, err == -ENODATA ? -EBADMSG : err, "segment-%08x: byte %llu: cannot read: %s",
					p->segment->generation, (unsigned long long)offset, strerror(-err));
	why = lineup_pages_verify(&p->page, p->entry_bytes, p->count, index);
	if (why)
		return lineup_fault_set(fault, -EBADMSG, "segment-%08x: byte %llu: %s", p->segment->generation,
					(unsigned long long)offset, why);
	p->loaded = index;
	return 0;
}

/* *@less: whether page @index begins with an entry less than @key. */
static int begins_less(struct lineup_pages *p, uint64_t index, const void *key, bool *less, struct lineup_fault *fault)
{
	int err = load(p, index, fault);

	if (!err)
		*less = p->compare(p->page.data, key) < 0;
	return err;
}

/* *@low: the last page that begins with an entry less than @key, or 0. Gallops from the last place. */
static int find_page(struct lineup_pages *p, uint64_t pages, const void *key, uint64_t *low, struct lineup_fault *fault)
{
	uint64_t lo = p->place, hi = pages, step = 1;
	bool less = true;
	int err = begins_less(p, lo, key, &less, fault);

	if (err)
		return err;
	if (!less) {
		hi = lo;
		lo = 0;
	}
	while (less && lo + step < pages) {
		err = begins_less(p, lo + step, key, &less, fault);
		if (err)
			return err;
		if (less)
			lo += step;
		else
			hi = lo + step;
		step *= 2;
	}
	while (lo + 1 < hi) {
		uint64_t middle = lo + (hi - lo) / 2;

		err = begins_less(p, middle, key, &less, fault);
		if (err)
			return err;
		if (less)
			lo = middle;
		else
			hi = middle;
	}
	*low = lo;
	return 0;
}

/* Whether find_page would find the page that is loaded: the usual case for keys in ascending order, told without another read. */
static bool within_loaded(const struct lineup_pages *p, const void *key)
{
	return p->loaded == p->place && p->compare(p->page.data, key) < 0 &&
	       p->compare(p->page.data + (p->page.entries - 1) * p->entry_bytes, key) >= 0;
}

int lineup_pages_seek(struct lineup_pages *p, const void *key, uint64_t *position, struct lineup_fault *fault)
{
	uint64_t pages = page_count(p->entry_bytes, p->count), page = 0;
	uint32_t lo = 0, hi;
	int err;

	if (!p->count) {
		*position = 0;
		return 0;
	}
	if (within_loaded(p, key)) {
		page = p->place;
	} else {
		err = find_page(p, pages, key, &page, fault);
		if (!err)
			err = load(p, page, fault);
		if (err)
			return err;
		p->place = page;
	}
	hi = p->page.entries;
	while (lo < hi) {
		uint32_t middle = (lo + hi) / 2;

		if (p->compare(p->page.data + middle * p->entry_bytes, key) < 0)
			lo = middle + 1;
		else
			hi = middle;
	}
	*position = page * per_page(p->entry_bytes) + lo;
	return 0;
}

int lineup_pages_entry(struct lineup_pages *p, uint64_t position, const void **entry, struct lineup_fault *fault)
{
	int err = load(p, position / per_page(p->entry_bytes), fault);

	if (!err)
		*entry = p->page.data + position % per_page(p->entry_bytes) * p->entry_bytes;
	return err;
}
