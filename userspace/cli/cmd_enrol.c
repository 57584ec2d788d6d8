// SPDX-License-Identifier: MIT
// lineup enrol: adds the rows of a file of vectors to a gallery, as one operation.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "enrol.h"

static const char help[] =
	"Usage: lineup enrol GALLERY --vectors FILE [OPTION]...\n"
	"Adds templates to a gallery: all rows of FILE, or none. A gallery that is not there is created.\n\n"
	"  --vectors FILE    .npy, .fvecs or .bvecs; - is standard input\n"
	"  --subjects FILE   CSV with a header subject[,lists][,expires] and one row per vector; - is standard input.\n"
	"                    Without it each row is a subject of its own, named by its template id\n"
	"  --lists NAME,..   puts all rows on these lists, besides those of the CSV file\n"
	"  --expires WHEN    for rows without a time of their own: YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, seconds since 1970,\n"
	"                    +Nd, +Nh, +Nm or +Ns from now\n"
	"  --model ID        the model that made the vectors; refused if the gallery's is another\n"
	"  --store TYPE      float32 (default) or float16: how a new gallery stores templates\n"
	"  --op-id HEX       32 hexadecimal digits: the id of this operation, which is done once however often it is "
	"sent\n\n" REMOTE_HELP "More than 4 MiB of vectors are then several operations, each all or nothing; repeated with the "
			       "same --op-id they are done once.\n";

enum { CHUNK_BYTES = 8 << 20, CHUNK_ROWS_MAX = 1 << 16 };

static const char *const stores[] = { [LINEUP_STORE_FLOAT32] = "float32", [LINEUP_STORE_FLOAT16] = "float16", NULL };

static int parse(struct cli *cli, int argc, char **argv, struct enrolment *e, bool *done)
{
	enum { VECTORS = CLI_OPTION_FIRST, SUBJECTS, MODEL, LISTS, EXPIRES, OP_ID, STORE };
	static const struct option options[] = {
		{ "vectors", required_argument, NULL, VECTORS }, { "subjects", required_argument, NULL, SUBJECTS },
		{ "model", required_argument, NULL, MODEL },     { "lists", required_argument, NULL, LISTS },
		{ "expires", required_argument, NULL, EXPIRES }, { "op-id", required_argument, NULL, OP_ID },
		{ "store", required_argument, NULL, STORE },     { "help", no_argument, NULL, 'h' },
		REMOTE_OPTIONS,                                  { 0 },
	};
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case VECTORS: e->vectors.path = optarg; break;
		case SUBJECTS: e->subjects_path = optarg; break;
		case MODEL: e->model = optarg; break;
		case LISTS: status = cli_parse_names(cli, "--lists", optarg, &e->lists); break;
		case EXPIRES: status = cli_parse_time(cli, "--expires", optarg, &e->expires); break;
		case OP_ID: status = cli_parse_op_id(cli, "--op-id", optarg, e->options.op_id); break;
		case STORE:
			e->store_text = optarg;
			status = cli_parse_word(cli, "--store", optarg, stores, &e->store);
			break;
		case 'h': *done = true; return cli_help(cli, help);
		default:
			if (!remote_option(&e->remote, c))
				return CLI_USAGE;
		}
	}
	status = status ? status : cli_positional(cli, argc, argv, "GALLERY", &e->path);
	if (!status && !e->vectors.path)
		status = cli_usage(cli, "--vectors is missing");
	if (!status && e->subjects_path && !strcmp(e->subjects_path, "-") && !strcmp(e->vectors.path, "-"))
		status = cli_usage(cli, "--vectors and --subjects cannot both read standard input");
	if (!status && !remote_name(&e->remote, e->path))
		status = remote_check_local(cli, &e->remote, e->path);
	return status;
}

