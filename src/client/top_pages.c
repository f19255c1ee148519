/* SPDX-License-Identifier: BSD-3-Clause */
/* Screens of text: a device, an element, help. The text is that of `ringside info`. */
#include "client/top_ui.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/features.h"
#include "client/human.h"
#include "client/show_parts.h"
#include "client/show_queue.h"
#include "client/transcript.h"

void top_page_clear(struct top_page *page)
{
	for (size_t i = 0; i < page->num; i++)
		free(page->lines[i].text);
	free(page->lines);
	*page = (struct top_page){ .first = page->first, .left = page->left };
}

void top_page_add(struct top_page *page, unsigned int style, const char *fmt, ...)
{
	va_list ap;

	page->lines = xreallocarray(page->lines, page->num + 1, sizeof(*page->lines));
	va_start(ap, fmt);
	page->lines[page->num++] = (struct top_line){ xvasprintf(fmt, ap), style };
	va_end(ap);
}

void top_page_move(struct top_ui *ui, long by)
{
	long to = (long)ui->page.first + by;

	ui->page.first = (size_t)MAX(0, MIN(to, (long)ui->page.num - 1));
}

void top_page_shift(struct top_ui *ui, long by)
{
	size_t longest = 0;
	long to = (long)ui->page.left + by;

	for (size_t i = 0; i < ui->page.num; i++)
		longest = MAX(longest, text_columns(ui->page.lines[i].text));
	to = MIN(to, (long)longest - (long)ui->grid.cols);
	ui->page.left = (unsigned int)MAX(0, to);
}

/* Behind the first @columns code points. */
static const char *skip_columns(const char *s, unsigned int columns)
{
	for (; *s && columns; columns--)
		for (s++; (*s & 0xc0) == 0x80; s++)
			;
	return s;
}

/* A line that stands out: what was accepted and not offered, a broken device. */
static unsigned int style_of(const char *line)
{
	const char *word = line + strspn(line, " ");

	if (*word == '!' || !strncmp(word, "error", 5) ||
		(!strncmp(word, "broken", 6) && strstr(word, "true")))
		return GRID_BAD;
	if (*word == '*')
		return GRID_GOOD;
	return word == line ? GRID_BOLD : GRID_PLAIN;
}

/* What a function of client/show*.h prints. */
struct printer {
	struct show show;
	char *text;
	size_t len;
};

static void begin(struct printer *p, const struct top_ui *ui, struct json_object *sources)
{
	*p = (struct printer){ .show = { .sources = sources,
				       .is_qemu = session_is_qemu(&ui->model.session) } };
	p->show.out.file = open_memstream(&p->text, &p->len);
}

static void end(struct printer *p, struct top_page *page)
{
	char *rest, *line;

	fclose(p->show.out.file);
	for (rest = p->text; rest && *rest;) {
		line = strsep(&rest, "\n");
		top_page_add(page, style_of(line), "%s", line);
	}
	free(p->text);
}

/* The reply, or NULL and the sentence as a line of the page; only a lost connection fails. */
static int ask(struct top_ui *ui, const char *command, enum harm_query harm, bool may_harm,
	struct json_object *arguments, struct json_object **ret, struct err *err)
{
	struct session *session = &ui->model.session;
	int r = may_harm ? session_check_harm(session, harm, ui->path, err) : 0;

	*ret = NULL;
	if (r == 0)
		r = session_execute(session, command, arguments, ret, err);
	if (r == 0 || (r != -EPERM && r != -EREMOTEIO))
		return r;
	top_page_add(&ui->page, GRID_NOTE, "%s%s", r == -EPERM ? "not asked: " : "", err->msg);
	return 0;
}

/* --- a device --- */

