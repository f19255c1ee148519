/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packed ring (virtio 1.3, "Packed Virtqueues"), device side. last_avail, used_idx and their
 * kin are places: a position, and the wrap counter in bit 15. What the driver can change is loaded
 * once into a local copy; the copy is checked and the copy is used.
 *
 * A chain takes as many places of the ring as it has descriptors there, and its answer is written
 * where the answer before it ended, so answers in any order only overwrite descriptors that were
 * taken. Of a batch the first answer's flags come last: the driver looks at no later one before.
 *
 * Refused, with the queue broken: positions beyond the ring or further apart than it is long, a
 * chain that runs into descriptors which the device still has, a buffer id beyond the ring or in
 * flight, INDIRECT within a list of descriptors, and what walk.c refuses. In an indirect table only
 * WRITE counts, the entries follow each other and their flags else are not looked at, as the
 * specification has it. INDIRECT is followed even where it was not negotiated. Whatever the event
 * suppression area holds, we call once too often rather than once too few.
 */
#include "virtio/vring.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "virtio/packed_recorded.h"
#include "virtio/vdev.h"
#include "virtio/vq_dirty.h"
#include "virtio/walk.h"

static uint16_t pos_of(uint16_t place)
{
	return place & VRING_PACKED_POS;
}

static struct vring_packed_desc *desc_at(const struct vq *vq, uint16_t place)
{
	return (struct vring_packed_desc *)vq->packed.desc + pos_of(place);
}

/* They say whose a descriptor is: acquire pairs with the driver's barrier before it wrote them. */
static uint16_t load_flags(const struct vring_packed_desc *d)
{
	return le16toh(__atomic_load_n(&d->flags.raw, __ATOMIC_ACQUIRE));
}

static bool is_avail(const struct vq *vq)
{
	return vring_packed_is_avail(load_flags(desc_at(vq, vq->last_avail)), vq->last_avail);
}

/* Both words of an event suppression area at once: none of one time with the other of another. */
static struct vring_packed_event load_event(const struct vring_packed_event *from)
{
	uint32_t raw = __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
	struct vring_packed_event ret;

	memcpy(&ret, &raw, sizeof(ret));
	return ret;
}

/* Ours: where, or whether, we want to be kicked. */
static void store_event(struct vq *vq, uint16_t off_wrap, uint16_t flags)
{
	struct vring_packed_event event = { le16_make(off_wrap), le16_make(flags) };
	uint32_t raw;

	memcpy(&raw, &event, sizeof(raw));
	__atomic_store_n((uint32_t *)vq->packed.device, raw, __ATOMIC_RELAXED);
	vq_dirty_device_area(vq, 0, sizeof(event));
}

static uint64_t packed_area_bytes(uint32_t num, bool event_idx, int area)
{
	(void)event_idx;
	if (area == VQ_AREA_DESC)
		return (uint64_t)num * sizeof(struct vring_packed_desc);
	return sizeof(struct vring_packed_event);
}

static int map_area(struct vq *vq, const char *name, uint64_t gpa, uint64_t align, int area,
	void **ret, struct err *err)
{
	return walk_map_area(
		vq, name, gpa, packed_area_bytes(vq->num, false, area), align, ret, err);
}

/*
 * 0 without wrap counters is where every second round begins, and what a transport says that does
 * not know of wrap counters (user-mode Linux) when it means the beginning. In a ring that has done
 * a round some answer carries a USED bit of 1, and its driver only writes USED bits of 1 from then
 * on; in a new one nobody has set any.
 */
static bool is_new_ring(const struct vq *vq)
{
	for (uint32_t i = 0; i < vq->num; i++)
		if (load_flags(desc_at(vq, (uint16_t)i)) & VRING_PACKED_DESC_F_USED)
			return false;
	return true;
}

static int set_places(struct vq *vq, struct err *err)
{
	uint16_t avail = vq->cfg.next_avail, used = vq->cfg.next_used;

	if (!vq->cfg.has_base || (!avail && !used && is_new_ring(vq)))
		avail = used = VRING_PACKED_START;
	if (pos_of(avail) >= vq->num || pos_of(used) >= vq->num)
		return err_set(err, -EINVAL,
			"queue %u: goes on at available 0x%04x, used 0x%04x, beyond a ring of %u",
			vq->index, avail, used, vq->num);
	vq->packed.num_busy = vring_packed_distance(vq->num, used, avail);
	if (vq->packed.num_busy > vq->num)
		return err_set(err, -EINVAL,
			"queue %u: goes on at available 0x%04x, used 0x%04x: %u descriptors "
			"between them, in a ring of %u",
			vq->index, avail, used, vq->packed.num_busy, vq->num);
	/* One that goes on where it stood has the chain taken last where it was, unless it was in a
	 * larger ring. */
	if (avail != vq->last_avail || vq->packed.last_head >= vq->num)
		vq->packed.last_head = VRING_PACKED_WRAP;
	vq->last_avail = vq->shadow_avail = avail;
	vq->used_idx = vq->flushed_used = used;
	vq->signalled_used_valid = false;
	return 0;
}

