// SPDX-License-Identifier: MIT
// lineup load: what lineupd carries, measured by requests that come whether or not the earlier ones are answered.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static const char help[] =
	"Usage: lineup load lineup://NAME --probes FILE --rate R | --rates R,R,.. [OPTION]...\n"
	"Sends searches at random times, R a second on average, whether or not earlier ones are answered, and tells how long "
	"answers took\n"
	"from the time that each request was due. Several rates are tried one after the other.\n\n"
	"  --probes FILE        .npy, .fvecs or .bvecs; its first 4096 rows are asked for in turn\n"
	"  --rate R, --rates R,..  requests a second\n"
	"  --seconds S          that each rate is measured for (10), after --warmup S seconds of it that are not (1)\n"
	"  --constant           equal intervals, instead of exponentially distributed ones (a Poisson process)\n"
	"  --connections N      1 to 1024 (8); a request goes to the one with the fewest under way\n"
	"  --batch N            probes of a request, 1 to 1024 (1)\n"
	"  -k N                 candidates of a probe (10)\n"
	"  --enrol-rate E       enrolments a second meanwhile, over a connection of their own: of random templates, whose "
	"subjects\n"
	"                       load-* are deleted again at the end\n"
	"  --drain S            how long answers are waited for after the last request (10); those missing then count as that "
	"slow\n"
	"  --seed N             of the random times (1)\n"
	"  --json FILE          everything that was measured; - is standard output, instead of the table\n"
	"  --svg FILE           a drawing of latency and throughput over the offered load\n\n" REMOTE_HELP;

static int parse_rates(struct cli *cli, const char *text, struct load_options *o)
{
	while (*text) {
		char *end;
		double rate = strtod(text, &end);

		if (end == text || (*end && *end != ',') || !(rate > 0) || rate > 1e7)
			return cli_usage(cli, "--rates: '%s' is not a number of requests a second, or several with commas", text);
		if (o->steps == LOAD_STEPS_MAX)
			return cli_usage(cli, "--rates: more than %d", LOAD_STEPS_MAX);
		o->rate[o->steps++] = rate;
		text = *end ? end + 1 : end;
	}
	return 0;
}

static int parse_seconds(struct cli *cli, const char *option, const char *text, double min, double *value)
{
	int status = cli_parse_number(cli, option, text, value);

	return !status && (*value < min || *value > 86400)
		       ? cli_fail(cli, "%s: %s is not from %g to 86400 seconds", option, text, min)
		       : status;
}

enum { PROBES = CLI_OPTION_FIRST, RATE, SECONDS, WARMUP, CONSTANT, CONNECTIONS, BATCH, ENROL_RATE, DRAIN, SEED, JSON, SVG };

static int parse_one(struct cli *cli, int c, struct load_options *o)
{
	uint64_t n = 0;
	int status = 0;

	switch (c) {
	case PROBES: o->probes_path = optarg; break;
	case RATE: return parse_rates(cli, optarg, o);
	case SECONDS: return parse_seconds(cli, "--seconds", optarg, 0.1, &o->seconds);
	case WARMUP: return parse_seconds(cli, "--warmup", optarg, 0, &o->warmup_seconds);
	case DRAIN: return parse_seconds(cli, "--drain", optarg, 0, &o->drain_seconds);
	case CONSTANT: o->constant = true; break;
	case CONNECTIONS:
		status = cli_parse_count(cli, "--connections", optarg, 1, LOAD_CONNECTIONS_MAX, &n);
		o->connections = (uint32_t)n;
		break;
	case BATCH:
		status = cli_parse_count(cli, "--batch", optarg, 1, LINEUP_PROBES_MAX, &n);
		o->batch = (uint32_t)n;
		break;
	case 'k':
		status = cli_parse_count(cli, "-k", optarg, 1, LINEUP_K_MAX, &n);
		o->k = (uint32_t)n;
		break;
	case ENROL_RATE:
		status = cli_parse_number(cli, "--enrol-rate", optarg, &o->enrol_rate);
		if (!status && (o->enrol_rate < 0 || o->enrol_rate > 1e6))
			status = cli_fail(cli, "--enrol-rate: %s is not from 0 to 1000000", optarg);
		break;
	case SEED: status = cli_parse_count(cli, "--seed", optarg, 0, UINT64_MAX, &o->seed); break;
	case JSON: o->json_path = optarg; break;
	case SVG: o->plot_path = optarg; break;
	default: return remote_option(&o->remote, c) ? 0 : CLI_USAGE;
	}
	return status;
}

