// SPDX-License-Identifier: MIT
// Attributes against a model, with the power lost or the disk failing at every change of the file; selections; what is wiped.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "attributes.h"
#include "daemon_disk.h"
#include "under_sanitizer.h"

enum { SUBJECTS = 6, TEXT = 64, ROUNDS = 24 };

static char directory[64];

static void clear_directory(void)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	daemon_disk_forget();
}

static struct attributes *opened(uint64_t sequence)
{
	struct attributes *a = NULL;

	assert_int_equal(attributes_open(directory, sequence, &a), 0);
	return a;
}

static int put(struct attributes *a, const char *subject, uint32_t number, uint64_t sequence, const char *text)
{
	return attributes_put(a, subject, number, sequence, text, strlen(text));
}

/* Puts, commits and applies. */
static void set(struct attributes *a, const char *subject, uint32_t number, uint64_t sequence, const char *text)
{
	assert_int_equal(put(a, subject, number, sequence, text), 0);
	assert_int_equal(attributes_commit(a), 0);
	attributes_apply(a);
}

/* ---- a history, and what must be there after it, however it ends ---- */

struct model {
	uint64_t sequence;          /* of the gallery: what is durable there */
	char text[SUBJECTS][TEXT];  /* in force */
	/* Texts that unacknowledged changes of attributes alone may have left, until a commit has succeeded. */
	char maybe[SUBJECTS][2 * ROUNDS][TEXT];
	unsigned int in_doubt[SUBJECTS];
	bool finished;
};

static const char *const subjects[SUBJECTS] = { "a", "b", "person-3", "\303\251", "e'e", "f" };

static uint64_t seed;

static unsigned int pick(unsigned int n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(seed >> 33) % n;
}

/*
 * Attributes with one operation of the gallery, or alone. A gallery's commit that fails is taken back; a failed revert is the
 * next commit's matter.
 */
static void change(struct attributes *a, struct model *m, bool alone)
{
	char next[SUBJECTS][TEXT];
	uint64_t sequence = m->sequence + !alone;
	int err;

	memcpy(next, m->text, sizeof(next));
	for (unsigned int i = 1 + pick(3); i--;) {
		unsigned int s = pick(SUBJECTS);

		if (pick(4))
			snprintf(next[s], TEXT, "{\"v\": %u, \"s\": %u}", pick(100), s);
		else
			next[s][0] = 0;
		assert_int_equal(put(a, subjects[s], s, sequence, next[s]), 0);
		if (alone) {
			strcpy(m->maybe[s][m->in_doubt[s]], next[s]);
			m->in_doubt[s]++;
		}
	}
	err = attributes_commit(a);
	if (err)
		return;
	memset(m->in_doubt, 0, sizeof(m->in_doubt));
	if (!alone && !pick(5)) {
		attributes_revert(a);
		return;
	}
	m->sequence = sequence;
	memcpy(m->text, next, sizeof(next));
	attributes_apply(a);
}

static void history(struct model *m, uint64_t start)
{
	struct attributes *a = NULL;

	seed = start;
	if (attributes_open(directory, m->sequence, &a))
		return;
	for (int i = 0; i < ROUNDS; i++) {
		switch (pick(7)) {
		case 0:
			if (!attributes_commit(a)) {
				memset(m->in_doubt, 0, sizeof(m->in_doubt));
				m->sequence++; /* an operation without attributes */
			}
			break;
		case 1: attributes_settle(a, m->sequence); break;
		case 2:
		case 3: change(a, m, true); break;
		default: change(a, m, false); break;
		}
		for (int s = 0; s < SUBJECTS; s++) {
			const char *text = attributes_get(a, subjects[s]);

			assert_string_equal(text ? text : "", m->text[s]);
		}
	}
	attributes_close(a);
	m->finished = true;
}

static bool may_be(const struct model *m, int s, const char *text)
{
	bool may = strcmp(text, m->text[s]) == 0;

	for (unsigned int i = 0; i < m->in_doubt[s]; i++)
		may |= strcmp(text, m->maybe[s][i]) == 0;
	return may;
}