static int packed_map(struct vq *vq, struct err *err)
{
	void *desc, *driver, *device;
	int r = map_area(
		vq, "descriptor", vq->cfg.desc, VRING_PACKED_DESC_ALIGN, VQ_AREA_DESC, &desc, err);

	if (!r)
		r = map_area(vq, "driver", vq->cfg.driver, VRING_PACKED_EVENT_ALIGN, VQ_AREA_DRIVER,
			&driver, err);
	if (!r)
		r = map_area(vq, "device", vq->cfg.device, VRING_PACKED_EVENT_ALIGN, VQ_AREA_DEVICE,
			&device, err);
	if (r < 0)
		return r;
	vq->packed.desc = desc;
	vq->packed.driver = driver;
	vq->packed.device = device;
	return set_places(vq, err);
}

/* Descriptors that the driver may have made available: those that the device does not have. */
static uint32_t num_free(const struct vq *vq)
{
	return vq->num - vq->packed.num_busy;
}

static void unpack_desc(const struct vring_packed_desc *raw, struct walk_desc *ret)
{
	ret->addr = le64_get(raw->addr);
	ret->len = le32_get(raw->len);
	ret->flags = le16_get(raw->flags);
	ret->next = le16_get(raw->id);
}

int vq_packed_walk_table(struct walk *w, const struct walk_desc *outer, uint32_t outer_index)
{
	struct vring_packed_desc raw;
	struct walk_table table;
	struct walk_desc d;
	uint32_t i;
	int r = walk_table(w, outer, outer_index, &table);

	for (i = 0; !r && i < table.num; i++) {
		walk_table_load(w, &table, i, &raw);
		unpack_desc(&raw, &d);
		r = walk_take(w, &d, i);
	}
	return r;
}

/*
 * From the place last_avail on, whose flags were loaded as @flags: they are not loaded again, for
 * they may have changed. Returns the buffer id and the places taken.
 */
static int walk_chain(struct walk *w, uint16_t flags, uint16_t *ret_id, uint32_t *ret_n)
{
	struct vq *vq = w->vq;
	uint16_t at = vq->last_avail;
	struct vring_packed_desc raw;
	struct walk_desc d;
	uint32_t n = 0;
	int r;

	do {
		uint32_t pos = pos_of(at);

		if (n == num_free(vq))
			return walk_bad(w, "is still the device's, and part of a new chain", pos);
		walk_load(vq->packed.desc, pos, &raw);
		unpack_desc(&raw, &d);
		if (!n)
			d.flags = flags;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (n || (d.flags & VRING_DESC_F_NEXT))
				return walk_bad(w, "is INDIRECT within a list", pos);
			r = vq_packed_walk_table(w, &d, pos);
		} else {
			r = walk_take(w, &d, pos);
		}
		if (r < 0)
			return r;
		at = vring_packed_add(vq->num, at, 1);
		n++;
	} while (d.flags & VRING_DESC_F_NEXT);
	*ret_id = d.next;
	*ret_n = n;
	return 0;
}

static int check_id(struct vq *vq, uint16_t id)
{
	uint32_t pos = pos_of(vq->last_avail);

	if (id >= vq->num) {
		vq_break(
			vq, "descriptor %u: buffer id %u is beyond a ring of %u", pos, id, vq->num);
		return -EPROTO;
	}
	if (atomic_load_explicit(&vq->inflight[id], memory_order_relaxed)) {
		vq_break(vq,
			"descriptor %u: buffer id %u is made available again while it is in flight",
			pos, id);
		return -EPROTO;
	}
	return 0;
}

/* A descriptor wherever it lies, in the order of its fields. */
struct packed_fields {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
} __attribute__((packed, may_alias));

/* And in registers, each field loaded once. */
struct quick_desc {
	uint64_t addr, len;
	uint32_t flags, id;
};

/* All but the flags. */
static inline const volatile struct packed_fields *quick_load_rest(
	const void *table, uint32_t at, struct quick_desc *ret)
{
	const volatile struct packed_fields *d =
		(const volatile struct packed_fields *)((const char *)table + at);

	ret->addr = le64toh(d->addr);
	ret->len = le32toh(d->len);
	ret->id = le16toh(d->id);
	return d;
}

