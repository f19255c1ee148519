/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Units that change while they are used: a disk gets another size, a CD-ROM another medium; what
 * its driver is told of that, and its tray and door. A file is cut, and an image closed, once every
 * queue has answered what it had begun before: a write in flight would make a file as large as it
 * was. Refuses a second change before the first is through, in QEMU's words to open a door that the
 * driver has locked, and to resize what is no disk or read-only.
 */
#include "devices/scsi_int.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SCSI_CD_BLOCK_BYTES 2048

/* --- what a unit has to tell --- */

static const uint32_t attention_sense[] = {
	[SCSI_ATTENTION_POWER] = SCSI_POWERED_ON,
	[SCSI_ATTENTION_RESET] = SCSI_WAS_RESET,
	[SCSI_ATTENTION_NEXUS] = SCSI_NEXUS_LOST,
	[SCSI_ATTENTION_MEDIUM] = SCSI_MEDIUM_CHANGED,
	[SCSI_ATTENTION_CAPACITY] = SCSI_CAPACITY_CHANGED,
	[SCSI_ATTENTION_UNITS] = SCSI_UNITS_CHANGED,
};

/* After a reset a driver looks at everything anew: nothing else is news then. */
#define RESETS \
	(1u << SCSI_ATTENTION_POWER | 1u << SCSI_ATTENTION_RESET | 1u << SCSI_ATTENTION_NEXUS)

void scsi_attention_raise(struct scsi_unit *unit, enum scsi_attention what)
{
	uint32_t bit = 1u << what, now = atomic_load(&unit->attentions);

	if (bit & RESETS) {
		atomic_store(&unit->attentions, bit);
		return;
	}
	while (!(now & RESETS) && !atomic_compare_exchange_weak(&unit->attentions, &now, now | bit))
		;
}

uint32_t scsi_attention_take(struct scsi_unit *unit)
{
	uint32_t now = atomic_load(&unit->attentions);

	while (now && !atomic_compare_exchange_weak(&unit->attentions, &now, now & (now - 1)))
		;
	return now ? attention_sense[__builtin_ctz(now)] : 0;
}

void scsi_attention_forget(struct scsi_unit *unit, enum scsi_attention what)
{
	atomic_fetch_and(&unit->attentions, ~(1u << what));
}

void scsi_unit_settle(struct scsi_unit *unit)
{
	atomic_store(&unit->stopped, false);
	atomic_store(&unit->locked, false);
}

uint32_t scsi_no_medium(struct scsi_unit *unit)
{
	return atomic_load(&unit->tray_open) ? SCSI_TRAY_OPEN : SCSI_NO_MEDIUM;
}

uint32_t scsi_not_ready(struct scsi_unit *unit)
{
	if (!scsi_has_medium(unit))
		return scsi_no_medium(unit);
	return atomic_load(&unit->stopped) ? SCSI_STOPPED : 0;
}

/* --- the tray: any loop --- */

static void tray_opened(struct scsi_unit *unit)
{
	atomic_store(&unit->tray_open, true);
	atomic_store(&unit->media_event, SCSI_MEDIA_REMOVAL);
}

static void tray_closed(struct scsi_unit *unit)
{
	atomic_store(&unit->stopped, false);
	atomic_store(&unit->tray_open, false);
}

/* By us: what lies in it counts as another one. */
static void medium_loaded(struct scsi_unit *unit)
{
	tray_closed(unit);
	if (!atomic_load(&unit->has_medium))
		return;
	atomic_store(&unit->media_event, SCSI_MEDIA_NEW);
	scsi_attention_raise(unit, SCSI_ATTENTION_MEDIUM);
}

/* --- the driver's commands: a queue's loop --- */

static enum serve_verdict load_or_eject(struct scsi_req *req, bool load)
{
	struct scsi_unit *unit = req->unit;