static int open_gallery(struct cli *cli, struct enrolment *e)
{
	struct lineup_gallery_create_options create = {
		.size = sizeof(create), .dim = lineup_vectors_dim(e->vectors.file), .model = e->model,
		.store = (enum lineup_store)e->store,
	};
	struct lineup_gallery_options open = { .size = sizeof(open), .flags = LINEUP_GALLERY_WRITE, .model = e->model };
	struct lineup_gallery_info *info;
	struct stat st;
	int status;

	if (stat(e->path, &st) && errno == ENOENT) {
		status = cli_status(cli, lineup_gallery_create(cli->ctx, e->path, &create, &e->gallery));
		e->created = !status;
		return status;
	}
	status = cli_status(cli, lineup_gallery_open(cli->ctx, e->path, &open, &e->gallery));
	if (status)
		return status;
	info = malloc(sizeof(*info));
	if (!info)
		return cli_status(cli, -ENOMEM);
	lineup_gallery_info(e->gallery, info);
	if (e->store_text && info->store != e->store)
		status = cli_fail(cli, "--store: gallery %s stores %s, not %s", e->path, stores[info->store], e->store_text);
	else
		status = cli_vectors_check_dim(cli, &e->vectors, e->path, info->dim);
	free(info);
	return status;
}

/*
 * A gallery whose first enrolment failed has nothing in it, so it goes. This process still holds its writer lock: nobody else can
 * have written to it.
 */
static void remove_created(struct cli *cli, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	if (rmdir(path))
		cli_fail(cli, "%s: the new, empty gallery could not be removed: %s", path, strerror(errno));
}

int enrol_alloc_rows(struct cli *cli, struct enrolment *e)
{
	size_t rows = e->vectors.rows_max;

	e->names = calloc(rows, sizeof(*e->names));
	e->name_pointers = calloc(rows, sizeof(*e->name_pointers));
	e->masks = calloc(rows, sizeof(*e->masks));
	e->times = calloc(rows, sizeof(*e->times));
	return e->names && e->name_pointers && e->masks && e->times ? 0 : cli_status(cli, -ENOMEM);
}

static int begin(struct cli *cli, struct enrolment *e)
{
	uint64_t rows = CHUNK_BYTES / (lineup_vectors_dim(e->vectors.file) * sizeof(float));
	int err, status;

	e->options.size = sizeof(e->options);
	status = cli_vectors_prepare(cli, &e->vectors, rows < CHUNK_ROWS_MAX ? rows : CHUNK_ROWS_MAX);
	status = status ? status : enrol_alloc_rows(cli, e);
	if (status)
		return status;
	err = lineup_enrol_begin(e->gallery, &e->options, &e->enrol);
	for (uint32_t i = 0; !err && i < e->lists.count; i++) {
		uint64_t mask = 0;

		err = lineup_enrol_list(e->enrol, e->lists.name[i], &mask);
		e->mask |= mask;
	}
	return cli_status(cli, err);
}

int enrol_read_subject(struct cli *cli, struct enrolment *e, uint64_t i)
{
	struct lineup_subject *s = &e->subject;
	bool more = false;
	int err = lineup_subjects_read(e->subjects, s, &more);

	if (!err && !more)
		return cli_fail(cli, "%s: fewer subjects than rows: %" PRIu64 " subjects, and %s has a row %" PRIu64, e->subjects_path,
				e->vectors.row + i, e->vectors.path, e->vectors.row + i);
	if (!err) {
		memcpy(e->names[i], s->name, sizeof(s->name));
		e->name_pointers[i] = e->names[i];
		e->times[i] = s->expires ? s->expires : e->expires;
	}
	return cli_status(cli, err);
}

int enrol_check_end(struct cli *cli, struct enrolment *e)
{
	bool more = false;
	int status = e->subjects ? cli_status(cli, lineup_subjects_read(e->subjects, &e->subject, &more)) : 0;

	if (!status && more)
		status = cli_fail(cli, "%s: more subjects than rows: %s has %" PRIu64 " rows only", e->subjects_path,
				  e->vectors.path, e->vectors.row);
	return status;
}

/* The subject of row @i, and the lists it is on. */
static int take_subject(struct cli *cli, struct enrolment *e, uint64_t i)
{
	int status = enrol_read_subject(cli, e, i), err = 0;

	for (uint32_t l = 0; !status && !err && l < e->subject.lists; l++) {
		uint64_t mask = 0;

		err = lineup_enrol_list(e->enrol, e->subject.list[l], &mask);
		e->masks[i] |= mask;
	}
	return status ? status : cli_status(cli, err);
}

