/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio device: the status machine, features, configuration space (virtio 1.3, "Basic Facilities
 * of a Virtio Device"), and when its queues run.
 *
 * A device is data: a const struct vdev_class. It never sees a socket, a register or a JSON object.
 * Everything here happens on the main loop unless it says otherwise; serve(), queue_start() and
 * queue_stop() run on the loop of their queue.
 *
 * A queue runs exactly when all of this is so: it is enabled and has a kick descriptor, DRIVER_OK
 * is set, the machine runs, the device is not broken, nobody holds it (vdev_hold()), and its class
 * is not one of relayed devices. Whoever changes one of these calls vdev_sync(), and the queues
 * follow. "Runs" means served by its loop, or handed to who serves it (dev->handover).
 */
#ifndef VIRTIO_VDEV_H
#define VIRTIO_VDEV_H

#include "base/option.h"
#include "mem/gmem.h"
#include "virtio/features.h"
#include "virtio/vdev_session.h"
#include "virtio/vhost_view.h"
#include "virtio/vq.h"

/* virtio 1.3, "Device Status Field" */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01
#define VIRTIO_STATUS_DRIVER	  0x02
#define VIRTIO_STATUS_DRIVER_OK	  0x04
#define VIRTIO_STATUS_FEATURES_OK 0x08
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED	  0x80

/* Queues of one device. */
#define VDEV_QUEUES_MAX 1024
/* Bytes of configuration space of one device. */
#define VDEV_CONFIG_MAX 256

struct vdev;

/* Eight callbacks at most; NULL where a device has nothing to do. */
struct vdev_class {
	const char *name; /* as in --device: virtio-blk */
	const char *description; /* one line for --help */
	uint16_t virtio_id; /* virtio 1.3, "Device Types" */
	size_t instance_bytes; /* of the device's struct, whose first member is struct vdev */
	size_t config_bytes; /* of its configuration space */
	const struct option_spec *options; /* ends with an entry without a name */
	/*
	 * Its queues may be spread over iothreads (iothread-vq-mapping): those from first_mapped_vq
	 * on, which is the mapping's queue 0.
	 */
	bool takes_vq_mapping;
	unsigned int first_mapped_vq;
	/*
	 * Somebody else serves its rings and we look on: no queue of it ever runs, and it offers
	 * nothing of its own. view.vhost tells of it.
	 */
	bool relayed;
	/*
	 * Somebody else serves its rings, to whom its realize() hands them by dev->handover, and
	 * offers what dev->device_features are: the options only take away. view.vhost tells of it.
	 */
	bool handed_over;
	/* Front-ends make its sessions by messages, where the transport has such; NULL: none does.
	 */
	const struct vdev_session_ops *sessions;

	/*
	 * The options are parsed. Opens back ends; sets dev->num_queues, dev->queue_size[] by
	 * vdev_set_queues(), and its own bits of dev->device_features. -errno with a sentence.
	 */
	int (*realize)(struct vdev *dev, struct err *err);
	/* All queues are idle. Also called after a realize() that failed. */
	void (*unrealize)(struct vdev *dev);
	/* Fills the configuration space, config_bytes, zeroed before. */
	void (*get_config)(struct vdev *dev, void *config);
	/* The driver wrote @len bytes at @offset; both are inside config_bytes. */
	void (*set_config)(struct vdev *dev, size_t offset, const void *bytes, size_t len);
	/* Queue's loop: one chain. */
	enum serve_verdict (*serve)(struct vdev *dev, struct vq *vq, struct chain *c);
	/* Queue's loop: before its first chain. -errno with a sentence breaks the device. */
	int (*queue_start)(struct vdev *dev, struct vq *vq, struct err *err);
	/* Queue's loop: after the last chain came back; also after a queue_start() that failed. */
	void (*queue_stop)(struct vdev *dev, struct vq *vq);
	/* The driver reset the device: all queues are idle. */
	void (*reset)(struct vdev *dev);
};

/* How a connection ended, as far as the transport tells. */
enum vdev_end {
	VDEV_END_NONE,
	VDEV_END_FRONT, /* the front-end hung up, or was hung up on */
	VDEV_END_BACK, /* a relay's back-end did */
	VDEV_END_NO_BACK, /* a front-end came, and a relay's back-end was not there */
};

/* What only the transport knows; inspection reads it here and never asks the transport. */
struct vdev_transport_view {
	const char *kind; /* "vhost-user" */
	char *address; /* the socket's path; owned by the transport */
	bool connected; /* a front-end is there */
	/*
	 * How the last connection ended; VDEV_END_NONE while one stands. While connected: of a
	 * relay that the back-end is away, and dialled again.
	 */
	enum vdev_end last_end;
	uint64_t last_end_ns; /* CLOCK_MONOTONIC */
	char waits_for[32]; /* a message that is answered once queues are idle; "": none */
	uint64_t waits_since_ns;
	bool status_known; /* the driver's status byte comes as a message; else it is derived */
	bool isr_known, queue_sel_known, disabled_known;
	uint8_t isr;
	uint16_t queue_sel;
	bool disabled;
	uint64_t protocol_features;
	uint64_t unoffered_features; /* acked by the front-end though we never offered them */
	const struct transcript *transcript; /* of the connection; NULL: none is kept */
	const struct vhost_view *vhost; /* somebody else serves the rings; NULL: we do */
};

/* A transport's functions, main loop. */
struct vdev_transport_ops {
	/* The configuration space changed and the driver is there: tell it. */
	void (*config_changed)(struct vdev *dev);
	/* The device needs a reset: NEEDS_RESET is set already. */
	void (*broken)(struct vdev *dev);
	/*
	 * The device goes: close the connection and release what is the transport's. All queues are
	 * idle. May be NULL fields only before attach.
	 */
	void (*detach)(struct vdev *dev);
	/* A queue without a call descriptor, but vq_set_call_by_message(), calls its driver. */
	void (*call)(struct vdev *dev, unsigned int queue);
};

/* News for control, main loop; set once for the process. Fields may be NULL. */
struct vdev_listener {
	void (*broken)(struct vdev *dev); /* dev->broken_reason says why */
	void (*status_changed)(struct vdev *dev); /* any change of dev->status */
	void (*config_written)(struct vdev *dev); /* the driver wrote its configuration space */
	/* view.vhost may tell otherwise now whether somebody else serves a ring. */
	void (*vhost_changed)(struct vdev *dev);
};

/* Waits until every queue of a device, or one of them, is idle. The node is the caller's until fn()
 * is called. */
struct vdev_wait {
	void (*fn)(struct vdev_wait *wait);
	struct vdev_wait *next;
	struct vq *vq; /* only this queue is waited for; NULL: all */
};

struct vdev {
	const struct vdev_class *cls;
	char *id; /* NULL where none was given */
	void *owner; /* whoever made it, for the listener; NULL before it is fully there */
	struct loop *main_loop;
	struct loop *data_loop; /* that serves its queues unless an iothread does */

	/* Options that all devices have: vdev_common_options[]. */
	bool opt_event_idx, opt_indirect_desc, opt_packed, opt_in_order, opt_queue_reset;
	uint32_t opt_queue_size; /* 0: the device's default */

	unsigned int num_queues;
	/*
	 * What a front-end counts instead where it asks for their number: pairs of a network card.
	 * 0: queues.
	 */
	unsigned int num_queue_groups;
	const char *needs_one_loop; /* the option that wants its queues on one loop; NULL: none */
	const char *bus_name; /* of the bus that its parts are plugged into; NULL: none */
	struct vq *queues;

	struct virtio_features device_features; /* offered to the driver */
	struct virtio_features driver_features; /* accepted by it */
	uint8_t status;
	uint8_t config_generation;
	bool realized;
	bool broken;
	char broken_reason[VQ_REASON_BYTES + 32]; /* "queue 0: ..." */
	struct log_limit broken_limit;
	bool vm_running;
	unsigned int num_holds;
	struct gmem *mem; /* the memory table at hand; may be NULL */
	struct dirty_log *dirty; /* where writes to it are marked; NULL: nowhere */
	int dirty_fd; /* the transport's; -1: none */
	struct vdev_wait *waits;
	const struct vq_handover *handover; /* who serves the queues; NULL: our loops */
	bool cannot_log; /* and they mark no pages in a dirty log */

	const struct vdev_transport_ops *transport;
	void *transport_opaque;
	struct vdev_transport_view view;
};

extern const struct option_spec vdev_common_options[];

void vdev_set_listener(const struct vdev_listener *listener);
/* For who keeps view.vhost: something may have started or stopped. */
void vdev_vhost_changed(struct vdev *dev);

/*
 * A new device of the class with default options, not yet realized: the caller parses options into
 * it and calls vdev_realize(). @id is copied; NULL is allowed.
 */
struct vdev *vdev_new(const struct vdev_class *cls, const char *id, struct loop *main_loop,
	struct loop *data_loop);
int vdev_realize(struct vdev *dev, struct err *err);
/*
 * The transport is detached, all queues are stopped first; @wait (may be NULL) is called when the
 * device is gone: do not touch it after this call.
 */
void vdev_destroy(struct vdev *dev, struct vdev_wait *wait);

/* For realize(): @n queues of opt_queue_size, else @size_default, each. Served by data_loop. */
void vdev_set_queues(struct vdev *dev, unsigned int n, uint32_t size_default);

/*
 * Between vdev_realize() and the transport: @loop, which outlives the device, serves queue @index
 * in the place of data_loop.
 */
void vdev_set_queue_loop(struct vdev *dev, unsigned int index, struct loop *loop);

/* Starts and stops queues so that they are as the conditions above say. */
void vdev_sync(struct vdev *dev);
/* While held, no queue runs. Counted. vdev_release() syncs. */
void vdev_hold(struct vdev *dev);
void vdev_release(struct vdev *dev);
/* The same for one queue; the others go on. */
void vdev_hold_queue(struct vdev *dev, struct vq *vq);
void vdev_release_queue(struct vdev *dev, struct vq *vq);
/*
 * Calls @wait->fn once no queue (or, with @wait->vq, not that one) is running or stopping: at once
 * where that is so already.
 */
void vdev_when_idle(struct vdev *dev, struct vdev_wait *wait);
bool vdev_is_idle(const struct vdev *dev);

/* The machine stops or goes on. */
void vdev_set_vm_running(struct vdev *dev, bool running);

/* All queues are idle: features, status, queues, NEEDS_RESET back to the beginning. */
void vdev_reset(struct vdev *dev);

/*
 * The driver's word. Bits that were not offered are kept, since some drivers use what they ack, and
 * remembered in view.unoffered_features; FEATURES_OK is refused for them where the transport can
 * say so (virtio 1.3, "Feature Bits").
 */
void vdev_set_driver_features(struct vdev *dev, struct virtio_features features);
/*
 * The driver writes the status byte: bits are only added (clearing is reset, which is the
 * transport's to do: it waits for idle). FEATURES_OK does not stick where the driver took bits that
 * were not offered. Returns the byte as it stands.
 */
uint8_t vdev_write_status(struct vdev *dev, uint8_t status);
/* For transports that derive the byte: sets and clears bits without a check. */
void vdev_derive_status(struct vdev *dev, uint8_t set, uint8_t clear);

/* A ring feature that both sides know: acked, and one that the core implements. */
bool vdev_ring_feature(const struct vdev *dev, unsigned int bit);

/* How much memory the guest has, by the table at hand; 0: none was handed over. */
uint64_t vdev_mem_bytes(const struct vdev *dev);
/* Swaps the memory table (a reference is taken). All queues are idle. */
void vdev_set_mem(struct vdev *dev, struct gmem *mem);

/*
 * Where the queues mark what they write, from their next start on (a reference is taken), and what
 * is signalled after each batch that did (@fd stays the caller's, who keeps it open until it is set
 * anew). All queues are idle.
 */
void vdev_set_dirty_log(struct vdev *dev, struct dirty_log *log, int fd);

/* Reads the whole configuration space (class->config_bytes). */
void vdev_get_config(struct vdev *dev, void *config);
/* False where [offset, offset + len) is not inside it. */
bool vdev_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len);
/* For devices: the space reads differently now. */
void vdev_config_changed(struct vdev *dev);

/* Marks it broken: NEEDS_RESET, one log line, queues stop, transport and listener hear of it. */
void vdev_break(struct vdev *dev, const char *fmt, ...) _printf_(2, 3);

/* "disk0", or "virtio-blk" for a device without an id: for log lines. */
const char *vdev_label(const struct vdev *dev);

#endif
