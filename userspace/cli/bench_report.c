// SPDX-License-Identifier: MIT
// The benchmark's report: a table for people, and everything, raw rounds included, as JSON.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

/* The bound on memory while streaming, whatever the size of the gallery. */
#define RSS_BYTES_MAX (320ull << 20)

enum { NUMBER_TEXT = 32 };

/* "12.3", or "-" for what was not measured often enough to be said. */
static const char *milliseconds(char text[NUMBER_TEXT], double seconds)
{
	if (isnan(seconds))
		return "-";
	snprintf(text, NUMBER_TEXT, seconds < 0.01 ? "%.3f" : seconds < 1 ? "%.2f" : "%.1f", seconds * 1e3);
	return text;
}

static void print_head(const struct bench_result *r)
{
	char memory[CLI_SIZE_TEXT], bytes[CLI_SIZE_TEXT], scan[CLI_SIZE_TEXT];

	printf("lineup %s: %" PRIu64 " templates of %" PRIu32 " components, %" PRIu64 " subjects; the %" PRIu32 " best subjects\n",
	       lineup_version(), r->gallery.templates, r->gallery.dim, r->gallery.subjects, r->options->k);
	printf("backend %s, %" PRIu32 " threads; medians of %" PRIu32 " rounds in which limits and searches take turns\n", r->backend,
	       r->threads, r->options->rounds);
	printf("%s, %" PRIu32 " CPUs, %s memory; %s\n", r->cpu, r->cpus, cli_size(memory, r->memory_bytes), r->system);
	printf("gallery %s%s: %s in %" PRIu32 " segments, of which a pass reads %s\n", r->options->gallery ? "" : "made in ",
	       r->options->gallery ? r->options->gallery : r->options->dir, cli_size(bytes, r->gallery.bytes), r->gallery.segments,
	       cli_size(scan, r->gallery.scan_bytes));
	if (r->options->quick)
		printf("--quick: the figures show that the benchmark works, not how fast this machine is\n");
}

static void print_gate(const struct bench_result *r)
{
	printf("\nExactness: %" PRIu32 " probes against a brute force in float64 (%.1f s), bit for bit, per subject and per template;\n"
	       "enrolled people found and strangers not, at a threshold of %.2f\n",
	       r->sample_count, r->brute_seconds, (double)BENCH_THRESHOLD);
	printf("  matcher                 probes/call  answers  wrong   found        alarms       gate\n");
	for (uint32_t i = 0; i < r->verdict_count; i++) {
		const struct bench_verdict *v = &r->verdicts[i];
		bool baseline = i + 2 >= r->verdict_count;
		const char *word = v->pass ? baseline ? "PASSES, AND MUST NOT" : "passes" : baseline ? "fails, as it must" : "FAILS";
		char found[NUMBER_TEXT], alarms[NUMBER_TEXT];

		snprintf(found, sizeof(found), "%" PRIu32 " of %" PRIu32, v->found, v->enrolled);
		snprintf(alarms, sizeof(alarms), "%" PRIu32 " of %" PRIu32, v->alarms, v->strangers);
		printf("  %-22s  %11" PRIu32 "  %7" PRIu64 "  %5" PRIu64 "   %-11s  %-11s  %s\n", v->matcher, v->batch, v->answers, v->wrong,
		       found, alarms, word);
	}
	if (!r->pass)
		printf("The gate is shut: no speed is reported.\n");
}

static const char *sum_of(const struct bench_devices *d)
{
	return d->count > 1 ? ", the sum of all" : "";
}

static void print_device_limits(const struct bench_result *r)
{
	uint32_t rounds = r->options->rounds;
	const struct bench_devices *d = &r->devices;
	double read = bench_median(r->limit_rate[BENCH_DEVICE], rounds), peak = bench_median(r->limit_rate[BENCH_MULTIPLY], rounds);

	if (read > 0)
		printf("  device read        %8.1f GB/s     of the device's memory, from a kernel of its own%s\n", read / 1e9, sum_of(d));
	else
		printf("  device read               -         cannot be measured here\n");
	if (peak > 0)
		printf("  multiply peak      %8.1f GMAC/s   int8, from registers, %s%s\n", peak / 1e9, r->backend, sum_of(d));
	else
		printf("  multiply peak             -         no peak measured for %s\n", r->backend);
	if (d->upload_bytes > 0)
		printf("  upload             %8.2f GB/s     from this machine's memory to the device's%s\n", d->upload_bytes / 1e9, sum_of(d));
	else
		printf("  upload                    -         cannot be measured here\n");
}

