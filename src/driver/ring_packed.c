/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packed ring (virtio 1.3, "Packed Virtqueues"), driver side, of any size. Refused: ids that
 * the device does not have, lengths beyond a chain's, and with IN_ORDER what is out of order.
 *
 * All ordering against the device is where flags or an event structure are loaded or stored, and
 * each place says what it pairs with.
 */
#include <errno.h>

#include "driver/ring_int.h"

#define DESC_F_AVAIL (1u << 7)
#define DESC_F_USED  (1u << 15)

#define EVENT_F_ENABLE	0
#define EVENT_F_DISABLE 1
#define EVENT_F_DESC	2
#define EVENT_F_MASK	3

#define WRAP_BIT 15

struct packed_desc {
	le64 addr;
	le32 len;
	le16 id, flags;
};

/* An event suppression structure, loaded and stored whole: off_wrap below, flags above. */
struct packed_event {
	le32 word;
};

static void store_event(struct packed_event *event, uint16_t off_wrap, uint16_t flags)
{
	__atomic_store_n(
		&event->word.raw, htole32((uint32_t)flags << 16 | off_wrap), __ATOMIC_RELAXED);
}

static uint16_t available_flags(bool wrap)
{
	return wrap ? DESC_F_AVAIL : DESC_F_USED;
}

int dring_packed_init(struct dring *r, struct dmem *mem, struct err *err)
{
	uint64_t gpa;

	r->desc = dmem_alloc(mem, r->cfg.num * sizeof(struct packed_desc), 64, &gpa, err);
	if (r->desc)
		r->driver = dmem_alloc(mem, sizeof(struct packed_event), 64, &gpa, err);
	if (r->driver)
		r->device = dmem_alloc(mem, sizeof(struct packed_event), 64, &gpa, err);
	if (!r->device)
		return -ENOMEM;
	r->avail_wrap = r->used_wrap = true;
	store_event(r->driver, 0, EVENT_F_DISABLE);
	return 0;
}

static void hand_over(struct dring *r, uint32_t pos, bool wrap, unsigned int flags)
{
	struct packed_desc *at = (struct packed_desc *)r->desc + pos;

	/* Release, paired with the device's acquire of these flags: who sees them sees the whole
	 * chain. */
	__atomic_store_n(&at->flags.raw, htole16((uint16_t)(flags | available_flags(wrap))),
		__ATOMIC_RELEASE);
}

/* Length, id and flags as they lie behind an address. */
static uint64_t word_of(uint32_t len, uint16_t id, unsigned int flags)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/* A head without its flags, which hand the chain over. */
static void put_head(struct dring *r, uint64_t addr, uint32_t len, uint16_t id)
{
	struct packed_desc *at = (struct packed_desc *)r->desc + r->next_avail;

	at->addr = le64_make(addr);
	at->len = le32_make(len);
	at->id = le16_make(id);
}

/* Entries one after the other from the next position on; returns the writable bytes. */
static uint32_t fill_direct(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num, uint16_t id)
{
	uint32_t pos = r->next_avail, writable = num_out ? 0 : bufs[0].len;
	bool wrap = r->avail_wrap;

	put_head(r, bufs[0].addr, bufs[0].len, id);
	for (unsigned int n = 1; n < num; n++) {
		unsigned int flags = n + 1 < num ? DESC_F_NEXT : 0;

		if (++pos == r->cfg.num) {
			pos = 0;
			wrap = !wrap;
		}
		if (n >= num_out) {
			flags |= DESC_F_WRITE;
			writable += bufs[n].len;
		}
		/* Whoever walks here before the head is handed over does not know the rules. */
		dring_put((struct packed_desc *)r->desc + pos, bufs[n].addr,
			word_of(bufs[n].len, id, flags | available_flags(wrap)));
	}
	return writable;
}

static uint32_t fill_indirect(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num, uint16_t id)
{
	uint64_t at = (uint64_t)id * r->cfg.max_bufs * sizeof(struct packed_desc);
	struct packed_desc *table = (void *)(r->tables + at);
	uint32_t writable = 0;

	/* NEXT has no meaning here: the table's length says how many there are. */
	for (unsigned int n = 0; n < num; n++) {
		bool in = n >= num_out;

		writable += in ? bufs[n].len : 0;
		dring_put(&table[n], bufs[n].addr, word_of(bufs[n].len, 0, in ? DESC_F_WRITE : 0));
	}
	put_head(r, r->tables_addr + at, num * (uint32_t)sizeof(*table), id);
	return writable;
}

static bool packed_add(struct dring *r, const struct dring_buf *bufs, unsigned int num_out,
	unsigned int num_in, uint32_t token)
{
	unsigned int num = num_out + num_in, flags;
	bool indirect = r->cfg.indirect && num > 1, wrap = r->avail_wrap;
	uint16_t id = r->free_head, num_descs = (uint16_t)(indirect ? 1 : num);
	uint32_t head = r->next_avail, next = head + num_descs, writable;

	if (num_descs > r->num_free)
		return false;
	r->free_head = r->next_free[id];
	if (indirect) {
		writable = fill_indirect(r, bufs, num_out, num, id);
		flags = DESC_F_INDIRECT;
	} else {
		writable = fill_direct(r, bufs, num_out, num, id);
		flags = (num_out ? 0 : DESC_F_WRITE) | (num > 1 ? DESC_F_NEXT : 0);
	}
	dring_track(r, id, token, writable, num_descs);
	if (next >= r->cfg.num) {
		next -= r->cfg.num;
		r->avail_wrap = !wrap;
	}
	r->next_avail = (uint16_t)next;
	r->num_added = (uint16_t)(r->num_added + num_descs);
	hand_over(r, head, wrap, flags);
	return true;
}

