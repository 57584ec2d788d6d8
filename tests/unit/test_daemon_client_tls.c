// SPDX-License-Identifier: MIT
// Connections through TLS: GnuTLS clients over TCP against the client stage, whose listener is inherited.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon_bed.h"
#include "daemon_identity.h"
#include "metrics.h"

static char directory[128];
static struct identity ca, other_ca, server, clerk, stranger;
static struct sockaddr_in address;
static bool with_ca;

static int make_identities(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/tls-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(directory))
		return -1;
	identity_make(&ca, directory, "ca", NULL, NULL);
	identity_make(&other_ca, directory, "other-ca", NULL, NULL);
	identity_make(&server, directory, "server", &ca, GNUTLS_KP_TLS_WWW_SERVER);
	identity_make(&clerk, directory, "clerk", &ca, GNUTLS_KP_TLS_WWW_CLIENT);
	identity_make(&stranger, directory, "stranger", &other_ca, GNUTLS_KP_TLS_WWW_CLIENT);
	return 0;
}

static int unmake_identities(void **state)
{
	(void)state;
	identity_unmake(&ca);
	identity_unmake(&other_ca);
	identity_unmake(&server);
	identity_unmake(&clerk);
	identity_unmake(&stranger);
	return rmdir(directory);
}

/* ---- the server ---- */

static void change(struct config *config)
{
	snprintf(config->listen[1].address, sizeof(config->listen[1].address), "tls:127.0.0.1:%u", ntohs(address.sin_port));
	config->listens = 2;
	snprintf(config->certificate, sizeof(config->certificate), "%s", server.certificate_path);
	snprintf(config->key, sizeof(config->key), "%s", server.key_path);
	if (with_ca)
		snprintf(config->ca, sizeof(config->ca), "%s", ca.certificate_path);
	config->user = calloc(1, sizeof(*config->user));
	assert_non_null(config->user);
	config->users = 1;
	strcpy(config->user->name, "clerk");
	strcpy(config->user->certificate, "clerk");
	strcpy(config->user->roles, "searcher");
	config->user->uid = -1;
}

static void open_bed(struct bed *bed, bool single, bool certificates)
{
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	with_ca = certificates;
	wire_open_inherited(bed, single, change, fd); /* it is the bed's from here on */
}

/* ---- a client ---- */

struct peer {
	struct bed *bed;
	int fd;
	gnutls_session_t gnutls;
	gnutls_certificate_credentials_t credentials;
};

static int tcp_connect(struct bed *bed)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	wire_turn(bed);
	return fd;
}

/* Calls until it is no longer a matter of waiting. */
#define WAIT(p, code, call)                                                                                                      \
	do {                                                                                                                     \
		wire_turn((p)->bed);                                                                                              \
		(code) = (call);                                                                                                 \
	} while ((code) == GNUTLS_E_AGAIN || (code) == GNUTLS_E_INTERRUPTED)

static int peer_open(struct peer *p, struct bed *bed, const struct identity *id)
{
	struct timeval brief = { .tv_usec = 1000 };
	int code;

	p->bed = bed;
	p->fd = tcp_connect(bed);
	assert_int_equal(gnutls_certificate_allocate_credentials(&p->credentials), 0);
	assert_int_equal(gnutls_certificate_set_x509_trust_file(p->credentials, ca.certificate_path, GNUTLS_X509_FMT_PEM), 1);
	if (id)
		assert_true(gnutls_certificate_set_x509_key_file(p->credentials, id->certificate_path, id->key_path,
								 GNUTLS_X509_FMT_PEM) >= 0);
	assert_int_equal(gnutls_init(&p->gnutls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT), 0);
	assert_int_equal(gnutls_priority_set_direct(p->gnutls, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL), 0);
	assert_int_equal(gnutls_credentials_set(p->gnutls, GNUTLS_CRD_CERTIFICATE, p->credentials), 0);
	gnutls_session_set_verify_cert(p->gnutls, NULL, 0);
	gnutls_transport_set_int(p->gnutls, p->fd);
	assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief)), 0);
	gnutls_handshake_set_timeout(p->gnutls, GNUTLS_INDEFINITE_TIMEOUT);
	WAIT(p, code, gnutls_handshake(p->gnutls));
	return code;
}

static void peer_close(struct peer *p)
{
	gnutls_deinit(p->gnutls);
	gnutls_certificate_free_credentials(p->credentials);
	close(p->fd);
}

static void peer_say(struct peer *p, const char *text)
{
	ssize_t n;

	WAIT(p, n, gnutls_record_send(p->gnutls, text, strlen(text)));
	assert_int_equal(n, strlen(text));
}

static void peer_expect(struct peer *p, const char *text)
{
	char got[256];
	size_t size = 0;

	while (size < strlen(text)) {
		ssize_t n;

		WAIT(p, n, gnutls_record_recv(p->gnutls, got + size, strlen(text) - size));
		assert_true(n > 0);
		size += (size_t)n;
	}
	assert_memory_equal(got, text, size);
}

/* What the peer is told at its end: 0, a goodbye. */
static ssize_t peer_end(struct peer *p)
{
	ssize_t n;
	char c;

	WAIT(p, n, gnutls_record_recv(p->gnutls, &c, 1));
	return n;
}

