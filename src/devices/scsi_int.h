/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of virtio-scsi share. The main loop makes units and ends them; what a command is
 * told of one is constant or atomic. Each queue has a list of its own of the units that there are,
 * which belongs to its loop while it runs and to the main loop while it is idle. A request belongs
 * to the loop of its queue.
 */
#ifndef DEVICES_SCSI_INT_H
#define DEVICES_SCSI_INT_H

#include <stdatomic.h>

#include "backends/disk.h"
#include "base/le.h"
#include "devices/scsi.h"

#define SCSI_QUEUE_CONTROL   0
#define SCSI_QUEUE_EVENT     1
#define SCSI_QUEUE_FIRST     2 /* of the request queues */
#define SCSI_QUEUES_MAX	     256 /* request queues */
#define SCSI_UNITS_MAX	     256
#define SCSI_TARGET_MAX	     255
#define SCSI_LUN_MAX	     16383
#define SCSI_EVENTS_MAX	     64 /* that wait for buffers */
#define SCSI_CDB_DEFAULT     32
#define SCSI_CDB_MAX	     255 /* what a driver may set cdb_size to */
#define SCSI_SENSE_DEFAULT   96
#define SCSI_SENSE_MAX	     1024 /* and sense_size */
#define SCSI_CDB_BYTES	     16 /* of a command block are looked at */
#define SCSI_UNMAP_MAX	     32 /* descriptors in one UNMAP */
#define SCSI_RANGE_BYTES_MAX (1ull << 31) /* unmapped, or written by WRITE SAME, at once */
#define SCSI_SAME_BYTES	     65536 /* of a pattern that are written at once: two blocks or more */
#define SCSI_SERIAL_BYTES    36

/* virtio 1.3, "SCSI Host Device", "Feature bits" */
#define VIRTIO_SCSI_F_HOTPLUG 1
#define VIRTIO_SCSI_F_CHANGE  2

/* "Device Operation: Event Queue" */
#define VIRTIO_SCSI_T_NO_EVENT	      0
#define VIRTIO_SCSI_T_TRANSPORT_RESET 1
#define VIRTIO_SCSI_T_PARAM_CHANGE    3
#define VIRTIO_SCSI_T_EVENTS_MISSED   0x80000000u
#define VIRTIO_SCSI_EVT_RESET_RESCAN  1
#define VIRTIO_SCSI_EVT_RESET_REMOVED 2

/* "Device Operation: Request Queues", "Control Queue" */
#define VIRTIO_SCSI_S_OK		 0
#define VIRTIO_SCSI_S_OVERRUN		 1
#define VIRTIO_SCSI_S_BAD_TARGET	 3
#define VIRTIO_SCSI_S_FAILURE		 9
#define VIRTIO_SCSI_S_FUNCTION_SUCCEEDED 10
#define VIRTIO_SCSI_S_FUNCTION_REJECTED	 11
#define VIRTIO_SCSI_S_INCORRECT_LUN	 12

/* SAM: status codes */
#define SCSI_CHECK_CONDITION 0x02

/* A sense key, an additional sense code and its qualifier (SPC, "Sense data"). */
#define SCSI_SENSE(key, asc, ascq) ((uint32_t)(key) << 16 | (asc) << 8 | (ascq))
#define SCSI_NO_SENSE		   SCSI_SENSE(0x0, 0x00, 0x00)
#define SCSI_STOPPED		   SCSI_SENSE(0x2, 0x04, 0x02)
#define SCSI_NO_MEDIUM		   SCSI_SENSE(0x2, 0x3a, 0x01)
#define SCSI_TRAY_OPEN		   SCSI_SENSE(0x2, 0x3a, 0x02)
#define SCSI_LOCKED_EMPTY	   SCSI_SENSE(0x2, 0x53, 0x02)
#define SCSI_UNREACHABLE	   SCSI_SENSE(0x4, 0x08, 0x00)
#define SCSI_READ_ERROR		   SCSI_SENSE(0x3, 0x11, 0x00)
#define SCSI_WRITE_ERROR	   SCSI_SENSE(0x3, 0x0c, 0x00)
#define SCSI_BAD_LIST_LENGTH	   SCSI_SENSE(0x5, 0x1a, 0x00)
#define SCSI_BAD_OPCODE		   SCSI_SENSE(0x5, 0x20, 0x00)
#define SCSI_BAD_LBA		   SCSI_SENSE(0x5, 0x21, 0x00)
#define SCSI_BAD_CDB_FIELD	   SCSI_SENSE(0x5, 0x24, 0x00)
#define SCSI_NO_SUCH_LUN	   SCSI_SENSE(0x5, 0x25, 0x00)
#define SCSI_BAD_LIST_FIELD	   SCSI_SENSE(0x5, 0x26, 0x00)
#define SCSI_CANNOT_SAVE	   SCSI_SENSE(0x5, 0x39, 0x00)
#define SCSI_LOCKED		   SCSI_SENSE(0x5, 0x53, 0x02)
#define SCSI_MEDIUM_CHANGED	   SCSI_SENSE(0x6, 0x28, 0x00)
#define SCSI_POWERED_ON		   SCSI_SENSE(0x6, 0x29, 0x00)
#define SCSI_WAS_RESET		   SCSI_SENSE(0x6, 0x29, 0x03)
#define SCSI_NEXUS_LOST		   SCSI_SENSE(0x6, 0x29, 0x07)
#define SCSI_CAPACITY_CHANGED	   SCSI_SENSE(0x6, 0x2a, 0x09)
#define SCSI_UNITS_CHANGED	   SCSI_SENSE(0x6, 0x3f, 0x0e)
#define SCSI_WRITE_PROTECTED	   SCSI_SENSE(0x7, 0x27, 0x00)
#define SCSI_NO_SPACE		   SCSI_SENSE(0x7, 0x27, 0x07)
#define SCSI_DATA_LOST		   SCSI_SENSE(0xb, 0x4b, 0x00)

