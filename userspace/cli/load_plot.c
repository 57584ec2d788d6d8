// SPDX-License-Identifier: MIT
// Draws latency, and what was achieved, over the offered load, as an SVG.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

enum { WIDTH = 960, HEIGHT = 720, LEFT = 84, RIGHT = 760, TOP = 84, MIDDLE = 440, LOWER = 490, BOTTOM = 650 };

static const struct {
	const char *name, *colour;
	double quantile;
} lines[] = {
	{ "p50", "#0072b2", 0.5 }, { "p99", "#e69f00", 0.99 }, { "p99.9", "#d55e00", 0.999 }, { "max", "#999999", 1 },
};

struct axes {
	double x_max;        /* requests a second */
	double y_min, y_max; /* ms, powers of ten */
};

static double x_of(const struct axes *a, double rate)
{
	return LEFT + (RIGHT - LEFT) * rate / a->x_max;
}

static double latency_y(const struct axes *a, double ms)
{
	return MIDDLE - (MIDDLE - TOP) * log(fmax(ms, a->y_min) / a->y_min) / log(a->y_max / a->y_min);
}

static double rate_y(const struct axes *a, double rate)
{
	return BOTTOM - (BOTTOM - LOWER) * fmin(rate, a->x_max) / a->x_max;
}

/* A round step that makes at most eight of @most. */
static double tick(double most)
{
	double step = pow(10, floor(log10(most / 8)));

	return most / step <= 8 ? step : most / step <= 16 ? 2 * step : most / step <= 40 ? 5 * step : 10 * step;
}

static void axes_init(struct axes *a, const struct load_result *r)
{
	double low = INFINITY, high = 0, rate = 0;

	for (uint32_t i = 0; i < r->steps; i++) {
		if (r->step[i].search.latency.count) {
			low = fmin(low, load_quantile_ms(&r->step[i].search, 0.5));
			high = fmax(high, load_quantile_ms(&r->step[i].search, 1));
		}
		rate = fmax(rate, fmax(r->step[i].offered, (double)r->step[i].search.in_time / fmax(r->step[i].seconds, 1e-9)));
	}
	a->x_max = rate * 1.06;
	a->y_min = isfinite(low) ? pow(10, floor(log10(fmax(low, 1e-3) * 0.99))) : 0.1;
	a->y_max = fmax(high > 0 ? pow(10, ceil(log10(high * 1.01))) : 10, a->y_min * 10);
}

static void draw_axes(FILE *f, const struct axes *a)
{
	double step = tick(a->x_max);
	char number[32];

	for (double ms = a->y_min; ms < a->y_max * 1.01; ms *= 10) {
		double y = latency_y(a, ms);

		fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#cccccc\"/>\n", LEFT, y, RIGHT, y);
		snprintf(number, sizeof(number), "%g", ms);
		cli_svg_text(f, LEFT - 8, y + 4, "end", "fill=\"#333333\"", number);
		for (int i = 2; i < 10 && ms * i < a->y_max; i++)
			fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#eeeeee\"/>\n", LEFT,
				latency_y(a, ms * i), RIGHT, latency_y(a, ms * i));
	}
	for (double rate = 0; rate <= a->x_max; rate += step) {
		double x = x_of(a, rate);

		snprintf(number, sizeof(number), "%g", rate);
		fprintf(f, "<path d=\"M %.1f %d V %d M %.1f %d V %d\" stroke=\"#dddddd\"/>\n", x, TOP, MIDDLE, x, LOWER, BOTTOM);
		cli_svg_text(f, x, BOTTOM + 20, "middle", "fill=\"#333333\"", number);
	}
	for (double rate = step; rate <= a->x_max; rate += step * (a->x_max / step > 4 ? 2 : 1)) {
		snprintf(number, sizeof(number), "%g", rate);
		cli_svg_text(f, LEFT - 8, rate_y(a, rate) + 4, "end", "fill=\"#333333\"", number);
		fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#eeeeee\"/>\n", LEFT, rate_y(a, rate), RIGHT,
			rate_y(a, rate));
	}
	fprintf(f, "<path d=\"M %d %d H %d V %d H %d Z M %d %d H %d V %d H %d Z\" fill=\"none\" stroke=\"#333333\"/>\n", LEFT, TOP,
		RIGHT, MIDDLE, LEFT, LEFT, LOWER, RIGHT, BOTTOM, LEFT);
	cli_svg_text(f, (LEFT + RIGHT) / 2.0, BOTTOM + 46, "middle", "font-size=\"15\"", "offered load, requests a second");
	fprintf(f, "<g transform=\"translate(24 %.1f) rotate(-90)\">\n", (TOP + MIDDLE) / 2.0);
	cli_svg_text(f, 0, 0, "middle", "font-size=\"15\"", "latency, ms (log)");
	fprintf(f, "</g>\n<g transform=\"translate(24 %.1f) rotate(-90)\">\n", (LOWER + BOTTOM) / 2.0);
	cli_svg_text(f, 0, 0, "middle", "font-size=\"15\"", "answered / s");
	fprintf(f, "</g>\n");
}

