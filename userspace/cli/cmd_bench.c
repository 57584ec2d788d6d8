// SPDX-License-Identifier: MIT
// lineup bench: how fast this machine enrols and searches, beside what it could do at most, once the answers are right.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <dirent.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

static const char help[] =
	"Usage: lineup bench [OPTION]...\n"
	"Measures enrolment and search beside the limits of this machine, measured in the same run. Answers are checked against a brute force\n"
	"first; two baselines that must fail this check are put through it as well.\n\n"
	"  --n N            random templates to enrol (as many as fit in half of memory and disk, up to 1000000)\n"
	"  --dim D          their components, 64 to 4096 (512)\n"
	"  --gallery DIR    search this gallery, which is only read, instead of a random one\n"
	"  --dir DIR        where the random gallery is made, and removed ($TMPDIR, or /var/tmp)\n"
	"  --batch N,..     probes per call, 1 to 4096 each; more than 1024 take several passes (1,16,256,1024)\n"
	"  -k N             candidates per probe, 1 to 4096 (10)\n"
	"  --backend NAME   auto (default), scalar, avx2, avx512, neon, vulkan or vulkan-VARIANT\n"
	"  --device LIST    GPUs for vulkan: index, UUID or PCI address of each, see `lineup devices` (all that are no software)\n"
	"  --device-memory SIZE   of each, for rows: a number with K, M, G or T; what does not fit streams (80 % of what is free)\n"
	"  --threads N      1 to 256 (one per CPU)\n"
	"  --rounds N       of limits and searches in turns, 7 to 101 (7)\n"
	"  --seconds S      of each batch size in each round, at least; five times that for single probes (1)\n"
	"  --only WHERE     resident or streamed searches; the start is not measured\n"
	"  --searches-only  do not measure the start, and enrolment no longer than making the gallery takes\n"
	"  --quick          spend as little time as can be on each figure: to see that it works, not how fast\n"
	"  --json FILE      write everything, raw rounds included\n"
	"  --plot FILE.svg  draw the rates over the batch sizes, with the limits as lines\n";

enum { ROWS_DEFAULT = 1000000, ROWS_MAX = 1000000000, SECONDS_MAX = 3600 };

enum {
	N = CLI_OPTION_FIRST, DIM, GALLERY, DIRECTORY, BATCH, BACKEND, DEVICE, DEVICE_MEMORY, THREADS, ROUNDS, SECONDS, ONLY,
	SEARCHES_ONLY, QUICK, JSON, PLOT,
};

