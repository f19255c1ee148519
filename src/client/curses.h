/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A terminal to draw on, by ncurses, which is loaded when the first one is opened: nothing else in
 * this program needs it. One at a time.
 */
#ifndef CLIENT_CURSES_H
#define CLIENT_CURSES_H

#include "base/err.h"
#include "client/grid.h"

/* Keys that are no character; a character is itself. */
enum curses_key {
	CURSES_NONE = -1, /* the time is over */
	CURSES_UP = 0x1000,
	CURSES_DOWN,
	CURSES_LEFT,
	CURSES_RIGHT,
	CURSES_PAGE_UP,
	CURSES_PAGE_DOWN,
	CURSES_HOME,
	CURSES_END,
	CURSES_ENTER,
	CURSES_BACK, /* escape, backspace */
	CURSES_HELP,
	CURSES_RESIZE,
	CURSES_GONE, /* the terminal is */
};

/*
 * Takes the terminal of standard output over. -ENOENT: no ncurses; -ENOTTY: no terminal, or one
 * that cannot be drawn on; with a sentence. *ret_ascii: it has no UTF-8.
 */
int curses_open(bool *ret_ascii, struct err *err);
/* Gives the terminal back as it was. May be called again, and without curses_open(). */
void curses_close(void);

void curses_size(unsigned int *ret_rows, unsigned int *ret_cols);
void curses_show(const struct grid *grid);
/* Draws everything anew at the next curses_show(). */
void curses_redraw(void);
/* Waits up to @timeout_ms for a key. */
int curses_key(int timeout_ms);

#endif
