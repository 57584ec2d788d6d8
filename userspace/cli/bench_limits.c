// SPDX-License-Identifier: MIT
// Measures what the machine can do at most: read memory, multiply int8, read the gallery's disk, make an append durable.
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MIB = 1 << 20,
	RAM_QUICK = 32 * MIB,
	RAM_MIN = 256 * MIB,
	RAM_MAX = 1024 * MIB,
	RAM_PASSES = 2,
	RAM_CACHES = 8,          /* the buffer is this many last-level caches, within the two above */
	DISK_PROBE = 256 * MIB,  /* read by the search for the best block size and depth */
	DEPTH_MAX = 32,
};

/* What must not be optimised away. */
static _Atomic uint64_t sink;

/* ---- memory ---- */

struct ram_work {
	const struct bench_limits *limits;
	const struct bench_kernel *kernel; /* NULL: write, so that the pages are there */
};

static void ram_share(void *arg, uint32_t thread, uint32_t threads)
{
	const struct ram_work *w = arg;
	size_t pages = w->limits->ram_bytes / 4096;
	size_t first = pages * thread / threads, end = pages * (thread + 1) / threads;
	uint8_t *data = w->limits->ram + first * 4096;

	if (w->kernel)
		sink += w->kernel->read(data, (end - first) * 4096);
	else
		memset(data, 1, (end - first) * 4096);
}

static size_t ram_size(void)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	uint64_t size = cache > 0 ? (uint64_t)cache * RAM_CACHES : RAM_MIN;

	if (size < RAM_MIN)
		size = RAM_MIN;
	if (size > RAM_MAX)
		size = RAM_MAX;
	return size / (2 * MIB) * (2 * MIB);
}

int bench_ram_init(struct bench_limits *limits, uint32_t threads, bool quick)
{
	size_t size = quick ? RAM_QUICK : ram_size();
	void *data;

	if (posix_memalign(&data, 2 * MIB, size))
		return -ENOMEM;
	madvise(data, size, MADV_HUGEPAGE);
	limits->threads = threads;
	limits->ram = data;
	limits->ram_bytes = size;
	bench_parallel(threads, ram_share, &(struct ram_work){ limits, NULL });
	return 0;
}

double bench_ram_measure(struct bench_limits *limits)
{
	double best = 0;

	for (uint32_t i = 0; i < RAM_PASSES * bench_kernel_count; i++) {
		const struct bench_kernel *kernel = &bench_kernels[i % bench_kernel_count];

		if (!kernel->read || !kernel->here())
			continue;
		double seconds = bench_parallel(limits->threads, ram_share, &(struct ram_work){ limits, kernel });
		double rate = (double)limits->ram_bytes / seconds;

		if (rate > best) {
			best = rate;
			limits->ram_kernel = kernel->name;
		}
	}
	return best;
}

/* ---- multiply-adds ---- */

struct multiply_work {
	const struct bench_limits *limits;
	_Atomic uint64_t done;
};

static void multiply_share(void *arg, uint32_t thread, uint32_t threads)
{
	struct multiply_work *w = arg;
	uint64_t local = 0;

	(void)thread;
	(void)threads;
	w->done += w->limits->multiply->multiply(w->limits->multiply_iterations, &local);
	sink += local;
}

static double multiply_rate(const struct bench_limits *limits, double *seconds)
{
	struct multiply_work w = { .limits = limits };

	*seconds = bench_parallel(limits->threads, multiply_share, &w);
	return (double)w.done / *seconds;
}

void bench_multiply_init(struct bench_limits *limits, const char *backend)
{
	double seconds = 0;

	for (uint32_t i = 0; i < bench_kernel_count && !limits->multiply; i++) {
		const struct bench_kernel *kernel = &bench_kernels[i];

		if (kernel->multiply && kernel->here() && strcmp(kernel->backend, backend) == 0)
			limits->multiply = kernel;
	}
	if (!limits->multiply)
		return;
	/* Long enough that starting threads does not count. */
	for (limits->multiply_iterations = 1 << 16; seconds < 0.03; limits->multiply_iterations *= 2)
		multiply_rate(limits, &seconds);
}

