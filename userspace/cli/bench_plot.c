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
		cli_svg_text(f, LEFT - 8, y + 4, "end", "fill=\"#333333\"", buffer);
		for (int i = 2; i < 10 && decade * i < axes->y_max; i++)
			fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#eeeeee\"/>\n", LEFT, y_of(axes, decade * i),
				RIGHT, y_of(axes, decade * i));
	}
	for (uint32_t i = 0; i < r->options->batch_count; i++) {
		double x = x_of(axes, r->options->batches[i]);

		fprintf(f, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#dddddd\"/>\n", x, TOP, x, BOTTOM);
		snprintf(buffer, sizeof(buffer), "%" PRIu32, r->options->batches[i]);
		cli_svg_text(f, x, BOTTOM + 20, "middle", "fill=\"#333333\"", buffer);
	}
	fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#333333\"/>\n", LEFT, TOP, RIGHT - LEFT,
		BOTTOM - TOP);
	cli_svg_text(f, (LEFT + RIGHT) / 2.0, BOTTOM + 46, "middle", "font-size=\"15\"", "probes per call (log)");
	fprintf(f, "<g transform=\"translate(24 %.1f) rotate(-90)\">\n", (TOP + BOTTOM) / 2.0);
	cli_svg_text(f, 0, 0, "middle", "font-size=\"15\"", "million comparisons a second (log)");
	fprintf(f, "</g>\n");
}

/* Up to so many probes share a pass, and a limit on reading rises with them. */
static double pass_probes(const struct bench_result *r)
{
	double most = 0;

	for (uint32_t i = 0; i < r->cell_count; i++) {
		const struct bench_cell *c = &r->cells[i];

		if (c->passes > 1)
			most = fmax(most, (double)c->batch / c->passes);
	}
	return most > 0 ? most : LINEUP_PROBES_MAX;
}

/* The limit on a call of @probes as Mcmp/s; 0 where there is none. */
static double limit_at(const struct bench_result *r, enum bench_bound bound, bool resident, double probes)
{
	double share = fmin(probes, pass_probes(r));
	double cost = bench_cost(r, &(struct bench_cell){ .resident = resident, .batch = 1 }, bound);
	double rate = bench_median(r->limit_rate[bound], r->options->rounds);

	return cost > 0 ? rate / cost * (bound == BENCH_MULTIPLY ? 1 : share) / 1e6 : 0;
}

static void draw_limit(FILE *f, const struct axes *axes, const struct bench_result *r, enum bench_bound bound, bool resident,
		       const char *style)
{
	double x[] = { axes->x_min, fmax(axes->x_min, fmin(axes->x_max, pass_probes(r))), axes->x_max };

	if (!(limit_at(r, bound, resident, 1) > 0))
		return;
	fprintf(f, "<path fill=\"none\" clip-path=\"url(#area)\" stroke-width=\"1.6\" %s d=\"", style);
	for (int i = 0; i < 3; i++)
		fprintf(f, "%s%.1f %.1f", i ? " L " : "M ", x_of(axes, x[i]), y_of(axes, limit_at(r, bound, resident, x[i])));
	fprintf(f, "\"/>\n");
}

static void draw_series(FILE *f, const struct axes *axes, const struct bench_result *r, bool resident)
{
	const char *colour = resident ? RESIDENT_COLOUR : STREAMED_COLOUR;
	char style[96], buffer[32];

	if (r->options->without[resident])
		return;
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
		cli_svg_text(f, x, resident ? y - 10 : y + 20, "middle", style, number(buffer, rate));
	}
}

static void draw_key(FILE *f, int row, const char *style, bool marker, const char *title, const char *detail)
{
	double y = TOP + 14 + row * 52;

	fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke-width=\"2\" %s/>\n", RIGHT + 18, y, RIGHT + 52, y, style);
	if (marker)
		fprintf(f, "<circle cx=\"%d\" cy=\"%.1f\" r=\"4.5\" stroke=\"none\" %s/>\n", RIGHT + 35, y,
			strstr(style, RESIDENT_COLOUR) ? "fill=\"#0072b2\"" : "fill=\"#d55e00\"");
	cli_svg_text(f, RIGHT + 60, y + 4, "start", "", title);
	cli_svg_text(f, RIGHT + 60, y + 21, "start", "fill=\"#666666\" font-size=\"12\"", detail);
}

