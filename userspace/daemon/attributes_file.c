// SPDX-License-Identifier: MIT
// attributes.db: how SQLite is set up, its few statements, and its errors as errno.
#include "attributes_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum statement { BEGIN, TOUCH, CLEAR, PUT, NOTE, COMMIT, ROLLBACK, STATEMENTS };

struct attributes_file {
	char path[PATH_MAX + 16];
	sqlite3 *db;              /* NULL: there is no file yet */
	sqlite3_stmt *statement[STATEMENTS];
	uint64_t noted;
	bool doubtful;            /* a commit failed: its pages may be in the log all the same */
};

static const char *const statement_text[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[TOUCH] = "INSERT OR REPLACE INTO noted (id, sequence) VALUES (1, 0)",
	[CLEAR] = "DELETE FROM attributes WHERE subject = ?1",
	[PUT] = "INSERT OR REPLACE INTO attributes (subject, sequence, number, text) VALUES (?1, ?2, ?3, ?4)",
	[NOTE] = "INSERT OR REPLACE INTO noted (id, sequence) VALUES (0, ?1)",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

/*
 * The lock is held for good, so that the index of the write-ahead log stays in memory. Each commit is one sync of that log
 * (FULL). What is deleted is overwritten (secure_delete). "LUPA" says whose file it is.
 */
#define APPLICATION_ID "1280659521"
static const char setup[] =
	"PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON;"
	"PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY";
static const char schema[] =
	"BEGIN IMMEDIATE; PRAGMA application_id = " APPLICATION_ID "; PRAGMA user_version = 1;"
	"CREATE TABLE attributes (subject TEXT NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, text BLOB,"
	" PRIMARY KEY (subject, sequence)) WITHOUT ROWID;"
	"CREATE TABLE noted (id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL); COMMIT";

static int say(const struct attributes_file *file, const char *what, const char *why, int err)
{
	char path[2 * PATH_MAX], text[512];

	log_event(LOG_ERROR, "attributes", "file=%s what=%s error=%s", log_quote(path, sizeof(path), file->path), what,
		  log_quote(text, sizeof(text), why));
	return err;
}

/* @code is SQLite's; its text never holds a value of a row. */
static int fail(const struct attributes_file *file, const char *what, int code)
{
	int err = -EIO;

	switch (code & 0xff) {
	case SQLITE_FULL: err = -ENOSPC; break;
	case SQLITE_NOMEM: err = -ENOMEM; break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: err = -EBADMSG; break;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH: err = -EACCES; break;
	case SQLITE_BUSY: err = -EBUSY; break;
	case SQLITE_CANTOPEN: err = file->db && sqlite3_system_errno(file->db) ? -sqlite3_system_errno(file->db) : -EIO; break;
	default: break;
	}
	return say(file, what, sqlite3_errstr(code), err);
}

/* ---- opening ---- */

static int one_integer(struct attributes_file *file, const char *sql, int64_t *value)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(file->db, sql, -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		*value = sqlite3_column_int64(s, 0);
		code = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return code == SQLITE_OK || code == SQLITE_DONE ? 0 : fail(file, "read", code);
}

/* Whether the structure is whole: what is read below is trusted to be what was written. */
static int check(struct attributes_file *file)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(file->db, "PRAGMA quick_check(1)", -1, &s, NULL), err = 0;

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code != SQLITE_ROW)
		err = fail(file, "check", code);
	else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
		err = fail(file, "check", SQLITE_CORRUPT);
	sqlite3_finalize(s);
	return err;
}

static int run(struct attributes_file *file, const char *what, const char *sql)
{
	int code = sqlite3_exec(file->db, sql, NULL, NULL, NULL);

	if (code == SQLITE_OK)
		return 0;
	if (!sqlite3_get_autocommit(file->db))
		sqlite3_exec(file->db, "ROLLBACK", NULL, NULL, NULL);
	return fail(file, what, code);
}

static int connect(struct attributes_file *file)
{
	int code = sqlite3_open_v2(file->path, &file->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
				   NULL);

	if (code != SQLITE_OK)
		return fail(file, "open", code);
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return run(file, "open", setup);
}

