/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The quick way of the ring walk against the full one: random rings of both formats, with buffers
 * and tables at every edge of memory, are looked at by each, and all of the outcome has to be the
 * same. The full way is the product's own source, built here once more without the quick one.
 */
#include "vq_fixture.h"

#include "virtio/packed_recorded.h"
#include "virtio/walk.h"

/* The quick way gives up at its first buffer and at its first table. */
#define walk_quick_take(q, gpa, len)	  ((void)(q), (void)(gpa), (void)(len), false)
#define walk_quick_ptr(vq, gpa, len, ret) ((void)(vq), (void)(gpa), (void)(len), (void)(ret), false)
#define vq_split_ops			  full_split_ops
#define split_recorded_ops		  full_split_recorded_ops
#define unpack_desc			  split_unpack_desc
#define map_area			  split_map_area
#define walk_indirect			  split_walk_indirect
#define walk_chain			  split_walk_chain
#define quick_desc			  split_quick_desc
#define quick_load			  split_quick_load
#define quick_chain			  split_quick_chain
#define full_chain			  split_full_chain
#include "virtio/split.c"
#undef unpack_desc
#undef map_area
#undef walk_indirect
#undef walk_chain
#undef quick_desc
#undef quick_load
#undef quick_chain
#undef full_chain
#define vq_packed_ops	     full_packed_ops
#define vq_packed_walk_table full_packed_walk_table
int vq_packed_walk_table(struct walk *w, const struct walk_desc *outer, uint32_t outer_index);
#include "virtio/packed.c"
#undef walk_quick_take
#undef walk_quick_ptr
#undef vq_split_ops
#undef vq_packed_ops

#define CASES	  200000
#define NUM	  64
#define FAR_AT	  (8ull << 30)
#define FAR_BYTES (6ull << 30)
#define PACKED	  (1ull << VIRTIO_F_RING_PACKED)

/* All that peek() leaves behind. */
struct outcome {
	int r;
	bool broken, dry;
	char reason[VQ_REASON_BYTES];
	uint16_t head, num_ring_descs, slot;
	uint32_t num_loaded, written, readable_offered, writable_offered, num_free_slots;
	uint64_t readable, writable;
	int num_readable, num_writable;
	struct iovec iov[64];
};

static uint64_t seed = 88172645463325252ull;

static uint32_t roll(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 32) % n);
}

static uint64_t any_addr(void)
{
	static const uint64_t edges[] = { 0, SPLIT, RAM_END, FAR_AT, FAR_AT + FAR_BYTES,
		UINT64_MAX };

	if (roll(4))
		return DATA_AT + roll(0x10000);
	return edges[roll(ARRAY_SIZE(edges))] + roll(0x80) - 0x40;
}

static uint32_t any_len(void)
{
	static const uint32_t lens[] = { 0, 1, 15, 16, 0x40, 0x41, 0x1000, SPLIT, 1u << 31,
		UINT32_MAX - 15, UINT32_MAX };

	return roll(3) ? 1 + roll(0x200) : lens[roll(ARRAY_SIZE(lens))];
}

/* A chain that is mostly right: up to @n entries, the place of each of them from @place. */
struct shape {
	unsigned int n, readable;
	bool odd; /* now and then something is wrong */
};

static struct shape any_shape(void)
{
	struct shape s = { .n = 1 + (roll(4) ? roll(5) : roll(26)), .odd = !roll(3) };

	s.readable = roll(s.n + 1);
	return s;
}

/* Enough of 2 and 3 GiB make a chain that is too long. */
static void any_buffer(const struct shape *s, uint64_t *addr, uint32_t *len)
{
	*addr = DATA_AT + roll(0x10000);
	*len = 1 + roll(0x200);
	if (s->odd && !roll(3)) {
		*addr = any_addr();
		*len = any_len();
	} else if (s->odd && !roll(3)) {
		*addr = FAR_AT + roll(0x1000);
		*len = UINT32_MAX - roll(3);
	}
}

static uint16_t any_flags(const struct shape *s, unsigned int i)
{
	uint16_t flags = (uint16_t)((i < s->readable ? 0 : WRITE) | (i + 1 < s->n ? NEXT : 0));

	if (s->odd && !roll(8))
		flags ^= (uint16_t)(1u << roll(4));
	return flags;
}

static uint64_t any_table(const struct shape *s)
{
	const uint64_t at[] = { TABLE_AT, SPLIT - s->n * 16, SPLIT - 16, RAM_END - s->n * 16,
		SPLIT - 8, RAM_END - 16, SPLIT };

	return at[roll(3) ? 0 : roll(ARRAY_SIZE(at))];
}

