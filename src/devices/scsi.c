/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-scsi: its life, the configuration space, and how a command lies in its chain. The
 * response's header, sense data included, is the first part of what is writable and is known last:
 * its pieces are kept, zeroes stand there meanwhile, and payload goes on behind it.
 *
 * Answered with FAILURE: a request cut short, or with data in both directions, which needs
 * VIRTIO_SCSI_F_INOUT. Answered with BAD_TARGET: an address of another form, or of a target without
 * units. A request without room for the response's header cannot be answered at all: it is returned
 * with nothing written.
 */
#include "devices/scsi_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define SCSI_QUEUE_SIZE	 256
#define SCSI_SEG_MAX	 126 /* fits a ring of 128, which front-ends choose */
#define SCSI_CMD_PER_LUN 128
#define SCSI_MAX_SECTORS 0xffff

/* virtio 1.3, "Device configuration layout" of the SCSI host. */
struct scsi_config {
	le32 num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
	le16 max_channel, max_target;
	le32 max_lun;
};

_Static_assert(sizeof(struct scsi_config) == 36, "as in the specification");

/* virtio 1.3, "Device Operation: Request Queues"; the command block follows. */
struct scsi_request_header {
	uint8_t lun[8];
	le64 id;
	uint8_t task_attr, prio, crn;
} __attribute__((packed));

_Static_assert(sizeof(struct scsi_request_header) == 19, "as in the specification");

/* The sense data follows. */
struct scsi_response_header {
	le32 sense_len, residual;
	le16 status_qualifier;
	uint8_t status, response;
};

#define SCSI_SENSE_BYTES 18 /* of ours, in fixed format */

/* --- life --- */

static int add_unit(struct scsi *scsi, enum scsi_kind kind, struct err *err)
{
	const struct scsi_unit_config config = {
		.kind = kind,
		.target = kind == SCSI_CD,
		.filename = kind == SCSI_CD ? scsi->cdrom : scsi->filename,
		.size_bytes = kind == SCSI_CD ? 0 : scsi->size,
		.serial = kind == SCSI_CD ? NULL : scsi->serial,
		.logical_block_bytes = scsi->logical_block_size,
		.read_only = scsi->read_only,
		.discard = scsi->discard,
		.write_cache = scsi->write_cache,
		.direct = scsi->direct,
		.locking = scsi->locking,
		.aio = scsi->aio,
		.label = vdev_label(&scsi->dev),
	};

	return scsi_unit_add(
		&scsi->dev, &config, kind == SCSI_CD ? &scsi->own_cd : &scsi->own_disk, err);
}

struct scsi_unit *scsi_own_unit(struct vdev *dev, enum scsi_kind kind)
{
	return kind == SCSI_CD ? scsi_of(dev)->own_cd : scsi_of(dev)->own_disk;
}

static int scsi_realize(struct vdev *dev, struct err *err)
{
	struct scsi *scsi = scsi_of(dev);
	unsigned int i;
	int r = 0;

	atomic_init(&scsi->sense_size, SCSI_SENSE_DEFAULT);
	atomic_init(&scsi->cdb_size, SCSI_CDB_DEFAULT);
	vdev_set_queues(dev, SCSI_QUEUE_FIRST + scsi->num_queues, SCSI_QUEUE_SIZE);
	virtio_features_set(&dev->device_features, VIRTIO_SCSI_F_HOTPLUG, true);
	virtio_features_set(&dev->device_features, VIRTIO_SCSI_F_CHANGE, true);
	if (dev->id)
		dev->bus_name = scsi->bus_name = xasprintf("%s.0", dev->id);
	scsi->queues = xnew_n(struct scsi_queue, dev->num_queues);
	for (i = 0; i < dev->num_queues; i++) {
		scsi->queues[i].scsi = scsi;
		scsi->queues[i].index = i;
		scsi_tasks_init(&scsi->queues[i]);
	}
	if (scsi->filename || scsi->size)
		r = add_unit(scsi, SCSI_DISK, err);
	if (!r && scsi->cdrom)
		r = add_unit(scsi, SCSI_CD, err);
	return r;
}