/* What a unit has to tell, the first of these first. Those up to the third make others pointless.
 */
enum scsi_attention {
	SCSI_ATTENTION_POWER,
	SCSI_ATTENTION_RESET,
	SCSI_ATTENTION_NEXUS,
	SCSI_ATTENTION_MEDIUM,
	SCSI_ATTENTION_CAPACITY,
	SCSI_ATTENTION_UNITS,
};

/* What a CD-ROM's driver hears of its medium when it asks (MMC, "Media event codes"). */
enum scsi_media_event {
	SCSI_MEDIA_NO_CHANGE,
	SCSI_MEDIA_EJECT_REQUEST,
	SCSI_MEDIA_NEW,
	SCSI_MEDIA_REMOVAL,
};

/*
 * Something to do to a queue's list of units: on its loop while it runs, on the main loop once it
 * is idle. @here: that is the main loop.
 */
struct scsi_errand {
	struct scsi_unit *unit;
	unsigned int queue;
	void (*fn)(struct scsi_errand *errand, bool here);
	struct loop_post post;
	struct vdev_wait wait;
};

/* A unit as one queue has it. */
struct scsi_path {
	struct scsi_unit *unit;
	struct scsi_path *next; /* in the queue's list, or among those that leave it */
	struct disk *disk; /* the unit's, as this queue knows it; NULL: no medium */
	struct disk_chan *chan; /* one for each loop and disk; NULL: the queue does not run */
	uint64_t before; /* of one that leaves or changes: the queue's commands up to this number */
	bool changing;
	struct scsi_errand plug, unplug, change;
};

/* A unit that gets another size, or another medium: once its commands of before are through. */
struct scsi_change {
	struct media_change *caller; /* NULL: none is under way */
	bool swaps; /* the medium */
	struct disk *disk; /* the new one; NULL: none */
	uint64_t num_blocks; /* of a disk: what it had, and what it gets */
	uint64_t size_bytes;
	_Atomic unsigned int num_errands; /* that are not through */
	struct loop_post post;
};

struct scsi_unit {
	struct scsi *scsi;
	enum scsi_kind kind;
	uint8_t target;
	uint16_t lun;
	struct disk *disk; /* of a CD-ROM the main loop's, as commands have scsi_path.chan */
	struct disk_config image; /* how its images are opened */
	uint32_t block_bytes;
	_Atomic uint64_t num_blocks;
	bool removable;
	bool thin; /* UNMAP, and WRITE SAME that unmaps */
	bool write_cache;
	char *label; /* for messages */
	char serial[SCSI_SERIAL_BYTES + 1];
	char vendor[9], product[17], version[5];
	_Atomic uint32_t attentions; /* a bit for each enum scsi_attention */
	_Atomic bool stopped; /* by START STOP UNIT */
	/* A CD-ROM's. A medium is none before every queue has its channel. */
	_Atomic bool has_medium, tray_open, locked;
	_Atomic unsigned int media_event;
	_Atomic bool tray_posted;
	struct loop_post tray_post; /* the driver moved the tray */