static void put_table(struct fix *f, uint64_t table, const struct shape *s, bool packed)
{
	for (unsigned int i = 0; i < s->n && table + i * 16 + 16 <= RAM_END; i++) {
		uint16_t flags = any_flags(s, i), next = (uint16_t)(i + 1);
		uint64_t addr;
		uint32_t len;

		any_buffer(s, &addr, &len);
		if (s->odd && !roll(12))
			next = (uint16_t)(roll(2) ? roll(s->n + 2) : roll(0x10000));
		if (packed)
			set_desc(f, table, i, addr, len, (uint16_t)roll(0x10000), flags);
		else
			set_desc(f, table, i, addr, len, flags, next);
	}
}

static uint32_t table_len(const struct shape *s)
{
	static const uint32_t odd[] = { 0, 8, 24, 16, 1024 * 16, 1025 * 16, UINT32_MAX,
		UINT32_MAX - 15 };

	return s->odd && !roll(4) ? odd[roll(ARRAY_SIZE(odd))] : s->n * 16;
}

static void mark_some_busy(struct vq *vq)
{
	for (unsigned int i = 0; i < vq->num; i++)
		atomic_store(&vq->inflight[i], roll(12) ? 0 : 1);
}

static void fill_split(struct fix *f, uint64_t ring)
{
	struct shape s = any_shape();
	uint16_t head = (uint16_t)roll(NUM);
	uint64_t table = any_table(&s);

	if (roll(3)) {
		for (unsigned int i = 0; i < s.n; i++) {
			uint16_t next = (uint16_t)((head + i + 1) % NUM);
			uint64_t addr;
			uint32_t len;

			any_buffer(&s, &addr, &len);
			if (s.odd && !roll(12))
				next = (uint16_t)(roll(2) ? roll(NUM + 2) : roll(0x10000));
			set_desc(f, ring, (head + i) % NUM, addr, len, any_flags(&s, i), next);
		}
	} else {
		put_table(f, table, &s, false);
		set_desc(f, ring, head, table, table_len(&s),
			(uint16_t)(INDIRECT | (s.odd && !roll(6) ? roll(16) : 0)),
			(uint16_t)roll(NUM));
	}
	avail(f)->ring[f->vq->last_avail % NUM] =
		le16_make((uint16_t)(s.odd && !roll(16) ? NUM + roll(3) : head));
	avail(f)->idx = le16_make((uint16_t)(f->vq->last_avail + 1 + roll(3)));
}

static void set_packed_at(
	struct fix *f, uint64_t ring, uint16_t place, uint64_t addr, uint32_t len, uint16_t flags)
{
	bool wrap = place & VRING_PACKED_WRAP;
	uint16_t id = (uint16_t)(roll(20) ? roll(NUM) : roll(0x10000));

	flags |= wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED;
	set_desc(f, ring, place & VRING_PACKED_POS, addr, len, id, flags);
}

static void fill_packed(struct fix *f, uint64_t ring)
{
	struct shape s = any_shape();
	struct vq *vq = f->vq;
	uint64_t table = any_table(&s);
	uint16_t at;

	vq->last_avail = (uint16_t)(roll(NUM) | (roll(2) ? VRING_PACKED_WRAP : 0));
	vq->packed.num_busy = roll(3) ? 0 : roll(NUM + 1);
	at = vq->last_avail;
	if (!roll(3)) {
		put_table(f, table, &s, true);
		set_packed_at(f, ring, at, table, table_len(&s),
			(uint16_t)(INDIRECT | (s.odd && !roll(6) ? roll(16) : 0)));
		return;
	}
	for (unsigned int i = 0; i < s.n; i++) {
		uint64_t addr;
		uint32_t len;

		any_buffer(&s, &addr, &len);
		set_packed_at(f, ring, at, addr, len, any_flags(&s, i));
		at = vring_packed_add(NUM, at, 1);
	}
}

static void note(struct vq *vq, const struct chain *c, struct outcome *o)
{
	o->head = c->head;
	o->slot = c->slot;
	o->num_ring_descs = vq->ops->packed ? c->num_ring_descs : 0;
	o->num_loaded = c->num_loaded;
	o->written = c->written;
	o->readable_offered = atomic_load(&c->readable_bytes);
	o->writable_offered = atomic_load(&c->writable_bytes);
	o->readable = c->readable.bytes;
	o->writable = c->writable.bytes;
	o->num_readable = c->readable.num_iov;
	o->num_writable = c->writable.num_iov;
	assert_true(o->num_readable + o->num_writable <= (int)ARRAY_SIZE(o->iov));
	memcpy(o->iov, c->readable.iov, (size_t)o->num_readable * sizeof(o->iov[0]));
	memcpy(o->iov + o->num_readable, c->writable.iov,
		(size_t)o->num_writable * sizeof(o->iov[0]));
}