/* What is opened is what the model says, and what is selected follows from it. */
static void verify(const struct model *m, const char *when, uint64_t at)
{
	static const char filter_text[] = ".v % 2 == 0";
	struct filter *filter = NULL;
	struct attributes *a;
	uint8_t *bits = NULL;
	char error[256];
	unsigned int count = 0;

	daemon_disk_forget();
	a = opened(m->sequence);
	assert_int_equal(filter_compile(filter_text, strlen(filter_text), &filter, error), 0);
	assert_int_equal(attributes_select(a, filter, filter_text, strlen(filter_text), SUBJECTS, &bits), 0);
	for (int s = 0; s < SUBJECTS; s++) {
		const char *text = attributes_get(a, subjects[s]);
		unsigned int v;

		if (!may_be(m, s, text ? text : ""))
			fail_msg("%s at change %llu, sequence %llu: %s has '%s', not '%s'", when, (unsigned long long)at,
				 (unsigned long long)m->sequence, subjects[s], text ? text : "", m->text[s]);
		count += text != NULL;
		assert_int_equal(bits[0] >> s & 1, text && sscanf(text, "{\"v\": %u", &v) == 1 && v % 2 == 0);
	}
	assert_int_equal(attributes_count(a), count);
	free(bits);
	filter_destroy(filter);
	attributes_close(a);
}

static struct model *shared_model(void)
{
	return mmap(NULL, sizeof(struct model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Runs @m's history in a process that loses power at change @at; whether it did. */
static bool lost(struct model *m, uint64_t start, uint64_t at)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		daemon_disk_set(DISK_POWER_LOSS, at, start * 1000 + at);
		history(m, start);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DISK_LOST));
	return WEXITSTATUS(status) == DISK_LOST;
}

static void power_lost_at_any_change_loses_nothing_acknowledged(void **state)
{
	struct model *m = shared_model();
	unsigned int points = 0;

	(void)state;
	for (uint64_t start = 1; start <= (UNDER_SANITIZER ? 2 : 6); start++) {
		for (uint64_t at = 1;; at += 1 + pick(UNDER_SANITIZER ? 12 : 3)) {
			bool was_lost;

			clear_directory();
			memset(m, 0, sizeof(*m));
			was_lost = lost(m, start, at);
			verify(m, "power loss", at);
			/* And a second time, as it opens and goes on from there. What was in doubt has been decided. */
			if (was_lost && at % 4 == 0) {
				struct attributes *a = opened(m->sequence);

				for (int s = 0; s < SUBJECTS; s++) {
					const char *text = attributes_get(a, subjects[s]);

					strcpy(m->text[s], text ? text : "");
				}
				memset(m->in_doubt, 0, sizeof(m->in_doubt));
				attributes_close(a);
				lost(m, start + 100, 1 + at % 37);
				verify(m, "second power loss", at);
			}
			points += was_lost;
			if (!was_lost)
				break;
		}
		assert_true(m->finished);
	}
	assert_true(points > (UNDER_SANITIZER ? 20 : 100));
	munmap(m, sizeof(*m));
}

static void a_failing_disk_leaves_what_was_acknowledged(void **state)
{
	static const enum daemon_disk_fault faults[] = { DISK_FULL, DISK_FAILS, DISK_STAYS_BAD };

	(void)state;
	for (size_t f = 0; f < 3; f++) {
		for (uint64_t start = 1; start <= (UNDER_SANITIZER ? 1 : 4); start++) {
			uint64_t total = 1;

			for (uint64_t at = 1; at <= total; at++) {
				struct model m = { 0 };

				clear_directory();
				daemon_disk_set(faults[f], at, at);
				history(&m, start);
				total = daemon_disk_changes() > total && faults[f] != DISK_STAYS_BAD ? daemon_disk_changes()
												     : total;
				total = faults[f] == DISK_STAYS_BAD ? 120 : total;
				verify(&m, "failure", at);
			}
			assert_true(total > 50);
		}
	}
}

/* A row of an operation that failed has the number that the next one gets. */
static void a_row_that_could_not_be_taken_back_never_comes_into_force(void **state)
{
	struct attributes *a;

	(void)state;
	clear_directory();
	a = opened(0);
	set(a, "x", 1, 1, "{\"v\": 1}");
	assert_int_equal(put(a, "x", 1, 2, "{\"v\": 2}"), 0);
	assert_int_equal(attributes_commit(a), 0);
	daemon_disk_set(DISK_STAYS_BAD, 1, 1);
	attributes_revert(a);
	assert_string_equal(attributes_get(a, "x"), "{\"v\": 1}");
	/* While the disk is bad, the gallery's next commit is held off. */
	assert_true(attributes_commit(a) < 0);
	daemon_disk_set(DISK_WHOLE, 0, 1);
	assert_int_equal(attributes_commit(a), 0); /* of operation 2, another one, without attributes */
	attributes_close(a);
	a = opened(2);
	assert_string_equal(attributes_get(a, "x"), "{\"v\": 1}");
	attributes_close(a);
}

