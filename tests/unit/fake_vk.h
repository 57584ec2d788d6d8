/* SPDX-License-Identifier: MIT */
/*
 * A device layer and kernels without Vulkan, for one test that includes this file: the functions of vk.h and kernels.h that
 * passes use, in plain C. Addresses are pointers. Each queue is a thread that runs submissions in order, late by chance, so
 * that sanitizers see who uses what too early or too late; kernels are the sequential model of params.h. A plan makes
 * submissions fail.
 */
#ifndef TEST_FAKE_VK_H
#define TEST_FAKE_VK_H

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gallery.h"
#include "vulkan/kernels.h"
#include "vulkan/vk.h"

enum { FAKE_OPS_MAX = 4096, FAKE_PENDING_MAX = 64, FAKE_DEVICES_MAX = 8 };

static struct fake_plan {
	bool transfer;             /* a queue of its own for copies */
	bool import;               /* host memory can be imported */
	uint64_t memory;           /* of a device; 0: plenty */
	uint32_t devices;          /* that "select" gives */
	atomic_bool silent;        /* waits never end, though the work does */
	atomic_uint late_us;          /* at most, before a submission runs */
	uint32_t products_us;      /* of codes in a microsecond, by clock_ns: a slow device; 0: there is no such clock */
	atomic_ullong products_most; /* in one submission */
	atomic_ullong clock_ns;    /* what fake_now_ns() tells: only a slow device's work moves it on */
	atomic_int submits_left;   /* until the device is lost; negative: never */
	atomic_int opens_left;     /* that succeed; negative: all */
	atomic_int lost;           /* devices that were */
	atomic_int buffers;        /* alive */
	atomic_int opened;         /* alive */
	atomic_ullong secrets;     /* bytes that were not zero in state and lists when they were freed */
} fake;

enum fake_kind { FAKE_COPY, FAKE_FILL, FAKE_UNPACK, FAKE_SCAN, FAKE_REFRESH };

struct fake_op {
	enum fake_kind kind;
	union {
		struct {
			uint8_t *to;
			const uint8_t *from;
			uint64_t size;
			uint32_t word;
		} copy;
		struct gpu_unpack unpack;
		struct gpu_scan scan;
		struct gpu_refresh refresh;
	} u;
};

struct fake_recording {
	uint32_t count;
	struct fake_op ops[FAKE_OPS_MAX];
};

struct fake_submission {
	struct fake_recording *recording;
	struct fake_queue *after;
	uint64_t after_value;
};

/* Behind lineup_vk_queue.timeline. */
struct fake_queue {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	struct fake_submission pending[FAKE_PENDING_MAX];
	uint64_t finish_ns[FAKE_PENDING_MAX], last_ns; /* when a slow device is done with each, and with all, by fake.clock_ns */
	uint64_t submitted, done;
	bool stop;
	uint64_t random;
};

/* ---- kernels ---- */

static const uint8_t *fake_at(uint64_t address)
{
	return (const uint8_t *)(uintptr_t)address;
}

static void fake_unpack_row(const struct gpu_unpack *u, uint32_t row)
{
	struct lineup_shape shape = { .groups = u->groups, .block_rows = u->block_rows,
				     .panel_bytes = LINEUP_PANEL_ROWS * 4 * u->groups };
	uint32_t b = row / u->block_rows, r = row % u->block_rows, to = u->row_first + row;
	const uint32_t *deleted = (const uint32_t *)fake_at(u->deleted);
	uint8_t *codes = (uint8_t *)(uintptr_t)u->codes + (uint64_t)to * u->pitch * 16;
	struct gpu_bound *bound = (struct gpu_bound *)(uintptr_t)u->bounds + to;
	struct gpu_mark *mark = (struct gpu_mark *)(uintptr_t)u->marks + to;
	struct lineup_columns c;

	lineup_block_columns(&shape, fake_at(u->blocks) + (uint64_t)b * u->block_words * 4, &c);
	memset(codes, 0, u->pitch * 16);
	for (uint32_t g = 0; g < u->groups; g++)
		for (uint32_t i = 0; i < 4; i++)
			codes[4 * g + i] = (uint8_t)(c.codes[(r / LINEUP_PANEL_ROWS) * shape.panel_bytes +
							     (g * LINEUP_PANEL_ROWS + r % LINEUP_PANEL_ROWS) * 4 + i] ^ 128);
	bound->scale = c.scale[r];
	bound->resid = c.resid[r];
	mark->lists = c.lists[r];
	mark->expires = (uint64_t)c.expires[r];
	mark->template_id = c.template_id[r];
	mark->subject = c.subject[r];
	mark->deleted = deleted && (deleted[b * ((u->block_rows + 31) / 32) + r / 32] >> (r % 32) & 1);
}

