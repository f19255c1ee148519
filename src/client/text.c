/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables and colour for terminals. Refuses to pass a peer's control characters on. */
#include "client/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/qmp_client.h"

/* Between two columns. */
#define GAP 2
/* A terminal narrower than this is not adapted to: nothing useful fits. */
#define MIN_WIDTH 20

static const char *const styles[] = {
	[TEXT_PLAIN] = "",
	[TEXT_BOLD] = "\033[1m",
	[TEXT_DIM] = "\033[2m",
	[TEXT_GOOD] = "\033[32m",
	[TEXT_BAD] = "\033[1;31m",
};

void text_out_init(struct text_out *out, FILE *file)
{
	const char *term = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");
	struct winsize size;

	*out = (struct text_out){ .file = file, .is_terminal = isatty(fileno(file)) };
	if (!out->is_terminal)
		return;
	out->colour = !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
	if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col >= MIN_WIDTH)
		out->width = size.ws_col;
}

static void put(const struct text_out *out, enum text_style style, const char *text)
{
	bool colour = out->colour && style != TEXT_PLAIN && *text;

	fprintf(out->file, "%s%s%s", colour ? styles[style] : "", text, colour ? "\033[0m" : "");
}

static void _printf_(3, 0)
	print(const struct text_out *out, enum text_style style, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = xvasprintf(fmt, ap);

	qmp_client_make_printable(text);
	put(out, style, text);
}

void text_print(const struct text_out *out, enum text_style style, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(out, style, fmt, ap);
	va_end(ap);
}

void text_line(const struct text_out *out, enum text_style style, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(out, style, fmt, ap);
	va_end(ap);
	putc('\n', out->file);
}

size_t text_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Cuts @s after @columns, of which the last three become dots. */
static void cut(char *s, size_t columns)
{
	size_t n = 0;

	if (text_columns(s) <= columns)
		return;
	for (; *s; s++) {
		if (((unsigned char)*s & 0xc0) != 0x80 && n++ == columns - 3)
			break;
	}
	/* More than three columns follow, so three bytes and the NUL have room. */
	memcpy(s, "...", sizeof("..."));
}

void text_table_row(struct text_table *table)
{
	assert(table->num_columns <= TEXT_MAX_COLUMNS);
	if (table->num_rows == table->room) {
		table->room = table->room ? 2 * table->room : 16;
		table->cells = xreallocarray(
			table->cells, table->room, table->num_columns * sizeof(*table->cells));
	}
	memset(table->cells + table->num_rows * table->num_columns, 0,
		table->num_columns * sizeof(*table->cells));
	table->num_rows++;
}

void text_table_cell(
	struct text_table *table, unsigned int column, enum text_style style, const char *fmt, ...)
{
	struct text_cell *cell;
	va_list ap;

	assert(table->num_rows && column < table->num_columns);
	cell = table->cells + (table->num_rows - 1) * table->num_columns + column;
	free(cell->text);
	va_start(ap, fmt);
	cell->text = xvasprintf(fmt, ap);
	va_end(ap);
	cell->style = style;
	qmp_client_make_printable(cell->text);
}

static void print_row(const struct text_table *table, const struct text_cell *row,
	const size_t *widths, const struct text_out *out)
{
	unsigned int last = 0;
	size_t used = table->indent, pending = table->indent;

	for (unsigned int i = 0; i < table->num_columns; i++)
		if (row[i].text && *row[i].text)
			last = i;
	for (unsigned int i = 0; i <= last; i++) {
		char *text = row[i].text;
		size_t len, pad;

		if (i == last && text && out->width > used + 3)
			cut(text, out->width - used);
		len = text ? text_columns(text) : 0;
		pad = widths[i] > len ? widths[i] - len : 0;
		if (table->right & 1u << i)
			pending += pad;
		if (len)
			fprintf(out->file, "%*s", (int)pending, "");
		if (len)
			put(out, row[i].style, text);
		pending = (len ? 0 : pending + len) + (table->right & 1u << i ? 0 : pad) + GAP;
		used += widths[i] + GAP;
	}
	putc('\n', out->file);
}

void text_table_print(struct text_table *table, const struct text_out *out)
{
	size_t widths[TEXT_MAX_COLUMNS] = { 0 };

	for (size_t i = 0; i < table->num_rows * table->num_columns; i++) {
		size_t *width = &widths[i % table->num_columns];
		const char *text = table->cells[i].text;

		*width = MAX(*width, text ? text_columns(text) : (size_t)0);
	}
	for (size_t r = 0; r < table->num_rows; r++)
		print_row(table, table->cells + r * table->num_columns, widths, out);
	for (size_t i = 0; i < table->num_rows * table->num_columns; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->num_rows = table->room = 0;
}
