// SPDX-License-Identifier: MIT
// What the drawings share.
#include "cli.h"

void cli_svg_text(FILE *f, double x, double y, const char *anchor, const char *attributes, const char *string)
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
