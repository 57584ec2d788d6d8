// SPDX-License-Identifier: MIT
// lineup capture: frames from a device, templates from frames, candidates for templates, as they come.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"

static const char help[] =
	"Usage: lineup capture --device DEVICE --extractor PLUGIN --search GALLERY [OPTION]...\n"
	"Takes frames from a device, has a plug-in make templates of them, and finds the best candidates for each, until it is\n"
	"interrupted. How many frames were captured, dropped, failed and searched is printed at the end, whatever ended it.\n\n"
	"  --device DEVICE         a V4L2 device, like /dev/video0; edu: the kernel module's sample card\n"
	"  --extractor PLUGIN      a shared object, or one that comes with lineup: inband, pattern\n"
	"  --extractor-config TEXT for the plug-in\n"
	"  --search GALLERY        where to look; what others enrol meanwhile is found within a second or so\n"
	"  --frames N              stop after N captured frames\n"
	"  --pixel-format FOURCC   as the device calls it, like YUYV (what the device is set to)\n"
	"  --size WIDTHxHEIGHT     in pixels; the device may choose the nearest it has (what it is set to)\n"
	"  --buffers N             frames in turn, 2 to 32 (4)\n"
	"  --pool KIND             auto (default), module, udmabuf, heap or device\n"
	"  --seed FILE             edu: what the card delivers, up to 2048 bytes\n"
	"  --deadline MS           for the plug-in and one frame (1000)\n"
	"  --wait S                give up when no frame comes for so long (10)\n"
	"  -k N                    candidates per template, 1 to 4096 (10)\n"
	"  --threshold S           only candidates that score at least S\n"
	"  --lists NAME,..         only templates on one of these lists\n"
	"  --per subject|template  the best subjects, each by its best template (default), or the best templates\n"
	"  --model ID              refuse a gallery of another model\n"
	"  --backend NAME, --threads N, --resident, --stream   as lineup search has them\n"
	"  --gpu DEVICE,..         what --device is to lineup search\n"
	"  --format FORMAT         table (default), tsv (frame face rank subject template score) or json (a line per template)\n";

enum {
	SLICE_MS = 250,            /* how long an interruption may go unnoticed that came just before a wait */
	TEMPLATES_MAX = 64,        /* of a frame */
};
static const double REFRESH_SECONDS = 1.0;

struct live {
	const char *device, *extractor_path, *extractor_config, *path, *model;
	struct cli_names lists;
	unsigned int format;
	uint64_t frames, wait_s;
	struct lineup_capture_options capture_options;
	struct lineup_search_options search;
	struct lineup_search_setup setup;
	uint32_t deadline_ms;

	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;
	struct lineup_searcher *searcher;
	double refreshed;
	struct lineup_capture *capture;
	struct lineup_extractor *extractor;
	struct lineup_candidate *candidates; /* [TEMPLATES_MAX][k] */
	uint32_t counts_of[TEMPLATES_MAX];
	struct cli_progress progress;
	struct capture_counts counts;
	bool began; /* a frame may have been captured: there are counts to print */
};

/* ---- options ------------------------------------------------------------------------------------------------------------ */

enum {
	DEVICE = CLI_OPTION_FIRST,
	EXTRACTOR,
	EXTRACTOR_CONFIG,
	SEARCH,
	FRAMES,
	PIXEL_FORMAT,
	SIZE,
	BUFFERS,
	POOL,
	SEED,
	DEADLINE,
	WAIT,
	THRESHOLD,
	LISTS,
	PER,
	MODEL,
	BACKEND,
	GPU,
	THREADS,
	RESIDENT,
	STREAM,
	FORMAT,
};

static const struct option options[] = {
	{ "device", required_argument, NULL, DEVICE },       { "extractor", required_argument, NULL, EXTRACTOR },
	{ "search", required_argument, NULL, SEARCH },       { "extractor-config", required_argument, NULL, EXTRACTOR_CONFIG },
	{ "frames", required_argument, NULL, FRAMES },       { "pixel-format", required_argument, NULL, PIXEL_FORMAT },
	{ "size", required_argument, NULL, SIZE },           { "buffers", required_argument, NULL, BUFFERS },
	{ "pool", required_argument, NULL, POOL },           { "seed", required_argument, NULL, SEED },
	{ "deadline", required_argument, NULL, DEADLINE },   { "wait", required_argument, NULL, WAIT },
	{ "threshold", required_argument, NULL, THRESHOLD }, { "lists", required_argument, NULL, LISTS },
	{ "per", required_argument, NULL, PER },             { "model", required_argument, NULL, MODEL },
	{ "backend", required_argument, NULL, BACKEND },     { "threads", required_argument, NULL, THREADS },
	{ "resident", no_argument, NULL, RESIDENT },         { "stream", no_argument, NULL, STREAM },
	{ "format", required_argument, NULL, FORMAT },       { "gpu", required_argument, NULL, GPU },
	{ "help", no_argument, NULL, 'h' },                  { 0 },
};

