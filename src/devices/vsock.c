/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-vsock: packets between the queues and the connections of vsock_conn.c. A packet that is
 * not whole, or names more payload than there is, ends its connection. A receive buffer without
 * room for a header is given back empty.
 */
#include "devices/vsock.h"

#include <errno.h>

#include "devices/vsock_conn.h"

#define VSOCK_ID	 19
#define VSOCK_QUEUE_SIZE 256

#define VIRTIO_VSOCK_F_STREAM	 0
#define VIRTIO_VSOCK_F_SEQPACKET 1

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_NUM_QUEUES };

/* CIDs that are nobody's or the host's (virtio 1.3, "Device configuration layout" of sockets) */
#define VSOCK_FIRST_GUEST_CID 3
#define VSOCK_LAST_GUEST_CID  0xfffffffeu

struct vsock_config {
	le64 guest_cid;
};

struct vsock {
	struct vdev dev;
	/* Options. */
	uint32_t guest_cid, max_connections;
	char *path, *socket_mode, *socket_group;
	bool seqpacket;

	/* The queues' loop: */
	unsigned int num_started;
	bool attached;
	struct vq *rx; /* NULL while stopped */
	struct vsock_conns conns;
	uint8_t payload[VSOCK_BUF_BYTES]; /* of the packet at hand */
};

static struct vsock *vsock_of(struct vdev *dev)
{
	return container_of(dev, struct vsock, dev);
}

static void want_rx(struct vsock_conns *conns)
{
	struct vsock *v = container_of(conns, struct vsock, conns);

	if (v->rx)
		vq_resume(v->rx);
}

static int vsock_realize(struct vdev *dev, struct err *err)
{
	struct vsock *v = vsock_of(dev);
	int r;

	if (!v->path)
		return err_set(err, -EINVAL,
			"%s: path= is missing: expected the socket at which programs on the host "
			"reach the guest",
			vdev_label(dev));
	if (!v->guest_cid)
		return err_set(err, -EINVAL,
			"%s: guest-cid= is missing: expected the guest's number, from %d on",
			vdev_label(dev), VSOCK_FIRST_GUEST_CID);
	r = vsock_host_open(v->path, v->socket_mode, v->socket_group, &v->conns.host, err);
	if (r < 0)
		return r;
	v->conns.want_rx = want_rx;
	v->conns.max = v->max_connections;
	v->conns.guest_cid = v->guest_cid;
	v->conns.label = vdev_label(dev);
	vsock_conns_init(&v->conns);
	virtio_features_set(&dev->device_features, VIRTIO_VSOCK_F_STREAM, true);
	virtio_features_set(&dev->device_features, VIRTIO_VSOCK_F_SEQPACKET, v->seqpacket);
	vdev_set_queues(dev, VSOCK_NUM_QUEUES, VSOCK_QUEUE_SIZE);
	return 0;
}

static void vsock_unrealize(struct vdev *dev)
{
	struct vsock *v = vsock_of(dev);

	vsock_conns_clear(&v->conns);
	vsock_host_free(v->conns.host);
	v->conns.host = NULL;
}

static void vsock_get_config(struct vdev *dev, void *config)
{
	((struct vsock_config *)config)->guest_cid = le64_make(vsock_of(dev)->guest_cid);
}

static void vsock_reset(struct vdev *dev)
{
	vsock_conns_clear(&vsock_of(dev)->conns);
}

static int vsock_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct vsock *v = vsock_of(dev);
	int r;

	v->num_started++;
	if (vq->index == VSOCK_RX)
		v->rx = vq;
	if (v->attached)
		return 0;
	r = vsock_conns_attach(&v->conns, vq->loop, err);
	v->attached = !r;
	return r;
}

static void vsock_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct vsock *v = vsock_of(dev);

	if (vq->index == VSOCK_RX)
		v->rx = NULL;
	if (--v->num_started || !v->attached)
		return;
	vsock_conns_detach(&v->conns);
	v->attached = false;
}

static enum serve_verdict serve_tx(struct vsock *v, struct chain *c)
{
	struct vsock_header h;
	uint32_t len;

	/* Without its ports there is nobody to tell. */
	if (!chain_take(c, &h, sizeof(h)))
		return SERVE_DONE;
	len = le32_get(h.len);
	if (len > sizeof(v->payload) || !chain_take(c, v->payload, len)) {
		h.op = le16_make(VSOCK_OP_INVALID);
		len = 0;
	}
	vsock_conns_packet(&v->conns, &h, v->payload, len);
	return SERVE_DONE;
}

static enum serve_verdict serve_rx(struct vsock *v, struct chain *c)
{
	uint64_t room = c->writable.bytes;
	struct vsock_header h;

	if (room < sizeof(h))
		return SERVE_DONE;
	room = MIN(room - sizeof(h), (uint64_t)VSOCK_PACKET_MAX);
	if (!vsock_conns_next(&v->conns, (uint32_t)room, &h))
		return SERVE_RETRY;
	/* There is room: it was looked at. */
	chain_put(c, &h, sizeof(h));
	chain_put(c, v->conns.packet, le32_get(h.len));
	return SERVE_DONE;
}

static enum serve_verdict vsock_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct vsock *v = vsock_of(dev);

	switch (vq->index) {
	case VSOCK_RX: return serve_rx(v, c);
	case VSOCK_TX: return serve_tx(v, c);
	/* A guest that moves to another host would hear of it here. */
	default: return SERVE_RETRY;
	}
}

static const struct option_spec vsock_options[] = {
	{ "guest-cid", OPTION_U32, offsetof(struct vsock, guest_cid), NULL, VSOCK_FIRST_GUEST_CID,
		VSOCK_LAST_GUEST_CID, NULL, "the guest's number, from 3 on" },
	{ "path", OPTION_STRING, offsetof(struct vsock, path), NULL, 0, 0, NULL,
		"socket for programs that reach the guest: 'CONNECT PORT' and a newline; who "
		"listens on PATH_PORT is reached by the guest" },
	{ "path-mode", OPTION_STRING, offsetof(struct vsock, socket_mode), NULL, 0, 0, NULL,
		"permissions of that socket, octal (default 0600)" },
	{ "path-group", OPTION_STRING, offsetof(struct vsock, socket_group), NULL, 0, 0, NULL,
		"group of that socket, a name or a number" },
	{ "seqpacket", OPTION_BOOL, offsetof(struct vsock, seqpacket), "on", 0, 0, NULL,
		"sockets that keep messages apart, on PATH.seqpacket" },
	{ "max-connections", OPTION_U32, offsetof(struct vsock, max_connections), "1024", 1, 65536,
		NULL, "at a time; each may take 256 KiB while its program does not read" },
	{ NULL },
};

const struct vdev_class virtio_vsock_class = {
	.name = "virtio-vsock",
	.description = "sockets between guest and host",
	.virtio_id = VSOCK_ID,
	.instance_bytes = sizeof(struct vsock),
	.config_bytes = sizeof(struct vsock_config),
	.options = vsock_options,
	.realize = vsock_realize,
	.unrealize = vsock_unrealize,
	.get_config = vsock_get_config,
	.serve = vsock_serve,
	.queue_start = vsock_queue_start,
	.queue_stop = vsock_queue_stop,
	.reset = vsock_reset,
};
