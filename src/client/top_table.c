/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of queues. Trouble comes first unless the user wants another order; what no driver has
 * set up is counted, not listed.
 */
#include "client/top_ui.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/human.h"

#define ROLE_MIN_COLUMNS 100 /* a screen that wide has room for roles and sentences */
#define DETAIL_ROWS	 4 /* of the chosen queue; half of them on a low screen */
#define LOW_ROWS	 20

unsigned int top_style(enum top_severity severity)
{
	static const unsigned int styles[] = { [TOP_UNKNOWN] = GRID_DIM,
		[TOP_OK] = GRID_GOOD,
		[TOP_NOTED] = GRID_NOTE,
		[TOP_STUCK] = GRID_BAD };

	return styles[severity];
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[] = { [TOP_BY_TROUBLE] = "trouble",
		[TOP_BY_NAME] = "name",
		[TOP_BY_RATE] = "rate",
		[TOP_BY_IN_FLIGHT] = "in flight",
		[TOP_BY_AGE] = "age" };

	return names[sort];
}

static struct top_queue *queue_of(const struct top_model *model, const struct top_row *row)
{
	struct top_device *device = &model->devices[row->device];

	return row->queue < 0 ? &device->self : &device->queues[row->queue];
}

/* --- rows and their order --- */

static bool is_hidden(const struct top_queue *queue)
{
	return queue->asked && queue->severity <= TOP_OK && queue->verdict &&
	       !strcmp(queue->verdict, "not-set-up");
}

static int64_t sort_value(const struct top_queue *queue, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_TROUBLE: return queue->severity;
	case TOP_BY_RATE: return queue->rate.value;
	case TOP_BY_IN_FLIGHT: return queue->in_flight;
	case TOP_BY_AGE: return queue->oldest_ns.value;
	default: return 0;
	}
}

static int compare_rows(const void *a, const void *b, void *opaque)
{
	const struct top_ui *ui = opaque;
	const struct top_row *x = a, *y = b;
	const struct top_device *dx = &ui->model.devices[x->device];
	const struct top_device *dy = &ui->model.devices[y->device];
	int64_t vx = sort_value(queue_of(&ui->model, x), ui->sort);
	int64_t vy = sort_value(queue_of(&ui->model, y), ui->sort);
	int order = vx > vy ? -1 : vx < vy;

	if (!order && ui->sort == TOP_BY_NAME)
		order = strverscmp(dx->name, dy->name);
	if (order)
		return ui->reverse ? -order : order;
	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->queue < y->queue ? -1 : x->queue > y->queue;
}

static void add_row(struct top_ui *ui, size_t device, int queue)
{
	struct top_row row = { .device = device, .queue = queue };

	if (!ui->show_all && is_hidden(queue_of(&ui->model, &row)))
		ui->num_hidden++;
	else
		ui->rows[ui->num_rows++] = row;
}

static void choose(struct top_ui *ui)
{
	const struct top_row *row = &ui->rows[ui->cursor];

	if (!ui->num_rows)
		return;
	top_set_text(&ui->path, ui->model.devices[row->device].path);
	ui->queue = row->queue;
}

static void find_cursor(struct top_ui *ui)
{
	size_t device = SIZE_MAX;

	for (size_t i = 0; ui->path && i < ui->num_rows; i++) {
		const struct top_row *row = &ui->rows[i];

		if (strcmp(ui->model.devices[row->device].path, ui->path) != 0)
			continue;
		if (row->queue == ui->queue) {
			ui->cursor = i;
			return;
		}
		device = MIN(device, i);
	}
	/* What another screen shows stays chosen, even if it is gone: that screen says so. */
	if (ui->view != TOP_TABLE && device == SIZE_MAX && ui->path)
		return;
	/* The queue is gone, or is no row any more: its device, else whatever is there now. */
	ui->cursor = device < ui->num_rows ? device
		     : ui->num_rows	   ? MIN(ui->cursor, ui->num_rows - 1)
					   : 0;
	choose(ui);
}

