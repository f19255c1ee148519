/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all machines have in common: the table of kinds, the run state that guards their operations,
 * the private folder. Refuses operations on a machine that has no guest.
 */
#include "machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "machine/private_dir.h"
#include "machine/uml.h"

const struct machine_ops *const machine_kinds[] = { &uml_machine_ops, NULL };

const struct machine_ops *machine_kind(const char *name, struct err *err)
{
	_cleanup_free_ char *names = xstrdup("");
	size_t i;

	for (i = 0; machine_kinds[i]; i++) {
		char *longer;

		if (!strcmp(machine_kinds[i]->name, name))
			return machine_kinds[i];
		longer = xasprintf("%s%s%s", names, *names ? ", " : "", machine_kinds[i]->name);
		free(names);
		names = longer;
	}
	err_set(err, -EINVAL, "there is no machine '%s': expected one of %s", name, names);
	return NULL;
}

struct machine *machine_new(const struct machine_ops *ops, struct loop *loop,
	const struct machine_listener *listener, void *opaque, struct err *err)
{
	static const struct machine_listener nobody;
	struct machine *m = xcalloc(1, ops->instance_bytes);

	m->ops = ops;
	m->loop = loop;
	m->listener = listener ? listener : &nobody;
	m->opaque = opaque;
	if (private_dir_make(&m->dir, err) < 0) {
		free(m);
		return NULL;
	}
	return m;
}

void machine_free(struct machine *m)
{
	static const struct machine_listener nobody;

	if (!m)
		return;
	m->listener = &nobody;
	m->ops->release(m);
	private_dir_remove(m->dir);
	free(m->dir);
	free(m);
}

char *machine_socket_path(const struct machine *m, unsigned int n)
{
	return xasprintf("%s/dev%u", m->dir, n);
}

int machine_start(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	int r;

	assert(m->state == MACHINE_PRELAUNCH);
	r = m->ops->start(m, cfg, err);
	if (r < 0)
		m->ops->release(m);
	else
		m->state = MACHINE_RUNNING;
	return r;
}

bool machine_has_guest(const struct machine *m)
{
	return m && (m->state == MACHINE_RUNNING || m->state == MACHINE_PAUSED);
}

void machine_answer(struct machine_wait *wait, int r, const struct err *err)
{
	if (wait)
		wait->fn(wait, r, err);
}

static bool refuse_without_guest(struct machine *m, struct machine_wait *wait)
{
	struct err err = { 0 };

	if (machine_has_guest(m))
		return false;
	err_set(&err, -ESRCH, "machine '%s' has no guest that runs", m->ops->name);
	machine_answer(wait, -ESRCH, &err);
	return true;
}

void machine_stop(struct machine *m, struct machine_wait *wait)
{
	if (!refuse_without_guest(m, wait))
		m->ops->stop(m, wait);
}

void machine_cont(struct machine *m, struct machine_wait *wait)
{
	if (!refuse_without_guest(m, wait))
		m->ops->cont(m, wait);
}

void machine_reset(struct machine *m, struct machine_wait *wait)
{
	if (!refuse_without_guest(m, wait))
		m->ops->reset(m, wait);
}

bool machine_quit(struct machine *m, bool kill)
{
	if (!machine_has_guest(m))
		return false;
	m->ops->quit(m, kill);
	return true;
}

int machine_check_hotplug(const struct machine *m, struct err *err)
{
	if (m->ops->hotplug || m->state == MACHINE_PRELAUNCH)
		return 0;
	return err_set(err, -ENOTSUP, "Machine '%s' does not support hotplugging", m->ops->name);
}