static void scsi_unrealize(struct vdev *dev)
{
	struct scsi *scsi = scsi_of(dev);

	scsi_units_free(scsi);
	free(scsi->queues);
	scsi->queues = NULL;
	dev->bus_name = NULL;
	free(take_ptr(scsi->bus_name));
}

static int scsi_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_queue *q = &scsi->queues[vq->index];
	int r;

	q->vq = vq;
	if (vq->index == SCSI_QUEUE_CONTROL)
		return scsi_control_start(scsi, vq);
	if (vq->index == SCSI_QUEUE_EVENT)
		return 0;
	r = scsi_paths_open(q, err);
	if (r < 0)
		return r;
	q->reqs = xnew_n(struct scsi_req, vq->num);
	q->num_reqs = vq->num;
	q->same_last = &q->same_first;
	return 0;
}

static void scsi_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_queue *q = &scsi->queues[vq->index];

	if (vq->index == SCSI_QUEUE_CONTROL)
		scsi_control_stop(scsi);
	scsi_paths_close(q);
	free(q->reqs);
	free(q->same);
	q->vq = NULL;
	q->reqs = NULL;
	q->num_reqs = 0;
	q->same = NULL;
	scsi_tasks_stop(q);
}

static void scsi_reset(struct vdev *dev)
{
	struct scsi *scsi = scsi_of(dev);

	atomic_store_explicit(&scsi->sense_size, SCSI_SENSE_DEFAULT, memory_order_relaxed);
	atomic_store_explicit(&scsi->cdb_size, SCSI_CDB_DEFAULT, memory_order_relaxed);
	scsi_units_reset(scsi);
	scsi_events_forget(scsi);
}

/* --- configuration space --- */

static void scsi_get_config(struct vdev *dev, void *config)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_config *c = config;

	c->num_queues = le32_make(scsi->num_queues);
	c->seg_max = le32_make(SCSI_SEG_MAX);
	c->max_sectors = le32_make(SCSI_MAX_SECTORS);
	c->cmd_per_lun = le32_make(SCSI_CMD_PER_LUN);
	c->event_info_size = le32_make(16);
	c->sense_size = le32_make(atomic_load_explicit(&scsi->sense_size, memory_order_relaxed));
	c->cdb_size = le32_make(atomic_load_explicit(&scsi->cdb_size, memory_order_relaxed));
	c->max_target = le16_make(SCSI_TARGET_MAX);
	c->max_lun = le32_make(SCSI_LUN_MAX);
}

/* sense_size and cdb_size are the driver's to write, whole; what is too large is not taken. */
static void scsi_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_config c;
	uint32_t sense, cdb;

	scsi_get_config(dev, memset(&c, 0, sizeof(c)));
	memcpy((char *)&c + offset, bytes, len);
	sense = le32_get(c.sense_size);
	cdb = le32_get(c.cdb_size);
	if (sense <= SCSI_SENSE_MAX)
		atomic_store_explicit(&scsi->sense_size, sense, memory_order_relaxed);
	if (cdb <= SCSI_CDB_MAX)
		atomic_store_explicit(&scsi->cdb_size, cdb, memory_order_relaxed);
}

/* --- answers --- */

static size_t make_sense(uint32_t sense, uint8_t *ret)
{
	memset(ret, 0, SCSI_SENSE_BYTES);
	ret[0] = 0x70; /* current errors, fixed format */
	ret[2] = (uint8_t)(sense >> 16);
	ret[7] = SCSI_SENSE_BYTES - 8;
	ret[12] = (uint8_t)(sense >> 8);
	ret[13] = (uint8_t)sense;
	return SCSI_SENSE_BYTES;
}

enum serve_verdict scsi_respond(struct scsi_req *req, uint8_t response)
{
	uint8_t bytes[sizeof(struct scsi_response_header) + SCSI_SENSE_BYTES];
	struct scsi_response_header h = { .response = response };
	uint64_t left = req->in_bytes + req->out_bytes - req->moved;
	size_t len = sizeof(h), room, whole = 0;
	int i;

