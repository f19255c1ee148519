/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring, a letter an entry. Where the server does not tell entry by entry, the indices say where
 * about the requests are, and the screen says so.
 */
#include "client/top_ui.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/human.h"
#include "client/show_parts.h"

#define LABEL_COLUMNS 7 /* "12345  " */
#define HEAD_ROWS     (TOP_TITLE_ROWS + 7)
#define FOOT_ROWS     3 /* the chosen entry, legend, keys */
#define MAX_REQUESTS  16
#define MIN_PER_LINE  8

static const struct state {
	const char *name; /* of VirtqueueElementState */
	char letter;
	unsigned char style;
} states[] = {
	{ "available", 'a', GRID_GOOD },
	{ "in-flight", 'F', GRID_NOTE },
	{ "used", 'u', GRID_DIM },
	{ "part", '-', GRID_PLAIN },
	{ "stale", '.', GRID_DIM },
	{ "unknown", '?', GRID_NOTE },
};

void top_ring_clear(struct top_ring *ring)
{
	free(ring->slots);
	json_object_put(ring->reply);
	top_page_clear(&ring->notes);
	ring->slots = NULL;
	ring->reply = NULL;
	ring->start = ring->count = 0;
}

void top_ring_move(struct top_ui *ui, long by)
{
	struct top_ring *ring = &ui->ring;
	long to = (long)ring->cursor + by;

	if (ring->num)
		ring->cursor = (unsigned int)MAX(0, MIN(to, (long)ring->num - 1));
}

/* The lines that the ring may have on the screen, and what begins them. */
static void lay_out(struct top_ui *ui)
{
	struct top_ring *ring = &ui->ring;
	unsigned int cols = ui->grid.cols, rows = ui->grid.rows, needed, room;

	ring->per_line = MIN_PER_LINE;
	while (ring->per_line * 2 + LABEL_COLUMNS <= cols && ring->per_line * 2 <= 256)
		ring->per_line *= 2;
	needed = (ring->num + ring->per_line - 1) / ring->per_line;
	room = rows > HEAD_ROWS + FOOT_ROWS + 1 ? rows - HEAD_ROWS - FOOT_ROWS : 1;
	/* A long ring leaves some lines to what is in flight. */
	if (room > 8 && needed > room - 4)
		room -= 4;
	ring->lines = MAX(MIN(needed, room), 1u);
	if (ring->cursor >= ring->num)
		ring->cursor = ring->num ? ring->num - 1 : 0;
	ring->first -= ring->first % ring->per_line;
	if (ring->cursor < ring->first)
		ring->first = ring->cursor - ring->cursor % ring->per_line;
	while (ring->cursor >= ring->first + ring->lines * ring->per_line)
		ring->first += ring->per_line;
	while (ring->first &&
		ring->first + ring->lines * ring->per_line >= ring->num + ring->per_line)
		ring->first -= ring->per_line;
}

static void set_slot(struct top_ring *ring, unsigned int index, char letter, unsigned char style)
{
	if (index >= ring->start && index < ring->start + ring->count)
		ring->slots[index - ring->start] = (struct top_slot){ letter, style };
}

static void set_window(struct top_ring *ring, unsigned int start, unsigned int count)
{
	ring->start = start;
	ring->count = count;
	ring->slots = xnew_n(struct top_slot, count + 1);
	for (unsigned int i = 0; i < count; i++)
		ring->slots[i] = (struct top_slot){ '.', GRID_DIM };
}

/* --- entry by entry --- */

static void take_element(struct top_ring *ring, struct json_object *element)
{
	const char *name = show_member(element, "state");
	int64_t index = json_object_get_int64(show_get(element, "index"));
	uint64_t age = json_object_get_uint64(show_get(element, "age-ns"));
	const struct state *state = &states[ARRAY_SIZE(states) - 1];

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(states[i].name, name))
			state = &states[i];
	set_slot(ring, (unsigned int)index, state->letter,
		age > TOP_STUCK_S * NSEC_PER_SEC ? GRID_BAD : state->style);
}

static void note_events(struct top_ring *ring, struct json_object *reply)
{
	top_page_add(&ring->notes, GRID_PLAIN,
		"%s ring of %u: avail %s  next to take %s  next answer %s  used %s",
		json_object_get_boolean(show_get(reply, "packed")) ? "packed" : "split", ring->num,
		show_member(reply, "avail-idx"), show_member(reply, "last-avail"),
		show_member(reply, "used"), show_member(reply, "used-idx"));
	top_page_add(&ring->notes, GRID_PLAIN,
		"kick wanted: %s (at %s)   interrupt wanted: %s (at %s)%s",
		show_member(reply, "wants-kick"), show_member(reply, "avail-event"),
		show_member(reply, "wants-call"), show_member(reply, "used-event"),
		json_object_get_boolean(show_get(reply, "consistent"))
			? ""
			: "   moved while it was read");
}

