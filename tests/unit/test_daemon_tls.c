// SPDX-License-Identifier: MIT
// The daemon's TLS against a GnuTLS client in memory: who gets in, who does not, and that bytes arrive however they are cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon_identity.h"
#include "tls.h"

struct bed {
	char directory[64];
	struct identity ca, other_ca, server, client, stranger, server_as_client;
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	strcpy(bed->directory, "/tmp/lineup-tls-XXXXXX");
	assert_non_null(mkdtemp(bed->directory));
	identity_make(&bed->ca, bed->directory, "ca", NULL, NULL);
	identity_make(&bed->other_ca, bed->directory, "other-ca", NULL, NULL);
	identity_make(&bed->server, bed->directory, "server", &bed->ca, GNUTLS_KP_TLS_WWW_SERVER);
	identity_make(&bed->client, bed->directory, "client-7", &bed->ca, GNUTLS_KP_TLS_WWW_CLIENT);
	identity_make(&bed->stranger, bed->directory, "stranger", &bed->other_ca, GNUTLS_KP_TLS_WWW_CLIENT);
	identity_make(&bed->server_as_client, bed->directory, "server-2", &bed->ca, GNUTLS_KP_TLS_WWW_SERVER);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	identity_unmake(&bed->ca);
	identity_unmake(&bed->other_ca);
	identity_unmake(&bed->server);
	identity_unmake(&bed->client);
	identity_unmake(&bed->stranger);
	identity_unmake(&bed->server_as_client);
	rmdir(bed->directory);
	free(bed);
	return 0;
}

/* ---- a client ---- */

struct peer {
	gnutls_session_t gnutls;
	gnutls_certificate_credentials_t credentials;
	struct buffer in, out; /* cipher */
	bool ready;
	int failed;
};

static ssize_t peer_pull(gnutls_transport_ptr_t arg, void *data, size_t size)
{
	struct peer *p = arg;

	if (!p->in.size) {
		gnutls_transport_set_errno(p->gnutls, EAGAIN);
		return -1;
	}
	if (size > p->in.size)
		size = p->in.size;
	memcpy(data, p->in.data, size);
	buffer_consume(&p->in, size);
	return (ssize_t)size;
}

static ssize_t peer_push(gnutls_transport_ptr_t arg, const void *data, size_t size)
{
	buffer_append(&((struct peer *)arg)->out, data, size);
	return (ssize_t)size;
}

static int peer_timeout(gnutls_transport_ptr_t arg, unsigned int ms)
{
	(void)ms;
	return ((struct peer *)arg)->in.size ? 1 : 0;
}

static void peer_open(struct peer *p, const struct bed *bed, const struct identity *id, const char *versions)
{
	char priority[64];

	memset(p, 0, sizeof(*p));
	snprintf(priority, sizeof(priority), "NORMAL:-VERS-ALL:%s", versions);
	assert_int_equal(gnutls_certificate_allocate_credentials(&p->credentials), 0);
	assert_int_equal(gnutls_certificate_set_x509_trust_file(p->credentials, bed->ca.certificate_path, GNUTLS_X509_FMT_PEM), 1);
	/* A client that wants to be refused sends its certificate whatever authorities the server names. */
	if (id)
		assert_true(gnutls_certificate_set_x509_key_file(p->credentials, id->certificate_path, id->key_path, GNUTLS_X509_FMT_PEM) >= 0);
	assert_int_equal(gnutls_init(&p->gnutls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT), 0);
	assert_int_equal(gnutls_priority_set_direct(p->gnutls, priority, NULL), 0);
	assert_int_equal(gnutls_credentials_set(p->gnutls, GNUTLS_CRD_CERTIFICATE, p->credentials), 0);
	gnutls_session_set_verify_cert(p->gnutls, NULL, 0);
	gnutls_transport_set_ptr(p->gnutls, p);
	gnutls_transport_set_pull_function(p->gnutls, peer_pull);
	gnutls_transport_set_push_function(p->gnutls, peer_push);
	gnutls_transport_set_pull_timeout_function(p->gnutls, peer_timeout);
}

static void peer_close(struct peer *p)
{
	gnutls_deinit(p->gnutls);
	gnutls_certificate_free_credentials(p->credentials);
	buffer_fini(&p->in);
	buffer_fini(&p->out);
}

/* ---- both ends ---- */

struct ends {
	struct tls_session *server;
	struct peer peer;
	struct buffer plain; /* that the server got */
	int err;             /* of the server's last receive */
};

