// SPDX-License-Identifier: MIT
// lineup search: the best candidates of a gallery for each probe.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote.h"

static const char help[] =
	"Usage: lineup search GALLERY --probes FILE [OPTION]...\n"
	"Finds the best candidates for each probe. The result is exact: the same on every machine, backend and thread count.\n\n"
	"  --probes FILE           .npy, .fvecs or .bvecs; - is standard input\n"
	"  -k N                    candidates per probe, 1 to 4096 (10)\n"
	"  --threshold S           only candidates that score at least S\n"
	"  --lists NAME,..         only templates on one of these lists\n"
	"  --per subject|template  the best subjects, each by its best template (default), or the best templates\n"
	"  --model ID              refuse a gallery of another model\n"
	"  --now WHEN              templates that expire by then do not match (the clock)\n"
	"  --backend NAME          auto (default: GPUs if there are any), scalar, avx2, avx512, neon, or vulkan, vulkan-scalar, vulkan-dot,\n"
	"                          vulkan-coopmat, vulkan-coopmat-nv, vulkan-emulated\n"
	"  --device DEVICE,..      GPUs that share the search, by UUID, PCI address or index (lineup devices); auto (default): all\n"
	"  --device-memory SIZE    that rows may use of each GPU: a number with K, M, G or T (80 % of what is free)\n"
	"  --threads N             1 to 256 (one per CPU)\n"
	"  --resident | --stream   load the gallery into memory first, or read it from the disk for each pass\n"
	"  --format FORMAT         table (default), tsv (probe rank subject template score) or json (a line per probe)\n\n"
	REMOTE_HELP
	"Backend, devices, threads and residency are lineupd's own choice then.\n";

/* Candidates of one chunk of probes stay under this. */
enum { CANDIDATE_BYTES_MAX = 32 << 20 };

/*
 * Of lineupd: probes of a request, requests that are sent before the first is answered, and candidates that they may bring
 * together.
 */
enum { REMOTE_PROBES_MAX = 256, REMOTE_REQUESTS_MAX = 4, REMOTE_CANDIDATES_MAX = 65536 };

struct job {
	const char *path;
	struct remote_options remote_options;
	struct remote *remote; /* NULL: a directory */
	const char *model;
	struct cli_names lists;
	unsigned int format;
	struct lineup_search_options options;
	struct lineup_search_setup setup;
	struct cli_vectors probes;
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	struct lineup_searcher *searcher;
	struct lineup_candidate *candidates; /* [probes.rows_max][k] */
	uint32_t *counts;                    /* [probes.rows_max] */
	struct cli_progress progress;
	char title[64];
	struct run { uint64_t row, rows; } sent[REMOTE_REQUESTS_MAX]; /* to lineupd, not answered yet, in order */
	uint32_t sent_count;

	/* Over all chunks, for the closing line of a table. */
	uint64_t rows_reranked, comparisons;
	double seconds;
};

enum {
	PROBES = CLI_OPTION_FIRST, THRESHOLD, LISTS, PER, MODEL, NOW, BACKEND, DEVICE, DEVICE_MEMORY, THREADS, RESIDENT, STREAM, FORMAT,
};

static const struct option options[] = {
	{ "probes", required_argument, NULL, PROBES },   { "threshold", required_argument, NULL, THRESHOLD },
	{ "lists", required_argument, NULL, LISTS },     { "per", required_argument, NULL, PER },
	{ "model", required_argument, NULL, MODEL },     { "now", required_argument, NULL, NOW },
	{ "backend", required_argument, NULL, BACKEND }, { "threads", required_argument, NULL, THREADS },
	{ "device", required_argument, NULL, DEVICE },   { "device-memory", required_argument, NULL, DEVICE_MEMORY },
	{ "resident", no_argument, NULL, RESIDENT },     { "stream", no_argument, NULL, STREAM },
	{ "format", required_argument, NULL, FORMAT },   { "help", no_argument, NULL, 'h' },
	REMOTE_OPTIONS,                                  { 0 },
};

