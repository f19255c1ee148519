/* SPDX-License-Identifier: BSD-3-Clause */
/* A code point is taken for one column wide: names and sentences here are. */
#include "client/grid.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/qmp_client.h"

/* What stands for the drawing characters where there is ASCII only. */
static const struct {
	const char *wide;
	char plain;
} stand_ins[] = {
	{ "\u2588", '#' }, /* full block */
	{ "\u2592", '=' }, /* medium shade */
	{ "\u00b7", '.' }, /* middle dot */
	{ "\u2265", '>' }, /* at least */
};

void grid_resize(struct grid *grid, unsigned int rows, unsigned int cols)
{
	grid->rows = rows;
	grid->cols = cols;
	grid->cells = xreallocarray(grid->cells, (size_t)rows * cols + 1, sizeof(*grid->cells));
	grid_clear(grid);
}

void grid_deinit(struct grid *grid)
{
	free(grid->cells);
	*grid = (struct grid){ 0 };
}

void grid_clear(struct grid *grid)
{
	for (size_t i = 0; i < (size_t)grid->rows * grid->cols; i++)
		grid->cells[i] = (struct grid_cell){ .text = " " };
}

/* Bytes of the code point at @s, 1 where it is none. */
static size_t width_of(const char *s)
{
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;

	for (size_t i = 1; i < len; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static void set(const struct grid *grid, struct grid_cell *cell, const char *s, size_t len)
{
	memset(cell->text, 0, sizeof(cell->text));
	memcpy(cell->text, s, len);
	if (len == 1 || !grid->ascii)
		return;
	memset(cell->text, 0, sizeof(cell->text));
	cell->text[0] = '?';
	for (size_t i = 0; i < ARRAY_SIZE(stand_ins); i++)
		if (!strncmp(stand_ins[i].wide, s, len))
			cell->text[0] = stand_ins[i].plain;
}

unsigned int grid_put(struct grid *grid, unsigned int row, unsigned int col, unsigned int max,
	unsigned int style, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	unsigned int end = col + MIN(max, grid->cols > col ? grid->cols - col : 0);
	va_list ap;

	if (row >= grid->rows)
		return col;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	qmp_client_make_printable(text);
	for (const char *s = text; *s && col < end; col++) {
		size_t len = width_of(s);
		struct grid_cell *cell = &grid->cells[(size_t)row * grid->cols + col];

		set(grid, cell, len ? s : "?", len ? len : 1);
		cell->style = (unsigned char)style;
		s += len ? len : 1;
	}
	return col;
}

/* Bytes of @text that fit into @columns: to a space where there is one, else to the last column. */
static size_t fitting(const char *text, unsigned int columns)
{
	size_t at = 0, space = 0;

	for (unsigned int col = 0; text[at] && col < columns; col++) {
		size_t len = width_of(text + at);

		if (text[at] == ' ')
			space = at;
		at += len ? len : 1;
	}
	return !text[at] || text[at] == ' ' || !space ? at : space;
}

unsigned int grid_put_wrapped(struct grid *grid, unsigned int row, unsigned int rows,
	unsigned int indent, unsigned int style, const char *text)
{
	unsigned int col = 0;

	for (; rows && *text; rows--, row++) {
		unsigned int room = grid->cols > col ? grid->cols - col : 1;
		size_t len = rows > 1 ? fitting(text, room) : strlen(text);

		grid_put(grid, row, col, room, style, "%.*s", (int)len, text);
		text += len;
		text += strspn(text, " ");
		col = indent;
	}
	return row;
}

void grid_style_row(struct grid *grid, unsigned int row, unsigned int col, unsigned int style)
{
	for (; row < grid->rows && col < grid->cols; col++)
		grid->cells[(size_t)row * grid->cols + col].style = (unsigned char)style;
}

void grid_reverse_row(struct grid *grid, unsigned int row)
{
	for (unsigned int col = 0; row < grid->rows && col < grid->cols; col++)
		grid->cells[(size_t)row * grid->cols + col].style |= GRID_REVERSE;
}

static unsigned int used_columns(const struct grid *grid, unsigned int row)
{
	unsigned int used = grid->cols;

	while (used && !strcmp(grid->cells[(size_t)row * grid->cols + used - 1].text, " "))
		used--;
	return used;
}

void grid_print(const struct grid *grid, FILE *file)
{
	unsigned int rows = grid->rows;

	while (rows && !used_columns(grid, rows - 1))
		rows--;
	for (unsigned int row = 0; row < rows; row++) {
		unsigned int used = used_columns(grid, row);

		for (unsigned int col = 0; col < used; col++)
			fputs(grid->cells[(size_t)row * grid->cols + col].text, file);
		putc('\n', file);
	}
}
