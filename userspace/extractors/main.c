// SPDX-License-Identifier: MIT
// lineup-extract: the process of one extractor plug-in. Started by liblineup only; extractor.h has the protocol,
// lineup-extractor.h the plug-in's side.
#include <dlfcn.h>
#include <errno.h>
#include <linux/dma-buf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extractor.h"
#include "sandbox.h"

struct extract {
	const struct lineup_plugin *plugin;
	void *state;
	struct lineup_plugin_result result; /* as each call finds it */
	void *area;
	size_t area_bytes;
	struct lineup_wire_hello hello;
};

/* Why it cannot start, as the hello will say. Returns @err. */
static int refuse(struct extract *x, int err, const char *what, const char *why)
{
	x->hello.error = err;
	snprintf(x->hello.text, sizeof(x->hello.text), "%s%s%s", what, why ? ": " : "", why ? why : "");
	return err;
}

static int map_area(struct extract *x, uint32_t max, uint32_t dim)
{
	struct stat st;

	x->area_bytes = lineup_wire_area_bytes(max, dim);
	if (fstat(LINEUP_WIRE_AREA, &st) || (uint64_t)st.st_size < x->area_bytes)
		return refuse(x, -EINVAL, "lineup-extract is started by liblineup only", NULL);
	x->area = mmap(NULL, x->area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, LINEUP_WIRE_AREA, 0);
	if (x->area == MAP_FAILED)
		return refuse(x, -ENOMEM, "the area for templates", strerror(errno));
	x->result = (struct lineup_plugin_result){ .size = sizeof(x->result), .max = max, .dim = dim, .templates = x->area };
	x->result.vectors = (float *)(x->result.templates + max);
	return 0;
}

static int put_up_sandbox(struct extract *x, const char *plugin, uint64_t memory)
{
	int err = sandbox_limit(memory);

	if (err)
		return refuse(x, err, "limits", strerror(-err));
	err = sandbox_files(plugin);
	if (err < 0)
		return refuse(x, err, "Landlock", strerror(-err));
	x->hello.sandbox |= err ? LINEUP_SANDBOX_LANDLOCK : 0;
	err = sandbox_calls_starting();
	if (err)
		return refuse(x, -ENOTSUP, "seccomp", strerror(-err));
	x->hello.sandbox |= LINEUP_SANDBOX_SECCOMP;
	return 0;
}

static int load(struct extract *x, const char *path, const char *config)
{
	struct lineup_plugin_setup setup = { .size = sizeof(setup), .dim = x->result.dim, .config = config };
	char error[LINEUP_WIRE_TEXT_BYTES] = "";
	const struct lineup_plugin *(*entry)(void);
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int err;

	if (!library)
		return refuse(x, -ENOTSUP, "cannot be loaded", dlerror());
	entry = (const struct lineup_plugin *(*)(void))dlsym(library, "lineup_plugin");
	if (!entry)
		return refuse(x, -ENOTSUP, "is no extractor: it has no lineup_plugin()", NULL);
	x->plugin = entry();
	if (!x->plugin || x->plugin->abi != LINEUP_PLUGIN_ABI || x->plugin->size < sizeof(*x->plugin) || !x->plugin->extract)
		return refuse(x, -ENOTSUP, "is for another version of lineup-extractor.h", NULL);
	snprintf(x->hello.name, sizeof(x->hello.name), "%s", x->plugin->name ? x->plugin->name : "");
	err = x->plugin->open ? x->plugin->open(&setup, &x->state, error, sizeof(error)) : 0;
	error[sizeof(error) - 1] = 0;
	if (err)
		return refuse(x, err < 0 && err > -4096 ? err : -EIO, error[0] ? error : "does not open",
			      error[0] ? NULL : strerror(err < 0 ? -err : EIO));
	err = sandbox_calls_working();
	return err ? refuse(x, -ENOTSUP, "seccomp", strerror(-err)) : 0;
}

static int start(struct extract *x, int argc, char **argv)
{
	uint32_t dim, max;
	int err;

	x->hello = (struct lineup_wire_hello){ .magic = LINEUP_WIRE_HELLO, .abi = LINEUP_PLUGIN_ABI };
	if (argc != 6)
		return refuse(x, -EINVAL, "lineup-extract is started by liblineup only", NULL);
	dim = (uint32_t)strtoul(argv[2], NULL, 10);
	max = (uint32_t)strtoul(argv[3], NULL, 10);
	if (!dim || dim > LINEUP_DIM_MAX || !max || max > LINEUP_EXTRACTOR_TEMPLATES_MAX)
		return refuse(x, -EINVAL, "lineup-extract is started by liblineup only", NULL);
	err = map_area(x, max, dim);
	err = err ? err : put_up_sandbox(x, argv[1], strtoull(argv[4], NULL, 10));
	return err ? err : load(x, argv[1], argv[5]);
}

static bool send_message(const void *message, size_t size)
{
	struct iovec part = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	return sendmsg(LINEUP_WIRE_SOCKET, &header, MSG_NOSIGNAL) == (ssize_t)size;
}

/* The next frame and its descriptor. False: there will be none. */
static bool receive(struct lineup_wire_frame *frame, int *fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = frame, .iov_len = sizeof(*frame) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(LINEUP_WIRE_SOCKET, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n == sizeof(*frame) ? CMSG_FIRSTHDR(&header) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return false;
	memcpy(fd, CMSG_DATA(c), sizeof(int));
	return frame->magic == LINEUP_WIRE_FRAME;
}

static int bracket(int fd, bool dma_buf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_READ };
	int r;

	if (!dma_buf)
		return 0;
	do
		r = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	return r < 0 ? -errno : 0;
}

static int extract(struct extract *x, const struct lineup_wire_frame *f, int fd, uint32_t *count)
{
	struct lineup_plugin_result result = x->result;
	struct lineup_plugin_frame frame = {
		.size = sizeof(frame),
		.fourcc = f->fourcc,
		.width = f->width,
		.height = f->height,
		.stride = f->stride,
		.fd = fd,
		.bytes = f->bytes,
		.timestamp_ns = f->timestamp_ns,
		.sequence = f->sequence,
	};
	void *data = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, fd, 0);
	int err;

	if (data == MAP_FAILED)
		return -errno;
	frame.data = data;
	memset(x->area, 0, x->area_bytes);
	err = bracket(fd, f->dma_buf, DMA_BUF_SYNC_START);
	if (!err) {
		err = x->plugin->extract(x->state, &frame, &result);
		bracket(fd, f->dma_buf, DMA_BUF_SYNC_END);
	}
	munmap(data, f->bytes);
	*count = err ? 0 : result.count;
	return err;
}

int main(int argc, char **argv)
{
	static struct extract x;
	struct lineup_wire_frame frame;
	int fd, err = start(&x, argc, argv);

	if (!send_message(&x.hello, sizeof(x.hello)) || err)
		return 1;
	while (receive(&frame, &fd)) {
		struct lineup_wire_answer answer = { .magic = LINEUP_WIRE_ANSWER, .ticket = frame.ticket };

		answer.error = extract(&x, &frame, fd, &answer.count);
		close(fd);
		if (!send_message(&answer, sizeof(answer)))
			break;
	}
	if (x.plugin->close)
		x.plugin->close(x.state);
	return 0;
}
