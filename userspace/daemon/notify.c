// SPDX-License-Identifier: MIT
// What the service manager is told, and the sockets it hands over.
#include "server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* Without a service manager, or with one that does not listen, there is nobody to tell: that is no error. */

void notify_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
	/* The time is for managers that wait for the reload's end (Type=notify-reload). */
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_ns() / 1000);
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

void notify_status(const char *format, ...)
{
	char text[256];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	text[strcspn(text, "\n")] = 0;
	(void)sd_notifyf(0, "STATUS=%s", text);
}

/* ---- the watchdog ---- */

static struct {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t every_ms;
} dog;

/* A timer of the loop: it fires only while the loop goes round. */
static void pet(struct loop_timer *timer)
{
	(void)sd_notify(0, "WATCHDOG=1");
	loop_timer_set(dog.loop, timer, dog.every_ms);
}

void notify_watchdog(struct loop *loop)
{
	uint64_t usec = 0;
	int on = sd_watchdog_enabled(0, &usec);

	if (on <= 0 || !usec) {
		if (on < 0)
			log_event(LOG_WARN, "watchdog", "error=\"WATCHDOG_USEC: %s\"", strerror(-on));
		return;
	}
	dog.loop = loop;
	dog.timer.fire = pet;
	dog.every_ms = usec / 2000 ? usec / 2000 : 1;
	loop_timer_set(loop, &dog.timer, dog.every_ms);
	log_event(LOG_INFO, "watchdog", "every_ms=%" PRIu64, dog.every_ms);
}

/* ---- sockets ---- */

uint32_t notify_sockets(int *fds, uint32_t max)
{
	/* The variables are removed: they are not for whoever this process might start. */
	int count = sd_listen_fds(1);
	uint32_t taken = 0;

	if (count < 0) {
		log_event(LOG_ERROR, "sockets", "error=\"LISTEN_FDS: %s\"", strerror(-count));
		return 0;
	}
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++) {
		if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0 && taken < max)
			fds[taken++] = fd;
		else
			log_event(LOG_WARN, "sockets", "fd=%d error=\"%s: it is not used\"", fd,
				  taken < max ? "the service manager handed over what is no listening stream socket" : "too many");
	}
	return taken;
}
