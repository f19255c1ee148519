/* SPDX-License-Identifier: BSD-3-Clause */
/* Every function of ncurses that is used is a row of a table, found by name at the first use. */
#include "client/curses.h"

#include <dlfcn.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NCURSES_NOMACROS
#define NCURSES_WIDECHAR 1
#include <curses.h>

#define LIBRARY	   "libncursesw.so.6"
#define ESCAPE	   27
#define ESCAPE_MS  50 /* a key that begins with ESC comes at once */
#define COLOR_NONE (-1)

static struct {
	void *library;
	bool open, colour;
	WINDOW **window; /* ncurses' stdscr */
	SCREEN *screen;
	typeof(newterm) *newterm;
	typeof(delscreen) *delscreen;
	typeof(endwin) *endwin;
	typeof(cbreak) *cbreak;
	typeof(noecho) *noecho;
	typeof(keypad) *keypad;
	typeof(curs_set) *curs_set;
	typeof(has_colors) *has_colors;
	typeof(start_color) *start_color;
	typeof(use_default_colors) *use_default_colors;
	typeof(init_pair) *init_pair;
	typeof(wtimeout) *wtimeout;
	typeof(wgetch) *wgetch;
	typeof(wmove) *wmove;
	typeof(waddnstr) *waddnstr;
	typeof(wattr_set) *wattr_set;
	typeof(wrefresh) *wrefresh;
	typeof(clearok) *clearok;
	typeof(getmaxx) *getmaxx;
	typeof(getmaxy) *getmaxy;
	typeof(set_escdelay) *set_escdelay;
	typeof(tigetstr) *tigetstr;
} nc;

/* The terminal changed its size, perhaps there and back: what it shows now is not known. */
static volatile sig_atomic_t resized;
static struct sigaction library_resized;

static void on_resized(int number)
{
	resized = 1;
	if (library_resized.sa_handler != SIG_IGN && library_resized.sa_handler != SIG_DFL)
		library_resized.sa_handler(number);
}

/* Before the library's own handler. */
static void catch_resizing(void)
{
	struct sigaction action = { .sa_handler = on_resized };

	if (!sigaction(SIGWINCH, NULL, &library_resized) &&
		library_resized.sa_handler != on_resized)
		sigaction(SIGWINCH, &action, NULL);
}

#define SYMBOL(name)                     \
	{                                \
#name, (void **)&nc.name \
	}

static const struct {
	const char *name;
	void **to;
} symbols[] = {
	SYMBOL(newterm),
	SYMBOL(delscreen),
	SYMBOL(endwin),
	SYMBOL(cbreak),
	SYMBOL(noecho),
	SYMBOL(keypad),
	SYMBOL(curs_set),
	SYMBOL(has_colors),
	SYMBOL(start_color),
	SYMBOL(use_default_colors),
	SYMBOL(init_pair),
	SYMBOL(wtimeout),
	SYMBOL(wgetch),
	SYMBOL(wmove),
	SYMBOL(waddnstr),
	SYMBOL(wattr_set),
	SYMBOL(wrefresh),
	SYMBOL(clearok),
	SYMBOL(getmaxx),
	SYMBOL(getmaxy),
	SYMBOL(set_escdelay),
	SYMBOL(tigetstr),
	{ "stdscr", (void **)&nc.window },
};

static const struct {
	short colour;
	attr_t attributes;
} styles[GRID_NUM_STYLES] = {
	[GRID_PLAIN] = { COLOR_NONE, A_NORMAL },
	[GRID_BOLD] = { COLOR_NONE, A_BOLD },
	[GRID_DIM] = { COLOR_NONE, A_DIM },
	[GRID_GOOD] = { COLOR_GREEN, A_NORMAL },
	[GRID_NOTE] = { COLOR_YELLOW, A_NORMAL },
	[GRID_BAD] = { COLOR_RED, A_BOLD },
};

static const struct {
	int theirs, ours;
} keys[] = {
	{ KEY_UP, CURSES_UP },
	{ KEY_DOWN, CURSES_DOWN },
	{ KEY_LEFT, CURSES_LEFT },
	{ KEY_RIGHT, CURSES_RIGHT },
	{ KEY_PPAGE, CURSES_PAGE_UP },
	{ KEY_NPAGE, CURSES_PAGE_DOWN },
	{ KEY_HOME, CURSES_HOME },
	{ KEY_END, CURSES_END },
	{ KEY_ENTER, CURSES_ENTER },
	{ '\r', CURSES_ENTER },
	{ '\n', CURSES_ENTER },
	{ KEY_BACKSPACE, CURSES_BACK },
	{ '\b', CURSES_BACK },
	{ 0x7f, CURSES_BACK },
	{ ESCAPE, CURSES_BACK },
	{ KEY_F(1), CURSES_HELP },
	{ KEY_RESIZE, CURSES_RESIZE },
};