double bench_multiply_measure(struct bench_limits *limits)
{
	double seconds;

	return limits->multiply ? multiply_rate(limits, &seconds) : 0;
}

/* ---- disk ---- */

static const struct bench_disk_config disk_tried[] = {
	{ 1 * MIB, 8 }, { 512 << 10, 8 }, { 512 << 10, 32 }, { 1 * MIB, 32 }, { 2 * MIB, 8 }, { 2 * MIB, 32 },
};

/* Where the next block of a walk over all files lies. */
struct walk {
	uint32_t file;
	uint64_t offset;
	uint64_t left; /* bytes the walk may still read */
};

static bool walk_next(const struct bench_limits *limits, struct walk *walk, uint32_t block, int *fd, uint64_t *offset,
		      uint32_t *size)
{
	while (walk->file < limits->file_count && walk->offset >= limits->file_bytes[walk->file]) {
		walk->file++;
		walk->offset = 0;
	}
	if (walk->file == limits->file_count || !walk->left)
		return false;
	uint64_t n = limits->file_bytes[walk->file] - walk->offset;

	if (n > block)
		n = block;
	*fd = limits->files[walk->file];
	*offset = walk->offset;
	*size = (uint32_t)n;
	walk->offset += n;
	walk->left -= n < walk->left ? n : walk->left;
	return true;
}

static int walk_pread(const struct bench_limits *limits, uint8_t *buffer, struct walk *walk, uint64_t *done)
{
	int fd;
	uint64_t offset;
	uint32_t size;

	while (walk_next(limits, walk, limits->disk.block_bytes, &fd, &offset, &size)) {
		ssize_t n = pread(fd, buffer, size, (off_t)offset);

		if (n < 0)
			return -errno;
		if ((uint32_t)n != size)
			return -EIO;
		*done += size;
	}
	return 0;
}

struct disk_ring {
	struct io_uring ring;
	uint8_t *buffer; /* a block for each read in flight */
	bool fixed;      /* it is registered */
};

/* Puts one read of the walk into the ring, for the block @slot of the buffer; false at the walk's end. */
static bool ring_push(const struct bench_limits *limits, struct disk_ring *r, struct walk *walk, uint32_t slot)
{
	int fd;
	uint64_t offset;
	uint32_t size;

	if (!walk_next(limits, walk, limits->disk.block_bytes, &fd, &offset, &size))
		return false;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	void *block = r->buffer + (size_t)slot * limits->disk.block_bytes;

	if (r->fixed)
		io_uring_prep_read_fixed(sqe, fd, block, size, offset, 0);
	else
		io_uring_prep_read(sqe, fd, block, size, offset);
	sqe->user_data = (uint64_t)size << 32 | slot;
	return true;
}

static int walk_ring(const struct bench_limits *limits, struct disk_ring *r, struct walk *walk, uint64_t *done)
{
	uint32_t flying = 0;
	int err = 0;

	while (flying < limits->disk.depth && ring_push(limits, r, walk, flying))
		flying++;
	while (flying) {
		struct io_uring_cqe *cqe;
		int n = io_uring_submit_and_wait(&r->ring, 1);

		if (n < 0 && n != -EINTR)
			return n;
		while (io_uring_peek_cqe(&r->ring, &cqe) == 0) {
			uint32_t slot = (uint32_t)cqe->user_data, size = (uint32_t)(cqe->user_data >> 32);

			if (cqe->res != (int)size)
				err = cqe->res < 0 ? cqe->res : -EIO;
			*done += size;
			io_uring_cqe_seen(&r->ring, cqe);
			flying--;
			if (!err && ring_push(limits, r, walk, slot))
				flying++;
		}
	}
	return err;
}