static void print_host_limits(const struct bench_result *r)
{
	uint32_t rounds = r->options->rounds;
	const struct bench_limits *l = &r->limits;
	char buffer[CLI_SIZE_TEXT];

	printf("  RAM read           %8.1f GB/s     fastest loop last: %s, over %s\n", bench_median(r->limit_rate[BENCH_RAM], rounds) / 1e9,
	       l->ram_kernel, cli_size(buffer, l->ram_bytes));
	if (l->multiply)
		printf("  multiply peak      %8.1f GMAC/s   int8, from registers, %s\n", bench_median(r->limit_rate[BENCH_MULTIPLY], rounds) / 1e9,
		       l->multiply->name);
	else
		printf("  multiply peak             -         no peak for the backend %s\n", r->backend);
}

static void print_limits(const struct bench_result *r)
{
	uint32_t rounds = r->options->rounds;
	const struct bench_limits *l = &r->limits;
	char block[CLI_SIZE_TEXT];

	printf("\nLimits of this machine, measured in the same rounds\n");
	if (bench_on_devices(r))
		print_device_limits(r);
	else
		print_host_limits(r);
	if (!l->file_count) {
		printf("  disk read                 -         all rows are in the journal, which is read when the gallery is opened\n");
		return;
	}
	if (!(bench_median(r->limit_rate[BENCH_DISK], rounds) > 0)) {
		printf("  disk read                 -         no search reads it\n");
		return;
	}
	printf("  disk read          %8.2f GB/s     the same files, %s%s", bench_median(r->limit_rate[BENCH_DISK], rounds) / 1e9,
	       l->uring ? "io_uring, " : "pread, ", l->direct ? "O_DIRECT, " : "page cache, ");
	if (l->uring)
		printf("%s x %" PRIu32 "\n", cli_size(block, l->disk.block_bytes), l->disk.depth);
	else
		printf("%s\n", cli_size(block, l->disk.block_bytes));
}

static void print_place(const char *what, const struct bench_place *p)
{
	char device[CLI_SIZE_TEXT], disk[CLI_SIZE_TEXT], upload[CLI_SIZE_TEXT];

	printf("  %s: %" PRIu64 " of %" PRIu64 " rows in device memory (%s); a pass reads %s from disk and uploads %s%s%s\n", what,
	       p->rows_on_device, p->rows, cli_size(device, p->bytes_on_device), cli_size(disk, p->disk_bytes),
	       cli_size(upload, p->upload_bytes), p->staging ? ", staging " : "", p->staging ? p->staging : "");
}

static void print_places(const struct bench_result *r)
{
	printf("\nWhat went where, on %s\n", r->devices.name);
	if (!r->options->without[1])
		print_place("resident", &r->place[1]);
	if (!r->options->without[0])
		print_place("streamed", &r->place[0]);
	if (r->devices.software)
		printf("  A SOFTWARE DEVICE: all figures here are those of this machine's CPU, and say nothing about any GPU.\n");
}

static void print_cells(const struct bench_result *r)
{
	printf("\nSearch             probes       Mcmp/s   of its limit            calls      p50 ms      p99 ms    p99.9 ms\n");
	for (uint32_t i = 0; i < r->cell_count; i++) {
		const struct bench_cell *c = &r->cells[i];
		struct bench_summary s;
		char p50[NUMBER_TEXT], p99[NUMBER_TEXT], p999[NUMBER_TEXT];

		bench_summarise(c, r->options->rounds, &s);
		printf("  %-15s  %6" PRIu32 "  %11.1f   %5.2f of %-13s  %6" PRIu64 "  %10s  %10s  %10s\n", c->resident ? "resident" : "streamed",
		       c->batch, s.rate / 1e6, s.fraction, bench_bound_names[s.bound], c->latency.calls, milliseconds(p50, c->latency.p50),
		       milliseconds(p99, c->latency.p99), milliseconds(p999, c->latency.p999));
	}
	printf("  Mcmp/s: million comparisons of a probe and a template a second. -: too few calls for that quantile.\n");
}

