// SPDX-License-Identifier: MIT
// Bytes that grow: never by realloc, which could leave a copy behind; large ones in pages of their own, kept out of core dumps.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "buffer.h"

enum {
	BUFFER_BYTES_MIN = 256,
	BUFFER_MAPPED_BYTES = 128 << 10, /* from here on mapped: a power of two, so whole pages */
};

static void *memory_get(size_t size)
{
	void *data;

	if (size < BUFFER_MAPPED_BYTES)
		return malloc(size);
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return NULL;
	/* A kernel that cannot is no worse: the process makes no core dumps as a whole. */
	(void)madvise(data, size, MADV_DONTDUMP);
	return data;
}

/* Erases the whole: what was consumed, or reserved and not kept, may have been written. */
static void memory_put(char *data, size_t capacity)
{
	if (!data)
		return;
	explicit_bzero(data, capacity);
	if (capacity < BUFFER_MAPPED_BYTES)
		free(data);
	else
		munmap(data, capacity);
}

void *buffer_reserve(struct buffer *buffer, size_t size)
{
	size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_BYTES_MIN;
	char *data;

	if (buffer->failed)
		return NULL;
	if (size <= buffer->capacity - buffer->size && buffer->data)
		return buffer->data + buffer->size;
	if (size > SIZE_MAX / 4 - buffer->size) {
		buffer->failed = true;
		return NULL;
	}
	while (capacity - buffer->size < size)
		capacity *= 2;
	data = memory_get(capacity);
	if (!data) {
		buffer->failed = true;
		return NULL;
	}
	if (buffer->data)
		memcpy(data, buffer->data, buffer->size);
	memory_put(buffer->data, buffer->capacity);
	buffer->data = data;
	buffer->capacity = capacity;
	return data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	void *to;

	if (!size)
		return;
	to = buffer_reserve(buffer, size);
	if (!to)
		return;
	memcpy(to, data, size);
	buffer->size += size;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list args, again;
	size_t room = 128;
	char *to;
	int n;

	va_start(args, format);
	va_copy(again, args);
	to = buffer_reserve(buffer, room);
	n = to ? vsnprintf(to, room, format, args) : -1;
	if (n >= 0 && (size_t)n >= room) {
		room = (size_t)n + 1;
		to = buffer_reserve(buffer, room);
		n = to ? vsnprintf(to, room, format, again) : -1;
	}
	if (n >= 0)
		buffer->size += (size_t)n;
	else
		buffer->failed = true;
	va_end(again);
	va_end(args);
}

void buffer_consume(struct buffer *buffer, size_t size)
{
	size_t rest;

	if (!size)
		return;
	rest = buffer->size - size;
	if (rest)
		memmove(buffer->data, buffer->data + size, rest);
	explicit_bzero(buffer->data + rest, size);
	buffer->size = rest;
}

void buffer_fini(struct buffer *buffer)
{
	memory_put(buffer->data, buffer->capacity);
	memset(buffer, 0, sizeof(*buffer));
}