	if (atomic_load(&unit->tray_open) == !load)
		return scsi_good(req);
	if (!load && atomic_load(&unit->locked))
		return scsi_fail(
			req, atomic_load(&unit->has_medium) ? SCSI_LOCKED : SCSI_LOCKED_EMPTY);
	/* Whoever closes it by itself knows what it left there. */
	if (load)
		tray_closed(unit);
	else
		tray_opened(unit);
	if (!atomic_exchange(&unit->tray_posted, true))
		loop_post(unit->scsi->dev.main_loop, &unit->tray_post);
	return scsi_good(req);
}

/* START, LOEJ, and power conditions, of which there are none. A disk cannot be ejected. */
enum serve_verdict scsi_start_stop(struct scsi_req *req)
{
	bool start = req->cdb[4] & 1, eject = req->cdb[4] & 2, is_cd = req->unit->kind == SCSI_CD;

	if (req->cdb[4] >> 4 || (eject && !is_cd))
		return scsi_fail(req, SCSI_BAD_CDB_FIELD);
	if (eject)
		return load_or_eject(req, start);
	atomic_store(&req->unit->stopped, !start);
	/* Nothing was written to a CD-ROM. */
	return start || is_cd ? scsi_good(req) : scsi_flush(req);
}

/* A disk's medium stays in any case. */
enum serve_verdict scsi_prevent_removal(struct scsi_req *req)
{
	if (req->unit->kind == SCSI_CD)
		atomic_store(&req->unit->locked, req->cdb[4] & 1);
	return scsi_good(req);
}

/* --- its image: the main loop --- */

static int check_image(
	const struct scsi_unit *unit, const struct scsi_unit_config *config, struct err *err)
{
	uint32_t bytes = config->logical_block_bytes;

	if (!config->filename && !config->size_bytes && unit->kind == SCSI_DISK)
		return err_set(err, -EINVAL,
			"%s: filename= names the image; for a disk without storage, give size= "
			"instead",
			unit->label);
	if (config->filename && config->size_bytes)
		return err_set(err, -EINVAL,
			"%s: size= is for a disk without storage; the size of '%s' is its own",
			unit->label, config->filename);
	if (unit->kind == SCSI_DISK && bytes & (bytes - 1))
		return err_set(err, -EINVAL,
			"%s: logical_block_size=%u is no power of two within 512 and %d",
			unit->label, bytes, SCSI_LOGICAL_BLOCK_MAX);
	return 0;
}

static int check_disk(const struct scsi_unit *unit, const struct disk *disk, struct err *err)
{
	if (unit->kind == SCSI_DISK && disk->size_bytes % unit->block_bytes)
		return err_set(err, -EINVAL,
			"%s: the image has %llu bytes, no multiple of logical_block_size=%u",
			unit->label, (unsigned long long)disk->size_bytes, unit->block_bytes);
	if (disk->size_bytes < unit->block_bytes)
		return err_set(err, -EINVAL, "%s: '%s' has less than one block of %u bytes",
			unit->label, disk->name, unit->block_bytes);
	if (disk->direct && unit->block_bytes < disk->block_bytes)
		return err_set(err, -EINVAL,
			"%s: direct=on needs logical_block_size=%u or more on this image",
			unit->label, disk->block_bytes);
	return 0;
}

int scsi_unit_open(struct scsi_unit *unit, const struct scsi_unit_config *config, struct err *err)
{
	bool is_cd = unit->kind == SCSI_CD;
	struct disk_config disk = DISK_CONFIG_INIT;
	int r = check_image(unit, config, err);

	if (r < 0)
		return r;

	disk.kind = is_cd || config->filename ? DISK_FILE : DISK_NULL;
	disk.filename = config->filename;
	disk.size_bytes = config->size_bytes;
	disk.read_only = is_cd || config->read_only;
	disk.locking = config->locking;
	/* Before the loop runs nobody else waits for it. */
	disk.lock_patient = !atomic_load(&unit->scsi->dev.main_loop->tid);
	disk.direct = config->direct;
	disk.writeback = is_cd || config->write_cache;
	disk.aio = (enum disk_aio)config->aio;
	unit->image = disk;
	unit->image.filename = NULL;
	unit->image.lock_patient = false;
	unit->block_bytes = is_cd ? SCSI_CD_BLOCK_BYTES : config->logical_block_bytes;
	unit->removable = is_cd || config->removable;
	unit->write_cache = !is_cd && config->write_cache;
	if (is_cd && !config->filename)
		return 0;
	r = disk_open(&disk, &unit->disk, err);
	if (!r)
		r = check_disk(unit, unit->disk, err);
	if (r < 0)
		return r;
	unit->num_blocks = unit->disk->size_bytes / unit->block_bytes;
	unit->thin = !is_cd && config->discard && !unit->disk->read_only;
	unit->has_medium = true;
	return 0;
}

