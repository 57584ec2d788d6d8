// SPDX-License-Identifier: MIT
// Metrics and health over HTTP on loopback, by libmicrohttpd in a thread of its own.
#include "server.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metrics.h"

enum {
	HTTP_CONNECTIONS_MAX = 16,
	HTTP_IDLE_S = 10,
	HTTP_CONNECTION_BYTES = 16384, /* of a request with its headers */
};

struct http {
	struct MHD_Daemon *daemon;
};

static void log_line(void *arg, const char *format, va_list list) __attribute__((format(printf, 2, 0)));

/* What the library has to say: mostly of what clients did. */
static void log_line(void *arg, const char *format, va_list list)
{
	char line[256], quoted[512];

	(void)arg;
	vsnprintf(line, sizeof(line), format, list);
	line[strcspn(line, "\r\n")] = 0;
	log_event(LOG_DEBUG, "http", "message=%s", log_quote(quoted, sizeof(quoted), line));
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status, const char *type, struct buffer *body)
{
	struct MHD_Response *response;
	enum MHD_Result queued;

	if (body->failed)
		return MHD_NO;
	/* Copied: nothing in it is secret, and the buffer erases what it frees. */
	response = MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	queued = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return queued;
}

/*
 * A browser on this machine may be made to ask under a name that leads here. Whoever means this address says so:
 * "127.0.0.1:9464", "[::1]:9464", "localhost".
 */
static bool host_is_loopback(struct MHD_Connection *connection)
{
	static const char *const hosts[] = { "127.", "localhost", "[::1]" };
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

	if (!host)
		return true;
	for (uint32_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		size_t size = strlen(hosts[i]);

		if (strncasecmp(host, hosts[i], size))
			continue;
		if (!i)
			return host[strspn(host, "0123456789.:")] == 0;
		return !host[size] || host[size] == ':';
	}
	return false;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **seen)
{
	static const char plain[] = "text/plain; charset=utf-8";
	struct buffer body = { 0 };
	enum MHD_Result result;
	char why[256];

	(void)arg;
	(void)version;
	(void)upload;
	/*
	 * The library calls first with the headers, again with each piece of a body, and at last with none: only then an answer
	 * may be given on a kept connection.
	 */
	if (!*seen || *upload_size) {
		*seen = connection;
		*upload_size = 0;
		return MHD_YES;
	}
	if (!host_is_loopback(connection)) {
		buffer_printf(&body, "this host name is not served\n");
		result = answer(connection, MHD_HTTP_FORBIDDEN, plain, &body);
	} else if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		buffer_printf(&body, "only GET and HEAD\n");
		result = answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, &body);
	} else if (!strcmp(url, "/metrics")) {
		metrics_prometheus(&body);
		result = answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
	} else if (!strcmp(url, "/healthz")) {
		bool healthy = metrics_healthy(why);

		buffer_printf(&body, "%s\n", why);
		result = answer(connection, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, plain, &body);
	} else {
		buffer_printf(&body, "there are /metrics and /healthz\n");
		result = answer(connection, MHD_HTTP_NOT_FOUND, plain, &body);
	}
	buffer_fini(&body);
	return result;
}

int http_create(const char *address, struct http **http)
{
	char text[160], error[512], quoted[1024];
	struct config_endpoint endpoint;
	struct http *h;
	int err;

	snprintf(text, sizeof(text), "tcp:%.140s", address);
	if (config_endpoint(text, &endpoint, error) || !endpoint.loopback) {
		log_event(LOG_ERROR, "http", "address=%s error=\"takes a loopback address and a port\"",
			  log_quote(quoted, sizeof(quoted), address));
		return -EINVAL;
	}
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	/* Not select, which could not take descriptors of 1024 and above. */
	errno = 0;
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG |
					     (endpoint.address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0),
				     0, NULL, NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
				     MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&endpoint.address, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned int)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_IDLE_S,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_BYTES, MHD_OPTION_END);
	if (!h->daemon) {
		err = errno ? -errno : -EIO;
		log_event(LOG_ERROR, "http", "address=%s error=%s", address, log_quote(quoted, sizeof(quoted), strerror(-err)));
		free(h);
		return err;
	}
	log_event(LOG_INFO, "http", "address=%s", address);
	*http = h;
	return 0;
}

void http_destroy(struct http *http)
{
	if (!http)
		return;
	MHD_stop_daemon(http->daemon);
	free(http);
}
