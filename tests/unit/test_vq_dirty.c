/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever of guest memory the device changed is marked in the dirty log, at each step: the bits
 * are taken away between any two, as a migration does, and a page that changed since has to be
 * marked again. Both ring formats, with event indices and without, with a loop that polls.
 */
#include "packed_driver.h"

#define PAGE	  4096u
#define LOG_BYTES (RAM_END / PAGE / 8)
#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)
#define REPLY_AT  (DATA_AT + 0x4000)
#define TAIL_AT	  (DATA_AT + 0x8000)

static const uint64_t kinds[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX };

static struct pdriver d;
static uint8_t before[RAM_END];

struct rig {
	struct fix f;
	uint64_t kind;
	int log_fd;
	struct dirty_log *log;
	unsigned int num_changed; /* pages, in the last step */
};

/* The driver's own writes, and all marks so far, are of no interest. */
static void begin_step(struct rig *rig)
{
	static const uint8_t none[LOG_BYTES];

	memcpy(before, rig->f.ram, RAM_END);
	assert_int_equal(pwrite(rig->log_fd, none, LOG_BYTES, 0), LOG_BYTES);
}

static void end_step(struct rig *rig, const char *step)
{
	uint8_t bits[LOG_BYTES];

	assert_int_equal(pread(rig->log_fd, bits, LOG_BYTES, 0), LOG_BYTES);
	rig->num_changed = 0;
	for (unsigned int i = 0; i < RAM_END / PAGE; i++) {
		if (!memcmp(before + i * PAGE, rig->f.ram + i * PAGE, PAGE))
			continue;
		rig->num_changed++;
		if (!(bits[i / 8] & 1u << i % 8))
			fail_msg("features 0x%llx, %s: page 0x%x changed without a mark",
				(unsigned long long)rig->kind, step, i * PAGE);
	}
}

static void rig_init(struct rig *rig, uint64_t kind)
{
	struct err err = { 0 };

	memset(rig, 0, sizeof(*rig));
	rig->kind = kind;
	rig->log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(rig->log_fd, LOG_BYTES), 0);
	assert_int_equal(dirty_log_new(rig->log_fd, 0, LOG_BYTES, &rig->log, &err), 0);
	fix_init(&rig->f, 8, kind);
	test_device(&rig->f)->verdict = SERVE_HELD;
	vdev_hold(rig->f.dev);
	pump(&rig->f);
	vdev_set_dirty_log(rig->f.dev, rig->log, -1);
	rig->f.vq->cfg.log_ring = true;
	rig->f.vq->cfg.log_addr = USED_AT;
	begin_step(rig);
	vdev_release(rig->f.dev);
	pump(&rig->f);
	end_step(rig, "start");
	pd_init(&d, &rig->f);
}

static void rig_deinit(struct rig *rig)
{
	vdev_hold(rig->f.dev);
	pump(&rig->f);
	vdev_set_dirty_log(rig->f.dev, NULL, -1);
	vdev_release(rig->f.dev);
	fix_deinit(&rig->f);
	dirty_log_unref(rig->log);
	close(rig->log_fd);
}

/* Two writable buffers, each across the border of two pages. */
static struct chain *take_one(struct rig *rig, uint16_t id)
{
	const struct pdesc descs[2] = { { REPLY_AT + PAGE - 64, 128, WRITE },
		{ TAIL_AT + PAGE - 8, 16, WRITE } };
	struct fix *f = &rig->f;

	if (rig->kind & PACKED) {
		pd_offer(&d, id, descs, 2);
	} else {
		set_desc(f, DESC_AT, 2u * id, descs[0].addr, descs[0].len, WRITE | NEXT,
			(uint16_t)(2 * id + 1));
		set_desc(f, DESC_AT, 2u * id + 1, descs[1].addr, descs[1].len, WRITE, 0);
		offer(f, (uint16_t)(2 * id));
	}
	begin_step(rig);
	kick(f);
	end_step(rig, "taken");
	assert_int_equal(test_device(f)->num_held, 1);
	test_device(f)->num_held = 0;
	return test_device(f)->held[0];
}

static void put(struct chain *c)
{
	static const uint8_t bytes[100] = { [0 ... 99] = 0x5a };

	assert_true(chain_put(c, bytes, sizeof(bytes)));
}

