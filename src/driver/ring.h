/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a ring, split or packed (virtio 1.3, "Split Virtqueues", "Packed
 * Virtqueues"). Shares no code with the device's side in virtio/, so that one checks the other.
 *
 * A ring belongs to one thread at a time. Nothing here allocates after dring_init(), sleeps or
 * makes a system call. What the device writes is checked before it is used: an answer that cannot
 * be is -EPROTO with a sentence, and the ring is of no use afterwards.
 */
#ifndef DRIVER_RING_H
#define DRIVER_RING_H

#include "base/err.h"
#include "base/util.h"
#include "driver/memory.h"

#define DRING_SIZE_MAX 32768

/* Bits of the feature word that rings know (virtio 1.3, "Reserved Feature Bits"). */
#define DRIVER_F_INDIRECT_DESC 28
#define DRIVER_F_EVENT_IDX     29
#define DRIVER_F_VERSION_1     32
#define DRIVER_F_RING_PACKED   34
#define DRIVER_F_IN_ORDER      35

struct dring_config {
	uint16_t num; /* entries; of a split ring a power of two */
	bool packed, event_idx, indirect, in_order;
	uint16_t max_bufs; /* the longest chain */
};

/* A piece of a chain, by guest address. */
struct dring_buf {
	uint64_t addr;
	uint32_t len;
};

struct dring;

/* A format of rings. */
struct dring_ops {
	bool (*add)(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
		unsigned int num_in, uint32_t token);
	bool (*publish)(struct dring *r);
	int (*get)(struct dring *r, uint32_t *ret_token, uint32_t *ret_len);
	bool (*ask_calls)(struct dring *r, bool on);
	uint32_t (*restart_base)(const struct dring *r);
};

/* A chain that the device has, by its buffer id; num_descs 0: none. */
struct dring_chain {
	uint32_t token;
	uint32_t writable_bytes;
	uint16_t num_descs; /* ring entries that it takes up */
};

struct dring {
	const struct dring_ops *ops;
	struct dring_config cfg;
	struct err err; /* what dring_get() says with -EPROTO */

	/* The three areas, for SET_VRING_ADDR; owned by the memory. */
	void *desc, *driver, *device;
	/* Indirect tables, one for each id, max_bufs entries each. */
	uint8_t *tables;
	uint64_t tables_addr;

	struct dring_chain *chains; /* by id */
	uint16_t *next_free; /* by id: a list */
	uint16_t free_head;
	uint32_t num_free; /* ring entries */
	uint32_t num_outstanding; /* chains */

	/* With IN_ORDER: ids in the order in which they were made available, and the last of a
	 * batch that the device answered with one entry. */
	uint16_t *fifo;
	uint32_t fifo_head, fifo_tail; /* modulo num */
	bool in_batch;
	uint16_t batch_last;
	uint32_t batch_len;

	/* Split: free-running indices. */
	uint16_t avail_idx, avail_published, used_shadow, last_used, used_event;
	/* Packed: positions and wrap counters. */
	uint16_t next_avail, next_used, num_added;
	bool avail_wrap, used_wrap;

	bool calls_asked;
};

/* Bytes of @mem that a ring of this kind takes, roughly and rather more. */
uint64_t dring_memory_bytes(const struct dring_config *cfg);
/* 0, or -errno with a sentence: the size is not legal, or @mem is used up. */
int dring_init(struct dring *r, const struct dring_config *cfg, struct dmem *mem, struct err *err);
/* Idempotent; the areas stay the memory's. */
void dring_deinit(struct dring *r);

/*
 * Adds a chain: @num_out buffers that the device reads, then @num_in that it writes. @token comes
 * back from dring_get(). False: no room.
 */
static inline bool dring_add(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num_in, uint32_t token)
{
	return r->ops->add(r, bufs, num_out, num_in, token);
}

/* Shows the device what was added since the last time. True: it wants to be kicked. */
static inline bool dring_publish(struct dring *r)
{
	return r->ops->publish(r);
}

/*
 * The next chain that the device is done with: 1 with its token and how many bytes were written,
 * 0 for none now, -EPROTO with r->err.
 */
static inline int dring_get(struct dring *r, uint32_t *ret_token, uint32_t *ret_len)
{
	return r->ops->get(r, ret_token, ret_len);
}

/*
 * Asks the device to call when the next chain is done, or not to. True: one is done already, and
 * its call may never come.
 */
static inline bool dring_ask_calls(struct dring *r, bool on)
{
	return r->ops->ask_calls(r, on);
}

/*
 * For SET_VRING_BASE: where a device begins, at first and where another one takes over a ring whose
 * device is gone.
 */
static inline uint32_t dring_restart_base(const struct dring *r)
{
	return r->ops->restart_base(r);
}

#endif
