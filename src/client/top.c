/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options, keys and the pace. One thread: it asks, draws, and waits for a key or for the next
 * sample. A monitor that goes away leaves its last numbers on the screen, and is tried again.
 */
#include "client/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/curses.h"
#include "client/top_ui.h"

#define PROGRAM		"ringside top"
#define INTERVAL_MS	1000u
#define MIN_INTERVAL_MS 100u
#define MAX_INTERVAL_MS 60000u
/* A monitor that is slower than that is told of on the screen. */
#define TIMEOUT_S     2
#define ONCE_ROWS     10000 /* --once prints all */
#define ONCE_COLUMNS  80
#define CTRL_L	      0x0c
#define SHIFT_COLUMNS 16 /* a step to the side in text */

struct options {
	struct session session;
	struct cmd_list operands;
	const char *path, *interval;
	unsigned int interval_ms;
	bool once, json;
};

static volatile sig_atomic_t ended_by; /* the signal */

static void on_signal(int number)
{
	ended_by = number;
}

/* Dying of a fault of our own: the terminal is given back first. */
static void on_fault(int number)
{
	curses_close();
	signal(number, SIG_DFL);
	raise(number);
}

/* Without SA_RESTART: whatever waits looks at ended_by then. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	static const int faults[] = { SIGABRT, SIGSEGV, SIGBUS };
	struct sigaction action = { .sa_handler = on_signal }, before;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (!sigaction(faults[i], NULL, &before) && before.sa_handler == SIG_DFL)
			signal(faults[i], on_fault);
}

/* --- options --- */

static int parse_interval(const char *text, unsigned int *ret_ms, struct err *err)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end ||
		!(s >= MIN_INTERVAL_MS / 1000.0 && s <= MAX_INTERVAL_MS / 1000.0))
		return err_set(err, -EINVAL,
			"--interval '%s' is no number of seconds from %g to %g", text,
			MIN_INTERVAL_MS / 1000.0, MAX_INTERVAL_MS / 1000.0);
	*ret_ms = (unsigned int)(s * 1000);
	return 0;
}

#define FIELD(name) offsetof(struct options, name)

static const struct cmd_option options[] = {
	{ "interval", CMD_STRING, FIELD(interval), "S",
		"seconds between two looks, 0.1 to 60 (1)" },
	{ "once", CMD_FLAG, FIELD(once), NULL, "print one screen of two looks as text, and end" },
	{ "json", CMD_FLAG, FIELD(json), NULL,
		"print each look as a line of JSON; with --once one line" },
	{ "", CMD_LIST, FIELD(operands) },
	{ NULL },
};

static const struct cmd_option *const tables[] = { session_options, options, NULL };

static int check(void *base, struct err *err)
{
	struct options *o = base;

	if (o->operands.num > 1)
		return err_set(err, -EINVAL, "expected one PATH at most, got %zu arguments",
			o->operands.num);
	if (o->operands.num)
		o->path = o->operands.values[0];
	o->interval_ms = INTERVAL_MS;
	return o->interval ? parse_interval(o->interval, &o->interval_ms, err) : 0;
}

static const struct session_command command = {
	.program = PROGRAM,
	.tables = tables,
	.usage = "Usage: " PROGRAM " [OPTION]... [PATH]\n"
		 "Shows all virtio queues of a running Ringside, or of QEMU (7.2 or newer), again "
		 "and again:\n"
		 "what is stuck on top. '?' lists the keys. PATH: begin with the ring of that "
		 "device's queue 0.\n",
	.after = "On QEMU it asks only what is harmless there.\n",
	.check = check,
};

/* --- one screen, or lines of JSON --- */

/* False where a signal came instead. */
static bool wait_ms(unsigned int ms)
{
	uint64_t until = now_ns() + ms * NSEC_PER_MSEC;

	while (!ended_by && now_ns() < until)
		poll(NULL, 0, (int)((until - now_ns()) / NSEC_PER_MSEC) + 1);
	return !ended_by;
}