/* Not instrumented, for sanitizers would make it the whole test: the copies before it are. */
__attribute__((no_sanitize("thread", "address", "undefined"))) static int32_t fake_dot(const int8_t *a, const int8_t *b, uint32_t n)
{
	int32_t acc = 0;

	for (uint32_t i = 0; i < n; i++)
		acc += a[i] * b[i];
	return acc;
}

static void fake_scan_row(const struct gpu_scan *s, uint32_t probe, uint32_t row)
{
	int8_t a[LINEUP_DIM_MAX], b[LINEUP_DIM_MAX];
	const struct gpu_probe *p = (const struct gpu_probe *)fake_at(s->probe) + probe;
	const struct gpu_bound *bound = (const struct gpu_bound *)fake_at(s->bounds) + row;
	const struct gpu_mark *mark = (const struct gpu_mark *)fake_at(s->marks) + row;
	uint32_t *count = (uint32_t *)(uintptr_t)s->counts + probe, at;
	int32_t acc;

	memcpy(a, fake_at(s->probe_codes) + (uint64_t)probe * s->pitch * 16, s->pitch * 16);
	memcpy(b, fake_at(s->codes) + (uint64_t)row * s->pitch * 16, s->pitch * 16);
	acc = fake_dot(a, b, s->pitch * 16);
	if ((double)p->scale * bound->scale * acc + p->c0 + (double)p->c1 * bound->resid < p->threshold - 1e-6)
		return;
	if (mark->deleted || (s->lists && !(mark->lists & s->lists)) || ((int64_t)mark->expires > 0 && mark->expires <= s->now))
		return;
	at = (*count)++;
	if (at < s->cap)
		((struct gpu_entry *)(uintptr_t)s->entries)[(uint64_t)probe * s->cap + at] = (struct gpu_entry){
			.row = s->row_base + row, .acc = acc, .scale = bound->scale, .resid = bound->resid,
			.subject = mark->subject, .template_id = mark->template_id };
}

static uint32_t fake_ordered(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits >> 31 ? ~bits : bits | 1u << 31;
}

