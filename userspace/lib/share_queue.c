// SPDX-License-Identifier: MIT
// Who waits for a seat: by priority, then each client in turn, a probe at a time.
#include <stdlib.h>

#include "share.h"

static struct lineup_share_client **bucket_of(struct lineup_share_queue *queue, uint64_t id, uint32_t priority)
{
	uint64_t hash = (id * 10 + priority) * UINT64_C(0x9e3779b97f4a7c15);

	return &queue->bucket[(hash >> 32) % LINEUP_SHARE_CLIENT_BUCKETS];
}

/* Last in the turn of its priority: just before the one whose turn it is. */
static void client_add(struct lineup_share_queue *queue, struct lineup_share_client *client)
{
	struct lineup_share_client **bucket = bucket_of(queue, client->id, client->priority);
	struct lineup_share_client *head = queue->turn[client->priority];

	client->chain = *bucket;
	*bucket = client;
	if (!head) {
		client->prev = client->next = client;
		queue->turn[client->priority] = client;
		return;
	}
	client->next = head;
	client->prev = head->prev;
	head->prev->next = client;
	head->prev = client;
}

static void client_remove(struct lineup_share_queue *queue, struct lineup_share_client *client)
{
	struct lineup_share_client **at = bucket_of(queue, client->id, client->priority);

	while (*at != client)
		at = &(*at)->chain;
	*at = client->chain;
	client->prev->next = client->next;
	client->next->prev = client->prev;
	if (queue->turn[client->priority] == client)
		queue->turn[client->priority] = client->next == client ? NULL : client->next;
	free(client);
}

void lineup_share_queue_add(struct lineup_share *share, struct lineup_share_request *request)
{
	struct lineup_share_client *client = *bucket_of(&share->queue, request->query.client, request->query.priority);

	while (client && (client->id != request->query.client || client->priority != request->query.priority))
		client = client->chain;
	if (!client) {
		client = request->client_spare;
		request->client_spare = NULL;
		client->id = request->query.client;
		client->priority = request->query.priority;
		client_add(&share->queue, client);
	}
	request->behind = NULL;
	if (client->last)
		client->last->behind = request;
	else
		client->first = request;
	client->last = request;
	request->client = client;
	share->waiting += request->rows;
	share->deadlines += request->query.wait_ms_max != 0;
}

struct lineup_share_request *lineup_share_queue_first(struct lineup_share *share)
{
	for (int priority = LINEUP_PRIORITY_MAX; priority >= 0; priority--)
		if (share->queue.turn[priority])
			return share->queue.turn[priority]->first;
	return NULL;
}

/* The last of a request's probes waits no more. */
static void unlink_request(struct lineup_share *share, struct lineup_share_request *request)
{
	struct lineup_share_client *client = request->client;
	struct lineup_share_request *before = NULL;

	for (struct lineup_share_request *r = client->first; r != request; r = r->behind)
		before = r;
	if (before)
		before->behind = request->behind;
	else
		client->first = request->behind;
	if (client->last == request)
		client->last = before;
	request->behind = NULL;
	request->client = NULL;
	share->deadlines -= request->query.wait_ms_max != 0;
	if (!client->first)
		client_remove(&share->queue, client);
}

void lineup_share_queue_joined(struct lineup_share *share, struct lineup_share_request *request)
{
	struct lineup_share_client *client = request->client;

	share->queue.turn[client->priority] = client->next;
	share->waiting--;
	if (++request->joined == request->rows)
		unlink_request(share, request);
}

void lineup_share_queue_remove(struct lineup_share *share, struct lineup_share_request *request)
{
	if (!request->client)
		return;
	share->waiting -= request->rows - request->joined;
	unlink_request(share, request);
}

void lineup_share_queue_expire(struct lineup_share *share)
{
	double now;

	if (!share->deadlines)
		return;
	now = lineup_share_now();
	for (struct lineup_share_request *r = share->requests; r; r = r->next)
		if (r->client && r->query.wait_ms_max && !r->joined && now - r->begin > 1e-3 * r->query.wait_ms_max)
			lineup_share_request_fail(share, r, -ETIMEDOUT, "no room in the scan within the time allowed");
}