	h.residual = le32_make((uint32_t)MIN(left, (uint64_t)UINT32_MAX));
	for (i = 0; i < req->num_head; i++)
		whole += req->head[i].iov_len;
	room = whole + req->head_last.iov_len - sizeof(h);
	if (req->sense) {
		size_t n = MIN(make_sense(req->sense, bytes + len), room);

		h.status = SCSI_CHECK_CONDITION;
		h.sense_len = le32_make((uint32_t)n);
		len += n;
	}
	if (response || req->sense)
		vq_count_error(req->vq);
	memcpy(bytes, &h, sizeof(h));
	chain_fill(req->chain, req->head, req->num_head, bytes, MIN(len, whole));
	if (len > whole)
		chain_fill(req->chain, &req->head_last, 1, bytes + whole, len - whole);
	return SERVE_DONE;
}

enum serve_verdict scsi_fail(struct scsi_req *req, uint32_t sense)
{
	req->sense = sense;
	return scsi_respond(req, VIRTIO_SCSI_S_OK);
}

enum serve_verdict scsi_good(struct scsi_req *req)
{
	return scsi_respond(req, VIRTIO_SCSI_S_OK);
}

enum serve_verdict scsi_reply(struct scsi_req *req, const void *data, size_t len, size_t asked)
{
	if (asked > req->in_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_OVERRUN);
	len = MIN(len, asked);
	chain_put(req->chain, data, len);
	req->moved = len;
	return scsi_good(req);
}

void scsi_complete(struct scsi_req *req)
{
	struct scsi_queue *q = &req->scsi->queues[req->vq->index];

	req->busy = false;
	vq_complete(req->vq, req->chain);
	scsi_tasks_answered(q);
}

/* --- requests --- */

/* Keeps the pieces of the response's header, and goes on behind it. False: there is no room. */
static bool begin_response(struct scsi_req *req, size_t len)
{
	static const uint8_t zeroes[sizeof(struct scsi_response_header) + SCSI_SENSE_MAX];
	struct chain_cursor *cur = &req->chain->writable;
	size_t left = len;

	if (cur->bytes < len)
		return false;
	req->head = cur->iov;
	req->num_head = 0;
	while (left && left >= cur->iov[req->num_head].iov_len)
		left -= cur->iov[req->num_head++].iov_len;
	req->head_last = (struct iovec){ 0 };
	if (left)
		req->head_last = (struct iovec){ cur->iov[req->num_head].iov_base, left };
	return chain_put(req->chain, zeroes, len);
}

static enum serve_verdict serve_command(struct scsi *scsi, struct scsi_req *req)
{
	uint32_t cdb_size = atomic_load_explicit(&scsi->cdb_size, memory_order_relaxed);
	size_t len = MIN(cdb_size, (uint32_t)SCSI_CDB_BYTES);
	struct scsi_request_header h;
	struct scsi_address address;
	struct chain *c = req->chain;

	req->in_bytes = c->writable.bytes;
	req->out_bytes = 0;
	memset(req->cdb, 0, sizeof(req->cdb));
	if (c->readable.bytes < sizeof(h) + cdb_size)
		return scsi_respond(req, VIRTIO_SCSI_S_FAILURE);
	chain_take(c, &h, sizeof(h));
	chain_take(c, req->cdb, len);
	chain_skip(c, cdb_size - len);
	req->out_bytes = c->readable.bytes;
	if (req->in_bytes && req->out_bytes)
		return scsi_respond(req, VIRTIO_SCSI_S_FAILURE);
	scsi_find(&scsi->queues[req->vq->index], h.lun, &address);
	if (!address.target_there)
		return scsi_respond(req, VIRTIO_SCSI_S_BAD_TARGET);
	req->path = address.path;
	req->unit = address.path ? address.path->unit : NULL;
	req->target = address.target;
	req->lun = address.lun;
	req->tag = le64_get(h.id);
	return scsi_execute(req);
}

