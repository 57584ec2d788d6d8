// SPDX-License-Identifier: MIT
// Which devices a selector names.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vk.h"

enum { WORD_MAX = 64, UUID_DIGITS = 32 };

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
		int c = tolower((unsigned char)*word), value;

		if (c == '-')
			continue;
		if (!isxdigit(c) || digits == UUID_DIGITS)
			return false;
		value = c <= '9' ? c - '0' : c - 'a' + 10;
		uuid[digits / 2] = (uint8_t)(digits % 2 ? uuid[digits / 2] | value : value << 4);
		digits++;
	}
	return digits == UUID_DIGITS;
}

/* "c1:00.0" or "0000:c1:00.0" as the latter. */
static bool is_pci(const char *word, char pci[16])
{
	unsigned int domain, bus, device, function;
	int end = 0;

	if (sscanf(word, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end) != 4 || word[end]) {
		domain = 0;
		if (sscanf(word, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || word[end])
			return false;
	}
	if (device > 0x1f || function > 7)
		return false;
	snprintf(pci, 16, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, device, function);
	return true;
}

static bool is_index(const char *word, uint32_t *index)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)word[0]) || strlen(word) > 4)
		return false;
	value = strtoul(word, &end, 10);
	*index = (uint32_t)value;
	return !*end;
}

/* The device that @word names, or NULL with the reason said; *@err. */
static const struct lineup_device *find(const struct choice *c, const char *word, int *err)
{
	uint8_t uuid[16];
	uint32_t index;
	char pci[16];
	bool by_index = is_index(word, &index), by_uuid = !by_index && is_uuid(word, uuid), by_pci = !by_uuid && is_pci(word, pci);

	if (!by_index && !by_uuid && !by_pci) {
		*err = lineup_fail(c->ctx, -EINVAL, "device '%s': it must be an index, a UUID or a PCI address as in 'lineup devices'", word);
		return NULL;
	}
	for (uint32_t i = 0; i < c->count; i++) {
		const struct lineup_device *d = &c->all[i];

		if (by_index ? d->index == index : by_uuid ? !memcmp(d->uuid, uuid, sizeof(uuid)) : !strcmp(d->pci, pci)) {
			if (!d->why_not)
				return d;
			*err = lineup_fail(c->ctx, -ENOTSUP, "device '%s' (%s) cannot be used: %s", word, d->name, d->why_not);
			return NULL;
		}
	}
	*err = lineup_fail(c->ctx, -ENODEV, "device '%s': there is none such (%s)", word,
			   c->why_none ? c->why_none : "'lineup devices' shows what there is");
	return NULL;
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
			return lineup_fail(c->ctx, -E2BIG, "devices '%s': the limit is %d", selector, LINEUP_DEVICES_MAX);
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

static int select_auto(const struct choice *c, bool software, struct lineup_device *devices, uint32_t *count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->count; i++)
		if (c->all[i].type != LINEUP_DEVICE_SOFTWARE && !c->all[i].why_not)
			devices[n++] = c->all[i];
	for (uint32_t i = 0; software && !n && i < c->count; i++)
		if (!c->all[i].why_not)
			devices[n++] = c->all[i];
	if (!n)
		return software ? lineup_fail(c->ctx, -ENODEV, "devices: there is none for Vulkan: %s",
					      c->why_none ? c->why_none : "none of them can be used, see 'lineup devices'")
				: -ENODEV;
	*count = n;
	return 0;
}

int lineup_vk_select(struct lineup_ctx *ctx, const char *selector, bool software, struct lineup_device devices[LINEUP_DEVICES_MAX], uint32_t *count)
{
	bool automatic = !selector || !strcmp(selector, "auto");
	struct choice *c;
	int err;

	if (automatic && !software && !lineup_vk_nodes_exist())
		return -ENODEV;
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