static float fake_from_ordered(uint32_t bits)
{
	float f;

	bits = bits >> 31 ? bits & ~(1u << 31) : ~bits;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

static int fake_descending(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x > *y ? -1 : *x < *y;
}

static void fake_refresh_probe(const struct gpu_refresh *r, uint32_t probe)
{
	struct gpu_probe *p = (struct gpu_probe *)(uintptr_t)r->probe + probe;
	struct gpu_entry *list = (struct gpu_entry *)(uintptr_t)r->entries + (uint64_t)probe * r->cap;
	uint32_t *count = (uint32_t *)(uintptr_t)r->counts + probe, *kept = (uint32_t *)(uintptr_t)r->kept + probe, left = 0;
	uint32_t *slots = (uint32_t *)(uintptr_t)r->slots + (uint64_t)probe * r->slot_count;
	uint32_t *sorted;

	if (*count > r->cap) {
		*count = *kept;
		((uint32_t *)(uintptr_t)r->overflow)[r->chunk] |= 1;
		return;
	}
	for (uint32_t i = *kept; i < *count; i++) {
		double low = (double)p->scale * list[i].scale * list[i].acc - p->c0 - (double)p->c1 * list[i].resid - 1e-6;
		uint32_t key = r->distinct ? list[i].subject : list[i].row, *slot = &slots[key * 2654435769u % r->slot_count];
		uint32_t ordered = fake_ordered((float)low);

		*slot = ordered > *slot ? ordered : *slot;
	}
	sorted = malloc(r->slot_count * sizeof(*sorted));
	assert(sorted);
	memcpy(sorted, slots, r->slot_count * sizeof(*sorted));
	qsort(sorted, r->slot_count, sizeof(*sorted), fake_descending);
	if (sorted[r->k - 1] && fake_from_ordered(sorted[r->k - 1]) > p->threshold)
		p->threshold = fake_from_ordered(sorted[r->k - 1]);
	free(sorted);
	for (uint32_t i = 0; i < *count; i++)
		if ((double)p->scale * list[i].scale * list[i].acc + p->c0 + (double)p->c1 * list[i].resid >= p->threshold - 1e-6)
			list[left++] = list[i];
	*count = *kept = left;
}

static void fake_run(const struct fake_op *op)
{
	switch (op->kind) {
	case FAKE_COPY:
		memcpy(op->u.copy.to, op->u.copy.from, op->u.copy.size);
		break;
	case FAKE_FILL:
		for (uint64_t i = 0; i < op->u.copy.size; i += 4)
			memcpy(op->u.copy.to + i, &op->u.copy.word, 4);
		break;
	case FAKE_UNPACK:
		for (uint32_t row = 0; row < op->u.unpack.rows; row++)
			fake_unpack_row(&op->u.unpack, row);
		break;
	case FAKE_SCAN:
		for (uint32_t p = 0; p < op->u.scan.probes; p++)
			for (uint32_t row = 0; row < op->u.scan.rows; row++)
				fake_scan_row(&op->u.scan, p, op->u.scan.row_first + row);
		break;
	case FAKE_REFRESH:
		for (uint32_t p = 0; p < op->u.refresh.probes; p++)
			fake_refresh_probe(&op->u.refresh, p);
		break;
	}
}

/* ---- queues ---- */

static struct fake_queue *fake_queue(const struct lineup_vk_queue *queue)
{
	return (struct fake_queue *)(uintptr_t)queue->timeline;
}

static void fake_await(struct fake_queue *q, uint64_t value)
{
	pthread_mutex_lock(&q->mutex);
	while (q->done < value)
		pthread_cond_wait(&q->changed, &q->mutex);
	pthread_mutex_unlock(&q->mutex);
}

static uint64_t fake_products(const struct fake_recording *recording)
{
	uint64_t products = 0;

	for (uint32_t i = 0; i < recording->count; i++)
		if (recording->ops[i].kind == FAKE_SCAN)
			products += (uint64_t)recording->ops[i].u.scan.rows * recording->ops[i].u.scan.probes *
				    recording->ops[i].u.scan.pitch * 16;
	return products;
}

/*
 * The clock of a slow device, for gpu_test.now_ns. No real time takes part: a submission begins when it is made or the one before
 * is done, whichever is later, and takes what its products take; who waits for it comes back when it is done.
 */
static uint64_t fake_now_ns(void *arg)
{
	(void)arg;
	return atomic_load(&fake.clock_ns);
}

/* With the queue's mutex held, of submission number q->submitted. */
static void fake_take_time(struct fake_queue *q, const struct fake_recording *recording)
{
	uint64_t products = fake_products(recording), now = atomic_load(&fake.clock_ns);

	if (products > atomic_load(&fake.products_most))
		atomic_store(&fake.products_most, products);
	if (!fake.products_us)
		return;
	q->last_ns = (q->last_ns > now ? q->last_ns : now) + products * 1000 / fake.products_us;
	q->finish_ns[q->submitted % FAKE_PENDING_MAX] = q->last_ns;
}

/* Whether a slow device is still at submission @value; with @wait, it is not after this. */
static bool fake_busy(struct fake_queue *q, uint64_t value, bool wait)
{
	uint64_t finish;

	if (!fake.products_us || !value)
		return false;
	pthread_mutex_lock(&q->mutex);
	finish = q->submitted - value < FAKE_PENDING_MAX ? q->finish_ns[(value - 1) % FAKE_PENDING_MAX] : 0;
	pthread_mutex_unlock(&q->mutex);
	if (finish <= atomic_load(&fake.clock_ns))
		return false;
	if (wait)
		atomic_store(&fake.clock_ns, finish);
	return !wait;
}

static void *fake_queue_main(void *arg)
{
	struct fake_queue *q = arg;

	pthread_mutex_lock(&q->mutex);
	for (;;) {
		struct fake_submission s;
		uint32_t late_us;

		while (!q->stop && q->done == q->submitted)
			pthread_cond_wait(&q->changed, &q->mutex);
		if (q->done == q->submitted)
			break;
		s = q->pending[q->done % FAKE_PENDING_MAX];
		pthread_mutex_unlock(&q->mutex);
		q->random = q->random * 6364136223846793005u + 1442695040888963407u;
		late_us = atomic_load(&fake.late_us); /* a device that was left behind may outlive its test */
		if (late_us)
			usleep((useconds_t)(q->random >> 40) % late_us);
		if (s.after)
			fake_await(s.after, s.after_value);
		for (uint32_t i = 0; i < s.recording->count; i++)
			fake_run(&s.recording->ops[i]);
		pthread_mutex_lock(&q->mutex);
		q->done++;
		pthread_cond_broadcast(&q->changed);
	}
	pthread_mutex_unlock(&q->mutex);
	return NULL;
}

static void fake_queue_open(struct lineup_vk_queue *queue, const char *name, uint64_t seed)
{
	struct fake_queue *q = calloc(1, sizeof(*q));

	assert(q);
	pthread_mutex_init(&q->mutex, NULL);
	pthread_cond_init(&q->changed, NULL);
	q->random = seed;
	queue->name = name;
	queue->queue = (VkQueue)q;
	queue->timeline = (VkSemaphore)q;
	assert(!pthread_create(&q->thread, NULL, fake_queue_main, q));
}

static void fake_queue_close(struct lineup_vk_queue *queue)
{
	struct fake_queue *q = fake_queue(queue);

	if (!q)
		return;
	pthread_mutex_lock(&q->mutex);
	q->stop = true;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->mutex);
	pthread_join(q->thread, NULL);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->mutex);
	free(q);
}