static int disk_read(struct bench_limits *limits, uint64_t bytes_max, double *rate)
{
	struct walk walk = { .left = bytes_max };
	struct disk_ring r = { .fixed = false };
	size_t size = (size_t)limits->disk.block_bytes * limits->disk.depth;
	uint64_t done = 0;
	double begin;
	int err;

	if (posix_memalign((void **)&r.buffer, 2 * MIB, size))
		return -ENOMEM;
	/* A read into small pages is one of many pieces: some disks take twice as long. */
	madvise(r.buffer, size, MADV_HUGEPAGE);
	memset(r.buffer, 0, size);
	limits->uring = limits->direct && io_uring_queue_init(DEPTH_MAX, &r.ring, 0) == 0;
	if (limits->uring)
		r.fixed = io_uring_register_buffers(&r.ring, &(struct iovec){ r.buffer, size }, 1) == 0;
	begin = bench_seconds();
	err = limits->uring ? walk_ring(limits, &r, &walk, &done) : walk_pread(limits, r.buffer, &walk, &done);
	*rate = done ? (double)done / (bench_seconds() - begin) : 0;
	if (limits->uring)
		io_uring_queue_exit(&r.ring);
	free(r.buffer);
	return err;
}

int bench_disk_measure(struct bench_limits *limits, double *bytes_per_second)
{
	return disk_read(limits, UINT64_MAX, bytes_per_second);
}

static int disk_open(struct bench_limits *limits, int dir, const char *name)
{
	struct stat st;
	int flags = O_RDONLY | O_CLOEXEC;
	int fd = limits->direct ? openat(dir, name, flags | O_DIRECT) : -1;

	if (fd < 0) {
		limits->direct = false;
		fd = openat(dir, name, flags);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		int err = -errno;

		close(fd);
		return err;
	}
	limits->files[limits->file_count] = fd;
	limits->file_bytes[limits->file_count++] = (uint64_t)st.st_size;
	return 0;
}

static int disk_open_all(struct bench_limits *limits, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "segment-", 8) == 0)
			err = limits->file_count == BENCH_FILES_MAX ? -E2BIG : disk_open(limits, dirfd(dir), entry->d_name);
	}
	closedir(dir);
	return err;
}

/* A pass reads the first part of each segment, so that part is what the limit is measured on. */
static void disk_share(struct bench_limits *limits, uint64_t scan_bytes)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < limits->file_count; i++)
		total += limits->file_bytes[i];
	for (uint32_t i = 0; i < limits->file_count; i++) {
		double part = total ? (double)limits->file_bytes[i] / (double)total * (double)scan_bytes : 0;
		uint64_t pages = (uint64_t)(part / 4096) + 1;

		if (pages > limits->file_bytes[i] / 4096)
			pages = limits->file_bytes[i] / 4096;
		limits->file_bytes[i] = pages * 4096;
	}
}

int bench_disk_init(struct bench_limits *limits, const char *path, uint64_t scan_bytes)
{
	int err;

	limits->direct = true;
	limits->disk = disk_tried[0];
	err = disk_open_all(limits, path);
	if (!err)
		disk_share(limits, scan_bytes);
	return err;
}

int bench_disk_tune(struct bench_limits *limits)
{
	struct bench_disk_config best = disk_tried[0];
	double rate, rate_best = 0;

	for (size_t i = 0; i < sizeof(disk_tried) / sizeof(disk_tried[0]); i++) {
		limits->disk = disk_tried[i];
		int err = disk_read(limits, DISK_PROBE, &rate);

		if (err)
			return err;
		if (rate > rate_best) {
			rate_best = rate;
			best = disk_tried[i];
		}
	}
	limits->disk = best;
	return 0;
}

void bench_disk_cool(struct bench_limits *limits)
{
	for (uint32_t i = 0; i < limits->file_count; i++)
		posix_fadvise(limits->files[i], 0, 0, POSIX_FADV_DONTNEED);
}

int bench_append_measure(int fd, double *seconds)
{
	static const char page[4096] = { 1 };
	double begin = bench_seconds();
	ssize_t n = write(fd, page, sizeof(page));

	if (n < 0)
		return -errno;
	if (n != sizeof(page))
		return -ENOSPC;
	if (fdatasync(fd))
		return -errno;
	*seconds = bench_seconds() - begin;
	return 0;
}

void bench_limits_fini(struct bench_limits *limits)
{
	free(limits->ram);
	for (uint32_t i = 0; i < limits->file_count; i++)
		close(limits->files[i]);
	*limits = (struct bench_limits){ 0 };
}