static unsigned int columns(void)
{
	const char *text = getenv("COLUMNS");
	int n = text ? atoi(text) : 0;
	struct winsize size;

	if (n <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		n = size.ws_col;
	return n > 20 && n < 1000 ? (unsigned int)n : ONCE_COLUMNS;
}

static int print_once(struct top_ui *ui, bool json, struct err *err)
{
	top_sample(&ui->model, NULL, 0);
	if (!ui->model.problem.msg[0] && wait_ms(ui->interval_ms))
		top_sample(&ui->model, NULL, 0);
	if (ui->model.problem.msg[0])
		return err_set(err, -EIO, "%s", ui->model.problem.msg);
	if (json) {
		top_json_print(&ui->model);
		return 0;
	}
	top_table_update(ui);
	ui->cursor = SIZE_MAX; /* none */
	grid_resize(&ui->grid, (unsigned int)MIN(ui->num_rows + 8, (size_t)ONCE_ROWS), columns());
	top_once_draw(ui);
	grid_print(&ui->grid, stdout);
	return 0;
}

static int print_json(struct top_ui *ui)
{
	do {
		top_sample(&ui->model, NULL, 0);
		top_json_print(&ui->model);
	} while (!ferror(stdout) && wait_ms(ui->interval_ms));
	return 0;
}

/* --- the screen --- */

/* What a view asks beside the sample, how it is drawn, and how the cursor moves there. */
static const struct {
	int (*ask)(struct top_ui *ui, struct err *err);
	void (*draw)(struct top_ui *ui);
	void (*move)(struct top_ui *ui, long by);
	enum top_view back;
} views[] = {
	[TOP_TABLE] = { NULL, top_table_draw, top_table_move, TOP_TABLE },
	[TOP_DEVICE] = { top_device_ask, top_device_draw, top_page_move, TOP_TABLE },
	[TOP_RING] = { top_ring_ask, top_ring_draw, top_ring_move, TOP_TABLE },
	[TOP_ELEMENT] = { top_element_ask, top_element_draw, top_page_move, TOP_RING },
	[TOP_HELP] = { NULL, top_help_draw, top_page_move, TOP_TABLE },
};

/* What the view at hand shows beside the table. */
static void ask_view(struct top_ui *ui)
{
	struct err err = { { 0 } };

	if (!views[ui->view].ask || !ui->path || !ui->model.session.client)
		return;
	if (views[ui->view].ask(ui, &err) < 0)
		top_model_lost(&ui->model, &err);
}

static void take_sample(struct top_ui *ui)
{
	_cleanup_free_ size_t *wanted = xnew_n(size_t, ui->num_rows + 1);
	size_t num = top_table_wanted(ui, wanted);

	top_sample(&ui->model, wanted, num);
	top_table_update(ui);
}

static void draw(struct top_ui *ui)
{
	unsigned int rows, cols;

	curses_size(&rows, &cols);
	if (rows != ui->grid.rows || cols != ui->grid.cols)
		grid_resize(&ui->grid, rows, cols);
	views[ui->view].draw(ui);
	curses_show(&ui->grid);
}

static void go(struct top_ui *ui, enum top_view view)
{
	if (view == TOP_HELP && ui->view != TOP_HELP)
		ui->before_help = ui->view;
	if (view == TOP_RING && ui->view != TOP_ELEMENT)
		ui->ring.cursor = ui->ring.first = 0;
	ui->view = view;
	top_table_update(ui);
	ui->page.first = ui->page.left = 0;
	top_page_clear(&ui->page);
	ask_view(ui);
}

static void go_back(struct top_ui *ui)
{
	go(ui, ui->view == TOP_HELP ? ui->before_help : views[ui->view].back);
}

static void go_in(struct top_ui *ui)
{
	if (!ui->path)
		return;
	if (ui->view == TOP_TABLE)
		go(ui, ui->queue < 0 ? TOP_DEVICE : TOP_RING);
	else if (ui->view == TOP_RING && ui->ring.num)
		go(ui, TOP_ELEMENT);
}

static long page_length(const struct top_ui *ui)
{
	if (ui->view == TOP_RING)
		return (long)ui->ring.per_line * MAX(ui->ring.lines, 1u);
	return MAX((long)ui->grid.rows - 6, 1);
}

static bool move_sideways(struct top_ui *ui, long by)
{
	if (ui->view != TOP_RING) {
		top_page_shift(ui, by * SHIFT_COLUMNS);
		return true;
	}
	top_ring_move(ui, by);
	ask_view(ui);
	return true;
}

/* True: the key moves a cursor, which has moved. */
static bool move(struct top_ui *ui, int key)
{
	long line = ui->view == TOP_RING ? (long)ui->ring.per_line : 1, by;

	switch (key) {
	case CURSES_UP:
	case 'k': by = -line; break;
	case CURSES_DOWN:
	case 'j': by = line; break;
	case CURSES_LEFT:
	case CURSES_RIGHT: return move_sideways(ui, key == CURSES_LEFT ? -1 : 1);
	case CURSES_PAGE_UP: by = -page_length(ui); break;
	case CURSES_PAGE_DOWN: by = page_length(ui); break;
	case CURSES_HOME: by = -INT32_MAX; break;
	case CURSES_END: by = INT32_MAX; break;
	default: return false;
	}
	views[ui->view].move(ui, by);
	/* A part of the ring that was not on the screen may be now. */
	if (ui->view == TOP_RING)
		ask_view(ui);
	return true;
}

static void set_pace(struct top_ui *ui, bool faster)
{
	ui->interval_ms = faster ? MAX(ui->interval_ms / 2, MIN_INTERVAL_MS)
				 : MIN(ui->interval_ms * 2, MAX_INTERVAL_MS);
}

static void set_order(struct top_ui *ui, bool reverse)
{
	if (reverse)
		ui->reverse = !ui->reverse;
	else
		ui->sort = (ui->sort + 1) % TOP_NUM_SORTS;
	ui->cursor = ui->first = 0;
	top_table_update(ui);
}

static void set_tab(struct top_ui *ui, unsigned int tab)
{
	if (ui->view != TOP_DEVICE)
		return;
	ui->tab = tab % TOP_NUM_TABS;
	go(ui, TOP_DEVICE);
}

/* False: quit. */
static bool handle_key(struct top_ui *ui, int key)
{
	if (move(ui, key))
		return true;
	switch (key) {
	case 'q':
	case CURSES_GONE: return false;
	case CURSES_ENTER: go_in(ui); break;
	case CURSES_BACK: go_back(ui); break;
	case 'd':
		if (ui->path)
			go(ui, TOP_DEVICE);
		break;
	case '?':
	case 'h':
	case CURSES_HELP: go(ui, TOP_HELP); break;
	case '\t': set_tab(ui, ui->tab + 1); break;
	case '1':
	case '2':
	case '3':
	case '4':
	case '5': set_tab(ui, (unsigned int)key - '1'); break;
	case 's':
	case 'r': set_order(ui, key == 'r'); break;
	case 'a':
		ui->show_all = !ui->show_all;
		top_table_update(ui);
		break;
	case 'p':
	case ' ': ui->paused = !ui->paused; break;
	case '+':
	case '-': set_pace(ui, key == '+'); break;
	case CTRL_L: curses_redraw(); break;
	case CURSES_RESIZE: ask_view(ui); break;
	default: break;
	}
	return true;
}

static void run_screen(struct top_ui *ui)
{
	uint64_t next = now_ns();

	while (!ended_by) {
		uint64_t now = now_ns();
		int wait;

		if (now >= next) {
			bool first = !ui->num_rows;

			if (!ui->paused)
				take_sample(ui);
			/* Now that the devices are known, those on the screen can be asked. */
			if (first && !ui->model.problem.msg[0])
				take_sample(ui);
			if (!ui->paused)
				ask_view(ui);
			next = now_ns() + ui->interval_ms * NSEC_PER_MSEC;
		}
		draw(ui);
		now = now_ns();
		wait = next > now ? (int)((next - now) / NSEC_PER_MSEC) + 1 : 0;
		if (!handle_key(ui, curses_key(wait)))
			return;
		/* A pace that was just made faster counts from now on. */
		next = MIN(next, now_ns() + ui->interval_ms * NSEC_PER_MSEC);
	}
}

static int choose_path(struct top_ui *ui, const char *word, struct err *err)
{
	int r = session_resolve(&ui->model.session, word, &ui->path, err);

	ui->view = TOP_RING;
	ui->queue = 0;
	return r;
}

static int run(struct top_ui *ui, const struct options *o, struct err *err)
{
	int r = top_connect(&ui->model, err);

	/* From here on a failure is no reason to end. */
	if (r == 0 && o->once)
		return print_once(ui, o->json, err);
	if (r == 0 && o->json)
		return print_json(ui);
	if (r == 0 && o->path)
		r = choose_path(ui, o->path, err);
	if (r == 0)
		r = curses_open(&ui->grid.ascii, err);
	if (r < 0)
		return r;
	ui->model.session.quiet = true;
	run_screen(ui);
	curses_close();
	return 0;
}

static int show(const struct options *o)
{
	struct top_ui ui = { .interval_ms = o->interval_ms, .model.session = o->session };
	struct err err = { { 0 } };
	int r;

	catch_signals();
	ui.model.session.timeout_s = TIMEOUT_S;
	r = run(&ui, o, &err);
	curses_close();
	top_ui_deinit(&ui);
	r = session_finish(PROGRAM, r, &err);
	/* A signal that ends us is seen by who started us. */
	if (ended_by && ended_by != SIGINT) {
		signal((int)ended_by, SIG_DFL);
		raise((int)ended_by);
	}
	return r;
}

int client_top_main(int argc, char **argv)
{
	struct options o = { 0 };
	int r;

	if (session_parse(&command, argc, argv, &o, &r))
		r = show(&o);
	cmd_list_free(&o.operands);
	return r;
}