/* What only a search in this process can be told. */
static int check_place(struct cli *cli, const struct job *job, uint64_t threads)
{
	const struct lineup_search_setup *s = &job->setup;

	if (!remote_name(&job->remote_options, job->path))
		return remote_check_local(cli, &job->remote_options, job->path);
	if (s->backend || s->devices || s->device_memory_max || s->residency || threads)
		return cli_usage(cli,
				 "how %s is searched is lineupd's choice: no --backend, --device, --device-memory, --threads, "
				 "--resident, --stream",
				 job->path);
	return 0;
}

static int parse(struct cli *cli, int argc, char **argv, struct job *job, bool *done)
{
	static const char *const per[] = { [LINEUP_PER_SUBJECT] = "subject", [LINEUP_PER_TEMPLATE] = "template", NULL };
	unsigned int word = LINEUP_PER_SUBJECT;
	uint64_t k = 10, threads = 0;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":hk:", options)) != -1) {
		switch (c) {
		case PROBES: job->probes.path = optarg; break;
		case MODEL: job->model = optarg; break;
		case BACKEND: job->setup.backend = optarg; break;
		case DEVICE: job->setup.devices = optarg; break;
		case DEVICE_MEMORY: status = cli_parse_size(cli, "--device-memory", optarg, &job->setup.device_memory_max); break;
		case 'k': status = cli_parse_count(cli, "-k", optarg, 1, LINEUP_K_MAX, &k); break;
		case THREADS: status = cli_parse_count(cli, "--threads", optarg, 1, LINEUP_THREADS_MAX, &threads); break;
		case THRESHOLD: status = cli_parse_threshold(cli, optarg, &job->options); break;
		case LISTS: status = cli_parse_names(cli, "--lists", optarg, &job->lists); break;
		case PER: status = cli_parse_word(cli, "--per", optarg, per, &word); break;
		case NOW: status = cli_parse_now(cli, "--now", optarg, &job->options.now); break;
		case RESIDENT: status = cli_parse_residency(cli, LINEUP_RESIDENT, &job->setup); break;
		case STREAM: status = cli_parse_residency(cli, LINEUP_STREAMED, &job->setup); break;
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
	status = status ? status : check_place(cli, job, threads);
	job->options.k = (uint32_t)k;
	job->options.per = (enum lineup_search_per)word;
	job->setup.threads = (uint32_t)threads;
	return status;
}

static int open_gallery(struct cli *cli, struct job *job)
{
	struct lineup_gallery_options open = { .size = sizeof(open), .model = job->model };
	const char *name = remote_name(&job->remote_options, job->path);
	int status;

	if (name) {
		status = remote_open(cli, &job->remote_options, name, &job->remote);
		return status ? status : remote_info(job->remote, job->model, &job->info);
	}
	status = cli_status(cli, lineup_gallery_open(cli->ctx, job->path, &open, &job->gallery));

	if (status)
		return status;
	lineup_gallery_info(job->gallery, &job->info);
	for (uint32_t i = 0; i < job->lists.count; i++) {
		uint64_t mask = 0;

		status = cli_status(cli, lineup_gallery_list(job->gallery, job->lists.name[i], &mask));
		if (status)
			return status;
		job->options.lists |= mask;
	}
	return 0;
}

static int open_inputs(struct cli *cli, struct job *job)
{
	int status = open_gallery(cli, job);

	status = status ? status : cli_vectors_open(cli, &job->probes, job->probes.path);
	return status ? status : cli_vectors_check_dim(cli, &job->probes, job->path, job->info.dim);
}

static int prepare(struct cli *cli, struct job *job)
{
	size_t candidate_bytes = job->options.k * sizeof(struct lineup_candidate);
	uint64_t rows = CANDIDATE_BYTES_MAX / candidate_bytes, most = job->remote ? REMOTE_PROBES_MAX : LINEUP_PROBES_MAX;
	int status = cli_vectors_prepare(cli, &job->probes, rows < most ? rows : most);

	if (status)
		return status;
	job->candidates = calloc(job->probes.rows_max, candidate_bytes);
	job->counts = calloc(job->probes.rows_max, sizeof(*job->counts));
	if (!job->candidates || !job->counts)
		return cli_status(cli, -ENOMEM);
	if (job->remote)
		return 0;
	cli_progress_begin(&job->progress, "load", CLI_BYTES);
	job->options.size = sizeof(job->options);
	job->setup.size = sizeof(job->setup);
	job->setup.probes_max = (uint32_t)job->probes.rows_max;
	job->setup.k_max = job->options.k;
	job->setup.progress = cli_progress_update;
	job->setup.progress_arg = &job->progress;
	return cli_status(cli, lineup_searcher_create(job->gallery, &job->setup, &job->searcher));
}

static json_t *candidates_json(const struct lineup_candidate *candidates, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		if (json_array_append_new(array, json_pack("{s:i, s:s, s:I, s:f}", "rank", (int)i + 1, "subject", candidates[i].subject,
							   "template", (json_int_t)candidates[i].template_id, "score",
							   (double)candidates[i].score))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

/* What GPUs did, if they did. */
static int add_device_facts(json_t *answer, const struct lineup_search_facts *f)
{
	json_t *devices = json_pack("{s:i, s:s, s:I, s:I, s:I, s:i}", "devices", (int)f->devices, "staging", f->staging ? f->staging : "",
				    "rows_on_device", (json_int_t)f->rows_on_device, "bytes_on_device", (json_int_t)f->bytes_on_device,
				    "bytes_uploaded", (json_int_t)f->bytes_uploaded, "overflows", (int)f->overflows);
	int failed = !devices || json_object_update(answer, devices);

	json_decref(devices);
	return failed;
}

/* Of probe @i of @run. */
static json_t *answer_json(const struct job *job, const struct run *run, uint64_t i, const struct lineup_search_facts *f)
{
	json_t *answer = json_pack("{s:I, s:o, s:o, s:I, s:s, s:s, s:s, s:b, s:i, s:I, s:I, s:i, s:I, s:I, s:I, s:f}",
			 "probe", (json_int_t)(run->row + i),
			 "candidates", candidates_json(job->candidates + i * job->options.k, job->counts[i]),
			 "gallery_digest", cli_json_hex(f->gallery_digest, sizeof(f->gallery_digest)),
			 "sequence", (json_int_t)f->sequence, "model", job->info.model, "backend", f->backend, "io", f->io,
			 "resident", f->resident, "threads", (int)f->threads, "rows", (json_int_t)f->rows,
			 "probes", (json_int_t)run->rows, "passes", (int)f->passes,
			 "rows_scanned", (json_int_t)f->rows_scanned, "rows_reranked", (json_int_t)f->rows_reranked,
			 "bytes_read", (json_int_t)f->bytes_read, "seconds", f->seconds);

	if (answer && f->devices && add_device_facts(answer, f)) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

static int print_run(struct cli *cli, const struct job *job, const struct run *run, const struct lineup_search_facts *facts)
{
	int status = 0;

	for (uint64_t i = 0; i < run->rows && !status; i++) {
		const struct lineup_candidate *candidates = job->candidates + i * job->options.k;

		if (job->format == CLI_JSON)
			status = cli_print_json(cli, answer_json(job, run, i, facts));
		else if (job->format == CLI_TSV)
			cli_print_tsv(run->row + i, candidates, job->counts[i]);
		else
			cli_print_table(run->row + i, candidates, job->counts[i], job->options.flags & LINEUP_SEARCH_THRESHOLD);
	}
	return status ? status : cli_flush(cli, NULL);
}

/* What is found for @run is printed and added up. */
static int take(struct cli *cli, struct job *job, const struct run *run, const struct lineup_search_facts *facts)
{
	job->comparisons += facts->rows * run->rows;
	job->rows_reranked += facts->rows_reranked;
	job->seconds += facts->seconds;
	return print_run(cli, job, run, facts);
}

static int search_all(struct cli *cli, struct job *job, struct lineup_search_facts *facts)
{
	int status;

	for (;;) {
		struct run run;

		status = cli_vectors_next(cli, &job->probes);
		if (status || !job->probes.chunk.rows)
			return status;
		run = (struct run){ job->probes.row, job->probes.chunk.rows };
		snprintf(job->title, sizeof(job->title), "probes %" PRIu64 "-%" PRIu64, run.row, run.row + run.rows - 1);
		cli_progress_begin(&job->progress, job->title, CLI_BYTES);
		status = cli_status(cli, lineup_search(job->searcher, &job->probes.chunk, &job->options, job->candidates, job->counts,
						       facts));
		cli_progress_clear();
		status = status ? status : take(cli, job, &run, facts);
		if (status)
			return status;
	}
}

/* Takes the answer to the oldest request. */
static int receive(struct cli *cli, struct job *job, struct lineup_search_facts *facts)
{
	struct run run = job->sent[0];
	int status = remote_search_receive(job->remote, run.rows, job->options.k, job->candidates, job->counts, facts);

	memmove(job->sent, job->sent + 1, --job->sent_count * sizeof(*job->sent));
	if (status)
		return status;
	/* The state that was searched, which may be newer than the one that was looked at first. */
	memcpy(job->info.digest, facts->gallery_digest, sizeof(job->info.digest));
	job->info.sequence = facts->sequence;
	return take(cli, job, &run, facts);
}

static int search_remote(struct cli *cli, struct job *job, struct lineup_search_facts *facts)
{
	struct remote_query query = {
		.probes = &job->probes.chunk,
		.options = &job->options,
		.lists = &job->lists,
		.model_digest = job->info.model_digest,
	};
	uint64_t candidates = job->probes.rows_max * job->options.k;
	uint32_t most = candidates > REMOTE_CANDIDATES_MAX / REMOTE_REQUESTS_MAX ? 1 : REMOTE_REQUESTS_MAX;
	bool more = true;
	int status = 0;

	while (!status && (more || job->sent_count)) {
		if (!more || job->sent_count == most) {
			status = receive(cli, job, facts);
			continue;
		}
		status = cli_vectors_next(cli, &job->probes);
		more = job->probes.chunk.rows != 0;
		if (status || !more)
			continue;
		job->sent[job->sent_count++] = (struct run){ job->probes.row, job->probes.chunk.rows };
		status = remote_search_send(job->remote, &query);
	}
	return status;
}

static int print_closing(struct cli *cli, const struct job *job, const struct lineup_search_facts *f)
{
	char digest[2 * LINEUP_DIGEST_BYTES + 1];

	if (job->format != CLI_TABLE)
		return 0;
	cli_hex(digest, job->info.digest, sizeof(job->info.digest));
	printf("gallery %.12s at operation %" PRIu64 ", model %s\n", digest, job->info.sequence, job->info.model);
	if (job->probes.row)
		printf("%" PRIu64 " probe%s against %" PRIu64 " rows: %" PRIu64 " compared, %" PRIu64 " re-ranked, %.3f s; backend %s, "
		       "%" PRIu32 " thread%s, %s\n",
		       job->probes.row, job->probes.row == 1 ? "" : "s", f->rows, job->comparisons, job->rows_reranked, job->seconds,
		       f->backend, f->threads, f->threads == 1 ? "" : "s", f->resident ? "resident" : "streamed");
	if (job->probes.row && f->devices)
		printf("%" PRIu32 " device%s: %" PRIu64 " of %" PRIu64 " rows stay there; blocks %s\n", f->devices, f->devices == 1 ? "" : "s",
		       f->rows_on_device, f->rows, f->staging);
	printf("These are candidates. A score says how alike two templates are; who it is, a person decides.\n");
	return cli_flush(cli, NULL);
}

int cmd_search(struct cli *cli, int argc, char **argv)
{
	struct job *job = calloc(1, sizeof(*job));
	struct lineup_search_facts facts = { 0 };
	bool done = false;
	int status;

	if (!job)
		return cli_status(cli, -ENOMEM);
	status = parse(cli, argc, argv, job, &done);
	if (status || done)
		goto out;
	status = open_inputs(cli, job);
	status = status ? status : prepare(cli, job);
	if (!status)
		status = job->remote ? search_remote(cli, job, &facts) : search_all(cli, job, &facts);
	status = status ? status : print_closing(cli, job, &facts);
out:
	cli_progress_clear();
	free(job->counts);
	free(job->candidates);
	lineup_searcher_destroy(job->searcher);
	cli_vectors_close(&job->probes);
	lineup_gallery_close(job->gallery);
	remote_close(job->remote);
	free(job);
	return status;
}