/* The sync of a commit fails, though all of it is on the disk; then the process dies. */
static void a_commit_in_doubt_is_overwritten_by_the_next(void **state)
{
	(void)state;
	clear_directory();
	for (uint64_t at = 1; at < 40; at++) {
		pid_t child;
		int status;
		struct attributes *a;

		clear_directory();
		child = fork();
		if (!child) {
			a = opened(0);
			set(a, "y", 2, 1, "1");
			daemon_disk_set(DISK_FAILS, at, 1);
			put(a, "x", 1, 2, "{\"v\": 1}");
			if (!attributes_commit(a))
				_exit(0);
			_exit(attributes_commit(a) ? 2 : 1); /* of operation 2, another one, without attributes */
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		if (!WEXITSTATUS(status)) {
			assert_true(at > 2);
			return;
		}
		a = opened(2);
		assert_null(attributes_get(a, "x"));
		assert_string_equal(attributes_get(a, "y"), "1");
		attributes_close(a);
	}
	fail();
}

static void rows_of_operations_that_never_were_are_dropped(void **state)
{
	struct attributes *a;

	(void)state;
	clear_directory();
	a = opened(0);
	set(a, "x", 1, 1, "1");
	assert_int_equal(put(a, "x", 1, 2, "2"), 0);
	assert_int_equal(put(a, "y", 2, 3, "3"), 0);
	assert_int_equal(attributes_commit(a), 0);
	attributes_close(a);
	a = opened(1);
	assert_string_equal(attributes_get(a, "x"), "1");
	assert_null(attributes_get(a, "y"));
	assert_int_equal(attributes_count(a), 1);
	attributes_close(a);
	a = opened(9); /* for good */
	assert_string_equal(attributes_get(a, "x"), "1");
	assert_null(attributes_get(a, "y"));
	attributes_close(a);
}

static void staged_changes_are_not_seen_before_they_are_applied(void **state)
{
	struct attributes *a;

	(void)state;
	clear_directory();
	a = opened(0);
	set(a, "x", 1, 1, "1");
	assert_int_equal(put(a, "x", 1, 2, "2"), 0);
	assert_int_equal(put(a, "z", 3, 2, "3"), 0);
	assert_string_equal(attributes_get(a, "x"), "1");
	assert_int_equal(attributes_commit(a), 0);
	assert_string_equal(attributes_get(a, "x"), "1");
	assert_null(attributes_get(a, "z"));
	attributes_revert(a);
	assert_string_equal(attributes_get(a, "x"), "1");
	assert_null(attributes_get(a, "z"));
	/* Two for one subject: the later counts. */
	assert_int_equal(put(a, "x", 1, 2, "5"), 0);
	assert_int_equal(put(a, "x", 1, 3, ""), 0);
	assert_int_equal(put(a, "x", 1, 4, "6"), 0);
	assert_int_equal(attributes_commit(a), 0);
	attributes_apply(a);
	assert_string_equal(attributes_get(a, "x"), "6");
	attributes_close(a);
	a = opened(4);
	assert_string_equal(attributes_get(a, "x"), "6");
	attributes_close(a);
}

static void no_file_is_made_before_it_is_needed(void **state)
{
	char path[128];
	struct attributes *a;
	struct stat st;
	int fd;

	(void)state;
	clear_directory();
	snprintf(path, sizeof(path), "%s/attributes.db", directory);
	a = opened(7);
	assert_int_equal(attributes_commit(a), 0);
	assert_int_equal(attributes_settle(a, 7), 0);
	attributes_close(a);
	assert_int_equal(access(path, F_OK), -1);
	/* The machine stopped just after it had been made. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	a = opened(7);
	set(a, "x", 1, 8, "true");
	attributes_close(a);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	a = opened(8);
	assert_string_equal(attributes_get(a, "x"), "true");
	attributes_close(a);
}

static void text_that_is_no_json_is_refused(void **state)
{
	static const char *const bad[] = {
		"{", "x", "{\"a\": 1,}", "{\"a\": 1} 2", "\"\xff\"", "{\"a\": 1, \"a\": 2}", "1e999", " "
	};
	static const char *const good[] = {
		"{}", "1", "\"x\"", "null", "[]", " {\"a\": \"\\u0000\"} ", "123456789012345678901234567890"
	};
	char *text = malloc(DAEMON_ATTRIBUTE_BYTES_MAX + 2);
	struct attributes *a;

	(void)state;
	clear_directory();
	a = opened(0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(put(a, "x", 1, 1, bad[i]), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		set(a, "x", 1, 1, good[i]);
		assert_string_equal(attributes_get(a, "x"), good[i]);
	}
	memset(text, ' ', DAEMON_ATTRIBUTE_BYTES_MAX + 1);
	text[0] = '1';
	text[DAEMON_ATTRIBUTE_BYTES_MAX + 1] = 0;
	assert_int_equal(put(a, "x", 1, 1, text), -EINVAL);
	text[DAEMON_ATTRIBUTE_BYTES_MAX] = 0;
	set(a, "x", 1, 1, text);
	assert_string_equal(attributes_get(a, "x"), text);
	attributes_close(a);
	free(text);
}

static void damaged_and_foreign_files_are_refused(void **state)
{
	char path[128];
	struct attributes *a;
	sqlite3 *db;
	int fd;

	(void)state;
	clear_directory();
	snprintf(path, sizeof(path), "%s/attributes.db", directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE attributes (a)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	a = NULL;
	assert_int_equal(attributes_open(directory, 1, &a), -EBADMSG);
	assert_null(a);

	clear_directory();
	a = opened(0);
	for (uint32_t i = 0; i < 500; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(put(a, name, i, 1, "{\"some\": \"text that fills pages\"}"), 0);
	}
	assert_int_equal(attributes_commit(a), 0);
	attributes_apply(a);
	attributes_close(a);
	fd = open(path, O_WRONLY);
	assert_true(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 3 * 4096) == 8);
	close(fd);
	a = NULL;
	assert_int_equal(attributes_open(directory, 1, &a), -EBADMSG);
	assert_null(a);

	fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(write(fd,
			  "no database, but long enough to be looked at: "
			  "................................................................................",
			  110) == 110);
	close(fd);
	assert_int_equal(attributes_open(directory, 1, &a), -EBADMSG);
	clear_directory();
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_true(attributes_open(directory, 1, &a) < 0);
	assert_null(a);
}

static bool anywhere(const char *needle)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	bool found = false;

	while ((entry = readdir(dir))) {
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		char *data = malloc(8 << 20);
		ssize_t n = read(fd, data, 8 << 20);

		found |= n > 0 && memmem(data, (size_t)n, needle, strlen(needle));
		free(data);
		close(fd);
	}
	closedir(dir);
	return found;
}

static void what_was_deleted_leaves_the_disk_when_settled(void **state)
{
	struct attributes *a;
	char path[128];
	int fd;

	(void)state;
	clear_directory();
	a = opened(0);
	set(a, "gone", 1, 1, "{\"k\": \"needle-one\"}");
	set(a, "stays", 2, 2, "{\"k\": \"needle-two\"}");
	set(a, "stays", 2, 3, "{\"k\": \"needle-three\"}");
	assert_true(anywhere("needle-one") && anywhere("needle-two"));
	set(a, "gone", 1, 4, "");
	snprintf(path, sizeof(path), "%s/attributes.db-wal", directory);
	fd = open(path, O_RDONLY); /* the log's blocks, though it is cut */
	assert_true(fd >= 0);
	assert_int_equal(attributes_settle(a, 4), 0);
	assert_false(anywhere("needle-one"));
	assert_false(anywhere("needle-two"));
	assert_true(anywhere("needle-three"));
	close(fd);
	/* And it goes on from there. */
	set(a, "new", 3, 5, "{\"k\": \"needle-four\"}");
	attributes_close(a);
	a = opened(5);
	assert_string_equal(attributes_get(a, "new"), "{\"k\": \"needle-four\"}");
	assert_string_equal(attributes_get(a, "stays"), "{\"k\": \"needle-three\"}");
	assert_null(attributes_get(a, "gone"));
	attributes_close(a);
}

static int asked;

static int follow(void *arg, const char *subject, uint32_t *number)
{
	(void)arg;
	asked++;
	if (subject[0] == 'b')
		return -ENOENT;
	if (subject[0] == 'c')
		*number = 33;
	return 0;
}

static void a_gallery_changed_by_others_is_followed(void **state)
{
	struct filter *filter = NULL;
	struct attributes *a;
	uint8_t *bits = NULL;
	char error[256];

	(void)state;
	clear_directory();
	a = opened(0);
	set(a, "a", 1, 1, "1");
	set(a, "b", 2, 2, "1");
	set(a, "c", 3, 3, "1");
	assert_int_equal(attributes_settle(a, 3), 0);
	attributes_close(a);
	a = opened(3);
	assert_int_equal(attributes_follow(a, follow, NULL), 0);
	assert_int_equal(asked, 0);
	assert_int_equal(attributes_count(a), 3);
	attributes_close(a);
	a = opened(5);
	assert_int_equal(attributes_follow(a, follow, NULL), 0);
	assert_int_equal(asked, 3);
	assert_int_equal(attributes_count(a), 2);
	assert_int_equal(attributes_settle(a, 5), 0);
	attributes_close(a);
	a = opened(5);
	assert_int_equal(attributes_follow(a, follow, NULL), 0);
	assert_int_equal(asked, 3);
	assert_null(attributes_get(a, "b"));
	assert_int_equal(filter_compile("1", 1, &filter, error), 0);
	assert_int_equal(attributes_select(a, filter, "1", 1, 34, &bits), 0);
	assert_memory_equal(bits, ((uint8_t[]){ 2, 0, 0, 0, 2 }), 5);
	free(bits);
	filter_destroy(filter);
	attributes_close(a);
}

/* More filters than are remembered, over subjects that come, change, go and get other numbers. */
static void selections_follow_every_change(void **state)
{
	enum { MANY = 300, FILTERS = 11 };
	static uint32_t value[MANY], number[MANY];
	static bool there[MANY];
	struct attributes *a;
	uint32_t next = 0;

	(void)state;
	clear_directory();
	seed = 5;
	a = opened(0);
	for (uint64_t round = 1; round < 400; round++) {
		for (unsigned int i = pick(8); i--;) {
			unsigned int s = pick(MANY);
			char name[16], text[64] = "";

			snprintf(name, sizeof(name), "s%u", s);
			if (!there[s])
				number[s] = next++;
			there[s] = pick(5);
			value[s] = pick(1000);
			if (there[s])
				snprintf(text, sizeof(text), "{\"v\": %u}", value[s]);
			assert_int_equal(put(a, name, number[s], round, text), 0);
		}
		assert_int_equal(attributes_commit(a), 0);
		attributes_apply(a);
		for (int f = 0; f < 3; f++) {
			unsigned int modulus = 2 + pick(FILTERS);
			uint64_t numbers = next ? next - pick(2) : 0;
			struct filter *filter = NULL;
			uint8_t *bits = NULL, *expected = calloc(numbers / 8 + 1, 1);
			char text[64], error[256];

			snprintf(text, sizeof(text), ".v %% %u == 1", modulus);
			assert_int_equal(filter_compile(text, strlen(text), &filter, error), 0);
			assert_int_equal(attributes_select(a, filter, text, strlen(text), numbers, &bits), 0);
			for (int s = 0; s < MANY; s++)
				if (there[s] && value[s] % modulus == 1 && number[s] < numbers)
					expected[number[s] / 8] |= (uint8_t)(1 << number[s] % 8);
			assert_memory_equal(bits, expected, (numbers + 7) / 8);
			free(bits);
			free(expected);
			filter_destroy(filter);
		}
	}
	attributes_close(a);
}

static int make_directory(void **state)
{
	(void)state;
	log_init((enum log_level)0); /* failures are what is tested */
	daemon_disk_init();
	/* Where a sync costs nothing, if there is such a place: what is lost is simulated. */
	snprintf(directory, sizeof(directory), "%s/lineup-attributes-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	clear_directory();
	return rmdir(directory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_lost_at_any_change_loses_nothing_acknowledged),
		cmocka_unit_test(a_failing_disk_leaves_what_was_acknowledged),
		cmocka_unit_test(a_row_that_could_not_be_taken_back_never_comes_into_force),
		cmocka_unit_test(a_commit_in_doubt_is_overwritten_by_the_next),
		cmocka_unit_test(rows_of_operations_that_never_were_are_dropped),
		cmocka_unit_test(staged_changes_are_not_seen_before_they_are_applied),
		cmocka_unit_test(no_file_is_made_before_it_is_needed),
		cmocka_unit_test(text_that_is_no_json_is_refused),
		cmocka_unit_test(damaged_and_foreign_files_are_refused),
		cmocka_unit_test(what_was_deleted_leaves_the_disk_when_settled),
		cmocka_unit_test(a_gallery_changed_by_others_is_followed),
		cmocka_unit_test(selections_follow_every_change),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
