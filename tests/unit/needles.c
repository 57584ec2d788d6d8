// SPDX-License-Identifier: MIT
// Needles, kept so that they do not find themselves, and the search of all mappings for them.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "needles.h"

enum { NEEDLES_MAX = 8, MAPPINGS_MAX = 8192, CHUNK = 1 << 20 };

static const void *vault;
static size_t vault_size;
static uint8_t *chunk; /* a mapping of its own */

/* A needle is kept with every bit turned, so that it does not find itself. */
struct needle {
	const char *what;
	uint32_t bytes;
	uint8_t turned[NEEDLE_BYTES];
};

static struct needle needles[NEEDLES_MAX];
static uint32_t count;
static bool begins[256]; /* whether a needle begins with this byte: most places are passed over by this alone */

static inline uint8_t turn(uint8_t byte)
{
	return byte ^ 0xff;
}

void needle_add(const char *what, const void *data, uint32_t bytes)
{
	struct needle *n = &needles[count++];

	assert_true(count <= NEEDLES_MAX && bytes >= NEEDLE_BYTES_MIN && bytes <= NEEDLE_BYTES);
	begins[((const uint8_t *)data)[0]] = true;
	n->what = what;
	n->bytes = bytes;
	for (uint32_t i = 0; i < bytes; i++)
		n->turned[i] = turn(((const uint8_t *)data)[i]);
}

static bool needle_at(const struct needle *n, const uint8_t *p)
{
	for (uint32_t i = 0; i < n->bytes; i++)
		if (turn(p[i]) != n->turned[i])
			return false;
	return true;
}

const char *needle_in(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i + NEEDLE_BYTES_MIN <= size; i += 4)
		for (uint32_t n = 0; n < count && begins[p[i]]; n++)
			if (i + needles[n].bytes <= size && needle_at(&needles[n], p + i))
				return needles[n].what;
	return NULL;
}

/* ---- this process's memory ---- */

struct mapping {
	uintptr_t start;
	uintptr_t end;
	bool writable;
	bool dontdump;
	char name[64];
};

static struct mapping mappings[MAPPINGS_MAX];
static uint32_t mapping_count;

static void mappings_read(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];

	assert_non_null(f);
	mapping_count = 0;
	while (fgets(line, sizeof(line), f)) {
		struct mapping *m = &mappings[mapping_count];
		char perms[8] = "";
		int name_at = 0;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %*s %n", &m->start, &m->end, perms, &name_at) == 3 &&
		    name_at) {
			assert_true(++mapping_count < MAPPINGS_MAX);
			m->writable = perms[1] == 'w';
			m->dontdump = false;
			snprintf(m->name, sizeof(m->name), "%s", line + name_at);
			m->name[strcspn(m->name, "\n")] = 0;
		} else if (mapping_count && !strncmp(line, "VmFlags:", 8)) {
			mappings[mapping_count - 1].dontdump = strstr(line, " dd") != NULL;
		}
	}
	fclose(f);
}

static void scan_mapping(const struct mapping *m, struct found *found)
{
	for (uintptr_t at = m->start; at < m->end; at += CHUNK) {
		size_t size = m->end - at < CHUNK + NEEDLE_BYTES ? m->end - at : CHUNK + NEEDLE_BYTES;
		struct iovec to = { chunk, size }, from = { (void *)at, size };
		ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
		const char *needle = n > 0 ? needle_in(chunk, (size_t)n) : NULL;

		if (!needle)
			continue;
		found->places++;
		found->undumped += m->dontdump;
		if (!m->dontdump)
			snprintf(found->where, sizeof(found->where), "%s in %" PRIxPTR "-%" PRIxPTR " %s", needle, m->start,
				 m->end, m->name);
	}
	explicit_bzero(chunk, CHUNK + NEEDLE_BYTES);
}

static bool overlaps(const struct mapping *m, const void *p, size_t size)
{
	return m->start < (uintptr_t)p + size && m->end > (uintptr_t)p;
}

struct found needles_find(void)
{
	struct found found = { 0 };

	mappings_read();
	for (uint32_t i = 0; i < mapping_count; i++) {
		const struct mapping *m = &mappings[i];

		if (!m->writable || overlaps(m, vault, vault_size) || overlaps(m, chunk, CHUNK + NEEDLE_BYTES))
			continue;
		if (m->end - m->start > 4ULL << 30) /* a sanitizer's shadow */
			continue;
		scan_mapping(m, &found);
	}
	return found;
}

uint32_t needle_count(void)
{
	return count;
}

uint32_t needle_copy(uint32_t index, uint8_t *data)
{
	for (uint32_t i = 0; i < needles[index].bytes; i++)
		data[i] = turn(needles[index].turned[i]);
	return needles[index].bytes;
}

void needles_begin(const void *where, size_t size)
{
	vault = where;
	vault_size = size;
	count = 0;
	memset(begins, 0, sizeof(begins));
	/* Shared, so that it is not joined to any other mapping. */
	chunk = mmap(NULL, CHUNK + NEEDLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(chunk != MAP_FAILED);
	assert_int_equal(madvise(chunk, CHUNK + NEEDLE_BYTES, MADV_DONTDUMP), 0);
}

void needles_end(void)
{
	munmap(chunk, CHUNK + NEEDLE_BYTES);
}
