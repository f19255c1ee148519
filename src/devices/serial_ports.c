/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports come and go. The main loop knows who has which number and name; the queues' loop has the
 * slots and hears of changes by messages. While no queue runs there is nobody to send one to, and
 * what it would do is done at once. Refuses, in QEMU's words, numbers and names that are taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/chardev_spec.h"
#include "base/alloc.h"
#include "devices/serial_int.h"

/* --- on the loop that has the slots --- */

static int attach(struct serial_slot *slot, struct loop *loop, struct err *err)
{
	return chardev_attach(slot->port->chr, loop, &serial_chardev_ops, slot, err);
}

int serial_ports_attach(struct serial *s, struct loop *loop, struct err *err)
{
	for (uint32_t i = 0; i < s->max_ports; i++) {
		int r = s->slots[i].port ? attach(&s->slots[i], loop, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

void serial_ports_detach(struct serial *s)
{
	for (uint32_t i = 0; i < s->max_ports; i++)
		if (s->slots[i].port)
			chardev_detach(s->slots[i].port->chr);
}

void serial_slot_set_guest_open(struct serial_slot *slot, bool open)
{
	struct serial_port *port = slot->port;

	slot->guest_open = open;
	if (!port || atomic_exchange(&port->guest_open, open) == open)
		return;
	if (!atomic_exchange(&port->open_posted, true))
		loop_post(port->s->dev.main_loop, &port->open_post);
}

static void plug(struct serial_port *port)
{
	struct serial *s = port->s;
	struct err err = { 0 };

	port->slot->port = port;
	/* A port without its other end is one at which nobody is. */
	if (s->num_started && attach(port->slot, s->dev.queues[0].loop, &err) < 0)
		log_error("%s: port %u: %s", vdev_label(&s->dev), port->nr, err.msg);
	serial_ctrl_plugged(port->slot);
	serial_slot_resume(port->slot);
}

static void unplug(struct serial_port *port)
{
	struct serial_slot *slot = port->slot;

	chardev_detach(port->chr);
	slot->port = NULL;
	slot->tx_sent = 0;
	slot->guest_open = false;
	serial_ctrl_unplugged(slot);
	/* What waits for the other end is dropped. */
	serial_slot_resume(slot);
}

static void resize(struct serial_port *port)
{
	atomic_store(&port->resize_posted, false);
	serial_ctrl_tell(port->slot, NEWS_RESIZE);
}

/* --- on the main loop --- */

static void on_errand_post(struct loop_post *post)
{
	struct serial_errand *errand = container_of(post, struct serial_errand, post);
	struct serial_port *port = errand->port;

	errand->fn(port);
	if (errand == &port->remove)
		loop_post(port->s->dev.main_loop, &port->removed_post);
}

static void removed(struct serial_port *port);

static void on_errand_idle(struct vdev_wait *wait)
{
	struct serial_errand *errand = container_of(wait, struct serial_errand, wait);
	struct serial_port *port = errand->port;

	errand->fn(port);
	vdev_release(&port->s->dev);
	if (errand == &port->remove)
		removed(port);
}

/*
 * A queue that runs has still to be stopped, by a message that comes after this one. Where all are
 * about to rest, a message might come when the slots are the main loop's already.
 */
static void run_errand(struct serial_errand *errand)
{
	struct vdev *dev = &errand->port->s->dev;

	for (unsigned int i = 0; i < dev->num_queues; i++) {
		if (dev->queues[i].state != VQ_RUNNING)
			continue;
		loop_post(dev->queues[i].loop, &errand->post);
		return;
	}
	vdev_hold(dev);
	vdev_when_idle(dev, &errand->wait);
}

static struct serial_errand errand_init(
	struct serial_port *port, void (*fn)(struct serial_port *port))
{
	return (struct serial_errand){ port, fn, { .fn = on_errand_post },
		{ .fn = on_errand_idle } };
}

static void free_port(struct serial_port *port)
{
	if (!port)
		return;
	chardev_free(port->chr);
	free(port->name);
	free(port->label);
	free(port);
}

void serial_ports_free(struct serial *s)
{
	for (uint32_t i = 0; s->ports && i < s->max_ports; i++)
		free_port(s->ports[i]);
	free(s->ports);
	free(s->slots);
	s->ports = NULL;
	s->slots = NULL;
	s->console = NULL;
}

static void tell_guest_open(struct serial_port *port)
{
	bool open = atomic_load(&port->guest_open);

	if (open == port->guest_open_told)
		return;
	port->guest_open_told = open;
	if (port->guest_opened)
		port->guest_opened(port->opaque, open);
}

static void on_open(struct loop_post *post)
{
	struct serial_port *port = container_of(post, struct serial_port, open_post);

	/* Before the look: what changes from now on is posted again. */
	atomic_store(&port->open_posted, false);
	tell_guest_open(port);
}

/* No message: its port may be gone before that arrives. */
void serial_ports_reset(struct serial *s)
{
	for (uint32_t i = 0; i < s->max_ports; i++) {
		s->slots[i].tx_sent = 0;
		s->slots[i].guest_open = false;
		if (!s->ports[i])
			continue;
		atomic_store(&s->ports[i]->guest_open, false);
		tell_guest_open(s->ports[i]);
	}
}

static void removed(struct serial_port *port)
{
	port->s->ports[port->nr] = NULL;
	if (port->removed)
		port->removed(port->opaque);
	free_port(port);
}

static void on_removed(struct loop_post *post)
{
	removed(container_of(post, struct serial_port, removed_post));
}

/* From 1 on, as in QEMU: 0 is for a console, which a driver without MULTIPORT finds there. */
static int choose_nr(struct serial *s, bool console, uint32_t *ret, struct err *err)
{
	uint32_t nr = console && !s->ports[0] ? 0 : 1;

	while (nr < s->max_ports && s->ports[nr])
		nr++;
	if (nr >= s->max_ports)
		return err_set(err, -ENOSPC,
			"virtio-serial-bus: Maximum port limit for this device reached");
	*ret = nr;
	return 0;
}

static int check_nr(
	struct serial *s, const struct serial_port_config *config, uint32_t *ret, struct err *err)
{
	uint32_t nr = config->nr;

	if (nr == SERIAL_PORT_ANY)
		return choose_nr(s, config->console, ret, err);
	if (nr >= s->max_ports)
		return err_set(err, -ERANGE,
			"virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
			s->max_ports - 1);
	if (!nr && !config->console)
		return err_set(err, -EINVAL,
			"Port number 0 on virtio-serial devices reserved for virtconsole devices "
			"for backward compatibility.");
	if (s->ports[nr])
		return err_set(
			err, -EEXIST, "virtio-serial-bus: A port already exists at id %u", nr);
	*ret = nr;
	return 0;
}

static int check_name(struct serial *s, const char *name, struct err *err)
{
	if (!name)
		return 0;
	if (strlen(name) > SERIAL_NAME_MAX)
		return err_set(err, -ENAMETOOLONG, "a port's name has at most %d bytes, not %zu",
			SERIAL_NAME_MAX, strlen(name));
	for (uint32_t i = 0; i < s->max_ports; i++)
		if (*name && s->ports[i] && s->ports[i]->name && !strcmp(s->ports[i]->name, name))
			return err_set(err, -EEXIST,
				"virtio-serial-bus: A port already exists by name %s", name);
	return 0;
}

static int open_end(
	struct serial_port *port, const struct serial_port_config *config, struct err *err)
{
	struct chardev_config chardev;
	int r = chardev_parse_spec(config->chardev, &chardev, err);

	if (!r) {
		chardev.id = port->label;
		r = chardev_open(&chardev, &port->chr, err);
	}
	if (!r && chardev.kind == CHARDEV_PTY)
		log_info("%s: %s at %s", port->label, port->console ? "console" : "port",
			chardev_address(port->chr));
	return r;
}

int serial_port_add(struct vdev *dev, const struct serial_port_config *config,
	struct serial_port **ret, struct err *err)
{
	struct serial *s = serial_of(dev);
	struct serial_port *port;
	uint32_t nr = 0;
	int r = check_nr(s, config, &nr, err);

	if (!r)
		r = check_name(s, config->name, err);
	if (r < 0)
		return r;
	port = xnew(struct serial_port);
	*port = (struct serial_port){
		.s = s,
		.slot = &s->slots[nr],
		.nr = nr,
		.console = config->console,
		.name = config->name && *config->name ? xstrdup(config->name) : NULL,
		.label = xstrdup(config->label),
		.guest_opened = config->guest_opened,
		.removed = config->removed,
		.opaque = config->opaque,
		.add = errand_init(port, plug),
		.remove = errand_init(port, unplug),
		.resize = errand_init(port, resize),
		.open_post.fn = on_open,
		.removed_post.fn = on_removed,
	};
	r = open_end(port, config, err);
	if (r < 0) {
		free_port(port);
		return r;
	}
	s->ports[nr] = port;
	run_errand(&port->add);
	*ret = port;
	return 0;
}

void serial_port_remove(struct serial_port *port)
{
	run_errand(&port->remove);
}

void serial_port_resize(struct serial_port *port, uint16_t cols, uint16_t rows)
{
	struct vdev *dev = &port->s->dev;

	atomic_store(&port->size, (uint32_t)rows << 16 | cols);
	/* A driver without MULTIPORT looks there. */
	if (!port->nr)
		vdev_config_changed(dev);
	if (!atomic_exchange(&port->resize_posted, true))
		run_errand(&port->resize);
}

uint32_t serial_port_nr(const struct serial_port *port)
{
	return port->nr;
}

bool serial_port_is_console(const struct serial_port *port)
{
	return port->console;
}

bool serial_port_guest_open(struct serial_port *port)
{
	return atomic_load(&port->guest_open);
}

struct serial_port *serial_console(struct vdev *dev)
{
	return serial_of(dev)->console;
}

bool serial_has_ports(const struct vdev *dev)
{
	return serial_of(dev)->max_ports > 1;
}