static void print_latency(const char *what, const struct bench_latency *l)
{
	char p50[NUMBER_TEXT], p99[NUMBER_TEXT], p999[NUMBER_TEXT];

	printf("  %-40s  %6" PRIu64 "  %10s  %10s  %10s\n", what, l->calls, milliseconds(p50, l->p50), milliseconds(p99, l->p99),
	       milliseconds(p999, l->p999));
}

static void print_enrolment(const struct bench_result *r)
{
	const struct bench_enrolment *e = &r->enrolment;

	if (!e->measured) {
		printf("\nEnrolment: not measured, a given gallery is only read\n");
		return;
	}
	printf("\nEnrolment, durable                             calls      p50 ms      p99 ms    p99.9 ms\n");
	print_latency("one template, acknowledged", &e->single);
	print_latency("a bare append of 4 KiB and fdatasync", &e->append);
	if (!isnan(e->single.p99))
		printf("  %-40s          %10.2f  %10.2f\n", "ratio", e->single.p50 / e->append.p50, e->single.p99 / e->append.p99);
	printf("  in bulk: %.0f templates/s (%" PRIu64 " in one operation, %.1f s)\n", (double)e->rows / e->seconds, e->rows, e->seconds);
}

static void print_start(const struct bench_result *r)
{
	const struct bench_start *s = &r->start;
	uint32_t rounds = r->options->rounds;
	double answer[BENCH_ROUNDS_MAX], load[BENCH_ROUNDS_MAX];
	char rss[CLI_SIZE_TEXT], size[CLI_SIZE_TEXT];

	if (r->options->searches_only) {
		printf("\nStart and memory: not measured\n");
		return;
	}
	for (uint32_t i = 0; i < rounds; i++) {
		answer[i] = (double)r->gallery.scan_bytes / s->disk_rate[i] / s->answer_seconds[i];
		load[i] = (double)s->load_bytes / s->load_seconds[i] / s->disk_rate[i];
	}
	printf("\nStart and memory\n");
	printf("  first answer, streamed, files not cached   %8.3f s   %.2f of one pass at disk read\n",
	       bench_median(s->answer_seconds, rounds), bench_median(answer, rounds));
	printf("  load to resident (%s)%*s%8.3f s   %.2f of disk read\n", cli_size(size, s->load_bytes), (int)(23 - strlen(size)), "",
	       bench_median(s->load_seconds, rounds), bench_median(load, rounds));
	printf("  memory while streaming %4" PRIu32 " probes        %s   ", r->options->batches[r->options->batch_count - 1],
	       cli_size(rss, s->rss_bytes));
	if (bench_on_devices(r))
		printf("the driver's included");
	else
		printf("%s the bound of 320 MiB", s->rss_bytes <= RSS_BYTES_MAX ? "within" : "OVER");
	printf("%s\n", s->rss_sampled ? " (sampled)" : " (high-water mark)");
}

int bench_report_print(struct cli *cli, const struct bench_result *r)
{
	print_head(r);
	print_gate(r);
	if (r->pass) {
		print_limits(r);
		if (bench_on_devices(r))
			print_places(r);
		print_cells(r);
		print_enrolment(r);
		print_start(r);
	}
	return cli_flush(cli, NULL);
}

/* ---- JSON ---- */

/* NAN, a quantile of too few calls, becomes null. */
static json_t *json_number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_numbers(const double *values, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(array, json_number(values[i]));
	return array;
}

/* The raw rounds and their median. */
static json_t *json_rounds(const double *values, uint32_t rounds)
{
	return json_pack("{s:o, s:o}", "median", json_number(bench_median(values, rounds)), "rounds", json_numbers(values, rounds));
}