int top_device_ask(struct top_ui *ui, struct err *err)
{
	static const struct {
		const char *command;
		void (*show)(const struct show *show, const char *path, struct json_object *reply);
		bool may_harm, marks;
	} tabs[TOP_NUM_TABS] = {
		{ "x-query-virtio-status", show_status, true, true },
		{ "query-virtio-negotiation", features_show, false, false },
		{ "query-vhost-user-transcript", transcript_show, false, false },
		{ "query-vhost-user-findings", findings_show, false, false },
		{ "query-virtio-sources", show_sources, false, false },
	};
	_cleanup_value_ struct json_object *arguments = session_path_argument(ui->path);
	_cleanup_value_ struct json_object *reply = NULL, *sources = NULL;
	struct printer printer;
	int r;

	top_page_clear(&ui->page);
	r = ask(ui, tabs[ui->tab].command, HARM_STATUS, tabs[ui->tab].may_harm, arguments, &reply,
		err);
	if (r < 0 || !reply)
		return r;
	if (tabs[ui->tab].marks)
		sources = session_sources(&ui->model.session, ui->path);
	begin(&printer, ui, sources);
	tabs[ui->tab].show(&printer.show, ui->path, reply);
	end(&printer, &ui->page);
	return 0;
}

static void draw_page(struct top_ui *ui, unsigned int top)
{
	struct grid *g = &ui->grid;
	size_t room = g->rows > top + 1 ? g->rows - top - 1 : 0;

	/* The last line stays at the bottom of the screen. */
	if (ui->page.num <= room)
		ui->page.first = 0;
	else
		ui->page.first = MIN(ui->page.first, ui->page.num - room);
	for (size_t i = 0; i < room && ui->page.first + i < ui->page.num; i++) {
		const struct top_line *line = &ui->page.lines[ui->page.first + i];

		grid_put(g, top + (unsigned int)i, 0, g->cols, line->style, "%s",
			skip_columns(line->text, ui->page.left));
	}
	if (ui->page.num > room && g->cols > 24)
		grid_put(g, g->rows - 1, g->cols - 18, 18, GRID_DIM, "line %zu of %zu",
			ui->page.first + 1, ui->page.num);
}

void top_device_draw(struct top_ui *ui)
{
	static const char *const names[TOP_NUM_TABS] = { "1 status", "2 features", "3 messages",
		"4 findings", "5 sources" };
	unsigned int col = 1;

	top_draw_frame(ui, "Tab next page  arrows scroll  p pause  Esc back  q quit");
	for (unsigned int i = 0; i < TOP_NUM_TABS; i++)
		col = 2 + grid_put(&ui->grid, TOP_TITLE_ROWS, col, 40,
				  i == ui->tab ? GRID_BOLD | GRID_REVERSE : GRID_PLAIN, " %s ",
				  names[i]);
	draw_page(ui, TOP_TITLE_ROWS + 2);
}

/* --- an element --- */

static void add_descriptors(struct top_page *page, struct json_object *element)
{
	size_t num;
	struct json_object *descs = show_get_list(element, "descs", &num);

	for (size_t i = 0; i < num; i++) {
		struct json_object *desc = json_object_array_get_idx(descs, i);
		size_t num_flags;
		struct json_object *flags = show_get_list(desc, "flags", &num_flags);
		_cleanup_free_ char *text = xstrdup("");

		for (size_t f = 0; f < num_flags; f++) {
			_cleanup_free_ char *old = text;

			text = xasprintf(
				"%s %s", old, show_text(json_object_array_get_idx(flags, f)));
		}
		top_page_add(page, GRID_PLAIN, "  %3zu  addr 0x%llx  len %s %s", i,
			(unsigned long long)json_object_get_uint64(show_get(desc, "addr")),
			show_member(desc, "len"), text);
	}
	if (!num)
		top_page_add(page, GRID_DIM, "  no descriptors: they are not the device's to read");
}

