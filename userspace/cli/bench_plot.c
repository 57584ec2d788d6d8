// SPDX-License-Identifier: MIT
// Draws the benchmark's rates over batch sizes, with the machine's limits as lines, as an SVG.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

/* The drawing and the area of the axes in it, in pixels. */
enum { WIDTH = 960, HEIGHT = 580, LEFT = 80, RIGHT = 660, TOP = 76, BOTTOM = 510 };

static const char RESIDENT_COLOUR[] = "#0072b2", STREAMED_COLOUR[] = "#d55e00";

struct axes {
	double x_min; /* probes a call */
	double x_max;
	double y_min; /* Mcmp/s, powers of ten */
	double y_max;
};

static double x_of(const struct axes *axes, double probes)
{
	return LEFT + (RIGHT - LEFT) * log(probes / axes->x_min) / log(axes->x_max / axes->x_min);
}

static double y_of(const struct axes *axes, double rate)
{
	return BOTTOM - (BOTTOM - TOP) * log(rate / axes->y_min) / log(axes->y_max / axes->y_min);
}

/* Room around the batch sizes, and whole decades around the rates and the two limits that are lowest there. */
static void axes_init(struct axes *axes, const struct bench_result *r)
{
	double low = INFINITY, high = 0;

	for (uint32_t i = 0; i < r->cell_count; i++) {
		struct bench_summary s;

		bench_summarise(&r->cells[i], r->options->rounds, &s);
		low = fmin(low, s.rate);
		high = fmax(high, fmax(s.rate, s.limit[BENCH_MULTIPLY]));
	}
	axes->x_min = r->options->batches[0] / 1.4;
	axes->x_max = r->options->batches[r->options->batch_count - 1] * 1.4;
	axes->y_min = pow(10, floor(log10(low / 1e6 * 0.9)));
	axes->y_max = pow(10, ceil(log10(high / 1e6 * 1.1)));
}

static void text(FILE *f, double x, double y, const char *anchor, const char *attributes, const char *string)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor, attributes);
	for (const char *c = string; *c; c++) {
		if (*c == '<' || *c == '>' || *c == '&')
			fprintf(f, "&#%d;", *c);
		else
			fputc(*c, f);
	}
	fprintf(f, "</text>\n");
}

static const char *number(char buffer[32], double value)
{
	snprintf(buffer, 32, value < 10 ? "%.1f" : "%.0f", value);
	return buffer;
}

static void draw_axes(FILE *f, const struct axes *axes, const struct bench_result *r)
{
	char buffer[32];

	for (double decade = axes->y_min; decade < axes->y_max * 1.01; decade *= 10) {
		double y = y_of(axes, decade);

		fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#cccccc\"/>\n", LEFT, y, RIGHT, y);
		snprintf(buffer, sizeof(buffer), "%g", decade);
		text(f, LEFT - 8, y + 4, "end", "fill=\"#333333\"", buffer);
		for (int i = 2; i < 10 && decade * i < axes->y_max; i++)
			fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#eeeeee\"/>\n", LEFT, y_of(axes, decade * i),
				RIGHT, y_of(axes, decade * i));
	}
	for (uint32_t i = 0; i < r->options->batch_count; i++) {
		double x = x_of(axes, r->options->batches[i]);

		fprintf(f, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#dddddd\"/>\n", x, TOP, x, BOTTOM);
		snprintf(buffer, sizeof(buffer), "%" PRIu32, r->options->batches[i]);
		text(f, x, BOTTOM + 20, "middle", "fill=\"#333333\"", buffer);
	}
	fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#333333\"/>\n", LEFT, TOP, RIGHT - LEFT,
		BOTTOM - TOP);
	text(f, (LEFT + RIGHT) / 2.0, BOTTOM + 46, "middle", "font-size=\"15\"", "probes per call (log)");
	fprintf(f, "<g transform=\"translate(24 %.1f) rotate(-90)\">\n", (TOP + BOTTOM) / 2.0);
	text(f, 0, 0, "middle", "font-size=\"15\"", "million comparisons a second (log)");
	fprintf(f, "</g>\n");
}

/* A limit: @at_one Mcmp/s for one probe a call, and as many times that as there are probes, or the same for all. */
static void draw_limit(FILE *f, const struct axes *axes, double at_one, bool rises, const char *style)
{
	double a = rises ? at_one * axes->x_min : at_one, b = rises ? at_one * axes->x_max : at_one;

	fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" clip-path=\"url(#area)\" stroke-width=\"1.6\" %s/>\n", LEFT,
		y_of(axes, a), RIGHT, y_of(axes, b), style);
}

