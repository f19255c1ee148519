/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queues (virtio 1.3, "Console Device", "Multiport Device Operation"). What there is to
 * say is a few bits for each port: however fast ports come and go and whatever the driver sends,
 * nothing piles up, and the driver hears how it is now. Messages that are too short, of no port or
 * of no known kind are passed over with a log line.
 */
#include <string.h>

#include "base/le.h"
#include "devices/serial_int.h"

enum {
	DEVICE_READY,
	DEVICE_ADD,
	DEVICE_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME,
};

struct control_header {
	le32 id;
	le16 event, value;
};

struct control_message {
	struct control_header h;
	uint8_t more[SERIAL_NAME_MAX];
};

/* --- what the driver is to be told --- */

static unsigned int slot_nr(const struct serial_slot *slot)
{
	return (unsigned int)(slot - slot->s->slots);
}

static void join_line(struct serial_slot *slot)
{
	struct serial *s = slot->s;

	if (!slot->news || slot->in_line)
		return;
	slot->in_line = true;
	slot->next = NULL;
	if (s->line_first)
		s->line_last->next = slot;
	else
		s->line_first = slot;
	s->line_last = slot;
	if (s->ctrl_rx)
		vq_resume(s->ctrl_rx);
}

static void leave_line(struct serial *s)
{
	s->line_first->in_line = false;
	s->line_first = s->line_first->next;
}

void serial_ctrl_tell(struct serial_slot *slot, enum serial_news news)
{
	if (!slot->port || !slot->ready)
		return;
	slot->news |= (uint8_t)news;
	join_line(slot);
}

void serial_ctrl_host_opened(struct serial_slot *slot, bool open)
{
	/* A console is there whether somebody looks or not. */
	if (!slot->port || slot->port->console || !slot->ready)
		return;
	/* One who follows another at once is told of as closed and open. */
	slot->news &= (uint8_t)~NEWS_OPEN;
	if (slot->told_open && !open)
		slot->news |= NEWS_CLOSE;
	if (open)
		slot->news |= NEWS_OPEN;
	join_line(slot);
}

void serial_ctrl_plugged(struct serial_slot *slot)
{
	if (!slot->s->driver_ready)
		return;
	slot->news |= NEWS_ADD;
	join_line(slot);
}

void serial_ctrl_unplugged(struct serial_slot *slot)
{
	slot->ready = slot->told_open = false;
	slot->news = slot->told ? NEWS_REMOVE : 0;
	join_line(slot);
}

void serial_ctrl_forget(struct serial *s)
{
	s->driver_ready = false;
	s->line_first = NULL;
	for (uint32_t i = 0; i < s->max_ports; i++) {
		struct serial_slot *slot = &s->slots[i];

		slot->news = 0;
		slot->in_line = slot->told = slot->ready = slot->told_open = false;
		serial_slot_set_guest_open(slot, false);
	}
}

/* Fills in what belongs to the first of @slot's news, and takes it as told. Its length. */
static size_t make_message(struct serial_slot *slot, struct control_message *m)
{
	const struct serial_port *port = slot->port;
	unsigned int first = slot->news & (0u - slot->news), event = 0, value = 1;
	size_t more = 0;
	uint32_t size;
	le32 shown;

	switch (first) {
	case NEWS_REMOVE:
		event = DEVICE_REMOVE;
		slot->told = false;
		break;
	case NEWS_ADD:
		event = DEVICE_ADD;
		slot->told = true;
		break;
	case NEWS_CONSOLE: event = CONSOLE_PORT; break;
	case NEWS_RESIZE:
		event = RESIZE;
		size = atomic_load(&port->size);
		/* What the specification has first, Linux long took for the second. */
		if (slot->s->rows_first)
			size = size >> 16 | size << 16;
		shown = le32_make(size);
		more = sizeof(shown);
		memcpy(m->more, &shown, more);
		break;
	case NEWS_NAME:
		event = PORT_NAME;
		more = strlen(port->name);
		memcpy(m->more, port->name, more);
		break;
	case NEWS_CLOSE:
	case NEWS_OPEN:
		event = PORT_OPEN;
		value = first == NEWS_OPEN;
		slot->told_open = value;
		break;
	}
	slot->news &= (uint8_t)~first;
	m->h = (struct control_header){ le32_make(slot_nr(slot)), le16_make((uint16_t)event),
		le16_make((uint16_t)value) };
	return sizeof(m->h) + more;
}