void top_table_update(struct top_ui *ui)
{
	/* A cursor that nobody has moved stays on top, where the trouble is. */
	bool on_top = ui->view == TOP_TABLE && !ui->cursor;
	size_t room = 0;

	for (size_t i = 0; i < ui->model.num_devices; i++)
		room += MAX(ui->model.devices[i].num_queues, 1u);
	ui->rows = xreallocarray(ui->rows, room + 1, sizeof(*ui->rows));
	ui->num_rows = ui->num_hidden = 0;
	for (size_t i = 0; i < ui->model.num_devices; i++) {
		for (unsigned int q = 0; q < ui->model.devices[i].num_queues; q++)
			add_row(ui, i, (int)q);
		if (!ui->model.devices[i].num_queues)
			add_row(ui, i, -1);
	}
	qsort_r(ui->rows, ui->num_rows, sizeof(*ui->rows), compare_rows, ui);
	if (on_top) {
		ui->cursor = 0;
		choose(ui);
	} else {
		find_cursor(ui);
	}
}

void top_table_move(struct top_ui *ui, long by)
{
	long to = (long)ui->cursor + by;

	if (!ui->num_rows)
		return;
	ui->cursor = (size_t)MAX(0, MIN(to, (long)ui->num_rows - 1));
	choose(ui);
}

size_t top_table_wanted(struct top_ui *ui, size_t *ret)
{
	size_t num = 0;

	for (size_t i = 0; i < ui->num_rows; i++) {
		bool shown = i >= ui->first && i < ui->first + MAX(ui->num_shown, (size_t)1);
		const struct top_row *row = &ui->rows[i];

		queue_of(&ui->model, row)->on_screen = shown;
		for (size_t k = 0; shown && k < num; k++)
			shown = ret[k] != row->device;
		if (shown)
			ret[num++] = row->device;
	}
	return num;
}

struct top_device *top_chosen(struct top_ui *ui, struct top_queue **ret_queue)
{
	for (size_t i = 0; ui->path && i < ui->model.num_devices; i++) {
		struct top_device *device = &ui->model.devices[i];

		if (strcmp(device->path, ui->path) != 0)
			continue;
		*ret_queue = ui->queue >= 0 && (unsigned int)ui->queue < device->num_queues
				     ? &device->queues[ui->queue]
				     : &device->self;
		return device;
	}
	*ret_queue = NULL;
	return NULL;
}

/* --- drawing --- */

static void draw_counts(struct top_ui *ui, unsigned int row)
{
	size_t by_severity[4] = { 0 };
	double rate = 0;
	int64_t in_flight = 0;
	unsigned int col = 0;
	char buf[HUMAN_BYTES];

	for (size_t i = 0; i < ui->num_rows; i++) {
		const struct top_queue *queue = queue_of(&ui->model, &ui->rows[i]);

		by_severity[queue->severity]++;
		rate += (double)MAX(queue->rate.value, INT64_C(0));
		in_flight += MAX(queue->in_flight, INT64_C(0));
	}
	col = grid_put(&ui->grid, row, col, 99,
		by_severity[TOP_STUCK] ? GRID_BAD | GRID_REVERSE : GRID_GOOD, " %zu stuck ",
		by_severity[TOP_STUCK]);
	col = grid_put(&ui->grid, row, col, 99, by_severity[TOP_NOTED] ? GRID_NOTE : GRID_PLAIN,
		"  %zu to note", by_severity[TOP_NOTED]);
	col = grid_put(&ui->grid, row, col, 99, GRID_PLAIN, "  %zu ok", by_severity[TOP_OK]);
	if (by_severity[TOP_UNKNOWN])
		col = grid_put(&ui->grid, row, col, 99, GRID_DIM, "  %zu unseen",
			by_severity[TOP_UNKNOWN]);
	grid_put(&ui->grid, row, col, 99, GRID_PLAIN, "  of %zu device%s  %s req/s  %lld in flight",
		ui->model.num_devices, ui->model.num_devices == 1 ? "" : "s",
		human_count(buf, rate), (long long)in_flight);
}