/* --- changes --- */

static void tell_tray(struct scsi_unit *unit)
{
	bool open = atomic_load(&unit->tray_open);

	if (open == unit->told_open || !unit->tray_moved)
		return;
	unit->told_open = open;
	unit->tray_moved(unit->opaque, open);
}

static void on_tray_post(struct loop_post *post)
{
	struct scsi_unit *unit = container_of(post, struct scsi_unit, tray_post);

	atomic_store(&unit->tray_posted, false);
	tell_tray(unit);
}

static int check_change(const struct scsi_unit *unit, struct err *err)
{
	if (unit->leaving)
		return err_set(err, -EBUSY, "%s is being removed", unit->label);
	if (unit->change.caller)
		return err_set(err, -EBUSY,
			"%s is being changed: commands that came before are not answered yet",
			unit->label);
	return 0;
}

static int check_cd(const struct scsi_unit *unit, struct err *err)
{
	if (unit->kind != SCSI_CD)
		return err_set(err, -EINVAL, "Device '%s' is not removable", unit->label);
	return check_change(unit, err);
}

static void tell_capacity(struct scsi_unit *unit)
{
	const struct scsi_event event = { unit->target, unit->lun, VIRTIO_SCSI_T_PARAM_CHANGE,
		0x2a | 0x09 << 8, VIRTIO_SCSI_F_CHANGE };

	log_info("%s: has %llu blocks of %u bytes now", unit->label,
		(unsigned long long)atomic_load(&unit->num_blocks), unit->block_bytes);
	scsi_attention_raise(unit, SCSI_ATTENTION_CAPACITY);
	scsi_event_put(unit->scsi, &event);
}

static void swap_medium(struct scsi_unit *unit)
{
	disk_free(unit->disk);
	unit->disk = take_ptr(unit->change.disk);
	if (!unit->disk)
		return;
	atomic_store(&unit->num_blocks, unit->disk->size_bytes / unit->block_bytes);
	atomic_store(&unit->has_medium, true);
	medium_loaded(unit);
	log_info("%s: has '%s' now", unit->label, unit->disk->name);
}

static int cut_disk(struct scsi_unit *unit, struct err *err)
{
	int r = disk_resize(unit->disk, unit->change.size_bytes, err);

	if (r < 0)
		atomic_store(&unit->num_blocks, unit->change.num_blocks);
	else
		tell_capacity(unit);
	return r;
}

static void changed(struct scsi_unit *unit)
{
	struct media_change *caller = unit->change.caller;
	struct err err = { 0 };
	int r = 0;

	if (unit->change.swaps)
		swap_medium(unit);
	else
		r = cut_disk(unit, &err);
	unit->change.caller = NULL;
	if (unit->change.swaps)
		tell_tray(unit);
	caller->done(caller, r, &err);
}

static void on_changed(struct loop_post *post)
{
	changed(container_of(post, struct scsi_unit, change.post));
}

void scsi_change_through(struct scsi_unit *unit, bool here)
{
	if (atomic_fetch_sub(&unit->change.num_errands, 1) > 1)
		return;
	if (here)
		changed(unit);
	else
		loop_post(unit->scsi->dev.main_loop, &unit->change.post);
}

