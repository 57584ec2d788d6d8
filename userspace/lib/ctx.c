// SPDX-License-Identifier: MIT
// The context: where messages go, and how option structs of other versions are read.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "io.h"

enum { MESSAGE_BYTES_MAX = 1024, OPTIONS_BYTES_MAX = 4096 };

static void compose(char message[MESSAGE_BYTES_MAX], const char *format, va_list args)
{
	vsnprintf(message, MESSAGE_BYTES_MAX, format, args);
	/* A name from outside must not be able to forge a second line or move a terminal's cursor. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static void say(struct lineup_ctx *ctx, enum lineup_log_level level, const char *format, va_list args)
{
	char message[MESSAGE_BYTES_MAX];

	if (!ctx->log)
		return;
	compose(message, format, args);
	ctx->log(ctx->log_arg, level, message);
}

static _Thread_local struct {
	bool demote;
	uint32_t count;
	char text[MESSAGE_BYTES_MAX];
} errors;

const char *lineup_errors_text(void)
{
	return errors.text;
}

void lineup_errors_begin(bool demote)
{
	errors.demote = demote;
	errors.count = 0;
}

uint32_t lineup_errors_end(void)
{
	errors.demote = false;
	return errors.count;
}

int lineup_fail(struct lineup_ctx *ctx, int err, const char *format, ...)
{
	va_list args;

	errors.count++;
	va_start(args, format);
	compose(errors.text, format, args);
	va_end(args);
	if (ctx->log)
		ctx->log(ctx->log_arg, errors.demote ? LINEUP_LOG_WARNING : LINEUP_LOG_ERROR, errors.text);
	return err;
}

void lineup_warn(struct lineup_ctx *ctx, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(ctx, LINEUP_LOG_WARNING, format, args);
	va_end(args);
}

void lineup_info(struct lineup_ctx *ctx, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(ctx, LINEUP_LOG_INFO, format, args);
	va_end(args);
}

void lineup_warn_once(struct lineup_ctx *ctx, enum lineup_once what, const char *format, ...)
{
	va_list args;

	if (atomic_exchange(&ctx->said[what], true))
		return;
	va_start(args, format);
	say(ctx, LINEUP_LOG_WARNING, format, args);
	va_end(args);
}

int lineup_options_copy(struct lineup_ctx *ctx, const char *what, void *options, size_t size, const void *user)
{
	uint32_t user_size;

	memset(options, 0, size);
	if (!user)
		return 0;
	memcpy(&user_size, user, sizeof(user_size));
	if (user_size < sizeof(user_size) || user_size > OPTIONS_BYTES_MAX)
		return lineup_fail(ctx, -EINVAL, "%s: size is %u; set it to the size of the struct", what, user_size);
	for (size_t i = size; i < user_size; i++)
		if (((const unsigned char *)user)[i])
			return lineup_fail(ctx, -E2BIG, "%s: byte %zu is set, but this version of the library knows %zu bytes only",
					   what, i, size);
	memcpy(options, user, user_size < size ? user_size : size);
	return 0;
}

int lineup_ctx_create(const struct lineup_ctx_options *options, struct lineup_ctx **ctx)
{
	struct lineup_ctx_options opt;
	struct lineup_ctx quiet = { 0 }, *c;
	int err;

	if (options)
		quiet.log = options->log, quiet.log_arg = options->log_arg;
	err = lineup_options_copy(&quiet, "lineup_ctx_options", &opt, sizeof(opt), options);
	if (err)
		return err;
	if (opt.reserved)
		return lineup_fail(&quiet, -EINVAL, "lineup_ctx_options: reserved must be zero");
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->log = opt.log;
	c->log_arg = opt.log_arg;
	c->io = &lineup_io_system;
	*ctx = c;
	return 0;
}

void lineup_ctx_destroy(struct lineup_ctx *ctx)
{
	free(ctx);
}

#define STRING(x) #x
#define VERSION_TEXT(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

const char *lineup_version(void)
{
	return VERSION_TEXT(LINEUP_VERSION_MAJOR, LINEUP_VERSION_MINOR, LINEUP_VERSION_PATCH);
}