static int parse_fourcc(struct cli *cli, const char *text, uint32_t *fourcc)
{
	char four[5] = "    ";
	size_t length = strlen(text);

	if (!length || length > 4)
		return cli_usage(cli, "--pixel-format: '%s' is not one to four characters", text);
	memcpy(four, text, length); /* shorter ones are filled up with spaces, as "Y10 " is */
	*fourcc = 0;
	for (unsigned int i = 0; i < 4; i++)
		*fourcc |= (uint32_t)(unsigned char)four[i] << (8 * i);
	return 0;
}

static int parse_size(struct cli *cli, const char *text, struct lineup_capture_options *o)
{
	const char *x = strchr(text, 'x');
	char width[16] = "";
	uint64_t w = 0, h = 0;
	int status;

	if (!x || (size_t)(x - text) >= sizeof(width))
		return cli_usage(cli, "--size: '%s' is not WIDTHxHEIGHT", text);
	memcpy(width, text, (size_t)(x - text));
	status = cli_parse_count(cli, "--size", width, 1, 65536, &w);
	status = status ? status : cli_parse_count(cli, "--size", x + 1, 1, 65536, &h);
	o->width = (uint32_t)w;
	o->height = (uint32_t)h;
	return status;
}

static int parse_u32(struct cli *cli, const char *option, const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
	uint64_t n = 0;
	int status = cli_parse_count(cli, option, text, min, max, &n);

	*value = (uint32_t)n;
	return status;
}

static int parse_pool(struct cli *cli, const char *text, struct lineup_capture_options *o)
{
	static const char *const pools[] = { "auto", "module", "udmabuf", "heap", "device", NULL };
	static const enum lineup_frames_kind kinds[] = {
		LINEUP_FRAMES_AUTO, LINEUP_FRAMES_MODULE, LINEUP_FRAMES_UDMABUF, LINEUP_FRAMES_HEAP, LINEUP_FRAMES_DEVICE,
	};
	unsigned int word = 0;
	int status = cli_parse_word(cli, "--pool", text, pools, &word);

	o->kind = kinds[word];
	return status;
}

static int parse_option(struct cli *cli, struct live *l, int c)
{
	static const char *const per[] = { [LINEUP_PER_SUBJECT] = "subject", [LINEUP_PER_TEMPLATE] = "template", NULL };
	unsigned int word = l->search.per;
	int status = 0;

	switch (c) {
	case DEVICE: l->device = optarg; break;
	case EXTRACTOR: l->extractor_path = optarg; break;
	case EXTRACTOR_CONFIG: l->extractor_config = optarg; break;
	case SEARCH: l->path = optarg; break;
	case MODEL: l->model = optarg; break;
	case BACKEND: l->setup.backend = optarg; break;
	case GPU: l->setup.devices = optarg; break;
	case SEED: l->capture_options.seed = optarg; break;
	case FRAMES: status = cli_parse_count(cli, "--frames", optarg, 1, UINT64_MAX, &l->frames); break;
	case PIXEL_FORMAT: status = parse_fourcc(cli, optarg, &l->capture_options.fourcc); break;
	case SIZE: status = parse_size(cli, optarg, &l->capture_options); break;
	case BUFFERS: status = parse_u32(cli, "--buffers", optarg, 2, 32, &l->capture_options.buffers); break;
	case POOL: status = parse_pool(cli, optarg, &l->capture_options); break;
	case DEADLINE: status = parse_u32(cli, "--deadline", optarg, 1, 600000, &l->deadline_ms); break;
	case WAIT: status = cli_parse_count(cli, "--wait", optarg, 1, 86400, &l->wait_s); break;
	case 'k': status = parse_u32(cli, "-k", optarg, 1, LINEUP_K_MAX, &l->search.k); break;
	case THREADS: status = parse_u32(cli, "--threads", optarg, 1, LINEUP_THREADS_MAX, &l->setup.threads); break;
	case THRESHOLD: status = cli_parse_threshold(cli, optarg, &l->search); break;
	case LISTS: status = cli_parse_names(cli, "--lists", optarg, &l->lists); break;
	case PER: status = cli_parse_word(cli, "--per", optarg, per, &word); break;
	case RESIDENT: status = cli_parse_residency(cli, LINEUP_RESIDENT, &l->setup); break;
	case STREAM: status = cli_parse_residency(cli, LINEUP_STREAMED, &l->setup); break;
	case FORMAT: status = cli_parse_word(cli, "--format", optarg, cli_formats, &l->format); break;
	default: return CLI_USAGE;
	}
	l->search.per = (enum lineup_search_per)word;
	return status;
}

