// SPDX-License-Identifier: MIT
// lineup verify: the score of each probe against one subject, read from the index without a search.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "remote.h"

static const char help[] =
	"Usage: lineup verify GALLERY --probes FILE --subject ID [OPTION]...\n"
	"Scores each probe against the subject's best template (1:1), without looking at anyone else's.\n\n"
	"  --probes FILE    .npy, .fvecs or .bvecs; - is standard input\n"
	"  --subject ID     the subject that the probes are claimed to be\n"
	"  --model ID       refuse a gallery of another model\n"
	"  --now WHEN       templates that expire by then do not count (the clock)\n"
	"  --format FORMAT  table (default), tsv (probe rank subject template score) or json (a line per probe)\n\n"
	REMOTE_HELP;

enum { CHUNK_ROWS_MAX = 1024 };

struct job {
	const char *path;
	struct remote_options remote_options;
	struct remote *remote; /* NULL: a directory */
	const char *model;
	const char *subject;
	int64_t now;
	unsigned int format;
	struct cli_vectors probes;
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	struct lineup_candidate candidates[CHUNK_ROWS_MAX];
};

static int parse(struct cli *cli, int argc, char **argv, struct job *job, bool *done)
{
	enum { PROBES = CLI_OPTION_FIRST, SUBJECT, MODEL, NOW, FORMAT };
	static const struct option options[] = {
		{ "probes", required_argument, NULL, PROBES }, { "subject", required_argument, NULL, SUBJECT },
		{ "model", required_argument, NULL, MODEL },   { "now", required_argument, NULL, NOW },
		{ "format", required_argument, NULL, FORMAT }, { "help", no_argument, NULL, 'h' },
		REMOTE_OPTIONS,                                { 0 },
	};
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case PROBES: job->probes.path = optarg; break;
		case SUBJECT: job->subject = optarg; break;
		case MODEL: job->model = optarg; break;
		case NOW: status = cli_parse_now(cli, "--now", optarg, &job->now); break;
		case FORMAT: status = cli_parse_word(cli, "--format", optarg, cli_formats, &job->format); break;
		case 'h': *done = true; return cli_help(cli, help);
		default:
			if (!remote_option(&job->remote_options, c))
				return CLI_USAGE;
		}
	}
	status = status ? status : cli_positional(cli, argc, argv, "GALLERY", &job->path);
	if (!status && !job->probes.path)
		status = cli_usage(cli, "--probes is missing");
	if (!status && !job->subject)
		status = cli_usage(cli, "--subject is missing");
	if (!status && !remote_name(&job->remote_options, job->path))
		status = remote_check_local(cli, &job->remote_options, job->path);
	return status;
}

static int open_inputs(struct cli *cli, struct job *job)
{
	struct lineup_gallery_options open = { .size = sizeof(open), .model = job->model };
	const char *name = remote_name(&job->remote_options, job->path);
	int status;

	if (name) {
		status = remote_open(cli, &job->remote_options, name, &job->remote);
		status = status ? status : remote_info(job->remote, job->model, &job->info);
	} else {
		status = cli_status(cli, lineup_gallery_open(cli->ctx, job->path, &open, &job->gallery));
		if (!status)
			lineup_gallery_info(job->gallery, &job->info);
	}
	status = status ? status : cli_vectors_open(cli, &job->probes, job->probes.path);
	status = status ? status : cli_vectors_check_dim(cli, &job->probes, job->path, job->info.dim);
	return status ? status : cli_vectors_prepare(cli, &job->probes, CHUNK_ROWS_MAX);
}

static int print_one(struct cli *cli, const struct job *job, uint64_t i, double seconds)
{
	const struct lineup_candidate *c = &job->candidates[i];
	uint64_t probe = job->probes.row + i;

	if (job->format == CLI_TSV) {
		cli_print_tsv(probe, c, 1);
	} else if (job->format == CLI_TABLE) {
		if (!probe)
			printf("1:1 against subject %s\n     probe    template     score\n", c->subject);
		printf("%10" PRIu64 "  %10" PRIu64 "  %8.6f\n", probe, c->template_id, (double)c->score);
	} else {
		return cli_print_json(cli, json_pack("{s:I, s:i, s:s, s:I, s:f, s:o, s:I, s:s, s:f}", "probe", (json_int_t)probe,
						     "rank", 1, "subject", c->subject, "template", (json_int_t)c->template_id,
						     "score", (double)c->score, "gallery_digest",
						     cli_json_hex(job->info.digest, sizeof(job->info.digest)), "sequence",
						     (json_int_t)job->info.sequence, "model", job->info.model, "seconds", seconds));
	}
	return 0;
}

static int verify_all(struct cli *cli, struct job *job)
{
	char digest[2 * LINEUP_DIGEST_BYTES + 1];
	int status;

	for (;;) {
		double started = cli_seconds(), seconds;

		status = cli_vectors_next(cli, &job->probes);
		if (status || !job->probes.chunk.rows)
			break;
		if (job->remote)
			status = remote_verify(job->remote, &job->probes.chunk, job->subject, job->now, job->info.model_digest,
					       job->candidates);
		else
			status = cli_status(
				cli, lineup_verify(job->gallery, &job->probes.chunk, job->subject, job->now, job->candidates));
		seconds = cli_seconds() - started;
		for (uint64_t i = 0; i < job->probes.chunk.rows && !status; i++)
			status = print_one(cli, job, i, seconds);
		status = status ? status : cli_flush(cli, NULL);
		if (status)
			break;
	}
	if (status || job->format != CLI_TABLE)
		return status;
	cli_hex(digest, job->info.digest, sizeof(job->info.digest));
	printf("gallery %.12s at operation %" PRIu64 ", model %s\n"
	       "A score says how alike two templates are; whether it is this person, a person decides.\n",
	       digest, job->info.sequence, job->info.model);
	return cli_flush(cli, NULL);
}

int cmd_verify(struct cli *cli, int argc, char **argv)
{
	struct job *job = calloc(1, sizeof(*job));
	bool done = false;
	int status;

	if (!job)
		return cli_status(cli, -ENOMEM);
	status = parse(cli, argc, argv, job, &done);
	if (!status && !done) {
		status = open_inputs(cli, job);
		status = status ? status : verify_all(cli, job);
	}
	cli_vectors_close(&job->probes);
	lineup_gallery_close(job->gallery);
	remote_close(job->remote);
	free(job);
	return status;
}
