// SPDX-License-Identifier: MIT
// Files of vectors: rows of .fvecs and .bvecs, files, pipes and standard input; bad ones are refused, by file, row
// and reason.
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "blob.h"

static char folder[200];

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static const char *file_make(const char *name)
{
	const char *path = path_of(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, blob.data, blob.size), (ssize_t)blob.size);
	close(fd);
	return path;
}

/* ---- .fvecs, .bvecs --------------------------------------------------------------------------------------------- */

static void fvecs_rows_are_read(void **state)
{
	struct lineup_vectors *v;
	uint64_t rows;
	float data[16];

	(void)state;
	blob.size = 0;
	for (int r = 0; r < 5; r++)
		vecs_row(3, (float)(10 * r + 1));
	v = open_blob("a.fvecs");
	assert_int_equal(lineup_vectors_dim(v), 3);
	assert_int_equal(lineup_vectors_rows(v), 5);
	assert_int_equal(lineup_vectors_dtype(v), LINEUP_FLOAT32);
	assert_int_equal(lineup_vectors_read(v, data, 4, &rows), 0);
	assert_int_equal(rows, 4);
	for (int i = 0; i < 12; i++)
		assert_true(data[i] == (float)(10 * (i / 3) + 1 + i % 3));
	assert_int_equal(lineup_vectors_read(v, data, 4, &rows), 0);
	assert_int_equal(rows, 1);
	assert_true(data[0] == 41 && data[1] == 42 && data[2] == 43);
	assert_int_equal(lineup_vectors_read(v, data, 4, &rows), 0);
	assert_int_equal(rows, 0);
	lineup_vectors_close(v);
}

static void bvecs_rows_are_read(void **state)
{
	struct lineup_vectors *v;
	uint64_t rows;
	float data[256];

	(void)state;
	blob.size = 0;
	put_int(256);
	for (int i = 0; i < 256; i++)
		put(&(uint8_t){ (uint8_t)i }, 1);
	v = open_blob("a.bvecs");
	assert_int_equal(lineup_vectors_dim(v), 256);
	assert_int_equal(lineup_vectors_rows(v), 1);
	assert_int_equal(lineup_vectors_dtype(v), LINEUP_FLOAT32);
	assert_int_equal(lineup_vectors_read(v, data, 1, &rows), 0);
	for (int i = 0; i < 256; i++)
		assert_true(data[i] == (float)i);
	lineup_vectors_close(v);
	blob.size = 0;
	put_int(2);
	put("\0\0", 2);
	BLOB_REFUSED("a.bvecs", "row 0: ", "zero");
}

static void fvecs_rows_with_a_fault_are_refused(void **state)
{
	static const struct {
		float value;
		const char *reason;
	} cases[] = { { NAN, "NaN" }, { INFINITY, "infinity" }, { -INFINITY, "infinity" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		blob.size = 0;
		vecs_row(3, 1);
		vecs_row(3, cases[i].value);
		BLOB_REFUSED("a.fvecs", "row 1: ", cases[i].reason);
	}
	blob.size = 0;
	vecs_row(1, 1);
	vecs_row(1, 0);
	BLOB_REFUSED("a.fvecs", "row 1: ", "zero");
}

static void a_second_dimension_is_refused(void **state)
{
	(void)state;
	blob.size = 0;
	vecs_row(3, 1);
	vecs_row(3, 1);
	vecs_row(2, 1);
	BLOB_REFUSED("a.fvecs", "row 2: ", "dimension 2, but row 0 has 3");
	vecs_row(3, 1);
	BLOB_REFUSED("a.fvecs", "row 2: ", "dimension 2, but row 0 has 3");
	blob.size = 0;
	vecs_row(1, 1);
	put_int(-1);
	put_int(-1);
	BLOB_REFUSED("a.fvecs", "row 1: ", "dimension -1, but row 0 has 1");
}

static void a_vecs_file_cut_within_a_row_is_refused(void **state)
{
	static const char *const names[] = { "a.fvecs", "a.bvecs", "-" };
	struct lineup_vectors *v;

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		size_t row_bytes = n == 1 ? 4 + 5 : 4 + 5 * 4, cut;

		blob.size = 0;
		for (int r = 0; r < 2; r++) {
			put_int(5);
			for (size_t i = 4; i < row_bytes; i++)
				put("\x01", 1);
		}
		for (cut = 1; cut < row_bytes; cut++) {
			blob.size = row_bytes + cut;
			BLOB_REFUSED(names[n], "row 1: ", "is truncated");
			blob.size = cut;
			BLOB_REFUSED(names[n], "row 0: ", "is truncated");
		}
		blob.size = row_bytes;
		v = open_blob(names[n]);
		assert_int_equal(lineup_vectors_rows(v), 1);
		lineup_vectors_close(v);
	}
}