static void disconnect(struct attributes_file *file)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(file->statement[i]);
		file->statement[i] = NULL;
	}
	sqlite3_close(file->db);
	file->db = NULL;
}

/* From here on a file that is ours. */
static int prepare(struct attributes_file *file)
{
	sqlite3_stmt *mode = NULL;
	int code = sqlite3_prepare_v2(file->db, "PRAGMA journal_mode = WAL", -1, &mode, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(mode);
	if (code == SQLITE_ROW)
		code = strcmp((const char *)sqlite3_column_text(mode, 0), "wal") == 0 ? SQLITE_OK : SQLITE_IOERR;
	sqlite3_finalize(mode);
	for (int i = 0; code == SQLITE_OK && i < STATEMENTS; i++)
		code = sqlite3_prepare_v3(file->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT, &file->statement[i], NULL);
	return code == SQLITE_OK ? 0 : fail(file, "open", code);
}

static int open_existing(struct attributes_file *file, uint64_t sequence)
{
	int64_t id = 0, version = 0, tables = 0, noted = -1, later = 0;
	char sql[128];
	int err = connect(file);

	err = err ? err : one_integer(file, "PRAGMA application_id", &id);
	err = err ? err : one_integer(file, "PRAGMA user_version", &version);
	err = err ? err : one_integer(file, "SELECT count(*) FROM sqlite_schema", &tables);
	if (!err && !id && !version && !tables) {
		disconnect(file); /* it was being made when the machine stopped */
		return 0;
	}
	if (!err && (id != strtoll(APPLICATION_ID, NULL, 10) || version != 1))
		err = say(file, "open", "this is not a lineup attributes file of version 1", -EBADMSG);
	err = err ? err : check(file);
	err = err ? err : prepare(file);
	err = err ? err : one_integer(file, "SELECT sequence FROM noted WHERE id = 0", &noted);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM attributes WHERE sequence > %lld", (long long)sequence);
	err = err ? err : one_integer(file, sql, &later);
	if (!err && later) {
		snprintf(sql, sizeof(sql), "DELETE FROM attributes WHERE sequence > %lld", (long long)sequence);
		err = run(file, "open", sql);
	}
	file->noted = noted < 0 ? UINT64_MAX : (uint64_t)noted;
	return err;
}

int attributes_file_open(const char *gallery_path, uint64_t sequence, struct attributes_file **file)
{
	struct attributes_file *f = calloc(1, sizeof(*f));
	struct stat st;
	int err;

	if (!f)
		return -ENOMEM;
	f->noted = UINT64_MAX;
	snprintf(f->path, sizeof(f->path), "%s", gallery_path);
	/* SQLite then refuses a link anywhere on the way, so the way is without one. */
	if (!realpath(gallery_path, f->path)) {
		err = -errno;
		say(f, "open", strerror(-err), err);
		free(f);
		return err;
	}
	strcat(f->path, "/attributes.db");
	err = lstat(f->path, &st) ? (errno == ENOENT ? 0 : say(f, "open", strerror(errno), -errno)) : open_existing(f, sequence);
	if (err) {
		attributes_file_close(f);
		return err;
	}
	*file = f;
	return 0;
}

void attributes_file_close(struct attributes_file *file)
{
	if (!file)
		return;
	disconnect(file);
	free(file);
}

static int make(struct attributes_file *file)
{
	int fd = open(file->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), err;

	if (fd < 0) {
		err = -errno;
		return say(file, "create", strerror(-err), err);
	}
	close(fd);
	err = connect(file);
	err = err ? err : run(file, "create", schema);
	err = err ? err : prepare(file);
	if (err)
		disconnect(file);
	return err;
}

/* ---- reading and writing ---- */

int attributes_file_read(struct attributes_file *file, int (*each)(void *arg, const struct attributes_row *row), void *arg)
{
	sqlite3_stmt *s = NULL;
	int code, result = 0;

	if (!file->db)
		return 0;
	code = sqlite3_prepare_v2(file->db, "SELECT subject, sequence, number, text FROM attributes ORDER BY subject, sequence", -1,
				  &s, NULL);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		struct attributes_row row;

		code = sqlite3_step(s);
		if (code != SQLITE_ROW)
			break;
		row = (struct attributes_row){
			.subject = (const char *)sqlite3_column_text(s, 0),
			.sequence = (uint64_t)sqlite3_column_int64(s, 1),
			.number = (uint32_t)sqlite3_column_int64(s, 2),
			.text = sqlite3_column_type(s, 3) == SQLITE_NULL ? NULL : sqlite3_column_blob(s, 3),
			.size = (size_t)sqlite3_column_bytes(s, 3),
		};
		result = row.subject ? each(arg, &row) : -ENOMEM;
		if (result)
			break;
	}
	sqlite3_finalize(s);
	return result ? result : code == SQLITE_DONE ? 0 : fail(file, "read", code);
}

