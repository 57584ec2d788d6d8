// SPDX-License-Identifier: MIT
// The metrics: what was counted is what the text says, in a form that Prometheus takes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "metrics.h"

static char text[1 << 20];

static void render(void)
{
	struct buffer b = { 0 };

	metrics_prometheus(&b);
	assert_false(b.failed);
	assert_true(b.size < sizeof(text));
	memcpy(text, b.data, b.size);
	text[b.size] = 0;
	buffer_fini(&b);
}

/* The value of the one line that begins with @series and a blank. */
static double value(const char *series)
{
	char start[256];
	const char *at;

	snprintf(start, sizeof(start), "\n%s ", series);
	at = strstr(text, start);
	if (!at)
		fail_msg("no %s", series);
	assert_null(strstr(at + 1, start));
	return strtod(at + strlen(start), NULL);
}

static struct metrics_gallery gallery(const char *name)
{
	struct metrics_gallery g = {
		.state = { .sequence = 7, .templates = 1000, .subjects = 900, .rows = 1010, .segments = 3, .journal_bytes = 4096 }
	};

	snprintf(g.name, sizeof(g.name), "%s", name);
	g.deleted_rows = 10;
	g.share.probes = 12;
	g.share.backend = "avx2";
	g.share.io = "memory";
	g.share.resident = true;
	g.share.seconds_busy = 1.5;
	g.scan_bytes_per_second = 9e9;
	g.limit_bytes_per_second = 12e9;
	g.batch = 2.5;
	return g;
}

/* Every line is a comment that announces a metric once, or a value of the metric announced last. */
static void every_value_is_announced_once(void **state)
{
	char announced[128] = "", names[256][128], line[512];
	uint32_t count = 0, values = 0;
	struct metrics_gallery one = gallery("one"), two = gallery("two");

	(void)state;
	metrics_set_gallery(&one);
	metrics_set_gallery(&two);
	render();
	for (char *at = text; *at; at += strcspn(at, "\n") + 1) {
		char name[128], kind[32];
		size_t size;

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (sscanf(line, "# HELP %127s", name) == 1) {
			for (uint32_t i = 0; i < count; i++)
				assert_string_not_equal(names[i], name);
			assert_true(count < ARRAY_SIZE(names));
			strcpy(names[count++], name);
			strcpy(announced, name);
			assert_int_equal(line[strlen(line) - 1], '.');
		} else if (sscanf(line, "# TYPE %127s %31s", name, kind) == 2) {
			assert_string_equal(name, announced);
			size = strlen(name);
			assert_int_equal(!strcmp(kind, "counter"), size > 6 && !strcmp(name + size - 6, "_total"));
		} else {
			size = strlen(announced);
			assert_memory_equal(line, announced, size);
			assert_non_null(strchr("{ _", line[size]));
			values++;
		}
	}
	assert_true(values > count);
	metrics_drop_gallery("one");
	metrics_drop_gallery("two");
}

static void counters_are_told(void **state)
{
	double before;

	(void)state;
	render();
	before = value("lineup_requests_total");
	metrics_count(METRIC_REQUESTS, 3);
	metrics_count(METRIC_ERROR_BUSY, 5);
	metrics_set_clients(9);
	render();
	assert_true(value("lineup_requests_total") == before + 3);
	assert_true(value("lineup_errors_total{cause=\"busy\"}") == 5);
	assert_true(value("lineup_clients") == 9);
	assert_int_equal(metrics_value(METRIC_ERROR_BUSY), 5);
}

/* Each counter is counted in the text exactly once: by counting one and looking for what changed. */
static void every_counter_has_a_metric(void **state)
{
	static char before[sizeof(text)];

	(void)state;
	for (int metric = 0; metric < METRICS; metric++) {
		uint32_t changed = 0;
		const char *a, *b;

		render();
		strcpy(before, text);
		metrics_count(metric, 1);
		render();
		for (a = before, b = text; *a && *b; a += strcspn(a, "\n") + 1, b += strcspn(b, "\n") + 1)
			changed += strcspn(a, "\n") != strcspn(b, "\n") || strncmp(a, b, strcspn(a, "\n"));
		assert_int_equal(changed, 1);
	}
}