/* ---- vk.h ---- */


static VkResult VKAPI_CALL fake_wait_idle(VkDevice handle)
{
	struct lineup_vk_device *device = (struct lineup_vk_device *)handle;

	fake_await(fake_queue(&device->compute), device->compute.submitted);
	if (device->transfer.queue)
		fake_await(fake_queue(&device->transfer), device->transfer.submitted);
	return atomic_load(&device->lost) ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
}

bool lineup_vk_nodes_exist(void)
{
	return false;
}

void lineup_vk_run_on_node(int node)
{
	(void)node;
}

void lineup_vk_bind_to_node(void *memory, size_t size, int node)
{
	(void)memory;
	(void)size;
	(void)node;
}

int lineup_vk_select(struct lineup_ctx *ctx, const char *selector, bool software,
		     struct lineup_device devices[LINEUP_DEVICES_MAX], uint32_t *count)
{
	(void)selector;
	(void)software;
	assert(fake.devices <= LINEUP_DEVICES_MAX);
	memset(devices, 0, fake.devices * sizeof(*devices));
	*count = fake.devices;
	return fake.devices ? 0 : lineup_fail(ctx, -ENODEV, "vulkan: no device");
}

int lineup_vk_list(struct lineup_ctx *ctx, struct lineup_device *devices, uint32_t max, uint32_t *count, const char **why)
{
	(void)ctx;
	(void)devices;
	(void)max;
	*count = 0;
	if (why)
		*why = "a fake";
	return 0;
}

int lineup_vk_open(struct lineup_ctx *ctx, const struct lineup_device *which, struct lineup_vk_device **out)
{
	struct lineup_vk_device *device;

	if (!atomic_load(&fake.opens_left))
		return lineup_fail(ctx, -ENODEV, "vulkan: it is gone");
	atomic_fetch_sub(&fake.opens_left, 1);
	device = calloc(1, sizeof(*device));
	assert(device);
	device->ctx = ctx;
	device->info = *which;
	strcpy(device->info.name, "fake");
	device->device = (VkDevice)device;
	device->api.DeviceWaitIdle = fake_wait_idle;
	device->allocation_max = 1 << 30;
	device->import_alignment = fake.import ? 4096 : 0;
	fake_queue_open(&device->compute, "compute", 1);
	if (fake.transfer)
		fake_queue_open(&device->transfer, "transfer", 2);
	atomic_fetch_add(&fake.opened, 1);
	*out = device;
	return 0;
}

