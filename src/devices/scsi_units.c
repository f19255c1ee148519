/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Units come and go. The main loop knows which there are and who has which address; each queue has
 * a list of its own, and hears of changes by an errand. A unit that goes leaves all lists first;
 * once its commands are answered on every queue it is freed, and only then the driver is told.
 * Refuses, in QEMU's words, addresses that are taken or that there are not.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/be.h"
#include "devices/scsi_int.h"

_Static_assert(2 * SCSI_LOGICAL_BLOCK_MAX <= SCSI_SAME_BYTES, "a pattern is repeated in it");

const char *const scsi_aio_choices[] = { "auto", "io_uring", "threads", NULL };

/* --- whoever owns the queue --- */

static bool comes_before(const struct scsi_unit *a, const struct scsi_unit *b)
{
	return a->target != b->target ? a->target < b->target : a->lun < b->lun;
}

void scsi_find(struct scsi_queue *q, const uint8_t *lun, struct scsi_address *ret)
{
	unsigned int method = lun[2] >> 6;

	*ret = (struct scsi_address){ .target = lun[1] };
	/* 1, the target, the unit in either of the forms of one level, and nothing behind it. */
	if (lun[0] != 1 || be32_read(lun + 4))
		return;
	ret->lun = be16_read(lun + 2) & 0x3fff;
	for (struct scsi_path *path = q->paths; path; path = path->next) {
		const struct scsi_unit *unit = path->unit;

		if (unit->target > ret->target)
			return;
		if (unit->target != ret->target)
			continue;
		ret->target_there = true;
		if (unit->lun != ret->lun)
			continue;
		if (method == 1 || !lun[2])
			ret->path = path;
		return;
	}
}

/* The channel to the same disk of another queue that the same loop serves, or NULL. */
static struct disk_chan *find_chan(struct scsi_queue *q, const struct scsi_path *path)
{
	const struct vdev *dev = &q->scsi->dev;

	/* Only this loop touches the paths of the queues that it serves. */
	for (unsigned int i = SCSI_QUEUE_FIRST; i < dev->num_queues; i++)
		if (i != q->index && dev->queues[i].loop == dev->queues[q->index].loop &&
			path->unit->paths[i].chan && path->unit->paths[i].disk == path->disk)
			return path->unit->paths[i].chan;
	return NULL;
}

static int open_path(struct scsi_queue *q, struct scsi_path *path, struct err *err)
{
	if (!path->disk)
		return 0;
	path->chan = find_chan(q, path);
	return path->chan ? 0 : disk_chan_open(path->disk, q->vq->loop, &path->chan, err);
}

/* A unit that cannot be reached is there, and says so. */
static void try_path(struct scsi_queue *q, struct scsi_path *path)
{
	struct err err = { 0 };

	if (q->reqs && open_path(q, path, &err) < 0)
		log_error("%s: queue %u: %s", path->unit->label, q->index, err.msg);
}

static void close_path(struct scsi_queue *q, struct scsi_path *path)
{
	if (!find_chan(q, path))
		disk_chan_close(path->chan);
	path->chan = NULL;
}

int scsi_paths_open(struct scsi_queue *q, struct err *err)
{
	for (struct scsi_path *path = q->paths; path; path = path->next) {
		int r = open_path(q, path, err);

		if (r < 0)
			return r;
	}
	return 0;
}

void scsi_paths_close(struct scsi_queue *q)
{
	for (struct scsi_path *path = q->paths; path; path = path->next)
		close_path(q, path);
}

static void plugged(struct scsi_unit *unit);
static void unplugged(struct scsi_unit *unit);

/* One errand less of the unit's: the last one brings the news to the main loop. */
static void plug_through(struct scsi_unit *unit, bool here)
{
	if (atomic_fetch_sub(&unit->num_plugs, 1) > 1)
		return;
	if (here)
		plugged(unit);
	else
		loop_post(unit->scsi->dev.main_loop, &unit->plugged_post);
}

static void unplug_through(struct scsi_unit *unit, bool here)
{
	if (atomic_fetch_sub(&unit->num_unplugs, 1) > 1)
		return;
	if (here)
		unplugged(unit);
	else
		loop_post(unit->scsi->dev.main_loop, &unit->unplugged_post);
}