static inline void quick_load(const void *table, uint32_t at, struct quick_desc *ret)
{
	ret->flags = le16toh(quick_load_rest(table, at, ret)->flags);
}

/* The list in the ring from @d on, which is loaded already and has the place @at, in bytes. */
static inline bool quick_list(struct walk_quick *q, uint32_t at, struct quick_desc *d)
{
	const uint32_t mask = VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;
	const uint32_t each = sizeof(struct vring_packed_desc);
	uint32_t end = q->vq->num * each;

	while (!(d->flags & mask)) {
		if (!walk_quick_take(q, d->addr, d->len))
			return false;
		if (!(d->flags & VRING_DESC_F_NEXT)) {
			walk_quick_turn(q);
			return true;
		}
		if (!walk_quick_room(q))
			return false;
		at = at + each == end ? 0 : at + each;
		quick_load(q->vq->packed.desc, at, d);
	}
	walk_quick_turn(q);
	while ((d->flags & mask) == VRING_DESC_F_WRITE) {
		if (!walk_quick_take(q, d->addr, d->len))
			return false;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return true;
		if (!walk_quick_room(q))
			return false;
		at = at + each == end ? 0 : at + each;
		quick_load(q->vq->packed.desc, at, d);
	}
	return false;
}

/* The entries of a table, which follow each other. */
static inline bool quick_table(struct walk_quick *q, uint64_t gpa, uint64_t bytes)
{
	const uint32_t each = sizeof(struct vring_packed_desc);
	struct quick_desc d;
	const void *table;
	uint32_t at = 0;

	if (bytes % each || bytes > VQ_INLINE_IOVS * each ||
		!walk_quick_ptr(q->vq, gpa, bytes, &table))
		return false;
	quick_load(table, 0, &d);
	while (!(d.flags & VRING_DESC_F_WRITE)) {
		if (!walk_quick_take(q, d.addr, d.len))
			return false;
		at += each;
		if (at == bytes) {
			walk_quick_turn(q);
			return true;
		}
		quick_load(table, at, &d);
	}
	walk_quick_turn(q);
	while (d.flags & VRING_DESC_F_WRITE) {
		if (!walk_quick_take(q, d.addr, d.len))
			return false;
		at += each;
		if (at == bytes)
			return true;
		quick_load(table, at, &d);
	}
	return false;
}

/* True where the chain at @at, in bytes, whose first flags were loaded, is an ordinary one. */
static inline bool quick_chain(struct vq *vq, struct chain *c, uint32_t at, uint32_t flags)
{
	struct walk_quick q;
	struct quick_desc d;

	walk_quick_begin(&q, vq, c);
	quick_load_rest(vq->packed.desc, at, &d);
	d.flags = flags;
	c->num_ring_descs = 1;
	if (flags & VRING_DESC_F_INDIRECT) {
		if ((flags & VRING_DESC_F_NEXT) || !quick_table(&q, d.addr, d.len))
			return false;
	} else {
		if (!quick_list(&q, at, &d) || (uint32_t)(q.iov - c->iov_block) > num_free(vq))
			return false;
		c->num_ring_descs = (uint16_t)(q.iov - c->iov_block);
	}
	if (unlikely(d.id >= vq->num ||
		     atomic_load_explicit(&vq->inflight[d.id], memory_order_relaxed)))
		return false;
	c->head = (uint16_t)d.id;
	return walk_quick_end(&q);
}

/* Any chain, where the quick way gave up on @c: a new beginning, with the first flags too. */
static __attribute__((noinline)) int full_chain(struct chain *c, struct chain **ret)
{
	struct vq *vq = c->vq;
	uint16_t flags = load_flags(desc_at(vq, vq->last_avail)), id = 0;
	struct walk w;
	uint32_t n = 0;
	int r;

	vq_chain_put(vq, c);
	if (!vring_packed_is_avail(flags, vq->last_avail))
		return 0;
	/* Until its id is known it goes by its place. */
	walk_begin(&w, vq, pos_of(vq->last_avail));
	r = walk_chain(&w, flags, &id, &n);
	if (!r)
		r = check_id(vq, id);
	w.c->head = id;
	w.c->num_ring_descs = (uint16_t)n;
	return walk_end(&w, r, ret);
}

