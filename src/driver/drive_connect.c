/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a socket to running rings. Refused, before anything runs: a feature that was asked for and
 * is not offered, more queues than there are. After a loss the same is said again to whoever took
 * over; what was negotiated has to be offered again.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "driver/drive_internal.h"

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER	   2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8

struct wish {
	unsigned int bit;
	const char *name, *what, *instead;
	enum drive_wish (*of)(const struct drive_options *o);
};

static enum drive_wish on_if(bool on)
{
	return on ? DRIVE_ON : DRIVE_OFF;
}

static enum drive_wish wish_packed(const struct drive_options *o)
{
	return on_if(o->packed);
}

static enum drive_wish wish_in_order(const struct drive_options *o)
{
	return on_if(o->in_order);
}

static enum drive_wish wish_indirect(const struct drive_options *o)
{
	return o->indirect;
}

static enum drive_wish wish_event_idx(const struct drive_options *o)
{
	return o->event_idx;
}

static enum drive_wish wish_version_1(const struct drive_options *o)
{
	(void)o;
	return DRIVE_ON;
}

static const struct wish wishes[] = {
	{ DRIVER_F_VERSION_1, "VERSION_1", "a device of virtio 1", "legacy devices are not driven",
		wish_version_1 },
	{ DRIVER_F_RING_PACKED, "RING_PACKED", "packed rings", "leave --packed out", wish_packed },
	{ DRIVER_F_IN_ORDER, "IN_ORDER", "use of buffers in order", "leave --in-order out",
		wish_in_order },
	{ DRIVER_F_INDIRECT_DESC, "INDIRECT_DESC", "indirect descriptors", "leave --indirect out",
		wish_indirect },
	{ DRIVER_F_EVENT_IDX, "EVENT_IDX", "notification by index", "leave --event-idx out",
		wish_event_idx },
};

static int choose_features(struct drive *d, struct err *err)
{
	uint64_t offered = d->vuc.features;

	d->offered = offered;
	d->features = offered & d->kind->features;
	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
		enum drive_wish wish = wishes[i].of(&d->opts);

		if (wish == DRIVE_ON && !(offered >> wishes[i].bit & 1))
			return err_set(err, -EOPNOTSUPP,
				"%s: the back-end does not offer %s (%s, bit %u; it offers "
				"0x%" PRIx64 "): %s",
				d->opts.connect, wishes[i].what, wishes[i].name, wishes[i].bit,
				offered, wishes[i].instead);
		if (wish != DRIVE_OFF)
			d->features |= offered & BIT(wishes[i].bit);
	}
	return 0;
}

static uint64_t wanted_protocol_features(const struct drive *d)
{
	uint64_t bits = BIT(VHU_PF_MQ) | BIT(VHU_PF_REPLY_ACK) | BIT(VHU_PF_CONFIG) |
			BIT(VHU_PF_STATUS) | BIT(VHU_PF_CONFIGURE_MEM_SLOTS);

	return d->opts.reconnect ? bits | BIT(VHU_PF_INFLIGHT_SHMFD) : bits;
}

static int check_queues(struct drive *d, struct err *err)
{
	unsigned int num;
	int r = vuc_get_queue_num(&d->vuc, &num, err);

	/* Where it cannot say, the queues that every such device has are there. */
	if (r < 0 || d->opts.queues <= num)
		return r;
	return err_set(err, -EOPNOTSUPP, "%s: --queues %u: the back-end has %u%s: ask for no more",
		d->opts.connect, d->opts.queues, num,
		vuc_has(&d->vuc, VHU_PF_MQ) ? "" : " (it does not offer the protocol feature MQ)");
}

static int read_config(struct drive *d, struct err *err)
{
	d->has_config = d->kind->config_bytes && vuc_has(&d->vuc, VHU_PF_CONFIG);
	return d->has_config ? vuc_get_config(&d->vuc, d->config, d->kind->config_bytes, err) : 0;
}

/* The driver's part of "Driver Requirements: Device Initialization", where there is a status. */
static int set_features(struct drive *d, struct err *err)
{
	uint8_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	bool has_status = vuc_has(&d->vuc, VHU_PF_STATUS);
	int r = has_status ? vuc_set_status(&d->vuc, status, err) : 0;

	if (r >= 0)
		r = vuc_set_features(&d->vuc, d->features, err);
	if (r < 0 || !has_status)
		return r;
	r = vuc_set_status(&d->vuc, status | STATUS_FEATURES_OK, err);
	if (r >= 0)
		r = vuc_get_status(&d->vuc, &status, err);
	if (r >= 0 && !(status & STATUS_FEATURES_OK))
		return err_set(err, -EREMOTEIO,
			"%s: the back-end does not accept the features 0x%" PRIx64
			": FEATURES_OK does not stay (status 0x%x)",
			d->opts.connect, d->features, status);
	return r;
}