static int ask_elements(struct top_ui *ui, struct err *err)
{
	struct top_ring *ring = &ui->ring;
	_cleanup_value_ struct json_object *arguments = session_path_argument(ui->path);
	struct json_object *elements;
	unsigned int count = MIN(ring->lines * ring->per_line, ring->num - ring->first);
	size_t num;
	int r;

	json_object_object_add(arguments, "queue", json_object_new_int(MAX(ui->queue, 0)));
	json_object_object_add(arguments, "start", json_object_new_int((int)ring->first));
	json_object_object_add(arguments, "count", json_object_new_int((int)count));
	r = session_execute(
		&ui->model.session, "query-virtqueue-elements", arguments, &ring->reply, err);
	if (r == -EREMOTEIO) {
		top_page_add(&ring->notes, GRID_NOTE, "%s", err->msg);
		return 0;
	}
	if (r < 0)
		return r;
	set_window(ring, ring->first, count);
	elements = show_get(ring->reply, "elements");
	num = json_object_is_type(elements, json_type_array) ? json_object_array_length(elements)
							     : 0;
	for (size_t i = 0; i < num; i++)
		take_element(ring, json_object_array_get_idx(elements, i));
	note_events(ring, ring->reply);
	return 0;
}

/* --- by indices --- */

static void guess(struct top_ui *ui, const struct top_queue *queue)
{
	struct top_ring *ring = &ui->ring;
	int64_t waiting = MIN(queue->waiting, (int64_t)ring->num);
	int64_t flight = MIN(queue->in_flight, (int64_t)ring->num);
	int64_t last = queue->last_avail_idx;

	set_window(ring, ring->first, MIN(ring->lines * ring->per_line, ring->num - ring->first));
	ring->guessed = true;
	for (int64_t i = 0; last >= 0 && i < waiting; i++)
		set_slot(ring, (unsigned int)((last + i) % ring->num), 'a', GRID_GOOD);
	for (int64_t i = 1; last >= 0 && i <= flight; i++)
		set_slot(ring, (unsigned int)((last - i + 65536 * (int64_t)ring->num) % ring->num),
			'f', queue->severity == TOP_STUCK ? GRID_BAD : GRID_NOTE);
	if (last >= 0)
		top_page_add(&ring->notes, GRID_PLAIN,
			"ring of %u: avail %lld  next to take %lld  used %lld", ring->num,
			(long long)queue->avail_idx, (long long)last, (long long)queue->used_idx);
	else
		top_page_add(&ring->notes, GRID_PLAIN, "ring of %u: its indices are not known",
			ring->num);
	top_page_add(&ring->notes, GRID_DIM,
		"drawn by indices: 'f' are as many as are in flight, where they would be in order");
}

/* --- what is in flight --- */

static int ask_requests(struct top_ui *ui, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = session_path_argument(ui->path);
	_cleanup_value_ struct json_object *reply = NULL;
	struct top_page *page = &ui->page;
	size_t num;
	int r;

	top_page_clear(page);
	if (!ui->model.can.inflight)
		return 0;
	json_object_object_add(arguments, "queue", json_object_new_int(MAX(ui->queue, 0)));
	r = session_execute(&ui->model.session, "query-virtqueue-inflight", arguments, &reply, err);
	if (r < 0)
		return r == -EREMOTEIO ? 0 : r;
	num = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply) : 0;
	top_page_add(page, GRID_BOLD, num ? "in flight, oldest first:" : "nothing is in flight");
	for (size_t i = 0; i < MIN(num, (size_t)MAX_REQUESTS); i++) {
		struct json_object *request = json_object_array_get_idx(reply, i);
		struct json_object *age = show_get(request, "age-ns");
		uint64_t ns = json_object_get_uint64(age);
		char buf[HUMAN_BYTES];

		top_page_add(page, ns > TOP_STUCK_S * NSEC_PER_SEC ? GRID_BAD : GRID_PLAIN,
			"  head %5s  %7s  %s%s", show_member(request, "head"),
			age ? human_time(buf, ns) : "-", show_member(request, "description"),
			json_object_get_boolean(show_get(request, "certain")) ? "" : "  (perhaps)");
	}
	if (num > MAX_REQUESTS)
		top_page_add(page, GRID_DIM, "  and %zu more", num - MAX_REQUESTS);
	return 0;
}

int top_ring_ask(struct top_ui *ui, struct err *err)
{
	struct top_ring *ring = &ui->ring;
	struct top_queue *queue;
	const struct top_device *device = top_chosen(ui, &queue);
	int r;

	top_ring_clear(ring);
	ring->num = device && queue->size > 0 ? (unsigned int)MIN(queue->size, INT64_C(32768)) : 0;
	ring->guessed = false;
	if (!ring->num)
		return 0;
	lay_out(ui);
	if (ui->model.can.elements) {
		r = ask_elements(ui, err);
	} else {
		guess(ui, queue);
		r = 0;
	}
	return r < 0 ? r : ask_requests(ui, err);
}

/* --- drawing --- */