static int parse(struct cli *cli, int argc, char **argv, struct live *l, bool *done)
{
	int c, status = 0;

	l->search.k = 10;
	l->wait_s = 10;
	while (!status && (c = cli_option(cli, argc, argv, ":hk:", options)) != -1) {
		if (c == 'h') {
			*done = true;
			return cli_help(cli, help);
		}
		status = parse_option(cli, l, c);
	}
	if (!status && optind < argc)
		status = cli_usage(cli, "'%s' is too much; the gallery is named by --search", argv[optind]);
	if (!status && (!l->device || !l->extractor_path || !l->path))
		status = cli_usage(cli, "%s is missing", !l->device ? "--device" : !l->extractor_path ? "--extractor" : "--search");
	return status;
}

/* ---- set up ------------------------------------------------------------------------------------------------------------- */

static int open_gallery(struct cli *cli, struct live *l)
{
	struct lineup_gallery_options open = { .size = sizeof(open), .model = l->model };
	int status = cli_status(cli, lineup_gallery_open(cli->ctx, l->path, &open, &l->gallery));

	for (uint32_t i = 0; i < l->lists.count && !status; i++) {
		uint64_t mask = 0;

		status = cli_status(cli, lineup_gallery_list(l->gallery, l->lists.name[i], &mask));
		l->search.lists |= mask;
	}
	if (!status)
		lineup_gallery_info(l->gallery, &l->info);
	return status;
}

/* A searcher over the gallery's state of now, in the place of the one before. */
static int make_searcher(struct cli *cli, struct live *l)
{
	struct lineup_searcher *searcher;
	int status;

	cli_progress_begin(&l->progress, "load", CLI_BYTES);
	status = cli_status(cli, lineup_searcher_create(l->gallery, &l->setup, &searcher));
	cli_progress_clear();
	if (status)
		return status;
	lineup_searcher_destroy(l->searcher);
	l->searcher = searcher;
	lineup_gallery_info(l->gallery, &l->info);
	l->refreshed = cli_seconds();
	return 0;
}

static bool go_on(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return !cli_interrupted();
}

static int start(struct cli *cli, struct live *l)
{
	struct lineup_extractor_options extractor = {
		.size = sizeof(extractor),
		.dim = l->info.dim,
		.path = l->extractor_path,
		.config = l->extractor_config,
		.deadline_ms = l->deadline_ms,
		.templates_max = TEMPLATES_MAX,
		.progress = go_on,
		.directory = secure_getenv("LINEUP_EXTRACTORS"),
	};
	struct lineup_capture_info info;
	int status;

	memcpy(extractor.model_digest, l->info.model_digest, sizeof(extractor.model_digest));
	l->search.size = sizeof(l->search);
	l->setup.size = sizeof(l->setup);
	l->setup.probes_max = TEMPLATES_MAX;
	l->setup.k_max = l->search.k;
	l->setup.progress = cli_progress_update;
	l->setup.progress_arg = &l->progress;
	l->capture_options.size = sizeof(l->capture_options);
	l->candidates = calloc((size_t)TEMPLATES_MAX * l->search.k, sizeof(*l->candidates));
	if (!l->candidates)
		return cli_status(cli, -ENOMEM);
	status = make_searcher(cli, l);
	status = status ? status : cli_status(cli, lineup_extractor_create(cli->ctx, &extractor, &l->extractor));
	/* The device last: from here on frames come, and are dropped while nobody takes them. */
	status = status ? status : cli_status(cli, lineup_capture_open(cli->ctx, l->device, &l->capture_options, &l->capture));
	if (status)
		return status;
	l->began = true;
	lineup_capture_info(l->capture, &info);
	return capture_print_start(cli, l->format, &info);
}

/* ---- the loop ----------------------------------------------------------------------------------------------------------- */

/* What has been enrolled or deleted since is looked for now and then. */
static int refresh(struct cli *cli, struct live *l)
{
	struct lineup_gallery_info info;
	int status;

	if (cli_seconds() - l->refreshed < REFRESH_SECONDS)
		return 0;
	l->refreshed = cli_seconds();
	status = cli_status(cli, lineup_gallery_refresh(l->gallery));
	if (status)
		return status;
	lineup_gallery_info(l->gallery, &info);
	return info.sequence == l->info.sequence ? 0 : make_searcher(cli, l);
}