/* null for a limit that was not measured. */
static json_t *json_limit(const double *values, uint32_t rounds)
{
	return bench_median(values, rounds) > 0 ? json_rounds(values, rounds) : json_null();
}

static json_t *json_latency(const struct bench_latency *l)
{
	return json_pack("{s:I, s:o, s:o, s:o}", "calls", (json_int_t)l->calls, "p50", json_number(l->p50), "p99", json_number(l->p99),
			 "p99_9", json_number(l->p999));
}

static json_t *json_machine(const struct bench_result *r)
{
	return json_pack("{s:s, s:I, s:I, s:s}", "cpu", r->cpu, "cpus", (json_int_t)r->cpus, "memory_bytes", (json_int_t)r->memory_bytes,
			 "system", r->system);
}

static json_t *json_gallery(const struct bench_result *r)
{
	const struct lineup_gallery_info *g = &r->gallery;

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "made", !r->options->gallery, "templates", (json_int_t)g->templates,
			 "dim", (json_int_t)g->dim, "subjects", (json_int_t)g->subjects, "segments", (json_int_t)g->segments, "bytes",
			 (json_int_t)g->bytes, "scan_bytes", (json_int_t)g->scan_bytes, "digest", cli_json_hex(g->digest, sizeof(g->digest)));
}

static json_t *json_gate(const struct bench_result *r)
{
	json_t *verdicts = json_array();

	for (uint32_t i = 0; i < r->verdict_count; i++) {
		const struct bench_verdict *v = &r->verdicts[i];

		json_array_append_new(verdicts, json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "matcher", v->matcher, "baseline",
							  i + 2 >= r->verdict_count, "batch", (json_int_t)v->batch, "answers",
							  (json_int_t)v->answers, "wrong", (json_int_t)v->wrong, "enrolled",
							  (json_int_t)v->enrolled, "found", (json_int_t)v->found, "strangers",
							  (json_int_t)v->strangers, "alarms", (json_int_t)v->alarms, "pass", v->pass));
	}
	return json_pack("{s:b, s:I, s:f, s:o, s:o}", "pass", r->pass, "probes", (json_int_t)r->sample_count, "threshold",
			 (double)BENCH_THRESHOLD, "brute_force_seconds", json_number(r->brute_seconds), "verdicts", verdicts);
}

static json_t *json_limits(const struct bench_result *r)
{
	const struct bench_limits *l = &r->limits;
	uint32_t n = r->options->rounds;
	const char *loop = bench_on_devices(r) ? r->backend : l->multiply ? l->multiply->name : NULL;

	return json_pack("{s:o, s:o, s:o, s:s?, s:I, s:o, s:s?, s:o, s:b, s:b, s:I, s:I}", "device_bytes_per_second",
			 json_limit(r->limit_rate[BENCH_DEVICE], n), "upload_bytes_per_second", json_limit(r->limit_rate[BENCH_UPLOAD], n),
			 "ram_bytes_per_second", json_limit(r->limit_rate[BENCH_RAM], n), "ram_loop", l->ram_kernel, "ram_buffer_bytes",
			 (json_int_t)l->ram_bytes, "multiply_adds_per_second", json_limit(r->limit_rate[BENCH_MULTIPLY], n), "multiply_loop", loop,
			 "disk_bytes_per_second", json_limit(r->limit_rate[BENCH_DISK], n), "disk_io_uring", l->uring, "disk_direct", l->direct,
			 "disk_block_bytes", (json_int_t)l->disk.block_bytes, "disk_depth", (json_int_t)l->disk.depth);
}

static json_t *json_place(const struct bench_place *p)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s?}", "rows", (json_int_t)p->rows, "rows_on_device", (json_int_t)p->rows_on_device,
			 "bytes_on_device", (json_int_t)p->bytes_on_device, "pass_disk_bytes", (json_int_t)p->disk_bytes, "pass_upload_bytes",
			 (json_int_t)p->upload_bytes, "staging", p->staging);
}

