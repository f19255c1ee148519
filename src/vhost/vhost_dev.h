/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of ours whose rings are somebody else's to serve: a vhost-user back-end's or the
 * kernel's. Guest memory, kick and call descriptors go there as they came, so no thread of ours
 * wakes for a request. Main loop; what has to be waited for is said on a thread of its own
 * (vhost_talk.h).
 *
 * Where a ring stands is known when its server gives it back. A vhost-user back-end that goes away
 * is dialled again; a ring then goes on from the region for what is in flight, or from where memory
 * proves that it stood. Where neither can be, the device is broken, with the reason.
 */
#ifndef VHOST_VHOST_DEV_H
#define VHOST_VHOST_DEV_H

#include "vhost/ring_witness.h"
#include "vhost/vhost_channel.h"
#include "vhost/vhost_talk.h"
#include "virtio/vdev.h"

/* Queues that such a device may have. */
#define VHOST_QUEUES_MAX 256

struct vhost_dev;

/* What a class of such devices is made of. */
struct vhost_type {
	struct vdev_class cls;
	const struct vhost_backend_ops *ops;
	unsigned int num_queues; /* unless asked otherwise, or max_queues says more */
	unsigned int num_served; /* that are handed over, the first ones; 0: all */
	bool as_many; /* as many queues as the back-end says that it has */
	/* Device features that need something that nobody has here. */
	uint64_t without;
	/* Judges the options, and says in vd->where what is dialled. -errno with a sentence. */
	int (*prepare)(struct vhost_dev *vd, struct err *err);
	/* A descriptor to the back-end, within no time; -errno with a sentence. */
	int (*dial)(struct vhost_dev *vd, struct err *err);
	/*
	 * The space of a back-end that has none of its own, and features that go with it. -errno
	 * with a sentence. NULL: there has to be one.
	 */
	int (*make_config)(struct vhost_dev *vd, struct err *err);
};

struct vhost_ring {
	bool wanted; /* it was handed over and not asked back */
	bool posted; /* and the back-end of now was told, or will be */
	bool starting; /* that is under way */
	struct ring_witness witness; /* of a split ring: which requests are on their way */
};

struct vhost_dev {
	struct vdev dev;
	/* Options: each class takes some of them. */
	char *connect, *mac, *tag, *path, *ifname, *tapfd, *wwpn;
	uint32_t num_queues, virtio_id, config_size, guest_cid;
	bool reconnect, watch;

	const struct vhost_type *type;
	struct vdev_class cls; /* the type's, with what only the options say */
	struct vhost_talk *talk; /* NULL: not realized */
	const char *where; /* for sentences */
	int kill_fd; /* owned. What the thread may be waiting on, to be shut down; -1: none */
	struct vhost_target target; /* target.tap_fd is owned */
	uint64_t extra_features; /* that the back-end does not have and the device has */
	unsigned int min_queues; /* that a back-end which comes back has to have, as it counts */
	bool opening, connected;
	unsigned int connection; /* counts */
	struct vhost_channel channel;
	struct loop_timer redial, look;
	uint64_t redial_ms;
	struct log_limit limit;

	/* What the back-end was told on this connection. */
	bool told_features, told_inflight, told_log_all;
	uint64_t features;
	struct gmem *told_mem; /* a reference; NULL: nothing */
	struct dirty_log *told_log; /* likewise */
	int told_log_fd;
	/* It has a region in which requests in flight are noted. Survives a connection. */
	bool has_region;

	uint8_t config[VHU_CONFIG_MAX];
	struct vhost_view view;
	struct vhost_view_ring *ring_views;
	struct vhost_ring *rings;
};

static inline struct vhost_dev *vhost_dev_of(const struct vdev *dev)
{
	return container_of(dev, struct vhost_dev, dev);
}

/* The callbacks of all these classes. */
int vhost_dev_realize(struct vdev *dev, struct err *err);
void vhost_dev_unrealize(struct vdev *dev);
void vhost_dev_get_config(struct vdev *dev, void *config);
void vhost_dev_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len);
void vhost_dev_reset(struct vdev *dev);

/* The back-end says that its configuration space changed. */
void vhost_dev_config_changed(struct vhost_dev *vd);

/* vhost_rings.c: queues on their way to the back-end and back. */
extern const struct vq_handover vhost_handover;
/* The back-end of now is there: all that wait for it are handed over. */
void vhost_rings_resume(struct vhost_dev *vd);
/* The back-end of now is gone, and with it what it was told. */
void vhost_rings_lost(struct vhost_dev *vd);
/* A job of a ring ended. */
void vhost_rings_done(struct vhost_dev *vd, struct vhost_job *job);
/* What looks at the rings from time to time, where watch=on asks for it. */
void vhost_rings_look(struct loop_timer *timer);
/* The back-end has to be told everything again. */
void vhost_rings_forget(struct vhost_dev *vd);

#endif