/* Why there is nothing new, and for how long. */
static void draw_problem(struct top_ui *ui, unsigned int row)
{
	char age[HUMAN_BYTES];

	grid_put(&ui->grid, row, 0, ui->grid.cols, GRID_BAD | GRID_REVERSE,
		" no answer for %s, trying again: %s",
		human_time(age, now_ns() - ui->model.problem_ns), ui->model.problem.msg);
}

void top_draw_frame(struct top_ui *ui, const char *keys)
{
	struct grid *g = &ui->grid;
	const struct top_model *m = &ui->model;
	_cleanup_free_ char *right = NULL;
	time_t now = time(NULL);
	struct tm tm;
	char clock[16];

	grid_clear(g);
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	right = xasprintf(" %severy %.3gs  %s ", ui->paused ? "PAUSED  " : "",
		ui->interval_ms / 1000.0, clock);
	grid_put(g, 0, 0, g->cols, GRID_BOLD, " ringside top  %s%s%s  %s",
		m->server ? m->server : "", m->vm_name ? "  " : "", m->vm_name ? m->vm_name : "",
		m->vm_status ? m->vm_status : "");
	if (g->cols > strlen(right))
		grid_put(g, 0, g->cols - (unsigned int)strlen(right), g->cols, GRID_BOLD, "%s",
			right);
	grid_style_row(g, 0, 0, GRID_BOLD | GRID_REVERSE);
	if (m->problem.msg[0])
		draw_problem(ui, 1);
	else
		draw_counts(ui, 1);
	if (keys && g->rows > TOP_TITLE_ROWS)
		grid_put(g, g->rows - 1, 0, g->cols, GRID_DIM, "%s", keys);
}

/* The columns of the table, from the left; the verdict has the rest. */
struct columns {
	unsigned int device, queue, role, bar, size, flight, oldest, rate, latency, verdict;
};

static struct columns lay_out(const struct top_ui *ui)
{
	unsigned int width = ui->grid.cols, name = 8;
	bool wide = width >= ROLE_MIN_COLUMNS;
	struct columns c = { 0 };

	for (size_t i = 0; i < ui->model.num_devices; i++)
		name = MAX(name, (unsigned int)MIN(strlen(ui->model.devices[i].name), (size_t)99));
	c.device = 1;
	c.queue = c.device + MIN(name, wide ? 24u : 14u) + 1;
	c.role = c.queue + 4;
	c.bar = c.role + (wide ? 12 : 0);
	c.size = c.bar + (wide ? 16 : 8) + 1;
	c.flight = c.size + 6;
	c.oldest = c.flight + 6;
	c.rate = c.oldest + 8;
	c.latency = c.rate + 7;
	c.verdict = c.latency + 8;
	return c;
}

static void draw_titles(struct top_ui *ui, const struct columns *c, unsigned int row)
{
	struct grid *g = &ui->grid;
	unsigned int cols = g->cols;

	grid_put(g, row, c->device, cols, GRID_BOLD, "DEVICE");
	grid_put(g, row, c->queue, cols, GRID_BOLD, "  Q");
	if (c->bar > c->role)
		grid_put(g, row, c->role, cols, GRID_BOLD, "ROLE");
	grid_put(g, row, c->bar, cols, GRID_BOLD, "DEPTH");
	grid_put(g, row, c->size, cols, GRID_BOLD, " SIZE");
	grid_put(g, row, c->flight, cols, GRID_BOLD, "INFLY");
	grid_put(g, row, c->oldest, cols, GRID_BOLD, " OLDEST");
	grid_put(g, row, c->rate, cols, GRID_BOLD, " REQ/S");
	grid_put(g, row, c->latency, cols, GRID_BOLD, "LATENCY");
	grid_put(g, row, c->verdict, cols, GRID_BOLD, "VERDICT");
}

