/* SPDX-License-Identifier: MIT */
/* TLS 1.3 for a connection whose bytes the loop carries: GnuTLS between two buffers. */
#ifndef LINEUPD_TLS_H
#define LINEUPD_TLS_H

#include "buffer.h"
#include "config.h"

struct tls;         /* credentials; reference counted by its sessions */
struct tls_session;

/*
 * NULL *@tls with 0: no certificate is configured. -EINVAL with @error: a file is missing, or key and certificate do not belong
 * together.
 */
int tls_create(const struct config *config, struct tls **tls, char error[512]);
void tls_put(struct tls *tls);
int tls_session_create(struct tls *tls, struct tls_session **session);
void tls_session_destroy(struct tls_session *session);
/*
 * Takes @size received bytes; plain bytes are appended to @plain, bytes to send to @cipher. 0; 1: the peer said goodbye;
 * -EPROTO with tls_session_error: close after sending @cipher. With a ca configured, a client without a certificate it signed
 * never gets past the handshake.
 */
int tls_session_receive(struct tls_session *session, const char *data, size_t size, struct buffer *plain, struct buffer *cipher);
int tls_session_send(struct tls_session *session, const char *data, size_t size, struct buffer *cipher);
void tls_session_bye(struct tls_session *session, struct buffer *cipher);
bool tls_session_ready(const struct tls_session *session); /* the handshake is done */
const char *tls_session_error(const struct tls_session *session);
/* Of the client's certificate: false if it has none. */
bool tls_session_peer(const struct tls_session *session, char cn[256], char sha256[65]);

#endif