static int search(struct cli *cli, struct live *l, const struct lineup_shot *shot, const struct lineup_extraction *x)
{
	struct lineup_matrix probes = { .data = x->vectors, .rows = x->count, .dim = x->dim, .dtype = LINEUP_FLOAT32 };
	struct lineup_search_facts facts = { 0 };
	struct capture_answer answer = {
		.shot = shot,
		.faces = x->faces,
		.count = x->count,
		.candidates = l->candidates,
		.counts = l->counts_of,
		.k = l->search.k,
		.threshold = l->search.flags & LINEUP_SEARCH_THRESHOLD,
		.model = l->info.model,
		.facts = &facts,
	};
	int status = refresh(cli, l);

	cli_progress_begin(&l->progress, "search", CLI_BYTES);
	status = status ? status
			: cli_status(cli, lineup_search(l->searcher, &probes, &l->search, l->candidates, l->counts_of, &facts));
	cli_progress_clear();
	if (status)
		return status;
	l->counts.probes += x->count;
	for (uint32_t i = 0; i < x->count; i++)
		l->counts.candidates += l->counts_of[i];
	status = capture_print_answer(cli, l->format, &answer);
	return status;
}

/* One frame, from the device to what is printed. Each ends in exactly one count. */
static int one_frame(struct cli *cli, struct live *l, const struct lineup_shot *shot)
{
	struct lineup_extraction x = { 0 };
	int status, err;

	l->counts.captured++;
	l->counts.dropped += shot->dropped;
	err = lineup_extractor_run(l->extractor, shot, &x);
	if (err == -ECANCELED && cli_interrupted()) {
		/* An end as good as any other; but this frame has not been searched. */
		l->counts.unsearched++;
		return CLI_DONE;
	}
	status = cli_status(cli, err);
	/* Back to the device before the search, which does not need it. */
	status = status ? status : cli_status(cli, lineup_capture_give(l->capture, shot));
	if (!status && x.fate == LINEUP_FATE_DONE && x.count)
		status = search(cli, l, shot, &x);
	lineup_extractor_erase(l->extractor);
	if (status)
		l->counts.unsearched++;
	else if (x.fate != LINEUP_FATE_DONE)
		l->counts.failed[x.fate]++;
	else if (!x.count)
		l->counts.empty++;
	else
		l->counts.searched++;
	return status;
}

static int run(struct cli *cli, struct live *l)
{
	double last = cli_seconds();
	struct lineup_shot shot;
	int err, status = 0;

	while (!status && !cli_interrupted() && (!l->frames || l->counts.captured < l->frames)) {
		err = lineup_capture_take(l->capture, SLICE_MS, &shot);
		if (!err) {
			status = one_frame(cli, l, &shot);
			last = cli_seconds();
		} else if (err != -ETIMEDOUT && err != -EINTR) {
			status = cli_status(cli, err);
		} else if (cli_seconds() - last >= (double)l->wait_s) {
			status = cli_fail(cli, "%s: no frame for %llu s", l->device, (unsigned long long)l->wait_s);
		}
	}
	return status;
}

int cmd_capture(struct cli *cli, int argc, char **argv)
{
	struct live *l = calloc(1, sizeof(*l));
	enum capture_end end;
	bool done = false;
	int status;

	if (!l)
		return cli_status(cli, -ENOMEM);
	status = parse(cli, argc, argv, l, &done);
	if (status || done)
		goto out;
	status = open_gallery(cli, l);
	status = status ? status : start(cli, l);
	status = status ? status : run(cli, l);
	end = !l->frames || l->counts.captured < l->frames ? CAPTURE_END_INTERRUPTED : CAPTURE_END_FRAMES;
	if (l->began && capture_print_counts(cli, l->format, &l->counts, status ? CAPTURE_END_FAILED : end))
		status = CLI_FAILED;
	/* Without --frames, to be interrupted is how it ends. */
	if (!status && l->frames && end == CAPTURE_END_INTERRUPTED)
		status = cli_fail(cli, "interrupted before %llu frames", (unsigned long long)l->frames);
out:
	cli_progress_clear();
	lineup_capture_close(l->capture);
	lineup_extractor_destroy(l->extractor);
	lineup_searcher_destroy(l->searcher);
	lineup_gallery_close(l->gallery);
	free(l->candidates);
	free(l);
	return status;
}
