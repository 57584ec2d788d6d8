// SPDX-License-Identifier: MIT
// The model of a disk that the crash tests stand on: what it keeps and what it loses.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"

struct stage {
	char base[PATH_MAX], live[PATH_MAX + 16], image[PATH_MAX + 16];
	struct faulty_io f;
	int dir;
};

static int make_stage(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	faulty_directory(s->base, false);
	snprintf(s->live, sizeof(s->live), "%s/live", s->base);
	snprintf(s->image, sizeof(s->image), "%s/image", s->base);
	mkdir(s->live, 0700);
	faulty_init(&s->f, s->live);
	s->dir = s->f.io.open(&s->f, AT_FDCWD, s->live, O_RDONLY | O_DIRECTORY, 0);
	*state = s;
	return s->dir < 0;
}

static int drop_stage(void **state)
{
	struct stage *s = *state;

	s->f.io.close(&s->f, s->dir);
	faulty_fini(&s->f);
	faulty_remove(s->base);
	free(s);
	return 0;
}

static int make_file(struct stage *s, const char *name, char letter, size_t size)
{
	int fd = s->f.io.open(&s->f, s->dir, name, O_RDWR | O_CREAT, 0600);
	char *data = malloc(size + 1);

	assert_true(fd >= 0);
	memset(data, letter, size);
	assert_int_equal(s->f.io.pwrite(&s->f, fd, data, size, 0), size);
	free(data);
	return fd;
}

static void sync_directory(struct stage *s)
{
	assert_int_equal(s->f.io.fsync(&s->f, s->dir), 0);
}

/* The file in the image: its size, -1 if it is not there; the first letter of each sector in @letters. */
static long image_of(struct stage *s, enum faulty_loss loss, uint64_t seed, const char *name, char *letters)
{
	char path[PATH_MAX + 64], sector[FAULTY_SECTOR];
	long size = 0;
	ssize_t n;
	int fd;

	assert_null(faulty_differs(&s->f));
	faulty_remove(s->image);
	assert_int_equal(mkdir(s->image, 0700), 0);
	faulty_image(&s->f, loss, seed, s->image);
	snprintf(path, sizeof(path), "%s/%s", s->image, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	while ((n = read(fd, sector, sizeof(sector))) > 0) {
		*letters++ = sector[0] ? sector[0] : '0';
		size += n;
	}
	*letters = 0;
	close(fd);
	return size;
}

static void a_file_is_lost_without_the_directory(void **state)
{
	struct stage *s = *state;
	char letters[64];
	int fd = make_file(s, "a", 'A', 700);

	assert_int_equal(s->f.io.fdatasync(&s->f, fd), 0);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), -1);
	assert_int_equal(image_of(s, FAULTY_KEEP, 0, "a", letters), 700);
	sync_directory(s);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 700);
	assert_string_equal(letters, "AA");
	s->f.io.close(&s->f, fd);
}

static void data_is_lost_without_its_own_sync(void **state)
{
	struct stage *s = *state;
	char letters[64];
	int fd = make_file(s, "a", 'A', 1024);

	sync_directory(s);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 0);
	assert_int_equal(image_of(s, FAULTY_ZERO_DATA, 0, "a", letters), 1024);
	assert_string_equal(letters, "00");
	assert_int_equal(s->f.io.fdatasync(&s->f, fd), 0);
	s->f.io.close(&s->f, fd);
	fd = make_file(s, "a", 'B', 512);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 1024);
	assert_string_equal(letters, "AA");
	assert_int_equal(image_of(s, FAULTY_KEEP, 0, "a", letters), 1024);
	assert_string_equal(letters, "BA");
	s->f.io.close(&s->f, fd);
}

static void a_rename_is_undone_without_the_directory(void **state)
{
	struct stage *s = *state;
	char letters[64];
	int a = make_file(s, "a", 'A', 512), b = make_file(s, "b", 'B', 512);

	s->f.io.fdatasync(&s->f, a);
	s->f.io.fdatasync(&s->f, b);
	sync_directory(s);
	assert_int_equal(s->f.io.rename(&s->f, s->dir, "b", "a"), 0);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 512);
	assert_string_equal(letters, "A");
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "b", letters), 512);
	assert_int_equal(image_of(s, FAULTY_KEEP, 0, "b", letters), -1);
	assert_int_equal(image_of(s, FAULTY_KEEP, 0, "a", letters), 512);
	assert_string_equal(letters, "B");
	sync_directory(s);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 512);
	assert_string_equal(letters, "B");
	assert_int_equal(s->f.io.unlink(&s->f, s->dir, "a"), 0);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 512);
	s->f.io.close(&s->f, a);
	s->f.io.close(&s->f, b);
}