/* In flight, then waiting, of the ring's size: each at least one cell where it is not nothing. */
static void draw_bar(struct top_ui *ui, const struct top_queue *queue, unsigned int row,
	unsigned int col, unsigned int width)
{
	int64_t size = queue->size, flight = MAX(queue->in_flight, INT64_C(0));
	int64_t waiting = MAX(queue->waiting, INT64_C(0));
	unsigned int flight_style =
		top_style(queue->severity == TOP_UNKNOWN ? TOP_OK : queue->severity);
	int64_t a, b;

	if (size <= 0)
		return;
	a = MIN((flight * width + size - 1) / size, (int64_t)width);
	b = MIN((waiting * width + size - 1) / size, (int64_t)width - a);
	for (int64_t i = 0; i < width; i++)
		grid_put(&ui->grid, row, col + (unsigned int)i, 1,
			i < a	    ? flight_style
			: i < a + b ? GRID_PLAIN
				    : GRID_DIM,
			"%s",
			i < a	    ? "\u2588"
			: i < a + b ? "\u2592"
				    : "\u00b7");
}

static void draw_number(struct top_ui *ui, unsigned int row, unsigned int col, unsigned int width,
	unsigned int style, const char *text, const char *mark)
{
	unsigned int len = (unsigned int)strlen(text) + (*mark ? 1 : 0);

	grid_put(&ui->grid, row, col + (len < width ? width - len : 0), width, style, "%s%s", mark,
		text);
}

static void draw_numbers(
	struct top_ui *ui, const struct columns *c, const struct top_queue *queue, unsigned int row)
{
	char buf[HUMAN_BYTES];
	unsigned int age = queue->severity == TOP_STUCK ? GRID_BAD : GRID_PLAIN;

	if (queue->size >= 0)
		draw_number(
			ui, row, c->size, 5, GRID_DIM, human_count(buf, (double)queue->size), "");
	if (queue->in_flight >= 0)
		draw_number(ui, row, c->flight, 5, GRID_PLAIN,
			human_count(buf, (double)queue->in_flight), "");
	if (queue->oldest_ns.value >= 0)
		draw_number(ui, row, c->oldest, 7, age,
			human_time(buf, (uint64_t)queue->oldest_ns.value),
			queue->oldest_ns.rough ? "\u2265" : "");
	if (queue->rate.value >= 0)
		draw_number(ui, row, c->rate, 6, queue->rate.value ? GRID_BOLD : GRID_DIM,
			human_count(buf, (double)queue->rate.value), queue->rate.rough ? "~" : "");
	if (queue->latency_ns >= 0)
		draw_number(ui, row, c->latency, 7, GRID_PLAIN,
			human_time(buf, (uint64_t)queue->latency_ns), "<");
}

static void draw_row(struct top_ui *ui, const struct columns *c, size_t index, unsigned int row)
{
	const struct top_device *device = &ui->model.devices[ui->rows[index].device];
	const struct top_queue *queue = queue_of(&ui->model, &ui->rows[index]);
	unsigned int style = top_style(queue->severity), col = c->verdict;
	bool wide = c->bar > c->role;

	/* Also where there is no colour. */
	if (queue->severity == TOP_STUCK)
		grid_put(&ui->grid, row, 0, 1, GRID_BAD | GRID_REVERSE, "!");
	grid_put(&ui->grid, row, c->device, c->queue - c->device - 1,
		queue->severity == TOP_STUCK ? GRID_BAD : GRID_PLAIN, "%s", device->name);
	if (ui->rows[index].queue >= 0)
		grid_put(&ui->grid, row, c->queue, 3, GRID_PLAIN, "%3d", ui->rows[index].queue);
	if (wide)
		grid_put(&ui->grid, row, c->role, c->bar - c->role - 1, GRID_DIM, "%s",
			queue->role ? queue->role : "");
	draw_bar(ui, queue, row, c->bar, c->size - c->bar - 1);
	draw_numbers(ui, c, queue, row);
	col = grid_put(&ui->grid, row, col, 99, style, "%s", queue->verdict ? queue->verdict : "");
	if (wide && queue->sentence)
		grid_put(&ui->grid, row, col + 2, ui->grid.cols, GRID_PLAIN, "%s", queue->sentence);
	if (index == ui->cursor)
		grid_reverse_row(&ui->grid, row);
}

