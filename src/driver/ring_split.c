/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split ring (virtio 1.3, "Split Virtqueues"), driver side. Refused: a used index further ahead
 * than there are chains at the device, ids that it does not have, lengths beyond a chain's, and
 * with IN_ORDER what is out of order.
 *
 * All ordering against the device is in the four functions that load or store an index, and each
 * says what it pairs with.
 */
#include <errno.h>

#include "base/alloc.h"
#include "driver/ring_int.h"

#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY     1

/*
 * Without calls: how far behind used_event may stay before it is moved along, so that the wrap of
 * the index never makes the device call; and how far behind it is put, since the device looks at it
 * after it answered a batch that we may have taken already.
 */
#define USED_EVENT_LAG	  0x8000
#define USED_EVENT_BEHIND 0x2000

struct split_desc {
	le64 addr;
	le32 len;
	le16 flags, next;
};

struct split_avail {
	le16 flags, idx;
	le16 ring[]; /* num entries, then used_event */
};

struct split_used_elem {
	le32 id, len;
};

struct split_used {
	le16 flags, idx;
	struct split_used_elem ring[]; /* num entries, then avail_event */
};

static uint16_t load16(const le16 *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static void store16(le16 *p, uint16_t v)
{
	__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELAXED);
}

static le16 *used_event_of(struct dring *r)
{
	return &((struct split_avail *)r->driver)->ring[r->cfg.num];
}

static const le16 *avail_event_of(const struct dring *r)
{
	return (const le16 *)&((const struct split_used *)r->device)->ring[r->cfg.num];
}

int dring_split_init(struct dring *r, struct dmem *mem, struct err *err)
{
	uint64_t num = r->cfg.num, gpa;

	r->desc = dmem_alloc(mem, num * sizeof(struct split_desc), 64, &gpa, err);
	if (r->desc)
		r->driver = dmem_alloc(mem,
			sizeof(struct split_avail) + num * sizeof(le16) + sizeof(le16), 64, &gpa,
			err);
	if (r->driver)
		r->device = dmem_alloc(mem,
			sizeof(struct split_used) + num * sizeof(struct split_used_elem) +
				sizeof(le16),
			64, &gpa, err);
	if (!r->device)
		return -ENOMEM;
	/* Nobody asked for calls yet. */
	r->used_event = (uint16_t)-1;
	store16(&((struct split_avail *)r->driver)->flags, AVAIL_F_NO_INTERRUPT);
	store16(used_event_of(r), r->used_event);
	return 0;
}

/* Length, flags and next as they lie behind an address. */
static uint64_t word_of(uint32_t len, unsigned int flags, unsigned int next)
{
	return len | (uint64_t)flags << 32 | (uint64_t)next << 48;
}

/* A chain in the ring's own table; *head becomes what is free next. Returns its writable bytes. */
static uint32_t fill_direct(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num, uint16_t *head)
{
	struct split_desc *table = r->desc;
	uint32_t writable = 0;
	uint16_t i = *head;

	for (unsigned int n = 0; n < num; n++) {
		unsigned int flags = n + 1 < num ? DESC_F_NEXT : 0;
		uint16_t next = r->next_free[i];

		if (n >= num_out) {
			flags |= DESC_F_WRITE;
			writable += bufs[n].len;
		}
		dring_put(&table[i], bufs[n].addr, word_of(bufs[n].len, flags, next));
		i = next;
	}
	*head = i;
	return writable;
}

/* The same in a table of the chain's own. */
static uint32_t fill_indirect(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num, uint16_t *head)
{
	uint64_t at = (uint64_t)*head * r->cfg.max_bufs * sizeof(struct split_desc);
	struct split_desc *table = (void *)(r->tables + at);
	uint32_t writable = 0;

	for (unsigned int n = 0; n < num; n++) {
		unsigned int flags = n + 1 < num ? DESC_F_NEXT : 0;

		if (n >= num_out) {
			flags |= DESC_F_WRITE;
			writable += bufs[n].len;
		}
		dring_put(&table[n], bufs[n].addr, word_of(bufs[n].len, flags, n + 1));
	}
	dring_put((struct split_desc *)r->desc + *head, r->tables_addr + at,
		word_of(num * (uint32_t)sizeof(*table), DESC_F_INDIRECT, 0));
	*head = r->next_free[*head];
	return writable;
}

static bool split_add(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num_in, uint32_t token)
{
	struct split_avail *avail = r->driver;
	unsigned int num = num_out + num_in;
	bool indirect = r->cfg.indirect && num > 1;
	uint16_t head = r->free_head, num_descs = (uint16_t)(indirect ? 1 : num);
	uint32_t writable;

	if (num_descs > r->num_free)
		return false;
	/* The free list of a ring with IN_ORDER stays sorted, since chains come back in order: the
	 * table is used from its start to its end and again, as that feature asks. */
	writable = indirect ? fill_indirect(r, bufs, num_out, num, &r->free_head)
			    : fill_direct(r, bufs, num_out, num, &r->free_head);
	dring_track(r, head, token, writable, num_descs);
	store16(&avail->ring[r->avail_idx & (r->cfg.num - 1)], head);
	r->avail_idx++;
	return true;
}

