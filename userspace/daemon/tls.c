// SPDX-License-Identifier: MIT
// TLS 1.3 by GnuTLS, which reads from one buffer and writes to another: the sockets belong to the loop.
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"

enum { RECORD_BYTES = 16384 };

struct tls {
	unsigned int references; /* the loop thread's alone */
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	bool wants_certificates; /* of clients */
};

struct tls_session {
	struct tls *tls;
	gnutls_session_t gnutls;
	struct buffer received;  /* from the peer, not yet taken by GnuTLS */
	struct buffer *cipher;   /* where what it writes goes, during a call */
	bool ready;
	bool failed;
	char error[128];
};

/* ---- credentials ---- */

void tls_put(struct tls *tls)
{
	if (!tls || --tls->references)
		return;
	if (tls->priority)
		gnutls_priority_deinit(tls->priority);
	if (tls->credentials)
		gnutls_certificate_free_credentials(tls->credentials);
	free(tls);
}

static int refuse(char error[512], const char *what, const char *path, int code)
{
	snprintf(error, 512, "tls: %s %.200s: %.200s", what, path, gnutls_strerror(code));
	return -EINVAL;
}

static int load(struct tls *tls, const struct config *config, char error[512])
{
	static const char only_1_3[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
	int code = gnutls_certificate_allocate_credentials(&tls->credentials);

	if (code >= 0)
		code = gnutls_priority_init(&tls->priority, only_1_3, NULL);
	if (code < 0)
		return refuse(error, "cannot be set up for", only_1_3, code);
	/* Also tells whether key and certificate belong together. */
	code = gnutls_certificate_set_x509_key_file(tls->credentials, config->certificate, config->key, GNUTLS_X509_FMT_PEM);
	if (code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return refuse(error, "the key does not belong to the certificate", config->certificate, code);
	if (code < 0)
		return refuse(error, "cannot read certificate or key:", config->certificate, code);
	if (!config->ca[0])
		return 0;
	tls->wants_certificates = true;
	code = gnutls_certificate_set_x509_trust_file(tls->credentials, config->ca, GNUTLS_X509_FMT_PEM);
	if (code < 0)
		return refuse(error, "cannot read the ca", config->ca, code);
	return code > 0 ? 0 : refuse(error, "there is no certificate in", config->ca, GNUTLS_E_NO_CERTIFICATE_FOUND);
}

int tls_create(const struct config *config, struct tls **tls, char error[512])
{
	struct tls *t;
	int err;

	if (!config->certificate[0] && !config->key[0] && !config->ca[0]) {
		*tls = NULL;
		return 0;
	}
	if (!config->certificate[0] || !config->key[0]) {
		snprintf(error, 512, "tls: certificate and key must both be given");
		return -EINVAL;
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		snprintf(error, 512, "tls: no memory");
		return -ENOMEM;
	}
	t->references = 1;
	err = load(t, config, error);
	if (err) {
		tls_put(t);
		return err;
	}
	*tls = t;
	return 0;
}

/* ---- what GnuTLS calls ---- */

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t size)
{
	struct tls_session *s = arg;

	if (!s->received.size) {
		gnutls_transport_set_errno(s->gnutls, EAGAIN);
		return -1;
	}
	if (size > s->received.size)
		size = s->received.size;
	memcpy(data, s->received.data, size);
	buffer_consume(&s->received, size);
	return (ssize_t)size;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *data, size_t size)
{
	struct tls_session *s = arg;

	buffer_append(s->cipher, data, size);
	if (s->cipher->failed) {
		gnutls_transport_set_errno(s->gnutls, ENOMEM);
		return -1;
	}
	return (ssize_t)size;
}

/* All that can be read is there already, or never will be. */
static int pull_timeout(gnutls_transport_ptr_t arg, unsigned int ms)
{
	struct tls_session *s = arg;

	(void)ms;
	return s->received.size ? 1 : 0;
}

/* ---- sessions ---- */

int tls_session_create(struct tls *tls, struct tls_session **session)
{
	static const gnutls_typed_vdata_st client = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT
	};
	struct tls_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	tls->references++;
	s->tls = tls;
	if (gnutls_init(&s->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0 ||
	    gnutls_priority_set(s->gnutls, tls->priority) < 0 ||
	    gnutls_credentials_set(s->gnutls, GNUTLS_CRD_CERTIFICATE, tls->credentials) < 0) {
		tls_session_destroy(s);
		return -ENOMEM;
	}
	gnutls_certificate_server_set_request(s->gnutls, tls->wants_certificates ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
	if (tls->wants_certificates)
		gnutls_session_set_verify_cert2(s->gnutls, (gnutls_typed_vdata_st *)&client, 1, 0);
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_pull_function(s->gnutls, pull);
	gnutls_transport_set_push_function(s->gnutls, push);
	gnutls_transport_set_pull_timeout_function(s->gnutls, pull_timeout);
	/* The client stage has a time limit for the handshake as a whole. */
	gnutls_handshake_set_timeout(s->gnutls, GNUTLS_INDEFINITE_TIMEOUT);
	*session = s;
	return 0;
}

void tls_session_destroy(struct tls_session *session)
{
	if (!session)
		return;
	if (session->gnutls)
		gnutls_deinit(session->gnutls);
	buffer_fini(&session->received);
	tls_put(session->tls);
	free(session);
}

static int fail(struct tls_session *s, int code)
{
	s->failed = true;
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		snprintf(s->error, sizeof(s->error), "the peer sent an alert: %s", gnutls_alert_get_name(gnutls_alert_get(s->gnutls)));
	else
		snprintf(s->error, sizeof(s->error), "%s", gnutls_strerror(code));
	gnutls_alert_send_appropriate(s->gnutls, code);
	return -EPROTO;
}

/* 0: done, or more bytes are needed. */
static int shake_hands(struct tls_session *s)
{
	int code;

	do
		code = gnutls_handshake(s->gnutls);
	while (code == GNUTLS_E_INTERRUPTED || (code < 0 && code != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(code)));
	if (code == GNUTLS_E_AGAIN)
		return 0;
	if (code < 0)
		return fail(s, code);
	s->ready = true;
	return 0;
}

/* 0: nothing more is there; 1: the peer said goodbye. */
static int read_records(struct tls_session *s, struct buffer *plain)
{
	for (;;) {
		char *room = buffer_reserve(plain, RECORD_BYTES);
		ssize_t n;

		if (!room)
			return fail(s, GNUTLS_E_MEMORY_ERROR);
		n = gnutls_record_recv(s->gnutls, room, RECORD_BYTES);
		if (n > 0)
			plain->size += (size_t)n;
		else if (n == 0)
			return 1;
		else if (n == GNUTLS_E_AGAIN)
			return 0;
		else if (n != GNUTLS_E_INTERRUPTED && gnutls_error_is_fatal((int)n))
			return fail(s, (int)n);
	}
}

int tls_session_receive(struct tls_session *session, const char *data, size_t size, struct buffer *plain, struct buffer *cipher)
{
	int err = 0;

	if (session->failed)
		return -EPROTO;
	session->cipher = cipher;
	buffer_append(&session->received, data, size);
	if (session->received.failed)
		err = fail(session, GNUTLS_E_MEMORY_ERROR);
	if (!err && !session->ready)
		err = shake_hands(session);
	if (!err && session->ready)
		err = read_records(session, plain);
	session->cipher = NULL;
	return err;
}

int tls_session_send(struct tls_session *session, const char *data, size_t size, struct buffer *cipher)
{
	size_t done = 0;

	if (session->failed || !session->ready)
		return -EPROTO;
	session->cipher = cipher;
	while (done < size) {
		ssize_t n = gnutls_record_send(session->gnutls, data + done, size - done);

		if (n >= 0) {
			done += (size_t)n;
		} else if (gnutls_error_is_fatal((int)n)) {
			session->failed = true;
			snprintf(session->error, sizeof(session->error), "%s", gnutls_strerror((int)n));
			break;
		}
	}
	session->cipher = NULL;
	return done == size ? 0 : -EPROTO;
}

void tls_session_bye(struct tls_session *session, struct buffer *cipher)
{
	if (session->failed || !session->ready)
		return;
	session->cipher = cipher;
	gnutls_bye(session->gnutls, GNUTLS_SHUT_WR);
	session->cipher = NULL;
}

bool tls_session_ready(const struct tls_session *session)
{
	return session->ready;
}

const char *tls_session_error(const struct tls_session *session)
{
	return session->error;
}

/* ---- the peer ---- */

static bool digest_of(gnutls_x509_crt_t certificate, char sha256[65])
{
	unsigned char digest[32];
	size_t size = sizeof(digest);

	if (gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &size) < 0 || size != sizeof(digest))
		return false;
	for (size_t i = 0; i < size; i++)
		snprintf(sha256 + 2 * i, 3, "%02x", digest[i]);
	return true;
}

bool tls_session_peer(const struct tls_session *session, char cn[256], char sha256[65])
{
	unsigned int count = 0;
	const gnutls_datum_t *chain = session->ready ? gnutls_certificate_get_peers(session->gnutls, &count) : NULL;
	gnutls_x509_crt_t certificate;
	size_t size = 256;
	bool found = false;

	if (!session->tls->wants_certificates || !chain || !count || gnutls_x509_crt_init(&certificate) < 0)
		return false;
	if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) >= 0) {
		/* A name with a NUL in it is not one that a configuration can hold. */
		if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &size) < 0 || strlen(cn) != size)
			cn[0] = '\0';
		found = digest_of(certificate, sha256);
	}
	gnutls_x509_crt_deinit(certificate);
	return found;
}