static void dimensions_out_of_range_are_refused(void **state)
{
	static const int32_t dims[] = { 0, -1, INT32_MIN, 4097, INT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dims); i++) {
		blob.size = 0;
		put_int(dims[i]);
		put_float(1);
		BLOB_REFUSED("a.fvecs", "row 0: ", "not in 1 to 4096");
		BLOB_REFUSED("a.bvecs", "row 0: ", "not in 1 to 4096");
	}
}

static void an_empty_file_is_refused(void **state)
{
	(void)state;
	blob.size = 0;
	BLOB_REFUSED("a.fvecs", "is empty");
	BLOB_REFUSED("a.bvecs", "is empty");
	BLOB_REFUSED("a.npy", "does not begin with");
}

/* ---- files and pipes -------------------------------------------------------------------------------------------- */

static void path_refused(const char *path, int err, const char *reason)
{
	struct lineup_vectors *v = NULL;

	assert_int_equal(lineup_vectors_open(said.ctx, path, &v), err);
	assert_null(v);
	SAID_ONCE(&said, path, reason);
}

static void paths_that_are_no_files_are_refused(void **state)
{
	(void)state;
	path_refused(path_of("absent.npy"), -ENOENT, strerror(ENOENT));
	path_refused(folder, -EISDIR, "is a directory");
	assert_int_equal(mkdir(path_of("folder.npy"), 0755), 0);
	path_refused(path_of("folder.npy"), -EISDIR, "is a directory");
	rmdir(path_of("folder.npy"));
}

static void an_unreadable_file_is_refused(void **state)
{
	const char *path;

	(void)state;
	npy_begin("<f4", "(0, 1)");
	path = file_make("unreadable.npy");
	assert_int_equal(chmod(path, 0), 0);
	if (!geteuid() && (chmod(folder, 0755) || seteuid(65534))) {
		print_message("an_unreadable_file_is_refused: root cannot step down here: skipped\n");
		skip();
	}
	path_refused(path, -EACCES, strerror(EACCES));
	if (!getuid())
		assert_int_equal(seteuid(0), 0);
	unlink(path);
}

static void an_unknown_ending_is_refused_and_the_known_ones_told(void **state)
{
	static const char *const names[] = { "a.txt", "npy", "a.npy.gz", ".fvecs", "a.NPY" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *path;

		blob.size = 0;
		vecs_row(1, 1);
		BLOB_REFUSED(names[i], ".npy, .fvecs and .bvecs");
		path = file_make("a.ivecs");
		path_refused(path, -EINVAL, ".npy, .fvecs and .bvecs");
		unlink(path);
	}
}

/* Writes the blob into a descriptor in steps of 1, 2, 3 ... bytes up to @step_max, from another thread. */
struct feed {
	const char *path; /* a fifo, or NULL: fd */
	int fd;
	size_t step_max;
};

static void *feed_run(void *arg)
{
	struct feed *feed = arg;
	size_t step = 1;

	if (feed->path)
		feed->fd = open(feed->path, O_WRONLY);
	for (size_t at = 0; at < blob.size;) {
		size_t size = blob.size - at < step ? blob.size - at : step;
		ssize_t n = write(feed->fd, blob.data + at, size);

		if (n <= 0)
			break; /* the reader has refused the file and is gone */
		at += (size_t)n;
		step = step % feed->step_max + 1;
	}
	close(feed->fd);
	return NULL;
}

/* Reads the blob through a fifo of the name @name; the vectors are closed here. Returns what opening or reading did.
 */
static int fifo_read(const char *name, size_t step_max, float *data, uint64_t rows_max, uint64_t *rows)
{
	char path[256];
	struct feed feed = { .path = path, .step_max = step_max };
	struct lineup_vectors *v = NULL;
	pthread_t thread;
	int err;

	snprintf(path, sizeof(path), "%s", path_of(name));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pthread_create(&thread, NULL, feed_run, &feed), 0);
	err = lineup_vectors_open(said.ctx, path, &v);
	if (!err) {
		err = lineup_vectors_read(v, data, rows_max, rows);
		lineup_vectors_close(v);
	}
	pthread_join(thread, NULL);
	unlink(path);
	return err;
}