void lineup_vk_close(struct lineup_vk_device *device)
{
	if (!device)
		return;
	fake_queue_close(&device->compute);
	fake_queue_close(&device->transfer);
	atomic_fetch_sub(&fake.opened, 1);
	free(device);
}

int lineup_vk_buffer_create(struct lineup_vk_device *device, enum lineup_vk_where where, uint64_t size, const char *name,
			    struct lineup_vk_buffer *buffer)
{
	uint8_t *p;

	(void)device;
	if (where == LINEUP_VK_DEVICE && fake.memory && size > fake.memory)
		return -ENOMEM;
	p = aligned_alloc(4096, round_up(size, 4096));
	assert(p);
	memset(p, 0xa5, size);
	*buffer = (struct lineup_vk_buffer){ .buffer = (VkBuffer)name, .address = (uintptr_t)p, .size = size,
					     .map = where == LINEUP_VK_DEVICE ? NULL : p };
	atomic_fetch_add(&fake.buffers, 1);
	return 0;
}

int lineup_vk_buffer_import(struct lineup_vk_device *device, void *memory, uint64_t size, const char *name,
			    struct lineup_vk_buffer *buffer)
{
	if (!device->import_alignment)
		return -ENOTSUP;
	*buffer = (struct lineup_vk_buffer){ .buffer = (VkBuffer)name, .address = (uintptr_t)memory, .size = size, .map = memory,
					    .imported = true };
	atomic_fetch_add(&fake.buffers, 1);
	return 0;
}

void lineup_vk_buffer_destroy(struct lineup_vk_device *device, struct lineup_vk_buffer *buffer)
{
	const char *name = (const char *)buffer->buffer;

	(void)device;
	if (!buffer->size)
		return;
	if (!atomic_load(&device->lost) && (!strcmp(name, "probes") || !strcmp(name, "answers")))
		for (uint64_t i = 0; i < buffer->size; i++)
			if (((const uint8_t *)buffer->map)[i] && ((const uint8_t *)buffer->map)[i] != 0xa5)
				atomic_fetch_add(&fake.secrets, 1);
	if (!buffer->imported)
		free((void *)(uintptr_t)buffer->address);
	memset(buffer, 0, sizeof(*buffer));
	atomic_fetch_sub(&fake.buffers, 1);
}

uint64_t lineup_vk_memory_available(struct lineup_vk_device *device)
{
	(void)device;
	return fake.memory ? fake.memory : (uint64_t)1 << 40;
}

static struct fake_recording *fake_recording(const struct lineup_vk_commands *commands)
{
	return (struct fake_recording *)commands->buffer;
}

int lineup_vk_commands_create(struct lineup_vk_device *device, const struct lineup_vk_queue *queue, const char *name,
			      struct lineup_vk_commands *commands)
{
	(void)device;
	(void)queue;
	(void)name;
	commands->buffer = (VkCommandBuffer)calloc(1, sizeof(struct fake_recording));
	assert(commands->buffer);
	return 0;
}

void lineup_vk_commands_destroy(struct lineup_vk_device *device, struct lineup_vk_commands *commands)
{
	(void)device;
	free(commands->buffer);
	memset(commands, 0, sizeof(*commands));
}

int lineup_vk_begin(struct lineup_vk_device *device, struct lineup_vk_commands *commands)
{
	if (atomic_load(&device->lost))
		return -ENODEV;
	fake_recording(commands)->count = 0;
	return 0;
}

static struct fake_op *fake_add(const struct lineup_vk_commands *commands, enum fake_kind kind)
{
	struct fake_recording *r = fake_recording(commands);

	assert(r->count < FAKE_OPS_MAX);
	r->ops[r->count].kind = kind;
	return &r->ops[r->count++];
}

void lineup_vk_copy(struct lineup_vk_device *device, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *from,
		    uint64_t from_offset, const struct lineup_vk_buffer *to, uint64_t to_offset, uint64_t size)
{
	struct fake_op *op = fake_add(commands, FAKE_COPY);

	(void)device;
	assert(size && from_offset + size <= from->size && to_offset + size <= to->size);
	op->u.copy.from = fake_at(from->address) + from_offset;
	op->u.copy.to = (uint8_t *)(uintptr_t)to->address + to_offset;
	op->u.copy.size = size;
}

