/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices without offsets: network cards (virtio 1.3, "Network Device", "Device Operation"; a
 * header of 12 bytes before each frame), entropy, consoles. What comes in is counted, what goes out
 * is made once. Refused: frames that no wire has, answers shorter than their header.
 */
#include <errno.h>

#include "base/le.h"
#include "driver/drive_internal.h"

#define NET_F_MRG_RXBUF 15

#define NET_HEADER_BYTES 12
#define NET_NUM_BUFFERS	 10 /* where the header says how many buffers a packet is in */
#define NET_FRAME_MIN	 14
#define NET_FRAME_MAX	 9216
#define NET_RX_BYTES	 2048

static void one_buffer(struct drive_request *req, enum drive_dir dir, uint32_t bytes)
{
	req->dir = (uint8_t)dir;
	req->num_out = dir == DRIVE_WRITE;
	req->num_in = dir == DRIVE_READ;
	req->bufs[0] = dring_buf(req->data_addr, bytes);
}

static bool next_in(struct dqueue *q, struct drive_request *req)
{
	one_buffer(req, DRIVE_READ, q->d->data_bytes);
	return true;
}

static bool next_out(struct dqueue *q, struct drive_request *req)
{
	one_buffer(req, DRIVE_WRITE, q->d->opts.bs);
	return true;
}

static int done_out(struct dqueue *q, struct drive_request *req, uint32_t len)
{
	(void)req;
	(void)len;
	q->stats.bytes[DRIVE_WRITE] += q->d->opts.bs;
	return 0;
}

/* --- net --- */

static int net_check(struct drive *d, struct err *err)
{
	if (d->opts.bs < NET_FRAME_MIN || d->opts.bs > NET_FRAME_MAX)
		return err_set(err, -EINVAL,
			"--bs %u: a frame has %d to %d bytes, without its checksum", d->opts.bs,
			NET_FRAME_MIN, NET_FRAME_MAX);
	d->data_bytes = MAX((uint32_t)NET_RX_BYTES, d->opts.bs + NET_HEADER_BYTES);
	return 0;
}

static enum dqueue_role net_role(const struct drive *d, unsigned int which)
{
	if (which)
		return drive_writes(d) ? DQUEUE_ACTIVE : DQUEUE_IDLE;
	return drive_writes(d) ? DQUEUE_BACKGROUND : DQUEUE_LISTENING;
}

/* A frame of our own kind, between two addresses that nobody was given. */
static void net_prepare(struct dqueue *q)
{
	static const uint8_t ethernet[NET_FRAME_MIN] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88,
		0xb5 };
	uint64_t state = q->d->opts.seed;

	for (uint32_t i = 0; q->index % 2 && i < q->depth; i++) {
		uint8_t *frame = q->reqs[i].data + NET_HEADER_BYTES;

		memset(q->reqs[i].data, 0, NET_HEADER_BYTES);
		memcpy(frame, ethernet, sizeof(ethernet));
		for (uint32_t at = sizeof(ethernet); at < q->d->opts.bs; at++)
			frame[at] = (uint8_t)pattern_random(&state);
	}
}

static bool net_next_out(struct dqueue *q, struct drive_request *req)
{
	one_buffer(req, DRIVE_WRITE, NET_HEADER_BYTES + q->d->opts.bs);
	return true;
}

/* With MRG_RXBUF a packet may go on in further buffers, which have no header. */
static int net_done_in(struct dqueue *q, struct drive_request *req, uint32_t len)
{
	unsigned int more = 0;

	if (q->rx_more) {
		q->rx_more--;
		q->stats.ios[DRIVE_READ]--;
		q->stats.bytes[DRIVE_READ] += len;
		return 0;
	}
	if (len < NET_HEADER_BYTES)
		return err_set(&q->err, -EPROTO,
			"queue %u: the device received a packet of %u bytes: expected at least %d, "
			"its header; is it a network device?",
			q->index, len, NET_HEADER_BYTES);
	if (q->d->features >> NET_F_MRG_RXBUF & 1)
		more = le16_read(req->data + NET_NUM_BUFFERS);
	if (more > q->ring.cfg.num)
		return err_set(&q->err, -EPROTO,
			"queue %u: the device received a packet in %u buffers: expected at most "
			"%u, the ring's size",
			q->index, more, q->ring.cfg.num);
	q->rx_more = more ? more - 1 : 0;
	q->stats.bytes[DRIVE_READ] += len - NET_HEADER_BYTES;
	return 0;
}

static const struct dqueue_ops net_in = { next_in, net_done_in };
static const struct dqueue_ops net_out = { net_next_out, done_out };

const struct drive_kind drive_net = {
	.name = "net",
	.id = 1,
	.bs = 64,
	.rw = DRIVE_RW_WRITE,
	.features = BIT(NET_F_MRG_RXBUF),
	.rings_each = 2,
	.ops = { &net_in, &net_out },
	.check = net_check,
	.role = net_role,
	.prepare = net_prepare,
};

/* --- rng --- */

static int rng_check(struct drive *d, struct err *err)
{
	if (!drive_writes(d))
		return 0;
	return err_set(err, -EINVAL, "--rw %s: an entropy device is only read: use --rw read",
		drive_rw_name(d->opts.rw));
}

static int rng_done(struct dqueue *q, struct drive_request *req, uint32_t len)
{
	(void)req;
	if (!len)
		return err_set(&q->err, -EPROTO,
			"queue %u: the device answered with 0 bytes: expected 1 to %u; is it an "
			"entropy device?",
			q->index, q->d->opts.bs);
	q->stats.bytes[DRIVE_READ] += len;
	return 0;
}

static const struct dqueue_ops rng_ops = { next_in, rng_done };

const struct drive_kind drive_rng = {
	.name = "rng",
	.id = 4,
	.bs = 64,
	.rw = DRIVE_RW_READ,
	.rings_each = 1,
	.ops = { &rng_ops },
	.check = rng_check,
};

/* --- console --- */

/* Lines, so that whoever reads along sees something. */
static void console_prepare(struct dqueue *q)
{
	static const char text[] = "ringside drive was here. ";

	for (uint32_t i = 0; q->index && i < q->depth; i++) {
		uint8_t *data = q->reqs[i].data;

		for (uint32_t at = 0; at < q->d->opts.bs; at++)
			data[at] = (uint8_t)text[at % (sizeof(text) - 1)];
		data[q->d->opts.bs - 1] = '\n';
	}
}

static int console_done_in(struct dqueue *q, struct drive_request *req, uint32_t len)
{
	(void)req;
	q->stats.bytes[DRIVE_READ] += len;
	return 0;
}

static const struct dqueue_ops console_in = { next_in, console_done_in };
static const struct dqueue_ops console_out = { next_out, done_out };

const struct drive_kind drive_console = {
	.name = "console",
	.id = 3,
	.bs = 64,
	.rw = DRIVE_RW_WRITE,
	.rings_each = 2,
	.ops = { &console_in, &console_out },
	.role = net_role,
	.prepare = console_prepare,
};