static void histograms_count_what_is_at_most_the_bound(void **state)
{
	static const uint64_t ns[] = { 1, 16384, 16385, 1000000, 1048576, 1048577, 2000000000, 30000000000, 1ull << 41 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ns); i++)
		metrics_latency(METRIC_SYNC_NS, ns[i]);
	render();
	for (unsigned int i = 14; i <= 34; i++) {
		char series[128];
		uint32_t most = 0;

		for (size_t j = 0; j < ARRAY_SIZE(ns); j++)
			most += ns[j] <= 1ull << i;
		snprintf(series, sizeof(series), "lineup_sync_duration_seconds_bucket{le=\"%.12g\"}", (double)(1ull << i) * 1e-9);
		assert_true(value(series) == most);
	}
	assert_true(value("lineup_sync_duration_seconds_bucket{le=\"+Inf\"}") == ARRAY_SIZE(ns));
	assert_true(value("lineup_sync_duration_seconds_count") == ARRAY_SIZE(ns));
	assert_true(value("lineup_sync_duration_seconds_sum") > 32 + 2199);
	assert_true(value("lineup_search_duration_seconds_count") == 0);
	assert_ptr_not_equal(metrics_histogram(METRIC_SYNC_NS), metrics_histogram(METRIC_SEARCH_NS));
}

static void galleries_are_set_replaced_and_dropped(void **state)
{
	struct metrics_gallery g = gallery("staff"), out[2];

	(void)state;
	metrics_set_gallery(&g);
	g.state.templates = 2000;
	metrics_set_gallery(&g);
	assert_int_equal(metrics_galleries(out, 2), 1);
	assert_int_equal(out[0].state.templates, 2000);
	render();
	assert_true(value("lineup_galleries") == 1);
	assert_true(value("lineup_gallery_templates{gallery=\"staff\"}") == 2000);
	assert_true(value("lineup_gallery_deleted_rows{gallery=\"staff\"}") == 10);
	assert_true(value("lineup_gallery_scan_limit_ratio{gallery=\"staff\"}") == 0.75);
	assert_true(value("lineup_gallery_batch_probes{gallery=\"staff\"}") == 2.5);
	assert_true(value("lineup_gallery_busy_seconds_total{gallery=\"staff\"}") == 1.5);
	assert_true(value("lineup_gallery_resident{gallery=\"staff\"}") == 1);
	assert_true(value("lineup_gallery_scan_info{gallery=\"staff\",backend=\"avx2\",io=\"memory\"}") == 1);
	g.limit_bytes_per_second = 0;
	metrics_set_gallery(&g);
	render();
	assert_true(value("lineup_gallery_scan_limit_ratio{gallery=\"staff\"}") == 0);
	metrics_drop_gallery("other");
	metrics_drop_gallery("staff");
	assert_int_equal(metrics_galleries(out, 2), 0);
	render();
	assert_null(strstr(text, "staff"));
}

static void more_galleries_than_there_is_room_for_are_counted(void **state)
{
	struct metrics_gallery out[2];
	char name[16];

	(void)state;
	for (int i = 0; i < 40; i++) {
		struct metrics_gallery g;

		snprintf(name, sizeof(name), "g%d", i);
		g = gallery(name);
		metrics_set_gallery(&g);
	}
	memset(&out[1], 0x55, sizeof(out[1]));
	assert_int_equal(metrics_galleries(out, 1), 40);
	assert_int_equal(*(unsigned char *)&out[1], 0x55);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		metrics_drop_gallery(name);
	}
	assert_int_equal(metrics_galleries(out, 2), 0);
}