static const char RAM_STYLE[] = "stroke=\"#0072b2\" stroke-dasharray=\"7 4\"";
static const char MULTIPLY_STYLE[] = "stroke=\"#333333\" stroke-dasharray=\"2 4\"";
static const char DISK_STYLE[] = "stroke=\"#d55e00\" stroke-dasharray=\"7 4\"";
static const char UPLOAD_STYLE[] = "stroke=\"#d55e00\" stroke-dasharray=\"2 3\"";

static void draw_keys(FILE *f, const struct bench_result *r)
{
	double rate[BENCH_BOUNDS];
	char detail[96];
	bool devices = bench_on_devices(r);
	int row = 0;

	for (int bound = 0; bound < BENCH_BOUNDS; bound++)
		rate[bound] = bench_median(r->limit_rate[bound], r->options->rounds);
	snprintf(detail, sizeof(detail), "%.0f %% of rows in device memory",
		 100 * (double)r->place[1].rows_on_device / fmax((double)r->place[1].rows, 1));
	if (!r->options->without[1])
		draw_key(f, row++, "stroke=\"#0072b2\"", true, "resident search", devices ? detail : "codes in memory");
	if (!r->options->without[0])
		draw_key(f, row++, "stroke=\"#d55e00\"", true, "streamed search", strcmp(r->io, "io_uring") ? "pread" : "io_uring");
	snprintf(detail, sizeof(detail), "%.1f GB/s, codes of %" PRIu32 " bytes", rate[BENCH_RAM] / 1e9 + rate[BENCH_DEVICE] / 1e9,
		 bench_code_bytes(r->gallery.dim));
	if (rate[BENCH_RAM] > 0 || rate[BENCH_DEVICE] > 0)
		draw_key(f, row++, RAM_STYLE, false, devices ? "limit: device read" : "limit: RAM read", detail);
	snprintf(detail, sizeof(detail), "%.2f GB/s, rows of %.0f bytes", rate[BENCH_DISK] / 1e9, bench_block_bytes(r));
	if (rate[BENCH_DISK] > 0)
		draw_key(f, row++, DISK_STYLE, false, "limit: disk read", detail);
	snprintf(detail, sizeof(detail), "%.2f GB/s", rate[BENCH_UPLOAD] / 1e9);
	if (rate[BENCH_UPLOAD] > 0)
		draw_key(f, row++, UPLOAD_STYLE, false, "limit: upload", detail);
	snprintf(detail, sizeof(detail), "%.0f GMAC/s, %s", rate[BENCH_MULTIPLY] / 1e9,
		 devices ? r->backend : r->limits.multiply ? r->limits.multiply->name : "");
	if (rate[BENCH_MULTIPLY] > 0)
		draw_key(f, row++, MULTIPLY_STYLE, false, "limit: multiply peak", detail);
	if (r->devices.software)
		draw_key(f, row, "stroke=\"none\"", false, "A SOFTWARE DEVICE", "no GPU was measured");
}

void bench_plot_write(FILE *f, const struct bench_result *r)
{
	struct axes axes;
	char title[768];

	axes_init(&axes, r);
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
		   "font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
		   "<clipPath id=\"area\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
	snprintf(title, sizeof(title), "lineup: exact search of %" PRIu64 " templates of %" PRIu32 " components", r->gallery.templates,
		 r->gallery.dim);
	cli_svg_text(f, LEFT, 32, "start", "font-size=\"18\"", title);
	snprintf(title, sizeof(title), "%s, %s, %" PRIu32 " threads, k = %" PRIu32 ", median of %" PRIu32 " rounds",
		 bench_on_devices(r) ? r->devices.name : r->cpu, r->backend, r->threads, r->options->k, r->options->rounds);
	cli_svg_text(f, LEFT, 54, "start", "fill=\"#666666\"", title);
	draw_axes(f, &axes, r);
	draw_limit(f, &axes, r, BENCH_RAM, true, RAM_STYLE);
	draw_limit(f, &axes, r, BENCH_DEVICE, true, RAM_STYLE);
	draw_limit(f, &axes, r, BENCH_DISK, false, DISK_STYLE);
	draw_limit(f, &axes, r, BENCH_UPLOAD, false, UPLOAD_STYLE);
	draw_limit(f, &axes, r, BENCH_MULTIPLY, true, MULTIPLY_STYLE);
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