static int parse(struct cli *cli, int argc, char **argv, struct load_options *o, bool *done)
{
	static const struct option options[] = {
		{ "probes", required_argument, NULL, PROBES },     { "rate", required_argument, NULL, RATE },
		{ "rates", required_argument, NULL, RATE },        { "seconds", required_argument, NULL, SECONDS },
		{ "warmup", required_argument, NULL, WARMUP },     { "constant", no_argument, NULL, CONSTANT },
		{ "connections", required_argument, NULL, CONNECTIONS }, { "batch", required_argument, NULL, BATCH },
		{ "enrol-rate", required_argument, NULL, ENROL_RATE }, { "drain", required_argument, NULL, DRAIN },
		{ "seed", required_argument, NULL, SEED },         { "json", required_argument, NULL, JSON },
		{ "svg", required_argument, NULL, SVG },           { "help", no_argument, NULL, 'h' },
		REMOTE_OPTIONS,                                    { 0 },
	};
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":hk:", options)) != -1) {
		*done = c == 'h';
		if (*done)
			return cli_help(cli, help);
		status = parse_one(cli, c, o);
	}
	status = status ? status : cli_positional(cli, argc, argv, "GALLERY", &o->path);
	if (!status && !remote_name(&o->remote, o->path))
		status = cli_usage(cli, "%s is a directory: load is for lineup://NAME", o->path);
	if (!status && (!o->probes_path || !o->steps))
		status = cli_usage(cli, o->steps ? "--probes is missing" : "--rate is missing");
	return status;
}

/* ---- the report ---- */

static uint64_t errors(const struct load_count *c)
{
	uint64_t n = 0;

	for (int i = 0; i < LOAD_ERRORS_MAX; i++)
		n += c->error[i].count;
	return n;
}

static void print_row(const char *what, double offered, const struct load_count *c, const struct load_step *s)
{
	printf("%-7s %10.1f %10.1f %9.3f %9.3f %9.3f %9.3f %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "\n", what, offered,
	       (double)c->in_time / fmax(s->seconds, 1e-9), load_quantile_ms(c, 0.5), load_quantile_ms(c, 0.99),
	       load_quantile_ms(c, 0.999), load_quantile_ms(c, 1), c->busy, errors(c), c->unanswered);
}

static int print_step(struct cli *cli, const struct load_options *o, const struct load_step *s, bool first)
{
	if (first)
		printf("%-7s %10s %10s %9s %9s %9s %9s %8s %8s %8s\n", "", "offered/s", "answered/s", "p50 ms", "p99 ms",
		       "p99.9 ms", "max ms", "busy", "errors", "missing");
	print_row("search", s->offered, &s->search, s);
	if (o->enrol_rate > 0)
		print_row("enrol", o->enrol_rate, &s->enrol, s);
	for (int i = 0; i < LOAD_ERRORS_MAX; i++) {
		if (s->search.error[i].count)
			printf("        %" PRIu64 " searches answered with %s\n", s->search.error[i].count,
			       s->search.error[i].kind);
		if (s->enrol.error[i].count)
			printf("        %" PRIu64 " enrolments answered with %s\n", s->enrol.error[i].count,
			       s->enrol.error[i].kind);
	}
	if (s->cut)
		printf("        ended after %.1f s: too many requests under way\n", s->seconds);
	return cli_flush(cli, NULL);
}

static json_t *count_json(double offered, const struct load_count *c, double seconds)
{
	json_t *kinds = json_object(), *buckets = json_array();

	for (int i = 0; i < LOAD_ERRORS_MAX; i++)
		if (c->error[i].count)
			json_object_set_new(kinds, c->error[i].kind, json_integer((json_int_t)c->error[i].count));
	/* The ends of the buckets follow from how many values lie below them. */
	for (double q = 0; q < 1;) {
		uint64_t end = histogram_quantile(&c->latency, q + 1e-12), below = histogram_below(&c->latency, end);

		if (!end)
			break;
		json_array_append_new(buckets, json_pack("[I, I]", (json_int_t)end, (json_int_t)below));
		q = (double)below / (double)c->latency.count;
	}
	return json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "offered_per_second", offered,
			 "answered_per_second", (double)c->in_time / fmax(seconds, 1e-9), "due", (json_int_t)c->due, "answered",
			 (json_int_t)c->answered, "busy", (json_int_t)c->busy, "unanswered", (json_int_t)c->unanswered, "errors",
			 kinds, "mean_ms", c->latency.count ? (double)c->latency.sum / (double)c->latency.count / 1e6 : 0.0,
			 "p50_ms", load_quantile_ms(c, 0.5), "p90_ms", load_quantile_ms(c, 0.9), "p99_ms",
			 load_quantile_ms(c, 0.99), "p99_9_ms", load_quantile_ms(c, 0.999), "max_ms", load_quantile_ms(c, 1),
			 "latency_ns_at_most", buckets);
}