static bool yes(void *arg)
{
	return arg != NULL;
}

static void a_gallery_that_refuses_changes_is_not_healthy(void **state)
{
	struct metrics_gallery g = gallery("staff");
	char why[256];

	(void)state;
	metrics_set_health(yes, &g);
	metrics_set_gallery(&g);
	assert_true(metrics_healthy(why));
	assert_string_equal(why, "ok");
	strcpy(g.refuses, "a sync failed");
	metrics_set_gallery(&g);
	assert_false(metrics_healthy(why));
	assert_string_equal(why, "gallery staff takes no changes: a sync failed");
	render();
	assert_true(value("lineup_gallery_refuses_changes{gallery=\"staff\"}") == 1);
	*g.refuses = 0;
	metrics_set_gallery(&g);
	assert_true(metrics_healthy(why));
	metrics_set_health(yes, NULL);
	assert_false(metrics_healthy(why));
	metrics_set_health(NULL, NULL);
	metrics_drop_gallery("staff");
}

/* lineupd(8) has a paragraph for each metric, with the words that Prometheus is told. */
static void the_manual_page_tells_every_metric(void **state)
{
	struct metrics_gallery g = gallery("staff");
	FILE *page = fopen("userspace/man/lineupd.8", "r");
	static char roff[1 << 18];
	uint32_t metrics = 0, paragraphs = 0;
	size_t size;
	char *out = roff;

	(void)state;
	assert_non_null(page);
	size = fread(roff, 1, sizeof(roff) - 1, page);
	fclose(page);
	roff[size] = 0;
	/* Without the backslashes of roff's \-. */
	for (const char *in = roff; *in; in++) {
		if (*in != '\\')
			*out++ = *in;
	}
	*out = 0;
	metrics_set_gallery(&g);
	render();
	metrics_drop_gallery("staff");
	for (const char *at = text; (at = strstr(at, "# HELP lineup_")); at++, metrics++) {
		char name[128], help[256], wanted[512];

		assert_int_equal(sscanf(at, "# HELP lineup_%127s %255[^\n]", name, help), 2);
		snprintf(wanted, sizeof(wanted), "\n.TP\n.B %s\n%s\n", name, help);
		if (!strstr(roff, wanted))
			fail_msg("lineupd(8) does not say: %s: %s", name, help);
	}
	out = strstr(roff, "\n.SS Of the daemon\n");
	assert_non_null(out);
	for (const char *at = out; (at = strstr(at, "\n.TP\n")) && at < strstr(roff, "\n.SH FILES\n"); at++)
		paragraphs++;
	assert_int_equal(metrics, paragraphs);
}

static void promtool_finds_nothing(void **state)
{
	struct metrics_gallery g = gallery("staff:1");
	FILE *promtool;
	int status;

	(void)state;
	if (system("command -v promtool >/dev/null 2>&1")) {
		print_message("no promtool here (Debian: prometheus)\n");
		skip();
	}
	metrics_set_gallery(&g);
	render();
	metrics_drop_gallery("staff:1");
	fflush(stdout);
	promtool = popen("promtool check metrics >&2", "w");
	assert_non_null(promtool);
	assert_int_equal(fwrite(text, 1, strlen(text), promtool), strlen(text));
	status = pclose(promtool);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value_is_announced_once),
		cmocka_unit_test(counters_are_told),
		cmocka_unit_test(every_counter_has_a_metric),
		cmocka_unit_test(histograms_count_what_is_at_most_the_bound),
		cmocka_unit_test(galleries_are_set_replaced_and_dropped),
		cmocka_unit_test(more_galleries_than_there_is_room_for_are_counted),
		cmocka_unit_test(a_gallery_that_refuses_changes_is_not_healthy),
		cmocka_unit_test(the_manual_page_tells_every_metric),
		cmocka_unit_test(promtool_finds_nothing),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