/* The chosen queue's sentence and advice on @rows rows. */
static void draw_details(struct top_ui *ui, unsigned int row, unsigned int rows)
{
	struct top_queue *queue;
	const struct top_device *device = top_chosen(ui, &queue);
	_cleanup_free_ char *text = NULL, *advice = NULL;

	if (!device)
		return;
	text = xasprintf("%s%s%s: %s", device->name, queue->role ? " " : "",
		queue->role ? queue->role : "",
		queue->sentence	 ? queue->sentence
		: queue->verdict ? queue->verdict
				 : "not asked yet");
	grid_put_wrapped(&ui->grid, row, rows - rows / 2, 2, top_style(queue->severity), text);
	if (!queue->advice)
		return;
	advice = xasprintf("  do: %s", queue->advice);
	grid_put_wrapped(&ui->grid, row + rows - rows / 2, rows / 2, 6, GRID_PLAIN, advice);
}

void top_table_draw(struct top_ui *ui)
{
	static const char keys[] =
		"Enter ring  d device  s sort  r reverse  a all  p pause  +- pace  "
		"? help  q quit";
	struct columns c = lay_out(ui);
	unsigned int top = TOP_TITLE_ROWS + 1, rows = ui->grid.rows;
	unsigned int details = rows < LOW_ROWS ? DETAIL_ROWS / 2 : DETAIL_ROWS;
	unsigned int room = rows > top + details + 1 ? rows - top - details - 1 : 1;

	top_draw_frame(ui, keys);
	ui->num_shown = MIN((size_t)room, ui->num_rows);
	if (ui->cursor < ui->first)
		ui->first = ui->cursor;
	if (ui->cursor >= ui->first + room)
		ui->first = ui->cursor - room + 1;
	ui->first = MIN(ui->first, ui->num_rows - ui->num_shown);
	draw_titles(ui, &c, TOP_TITLE_ROWS);
	for (size_t i = 0; i < ui->num_shown; i++)
		draw_row(ui, &c, ui->first + i, top + (unsigned int)i);
	if (!ui->num_rows && ui->model.sampled_ns)
		grid_put(&ui->grid, top, 1, 99, GRID_PLAIN, "no virtio devices");
	if (rows > top + details + 1)
		draw_details(ui, rows - 1 - details, details);
	if (ui->num_hidden && ui->num_shown < room)
		grid_put(&ui->grid, top + (unsigned int)ui->num_shown, 1, 99, GRID_DIM,
			"%zu queue%s that no driver has set up ('a' shows all)", ui->num_hidden,
			ui->num_hidden == 1 ? "" : "s");
}

void top_once_draw(struct top_ui *ui)
{
	struct columns c = lay_out(ui);

	top_draw_frame(ui, NULL);
	draw_titles(ui, &c, TOP_TITLE_ROWS);
	for (size_t i = 0; i < ui->num_rows; i++)
		draw_row(ui, &c, i, TOP_TITLE_ROWS + 1 + (unsigned int)i);
	if (!ui->num_rows)
		grid_put(&ui->grid, TOP_TITLE_ROWS + 1, 1, 99, GRID_PLAIN, "no virtio devices");
}

void top_ui_deinit(struct top_ui *ui)
{
	top_model_deinit(&ui->model);
	grid_deinit(&ui->grid);
	free(ui->rows);
	free(ui->path);
	top_page_clear(&ui->page);
	top_ring_clear(&ui->ring);
	*ui = (struct top_ui){ 0 };
}
