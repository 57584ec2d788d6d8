// SPDX-License-Identifier: MIT
// lineup export: writes the templates of a gallery to files that can be enrolled again.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static const char help[] =
	"Usage: lineup export GALLERY --vectors FILE.npy [OPTION]...\n"
	"Writes all templates that are not deleted, in the order of their ids, to files that 'lineup enrol' can read.\n\n"
	"  --vectors FILE   float32 .npy, one row per template\n"
	"  --subjects FILE  CSV: subject,lists,expires, one row per template\n"
	"  --force          replace files that exist\n\n"
	"The files can be read and written by their owner only. Templates are biometric data.\n";

enum { BUFFER_BYTES = 1 << 20, NPY_HEADER_BYTES = 128 };

/* A file that appears under its name once it is complete. */
struct out {
	const char *path; /* NULL: not wanted */
	char *temporary;
	int fd;
	char *buffer; /* BUFFER_BYTES, erased at the end */
	size_t used;
	bool renamed;
};

struct job {
	struct cli *cli;
	const char *path;
	bool force;
	struct out vectors, subjects;
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	struct cli_progress progress;
	uint64_t rows;
};

/* How callbacks of lineup_gallery_read end it: the message was said here. */
enum { STOP = 1 };

static int out_fail(struct cli *cli, const struct out *out)
{
	return cli_fail(cli, "%s: %s", out->path, strerror(errno));
}