static int load(struct err *err)
{
	if (nc.library)
		return 0;
	nc.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!nc.library)
		return err_set(err, -ENOENT,
			"drawing on a terminal needs ncurses (%s): %s; 'ringside top --once' does "
			"without",
			LIBRARY, dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		*symbols[i].to = dlsym(nc.library, symbols[i].name);
		if (*symbols[i].to)
			continue;
		dlclose(nc.library);
		nc.library = NULL;
		return err_set(err, -ENOENT, "%s has no function '%s'", LIBRARY, symbols[i].name);
	}
	return 0;
}

static bool wants_colour(void)
{
	const char *no_color = getenv("NO_COLOR");

	return !(no_color && *no_color) && nc.has_colors() && nc.start_color() == OK &&
	       nc.use_default_colors() == OK;
}

/* Without a way to move the cursor nothing can be drawn. */
static bool can_draw(void)
{
	char capability[] = "cup";
	const char *move = nc.tigetstr(capability);

	return move && move != (char *)-1;
}

int curses_open(bool *ret_ascii, struct err *err)
{
	const char *term = getenv("TERM");
	int r;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(err, -ENOTTY,
			"standard input and output are no terminal; 'ringside top --once' prints "
			"one screen");
	r = load(err);
	if (r < 0)
		return r;
	setlocale(LC_CTYPE, "");
	*ret_ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	nc.screen = nc.newterm(NULL, stdout, stdin);
	nc.open = nc.screen;
	if (!nc.screen || !can_draw()) {
		curses_close();
		return err_set(err, -ENOTTY,
			"a terminal of type '%s' cannot be drawn on; 'ringside top --once' prints "
			"one screen",
			term ? term : "");
	}
	nc.colour = wants_colour();
	for (short i = 0; nc.colour && i < GRID_NUM_STYLES; i++)
		nc.init_pair((short)(i + 1), styles[i].colour, COLOR_NONE);
	nc.cbreak();
	nc.noecho();
	nc.keypad(*nc.window, true);
	nc.set_escdelay(ESCAPE_MS);
	nc.curs_set(0);
	catch_resizing();
	return 0;
}

void curses_close(void)
{
	if (!nc.open)
		return;
	nc.open = false;
	nc.endwin();
	nc.delscreen(nc.screen);
	nc.screen = NULL;
}

void curses_size(unsigned int *ret_rows, unsigned int *ret_cols)
{
	*ret_rows = (unsigned int)MAX(nc.getmaxy(*nc.window), 1);
	*ret_cols = (unsigned int)MAX(nc.getmaxx(*nc.window), 1);
}

static void set_style(unsigned int style)
{
	unsigned int base = style & ~(unsigned int)GRID_REVERSE;
	attr_t attributes = styles[base].attributes | (style & GRID_REVERSE ? A_REVERSE : 0);

	nc.wattr_set(*nc.window, attributes, (short)(nc.colour ? base + 1 : 0), NULL);
}

void curses_show(const struct grid *grid)
{
	if (resized) {
		resized = 0;
		curses_redraw();
	}
	for (unsigned int row = 0; row < grid->rows; row++) {
		const struct grid_cell *cells = &grid->cells[(size_t)row * grid->cols];

		nc.wmove(*nc.window, (int)row, 0);
		for (unsigned int col = 0; col < grid->cols; col++) {
			if (!col || cells[col].style != cells[col - 1].style)
				set_style(cells[col].style);
			nc.waddnstr(*nc.window, cells[col].text, -1);
		}
	}
	nc.wrefresh(*nc.window);
}

void curses_redraw(void)
{
	nc.clearok(*nc.window, true);
}

int curses_key(int timeout_ms)
{
	int key;

	nc.wtimeout(*nc.window, timeout_ms);
	errno = 0;
	key = nc.wgetch(*nc.window);
	if (key == ERR)
		return errno == EIO || !isatty(STDIN_FILENO) ? CURSES_GONE : CURSES_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].theirs == key)
			return keys[i].ours;
	return key < 0x100 ? key : CURSES_NONE;
}
