// SPDX-License-Identifier: MIT
// Reads input files, pipes and memory from front to back through one erased buffer.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

/* Bytes from where the descriptor stands to the end of a regular file. */
static int measure(struct lineup_source *source)
{
	struct stat st;
	off_t at;

	if (fstat(source->fd, &st))
		return lineup_fail(source->ctx, -errno, "%s: fstat: %s", source->name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return lineup_fail(source->ctx, -EISDIR, "%s: is a directory", source->name);
	source->bytes = UINT64_MAX;
	if (!S_ISREG(st.st_mode))
		return 0;
	at = lseek(source->fd, 0, SEEK_CUR); /* standard input may have been read in part */
	if (at < 0)
		return lineup_fail(source->ctx, -errno, "%s: lseek: %s", source->name, strerror(errno));
	source->bytes = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
	posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint: slower without, not wrong */
	return 0;
}

int lineup_source_open(struct lineup_ctx *ctx, const char *path, struct lineup_source *source)
{
	bool standard_input = !strcmp(path, "-");
	int err;

	*source = (struct lineup_source){ .ctx = ctx, .fd = -1 };
	source->name = strdup(standard_input ? "standard input" : path);
	if (!source->name)
		return lineup_fail(ctx, -ENOMEM, "%s: %s", path, strerror(ENOMEM));
	source->fd = standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
				    : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (source->fd < 0)
		err = lineup_fail(ctx, -errno, "%s: %s", source->name, strerror(errno));
	else
		err = measure(source);
	if (!err) {
		source->buffer = lineup_secret_alloc(ctx, LINEUP_SOURCE_BUFFER_BYTES);
		source->data = source->buffer;
		if (!source->buffer)
			err = lineup_fail(ctx, -ENOMEM, "%s: %s", path, strerror(ENOMEM));
	}
	if (err)
		lineup_source_close(source);
	return err;
}

int lineup_source_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
			      struct lineup_source *source)
{
	static const uint8_t nothing[1];

	*source = (struct lineup_source){ .ctx = ctx, .fd = -1, .end = true, .bytes = size, .size = size };
	source->data = size ? data : nothing;
	source->name = strdup(strcmp(name, "-") ? name : "standard input");
	if (!source->name)
		return lineup_fail(ctx, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	return 0;
}

void lineup_source_close(struct lineup_source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	lineup_secret_free(source->buffer, LINEUP_SOURCE_BUFFER_BYTES);
	free(source->name);
	*source = (struct lineup_source){ .fd = -1 };
}

int lineup_source_peek(struct lineup_source *source, size_t size)
{
	if (source->size >= size || source->end)
		return 0;
	memmove(source->buffer, source->data, source->size);
	source->data = source->buffer;
	while (source->size < size) {
		ssize_t n =
			read(source->fd, source->buffer + source->size, LINEUP_SOURCE_BUFFER_BYTES - source->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lineup_fail(source->ctx, -errno, "%s: read: %s", source->name, strerror(errno));
		if (!n) {
			source->end = true;
			return 0;
		}
		source->size += (size_t)n;
	}
	return 0;
}

const char *lineup_source_show(const void *text, size_t size, char out[LINEUP_SOURCE_SHOW_BYTES])
{
	const uint8_t *in = text;
	size_t shown = size < LINEUP_SOURCE_SHOW_BYTES ? size : LINEUP_SOURCE_SHOW_BYTES - 4;

	for (size_t i = 0; i < shown; i++)
		out[i] = in[i] >= 0x20 && in[i] < 0x7f ? (char)in[i] : '?';
	strcpy(out + shown, shown < size ? "..." : "");
	return out;
}