enum serve_verdict serial_serve_ctrl_rx(struct serial *s, struct chain *c)
{
	struct control_message m;
	struct serial_slot *slot;
	size_t len;

	if (!c->writable.bytes)
		return SERVE_DONE;
	while (s->line_first && !s->line_first->news)
		leave_line(s);
	slot = s->line_first;
	if (!slot)
		return SERVE_RETRY;
	len = make_message(slot, &m);
	if (!slot->news)
		leave_line(s);
	if (!chain_put(c, &m, len))
		log_limited(&s->limit, LOG_LEVEL_WARN,
			"%s: a message about port %u has %zu bytes, the driver's buffer %llu; it "
			"is not told",
			vdev_label(&s->dev), slot_nr(slot), len,
			(unsigned long long)c->writable.bytes);
	return SERVE_DONE;
}

/* --- what the driver says --- */

/* False: it means nothing. */
static bool on_device_ready(struct serial *s, uint16_t value)
{
	if (!value) {
		log_limited(&s->limit, LOG_LEVEL_WARN, "%s: the driver says that it failed",
			vdev_label(&s->dev));
		return true;
	}
	/* A driver that comes after another may say this without a reset before. */
	serial_ctrl_forget(s);
	s->driver_ready = true;
	for (uint32_t i = 0; i < s->max_ports; i++)
		if (s->slots[i].port)
			serial_ctrl_plugged(&s->slots[i]);
	return true;
}

static bool on_port_ready(struct serial_slot *slot, uint16_t value)
{
	const struct serial_port *port = slot->port;

	/* Of a port that is gone, though another one has its number by now. */
	if (!port || !slot->told || (slot->news & (NEWS_REMOVE | NEWS_ADD)))
		return false;
	if (!value) {
		log_limited(&slot->s->limit, LOG_LEVEL_WARN,
			"%s: the driver says that it cannot add port %u", vdev_label(&slot->s->dev),
			slot_nr(slot));
		return true;
	}
	slot->ready = true;
	slot->news = 0;
	if (port->console)
		slot->news |= NEWS_CONSOLE;
	if (port->console && atomic_load(&port->size))
		slot->news |= NEWS_RESIZE;
	if (port->name)
		slot->news |= NEWS_NAME;
	if (port->console || chardev_is_open(port->chr))
		slot->news |= NEWS_OPEN;
	join_line(slot);
	return true;
}

static bool on_port_open(struct serial_slot *slot, uint16_t value)
{
	if (!slot->port || !slot->ready)
		return false;
	serial_slot_set_guest_open(slot, value != 0);
	serial_slot_resume(slot);
	return true;
}

static bool handle(struct serial *s, uint32_t id, uint16_t event, uint16_t value)
{
	/* Its port number means nothing. */
	if (event == DEVICE_READY)
		return on_device_ready(s, value);
	if (id >= s->max_ports)
		return false;
	if (event == PORT_READY)
		return on_port_ready(&s->slots[id], value);
	return event == PORT_OPEN && on_port_open(&s->slots[id], value);
}

enum serve_verdict serial_serve_ctrl_tx(struct serial *s, struct vq *vq, struct chain *c)
{
	struct control_header h;
	uint64_t len = c->readable.bytes;

	if (!serial_multiport(s))
		return SERVE_DONE;
	if (!chain_take(c, &h, sizeof(h))) {
		vq_count_error(vq);
		log_limited(&s->limit, LOG_LEVEL_WARN,
			"%s: a control message of %llu bytes; it takes %zu", vdev_label(&s->dev),
			(unsigned long long)len, sizeof(h));
	} else if (!handle(s, le32_get(h.id), le16_get(h.event), le16_get(h.value))) {
		vq_count_error(vq);
		log_limited(&s->limit, LOG_LEVEL_WARN,
			"%s: control message %u for port %u means nothing now", vdev_label(&s->dev),
			le16_get(h.event), le32_get(h.id));
	}
	/* Whatever follows is not known. */
	chain_skip(c, c->readable.bytes);
	return SERVE_DONE;
}