static enum serve_verdict scsi_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_queue *q = &scsi->queues[vq->index];
	struct scsi_req *req;
	enum serve_verdict verdict;
	size_t head;

	if (vq->index == SCSI_QUEUE_CONTROL)
		return scsi_control(scsi, vq, c);
	if (vq->index == SCSI_QUEUE_EVENT)
		return scsi_serve_event(scsi, vq, c);
	head = sizeof(struct scsi_response_header) +
	       atomic_load_explicit(&scsi->sense_size, memory_order_relaxed);
	req = &q->reqs[c->slot];
	req->scsi = scsi;
	req->vq = vq;
	req->chain = c;
	req->sense = 0;
	req->moved = 0;
	if (!begin_response(req, head)) {
		vq_count_error(vq);
		log_limited(&scsi->log, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has %llu bytes for a response of %zu; returned "
			"unanswered",
			vdev_label(dev), vq->index, c->head, (unsigned long long)c->writable.bytes,
			head);
		return SERVE_DONE;
	}
	req->number = ++q->num_commands;
	verdict = serve_command(scsi, req);
	req->busy = verdict == SERVE_HELD;
	return verdict;
}

/* --- options --- */

static const struct option_spec scsi_options[] = {
	{ "filename", OPTION_STRING, offsetof(struct scsi, filename), NULL, 0, 0, NULL,
		"raw image or block device of a disk, target 0 (a path or fd=N); more by scsi-hd" },
	{ "size", OPTION_SIZE, offsetof(struct scsi, size), "0", 0, INT64_MAX, NULL,
		"instead of filename: a disk of this size without storage, for measuring" },
	{ "cdrom", OPTION_STRING, offsetof(struct scsi, cdrom), NULL, 0, 0, NULL,
		"image of a CD-ROM, target 1 (a path or fd=N)" },
	{ "read-only", OPTION_BOOL, offsetof(struct scsi, read_only), "off", 0, 0, NULL,
		"refuse writes to the disk" },
	{ "serial", OPTION_STRING, offsetof(struct scsi, serial), NULL, 0, 0, NULL,
		"the disk's serial number, 36 bytes at most" },
	{ "num_queues", OPTION_U32, offsetof(struct scsi, num_queues), "1", 1, SCSI_QUEUES_MAX,
		NULL, "request queues" },
	{ "logical_block_size", OPTION_U32, offsetof(struct scsi, logical_block_size), "512", 512,
		SCSI_LOGICAL_BLOCK_MAX, NULL, "the disk's unit of every request, in bytes" },
	{ "aio", OPTION_ENUM, offsetof(struct scsi, aio), "auto", 0, 0, scsi_aio_choices,
		"how the host does the I/O; auto: at once what cannot wait, the rest by io_uring" },
	{ "direct", OPTION_BOOL, offsetof(struct scsi, direct), "off", 0, 0, NULL,
		"bypass the host's page cache" },
	{ "locking", OPTION_BOOL, offsetof(struct scsi, locking), "on", 0, 0, NULL,
		"lock the images against a second writer" },
	{ "discard", OPTION_BOOL, offsetof(struct scsi, discard), "on", 0, 0, NULL, "take UNMAP" },
	{ "write-cache", OPTION_BOOL, offsetof(struct scsi, write_cache), "on", 0, 0, NULL,
		"off: every write is stable when it is answered" },
	{ NULL },
};

const struct vdev_class virtio_scsi_class = {
	.name = "virtio-scsi",
	.description = "SCSI host: disks and CD-ROMs",
	.virtio_id = 8,
	.instance_bytes = sizeof(struct scsi),
	.config_bytes = sizeof(struct scsi_config),
	.options = scsi_options,
	.takes_vq_mapping = true,
	.first_mapped_vq = SCSI_QUEUE_FIRST,
	.realize = scsi_realize,
	.unrealize = scsi_unrealize,
	.get_config = scsi_get_config,
	.set_config = scsi_set_config,
	.serve = scsi_serve,
	.queue_start = scsi_queue_start,
	.queue_stop = scsi_queue_stop,
	.reset = scsi_reset,
};