int drive_negotiate(struct drive *d, struct err *err)
{
	int r = vuc_open(&d->vuc, d->opts.connect, err);

	if (r >= 0)
		r = vuc_negotiate(&d->vuc, wanted_protocol_features(d), err);
	if (r >= 0)
		r = choose_features(d, err);
	if (r >= 0 && d->opts.reconnect && !vuc_has(&d->vuc, VHU_PF_INFLIGHT_SHMFD))
		return err_set(err, -EOPNOTSUPP,
			"%s: --reconnect: the back-end does not offer INFLIGHT_SHMFD, so what it "
			"has would be lost with it: leave --reconnect out",
			d->opts.connect);
	if (r >= 0)
		r = check_queues(d, err);
	if (r >= 0)
		r = read_config(d, err);
	d->protocol_features = d->vuc.protocol_features;
	return r < 0 ? r : set_features(d, err);
}

static int share_memory(struct drive *d, struct err *err)
{
	struct vuc_region regions[DMEM_SLOTS_MAX];
	struct dmem *m = &d->mem;

	for (unsigned int i = 0; i < m->num_slots; i++)
		regions[i] = (struct vuc_region){ m->slots[i].guest_addr, m->slot_bytes,
			(uintptr_t)(m->base + i * m->slot_bytes), i * m->slot_bytes, m->fd };
	return vuc_set_memory(&d->vuc, regions, m->num_slots, m->num_slots > 1, err);
}

static int share_inflight(struct drive *d, struct err *err)
{
	int r = 0;

	if (!d->opts.reconnect)
		return 0;
	if (d->inflight.fd < 0)
		r = vuc_get_inflight(&d->vuc, d->num_rings, d->ring_cfg.num, &d->inflight, err);
	return r < 0 ? r : vuc_set_inflight(&d->vuc, &d->inflight, err);
}

static int start_ring(struct drive *d, struct dqueue *q, struct err *err)
{
	struct vuc_vring vring = {
		.index = q->index,
		.num = q->ring.cfg.num,
		.base = dring_restart_base(&q->ring),
		.desc = (uintptr_t)q->ring.desc,
		.driver = (uintptr_t)q->ring.driver,
		.device = (uintptr_t)q->ring.device,
		.kick = q->kick,
		.call = q->call,
		.err = q->err_fd,
	};
	int r;

	r = vuc_start_vring(&d->vuc, &vring, err);
	/* How most back-ends say that they have no such queue. */
	if (r == -ECONNRESET && q->index)
		return err_prefix(
			err, r, "queue %u, which a device of another kind may not have", q->index);
	return r;
}

int drive_start_rings(struct drive *d, struct err *err)
{
	int r = share_inflight(d, err);

	if (r >= 0)
		r = share_memory(d, err);
	for (unsigned int i = 0; r >= 0 && i < d->num_rings; i++)
		r = start_ring(d, &d->queues[i], err);
	for (unsigned int i = 0; r >= 0 && i < d->num_rings; i++)
		r = vuc_enable_vring(&d->vuc, i, true, err);
	if (r >= 0 && vuc_has(&d->vuc, VHU_PF_STATUS))
		r = vuc_set_status(&d->vuc,
			STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK,
			err);
	return r;
}

int drive_stop_rings(struct drive *d, struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; r >= 0 && i < d->num_rings; i++)
		r = vuc_stop_vring(&d->vuc, i, &d->queues[i].base, err);
	if (r >= 0 && vuc_has(&d->vuc, VHU_PF_STATUS))
		r = vuc_set_status(&d->vuc, 0, err);
	return r;
}

/* Once more, on a new connection. */
static int take_over(struct drive *d, struct err *err)
{
	uint64_t features = d->features;
	int r;

	vuc_close(&d->vuc);
	r = drive_negotiate(d, err);
	if (r >= 0 && d->features != features)
		r = err_set(err, -EREMOTEIO,
			"%s: the back-end that came back offers 0x%" PRIx64 ", and 0x%" PRIx64
			" was negotiated with the one before",
			d->opts.connect, d->offered, features);
	d->features = features;
	return r < 0 ? r : drive_start_rings(d, err);
}

bool drive_is_away(int code)
{
	return code == -ECONNREFUSED || code == -ENOENT || code == -ECONNRESET || code == -EAGAIN;
}

int drive_reconnect(struct drive *d, struct err *err)
{
	uint64_t one = 1;
	int r = take_over(d, err);

	if (r < 0)
		return r;
	d->reconnects++;
	/* Whoever was told something by the one before, or waits to be, looks once more. */
	for (unsigned int i = 0; i < d->num_rings; i++) {
		if (write(d->queues[i].kick, &one, sizeof(one)) < 0 ||
			write(d->queues[i].call, &one, sizeof(one)) < 0)
			return err_set(err, -errno, "cannot notify queue %u", i);
	}
	return 0;
}
