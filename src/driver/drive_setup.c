/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory, rings and requests, all made before the first request: the data path only uses them.
 * Refused: a ring too small for the depth that was asked for, memory too small for both.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "driver/drive_internal.h"

/* What a ring has at least, unless asked otherwise; as virtual machine monitors have it. */
#define QUEUE_SIZE 128

static bool feature(const struct drive *d, unsigned int bit)
{
	return d->features >> bit & 1;
}

/* Ring entries that one request takes. */
static uint32_t descs_each(const struct drive *d)
{
	return feature(d, DRIVER_F_INDIRECT_DESC) ? 1 : d->max_bufs;
}

static int choose_queue_size(struct drive *d, struct err *err)
{
	uint64_t need = (uint64_t)d->opts.iodepth * descs_each(d);
	uint32_t size = d->opts.queue_size;

	if (!size) {
		for (size = QUEUE_SIZE; size < need && size < DRING_SIZE_MAX; size *= 2)
			;
	}
	if (size > DRING_SIZE_MAX || need > size)
		return err_set(err, -EINVAL,
			"--iodepth %u: %u requests of %u ring entries each do not fit a ring of "
			"%u: expected at most --iodepth %u, or a larger --queue-size (at most %d)",
			d->opts.iodepth, d->opts.iodepth, descs_each(d), size,
			MIN(size, (uint32_t)DRING_SIZE_MAX) / descs_each(d), DRING_SIZE_MAX);
	d->opts.queue_size = size;
	d->ring_cfg = (struct dring_config){
		.num = (uint16_t)size,
		.packed = feature(d, DRIVER_F_RING_PACKED),
		.event_idx = feature(d, DRIVER_F_EVENT_IDX),
		.indirect = feature(d, DRIVER_F_INDIRECT_DESC) && d->max_bufs > 1,
		.in_order = feature(d, DRIVER_F_IN_ORDER),
		.max_bufs = (uint16_t)d->max_bufs,
	};
	return 0;
}

static uint64_t data_align(const struct drive *d)
{
	/* As storage likes it. */
	return d->data_bytes >= DMEM_PAGE ? DMEM_PAGE : 64;
}

static int make_memory(struct drive *d, struct err *err)
{
	uint64_t ring = dring_memory_bytes(&d->ring_cfg);
	uint64_t request = d->data_bytes + data_align(d) + DRIVE_HEAD_BYTES;
	uint64_t need = d->num_rings * (ring + d->opts.iodepth * request);

	/* What is left at the end of each slot. */
	need += d->opts.mem_slots * MAX(ring, request);
	return dmem_init(&d->mem, d->opts.memory_bytes ? d->opts.memory_bytes : need,
		d->opts.mem_slots, err);
}

static int make_request(struct dqueue *q, uint32_t i, struct err *err)
{
	struct drive *d = q->d;
	struct drive_request *req = &q->reqs[i];

	req->bufs = q->bufs + (size_t)i * d->max_bufs;
	req->head = dmem_alloc(&d->mem, DRIVE_HEAD_BYTES, 64, &req->head_addr, err);
	if (req->head)
		req->data = dmem_alloc(&d->mem, d->data_bytes, data_align(d), &req->data_addr, err);
	/* The one on top of the stack is request 0. */
	q->free[q->depth - 1 - i] = i;
	return req->data ? 0 : -ENOMEM;
}

static int make_eventfd(int *ret, struct err *err)
{
	*ret = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *ret < 0 ? err_set(err, -errno, "cannot make an event descriptor: %s",
				  strerror(errno))
			: 0;
}

static int make_queue(struct drive *d, struct dqueue *q, struct err *err)
{
	unsigned int which = q->index % d->kind->rings_each;
	int r = make_eventfd(&q->kick, err);

	if (r >= 0)
		r = make_eventfd(&q->call, err);
	if (r >= 0)
		r = make_eventfd(&q->err_fd, err);
	if (r >= 0)
		r = dring_init(&q->ring, &d->ring_cfg, &d->mem, err);
	if (r < 0)
		return r;
	q->ops = d->kind->ops[which];
	q->role = d->kind->role ? d->kind->role(d, which) : DQUEUE_ACTIVE;
	q->depth = q->num_free = d->opts.iodepth;
	q->reqs = xnew_n(struct drive_request, q->depth);
	q->bufs = xnew_n(struct dring_buf, (size_t)q->depth * d->max_bufs);
	q->free = xnew_n(uint32_t, q->depth);
	q->random = d->opts.seed + q->index * 0x632be59bd9b4e019ull;
	for (uint32_t i = 0; r >= 0 && i < q->depth; i++)
		r = make_request(q, i, err);
	if (r >= 0 && d->kind->prepare)
		d->kind->prepare(q);
	return r;
}

/* --requests, shared out among the queues that have a number. */
static void share_out(struct drive *d)
{
	unsigned int num = 0, n = 0;

	for (unsigned int i = 0; i < d->num_rings; i++)
		num += d->queues[i].role <= DQUEUE_LISTENING;
	for (unsigned int i = 0; i < d->num_rings; i++) {
		struct dqueue *q = &d->queues[i];

		q->quota = UINT64_MAX;
		if (q->role > DQUEUE_LISTENING || !d->opts.requests)
			continue;
		q->quota = d->opts.requests / num + (n++ < d->opts.requests % num);
	}
}

int drive_setup(struct drive *d, struct err *err)
{
	int r;

	d->num_rings = d->opts.queues * d->kind->rings_each;
	d->max_bufs = 1;
	d->data_bytes = d->opts.bs;
	r = d->kind->check ? d->kind->check(d, err) : 0;
	if (r >= 0)
		r = choose_queue_size(d, err);
	if (r >= 0)
		r = make_memory(d, err);
	if (r < 0)
		return r;
	d->queues = xnew_n(struct dqueue, d->num_rings);
	for (unsigned int i = 0; i < d->num_rings; i++) {
		d->queues[i].d = d;
		d->queues[i].index = i;
		d->queues[i].kick = d->queues[i].call = d->queues[i].err_fd = -1;
	}
	for (unsigned int i = 0; r >= 0 && i < d->num_rings; i++)
		r = make_queue(d, &d->queues[i], err);
	share_out(d);
	return r;
}

void drive_teardown(struct drive *d)
{
	for (unsigned int i = 0; d->queues && i < d->num_rings; i++) {
		struct dqueue *q = &d->queues[i];

		dring_deinit(&q->ring);
		close_fd(&q->kick);
		close_fd(&q->call);
		close_fd(&q->err_fd);
		free(q->reqs);
		free(q->bufs);
		free(q->free);
		free(q->blocks);
	}
	free(d->queues);
	d->queues = NULL;
	dmem_deinit(&d->mem);
	close_fd(&d->inflight.fd);
}
