/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A screen of cells in memory: whatever is drawn is drawn here, and then shown on a terminal or
 * printed as text. What lies outside is cut off, control characters become '?', and where the
 * terminal has ASCII only, so do all others that have no stand-in.
 */
#ifndef CLIENT_GRID_H
#define CLIENT_GRID_H

#include <stdio.h>

#include "base/util.h"

enum grid_style {
	GRID_PLAIN,
	GRID_BOLD,
	GRID_DIM,
	GRID_GOOD,
	GRID_NOTE,
	GRID_BAD,
	GRID_NUM_STYLES,
	GRID_REVERSE = 0x10, /* with one of them: a title, a cursor, an alarm */
};

struct grid_cell {
	char text[5]; /* one code point of UTF-8 */
	unsigned char style;
};

struct grid {
	unsigned int rows, cols;
	bool ascii;
	struct grid_cell *cells;
};

/* Makes it of that size, empty. The first call is on a zeroed one. */
void grid_resize(struct grid *grid, unsigned int rows, unsigned int cols);
void grid_deinit(struct grid *grid);
void grid_clear(struct grid *grid);
/* Writes at a place, at most @max columns; returns the column behind. */
unsigned int grid_put(struct grid *grid, unsigned int row, unsigned int col, unsigned int max,
	unsigned int style, const char *fmt, ...) _printf_(6, 7);
/*
 * Writes @text at the start of a row and on up to @rows of them, broken at its spaces; what follows
 * the first row begins at @indent. Returns the row behind.
 */
unsigned int grid_put_wrapped(struct grid *grid, unsigned int row, unsigned int rows,
	unsigned int indent, unsigned int style, const char *text);
/* Gives the rest of a row, from @col on, a style. */
void grid_style_row(struct grid *grid, unsigned int row, unsigned int col, unsigned int style);
/* Adds GRID_REVERSE to what a row has. */
void grid_reverse_row(struct grid *grid, unsigned int row);
/* As plain text, without empty rows at the end. */
void grid_print(const struct grid *grid, FILE *file);

#endif