static void draw_latency(FILE *f, const struct axes *a, const struct load_result *r)
{
	for (size_t q = sizeof(lines) / sizeof(lines[0]); q--;) {
		fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.2\" %s points=\"", lines[q].colour,
			q == 3 ? "stroke-dasharray=\"3 4\"" : "");
		for (uint32_t i = 0; i < r->steps; i++)
			if (r->step[i].search.latency.count)
				fprintf(f, "%.1f,%.1f ", x_of(a, r->step[i].offered),
					latency_y(a, load_quantile_ms(&r->step[i].search, lines[q].quantile)));
		fprintf(f, "\"/>\n");
		for (uint32_t i = 0; i < r->steps; i++)
			if (r->step[i].search.latency.count)
				fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x_of(a, r->step[i].offered),
					latency_y(a, load_quantile_ms(&r->step[i].search, lines[q].quantile)), lines[q].colour);
		fprintf(f, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2.2\"/>\n", RIGHT + 20,
			TOP + 14 + (int)q * 26, RIGHT + 52, TOP + 14 + (int)q * 26, lines[q].colour);
		cli_svg_text(f, RIGHT + 60, TOP + 18 + (double)q * 26, "start", "", lines[q].name);
	}
}

static void draw_achieved(FILE *f, const struct axes *a, const struct load_result *r)
{
	fprintf(f, "<line x1=\"%d\" y1=\"%d\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#999999\" stroke-dasharray=\"3 4\"/>\n", LEFT,
		BOTTOM, x_of(a, a->x_max), rate_y(a, a->x_max));
	fprintf(f, "<polyline fill=\"none\" stroke=\"#009e73\" stroke-width=\"2.2\" points=\"");
	for (uint32_t i = 0; i < r->steps; i++)
		fprintf(f, "%.1f,%.1f ", x_of(a, r->step[i].offered),
			rate_y(a, (double)r->step[i].search.in_time / fmax(r->step[i].seconds, 1e-9)));
	fprintf(f, "\"/>\n");
	for (uint32_t i = 0; i < r->steps; i++)
		fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"#009e73\"/>\n", x_of(a, r->step[i].offered),
			rate_y(a, (double)r->step[i].search.in_time / fmax(r->step[i].seconds, 1e-9)));
	fprintf(f, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#009e73\" stroke-width=\"2.2\"/>\n", RIGHT + 20,
		LOWER + 14, RIGHT + 52, LOWER + 14);
	cli_svg_text(f, RIGHT + 60, LOWER + 18, "start", "", "answered");
	fprintf(f, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#999999\" stroke-dasharray=\"3 4\"/>\n", RIGHT + 20,
		LOWER + 40, RIGHT + 52, LOWER + 40);
	cli_svg_text(f, RIGHT + 60, LOWER + 44, "start", "", "all of them");
}

static void write_plot(FILE *f, const struct load_result *r)
{
	const struct load_options *o = r->options;
	struct axes axes;
	char title[512];

	axes_init(&axes, r);
	fprintf(f,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
		"font-family=\"sans-serif\" "
		"font-size=\"13\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	snprintf(title, sizeof(title), "lineupd: %" PRIu64 " templates of %" PRIu32 " components, exact search",
		 r->gallery.templates, r->gallery.dim);
	cli_svg_text(f, LEFT, 34, "start", "font-size=\"18\"", title);
	snprintf(title, sizeof(title),
		 "open loop, %s arrivals, %" PRIu32 " probe%s a request, k = %" PRIu32 ", %" PRIu32
		 " connections, %g s a step, %g enrolments/s",
		 o->constant ? "constant" : "Poisson", o->batch, o->batch == 1 ? "" : "s", o->k, o->connections, o->seconds,
		 o->enrol_rate);
	cli_svg_text(f, LEFT, 56, "start", "fill=\"#666666\"", title);
	cli_svg_text(f, LEFT, 74, "start", "fill=\"#666666\" font-size=\"12\"", "latency from the time a request was due, sent or not");
	draw_axes(f, &axes);
	draw_latency(f, &axes, r);
	draw_achieved(f, &axes, r);
	fprintf(f, "</svg>\n");
}

int load_plot(struct cli *cli, const struct load_result *result)
{
	const char *path = result->options->plot_path;
	FILE *file = fopen(path, "we");
	bool failed;

	if (!file)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	write_plot(file, result);
	failed = ferror(file);
	errno = 0;
	if (fclose(file) || failed)
		return cli_fail(cli, "%s: writing the plot: %s", path, errno ? strerror(errno) : "an earlier write failed");
	return 0;
}