static void short_reads_of_a_pipe_make_whole_rows(void **state)
{
	static float data[150 * 7];
	uint64_t rows = 0;

	(void)state;
	npy_begin("<f4", "(100, 7)");
	for (int i = 0; i < 700; i++)
		put_float((float)(i + 1));
	assert_int_equal(fifo_read("a.npy", 50, data, 150, &rows), 0);
	assert_int_equal(rows, 100);
	for (int i = 0; i < 700; i++)
		assert_true(data[i] == (float)(i + 1));
	blob.size = 0;
	for (int r = 0; r < 100; r++)
		vecs_row(7, (float)r + 1);
	assert_int_equal(fifo_read("a.fvecs", 13, data, 150, &rows), 0);
	assert_int_equal(rows, 100);
	for (int i = 0; i < 700; i++)
		assert_true(data[i] == (float)(i / 7 + 1 + i % 7));
}

static void a_pipe_that_ends_early_or_late_is_refused_at_its_end(void **state)
{
	float data[16];
	uint64_t rows = 99;

	(void)state;
	npy_begin("<f4", "(3, 2)");
	for (int i = 0; i < 6; i++)
		put_float(1);
	blob.size--;
	assert_int_equal(fifo_read("a.npy", 1, data, 3, &rows), -EINVAL);
	SAID_ONCE(&said, "/a.npy: row 2: ", "is truncated: 7 of 8 bytes");
	blob.size -= 7;
	assert_int_equal(fifo_read("a.npy", 1, data, 3, &rows), -EINVAL);
	SAID_ONCE(&said, "/a.npy: row 2: ", "is truncated: 0 of 8 bytes");
	npy_begin("<f4", "(3, 2)");
	for (int i = 0; i < 6; i++)
		put_float(1);
	put("", 1);
	assert_int_equal(fifo_read("a.npy", 1, data, 3, &rows), -EINVAL);
	SAID_ONCE(&said, "/a.npy: row 3: ", "the file should end before it");
	blob.size = 0;
	vecs_row(2, 1);
	vecs_row(2, 1);
	blob.size--;
	assert_int_equal(fifo_read("a.fvecs", 1, data, 3, &rows), -EINVAL);
	SAID_ONCE(&said, "/a.fvecs: row 1: ", "is truncated: 11 of 12 bytes");
	assert_int_equal(rows, 99);
}

/* Puts @fd in the place of standard input; returns the one that was there. */
static int input_replace(int fd)
{
	int kept = dup(STDIN_FILENO);

	dup2(fd, STDIN_FILENO);
	close(fd);
	return kept;
}

static void input_restore(int kept)
{
	if (kept >= 0) {
		dup2(kept, STDIN_FILENO);
		close(kept);
	}
}

static void standard_input_is_npy_by_its_first_bytes_and_else_fvecs(void **state)
{
	struct lineup_vectors *v;
	uint64_t rows;
	float data[8];

	(void)state;
	for (int npy = 0; npy < 2; npy++) {
		struct feed feed = { .step_max = 3 };
		pthread_t thread;
		int ends[2], kept;

		npy_begin("<f4", "(2, 1)");
		if (!npy)
			blob.size = 0;
		for (int r = 0; r < 2; r++) {
			if (!npy)
				put_int(1);
			put_float((float)(r + 1));
		}
		assert_int_equal(pipe(ends), 0);
		kept = input_replace(ends[0]);
		feed.fd = ends[1];
		assert_int_equal(pthread_create(&thread, NULL, feed_run, &feed), 0);
		assert_int_equal(lineup_vectors_open(said.ctx, "-", &v), 0);
		assert_int_equal(lineup_vectors_dim(v), 1);
		assert_true(lineup_vectors_rows(v) == (npy ? 2 : UINT64_MAX));
		assert_int_equal(lineup_vectors_read(v, data, 8, &rows), 0);
		assert_int_equal(rows, 2);
		assert_true(data[0] == 1 && data[1] == 2);
		assert_int_equal(lineup_vectors_read(v, data, 8, &rows), 0);
		assert_int_equal(rows, 0);
		lineup_vectors_close(v);
		pthread_join(thread, NULL);
		assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0); /* it is not the library's to close */
		input_restore(kept);
	}
}

static void standard_input_counts_from_where_it_stands(void **state)
{
	struct lineup_vectors *v;
	const char *path;
	int fd, kept;

	(void)state;
	blob.size = 0;
	put("header", 6);
	vecs_row(3, 1);
	vecs_row(3, 2);
	path = file_make("a.bin");
	fd = open(path, O_RDONLY);
	assert_int_equal(lseek(fd, 6, SEEK_SET), 6);
	kept = input_replace(fd);
	assert_int_equal(lineup_vectors_open(said.ctx, "-", &v), 0);
	assert_int_equal(lineup_vectors_rows(v), 2);
	lineup_vectors_close(v);
	input_restore(kept);
	unlink(path);
}