static void read_into(struct chain *c)
{
	for (int i = 0; i < c->writable.num_iov; i++)
		memset(c->writable.iov[i].iov_base, 0x6b, c->writable.iov[i].iov_len);
	chain_wrote(c, c->writable.bytes);
}

static void fail_half_way(struct chain *c)
{
	memset(c->writable.iov[0].iov_base, 0x7c, 100);
	chain_touched(c, c->writable.bytes);
}

static void reply_at_the_end(struct chain *c)
{
	static const uint8_t bytes[12] = { [0 ... 11] = 0x8d };
	struct iovec tail[2];
	int n = chain_cut_tail(c, sizeof(bytes), tail, 2);

	assert_true(n > 0);
	chain_fill(c, tail, n, bytes, sizeof(bytes));
}

static const struct {
	const char *name;
	void (*write)(struct chain *c);
	unsigned int num_pages; /* that it changes */
} writes[] = {
	{ "chain_put", put, 2 },
	{ "chain_wrote", read_into, 4 },
	{ "chain_touched", fail_half_way, 2 },
	{ "chain_fill", reply_at_the_end, 2 },
};

static void test_every_step(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct rig rig;

		rig_init(&rig, kinds[k]);
		for (uint16_t i = 0; i < ARRAY_SIZE(writes); i++) {
			struct chain *c = take_one(&rig, i);

			begin_step(&rig);
			writes[i].write(c);
			end_step(&rig, writes[i].name);
			assert_int_equal(rig.num_changed, writes[i].num_pages);
			memset(rig.f.ram + REPLY_AT, 0, 2 * PAGE);
			memset(rig.f.ram + TAIL_AT, 0, 2 * PAGE);
			begin_step(&rig);
			vq_complete(rig.f.vq, c);
			end_step(&rig, "answer");
			/* Shown in the round after it. */
			begin_step(&rig);
			pump(&rig.f);
			end_step(&rig, "answer shown");
			assert_true(rig.num_changed);
		}
		assert_int_equal(dirty_log_num_beyond(rig.log), 0);
		rig_deinit(&rig);
	}
}

static void rounds(struct rig *rig, uint64_t poll_ns)
{
	struct loop_polling polling = { .max_ns = poll_ns };

	loop_set_polling(&rig->f.loop, &polling);
	rig->f.loop.poll_ns = poll_ns;
	for (int i = 0; i < 5; i++)
		loop_run_once(&rig->f.loop, 1);
}

static void test_polling(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct rig rig;

		rig_init(&rig, kinds[k]);
		for (int i = 0; i < 2; i++) {
			begin_step(&rig);
			rounds(&rig, 3600 * NSEC_PER_SEC);
			end_step(&rig, "polling begins");
			assert_true(rig.num_changed);
			begin_step(&rig);
			rounds(&rig, 0);
			end_step(&rig, "polling ends");
			assert_true(rig.num_changed);
		}
		rig_deinit(&rig);
	}
}

static enum serve_verdict put_what_fits(struct vq *vq, struct chain *c)
{
	(void)vq;
	assert_true(chain_put(c, "abcdefgh", (size_t)MIN(c->writable.bytes, (uint64_t)8)));
	return SERVE_DONE;
}

/* The log's reader is told of batches that marked something, and of no others. */
static void test_signal(void **state)
{
	static const struct {
		uint16_t flags;
		bool log_ring;
	} rows[] = { { 0, false }, { WRITE, false }, { 0, true }, { WRITE, true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int signal = eventfd(0, EFD_NONBLOCK);
		uint64_t n = 0;
		struct rig rig;

		rig_init(&rig, 0);
		test_device(&rig.f)->serve = put_what_fits;
		vdev_hold(rig.f.dev);
		pump(&rig.f);
		vdev_set_dirty_log(rig.f.dev, rig.log, signal);
		rig.f.vq->cfg.log_ring = rows[i].log_ring;
		vdev_release(rig.f.dev);
		pump(&rig.f);
		push_one(&rig.f, 0, DATA_AT, 16, rows[i].flags);
		assert_int_equal(used_idx(&rig.f), 1);
		assert_int_equal(read(signal, &n, 8), rows[i].flags || rows[i].log_ring ? 8 : -1);
		rig_deinit(&rig);
		close(signal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_polling),
		cmocka_unit_test(test_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