static const struct option options[] = {
	{ "n", required_argument, NULL, N },             { "dim", required_argument, NULL, DIM },
	{ "gallery", required_argument, NULL, GALLERY }, { "dir", required_argument, NULL, DIRECTORY },
	{ "batch", required_argument, NULL, BATCH },     { "backend", required_argument, NULL, BACKEND },
	{ "device", required_argument, NULL, DEVICE },   { "device-memory", required_argument, NULL, DEVICE_MEMORY },
	{ "threads", required_argument, NULL, THREADS }, { "rounds", required_argument, NULL, ROUNDS },
	{ "seconds", required_argument, NULL, SECONDS }, { "only", required_argument, NULL, ONLY },
	{ "searches-only", no_argument, NULL, SEARCHES_ONLY },
	{ "quick", no_argument, NULL, QUICK },           { "json", required_argument, NULL, JSON },
	{ "plot", required_argument, NULL, PLOT },       { "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* Sorted, each size once. */
static int parse_batches(struct cli *cli, const char *text, struct bench_options *o)
{
	char *copy = strdup(text), *rest = copy, *word;
	int status = copy ? 0 : cli_status(cli, -ENOMEM);

	o->batch_count = 0;
	while (!status && (word = strsep(&rest, ","))) {
		uint64_t size = 0;
		uint32_t at = 0;

		status = cli_parse_count(cli, "--batch", word, 1, BENCH_BATCH_MAX, &size);
		while (at < o->batch_count && o->batches[at] < size)
			at++;
		if (status || (at < o->batch_count && o->batches[at] == size))
			continue;
		if (o->batch_count == BENCH_BATCHES_MAX) {
			status = cli_fail(cli, "--batch: more than %d sizes", BENCH_BATCHES_MAX);
			continue;
		}
		memmove(&o->batches[at + 1], &o->batches[at], (o->batch_count++ - at) * sizeof(o->batches[0]));
		o->batches[at] = (uint32_t)size;
	}
	free(copy);
	return status;
}

static int parse_small(struct cli *cli, const char *option, const char *text, uint64_t min, uint64_t max, uint32_t *value)
{
	uint64_t number = 0;
	int status = cli_parse_count(cli, option, text, min, max, &number);

	*value = (uint32_t)number;
	return status;
}

static int parse_seconds(struct cli *cli, const char *text, struct bench_options *o)
{
	int status = cli_parse_number(cli, "--seconds", text, &o->cell_seconds);

	if (!status && !(o->cell_seconds >= 0 && o->cell_seconds <= SECONDS_MAX))
		status = cli_fail(cli, "--seconds: %s is not from 0 to %d", text, SECONDS_MAX);
	return status;
}

static int parse_only(struct cli *cli, const char *text, struct bench_options *o)
{
	static const char *const words[] = { "streamed", "resident", NULL };
	unsigned int word = 0;
	int status = cli_parse_word(cli, "--only", text, words, &word);

	o->without[word] = false;
	o->without[!word] = true;
	o->searches_only = true;
	return status;
}

static int parse(struct cli *cli, int argc, char **argv, struct bench_options *o, bool *done)
{
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":hk:", options)) != -1) {
		switch (c) {
		case N: status = cli_parse_count(cli, "--n", optarg, BENCH_ROWS_MIN, ROWS_MAX, &o->rows); break;
		case DIM: status = parse_small(cli, "--dim", optarg, BENCH_DIM_MIN, LINEUP_DIM_MAX, &o->dim); break;
		case GALLERY: o->gallery = optarg; break;
		case DIRECTORY: o->dir = optarg; break;
		case BATCH: status = parse_batches(cli, optarg, o); break;
		case 'k': status = parse_small(cli, "-k", optarg, 1, LINEUP_K_MAX, &o->k); break;
		case BACKEND: o->backend = optarg; break;
		case DEVICE: o->device = optarg; break;
		case DEVICE_MEMORY: status = cli_parse_size(cli, "--device-memory", optarg, &o->device_memory); break;
		case SECONDS: status = parse_seconds(cli, optarg, o); break;
		case ONLY: status = parse_only(cli, optarg, o); break;
		case SEARCHES_ONLY: o->searches_only = true; o->single_seconds = 0; break;
		case THREADS: status = parse_small(cli, "--threads", optarg, 1, LINEUP_THREADS_MAX, &o->threads); break;
		case ROUNDS: status = parse_small(cli, "--rounds", optarg, BENCH_ROUNDS_MIN, BENCH_ROUNDS_MAX, &o->rounds); break;
		case QUICK: o->quick = true; o->cell_seconds = 0; o->single_seconds = 0.2; break;
		case JSON: o->json = optarg; break;
		case PLOT: o->plot = optarg; break;
		case 'h': *done = true; return cli_help(cli, help);
		default: return CLI_USAGE;
		}
	}
	if (!status && optind < argc)
		status = cli_usage(cli, "'%s' is one argument too many", argv[optind]);
	if (!status && o->gallery && (o->rows || o->dir))
		status = cli_usage(cli, "--gallery excludes --n and --dir: it has its own rows");
	return status;
}

/* ---- what is measured, and on what ---- */

static void find_cpu(char *text, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(text, size, "unknown CPU");
	while (file && fgets(line, sizeof(line), file)) {
		char *value = strstr(line, ": ");

		if (!value || strncmp(line, "model name", 10) != 0)
			continue;
		value[strcspn(value, "\n")] = 0;
		snprintf(text, size, "%s", value + 2);
		break;
	}
	if (file)
		fclose(file);
}

/* MemAvailable of /proc/meminfo in bytes, or all of the memory where it does not say. */
static uint64_t memory_available(uint64_t all)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	uint64_t bytes = all;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			bytes = kib * 1024;
	if (file)
		fclose(file);
	return bytes;
}