static json_t *result_json(const struct load_result *r)
{
	const struct load_options *o = r->options;
	json_t *steps = json_array();

	for (uint32_t i = 0; i < r->steps; i++) {
		const struct load_step *s = &r->step[i];
		json_t *step = json_pack("{s:f, s:b, s:f, s:o}", "seconds", s->seconds, "cut", s->cut, "sent_late_ms_max",
					 (double)s->sent_late_ns_max / 1e6, "search",
					 count_json(s->offered, &s->search, s->seconds));

		if (o->enrol_rate > 0)
			json_object_set_new(step, "enrol", count_json(o->enrol_rate, &s->enrol, s->seconds));
		json_array_append_new(steps, step);
	}
	return json_pack("{s:s, s:s, s:I, s:i, s:s, s:i, s:i, s:i, s:f, s:f, s:I, s:o}", "version", lineup_version(), "gallery",
			 o->path, "templates", (json_int_t)r->gallery.templates, "dim", (int)r->gallery.dim, "arrivals",
			 o->constant ? "constant" : "poisson", "connections", (int)o->connections, "batch", (int)o->batch, "k",
			 (int)o->k, "seconds", o->seconds, "warmup_seconds", o->warmup_seconds, "seed", (json_int_t)o->seed,
			 "steps", steps);
}

static int write_json(struct cli *cli, const struct load_result *r)
{
	const char *path = r->options->json_path;
	json_t *json = result_json(r);
	int failed;

	if (strcmp(path, "-") == 0) {
		int status = cli_print_json(cli, json);

		return status ? status : cli_flush(cli, NULL);
	}
	errno = 0;
	failed = !json || json_dump_file(json, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(json);
	return failed ? cli_fail(cli, "%s: %s", path, errno ? strerror(errno) : "the result could not be written") : 0;
}

/* ---- running ---- */

static int read_probes(struct cli *cli, const struct load_options *o, const struct lineup_gallery_info *info,
		       struct cli_vectors *probes)
{
	int status = cli_vectors_open(cli, probes, o->probes_path);

	status = status ? status : cli_vectors_check_dim(cli, probes, o->path, info->dim);
	status = status ? status : cli_vectors_prepare(cli, probes, LOAD_PROBES_MAX);
	status = status ? status : cli_vectors_next(cli, probes);
	return !status && !probes->chunk.rows ? cli_fail(cli, "%s: no rows", o->probes_path) : status;
}

static int run(struct cli *cli, const struct load_options *o, struct load *load, struct load_result *r)
{
	bool quiet = o->json_path && strcmp(o->json_path, "-") == 0;
	int status = 0, cleaned;

	for (uint32_t i = 0; !status && i < o->steps; i++) {
		status = load_step(load, o->rate[i], &r->step[i]);
		r->steps += !status;
		if (!status && !quiet)
			status = print_step(cli, o, &r->step[i], !i);
	}
	cleaned = load_clean(load);
	return status ? status : cleaned;
}

int cmd_load(struct cli *cli, int argc, char **argv)
{
	struct load_options o = {
		.seconds = 10, .warmup_seconds = 1, .drain_seconds = 10, .connections = 8, .batch = 1, .k = 10, .seed = 1
	};
	struct load_result result = { .options = &o };
	struct cli_vectors probes = { 0 };
	struct remote *remote = NULL;
	struct load *load = NULL;
	const char *name;
	bool done = false;
	int status = parse(cli, argc, argv, &o, &done);

	if (status || done)
		return status;
	name = remote_name(&o.remote, o.path);
	result.step = calloc(o.steps, sizeof(*result.step));
	status = result.step ? remote_open(cli, &o.remote, name, &remote) : cli_status(cli, -ENOMEM);
	status = status ? status : remote_info(remote, NULL, &result.gallery);
	status = status ? status : read_probes(cli, &o, &result.gallery, &probes);
	status = status ? status : load_open(cli, &o, name, &probes.chunk, &result.gallery, &load);
	status = status ? status : run(cli, &o, load, &result);
	if (!status && o.json_path)
		status = write_json(cli, &result);
	if (!status && o.plot_path)
		status = load_plot(cli, &result);
	load_close(load);
	cli_vectors_close(&probes);
	remote_close(remote);
	free(result.step);
	return status;
}