void lineup_vk_fill(struct lineup_vk_device *device, struct lineup_vk_commands *commands, const struct lineup_vk_buffer *to,
		    uint64_t offset, uint64_t size, uint32_t word)
{
	struct fake_op *op = fake_add(commands, FAKE_FILL);

	(void)device;
	assert(size && size % 4 == 0 && offset % 4 == 0 && offset + size <= to->size);
	op->u.copy.to = (uint8_t *)(uintptr_t)to->address + offset;
	op->u.copy.size = size;
	op->u.copy.word = word;
}

void lineup_vk_barrier(struct lineup_vk_device *device, struct lineup_vk_commands *commands)
{
	(void)device;
	(void)commands;
}

int lineup_vk_submit(struct lineup_vk_device *device, struct lineup_vk_queue *queue, struct lineup_vk_commands *commands,
		     const struct lineup_vk_queue *after, uint64_t after_value, uint64_t *value)
{
	struct fake_queue *q = fake_queue(queue);

	if (atomic_load(&device->lost))
		return -ENODEV;
	if (atomic_load(&fake.submits_left) >= 0 && atomic_fetch_sub(&fake.submits_left, 1) == 0) {
		atomic_store(&device->lost, true);
		atomic_fetch_add(&fake.lost, 1);
		lineup_warn(device->ctx, "fake: lost");
		return -ENODEV;
	}
	pthread_mutex_lock(&q->mutex);
	assert(q->submitted - q->done < FAKE_PENDING_MAX);
	q->pending[q->submitted % FAKE_PENDING_MAX] = (struct fake_submission){ .recording = fake_recording(commands),
										.after = after ? fake_queue(after) : NULL,
										.after_value = after_value };
	fake_take_time(q, fake_recording(commands));
	*value = queue->submitted = ++q->submitted;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->mutex);
	return 0;
}

int lineup_vk_wait(struct lineup_vk_device *device, const struct lineup_vk_queue *queue, uint64_t value, uint64_t timeout_ns)
{
	struct fake_queue *q = fake_queue(queue);
	struct timespec until;
	int err = 0;

	if (atomic_load(&device->lost))
		return -ENODEV;
	if (atomic_load(&fake.silent))
		return -ETIMEDOUT;
	if (fake.products_us) {
		if (fake_busy(q, value, timeout_ns))
			return -ETIMEDOUT;
		fake_await(q, value);
		return 0;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)((timeout_ns + (uint64_t)until.tv_nsec) / 1000000000);
	until.tv_nsec = (long)((timeout_ns + (uint64_t)until.tv_nsec) % 1000000000);
	pthread_mutex_lock(&q->mutex);
	while (!err && q->done < value)
		err = timeout_ns ? pthread_cond_timedwait(&q->changed, &q->mutex, &until) : ETIMEDOUT;
	pthread_mutex_unlock(&q->mutex);
	return err ? -ETIMEDOUT : 0;
}

/* ---- kernels.h ---- */

struct lineup_vk_kernels {
	struct lineup_vk_device *device;
};

int lineup_vk_kernels_create(struct lineup_vk_device *device, const char *variant, struct lineup_vk_kernels **kernels)
{
	(void)variant;
	*kernels = calloc(1, sizeof(**kernels));
	assert(*kernels);
	(*kernels)->device = device;
	return 0;
}

void lineup_vk_kernels_destroy(struct lineup_vk_kernels *kernels)
{
	free(kernels);
}

const char *lineup_vk_kernels_variant(const struct lineup_vk_kernels *kernels)
{
	(void)kernels;
	return "scalar";
}

void lineup_vk_unpack(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_unpack *unpack)
{
	(void)kernels;
	fake_add(commands, FAKE_UNPACK)->u.unpack = *unpack;
}

void lineup_vk_scan(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_scan *scan)
{
	(void)kernels;
	fake_add(commands, FAKE_SCAN)->u.scan = *scan;
}

void lineup_vk_refresh(struct lineup_vk_kernels *kernels, struct lineup_vk_commands *commands, const struct gpu_refresh *refresh)
{
	(void)kernels;
	fake_add(commands, FAKE_REFRESH)->u.refresh = *refresh;
}

#endif