static void what_was_written_before_a_failed_sync_is_lost_for_ever(void **state)
{
	struct stage *s = *state;
	char letters[64];
	int fd = make_file(s, "a", 'A', 512);

	sync_directory(s);
	s->f.fail_mask = 1 << FAULTY_FDATASYNC;
	s->f.fail_at = 1;
	s->f.fail_error = -EIO;
	assert_int_equal(s->f.io.fdatasync(&s->f, fd), -EIO);
	assert_int_equal(s->f.io.fdatasync(&s->f, fd), 0);
	assert_int_equal(image_of(s, FAULTY_KEEP, 0, "a", letters), 512);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 0);
	s->f.io.close(&s->f, fd);
	fd = make_file(s, "a", 'A', 512);
	assert_int_equal(s->f.io.fdatasync(&s->f, fd), 0);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 512);
	s->f.io.close(&s->f, fd);
}

/* Over many seeds every sector is kept and lost on its own, and both sizes occur; what was synced never changes. */
static void random_images_keep_and_lose_each_sector(void **state)
{
	struct stage *s = *state;
	bool seen[2][2] = { { false } }, shorter = false, longer = false;
	int fd = make_file(s, "a", 'A', 1536);

	s->f.io.fdatasync(&s->f, fd);
	sync_directory(s);
	s->f.io.close(&s->f, fd);
	fd = make_file(s, "a", 'B', 1024);
	assert_int_equal(s->f.io.pwrite(&s->f, fd, "C", 1, 2048), 1);
	for (uint64_t seed = 1; seed < 200; seed++) {
		char letters[64];
		long size = image_of(s, FAULTY_RANDOM, seed, "a", letters);

		assert_true(size == 1536 || size == 2049);
		assert_true(letters[0] == 'A' || letters[0] == 'B');
		assert_true(letters[1] == 'A' || letters[1] == 'B');
		assert_int_equal(letters[2], 'A');
		seen[letters[0] == 'A'][letters[1] == 'A'] = true;
		shorter |= size == 1536;
		longer |= size == 2049;
	}
	assert_true(seen[0][0] && seen[0][1] && seen[1][0] && seen[1][1] && shorter && longer);
	s->f.io.close(&s->f, fd);
}

static void a_fork_loses_what_its_origin_would(void **state)
{
	struct stage *s = *state;
	char letters[64], path[PATH_MAX + 32];
	int fd = make_file(s, "a", 'A', 512), dir;
	struct faulty_io second;

	sync_directory(s);
	snprintf(path, sizeof(path), "%s/second", s->base);
	assert_int_equal(mkdir(path, 0700), 0);
	faulty_fork(&s->f, &second, path);
	assert_null(faulty_differs(&second));
	s->f.io.close(&s->f, fd);
	s->f.io.close(&s->f, s->dir);
	faulty_fini(&s->f);
	s->f = second;
	s->dir = dir = s->f.io.open(&s->f, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 0);
	fd = s->f.io.open(&s->f, dir, "a", O_RDWR, 0);
	s->f.io.fdatasync(&s->f, fd);
	assert_int_equal(image_of(s, FAULTY_LOSE, 0, "a", letters), 512);
	s->f.io.close(&s->f, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_lost_without_the_directory, make_stage, drop_stage),
		cmocka_unit_test_setup_teardown(data_is_lost_without_its_own_sync, make_stage, drop_stage),
		cmocka_unit_test_setup_teardown(a_rename_is_undone_without_the_directory, make_stage, drop_stage),
		cmocka_unit_test_setup_teardown(what_was_written_before_a_failed_sync_is_lost_for_ever, make_stage, drop_stage),
		cmocka_unit_test_setup_teardown(random_images_keep_and_lose_each_sector, make_stage, drop_stage),
		cmocka_unit_test_setup_teardown(a_fork_loses_what_its_origin_would, make_stage, drop_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