static void draw_series(FILE *f, const struct axes *axes, const struct bench_result *r, bool resident)
{
	const char *colour = resident ? RESIDENT_COLOUR : STREAMED_COLOUR;
	char style[96], buffer[32];

	fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.4\" points=\"", colour);
	for (uint32_t i = 0; i < r->cell_count; i++) {
		const struct bench_cell *c = &r->cells[i];

		if (c->resident == resident)
			fprintf(f, "%.1f,%.1f ", x_of(axes, c->batch), y_of(axes, bench_median(c->rate, r->options->rounds) / 1e6));
	}
	fprintf(f, "\"/>\n");
	snprintf(style, sizeof(style), "fill=\"%s\" font-size=\"12\" paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"3\"", colour);
	for (uint32_t i = 0; i < r->cell_count; i++) {
		const struct bench_cell *c = &r->cells[i];
		double rate = bench_median(c->rate, r->options->rounds) / 1e6, x = x_of(axes, c->batch), y = y_of(axes, rate);

		if (c->resident != resident)
			continue;
		fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>\n", x, y, colour);
		/* The streamed numbers hang below, so that they do not cover the resident ones where both meet. */
		text(f, x, resident ? y - 10 : y + 20, "middle", style, number(buffer, rate));
	}
}

static void draw_key(FILE *f, int row, const char *style, bool marker, const char *title, const char *detail)
{
	double y = TOP + 14 + row * 52;

	fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke-width=\"2\" %s/>\n", RIGHT + 18, y, RIGHT + 52, y, style);
	if (marker)
		fprintf(f, "<circle cx=\"%d\" cy=\"%.1f\" r=\"4.5\" stroke=\"none\" %s/>\n", RIGHT + 35, y,
			strstr(style, RESIDENT_COLOUR) ? "fill=\"#0072b2\"" : "fill=\"#d55e00\"");
	text(f, RIGHT + 60, y + 4, "start", "", title);
	text(f, RIGHT + 60, y + 21, "start", "fill=\"#666666\" font-size=\"12\"", detail);
}

static const char RAM_STYLE[] = "stroke=\"#0072b2\" stroke-dasharray=\"7 4\"";
static const char MULTIPLY_STYLE[] = "stroke=\"#333333\" stroke-dasharray=\"2 4\"";
static const char DISK_STYLE[] = "stroke=\"#d55e00\" stroke-dasharray=\"7 4\"";

static void draw_keys(FILE *f, const struct bench_result *r)
{
	uint32_t rounds = r->options->rounds;
	char detail[96];

	draw_key(f, 0, "stroke=\"#0072b2\"", true, "resident search", "codes in memory");
	draw_key(f, 1, "stroke=\"#d55e00\"", true, "streamed search", strcmp(r->io, "io_uring") ? "pread" : "io_uring");
	snprintf(detail, sizeof(detail), "%.1f GB/s, codes of %" PRIu32 " bytes", bench_median(r->limit_rate[BENCH_RAM], rounds) / 1e9,
		 bench_code_bytes(r->gallery.dim));
	draw_key(f, 2, RAM_STYLE, false, "limit: RAM read", detail);
	snprintf(detail, sizeof(detail), "%.2f GB/s, rows of %.0f bytes", bench_median(r->limit_rate[BENCH_DISK], rounds) / 1e9, bench_block_bytes(r));
	draw_key(f, 3, DISK_STYLE, false, "limit: disk read", detail);
	if (!r->limits.multiply)
		return;
	snprintf(detail, sizeof(detail), "%.0f GMAC/s, %s", bench_median(r->limit_rate[BENCH_MULTIPLY], rounds) / 1e9, r->limits.multiply->name);
	draw_key(f, 4, MULTIPLY_STYLE, false, "limit: multiply peak", detail);
}

void bench_plot_write(FILE *f, const struct bench_result *r)
{
	uint32_t rounds = r->options->rounds;
	double code_bytes = bench_code_bytes(r->gallery.dim);
	struct axes axes;
	char title[256];

	axes_init(&axes, r);
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
		   "font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
		   "<clipPath id=\"area\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
	snprintf(title, sizeof(title), "lineup: exact search of %" PRIu64 " templates of %" PRIu32 " components", r->gallery.templates,
		 r->gallery.dim);
	text(f, LEFT, 32, "start", "font-size=\"18\"", title);
	snprintf(title, sizeof(title), "%s, %s, %" PRIu32 " threads, k = %" PRIu32 ", median of %" PRIu32 " rounds", r->cpu, r->backend, r->threads,
		 r->options->k, rounds);
	text(f, LEFT, 54, "start", "fill=\"#666666\"", title);
	draw_axes(f, &axes, r);
	draw_limit(f, &axes, bench_median(r->limit_rate[BENCH_RAM], rounds) / code_bytes / 1e6, true, RAM_STYLE);
	if (r->limits.file_count)
		draw_limit(f, &axes, bench_median(r->limit_rate[BENCH_DISK], rounds) / bench_block_bytes(r) / 1e6, true, DISK_STYLE);
	if (r->limits.multiply)
		draw_limit(f, &axes, bench_median(r->limit_rate[BENCH_MULTIPLY], rounds) / code_bytes / 1e6, false, MULTIPLY_STYLE);
	draw_series(f, &axes, r, false);
	draw_series(f, &axes, r, true);
	draw_keys(f, r);
	fprintf(f, "</svg>\n");
}

int bench_plot(struct cli *cli, const struct bench_result *result)
{
	const char *path = result->options->plot;
	FILE *file = fopen(path, "we");

	if (!file)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	bench_plot_write(file, result);
	bool failed = ferror(file);

	errno = 0;
	if (fclose(file) || failed)
		return cli_fail(cli, "%s: writing the plot: %s", path, errno ? strerror(errno) : "an earlier write failed");
	return 0;
}