static void plug(struct scsi_errand *errand, bool here)
{
	struct scsi_unit *unit = errand->unit;
	struct scsi_queue *q = &unit->scsi->queues[errand->queue];
	struct scsi_path *path = &unit->paths[errand->queue], **at = &q->paths;

	try_path(q, path);
	while (*at && comes_before((*at)->unit, unit))
		at = &(*at)->next;
	path->next = *at;
	*at = path;
	plug_through(unit, here);
}

static void unplug(struct scsi_errand *errand, bool here)
{
	struct scsi_unit *unit = errand->unit;
	struct scsi_queue *q = &unit->scsi->queues[errand->queue];
	struct scsi_path *path = &unit->paths[errand->queue], **at = &q->paths;

	while (*at != path)
		at = &(*at)->next;
	*at = path->next;
	/* No command of an idle queue is out. */
	if (here) {
		unplug_through(unit, true);
		return;
	}
	path->before = q->num_commands;
	path->next = q->leaving;
	q->leaving = path;
	scsi_tasks_check(q);
}

/* Is one of its commands of before out, or kept back behind one that is? */
static bool has_commands(const struct scsi_queue *q, const struct scsi_path *path)
{
	for (uint32_t i = 0; i < q->num_reqs; i++) {
		const struct scsi_req *req = &q->reqs[i];

		if (req->busy && req->number <= path->before &&
			(req->unit == path->unit || q->vq->in_order))
			return true;
	}
	return false;
}

/* None is: the queue has the unit's new medium, or knows that its disk is smaller. */
static void end_change(struct scsi_queue *q, struct scsi_path *path, bool here)
{
	if (path->unit->change.swaps) {
		if (path->chan)
			close_path(q, path);
		path->disk = path->unit->change.disk;
		try_path(q, path);
	}
	scsi_change_through(path->unit, here);
}

static void change(struct scsi_errand *errand, bool here)
{
	struct scsi_unit *unit = errand->unit;
	struct scsi_queue *q = &unit->scsi->queues[errand->queue];
	struct scsi_path *path = &unit->paths[errand->queue];

	if (here) {
		end_change(q, path, true);
		return;
	}
	path->before = q->num_commands;
	path->changing = true;
	q->num_changing++;
	scsi_tasks_check(q);
}

static void settle_changes(struct scsi_queue *q)
{
	for (struct scsi_path *path = q->paths; path && q->num_changing; path = path->next) {
		if (!path->changing || has_commands(q, path))
			continue;
		path->changing = false;
		q->num_changing--;
		end_change(q, path, false);
	}
}

void scsi_paths_settle(struct scsi_queue *q)
{
	struct scsi_path **at = &q->leaving;

	settle_changes(q);
	while (*at) {
		struct scsi_path *path = *at;

		if (has_commands(q, path)) {
			at = &path->next;
			continue;
		}
		*at = path->next;
		close_path(q, path);
		unplug_through(path->unit, false);
	}
}

/* --- the main loop --- */

static void on_errand_post(struct loop_post *post)
{
	struct scsi_errand *errand = container_of(post, struct scsi_errand, post);

	errand->fn(errand, false);
}

static void on_errand_idle(struct vdev_wait *wait)
{
	struct scsi_errand *errand = container_of(wait, struct scsi_errand, wait);
	struct vdev *dev = &errand->unit->scsi->dev;
	struct vq *vq = wait->vq;

	/* The unit may be gone after this. */
	errand->fn(errand, true);
	vdev_release_queue(dev, vq);
}

/*
 * A queue that runs has still to be stopped, by a message that comes after this one. One that is
 * about to rest might get a message when its list is the main loop's already.
 */
static void run_errand(struct scsi_errand *errand)
{
	struct vdev *dev = &errand->unit->scsi->dev;
	struct vq *vq = &dev->queues[errand->queue];

	if (vq->state == VQ_RUNNING) {
		loop_post(vq->loop, &errand->post);
	} else if (vq->state == VQ_IDLE) {
		errand->fn(errand, true);
	} else {
		errand->wait.vq = vq;
		vdev_hold_queue(dev, vq);
		vdev_when_idle(dev, &errand->wait);
	}
}