/* Was the position that the device asked for among the @added ones that end at @now? */
static bool passed(const struct dring *r, uint16_t off_wrap, uint16_t added)
{
	uint16_t event = off_wrap & ((1u << WRAP_BIT) - 1), now = r->next_avail;

	if ((off_wrap >> WRAP_BIT) != r->avail_wrap)
		event = (uint16_t)(event - r->cfg.num);
	return (uint16_t)(now - event - 1) < added;
}

static bool packed_publish(struct dring *r)
{
	const struct packed_event *event = r->device;
	uint16_t added = r->num_added, flags;
	uint32_t word;

	if (!added)
		return false;
	r->num_added = 0;
	/* Full barrier, paired with the device's between its writing of this structure and its last
	 * look for an available descriptor: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	word = le32toh(__atomic_load_n(&event->word.raw, __ATOMIC_RELAXED));
	flags = (uint16_t)(word >> 16) & EVENT_F_MASK;
	if (flags == EVENT_F_DESC)
		return passed(r, (uint16_t)word, added);
	return flags != EVENT_F_DISABLE;
}

/* The descriptor at the position where the next used one appears: is it used? */
static bool is_used(const struct dring *r, uint16_t flags)
{
	bool avail = flags & DESC_F_AVAIL, used = flags & DESC_F_USED;

	return avail == used && used == r->used_wrap;
}

static int begin_batch(struct dring *r, uint32_t id, uint32_t len)
{
	if (unlikely(!dring_is_outstanding(r, id)))
		return dring_bad_id(r, id);
	if (unlikely(len > r->chains[id].writable_bytes))
		return dring_bad_len(r, id, len);
	r->batch_last = (uint16_t)id;
	r->batch_len = len;
	r->in_batch = true;
	return 0;
}

/* Looks for a used descriptor: 1 with its chain in r->batch_*, 0 or -EPROTO. */
static int look(struct dring *r)
{
	const struct packed_desc *at = (const struct packed_desc *)r->desc + r->next_used;
	/* Acquire, paired with the device's release of these flags: id, length and what it wrote
	 * into buffers are there. */
	uint16_t flags = le16toh(__atomic_load_n(&at->flags.raw, __ATOMIC_ACQUIRE));
	uint32_t id, len;

	if (!is_used(r, flags))
		return 0;
	/* One load of each: what is checked is what is used. */
	id = le16toh(__atomic_load_n(&at->id.raw, __ATOMIC_RELAXED));
	len = le32toh(__atomic_load_n(&at->len.raw, __ATOMIC_RELAXED));
	/* The length counts only where the device says that it wrote. */
	return begin_batch(r, id, flags & DESC_F_WRITE ? len : 0) < 0 ? -EPROTO : 1;
}

static int packed_get(struct dring *r, uint32_t *ret_token, uint32_t *ret_len)
{
	struct dring_chain *chain;
	uint32_t next;
	uint16_t id;

	if (!r->in_batch) {
		int found = look(r);

		if (found <= 0)
			return found;
	}
	/* With IN_ORDER one descriptor may stand for all chains up to its own. */
	id = r->cfg.in_order ? dring_take_oldest(r) : r->batch_last;
	chain = &r->chains[id];
	*ret_len = id == r->batch_last ? r->batch_len : chain->writable_bytes;
	r->in_batch = id != r->batch_last;
	next = r->next_used + chain->num_descs;
	if (next >= r->cfg.num) {
		next -= r->cfg.num;
		r->used_wrap = !r->used_wrap;
	}
	r->next_used = (uint16_t)next;
	dring_untrack(r, chain, ret_token);
	r->next_free[id] = r->free_head;
	r->free_head = id;
	return 1;
}

static bool packed_ask_calls(struct dring *r, bool on)
{
	const struct packed_desc *at = (const struct packed_desc *)r->desc + r->next_used;

	if (!on) {
		if (r->calls_asked)
			store_event(r->driver, 0, EVENT_F_DISABLE);
		r->calls_asked = false;
		return false;
	}
	r->calls_asked = true;
	if (r->cfg.event_idx)
		store_event(r->driver, (uint16_t)(r->next_used | r->used_wrap << WRAP_BIT),
			EVENT_F_DESC);
	else
		store_event(r->driver, 0, EVENT_F_ENABLE);
	/* Full barrier, paired with the device's between its used descriptor and its look at this
	 * structure: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return r->in_batch ||
	       is_used(r, le16toh(__atomic_load_n(&at->flags.raw, __ATOMIC_RELAXED)));
}

/*
 * Position 0 with both wrap counters 1, as a ring begins. A device that takes over knows better
 * from its in-flight region.
 */
static uint32_t packed_restart_base(const struct dring *r)
{
	(void)r;
	return 1u << WRAP_BIT | 1u << (WRAP_BIT + 16);
}

const struct dring_ops dring_packed_ops = {
	.add = packed_add,
	.publish = packed_publish,
	.get = packed_get,
	.ask_calls = packed_ask_calls,
	.restart_base = packed_restart_base,
};