static void add_element(struct top_page *page, struct json_object *element)
{
	struct json_object *age = show_get(element, "age-ns");
	char buf[HUMAN_BYTES];

	top_page_add(page, GRID_BOLD, "entry %s  head %s  %s", show_member(element, "index"),
		show_member(element, "head"), show_member(element, "state"));
	if (age)
		top_page_add(page, GRID_PLAIN, "  taken %s ago",
			human_time(buf, json_object_get_uint64(age)));
	if (show_get(element, "written"))
		top_page_add(
			page, GRID_PLAIN, "  %s bytes written", show_member(element, "written"));
	if (show_get(element, "problem"))
		top_page_add(page, GRID_BAD, "  %s", show_member(element, "problem"));
	add_descriptors(page, element);
}

/* A server without query-virtqueue-elements knows the same of a request that waits. */
static int ask_old(struct top_ui *ui, struct json_object *arguments, struct err *err)
{
	_cleanup_value_ struct json_object *reply = NULL, *sources = NULL;
	struct printer printer;
	int r;

	json_object_object_add(arguments, "index", json_object_new_int((int)ui->ring.cursor));
	r = ask(ui, "x-query-virtio-queue-element", HARM_ELEMENT, true, arguments, &reply, err);
	if (r < 0 || !reply)
		return r;
	sources = session_sources(&ui->model.session, ui->path);
	begin(&printer, ui, sources);
	show_element(&printer.show, ui->path, (unsigned int)ui->queue, reply);
	end(&printer, &ui->page);
	return 0;
}

int top_element_ask(struct top_ui *ui, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = session_path_argument(ui->path);
	_cleanup_value_ struct json_object *reply = NULL;
	size_t num;
	struct json_object *elements;
	int r;

	top_page_clear(&ui->page);
	json_object_object_add(arguments, "queue", json_object_new_int(MAX(ui->queue, 0)));
	if (!ui->model.can.elements)
		return ask_old(ui, arguments, err);
	json_object_object_add(arguments, "start", json_object_new_int((int)ui->ring.cursor));
	json_object_object_add(arguments, "count", json_object_new_int(1));
	r = ask(ui, "query-virtqueue-elements", 0, false, arguments, &reply, err);
	elements = show_get_list(reply, "elements", &num);
	if (num)
		add_element(&ui->page, json_object_array_get_idx(elements, 0));
	return r;
}

void top_element_draw(struct top_ui *ui)
{
	struct top_queue *queue;
	const struct top_device *device = top_chosen(ui, &queue);

	top_draw_frame(ui, "arrows scroll  p pause  Esc back to the ring  q quit");
	grid_put(&ui->grid, TOP_TITLE_ROWS, 0, ui->grid.cols, GRID_BOLD,
		"%s queue %d, ring entry %u", device ? device->name : "(gone)", ui->queue,
		ui->ring.cursor);
	draw_page(ui, TOP_TITLE_ROWS + 2);
}

/* --- help --- */

void top_help_draw(struct top_ui *ui)
{
	static const char *const lines[] = {
		"The table has a line a queue. What is stuck is on top, red and marked with '!'.",
		"",
		"  DEPTH    of the ring: what the device has (full), what waits for it (shaded)",
		"  INFLY    requests that the device has taken and not answered",
		"  OLDEST   how long it has had the oldest; \u2265 where only a bound is known",
		"  REQ/S    answers a second; ~ where only a 16-bit index tells",
		"  LATENCY  half of the last interval's answers took less",
		"",
		"  up down, j k, PgUp PgDn, Home End   move",
		"  Enter    the ring of the queue, entry by entry; again: that entry",
		"  d        the device: status, features, messages, sources; Tab, 1 to 5",
		"  Esc      back (Backspace too)",
		"  s, r     next order; the other way round",
		"  a        also the queues that no driver has set up",
		"  p        pause (space too); + and - change the pace; Ctrl-L draws anew",
		"  q        quit",
		"",
		"On QEMU's monitor only what is harmless there is asked; the rest says why not.",
	};

	top_page_clear(&ui->page);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		top_page_add(&ui->page, GRID_PLAIN, "%s", lines[i]);
	top_draw_frame(ui, "Esc back  q quit");
	draw_page(ui, TOP_TITLE_ROWS + 1);
}