static void tell(struct scsi_unit *unit, uint32_t reason)
{
	const struct scsi_event event = { unit->target, unit->lun, VIRTIO_SCSI_T_TRANSPORT_RESET,
		reason, VIRTIO_SCSI_F_HOTPLUG };

	/* SPC, "REPORT LUNS command": its neighbours say that there is something new. */
	for (struct scsi_unit *u = unit->scsi->units; u; u = u->next)
		if (u != unit && u->target == unit->target)
			scsi_attention_raise(u, SCSI_ATTENTION_UNITS);
	scsi_event_put(unit->scsi, &event);
}

static void plugged(struct scsi_unit *unit)
{
	tell(unit, VIRTIO_SCSI_EVT_RESET_RESCAN);
}

static void on_plugged(struct loop_post *post)
{
	plugged(container_of(post, struct scsi_unit, plugged_post));
}

static void free_unit(struct scsi_unit *unit)
{
	disk_free(unit->disk);
	free(unit->paths);
	free(unit->label);
	free(unit);
}

static void unplugged(struct scsi_unit *unit)
{
	void (*removed)(void *opaque) = unit->removed;
	void *opaque = unit->opaque;
	struct scsi_unit **at = &unit->scsi->units;

	while (*at != unit)
		at = &(*at)->next;
	*at = unit->next;
	unit->scsi->num_units--;
	tell(unit, VIRTIO_SCSI_EVT_RESET_REMOVED);
	free_unit(unit);
	if (removed)
		removed(opaque);
}

static void on_unplugged(struct loop_post *post)
{
	unplugged(container_of(post, struct scsi_unit, unplugged_post));
}

/* Every queue but that of events: no command comes by it. */
static void plug_everywhere(struct scsi_unit *unit)
{
	unsigned int n = unit->scsi->dev.num_queues;

	/* One more, so that the last one is not through before all are on their way. */
	atomic_store(&unit->num_plugs, n);
	for (unsigned int i = 0; i < n; i++)
		if (i != SCSI_QUEUE_EVENT)
			run_errand(&unit->paths[i].plug);
	plug_through(unit, true);
}

void scsi_unit_visit(struct scsi_unit *unit)
{
	for (unsigned int i = 0; i < unit->scsi->dev.num_queues; i++)
		if (i != SCSI_QUEUE_EVENT)
			run_errand(&unit->paths[i].change);
}

void scsi_unit_remove(struct scsi_unit *unit)
{
	unsigned int n = unit->scsi->dev.num_queues;

	assert(!unit->change.caller);
	unit->leaving = true;
	atomic_store(&unit->num_unplugs, n);
	for (unsigned int i = 0; i < n; i++)
		if (i != SCSI_QUEUE_EVENT)
			run_errand(&unit->paths[i].unplug);
	unplug_through(unit, true);
}

/* --- what a unit is made of --- */

static struct scsi_unit *unit_at(struct scsi *scsi, int64_t target, int64_t lun)
{
	for (struct scsi_unit *unit = scsi->units; unit; unit = unit->next)
		if (unit->target == target && unit->lun == lun)
			return unit;
	return NULL;
}

/* A free address, as QEMU chooses one: without a target unit 0 of the first that has none. */
static int choose_place(struct scsi *scsi, int64_t *target, int64_t *lun, struct err *err)
{
	if (*target < 0) {
		*lun = MAX(*lun, (int64_t)0);
		for (*target = 0; *target <= SCSI_TARGET_MAX; ++*target)
			if (!unit_at(scsi, *target, *lun))
				return 0;
		return err_set(err, -ENOSPC, "no free target");
	}
	if (*lun >= 0)
		return 0;
	for (*lun = 0; *lun <= SCSI_LUN_MAX; ++*lun)
		if (!unit_at(scsi, *target, *lun))
			return 0;
	return err_set(err, -ENOSPC, "no free lun");
}

static int check_place(struct scsi *scsi, const struct scsi_unit_config *config,
	struct scsi_unit *unit, struct err *err)
{
	int64_t target = config->target, lun = config->lun;
	struct scsi_unit *other;
	int r;

	if (config->channel > 0)
		return err_set(
			err, -EINVAL, "bad scsi channel id: %lld", (long long)config->channel);
	if (target > SCSI_TARGET_MAX)
		return err_set(err, -EINVAL, "bad scsi device id: %lld", (long long)target);
	if (lun > SCSI_LUN_MAX)
		return err_set(err, -EINVAL, "bad scsi device lun: %lld", (long long)lun);
	if (scsi->num_units == SCSI_UNITS_MAX)
		return err_set(err, -ENOSPC, "%s has %u units, and no room for more",
			vdev_label(&scsi->dev), scsi->num_units);
	r = choose_place(scsi, &target, &lun, err);
	if (r < 0)
		return r;
	other = unit_at(scsi, target, lun);
	if (other)
		return err_set(err, -EEXIST, "lun already used by '%s'", other->label);
	unit->target = (uint8_t)target;
	unit->lun = (uint16_t)lun;
	return 0;
}