/* virtio 1.3, "Available Buffer Notification Suppression": was the index asked for passed? */
static bool crossed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool split_publish(struct dring *r)
{
	struct split_avail *avail = r->driver;
	const struct split_used *used = r->device;
	uint16_t before = r->avail_published;

	if (before == r->avail_idx)
		return false;
	/* Release, paired with the device's acquire of this index: who sees it sees the entries and
	 * descriptors behind it. */
	__atomic_store_n(&avail->idx.raw, htole16(r->avail_idx), __ATOMIC_RELEASE);
	r->avail_published = r->avail_idx;
	/* Full barrier, paired with the device's between its asking for kicks (avail_event or
	 * NO_NOTIFY) and its last look at this index: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->cfg.event_idx)
		return crossed(load16(avail_event_of(r)), r->avail_idx, before);
	return !(load16(&used->flags) & USED_F_NO_NOTIFY);
}

/* Without IN_ORDER the whole chain goes to the head of the list; with it, to its end: see above. */
static void free_descs(struct dring *r, uint16_t head, uint16_t num)
{
	uint16_t last = head;

	if (r->cfg.in_order)
		return;
	while (--num)
		last = r->next_free[last];
	r->next_free[last] = r->free_head;
	r->free_head = head;
}

/* How many more the device used; loads its index only where the last one is used up. */
static int used_waits(struct dring *r)
{
	const struct split_used *used = r->device;
	uint16_t ahead;

	if (r->used_shadow != r->last_used)
		return 1;
	/* Acquire, paired with the device's release of this index: the entries and what it wrote
	 * into buffers are there. */
	r->used_shadow = le16toh(__atomic_load_n(&used->idx.raw, __ATOMIC_ACQUIRE));
	ahead = (uint16_t)(r->used_shadow - r->last_used);
	if (unlikely(ahead > r->num_outstanding))
		return dring_bad(r,
			"the device's used index %u is %u ahead of %u: expected at most %u, the "
			"requests that it has",
			r->used_shadow, ahead, r->last_used, r->num_outstanding);
	return ahead != 0;
}

/* Is the answer one that can be? */
static int check_answer(struct dring *r, uint32_t id, uint32_t len)
{
	if (unlikely(!dring_is_outstanding(r, id)))
		return dring_bad_id(r, id);
	return unlikely(len > r->chains[id].writable_bytes) ? dring_bad_len(r, id, len) : 0;
}

/* With IN_ORDER one entry may stand for all chains up to its own. */
static int next_in_order(struct dring *r, uint32_t *id, uint32_t *len)
{
	if (!r->in_batch) {
		if (check_answer(r, *id, *len) < 0)
			return -EPROTO;
		r->in_batch = true;
		r->batch_last = (uint16_t)*id;
		r->batch_len = *len;
	}
	*id = dring_take_oldest(r);
	*len = r->chains[*id].writable_bytes;
	if (*id == r->batch_last) {
		*len = r->batch_len;
		r->in_batch = false;
	} else if ((uint16_t)(r->last_used + 1) == r->used_shadow) {
		return dring_bad_batch(r);
	}
	return 0;
}

static int split_get(struct dring *r, uint32_t *ret_token, uint32_t *ret_len)
{
	const struct split_used *used = r->device;
	int more = used_waits(r);
	struct split_used_elem elem;
	uint32_t id, len;
	uint16_t num;

	if (more <= 0)
		return more;
	/* One load of the pair: what is checked is what is used. */
	memcpy(&elem, &used->ring[r->last_used & (r->cfg.num - 1)], sizeof(elem));
	__asm__ volatile("" : "+m"(elem));
	id = le32_get(elem.id);
	len = le32_get(elem.len);
	if ((r->cfg.in_order ? next_in_order(r, &id, &len) : check_answer(r, id, len)) < 0)
		return -EPROTO;
	num = r->chains[id].num_descs;
	dring_untrack(r, &r->chains[id], ret_token);
	free_descs(r, (uint16_t)id, num);
	*ret_len = len;
	r->last_used++;
	if (!r->calls_asked && (uint16_t)(r->last_used - r->used_event) > USED_EVENT_LAG) {
		r->used_event = (uint16_t)(r->last_used - USED_EVENT_BEHIND);
		store16(used_event_of(r), r->used_event);
	}
	return 1;
}

static bool split_ask_calls(struct dring *r, bool on)
{
	struct split_avail *avail = r->driver;
	const struct split_used *used = r->device;

	if (r->cfg.event_idx) {
		r->calls_asked = on;
		/* Where the index stays behind, the device has passed it and stays silent. */
		if (!on)
			return false;
		r->used_event = r->last_used;
		store16(used_event_of(r), r->used_event);
	} else if (r->calls_asked != on) {
		r->calls_asked = on;
		store16(&avail->flags, on ? 0 : AVAIL_F_NO_INTERRUPT);
	}
	if (!on)
		return false;
	/* Full barrier, paired with the device's between its used index and its look at what we ask
	 * for: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&used->idx) != r->last_used;
}

/* What was used is a device's last trace. */
static uint32_t split_restart_base(const struct dring *r)
{
	return load16(&((const struct split_used *)r->device)->idx);
}

const struct dring_ops dring_split_ops = {
	.add = split_add,
	.publish = split_publish,
	.get = split_get,
	.ask_calls = split_ask_calls,
	.restart_base = split_restart_base,
};