uint64_t attributes_file_noted(const struct attributes_file *file)
{
	return file->noted;
}

/* Runs a prepared statement; a failure ends the transaction. */
static int step(struct attributes_file *file, enum statement which, const char *what)
{
	sqlite3_stmt *s = file->statement[which];
	int code = sqlite3_step(s);

	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	if (code == SQLITE_DONE)
		return 0;
	if (!sqlite3_get_autocommit(file->db)) {
		sqlite3_step(file->statement[ROLLBACK]);
		sqlite3_reset(file->statement[ROLLBACK]);
	}
	return fail(file, what, code);
}

int attributes_file_begin(struct attributes_file *file)
{
	int err = file->db ? 0 : make(file);

	err = err ? err : step(file, BEGIN, "begin");
	/*
	 * A transaction that changes nothing, since SQLite takes it that the failed one did not either, would leave what that
	 * one wrote: this one writes over it.
	 */
	return err || !file->doubtful ? err : step(file, TOUCH, "write");
}

int attributes_file_clear(struct attributes_file *file, const char *subject)
{
	sqlite3_bind_text(file->statement[CLEAR], 1, subject, -1, SQLITE_STATIC);
	return step(file, CLEAR, "write");
}

int attributes_file_put(struct attributes_file *file, const struct attributes_row *row)
{
	sqlite3_stmt *s = file->statement[PUT];

	sqlite3_bind_text(s, 1, row->subject, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)row->sequence);
	sqlite3_bind_int64(s, 3, row->number);
	if (row->text)
		sqlite3_bind_blob(s, 4, row->text, (int)row->size, SQLITE_STATIC);
	else
		sqlite3_bind_null(s, 4);
	return step(file, PUT, "write");
}

int attributes_file_note(struct attributes_file *file, uint64_t sequence)
{
	int err;

	sqlite3_bind_int64(file->statement[NOTE], 1, (sqlite3_int64)sequence);
	err = step(file, NOTE, "write");
	file->noted = err ? UINT64_MAX : sequence;
	return err;
}

int attributes_file_commit(struct attributes_file *file)
{
	int err = step(file, COMMIT, "commit");

	file->doubtful = err != 0;
	return err;
}

/* SQLite holds no lock on the log itself, so that closing it here does not give one up. */
static int overwrite_log(const struct attributes_file *file)
{
	static const char zeros[65536];
	char path[sizeof(file->path) + 8];
	struct stat st = { 0 };
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s-wal", file->path);
	fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st))
		err = -errno;
	for (off_t at = 0; !err && at < st.st_size;) {
		size_t size = st.st_size - at < (off_t)sizeof(zeros) ? (size_t)(st.st_size - at) : sizeof(zeros);
		ssize_t n = pwrite(fd, zeros, size, at);

		if (n < 0)
			err = -errno;
		else
			at += n;
	}
	if (!err && fdatasync(fd))
		err = -errno;
	close(fd);
	return err;
}

int attributes_file_wipe(struct attributes_file *file)
{
	int code, err;

	if (!file->db)
		return 0;
	/* First everything in the log goes into the database, and is synced there: then nobody needs what the log holds. */
	code = sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	if (code != SQLITE_OK)
		return fail(file, "wipe", code);
	err = overwrite_log(file);
	code = sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (err)
		return say(file, "wipe", strerror(-err), err);
	return code == SQLITE_OK ? 0 : fail(file, "wipe", code);
}
