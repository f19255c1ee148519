/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IN_ORDER on both formats: whatever the order in which a device is done, answers go out in the
 * order in which the chains came (virtio 1.3, "In-order use of descriptors").
 */
#include "packed_driver.h"

#define IN_ORDER (1ull << VIRTIO_F_IN_ORDER)
#define NUM	 8

static struct pdriver d;
static const uint64_t formats[] = { IN_ORDER, IN_ORDER | PACKED };

static bool is_packed(const struct fix *f)
{
	return f->vq->ops == &vq_packed_ops;
}

static void init(struct fix *f, uint64_t features)
{
	fix_init(f, NUM, features);
	pd_init(&d, f);
	test_device(f)->verdict = SERVE_HELD;
}

static void offer_either(struct fix *f, uint16_t id)
{
	if (is_packed(f)) {
		pd_offer_one(&d, id, WRITE);
		return;
	}
	set_desc(f, DESC_AT, id, DATA_AT + id * 64u, 64, WRITE, 0);
	offer(f, id);
}

/* The next answer's id; -1 where there is none. */
static int take(struct fix *f)
{
	uint32_t len;
	uint16_t id;

	if (is_packed(f))
		return pd_take(&d, &id, &len) ? id : -1;
	if (d.taken == used_idx(f))
		return -1;
	return (int)le32_get(used(f)->ring[d.taken++ % NUM].id);
}

static void complete(struct fix *f, unsigned int n)
{
	vq_complete(f->vq, test_device(f)->held[n]);
	pump(f);
}

static void test_order(uint64_t features)
{
	struct test_device *td;
	struct vq_inflight in;
	struct fix f;

	init(&f, features);
	td = test_device(&f);
	for (uint16_t i = 0; i < 4; i++)
		offer_either(&f, (uint16_t)(7 - i));
	kick(&f);
	assert_int_equal(td->num_held, 4);
	complete(&f, 1);
	complete(&f, 3);
	assert_int_equal(take(&f), -1);
	/* Answered by the device and not by the queue: it counts as in use. */
	assert_int_equal(view(&f).inuse, 4);
	assert_true(vq_read_inflight(f.vq, 6, &in));
	complete(&f, 0);
	assert_int_equal(take(&f), 7);
	assert_int_equal(take(&f), 6);
	assert_int_equal(take(&f), -1);
	assert_int_equal(view(&f).inuse, 2);
	/* One that is answered at once waits behind one that is held. */
	td->verdict = SERVE_DONE;
	offer_either(&f, 0);
	kick(&f);
	assert_int_equal(take(&f), -1);
	complete(&f, 2);
	assert_int_equal(take(&f), 5);
	assert_int_equal(take(&f), 4);
	assert_int_equal(take(&f), 0);
	assert_int_equal(view(&f).inuse, 0);
	assert_int_equal(view(&f).counters.completed, 5);
	/* And where none is held it is not kept. */
	offer_either(&f, 1);
	kick(&f);
	assert_int_equal(take(&f), 1);
	td->num_held = 0;
	fix_deinit(&f);
}

/* Stopping waits for all; breaking lets go of all, and writes nothing. */
static void test_stop_and_break(uint64_t features)
{
	struct fix f;

	init(&f, features);
	offer_either(&f, 3);
	offer_either(&f, 2);
	kick(&f);
	complete(&f, 1);
	vdev_hold(f.dev);
	pump(&f);
	assert_int_equal(f.vq->state, VQ_STOPPING);
	complete(&f, 0);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(take(&f), 3);
	assert_int_equal(take(&f), 2);
	test_device(&f)->num_held = 0;
	vdev_release(f.dev);
	offer_either(&f, 3);
	offer_either(&f, 2);
	kick(&f);
	complete(&f, 1);
	vq_break(f.vq, "so it is");
	pump(&f);
	assert_false(vdev_is_idle(f.dev));
	complete(&f, 0);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(take(&f), -1);
	test_device(&f)->num_held = 0;
	fix_deinit(&f);
}

/* Random lengths of time: nothing overtakes, nothing is lost, everything comes. */
static void test_many(uint64_t features)
{
	struct test_device *td;
	unsigned int seed = 3, done = 0, offered = 0, served = 0;
	bool is_done[NUM] = { false };
	struct chain *flying[NUM];
	struct fix f;

	init(&f, features);
	td = test_device(&f);
	while (done < 5000) {
		int id;

		while (offered - done < NUM && rand_r(&seed) % 3) {
			td->verdict = rand_r(&seed) % 4 ? SERVE_HELD : SERVE_DONE;
			td->num_held = 0;
			offer_either(&f, (uint16_t)(offered++ % NUM));
			kick(&f);
			is_done[served % NUM] = !td->num_held;
			flying[served++ % NUM] = td->held[0];
		}
		if (offered != done) {
			unsigned int n = done + (unsigned int)rand_r(&seed) % (offered - done);

			if (!is_done[n % NUM])
				vq_complete(f.vq, flying[n % NUM]);
			is_done[n % NUM] = true;
			pump(&f);
		}
		while ((id = take(&f)) >= 0) {
			assert_int_equal(id, done % NUM);
			assert_true(is_done[done % NUM]);
			done++;
		}
		/* All that may come has come. */
		assert_true(done == offered || !is_done[done % NUM]);
	}
	for (; done < offered; done++)
		if (!is_done[done % NUM])
			vq_complete(f.vq, flying[done % NUM]);
	td->num_held = 0;
	fix_deinit(&f);
}

static void on_both_formats(void (*test)(uint64_t features))
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		test(formats[i]);
}

static void order_is_kept(void **state)
{
	(void)state;
	on_both_formats(test_order);
}

static void stop_and_break(void **state)
{
	(void)state;
	on_both_formats(test_stop_and_break);
}

static void many_in_any_order(void **state)
{
	(void)state;
	on_both_formats(test_many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(stop_and_break),
		cmocka_unit_test(many_in_any_order),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
