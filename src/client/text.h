/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text for people: aligned columns, colour on terminals, lines that fit the terminal's width.
 * Strings of a peer are made harmless on their way out: a control character is printed as '?'.
 */
#ifndef CLIENT_TEXT_H
#define CLIENT_TEXT_H

#include <stdio.h>

#include "base/util.h"

enum text_style { TEXT_PLAIN, TEXT_BOLD, TEXT_DIM, TEXT_GOOD, TEXT_BAD };

struct text_out {
	FILE *file;
	bool is_terminal;
	bool colour;
	unsigned int width; /* columns; 0: no limit */
};

/* Colour where @file is a terminal that has it and NO_COLOR is not set; width only on terminals. */
void text_out_init(struct text_out *out, FILE *file);
void text_print(const struct text_out *out, enum text_style style, const char *fmt, ...)
	_printf_(3, 4);
/* The same and the end of the line. */
void text_line(const struct text_out *out, enum text_style style, const char *fmt, ...)
	_printf_(3, 4);
/* Columns that @s takes up: code points. */
size_t text_columns(const char *s);

#define TEXT_MAX_COLUMNS 8

/* Rows of cells. Zero-initialised plus num_columns it is empty; a row may be shorter. */
struct text_table {
	unsigned int num_columns; /* up to TEXT_MAX_COLUMNS */
	unsigned int right; /* bit N: column N is aligned to the right */
	unsigned int indent; /* spaces in front of each row */
	struct text_cell {
		char *text;
		enum text_style style;
	} * cells; /* num_columns a row */
	size_t num_rows, room;
};

/* Starts a row; the cells that follow fill it from the left. */
void text_table_row(struct text_table *table);
/* The next cell of the row at hand; @column counts from 0. */
void text_table_cell(struct text_table *table, unsigned int column, enum text_style style,
	const char *fmt, ...) _printf_(4, 5);
/* Prints and empties it. The last column of a row is cut where the terminal ends. */
void text_table_print(struct text_table *table, const struct text_out *out);

#endif