	/* The main loop's. */
	struct scsi_unit *next; /* by target, then by unit */
	struct scsi_path *paths; /* by queue */
	bool leaving;
	bool told_open; /* the tray, as tray_moved() was told */
	struct scsi_change change;
	void (*removed)(void *opaque);
	void (*tray_moved)(void *opaque, bool open);
	void *opaque;
	_Atomic unsigned int num_plugs, num_unplugs; /* errands that are not through */
	struct loop_post plugged_post, unplugged_post;
};

/* Where an address leads. */
struct scsi_address {
	bool target_there; /* it has units */
	uint8_t target;
	uint16_t lun;
	struct scsi_path *path; /* NULL: no such unit */
};

struct scsi_range {
	uint64_t lba;
	uint32_t blocks;
};

/* One command in flight, at the place of its chain's slot. */
struct scsi_req {
	struct disk_req disk; /* first: done() gets its address */
	struct scsi *scsi;
	struct chain *chain;
	struct vq *vq;
	struct scsi_unit *unit; /* NULL: the target has no such unit */
	struct scsi_path *path; /* the queue's to it */
	uint8_t target;
	uint16_t lun;
	bool busy; /* held, and not answered */
	uint64_t number; /* counts the queue's commands */
	uint64_t tag; /* the driver's */
	uint8_t cdb[SCSI_CDB_BYTES];

	/* The response's header: whole pieces of the chain, and a part of the next. */
	struct iovec *head, head_last;
	int num_head;
	uint64_t in_bytes, out_bytes; /* room for data to the driver; data from it */
	uint64_t moved; /* bytes of either that are accounted for */
	uint32_t sense;

	/* UNMAP: what is left of its ranges. WRITE SAME: what is left of the one. */
	struct scsi_range ranges[SCSI_UNMAP_MAX];
	unsigned int num_ranges, at_range;
	struct scsi_req *next_same; /* waits for the pattern's buffer */
	struct iovec same_iov;
};

struct scsi_task;

/* What a queue's loop owns. */
struct scsi_queue {
	struct scsi_path *paths; /* by target, then by unit; of control and request queues */
	struct vq *vq; /* NULL: it does not run */
	struct scsi_req *reqs; /* of a request queue that runs */
	uint32_t num_reqs;
	uint64_t num_commands;
	uint8_t *same; /* the pattern of the WRITE SAME at hand; made at the first one */
	struct scsi_req *same_owner, *same_first, **same_last;
	struct scsi *scsi;
	unsigned int index;
	struct scsi_task *tasks; /* functions that wait for commands of this queue */
	struct scsi_path *leaving; /* units that are gone once their commands are answered */
	unsigned int num_changing; /* of its paths */
	struct loop_work check; /* looks at them, behind the answers that are on their way */
};

struct scsi_event {
	uint8_t target;
	uint16_t lun;
	uint32_t event, reason;
	unsigned int feature; /* of the driver that is told */
};

/* From the main loop to the event queue's. Free-running indices; each is written by one side. */
struct scsi_events {
	struct scsi_event ring[SCSI_EVENTS_MAX];
	_Atomic unsigned int put, taken;
	_Atomic bool missed; /* one found no room */
};

struct scsi {
	struct vdev dev;
	char *filename, *serial, *cdrom;
	int aio;
	bool read_only, direct, locking, discard, write_cache;
	uint32_t num_queues, logical_block_size;
	uint64_t size;
	_Atomic uint32_t sense_size, cdb_size; /* as the driver set them */
	char *bus_name;
	struct scsi_unit *units; /* by target, then by unit */
	struct scsi_unit *own_disk, *own_cd; /* those of options of the host's; NULL: none */
	unsigned int num_units;
	struct scsi_events events;
	struct scsi_queue *queues; /* all, the control queue first */
	struct scsi_task *task_slots; /* the control queue's, one a chain */
	struct log_limit log;
};

static inline struct scsi *scsi_of(struct vdev *dev)
{
	return container_of(dev, struct scsi, dev);
}

/* Is there one that can be read? */
static inline bool scsi_has_medium(struct scsi_unit *unit)
{
	return atomic_load(&unit->has_medium) && !atomic_load(&unit->tray_open);
}

/* --- scsi.c --- */

/* Answers: a response and a status of this command, with req->sense where there is one. */
enum serve_verdict scsi_respond(struct scsi_req *req, uint8_t response);
/* The same: a CHECK CONDITION with this sense data. */
enum serve_verdict scsi_fail(struct scsi_req *req, uint32_t sense);
/* Answers GOOD. */
enum serve_verdict scsi_good(struct scsi_req *req);
/*
 * Answers with data: @len bytes, of which the driver asked for @asked. OVERRUN where there is no
 * room for what was asked for.
 */