/* null when searches run on the CPU. */
static json_t *json_devices(const struct bench_result *r)
{
	const struct bench_devices *d = &r->devices;

	if (!bench_on_devices(r))
		return json_null();
	return json_pack("{s:s, s:i, s:b, s:s?, s:o, s:o}", "name", d->name, "count", (int)d->count, "software", d->software, "fastest_variant",
			 d->variant, "resident", json_place(&r->place[1]), "streamed", json_place(&r->place[0]));
}

static json_t *json_cell(const struct bench_cell *c, uint32_t rounds)
{
	static const char *const keys[] = {
		[BENCH_RAM] = "limit_ram", [BENCH_MULTIPLY] = "limit_multiply", [BENCH_DISK] = "limit_disk",
		[BENCH_DEVICE] = "limit_device", [BENCH_UPLOAD] = "limit_upload",
	};
	struct bench_summary s;

	bench_summarise(c, rounds, &s);
	json_t *cell = json_pack("{s:s, s:I, s:I, s:o, s:s, s:o, s:o, s:o}", "where", c->resident ? "resident" : "streamed", "batch",
				 (json_int_t)c->batch, "passes", (json_int_t)c->passes, "comparisons_per_second", json_rounds(c->rate, rounds), "bound",
				 bench_bound_names[s.bound], "fraction_of_bound", json_number(s.fraction), "call_seconds",
				 json_latency(&c->latency), "reranked_per_probe", json_number(c->reranked));

	for (int bound = 0; bound < BENCH_BOUNDS; bound++)
		json_object_set_new(cell, keys[bound], json_limit(c->limit[bound], rounds));
	return cell;
}

static json_t *json_enrolment(const struct bench_result *r)
{
	const struct bench_enrolment *e = &r->enrolment;

	if (!e->measured)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "bulk_templates", (json_int_t)e->rows, "bulk_seconds",
			 json_number(e->seconds), "bulk_templates_per_second",
			 json_number((double)e->rows / e->seconds), "single_seconds", json_latency(&e->single), "append_seconds",
			 json_latency(&e->append));
}

static json_t *json_start(const struct bench_result *r)
{
	const struct bench_start *s = &r->start;
	uint32_t n = r->options->rounds;

	if (r->options->searches_only)
		return json_null();
	return json_pack("{s:o, s:o, s:I, s:o, s:I, s:I, s:b}", "first_answer_seconds", json_rounds(s->answer_seconds, n), "load_seconds",
			 json_rounds(s->load_seconds, n), "load_bytes", (json_int_t)s->load_bytes, "disk_bytes_per_second",
			 json_rounds(s->disk_rate, n), "streaming_rss_bytes", (json_int_t)s->rss_bytes, "streaming_rss_bytes_max",
			 (json_int_t)RSS_BYTES_MAX, "streaming_rss_sampled", s->rss_sampled);
}

static json_t *json_result(const struct bench_result *r)
{
	json_t *root = json_pack("{s:s, s:o, s:o, s:s, s:s?, s:I, s:I, s:I, s:o}", "lineup", lineup_version(), "machine", json_machine(r), "gallery",
				 json_gallery(r), "backend", r->backend, "io", r->io, "threads", (json_int_t)r->threads, "k",
				 (json_int_t)r->options->k, "rounds", (json_int_t)r->options->rounds, "gate", json_gate(r));
	json_t *searches = json_array();

	if (!root || !r->pass) {
		json_decref(searches);
		return root;
	}
	for (uint32_t i = 0; i < r->cell_count; i++)
		json_array_append_new(searches, json_cell(&r->cells[i], r->options->rounds));
	json_object_set_new(root, "limits", json_limits(r));
	json_object_set_new(root, "devices", json_devices(r));
	json_object_set_new(root, "searches", searches);
	json_object_set_new(root, "enrolment", json_enrolment(r));
	json_object_set_new(root, "start", json_start(r));
	return root;
}

int bench_report_json(struct cli *cli, const struct bench_result *r)
{
	json_t *root = json_result(r);
	int status = 0;

	errno = 0;
	if (!root || json_dump_file(root, r->options->json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)))
		status = cli_fail(cli, "%s: writing the results: %s", r->options->json, errno ? strerror(errno) : "out of memory");
	json_decref(root);
	return status;
}
