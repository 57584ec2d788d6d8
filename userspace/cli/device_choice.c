// SPDX-License-Identifier: MIT
// Which of a machine's devices --device names, as the library reads it: for the commands that tell about devices without searching on them.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

/* A UUID's 32 hex digits, with dashes anywhere between them. */
static bool names_uuid(const char *word, size_t length, const uint8_t uuid[16])
{
	char hex[2 * 16 + 1], digits[2 * 16 + 1];
	size_t count = 0;

	for (size_t i = 0; i < length; i++) {
		if (word[i] == '-')
			continue;
		if (!isxdigit((unsigned char)word[i]) || count == 2 * 16)
			return false;
		digits[count++] = word[i];
	}
	digits[count] = 0;
	cli_hex(hex, uuid, 16);
	return count == 2 * 16 && strcasecmp(hex, digits) == 0;
}

/* "0000:c1:00.0", or without the domain if that is 0. */
static bool names_pci(const char *word, size_t length, const char *pci)
{
	if (strlen(pci) == length && strncasecmp(word, pci, length) == 0)
		return true;
	return strncmp(pci, "0000:", 5) == 0 && strlen(pci + 5) == length && strncasecmp(word, pci + 5, length) == 0;
}

static bool names(const char *word, size_t length, const struct lineup_device *device)
{
	if (length && length < 4 && strspn(word, "0123456789") >= length)
		return strtoul(word, NULL, 10) == device->index;
	return (device->pci[0] && names_pci(word, length, device->pci)) || names_uuid(word, length, device->uuid);
}

bool cli_device_chosen(const struct lineup_device *device, const char *choice)
{
	if (!choice || strcmp(choice, "auto") == 0)
		return device->type != LINEUP_DEVICE_SOFTWARE && !device->why_not;
	for (const char *word = choice; word; word = strchr(word, ',')) {
		word += *word == ',';
		if (names(word, strcspn(word, ","), device))
			return true;
	}
	return false;
}