static int add_chunk(struct cli *cli, struct enrolment *e)
{
	struct lineup_enrol_batch batch = {
		.vectors = e->vectors.chunk, .subjects = e->subjects ? e->name_pointers : NULL, .lists = e->masks,
		.expires = e->times,
	};
	int status;

	for (uint64_t i = 0; i < batch.vectors.rows; i++) {
		e->masks[i] = e->mask;
		e->times[i] = e->expires;
		status = e->subjects ? take_subject(cli, e, i) : 0;
		if (status)
			return status;
	}
	return cli_status(cli, lineup_enrol_add(e->enrol, &batch));
}

static int add_all(struct cli *cli, struct enrolment *e)
{
	uint64_t total = lineup_vectors_rows(e->vectors.file), rows;
	struct cli_progress progress;
	int status;

	cli_progress_begin(&progress, "enrol", CLI_ROWS);
	for (;;) {
		status = cli_vectors_next(cli, &e->vectors);
		if (status || !e->vectors.chunk.rows)
			break;
		status = add_chunk(cli, e);
		rows = e->vectors.row + e->vectors.chunk.rows;
		if (!status && !cli_progress_update(&progress, rows, total == UINT64_MAX ? 0 : total))
			status = cli_status(cli, -ECANCELED);
		if (status)
			break;
	}
	cli_progress_clear();
	return status ? status : enrol_check_end(cli, e);
}

int enrol_print(struct cli *cli, const struct lineup_enrol_result *r, uint64_t operations, double started)
{
	char op_id[2 * LINEUP_OP_ID_BYTES + 1];
	double seconds = cli_seconds() - started;

	cli_hex(op_id, r->op_id, sizeof(r->op_id));
	if (r->repeated)
		printf("this operation was done before; nothing changed\n");
	printf("rows            %" PRIu64 "\nfirst template  %" PRIu64 "\nsequence        %" PRIu64 "\nop id           %s\n",
	       r->rows, r->template_first, r->sequence, op_id);
	if (operations > 1)
		printf("operations      %" PRIu64 ", the last of that sequence\n", operations);
	printf("seconds         %.3f\nrows/second     %.0f\n", seconds, (double)r->rows / (seconds > 1e-9 ? seconds : 1e-9));
	return cli_flush(cli, "but the rows are enrolled");
}

static int commit(struct cli *cli, struct enrolment *e, double started)
{
	struct lineup_enrol_result r;
	int status = cli_status(cli, lineup_enrol_commit(e->enrol, &r));

	e->enrol = NULL; /* the commit ended it */
	if (status)
		return status;
	e->created = false;
	return enrol_print(cli, &r, 1, started);
}

static int enrol_local(struct cli *cli, struct enrolment *e, double started)
{
	int status = open_gallery(cli, e);

	status = status ? status : begin(cli, e);
	status = status ? status : add_all(cli, e);
	status = status ? status : commit(cli, e, started);
	lineup_enrol_abort(e->enrol);
	if (e->created)
		remove_created(cli, e->path);
	return status;
}

int cmd_enrol(struct cli *cli, int argc, char **argv)
{
	struct enrolment *e = calloc(1, sizeof(*e));
	double started = cli_seconds();
	const char *name;
	bool done = false;
	int status;

	if (!e)
		return cli_status(cli, -ENOMEM);
	status = parse(cli, argc, argv, e, &done);
	if (status || done)
		goto out;
	/* What can be refused without a gallery is refused before one is created. */
	status = cli_vectors_open(cli, &e->vectors, e->vectors.path);
	if (!status && e->subjects_path)
		status = cli_status(cli, lineup_subjects_open(cli->ctx, e->subjects_path, &e->subjects));
	name = remote_name(&e->remote, e->path);
	if (!status)
		status = name ? enrol_remote(cli, e, name, started) : enrol_local(cli, e, started);
out:
	lineup_gallery_close(e->gallery);
	lineup_subjects_close(e->subjects);
	cli_vectors_close(&e->vectors);
	free(e->times);
	free(e->masks);
	free(e->name_pointers);
	free(e->names);
	free(e);
	return status;
}
