// SPDX-License-Identifier: MIT
// Which devices a selector names.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vk.h"

enum { WORD_MAX = 64, UUID_DIGITS = 32, INDEX_DIGITS_MAX = 4 };

struct choice {
	struct lineup_ctx *ctx;
	struct lineup_device all[LINEUP_DEVICES_MAX];
	uint32_t count;
	const char *why_none;
};

/* Hex digits of a UUID, dashes left out; false if @word is none. */
static bool is_uuid(const char *word, uint8_t uuid[16])
{
	uint32_t digits = 0;

	for (; *word; word++) {
		int c = tolower((unsigned char)*word);

		if (c == '-')
			continue;
		if (!isxdigit(c) || digits == UUID_DIGITS)
			return false;
		c = c <= '9' ? c - '0' : c - 'a' + 10;
		uuid[digits / 2] = (uint8_t)(digits % 2 ? uuid[digits / 2] | c : c << 4);
		digits++;
	}
	return digits == UUID_DIGITS;
}

/* Reads 1 to @digits_max hex digits; NULL if there are none. */
static const char *read_hex(const char *at, uint32_t digits_max, uint32_t *value)
{
	const char *begin = at;

	for (*value = 0; isxdigit((unsigned char)*at) && at < begin + digits_max; at++)
		*value = *value << 4 | (uint32_t)(*at <= '9' ? *at - '0' : tolower((unsigned char)*at) - 'a' + 10);
	return at > begin ? at : NULL;
}

/* "c1:00.0" or "0000:c1:00.0" as the latter. */
static bool is_pci(const char *word, char pci[16])
{
	bool has_domain = strchr(word, ':') != strrchr(word, ':');
	uint32_t part[4] = { 0 }; /* domain, bus, device, function */
	static const uint32_t digits[] = { 5, 2, 2, 1 };
	static const char after[] = { ':', ':', '.', 0 };

	for (uint32_t i = has_domain ? 0 : 1; i < 4; i++) {
		word = read_hex(word, digits[i], &part[i]);
		if (!word || *word != after[i])
			return false;
		word++;
	}
	if (part[2] > 0x1f || part[3] > 7)
		return false;
	snprintf(pci, 16, "%04x:%02x:%02x.%x", part[0] & 0xfffff, part[1] & 0xff, part[2], part[3]);
	return true;
}

static bool is_index(const char *word, uint32_t *index)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)word[0]) || strlen(word) > INDEX_DIGITS_MAX)
		return false;
	value = strtoul(word, &end, 10);
	*index = (uint32_t)value;
	return !*end;
}

/* The device that @word names; NULL: the reason was said, and is *@err. */
static const struct lineup_device *find(const struct choice *c, const char *word, int *err)
{
	uint8_t uuid[16];
	uint32_t index = 0;
	char pci[16];
	bool by_index = is_index(word, &index), by_uuid = !by_index && is_uuid(word, uuid), by_pci = !by_uuid && is_pci(word, pci);
	const struct lineup_device *d = NULL;

	if (!by_index && !by_uuid && !by_pci) {
		*err = lineup_fail(c->ctx, -EINVAL, "device '%s': is no index, UUID or PCI address; see 'lineup devices'", word);
		return NULL;
	}
	for (uint32_t i = 0; i < c->count && !d; i++)
		if (by_index ? c->all[i].index == index : by_uuid ? !memcmp(c->all[i].uuid, uuid, 16) : !strcmp(c->all[i].pci, pci))
			d = &c->all[i];
	if (!d)
		*err = lineup_fail(c->ctx, -ENODEV, "device '%s': there is none such: %s", word,
				   c->why_none ? c->why_none : "'lineup devices' lists them");
	else if (d->why_not)
		*err = lineup_fail(c->ctx, -ENOTSUP, "device '%s' (%s): cannot be used: %s", word, d->name, d->why_not);
	return *err ? NULL : d;
}

static int select_named(const struct choice *c, const char *selector, struct lineup_device *devices, uint32_t *count)
{
	uint32_t n = 0;

	for (const char *at = selector;; at++) {
		size_t length = strcspn(at, ",");
		const struct lineup_device *found;
		char word[WORD_MAX];
		int err = 0;

		if (!length || length >= sizeof(word))
			return lineup_fail(c->ctx, -EINVAL, "devices '%s': one of them is empty or too long", selector);
		if (n == LINEUP_DEVICES_MAX)
			return lineup_fail(c->ctx, -EINVAL, "devices '%s': the limit is %d", selector, LINEUP_DEVICES_MAX);
		memcpy(word, at, length);
		word[length] = 0;
		found = find(c, word, &err);
		if (!found)
			return err;
		devices[n++] = *found;
		at += length;
		if (!*at)
			break;
	}
	*count = n;
	return 0;
}

/* Who asked for Vulkan is told that there is none; else the CPU does as well. */
static int none(struct lineup_ctx *ctx, bool asked, const char *why)
{
	if (asked)
		return lineup_fail(ctx, -ENODEV, "devices: there is none for Vulkan: %s", why);
	lineup_info(ctx, "devices: no GPU: %s", why);
	return -ENODEV;
}

/* Two drivers may show one card: the first one's is taken. */
static bool is_there(const struct lineup_device *devices, uint32_t count, const struct lineup_device *device)
{
	for (uint32_t i = 0; i < count; i++)
		if (device->pci[0] && !strcmp(devices[i].pci, device->pci))
			return true;
	return false;
}

static int select_auto(const struct choice *c, bool software, struct lineup_device *devices, uint32_t *count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->count; i++)
		if (c->all[i].type != LINEUP_DEVICE_SOFTWARE && !c->all[i].why_not && !is_there(devices, n, &c->all[i]))
			devices[n++] = c->all[i];
	for (uint32_t i = 0; software && !n && i < c->count; i++)
		if (!c->all[i].why_not)
			devices[n++] = c->all[i]; /* what is left is software */
	if (!n)
		return none(c->ctx, software, c->why_none ? c->why_none : "'lineup devices' says why");
	*count = n;
	return 0;
}

int lineup_vk_select(struct lineup_ctx *ctx, const char *selector, bool software, struct lineup_device devices[LINEUP_DEVICES_MAX],
		     uint32_t *count)
{
	bool automatic = !selector || !strcmp(selector, "auto");
	struct choice *c;
	int err;

	if (automatic && !software && !lineup_vk_nodes_exist())
		return none(ctx, software, "there is no device node of one");
	c = calloc(1, sizeof(*c));
	if (!c)
		return lineup_fail(ctx, -ENOMEM, "devices: no memory");
	c->ctx = ctx;
	err = lineup_vk_list(ctx, c->all, LINEUP_DEVICES_MAX, &c->count, &c->why_none);
	if (!err && c->count > LINEUP_DEVICES_MAX)
		c->count = LINEUP_DEVICES_MAX;
	if (!err)
		err = automatic ? select_auto(c, software, devices, count) : select_named(c, selector, devices, count);
	free(c);
	return err;
}