/* The queue is as before afterwards. */
static void look(struct vq *vq, const struct vq_ops *ops, struct outcome *o)
{
	uint32_t large_free = vq->large_free;
	uint16_t shadow = vq->shadow_avail;
	struct chain *c;

	memset(o, 0, sizeof(*o));
	o->r = ops->peek(vq, &c);
	o->broken = vq->broken;
	o->dry = vq->dry;
	if (vq->broken)
		memcpy(o->reason, vq->reason, strlen(vq->reason));
	if (o->r > 0) {
		note(vq, c, o);
		vq_chain_put(vq, c);
	}
	o->num_free_slots = vq->num_free_slots;
	assert_int_equal(vq->large_free, large_free);
	vq->broken = vq->dry = false;
	vq->shadow_avail = shadow;
	vq->dev->main_loop->posts = NULL;
}

static const struct outcome *compare(struct vq *vq, const struct vq_ops *full, unsigned int i)
{
	static struct outcome quick_saw, full_saw;

	look(vq, vq->ops, &quick_saw);
	look(vq, full, &full_saw);
	if (memcmp(&quick_saw, &full_saw, sizeof(quick_saw)) != 0)
		fail_msg("case %u: quick %d '%s' head %u, %d + %d pieces; full %d '%s' head %u, "
			 "%d + %d pieces",
			i, quick_saw.r, quick_saw.reason, quick_saw.head, quick_saw.num_readable,
			quick_saw.num_writable, full_saw.r, full_saw.reason, full_saw.head,
			full_saw.num_readable, full_saw.num_writable);
	return &quick_saw;
}

/* A third region, larger than the longest chain; nothing of it is ever touched. */
static void add_far_memory(struct fix *f)
{
	struct gmem_region_desc desc = { FAR_AT, FAR_BYTES, 0x10000000000, 0 };
	struct gmem_region *regions[3];
	struct err err = { 0 };
	int fd;

	if (sizeof(void *) < 8)
		return;
	fd = memfd_create("far", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, FAR_BYTES), 0);
	for (unsigned int i = 0; i < 2; i++)
		regions[i] = gmem_region_ref(f->mem->regions[i]);
	assert_int_equal(gmem_region_new(&desc, fd, &regions[2], &err), 0);
	gmem_unref(f->mem);
	assert_int_equal(gmem_new(regions, 3, &f->mem, &err), 0);
	for (unsigned int i = 0; i < 3; i++)
		gmem_region_unref(regions[i]);
	close(fd);
}

/* The ring lies at the very end of a region. */
static void run(uint64_t features, const struct vq_ops *full)
{
	const uint64_t ring = SPLIT - NUM * 16;
	unsigned int good = 0, bad = 0;
	struct loop *main_loop, scratch = { 0 };
	struct fix f;

	fix_init(&f, 0, features);
	add_far_memory(&f);
	fix_start_ring(&f, NUM, features);
	f.vq->cfg.desc = ring;
	*(features & PACKED ? &f.vq->packed.desc : (void **)&f.vq->split.desc) =
		gmem_ptr(f.mem, ring, NUM * 16);
	/* What a break posts goes nowhere. */
	main_loop = f.dev->main_loop;
	f.dev->main_loop = &scratch;
	for (unsigned int i = 0; i < CASES; i++) {
		const struct outcome *saw;

		mark_some_busy(f.vq);
		f.vq->large_free = roll(10) ? UINT32_MAX : 0;
		if (features & PACKED)
			fill_packed(&f, ring);
		else
			fill_split(&f, ring);
		saw = compare(f.vq, full, i);
		good += saw->r > 0;
		bad += saw->r < 0;
	}
	f.dev->main_loop = main_loop;
	f.vq->packed.num_busy = 0;
	f.vq->large_free = UINT32_MAX;
	for (unsigned int i = 0; i < NUM; i++)
		atomic_store(&f.vq->inflight[i], 0);
	/* Not all of one kind. */
	assert_true(good > CASES / 4 && bad > CASES / 10);
	fix_deinit(&f);
}

static void test_split(void **state)
{
	(void)state;
	run(0, &full_split_ops);
}

static void test_packed(void **state)
{
	(void)state;
	run(PACKED, &full_packed_ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