/* Rows of 517 values, 12 MB: they lie across the ends of any power of two of a buffer. */
static void rows_across_the_ends_of_the_buffer_are_whole(void **state)
{
	enum { DIM = 517, ROWS = 6000, BATCH = 1000 };
	float *row = malloc(DIM * sizeof(float)), *data = malloc((size_t)BATCH * DIM * sizeof(float));
	const char *path = path_of("large.fvecs");
	struct lineup_vectors *v;
	uint64_t rows = 1, at = 0;
	int32_t dim = DIM;
	FILE *f = fopen(path, "wb");

	(void)state;
	assert_non_null(f);
	for (int r = 0; r < ROWS; r++) {
		for (int i = 0; i < DIM; i++)
			row[i] = (float)(r * DIM + i + 1);
		assert_int_equal(fwrite(&dim, 4, 1, f), 1);
		assert_int_equal(fwrite(row, 4, DIM, f), DIM);
	}
	assert_int_equal(fclose(f), 0);
	assert_int_equal(lineup_vectors_open(said.ctx, path, &v), 0);
	assert_int_equal(lineup_vectors_rows(v), ROWS);
	while (rows) {
		assert_int_equal(lineup_vectors_read(v, data, BATCH, &rows), 0);
		for (uint64_t i = 0; i < rows * DIM; i++)
			assert_true(data[i] == (float)(at * DIM + i + 1));
		at += rows;
	}
	assert_int_equal(at, ROWS);
	lineup_vectors_close(v);
	unlink(path);
	free(data);
	free(row);
}

/* Bytes of this process's memory that a core dump leaves out, from the flags the kernel shows; -1 where it does not.
 */
static long undumped_bytes(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to, size = 0;
	char line[1024];
	long sum = 0;
	bool seen = false;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
			size = to - from;
		if (strncmp(line, "VmFlags:", 8))
			continue;
		seen = true;
		if (strstr(line, " dd"))
			sum += (long)size;
	}
	fclose(f);
	return seen ? sum : -1;
}

/* An emulator may swallow the advice, a kernel not show it: then nothing can be seen of the library's either. */
static bool undumped_bytes_are_shown(void)
{
	enum { SIZE = 1 << 20 };
	long before = undumped_bytes(), after;
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(madvise(p, SIZE, MADV_DONTDUMP), 0);
	after = undumped_bytes();
	munmap(p, SIZE);
	return before >= 0 && after >= before + SIZE;
}

static void buffers_are_kept_out_of_core_dumps(void **state)
{
	struct lineup_vectors *v;
	const char *path;
	long before, during, after;

	(void)state;
	if (!undumped_bytes_are_shown()) {
		print_message("buffers_are_kept_out_of_core_dumps: /proc/self/smaps does not show what is: skipped\n");
		skip();
	}
	npy_begin("<f4", "(0, 1)");
	path = file_make("a.npy");
	before = undumped_bytes();
	assert_int_equal(lineup_vectors_open(said.ctx, path, &v), 0);
	during = undumped_bytes();
	lineup_vectors_close(v);
	after = undumped_bytes();
	unlink(path);
	assert_true(during >= before + (1 << 20));
	assert_true(after <= during - (1 << 20));
}

static void closing_nothing_is_allowed(void **state)
{
	(void)state;
	lineup_vectors_close(NULL);
}

static int set_up(void **state)
{
	(void)state;
	said_init(&said);
	signal(SIGPIPE, SIG_IGN);
	snprintf(folder, sizeof(folder), "%s/lineup-vectors-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	said_fini(&said);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fvecs_rows_are_read),
		cmocka_unit_test(bvecs_rows_are_read),
		cmocka_unit_test(fvecs_rows_with_a_fault_are_refused),
		cmocka_unit_test(a_second_dimension_is_refused),
		cmocka_unit_test(a_vecs_file_cut_within_a_row_is_refused),
		cmocka_unit_test(dimensions_out_of_range_are_refused),
		cmocka_unit_test(an_empty_file_is_refused),
		cmocka_unit_test(paths_that_are_no_files_are_refused),
		cmocka_unit_test(an_unreadable_file_is_refused),
		cmocka_unit_test(an_unknown_ending_is_refused_and_the_known_ones_told),
		cmocka_unit_test(short_reads_of_a_pipe_make_whole_rows),
		cmocka_unit_test(a_pipe_that_ends_early_or_late_is_refused_at_its_end),
		cmocka_unit_test(standard_input_is_npy_by_its_first_bytes_and_else_fvecs),
		cmocka_unit_test(standard_input_counts_from_where_it_stands),
		cmocka_unit_test(rows_across_the_ends_of_the_buffer_are_whole),
		cmocka_unit_test(buffers_are_kept_out_of_core_dumps),
		cmocka_unit_test(closing_nothing_is_allowed),
	};

	return cmocka_run_group_tests_name("vectors", tests, set_up, tear_down);
}