/* Carries bytes between the two, @piece at a time, until neither has more to say. */
static void carry(struct ends *e, size_t piece)
{
	for (bool moved = true; moved;) {
		moved = false;
		if (!e->peer.ready && !e->peer.failed) {
			int code = gnutls_handshake(e->peer.gnutls);

			e->peer.ready = !code;
			e->peer.failed = code && code != GNUTLS_E_AGAIN && gnutls_error_is_fatal(code) ? code : 0;
		}
		while (e->peer.out.size && e->err >= 0) {
			size_t n = piece && piece < e->peer.out.size ? piece : e->peer.out.size;

			e->err = tls_session_receive(e->server, e->peer.out.data, n, &e->plain, &e->peer.in);
			buffer_consume(&e->peer.out, n);
			moved = true;
		}
		if (!e->peer.ready && !e->peer.failed && e->peer.in.size)
			moved = true;
	}
}

static void config_of(const struct bed *bed, bool certificates, struct config *config)
{
	memset(config, 0, sizeof(*config));
	snprintf(config->certificate, sizeof(config->certificate), "%s", bed->server.certificate_path);
	snprintf(config->key, sizeof(config->key), "%s", bed->server.key_path);
	if (certificates)
		snprintf(config->ca, sizeof(config->ca), "%s", bed->ca.certificate_path);
}

static void open_ends(struct ends *e, const struct bed *bed, bool certificates, const struct identity *id, const char *versions, size_t piece)
{
	static struct config config;
	char error[512] = "";
	struct tls *tls;

	memset(e, 0, sizeof(*e));
	config_of(bed, certificates, &config);
	assert_int_equal(tls_create(&config, &tls, error), 0);
	assert_int_equal(tls_session_create(tls, &e->server), 0);
	tls_put(tls); /* the session has its own reference */
	peer_open(&e->peer, bed, id, versions);
	carry(e, piece);
}

static void close_ends(struct ends *e)
{
	tls_session_destroy(e->server);
	peer_close(&e->peer);
	buffer_fini(&e->plain);
}