/* ---- the tests ---- */

static void a_known_certificate_is_its_user(void **state)
{
	struct client_info info;
	struct bed bed;
	struct peer p;

	open_bed(&bed, *state != NULL, true);
	assert_int_equal(peer_open(&p, &bed, &clerk), 0);
	peer_say(&p, "ECHO a\r\nCOUNT 2 3 4 5 6 7 8 9 10 11\r\nLATER b\r\n");
	peer_expect(&p, "$1\r\na\r\n:11\r\n");
	assert_string_equal(client_session(bed.later[0]->client)->name, "clerk");
	client_info(bed.later[0]->client, &info);
	assert_string_equal(info.transport, "tls");
	assert_int_equal(strncmp(info.peer, "127.0.0.1:", 10), 0);
	wire_end(&bed, 0);
	peer_expect(&p, "$1\r\nb\r\n");
	peer_say(&p, "QUIT\r\n");
	peer_expect(&p, "+OK\r\n");
	assert_int_equal(peer_end(&p), 0);
	peer_close(&p);
	wire_close(&bed);
}

static void another_authority_gets_nothing_done(void **state)
{
	const struct identity *ids[] = { &stranger, NULL };
	struct bed bed;

	open_bed(&bed, *state != NULL, true);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct peer p;

		/* In TLS 1.3 a client thinks that all is well until the server has looked at its certificate. */
		if (!peer_open(&p, &bed, ids[i])) {
			ssize_t n;

			WAIT(&p, n, gnutls_record_send(p.gnutls, "ECHO a\r\n", 8));
			assert_true(peer_end(&p) < 0);
		}
		peer_close(&p);
		BED_UNTIL(&bed, bed.closed == i + 1);
	}
	assert_int_equal(bed.dispatched, 0);
	wire_close(&bed);
}

static void without_a_certificate_one_is_nobody_until_auth(void **state)
{
	struct bed bed;
	struct peer p;

	open_bed(&bed, *state != NULL, false);
	assert_int_equal(peer_open(&p, &bed, NULL), 0);
	peer_say(&p, "ECHO a\r\n*11\r\n");
	peer_expect(&p, "$1\r\na\r\n-ERR Protocol error: unauthenticated multibulk length\r\n");
	assert_int_equal(peer_end(&p), 0);
	peer_close(&p);
	wire_close(&bed);
}

static void plain_text_is_refused(void **state)
{
	uint64_t before = metrics_value(METRIC_ERROR_PROTOCOL);
	struct bed bed;
	int fd;

	open_bed(&bed, *state != NULL, false);
	fd = tcp_connect(&bed);
	assert_int_equal(send(fd, "*1\r\n$4\r\nPING\r\n", 14, 0), 14);
	shutdown(fd, SHUT_WR);
	BED_UNTIL(&bed, bed.closed == 1);
	assert_int_equal(metrics_value(METRIC_ERROR_PROTOCOL), before + 1);
	assert_int_equal(bed.dispatched, 0);
	close(fd);
	wire_close(&bed);
}

static void large_replies_come_whole(void **state)
{
	enum { SIZE = 3000000 };
	size_t got = 0;
	struct bed bed;
	struct peer p;
	static char data[65536];

	open_bed(&bed, *state != NULL, false);
	assert_int_equal(peer_open(&p, &bed, NULL), 0);
	peer_say(&p, "BIG 3000000\r\n");
	peer_expect(&p, "$3000000\r\n");
	while (got < SIZE + 2) {
		ssize_t n;

		WAIT(&p, n, gnutls_record_recv(p.gnutls, data, sizeof(data)));
		assert_true(n > 0);
		for (ssize_t i = 0; i < n && got + (size_t)i < SIZE; i++)
			assert_int_equal(data[i], 0);
		got += (size_t)n;
	}
	assert_int_equal(got, SIZE + 2);
	peer_close(&p);
	wire_close(&bed);
}

/* A plain listener that is inherited serves this machine only. */
static void an_inherited_listener_beyond_loopback_needs_tls(void **state)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	struct clients_setup setup = { 0 };
	struct clients *clients;
	struct bed bed;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 1), 0);
	wire_open(&bed, false, NULL);
	setup = (struct clients_setup){ .loop = bed.loop, .config = &bed.config, .access = bed.access };
	setup.inherited = &fd;
	setup.inherited_count = 1;
	log_init(0);
	assert_int_equal(clients_create(&setup, &clients), -EACCES);
	wire_close(&bed);
}

#define BOTH(test) { #test, test, NULL, NULL, NULL }, { #test "_without_multishot", test, NULL, NULL, "single" }

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_known_certificate_is_its_user),
		BOTH(another_authority_gets_nothing_done),
		BOTH(without_a_certificate_one_is_nobody_until_auth),
		BOTH(plain_text_is_refused),
		BOTH(large_replies_come_whole),
		cmocka_unit_test(an_inherited_listener_beyond_loopback_needs_tls),
	};

	return cmocka_run_group_tests(tests, make_identities, unmake_identities);
}
