/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-scsi: a SCSI host with disks and CD-ROMs on the back ends of backends/disk.h (virtio 1.3,
 * "SCSI Host Device"). The functions are control's, on the main loop.
 */
#ifndef DEVICES_SCSI_H
#define DEVICES_SCSI_H

#include "devices/media.h"
#include "virtio/vdev.h"

extern const struct vdev_class virtio_scsi_class;

struct scsi_unit;

enum scsi_kind {
	SCSI_DISK = 1,
	SCSI_CD = 2,
};

/* What a unit is made of; strings stay the caller's. A CD-ROM has the image alone, read-only. */
struct scsi_unit_config {
	enum scsi_kind kind;
	int64_t channel, target, lun; /* -1: the first that is free */
	char *filename; /* NULL: of a disk @size_bytes without storage, of a CD-ROM no medium */
	uint64_t size_bytes;
	char *serial, *vendor, *product, *version; /* NULL: none, or ours */
	uint32_t logical_block_bytes; /* of a disk */
	bool removable, read_only, discard, write_cache, direct, locking;
	int aio; /* enum disk_aio */
	const char *label; /* for messages */
	/* scsi_unit_remove() is through: the unit is no more, its image closed. May be NULL. */
	void (*removed)(void *opaque);
	/* A CD-ROM's tray is open, or closed, by the driver or by us. May be NULL. */
	void (*tray_moved)(void *opaque, bool open);
	void *opaque;
};

/* The choices of an option for aio, and what a disk's logical_block_size may be at most. */
extern const char *const scsi_aio_choices[];
#define SCSI_LOGICAL_BLOCK_MAX 32768

/*
 * Opens the image and plugs the unit in; a driver that runs and wants to hear is told. -errno with
 * a sentence: there is no room, the place is taken, the image cannot be had.
 */
int scsi_unit_add(struct vdev *dev, const struct scsi_unit_config *config, struct scsi_unit **ret,
	struct err *err);
/*
 * Takes it out, once, and not while a media_change of it is under way: commands that come from now
 * on find no unit, and those that are out are answered by what becomes of them. Then, maybe within
 * this call, the driver is told and removed() called. Units that are left when the device goes are
 * freed with it, without a word; once vdev_destroy() was called, none is added or removed.
 */
void scsi_unit_remove(struct scsi_unit *unit);

uint8_t scsi_unit_target(const struct scsi_unit *unit);
uint16_t scsi_unit_lun(const struct scsi_unit *unit);
/* The one that the host has by its own options, or NULL. */
struct scsi_unit *scsi_own_unit(struct vdev *dev, enum scsi_kind kind);

/*
 * The next ones return -errno with a sentence where they are refused; @change is not called then.
 * Else it is, before a vdev_destroy() that comes meanwhile is through.
 *
 * A disk gets another size. Of a smaller one commands find the new end at once, and the file is cut
 * when those that came before are answered, which reach as far as the old one.
 */
int scsi_unit_resize(
	struct scsi_unit *unit, uint64_t size_bytes, struct media_change *change, struct err *err);
/*
 * A CD-ROM's tray opens, and the medium is gone for all commands that come from now on; its image
 * is closed when the others are answered. Where the driver has locked the door it is asked to open
 * it, and that is all unless @force.
 */
int scsi_unit_eject(
	struct scsi_unit *unit, bool force, struct media_change *change, struct err *err);
/* The same, then another one is put in, which is opened before all, and the tray closes. */
int scsi_unit_change_medium(struct scsi_unit *unit, const char *filename, bool force,
	struct media_change *change, struct err *err);
/* The tray alone; what lies in it stays. Nothing happens where it is so already. */
int scsi_unit_move_tray(struct scsi_unit *unit, bool open, bool force, struct err *err);

#endif