/* The client gets what the server says, whole. */
static void expect_from_server(struct ends *e, const char *data, size_t size)
{
	char *got = malloc(size + 1);
	size_t n = 0;

	while (n < size + 1) {
		ssize_t r = gnutls_record_recv(e->peer.gnutls, got + n, size + 1 - n);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	assert_int_equal(n, size);
	assert_memory_equal(got, data, size);
	free(got);
}

static void talk(struct ends *e, size_t piece)
{
	enum { SIZE = 100000 }; /* several records */
	char *data = malloc(SIZE);

	for (int i = 0; i < SIZE; i++)
		data[i] = (char)(i * 7 + i / 251);
	for (size_t done = 0; done < SIZE;) {
		ssize_t n = gnutls_record_send(e->peer.gnutls, data + done, SIZE - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	carry(e, piece);
	assert_int_equal(e->err, 0);
	assert_int_equal(e->plain.size, SIZE);
	assert_memory_equal(e->plain.data, data, SIZE);
	assert_int_equal(tls_session_send(e->server, data, SIZE, &e->peer.in), 0);
	expect_from_server(e, data, SIZE);
	free(data);
}

/* ---- the tests ---- */

static void bytes_arrive_however_they_are_cut(void **state)
{
	static const size_t pieces[] = { 0, 1, 7, 1000 };

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct ends e;

		open_ends(&e, *state, false, NULL, "+VERS-TLS1.3", pieces[i]);
		assert_true(e.peer.ready);
		assert_true(tls_session_ready(e.server));
		talk(&e, pieces[i]);
		close_ends(&e);
	}
}

static void a_client_certificate_is_known_by_name_and_digest(void **state)
{
	struct bed *bed = *state;
	char cn[256], sha256[65], want[65];
	unsigned char digest[32];
	size_t size = sizeof(digest);
	struct ends e;

	open_ends(&e, bed, true, &bed->client, "+VERS-TLS1.3", 0);
	assert_true(tls_session_ready(e.server));
	assert_true(tls_session_peer(e.server, cn, sha256));
	assert_string_equal(cn, "client-7");
	assert_int_equal(gnutls_x509_crt_get_fingerprint(bed->client.certificate, GNUTLS_DIG_SHA256, digest, &size), 0);
	for (size_t i = 0; i < size; i++)
		snprintf(want + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(sha256, want);
	talk(&e, 0);
	close_ends(&e);
}

static void without_a_ca_nobody_has_a_certificate(void **state)
{
	struct bed *bed = *state;
	char cn[256], sha256[65];
	struct ends e;

	open_ends(&e, bed, false, &bed->client, "+VERS-TLS1.3", 0);
	assert_true(tls_session_ready(e.server));
	assert_false(tls_session_peer(e.server, cn, sha256));
	close_ends(&e);
}

static void refused(struct bed *bed, const struct identity *id, const char *versions)
{
	char cn[256], sha256[65];
	struct ends e;

	open_ends(&e, bed, true, id, versions, 0);
	assert_int_equal(e.err, -EPROTO);
	assert_false(tls_session_ready(e.server));
	assert_false(tls_session_peer(e.server, cn, sha256));
	assert_true(strlen(tls_session_error(e.server)) > 0);
	assert_int_equal(e.plain.size, 0);
	/* The client is told. In TLS 1.3 it may believe that all is well until it reads. */
	assert_true(e.peer.failed || gnutls_record_recv(e.peer.gnutls, cn, sizeof(cn)) < 0);
	/* And nothing more is taken from it. */
	assert_int_equal(tls_session_receive(e.server, "x", 1, &e.plain, &e.peer.in), -EPROTO);
	assert_int_equal(tls_session_send(e.server, "x", 1, &e.peer.in), -EPROTO);
	close_ends(&e);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
	refused(*state, NULL, "+VERS-TLS1.3");
}

static void a_certificate_of_another_ca_is_refused(void **state)
{
	refused(*state, &((struct bed *)*state)->stranger, "+VERS-TLS1.3");
}

static void a_servers_certificate_makes_no_client(void **state)
{
	refused(*state, &((struct bed *)*state)->server_as_client, "+VERS-TLS1.3");
}

static void older_versions_are_refused(void **state)
{
	refused(*state, &((struct bed *)*state)->client, "+VERS-TLS1.2");
	refused(*state, &((struct bed *)*state)->client, "+VERS-TLS1.1:+VERS-TLS1.0");
}

static void what_is_no_tls_is_refused(void **state)
{
	static struct config config;
	char error[512];
	struct tls_session *session;
	struct buffer plain = { 0 }, cipher = { 0 };
	struct tls *tls;

	config_of(*state, false, &config);
	assert_int_equal(tls_create(&config, &tls, error), 0);
	assert_int_equal(tls_session_create(tls, &session), 0);
	assert_int_equal(tls_session_receive(session, "*1\r\n$4\r\nPING\r\n", 14, &plain, &cipher), -EPROTO);
	assert_int_equal(plain.size, 0);
	tls_session_destroy(session);
	tls_put(tls);
	buffer_fini(&plain);
	buffer_fini(&cipher);
}

static void a_goodbye_is_told(void **state)
{
	struct ends e;

	open_ends(&e, *state, false, NULL, "+VERS-TLS1.3", 0);
	gnutls_bye(e.peer.gnutls, GNUTLS_SHUT_WR);
	carry(&e, 0);
	assert_int_equal(e.err, 1);
	tls_session_bye(e.server, &e.peer.in);
	assert_true(e.peer.in.size > 0);
	close_ends(&e);
}

static void changed_bytes_are_refused(void **state)
{
	struct ends e;

	open_ends(&e, *state, false, NULL, "+VERS-TLS1.3", 0);
	assert_int_equal(gnutls_record_send(e.peer.gnutls, "PING\r\n", 6), 6);
	e.peer.out.data[e.peer.out.size - 1] ^= 1;
	carry(&e, 0);
	assert_int_equal(e.err, -EPROTO);
	assert_int_equal(e.plain.size, 0);
	close_ends(&e);
}

static void a_bad_configuration_is_named(void **state)
{
	struct bed *bed = *state;
	static struct config config;
	char error[512];
	struct tls *tls = NULL;

	memset(&config, 0, sizeof(config));
	assert_int_equal(tls_create(&config, &tls, error), 0);
	assert_null(tls);

	config_of(bed, true, &config);
	snprintf(config.key, sizeof(config.key), "%s", bed->client.key_path);
	assert_int_equal(tls_create(&config, &tls, error), -EINVAL);
	assert_non_null(strstr(error, bed->server.certificate_path));

	config_of(bed, true, &config);
	config.key[0] = '\0';
	assert_int_equal(tls_create(&config, &tls, error), -EINVAL);
	assert_non_null(strstr(error, "both"));

	config_of(bed, true, &config);
	snprintf(config.ca, sizeof(config.ca), "%s/none.pem", bed->directory);
	assert_int_equal(tls_create(&config, &tls, error), -EINVAL);
	assert_non_null(strstr(error, config.ca));
	assert_null(tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_however_they_are_cut),
		cmocka_unit_test(a_client_certificate_is_known_by_name_and_digest),
		cmocka_unit_test(without_a_ca_nobody_has_a_certificate),
		cmocka_unit_test(a_client_without_a_certificate_is_refused),
		cmocka_unit_test(a_certificate_of_another_ca_is_refused),
		cmocka_unit_test(a_servers_certificate_makes_no_client),
		cmocka_unit_test(older_versions_are_refused),
		cmocka_unit_test(what_is_no_tls_is_refused),
		cmocka_unit_test(a_goodbye_is_told),
		cmocka_unit_test(changed_bytes_are_refused),
		cmocka_unit_test(a_bad_configuration_is_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