static void describe(struct bench_result *r)
{
	struct utsname u;
	cpu_set_t set;

	find_cpu(r->cpu, sizeof(r->cpu));
	r->cpus = sched_getaffinity(0, sizeof(set), &set) ? 1 : (uint32_t)CPU_COUNT(&set);
	r->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	if (!uname(&u))
		snprintf(r->system, sizeof(r->system), "%.32s %.64s %.32s", u.sysname, u.release, u.machine);
	r->threads = r->options->threads ? r->options->threads : r->cpus;
	if (r->threads > LINEUP_THREADS_MAX)
		r->threads = LINEUP_THREADS_MAX;
}

/* Half of the memory for the codes, half of the disk for everything. */
static int choose_rows(struct cli *cli, struct bench_options *o, uint64_t memory)
{
	uint64_t row_memory = bench_code_bytes(o->dim) + 64, row_disk = row_memory + o->dim * sizeof(float) + 256;
	uint64_t fit = memory_available(memory) / 2 / row_memory;
	struct statvfs disk;

	if (o->rows)
		return 0;
	if (statvfs(o->dir, &disk))
		return cli_fail(cli, "%s: %s", o->dir, strerror(errno));
	if (disk.f_bavail * disk.f_frsize / 2 / row_disk < fit)
		fit = disk.f_bavail * disk.f_frsize / 2 / row_disk;
	if (fit < BENCH_ROWS_MIN)
		return cli_fail(cli, "%s: there is no room for a gallery that would say anything; --dir names another place", o->dir);
	o->rows = fit < ROWS_DEFAULT ? fit : ROWS_DEFAULT;
	if (o->rows < ROWS_DEFAULT)
		fprintf(stderr, "lineup: bench: %" PRIu64 " templates, as more would take over half of memory or disk\n", o->rows);
	return 0;
}

/* ---- the scratch directory ---- */

static void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int bench_made(struct cli *cli, struct bench_result *r)
{
	char scratch[PATH_MAX], gallery[PATH_MAX + 16], file[PATH_MAX + 16];
	int append, status;

	if (snprintf(scratch, sizeof(scratch), "%s/lineup-bench-XXXXXX", r->options->dir) >= (int)sizeof(scratch))
		return cli_fail(cli, "%s: %s", r->options->dir, strerror(ENAMETOOLONG));
	if (!mkdtemp(scratch))
		return cli_fail(cli, "%s: %s", r->options->dir, strerror(errno));
	snprintf(gallery, sizeof(gallery), "%s/gallery", scratch);
	snprintf(file, sizeof(file), "%s/append", scratch);
	append = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	status = append < 0 ? cli_fail(cli, "%s: %s", file, strerror(errno)) : 0;
	if (!status)
		status = bench_enrol(cli, gallery, append, r);
	if (!status)
		status = bench_run(cli, gallery, r);
	if (append >= 0)
		close(append);
	remove_all(gallery);
	remove_all(scratch);
	return status;
}

int cmd_bench(struct cli *cli, int argc, char **argv)
{
	struct bench_options o = {
		.dim = 512, .k = 10, .rounds = BENCH_ROUNDS_MIN, .batches = { 1, 16, 256, 1024 }, .batch_count = 4,
		.cell_seconds = 1, .single_seconds = 10,
	};
	struct bench_result *r = calloc(1, sizeof(*r));
	bool done = false;
	int status = r ? parse(cli, argc, argv, &o, &done) : cli_status(cli, -ENOMEM);

	if (status || done)
		goto out;
	if (!o.dir)
		o.dir = getenv("TMPDIR") ?: "/var/tmp";
	r->options = &o;
	describe(r);
	status = o.gallery ? bench_run(cli, o.gallery, r) : choose_rows(cli, &o, r->memory_bytes);
	if (!status && !o.gallery)
		status = bench_made(cli, r);
	if (!status)
		status = bench_report_print(cli, r);
	if (!status && o.json)
		status = bench_report_json(cli, r);
	if (!status && o.plot && r->pass)
		status = bench_plot(cli, r);
	if (!status && !r->pass)
		status = cli_fail(cli, "the exactness gate is shut: see the report");
out:
	if (r)
		bench_result_fini(r);
	free(r);
	return status;
}