/* @room counts the end of the string. */
static int take_text(const struct scsi_unit *unit, const char *option, const char *text, char *ret,
	size_t room, struct err *err)
{
	if (strlen(text) >= room)
		return err_set(err, -EINVAL, "%s: %s='%s' has %zu bytes: expected %zu at most",
			unit->label, option, text, strlen(text), room - 1);
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

static int take_texts(
	struct scsi_unit *unit, const struct scsi_unit_config *config, struct err *err)
{
	const struct {
		const char *option, *given, *ours;
		char *at;
		size_t room;
	} texts[] = {
		{ "serial", config->serial, "", unit->serial, sizeof(unit->serial) },
		{ "vendor", config->vendor, "RINGSIDE", unit->vendor, sizeof(unit->vendor) },
		{ "product", config->product, unit->kind == SCSI_CD ? "CD-ROM" : "DISK",
			unit->product, sizeof(unit->product) },
		{ "ver", config->version, "1.0", unit->version, sizeof(unit->version) },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts) && !r; i++)
		r = take_text(unit, texts[i].option,
			texts[i].given ? texts[i].given : texts[i].ours, texts[i].at, texts[i].room,
			err);
	return r;
}

static struct scsi_errand errand_init(struct scsi_unit *unit, unsigned int queue,
	void (*fn)(struct scsi_errand *errand, bool here))
{
	return (struct scsi_errand){ unit, queue, fn, { .fn = on_errand_post },
		{ .fn = on_errand_idle } };
}

static void add_to_list(struct scsi_unit *unit)
{
	struct scsi *scsi = unit->scsi;
	struct scsi_unit **at = &scsi->units;

	while (*at && comes_before(*at, unit))
		at = &(*at)->next;
	unit->next = *at;
	*at = unit;
	scsi->num_units++;
	unit->paths = xnew_n(struct scsi_path, scsi->dev.num_queues);
	for (unsigned int i = 0; i < scsi->dev.num_queues; i++)
		unit->paths[i] = (struct scsi_path){ .unit = unit,
			.disk = unit->disk,
			.plug = errand_init(unit, i, plug),
			.unplug = errand_init(unit, i, unplug),
			.change = errand_init(unit, i, change) };
}

int scsi_unit_add(struct vdev *dev, const struct scsi_unit_config *config, struct scsi_unit **ret,
	struct err *err)
{
	struct scsi_unit *unit = xnew(struct scsi_unit);
	int r;

	*unit = (struct scsi_unit){ .scsi = scsi_of(dev),
		.kind = config->kind,
		.label = xstrdup(config->label),
		.removed = config->removed,
		.tray_moved = config->tray_moved,
		.opaque = config->opaque,
		.plugged_post.fn = on_plugged,
		.unplugged_post.fn = on_unplugged };
	scsi_media_init(unit);
	r = check_place(unit->scsi, config, unit, err);
	if (!r)
		r = take_texts(unit, config, err);
	if (!r)
		r = scsi_unit_open(unit, config, err);
	if (r < 0) {
		free_unit(unit);
		return r;
	}
	add_to_list(unit);
	plug_everywhere(unit);
	if (ret)
		*ret = unit;
	return 0;
}

void scsi_units_reset(struct scsi *scsi)
{
	for (struct scsi_unit *unit = scsi->units; unit; unit = unit->next) {
		scsi_unit_settle(unit);
		scsi_attention_raise(unit, SCSI_ATTENTION_POWER);
	}
}

void scsi_units_free(struct scsi *scsi)
{
	while (scsi->units) {
		struct scsi_unit *unit = scsi->units;

		scsi->units = unit->next;
		free_unit(unit);
	}
	scsi->num_units = 0;
}

uint8_t scsi_unit_target(const struct scsi_unit *unit)
{
	return unit->target;
}

uint16_t scsi_unit_lun(const struct scsi_unit *unit)
{
	return unit->lun;
}