static int out_open(struct cli *cli, struct out *out, bool force)
{
	size_t size = strlen(out->path) + 32;

	if (!force && faccessat(AT_FDCWD, out->path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return cli_fail(cli, "%s: exists already; --force replaces it", out->path);
	out->temporary = malloc(size);
	out->buffer = cli_secret_alloc(cli, BUFFER_BYTES);
	if (!out->temporary || !out->buffer)
		return cli_status(cli, -ENOMEM);
	snprintf(out->temporary, size, "%s.%ld.partial", out->path, (long)getpid());
	out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return out->fd < 0 ? out_fail(cli, out) : 0;
}

static int out_flush(struct cli *cli, struct out *out)
{
	for (size_t at = 0; at < out->used;) {
		ssize_t n = write(out->fd, out->buffer + at, out->used - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return out_fail(cli, out);
		at += (size_t)n;
	}
	out->used = 0;
	return 0;
}

static int out_write(struct cli *cli, struct out *out, const void *data, size_t size)
{
	for (const char *p = data; size;) {
		size_t part = BUFFER_BYTES - out->used;

		part = part < size ? part : size;
		memcpy(out->buffer + out->used, p, part);
		out->used += part;
		p += part;
		size -= part;
		if (out->used == BUFFER_BYTES && out_flush(cli, out))
			return CLI_FAILED;
	}
	return 0;
}

/* Makes the file durable and gives it its name. */
static int out_commit(struct cli *cli, struct out *out, bool force)
{
	int err;

	if (!out->path)
		return 0;
	if (out_flush(cli, out))
		return CLI_FAILED;
	err = fsync(out->fd) ? -1 : renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->path, force ? 0 : RENAME_NOREPLACE);
	/* Not every file system can do that in one step; on those, what appears in between would be replaced. */
	if (err && errno == EINVAL && !force)
		err = faccessat(AT_FDCWD, out->path, F_OK, AT_SYMLINK_NOFOLLOW) ? rename(out->temporary, out->path) : -1;
	if (err)
		return out_fail(cli, out);
	out->renamed = true;
	return 0;
}

static void out_close(struct out *out)
{
	if (out->fd >= 0) {
		close(out->fd);
		if (!out->renamed)
			unlink(out->temporary);
	}
	cli_secret_free(out->buffer, BUFFER_BYTES);
	free(out->temporary);
}

static int write_npy_header(struct job *job)
{
	char header[NPY_HEADER_BYTES + 1];
	int used = snprintf(header + 10, sizeof(header) - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu32
			    "), }", job->info.templates, job->info.dim);

	memcpy(header, "\x93NUMPY\x01\x00", 8);
	header[8] = NPY_HEADER_BYTES - 10;
	header[9] = 0;
	memset(header + 10 + used, ' ', (size_t)(NPY_HEADER_BYTES - 10 - used));
	header[NPY_HEADER_BYTES - 1] = '\n';
	return out_write(job->cli, &job->vectors, header, NPY_HEADER_BYTES);
}

/* The time as lineup_time_parse reads it. */
static void format_time(char *text, size_t size, int64_t seconds)
{
	static const int64_t year_10000 = 253402300800;
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!seconds)
		*text = 0;
	else if (seconds > 0 && seconds < year_10000 && gmtime_r(&t, &tm))
		strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
	else
		snprintf(text, size, "%" PRId64, seconds);
}

static int write_subject(struct job *job, const struct lineup_template *t)
{
	/* A quoted name of quotes only; all lists; a time. */
	char line[2 * LINEUP_SUBJECT_BYTES_MAX + LINEUP_LISTS_MAX * (LINEUP_LIST_NAME_BYTES_MAX + 1) + 64], *p = line;

	*p++ = '"';
	for (const char *c = t->subject; *c; c++) {
		if (*c == '"')
			*p++ = '"';
		*p++ = *c;
	}
	*p++ = '"';
	*p++ = ',';
	for (uint32_t l = 0; l < job->info.lists; l++)
		if (t->lists >> l & 1)
			p += sprintf(p, "%s;", job->info.list[l]);
	p -= t->lists ? 1 : 0;
	*p++ = ',';
	format_time(p, 32, t->expires);
	p += strlen(p);
	*p++ = '\n';
	return out_write(job->cli, &job->subjects, line, (size_t)(p - line));
}

static int each_template(void *arg, const struct lineup_template *t)
{
	struct job *job = arg;

	if (out_write(job->cli, &job->vectors, t->vector, job->info.dim * sizeof(float)))
		return STOP;
	if (job->subjects.path && write_subject(job, t))
		return STOP;
	return cli_progress_update(&job->progress, ++job->rows, job->info.templates) ? 0 : -ECANCELED;
}

static int parse(struct cli *cli, int argc, char **argv, struct job *job, bool *done)
{
	enum { VECTORS = CLI_OPTION_FIRST, SUBJECTS, FORCE };
	static const struct option options[] = {
		{ "vectors", required_argument, NULL, VECTORS }, { "subjects", required_argument, NULL, SUBJECTS },
		{ "force", no_argument, NULL, FORCE },           { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *ending;
	int c, status;

	while ((c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case VECTORS: job->vectors.path = optarg; break;
		case SUBJECTS: job->subjects.path = optarg; break;
		case FORCE: job->force = true; break;
		case 'h': *done = true; return cli_help(cli, help);
		default: return CLI_USAGE;
		}
	}
	status = cli_positional(cli, argc, argv, "GALLERY", &job->path);
	if (!status && !job->vectors.path)
		status = cli_usage(cli, "--vectors is missing");
	if (status)
		return status;
	ending = strrchr(job->vectors.path, '.');
	if (!ending || strcmp(ending, ".npy"))
		return cli_fail(cli, "%s: the name of the file of vectors must end in .npy", job->vectors.path);
	if (job->subjects.path && !strcmp(job->subjects.path, job->vectors.path))
		return cli_fail(cli, "%s: vectors and subjects cannot be one file", job->vectors.path);
	return 0;
}

static int write_all(struct cli *cli, struct job *job)
{
	int err, status;

	status = out_open(cli, &job->vectors, job->force);
	if (!status && job->subjects.path)
		status = out_open(cli, &job->subjects, job->force);
	status = status ? status : write_npy_header(job);
	if (!status && job->subjects.path)
		status = out_write(cli, &job->subjects, "subject,lists,expires\n", strlen("subject,lists,expires\n"));
	if (status)
		return status;
	cli_progress_begin(&job->progress, "export", CLI_ROWS);
	err = lineup_gallery_read(job->gallery, each_template, job);
	cli_progress_clear();
	status = err == STOP ? CLI_FAILED : cli_status(cli, err);
	if (!status && job->rows != job->info.templates)
		status = cli_fail(cli, "%s: the gallery says %" PRIu64 " templates, but has %" PRIu64, job->path, job->info.templates,
				  job->rows);
	status = status ? status : out_commit(cli, &job->subjects, job->force);
	return status ? status : out_commit(cli, &job->vectors, job->force);
}

int cmd_export(struct cli *cli, int argc, char **argv)
{
	struct lineup_gallery_options open = { .size = sizeof(open) };
	struct job job = { .cli = cli, .vectors.fd = -1, .subjects.fd = -1 };
	bool done = false;
	int status = parse(cli, argc, argv, &job, &done);

	if (status || done)
		return status;
	status = cli_status(cli, lineup_gallery_open(cli->ctx, job.path, &open, &job.gallery));
	if (!status) {
		lineup_gallery_info(job.gallery, &job.info);
		status = write_all(cli, &job);
	}
	/* Half an export is none. */
	if (status && job.subjects.renamed)
		unlink(job.subjects.path);
	out_close(&job.vectors);
	out_close(&job.subjects);
	lineup_gallery_close(job.gallery);
	if (status)
		return status;
	printf("rows            %" PRIu64 "\nvectors         %s\n", job.rows, job.vectors.path);
	if (job.subjects.path)
		printf("subjects        %s\n", job.subjects.path);
	return cli_flush(cli, "but the files are written");
}
