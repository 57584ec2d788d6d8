// SPDX-License-Identifier: MIT
// vivid_template DEVICE PATTERN [DIM FILE.npy]: sets vivid's test pattern, without text and movement, and writes the template
// that lineup's extractor `pattern` must make of its frames: computed from a frame that was captured here, through the device's
// own buffers, and not by lineup.
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "vivid_template: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The entry @item of the menu @control, by their names: numbers differ between kernels. */
static void choose(int fd, const char *control, const char *item)
{
	struct v4l2_queryctrl q = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	for (; !ioctl(fd, VIDIOC_QUERYCTRL, &q); q.id |= V4L2_CTRL_FLAG_NEXT_CTRL) {
		if (q.type != V4L2_CTRL_TYPE_MENU || strcmp((char *)q.name, control))
			continue;
		for (int i = q.minimum; i <= q.maximum; i++) {
			struct v4l2_querymenu m = { .id = q.id, .index = (uint32_t)i };
			struct v4l2_control set = { .id = q.id, .value = i };

			if (ioctl(fd, VIDIOC_QUERYMENU, &m) || strcmp((char *)m.name, item))
				continue;
			if (ioctl(fd, VIDIOC_S_CTRL, &set))
				die(item);
			return;
		}
	}
	errno = ENOENT;
	die(control);
}

/* One frame, as it comes; the first ones may still show the pattern before. */
static void capture(int fd, uint8_t **image, size_t *size)
{
	struct v4l2_requestbuffers request = { .count = 2, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP };
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	uint8_t *memory[8];

	if (ioctl(fd, VIDIOC_REQBUFS, &request) || request.count > 8)
		die("REQBUFS");
	for (uint32_t i = 0; i < request.count; i++) {
		struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_MMAP, .index = i };

		if (ioctl(fd, VIDIOC_QUERYBUF, &b) || ioctl(fd, VIDIOC_QBUF, &b))
			die("QBUF");
		memory[i] = mmap(NULL, b.length, PROT_READ, MAP_SHARED, fd, b.m.offset);
		if (memory[i] == MAP_FAILED)
			die("mmap");
	}
	if (ioctl(fd, VIDIOC_STREAMON, &type))
		die("STREAMON");
	for (int n = 0; n < 4; n++) {
		struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_MMAP };

		if (ioctl(fd, VIDIOC_DQBUF, &b))
			die("DQBUF");
		*size = b.bytesused;
		*image = memory[b.index];
		if (n < 3 && ioctl(fd, VIDIOC_QBUF, &b))
			die("QBUF");
	}
}

static void write_npy(const char *path, const double *v, int dim)
{
	FILE *file = fopen(path, "w");
	char header[128];

	if (!file)
		die(path);
	memset(header, ' ', sizeof(header));
	memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
	header[10 + sprintf(header + 10, "{'descr': '<f8', 'fortran_order': False, 'shape': (1, %d), }", dim)] = ' ';
	header[127] = '\n';
	if (fwrite(header, 128, 1, file) != 1 || fwrite(v, sizeof(*v), (size_t)dim, file) != (size_t)dim || fclose(file))
		die(path);
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1, dim = argc > 4 ? atoi(argv[3]) : 0;
	double v[512] = { 0 }, n[512] = { 0 };
	uint8_t *image;
	size_t size;

	if (fd < 0 || dim < 0 || dim > 512)
		die("usage: vivid_template DEVICE PATTERN [DIM FILE.npy]");
	choose(fd, "OSD Text Mode", "None");
	choose(fd, "Test Pattern", argv[2]);
	if (!dim)
		return 0;
	capture(fd, &image, &size);
	/* The segment of byte b is the last that begins at or before it. */
	for (size_t b = 0; b < size; b++) {
		size_t s = b * (size_t)dim / size;

		while (s + 1 < (size_t)dim && (s + 1) * size / (size_t)dim <= b)
			s++;
		v[s] += image[b];
		n[s]++;
	}
	for (int i = 0; i < dim; i++)
		v[i] = v[i] / n[i] - 127.5;
	write_npy(argv[4], v, dim);
	return 0;
}