static void draw_slots(struct top_ui *ui, unsigned int top)
{
	const struct top_ring *ring = &ui->ring;
	struct grid *g = &ui->grid;

	for (unsigned int i = 0; i < ring->lines * ring->per_line; i++) {
		unsigned int index = ring->first + i, row = top + i / ring->per_line;
		const struct top_slot *slot = &ring->slots[index - ring->start];
		unsigned int col = LABEL_COLUMNS + i % ring->per_line;

		if (index < ring->start || index >= ring->start + ring->count)
			continue;
		if (i % ring->per_line == 0)
			grid_put(g, row, 0, LABEL_COLUMNS, GRID_DIM, "%5u", index);
		grid_put(g, row, col, 1, slot->style | (index == ring->cursor ? GRID_REVERSE : 0),
			"%c", slot->letter);
	}
}

/* The reply's entry at the cursor, where there is one. */
static struct json_object *chosen_element(const struct top_ring *ring)
{
	struct json_object *elements = show_get(ring->reply, "elements");

	if (!json_object_is_type(elements, json_type_array) || ring->cursor < ring->start)
		return NULL;
	return json_object_array_get_idx(elements, ring->cursor - ring->start);
}

static void draw_chosen(struct top_ui *ui, unsigned int row)
{
	struct json_object *element = chosen_element(&ui->ring);
	uint64_t age = json_object_get_uint64(show_get(element, "age-ns"));
	unsigned int col =
		grid_put(&ui->grid, row, 0, ui->grid.cols, GRID_BOLD, "entry %u", ui->ring.cursor);
	char buf[HUMAN_BYTES];

	if (element)
		grid_put(&ui->grid, row, col, ui->grid.cols, GRID_BOLD, ": %s, head %s%s%s%s",
			show_member(element, "state"), show_member(element, "head"),
			age ? ", taken " : "", age ? human_time(buf, age) : "", age ? " ago" : "");
}

static void draw_legend(struct top_ui *ui, unsigned int row)
{
	unsigned int col = 0;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		col = grid_put(&ui->grid, row, col, 2, states[i].style, "%c",
			ui->ring.guessed && states[i].letter == 'F' ? 'f' : states[i].letter);
		col = 2 + grid_put(&ui->grid, row, col + 1, 30, GRID_DIM, "%s", states[i].name);
	}
}

static void draw_rate(
	struct grid *g, unsigned int row, unsigned int col, const struct top_queue *queue)
{
	char buf[HUMAN_BYTES];

	if (queue->rate.value >= 0)
		col = 2 + grid_put(g, row, col, 20, GRID_PLAIN, "%s%s req/s",
				  queue->rate.rough ? "~" : "",
				  human_count(buf, (double)queue->rate.value));
	if (queue->in_flight >= 0)
		col = 2 + grid_put(g, row, col, 20, GRID_PLAIN, "%lld in flight",
				  (long long)queue->in_flight);
	if (queue->latency_ns >= 0)
		grid_put(g, row, col, 30, GRID_PLAIN, "half took less than %s",
			human_time(buf, (uint64_t)queue->latency_ns));
}

static void draw_head(struct top_ui *ui)
{
	struct top_queue *queue;
	const struct top_device *device = top_chosen(ui, &queue);
	struct grid *g = &ui->grid;
	unsigned int row = TOP_TITLE_ROWS, col;

	if (!device) {
		grid_put(g, row, 0, g->cols, GRID_NOTE, "this device is gone");
		return;
	}
	col = grid_put(g, row, 0, g->cols, GRID_BOLD, "%s queue %d%s%s  ", device->name, ui->queue,
		queue->role ? " " : "", queue->role ? queue->role : "");
	col = grid_put(g, row, col, g->cols, top_style(queue->severity), "%s",
		queue->verdict ? queue->verdict : "");
	draw_rate(g, row, col + 2, queue);
	grid_put_wrapped(g, row + 1, 2, 2, top_style(queue->severity),
		queue->sentence ? queue->sentence : "");
	if (queue->advice) {
		_cleanup_free_ char *advice = xasprintf("do: %s", queue->advice);

		grid_put_wrapped(g, row + 3, 2, 4, GRID_PLAIN, advice);
	}
	for (size_t i = 0; i < ui->ring.notes.num && i < 2; i++)
		grid_put(g, row + 5 + (unsigned int)i, 0, g->cols, ui->ring.notes.lines[i].style,
			"%s", ui->ring.notes.lines[i].text);
}

void top_ring_draw(struct top_ui *ui)
{
	const struct top_ring *ring = &ui->ring;
	unsigned int top = HEAD_ROWS, rows = ui->grid.rows, end;

	top_draw_frame(ui, "arrows choose  Enter entry  d device  p pause  Esc back  q quit");
	draw_head(ui);
	if (!ring->num || !ring->slots) {
		grid_put(&ui->grid, top, 0, 99, GRID_DIM, "its size is not known");
		return;
	}
	draw_slots(ui, top);
	end = rows > FOOT_ROWS ? rows - FOOT_ROWS : 0;
	top += ring->lines;
	for (size_t i = 0; i < ui->page.num && top + i < end; i++)
		grid_put(&ui->grid, top + (unsigned int)i, 0, ui->grid.cols,
			ui->page.lines[i].style, "%s", ui->page.lines[i].text);
	if (rows > HEAD_ROWS + FOOT_ROWS) {
		draw_chosen(ui, rows - 3);
		draw_legend(ui, rows - 2);
	}
}