static void begin(struct scsi_unit *unit, struct media_change *caller, bool swaps)
{
	unit->change.caller = caller;
	unit->change.swaps = swaps;
	/* One more, so that the last one is not through before all are on their way. */
	atomic_store(&unit->change.num_errands, unit->scsi->dev.num_queues);
	scsi_unit_visit(unit);
	scsi_change_through(unit, true);
}

int scsi_unit_resize(
	struct scsi_unit *unit, uint64_t size_bytes, struct media_change *change, struct err *err)
{
	uint64_t before = unit->num_blocks;
	int r = check_change(unit, err);

	if (!r && unit->kind != SCSI_DISK)
		r = err_set(
			err, -EINVAL, "%s is a CD-ROM: it has the size of its image", unit->label);
	if (!r)
		r = disk_check_resize(unit->disk, size_bytes, err);
	if (!r && size_bytes % unit->block_bytes)
		r = err_set(err, -EINVAL, "%s: %llu bytes are no multiple of %u, its block",
			unit->label, (unsigned long long)size_bytes, unit->block_bytes);
	if (r < 0)
		return r;
	if (size_bytes >= unit->disk->size_bytes) {
		r = disk_resize(unit->disk, size_bytes, err);
		if (r < 0)
			return r;
		atomic_store(&unit->num_blocks, size_bytes / unit->block_bytes);
		if (unit->num_blocks != before)
			tell_capacity(unit);
		change->done(change, 0, NULL);
		return 0;
	}
	unit->change.num_blocks = before;
	unit->change.size_bytes = size_bytes;
	atomic_store(&unit->num_blocks, size_bytes / unit->block_bytes);
	begin(unit, change, false);
	return 0;
}

static int open_tray(struct scsi_unit *unit, bool force, struct err *err)
{
	if (atomic_load(&unit->tray_open))
		return 0;
	if (atomic_load(&unit->locked) && !force) {
		atomic_store(&unit->media_event, SCSI_MEDIA_EJECT_REQUEST);
		return err_set(err, -EBUSY,
			"Device '%s' is locked and force was not specified, wait for tray to open "
			"and try again",
			unit->label);
	}
	tray_opened(unit);
	tell_tray(unit);
	return 0;
}

static void put_in(struct scsi_unit *unit, struct disk *disk, struct media_change *change)
{
	atomic_store(&unit->has_medium, false);
	unit->change.disk = disk;
	begin(unit, change, true);
}

int scsi_unit_eject(
	struct scsi_unit *unit, bool force, struct media_change *change, struct err *err)
{
	int r = check_cd(unit, err);

	if (!r)
		r = open_tray(unit, force, err);
	if (!r)
		put_in(unit, NULL, change);
	return r;
}

static void cleanup_diskp(struct disk **disk)
{
	disk_free(*disk);
}

int scsi_unit_change_medium(struct scsi_unit *unit, const char *filename, bool force,
	struct media_change *change, struct err *err)
{
	_cleanup_(cleanup_diskp) struct disk *disk = NULL;
	int r = check_cd(unit, err);

	if (r < 0)
		return r;
	unit->image.filename = filename;
	r = disk_open(&unit->image, &disk, err);
	unit->image.filename = NULL;
	if (!r)
		r = check_disk(unit, disk, err);
	if (!r)
		r = open_tray(unit, force, err);
	if (!r)
		put_in(unit, take_ptr(disk), change);
	return r;
}

int scsi_unit_move_tray(struct scsi_unit *unit, bool open, bool force, struct err *err)
{
	int r = check_cd(unit, err);

	if (r < 0 || atomic_load(&unit->tray_open) == open)
		return r;
	if (open)
		return open_tray(unit, force, err);
	medium_loaded(unit);
	tell_tray(unit);
	return 0;
}

void scsi_media_init(struct scsi_unit *unit)
{
	atomic_init(&unit->attentions, 1u << SCSI_ATTENTION_POWER);
	unit->tray_post.fn = on_tray_post;
	unit->change.post.fn = on_changed;
}