static int packed_peek(struct vq *vq, struct chain **ret)
{
	uint16_t place = vq->last_avail, flags = load_flags(desc_at(vq, place));
	uint32_t pos = pos_of(place);
	struct chain *c;

	if (!vring_packed_is_avail(flags, place))
		return 0;
	if (!num_free(vq)) {
		vq_break(vq, "descriptor %u is made available while the device has all of them",
			pos);
		return -EPROTO;
	}
	c = vq_chain_get(vq, (uint16_t)pos);
	*ret = c;
	return likely(quick_chain(vq, c, pos * (uint32_t)sizeof(struct vring_packed_desc), flags))
		       ? 1
		       : full_chain(c, ret);
}

static void packed_advance(struct vq *vq, struct chain *c)
{
	vq->packed.last_head = pos_of(vq->last_avail);
	vq->packed.num_busy += c->num_ring_descs;
	vq->last_avail = vring_packed_add(vq->num, vq->last_avail, c->num_ring_descs);
	vq->shadow_avail = vq->last_avail;
}

/* The dirty log hears of a write to the ring, after it. */
static void mark_desc(struct vq *vq, uint16_t place)
{
	const uint64_t each = sizeof(struct vring_packed_desc);

	vq_dirty_desc_area(vq, pos_of(place) * each, each);
}

static void packed_push(struct vq *vq, struct chain *c)
{
	struct vring_packed_desc *d = desc_at(vq, vq->used_idx);
	uint16_t flags = vq->used_idx & VRING_PACKED_WRAP
				 ? VRING_PACKED_DESC_F_AVAIL | VRING_PACKED_DESC_F_USED
				 : 0;

	if (c->written)
		flags |= VRING_DESC_F_WRITE;
	vq_open_used(vq);
	d->id = le16_make(c->head);
	d->len = le32_make(c->written);
	/* The first of a batch keeps its flags for flush(): they show all that stands behind it. */
	if (vq->used_idx == vq->flushed_used)
		vq->packed.first_flags = flags;
	else
		__atomic_store_n(&d->flags.raw, htole16(flags), __ATOMIC_RELAXED);
	mark_desc(vq, vq->used_idx);
	vq->used_idx = vring_packed_add(vq->num, vq->used_idx, c->num_ring_descs);
}

/* Is the driver to be called for answers from @before up to, and without, @now? */
static bool wants_call(const struct vq *vq, uint16_t before, uint16_t now)
{
	struct vring_packed_event event = load_event(vq->packed.driver);
	uint16_t flags = le16_get(event.flags) & VRING_PACKED_EVENT_FLAGS;
	uint16_t at = le16_get(event.off_wrap);

	if (flags == VRING_PACKED_EVENT_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_DESC || !vq->event_idx || pos_of(at) >= vq->num)
		return true;
	return vring_packed_distance(vq->num, before, at) <
	       vring_packed_distance(vq->num, before, now);
}

static bool packed_flush(struct vq *vq)
{
	uint16_t before = vq->flushed_used, now = vq->used_idx;
	bool valid = vq->signalled_used_valid;

	if (before == now)
		return false;
	/* Release pairs with the driver's read barrier: who sees these flags sees the batch. */
	__atomic_store_n(
		&desc_at(vq, before)->flags.raw, htole16(vq->packed.first_flags), __ATOMIC_RELEASE);
	mark_desc(vq, before);
	vq->packed.num_busy -= vring_packed_distance(vq->num, before, now);
	vq->flushed_used = vq->signalled_used = now;
	vq->signalled_used_valid = vq->event_idx;
	/*
	 * Full barrier, paired with the driver's between its write of the event suppression area
	 * and its look at the next used flags: one of the two sees the other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (vq->event_idx && !valid) || wants_call(vq, before, now);
}

static bool packed_ask_notify(struct vq *vq, bool on)
{
	if (!on) {
		/*
		 * In a batch the place stays behind: the driver has passed it already and is
		 * silent. Polling begins before that.
		 */
		if (!vq->event_idx || vq->polled)
			store_event(vq, 0, VRING_PACKED_EVENT_DISABLE);
		return false;
	}
	if (vq->event_idx)
		store_event(vq, vq->last_avail, VRING_PACKED_EVENT_DESC);
	else
		store_event(vq, 0, VRING_PACKED_EVENT_ENABLE);
	/* Full barrier, paired with the driver's between its flags and its look at what we ask for.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_avail(vq);
}

const struct vq_ops vq_packed_ops = {
	.map = packed_map,
	.peek = packed_peek,
	.advance = packed_advance,
	.push = packed_push,
	.flush = packed_flush,
	.ask_notify = packed_ask_notify,
	.waits = is_avail,
	.area_bytes = packed_area_bytes,
	.packed = true,
	.first_used = VRING_PACKED_START,
	.recorded = &vq_packed_recorded_ops,
};