enum serve_verdict scsi_reply(struct scsi_req *req, const void *data, size_t len, size_t asked);
/* A command that was held is answered: it goes back. */
void scsi_complete(struct scsi_req *req);

/* --- scsi_units.c --- */

/* What eight bytes lead to, by the list of a queue. */
void scsi_find(struct scsi_queue *q, const uint8_t *lun, struct scsi_address *ret);
/* The queue's loop: its ways to the units' disks. */
int scsi_paths_open(struct scsi_queue *q, struct err *err);
void scsi_paths_close(struct scsi_queue *q);
/* The queue's loop: what leaves it and has no command out any more is gone. */
void scsi_paths_settle(struct scsi_queue *q);
/* Main loop, idle: as after a power-on. All of them, for good. */
void scsi_units_reset(struct scsi *scsi);
void scsi_units_free(struct scsi *scsi);
/* Main loop: does @unit->paths[].change on every queue that commands come by. */
void scsi_unit_visit(struct scsi_unit *unit);

/* --- scsi_media.c --- */

/* Any loop. A unit attention more; the one that is told now, as sense data, or 0. */
void scsi_attention_raise(struct scsi_unit *unit, enum scsi_attention what);
uint32_t scsi_attention_take(struct scsi_unit *unit);
void scsi_attention_forget(struct scsi_unit *unit, enum scsi_attention what);
/* Any loop: the state of a reset, but for what it has to tell. */
void scsi_unit_settle(struct scsi_unit *unit);
/* Why commands that need the medium cannot be served, or 0. And why, where there is none. */
uint32_t scsi_not_ready(struct scsi_unit *unit);
uint32_t scsi_no_medium(struct scsi_unit *unit);
/* One of the visits is through: the queue knows the unit as it will be. */
void scsi_change_through(struct scsi_unit *unit, bool here);
void scsi_media_init(struct scsi_unit *unit);
/* Main loop: opens its image, and learns from it what it is. */
int scsi_unit_open(struct scsi_unit *unit, const struct scsi_unit_config *config, struct err *err);
enum serve_verdict scsi_start_stop(struct scsi_req *req);
enum serve_verdict scsi_prevent_removal(struct scsi_req *req);

/* --- scsi_event.c --- */

/* Main loop: the driver is told, where it wants to be. */
void scsi_event_put(struct scsi *scsi, const struct scsi_event *event);
enum serve_verdict scsi_serve_event(struct scsi *scsi, struct vq *vq, struct chain *c);
/* Main loop, idle. */
void scsi_events_forget(struct scsi *scsi);

/* --- scsi_cdb.c --- */

enum serve_verdict scsi_execute(struct scsi_req *req);

/* --- scsi_inquiry.c --- */

enum serve_verdict scsi_inquiry(struct scsi_req *req);
enum serve_verdict scsi_report_luns(struct scsi_req *req);

/* --- scsi_data.c --- */

enum serve_verdict scsi_read(struct scsi_req *req);
enum serve_verdict scsi_write(struct scsi_req *req);
enum serve_verdict scsi_synchronize_cache(struct scsi_req *req);
/* Whatever was written becomes stable, then GOOD. */
enum serve_verdict scsi_flush(struct scsi_req *req);
/* What the host's -errno is to the driver. */
uint32_t scsi_sense_of(int result, bool writing);
/* The way of the queue's loop to the unit's disk. */
struct disk_chan *scsi_chan(struct scsi_req *req);

/* --- scsi_range.c --- */

enum serve_verdict scsi_unmap(struct scsi_req *req);
enum serve_verdict scsi_write_same(struct scsi_req *req);

/* --- scsi_mode.c --- */

enum serve_verdict scsi_mode_sense(struct scsi_req *req);

/* --- scsi_cd.c --- */

enum serve_verdict scsi_read_toc(struct scsi_req *req);
enum serve_verdict scsi_get_configuration(struct scsi_req *req);
enum serve_verdict scsi_event_status(struct scsi_req *req);

/* --- scsi_task.c --- */

enum serve_verdict scsi_control(struct scsi *scsi, struct vq *vq, struct chain *c);
int scsi_control_start(struct scsi *scsi, struct vq *vq);
void scsi_control_stop(struct scsi *scsi);
/* A queue begins to exist, its loop stops serving it, one of its commands was answered. */
void scsi_tasks_init(struct scsi_queue *q);
void scsi_tasks_stop(struct scsi_queue *q);
void scsi_tasks_answered(struct scsi_queue *q);
/* The queue's loop: looks soon at who waits, behind the answers that are on their way. */
void scsi_tasks_check(struct scsi_queue *q);

#endif
