/* SPDX-License-Identifier: BSD-3-Clause */
/* The screens of `ringside top`: what they share, and one function for each. */
#ifndef CLIENT_TOP_UI_H
#define CLIENT_TOP_UI_H

#include "client/grid.h"
#include "client/show.h"
#include "client/top_model.h"

#define TOP_TITLE_ROWS 2 /* on every screen */

enum top_view { TOP_TABLE, TOP_DEVICE, TOP_RING, TOP_ELEMENT, TOP_HELP };
enum top_sort {
	TOP_BY_TROUBLE,
	TOP_BY_NAME,
	TOP_BY_RATE,
	TOP_BY_IN_FLIGHT,
	TOP_BY_AGE,
	TOP_NUM_SORTS
};

/* A line of the table: a queue, or a device that has none. */
struct top_row {
	size_t device; /* in the model */
	int queue; /* -1: none */
};

/* Text that is scrolled through. */
struct top_page {
	struct top_line {
		char *text;
		unsigned int style; /* of the grid */
	} * lines;
	size_t num, first;
	unsigned int left; /* columns that are scrolled out on the left */
};

/* A ring, or the part of one that is on the screen. */
struct top_ring {
	unsigned int num; /* its size; 0: not known */
	unsigned int start, count; /* what is in @slots */
	struct top_slot {
		char letter;
		unsigned char style;
	} * slots;
	unsigned int cursor, first; /* slots, the first a multiple of the line's length */
	unsigned int per_line, lines; /* as it was drawn last */
	bool guessed; /* from indices only */
	struct json_object *reply; /* of query-virtqueue-elements, or NULL */
	struct top_page notes; /* indices, and what is in flight */
};

struct top_ui {
	struct top_model model;
	struct grid grid;
	enum top_view view, before_help;
	struct top_row *rows;
	size_t num_rows, num_hidden;
	enum top_sort sort;
	bool reverse, show_all, paused;
	unsigned int interval_ms;
	size_t cursor, first, num_shown; /* rows of the table */
	/* Where the cursor is, whatever is sorted anew; and what the other screens show. */
	char *path;
	int queue;
	unsigned int tab; /* of the device's screen */
	struct top_page page;
	struct top_ring ring;
};

/* --- top_table.c --- */

/* Makes the rows of what the model has, and finds the cursor's again. */
void top_table_update(struct top_ui *ui);
void top_table_move(struct top_ui *ui, long by);
void top_table_draw(struct top_ui *ui);
/* The same for a grid that is as long as the table, without what belongs to keys. */
void top_once_draw(struct top_ui *ui);
/* The devices on the screen into @ret (room for num_rows); the model's queues learn it too. */
size_t top_table_wanted(struct top_ui *ui, size_t *ret);
const char *top_sort_name(enum top_sort sort);
/* The two rows on top, and the last one with @keys. */
void top_draw_frame(struct top_ui *ui, const char *keys);
/* The chosen device and queue; NULL where they are gone. */
struct top_device *top_chosen(struct top_ui *ui, struct top_queue **ret_queue);
unsigned int top_style(enum top_severity severity);
void top_ui_deinit(struct top_ui *ui);

/* --- top_pages.c --- */

/* Ask the server for what the screen shows, where that is not in the model. -errno: lost. */
int top_device_ask(struct top_ui *ui, struct err *err);
int top_element_ask(struct top_ui *ui, struct err *err);
void top_device_draw(struct top_ui *ui);
void top_element_draw(struct top_ui *ui);
void top_help_draw(struct top_ui *ui);
void top_page_move(struct top_ui *ui, long by);
void top_page_shift(struct top_ui *ui, long by);
void top_page_clear(struct top_page *page);
void top_page_add(struct top_page *page, unsigned int style, const char *fmt, ...) _printf_(3, 4);
#define TOP_NUM_TABS 5

/* --- top_ring.c --- */

int top_ring_ask(struct top_ui *ui, struct err *err);
void top_ring_draw(struct top_ui *ui);
void top_ring_move(struct top_ui *ui, long by);
void top_ring_clear(struct top_ring *ring);

/* --- top_json.c --- */

/* One sample as one line of JSON on standard output. */
void top_json_print(const struct top_model *model);

#endif
