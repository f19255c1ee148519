/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's state machine: features, status, configuration space, and when its queues run.
 */
#include "vq_fixture.h"

static unsigned int num_broken, num_status_changes, num_transport_broken, num_config_changes;
static unsigned int num_detached;

static void count_broken(struct vdev *dev)
{
	assert_true(dev->broken);
	num_broken++;
}

static void count_status(struct vdev *dev)
{
	(void)dev;
	num_status_changes++;
}

static void count_transport_broken(struct vdev *dev)
{
	assert_true(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	num_transport_broken++;
}

static void count_config(struct vdev *dev)
{
	(void)dev;
	num_config_changes++;
}

static void count_detached(struct vdev *dev)
{
	assert_true(vdev_is_idle(dev));
	num_detached++;
}

static const struct vdev_listener counting_listener = { count_broken, count_status };
static const struct vdev_transport_ops counting_transport = { count_config, count_transport_broken,
	count_detached };

/* --- features and status --- */

#define V1 (1ull << VIRTIO_F_VERSION_1)

static const struct {
	const char *name;
	struct virtio_features take;
	uint64_t unoffered;
	bool ok;
} negotiations[] = {
	{ "nothing", { { 0, 0 } }, 0, true },
	{ "what was offered", { { V1 | 1 << 5 | 1 << 28 | 1 << 29, 0 } }, 0, true },
	{ "a bit of the device's that was not", { { V1 | 1 << 6, 0 } }, 1 << 6, false },
	{ "a reserved bit", { { V1 | 1ull << 41, 0 } }, 1ull << 41, false },
	{ "ring reset", { { V1 | 1ull << 40, 0 } }, 0, true },
	{ "packed rings, which the option offers", { { V1 | 1ull << 34, 0 } }, 1ull << 34, false },
	{ "bit 127", { { V1, 1ull << 63 } }, 0, false },
	{ "everything", { { UINT64_MAX, 0 } }, ~(V1 | 1 << 5 | 1 << 28 | 1 << 29 | 1ull << 40),
		false },
};

static void test_features(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(negotiations); i++) {
		struct fix f;
		uint8_t status;

		fix_init(&f, 0, 0);
		vdev_write_status(f.dev, 3);
		vdev_set_driver_features(f.dev, negotiations[i].take);
		/* Kept all the same: some drivers use what they took. */
		assert_memory_equal(&f.dev->driver_features, &negotiations[i].take, 16);
		assert_int_equal(f.dev->view.unoffered_features, negotiations[i].unoffered);
		status = vdev_write_status(f.dev, 0xb);
		if ((status == 0xb) != negotiations[i].ok)
			fail_msg("%s: status 0x%x", negotiations[i].name, status);
		/* Asking again changes nothing; taking less does. */
		assert_int_equal(vdev_write_status(f.dev, 0xb), status);
		vdev_set_driver_features(f.dev, virtio_features_from64(V1));
		assert_int_equal(f.dev->view.unoffered_features, 0);
		assert_int_equal(vdev_write_status(f.dev, 0xb), 0xb);
		fix_deinit(&f);
	}
}

static void test_ring_features(void **state)
{
	struct fix f;

	(void)state;
	fix_options = NULL;
	fix_init(&f, 0, 0);
	assert_false(vdev_ring_feature(f.dev, VIRTIO_F_EVENT_IDX));
	vdev_set_driver_features(f.dev, virtio_features_from64(UINT64_MAX));
	assert_true(vdev_ring_feature(f.dev, VIRTIO_F_EVENT_IDX));
	assert_true(vdev_ring_feature(f.dev, VIRTIO_F_INDIRECT_DESC));
	assert_true(vdev_ring_feature(f.dev, VIRTIO_F_RING_PACKED));
	assert_true(vdev_ring_feature(f.dev, VIRTIO_F_IN_ORDER));
	/* Acked and not implemented by the core. */
	assert_false(vdev_ring_feature(f.dev, VIRTIO_F_NOTIFICATION_DATA));
	assert_false(vdev_ring_feature(f.dev, 127));
	/* A ring bit that the device's options took back is tolerated: the ring can do it. */
	vdev_set_driver_features(f.dev, virtio_features_from64(V1 | 1 << 29));
	virtio_features_set(&f.dev->device_features, VIRTIO_F_EVENT_IDX, false);
	assert_int_equal(vdev_write_status(f.dev, 0xb), 0xb);
	fix_deinit(&f);
}

/* Status bytes written one after the other, and the byte as it then stands. */
static const struct {
	uint8_t write[4], stands[4];
} statuses[] = {
	{ { 1, 3, 0xb, 0xf }, { 1, 3, 0xb, 0xf } },
	{ { 0xf, 0, 0, 0 }, { 0xf, 0xf, 0xf, 0xf } },
	{ { 1, 2, 8, 4 }, { 1, 3, 0xb, 0xf } },
	{ { 0xf, 1, 3, 0xb }, { 0xf, 0xf, 0xf, 0xf } },
	{ { 3, 0x80, 0x83, 0 }, { 3, 0x83, 0x83, 0x83 } },
	/* NEEDS_RESET is not the driver's to set. */
	{ { 0x40, 0x43, 0x4b, 0xff }, { 0, 3, 0xb, 0xbf } },
	{ { 0x30, 0, 0, 0 }, { 0x30, 0x30, 0x30, 0x30 } },
};

static void test_status(void **state)
{
	size_t i, k;

	(void)state;
	vdev_set_listener(&counting_listener);
	for (i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct fix f;
		unsigned int changes = 0;

		fix_init(&f, 0, 0);
		num_status_changes = 0;
		for (k = 0; k < 4; k++) {
			uint8_t before = f.dev->status;

			assert_int_equal(vdev_write_status(f.dev, statuses[i].write[k]),
				statuses[i].stands[k]);
			changes += before != f.dev->status;
			assert_int_equal(num_status_changes, changes);
		}
		vdev_derive_status(f.dev, 0x40, 0x0f);
		assert_int_equal(f.dev->status, (statuses[i].stands[3] & 0xf0) | 0x40);
		vdev_reset(f.dev);
		assert_int_equal(f.dev->status, 0);
		assert_int_equal(test_device(&f)->num_resets, 1);
		fix_deinit(&f);
	}
	vdev_set_listener(NULL);
}

/* --- configuration space --- */

static const struct {
	size_t offset, len;
	bool ok;
} config_writes[] = {
	{ 0, 0, true },
	{ 0, 8, true },
	{ 7, 1, true },
	{ 8, 0, true },
	{ 8, 1, false },
	{ 7, 2, false },
	{ 0, 9, false },
	{ SIZE_MAX, 1, false },
	{ SIZE_MAX, 0, false },
	{ 1, SIZE_MAX, false },
};

static void test_config(void **state)
{
	static uint8_t bytes[VDEV_CONFIG_MAX];
	struct fix f;
	size_t i;

	(void)state;
	fix_init(&f, 0, 0);
	for (i = 0; i < ARRAY_SIZE(config_writes); i++)
		assert_int_equal(vdev_set_config(f.dev, config_writes[i].offset, bytes,
					 config_writes[i].len),
			config_writes[i].ok);
	memset(bytes, 0xaa, sizeof(bytes));
	vdev_get_config(f.dev, bytes);
	for (i = 0; i < 16; i++)
		assert_int_equal(bytes[i], i < 8 ? 0 : 0xaa);
	f.dev->transport = &counting_transport;
	assert_int_equal(f.dev->config_generation, 0);
	for (i = 0; i < 257; i++)
		vdev_config_changed(f.dev);
	assert_int_equal(num_config_changes, 257);
	assert_int_equal(f.dev->config_generation, 1);
	fix_deinit(&f);
	assert_int_equal(num_detached, 1);
}

/* --- when queues run --- */

static void no_enable(struct fix *f, bool on)
{
	f->vq->enabled = on;
	vdev_sync(f->dev);
}

static void no_kick(struct fix *f, bool on)
{
	int fd = on ? dup(f->kick) : -1;

	vq_set_kick_fd(f->vq, &fd);
	vdev_sync(f->dev);
}

static void no_driver(struct fix *f, bool on)
{
	vdev_derive_status(
		f->dev, on ? VIRTIO_STATUS_DRIVER_OK : 0, on ? 0 : VIRTIO_STATUS_DRIVER_OK);
}

static void no_machine(struct fix *f, bool on)
{
	vdev_set_vm_running(f->dev, on);
}

static void hold(struct fix *f, bool on)
{
	(on ? vdev_release : vdev_hold)(f->dev);
}

static void hold_twice(struct fix *f, bool on)
{
	hold(f, on);
	pump(f);
	hold(f, on);
}

static void (*const switches[])(
	struct fix *f, bool on) = { no_enable, no_kick, no_driver, no_machine, hold, hold_twice };

static void test_each_condition(void **state)
{
	size_t i;
	int held;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(switches) * 2; i++) {
		struct fix f;
		struct test_device *td;

		held = i % 2;
		fix_init(&f, 8, 0);
		td = test_device(&f);
		if (held) {
			td->verdict = SERVE_HELD;
			push_one(&f, 1, DATA_AT, 16, WRITE);
			assert_int_equal(td->num_held, 1);
			td->verdict = SERVE_DONE;
		}
		switches[i / 2](&f, false);
		pump(&f);
		assert_int_equal(f.vq->state, held ? VQ_STOPPING : VQ_IDLE);
		set_desc(&f, DESC_AT, 0, DATA_AT, 16, WRITE, 0);
		offer(&f, 0);
		kick(&f);
		assert_int_equal(used_idx(&f), 0);
		/* All is well again before the last one is back: it goes on by itself. */
		switches[i / 2](&f, true);
		pump(&f);
		assert_int_equal(f.vq->state, held ? VQ_STOPPING : VQ_RUNNING);
		if (held) {
			fix_complete_held(&f);
			pump(&f);
		}
		assert_int_equal(f.vq->state, VQ_RUNNING);
		assert_int_equal(used_idx(&f), 1 + held);
		assert_int_equal(test_device(&f)->num_resets, 0);
		fix_deinit(&f);
	}
}

static void test_reset_while_running(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	push_one(&f, 1, DATA_AT, 16, WRITE);
	fix_reset(&f);
	assert_int_equal(td->num_resets, 1);
	assert_int_equal(f.dev->status, 0);
	assert_int_equal(f.dev->driver_features.word[0], 0);
	assert_int_equal(f.vq->cfg.num, 256);
	assert_int_equal(f.vq->cfg.next_avail, 0);
	assert_int_equal(f.vq->call_fd, -1);
	assert_int_equal(f.vq->kick_fd, -1);
	assert_false(f.vq->enabled);
	assert_int_equal(view(&f).used_idx, 0);
	/* Counters tell of the device's whole life. */
	assert_int_equal(view(&f).counters.completed, 1);
	fix_start_ring(&f, 4, 0);
	push_one(&f, 1, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 1);
	assert_int_equal(view(&f).counters.completed, 2);
	fix_deinit(&f);
}

/* CVE-2026-5747: what is written to the configuration of a running ring is for its next start. */
static void test_running_ring_is_frozen(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 4, 7, 32768, UINT32_MAX };
	struct fix f;
	unsigned int i, k;

	(void)state;
	fix_init(&f, 8, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		f.vq->cfg = (struct vq_config){ sizes[i], UINT64_MAX, 1, RAM_END, 77, 0 };
		for (k = 0; k < 10; k++)
			push_one(&f, 7, DATA_AT, 16, WRITE);
		assert_false(f.dev->broken);
		assert_int_equal(used_idx(&f), (i + 1) * 10);
	}
	vdev_set_driver_features(f.dev, virtio_features_from64(1 << VIRTIO_F_EVENT_IDX));
	push_one(&f, 7, DATA_AT, 16, WRITE);
	/* Without event indices, as when it started: nothing behind the used ring is written. */
	assert_int_equal(avail_event(&f), 0);
	vdev_hold(f.dev);
	pump(&f);
	vdev_release(f.dev);
	pump(&f);
	assert_true(f.dev->broken);
	assert_non_null(strstr(f.dev->broken_reason, "size 4294967295 is not within"));
	fix_deinit(&f);
}

/* --- several queues --- */

static void start_queue(struct fix *f, unsigned int i, uint64_t at)
{
	struct vq *vq = &f->dev->queues[i];
	int fd = dup(f->kick);

	memset(ram(f, at), 0, 512);
	vq->cfg = (struct vq_config){ 8, at, at + 128, at + 256, 0, 0 };
	vq_set_kick_fd(vq, &fd);
	vq->enabled = true;
}

static unsigned int num_in_state(const struct fix *f, enum vq_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < f->dev->num_queues; i++)
		n += f->dev->queues[i].state == state;
	return n;
}

/* A head beyond the ring, on queue @i that lies at @at. */
static void offer_nonsense(struct fix *f, uint64_t at)
{
	struct vring_avail *ring = ram(f, at + 128);

	ring->ring[0] = le16_make(99);
	ring->idx = le16_make(1);
	kick(f);
}

static void test_one_breaks_all_stop(void **state)
{
	struct test_device *td;
	struct fix f;
	unsigned int i;

	(void)state;
	fix_num_queues = 4;
	fix_init(&f, 8, 0);
	fix_num_queues = 1;
	td = test_device(&f);
	f.dev->transport = &counting_transport;
	vdev_set_listener(&counting_listener);
	num_broken = num_transport_broken = 0;
	for (i = 1; i < 4; i++)
		start_queue(&f, i, DATA_AT + i * 0x1000);
	vdev_sync(f.dev);
	pump(&f);
	assert_int_equal(num_in_state(&f, VQ_RUNNING), 4);
	td->verdict = SERVE_HELD;
	push_one(&f, 1, DATA_AT, 16, WRITE);
	offer_nonsense(&f, DATA_AT + 0x2000);
	assert_true(f.dev->broken);
	assert_non_null(strstr(f.dev->broken_reason, "queue 2: available entry 0 names head 99"));
	assert_int_equal(num_broken, 1);
	assert_int_equal(num_transport_broken, 1);
	/* The one that holds a chain waits for it. */
	assert_int_equal(num_in_state(&f, VQ_IDLE), 3);
	assert_int_equal(f.vq->state, VQ_STOPPING);
	assert_true(f.dev->queues[2].was_broken);
	assert_false(f.dev->queues[1].was_broken);
	/* Broken once is broken; nothing starts before a reset. */
	vdev_break(f.dev, "again");
	assert_int_equal(num_broken, 1);
	fix_complete_held(&f);
	pump(&f);
	/* That one's ring was whole: its chain is answered. */
	assert_int_equal(used_idx(&f), 1);
	vdev_write_status(f.dev, 0xf);
	pump(&f);
	assert_int_equal(num_in_state(&f, VQ_IDLE), 4);
	vdev_set_listener(NULL);
	fix_reset(&f);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void test_1024_queues(void **state)
{
	struct fix f;
	unsigned int i;

	(void)state;
	fix_num_queues = VDEV_QUEUES_MAX;
	fix_init(&f, 0, 0);
	fix_num_queues = 1;
	vdev_set_mem(f.dev, f.mem);
	/* The last one is as good as the first (DPDK 7cc4f26). */
	start_queue(&f, 0, SPLIT);
	start_queue(&f, 1023, SPLIT + 0x1000);
	for (i = 1; i < 1023; i += 100)
		start_queue(&f, i, SPLIT + 0x2000 + i * 512);
	vdev_write_status(f.dev, 0xf);
	pump(&f);
	assert_int_equal(num_in_state(&f, VQ_RUNNING), 2 + 11);
	offer_nonsense(&f, SPLIT + 0x1000);
	assert_non_null(strstr(f.dev->broken_reason, "queue 1023: "));
	fix_deinit(&f);
}

/* --- the end --- */

static unsigned int num_waits;

static void count_wait(struct vdev_wait *wait)
{
	(void)wait;
	num_waits++;
}

static void test_destroy_with_chains_in_flight(void **state)
{
	struct vdev_wait waits[3] = { { count_wait, NULL }, { count_wait, NULL },
		{ count_wait, NULL } };
	struct test_device *td;
	struct fix f;

	(void)state;
	num_waits = 0;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	push_one(&f, 1, DATA_AT, 16, WRITE);
	vdev_hold(f.dev);
	vdev_when_idle(f.dev, &waits[0]);
	vdev_when_idle(f.dev, &waits[1]);
	vdev_destroy(f.dev, &waits[2]);
	pump(&f);
	assert_int_equal(num_waits, 0);
	vq_complete(f.vq, td->held[0]);
	pump(&f);
	/* Those who asked first, then the one who destroyed. */
	assert_int_equal(num_waits, 3);
	assert_int_equal(used_idx(&f), 1);
	loop_deinit(&f.loop);
	gmem_unref(f.mem);
	munmap(f.ram, RAM_END);
	close(f.memfd);
	close(f.kick);
	close(f.call);
}

static enum serve_verdict break_and_hold(struct vq *vq, struct chain *c)
{
	struct test_device *td = container_of(vq->dev, struct test_device, dev);

	td->held[td->num_held++] = c;
	vq_break(vq, "the device has enough");
	return SERVE_HELD;
}

static void test_break_with_the_chain_in_hand(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = break_and_hold;
	push_one(&f, 1, DATA_AT, 16, WRITE);
	assert_true(f.dev->broken);
	assert_int_equal(f.vq->state, VQ_STOPPING);
	fix_complete_held(&f);
	pump(&f);
	assert_int_equal(f.vq->state, VQ_IDLE);
	assert_int_equal(used_idx(&f), 0);
	fix_deinit(&f);
}

static int fail_to_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	(void)dev;
	(void)vq;
	return err_set(err, -12, "no %s today", "memory");
}

static unsigned int num_queue_stops;

static void count_queue_stop(struct vdev *dev, struct vq *vq)
{
	(void)dev;
	(void)vq;
	num_queue_stops++;
}

static void test_queue_start_fails(void **state)
{
	struct vdev_class cls = test_class;
	struct fix f;

	(void)state;
	cls.queue_start = fail_to_start;
	cls.queue_stop = count_queue_stop;
	fix_class = &cls;
	fix_init(&f, 8, 0);
	fix_class = &test_class;
	pump(&f);
	assert_true(f.dev->broken);
	assert_string_equal(f.dev->broken_reason, "queue 0: no memory today");
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(num_queue_stops, 1);
	fix_deinit(&f);
}

static void test_queue_size_option(void **state)
{
	static const uint32_t sizes[] = { 3, 6, 255, 32767 };
	struct err err = { 0 };
	struct loop loop;
	struct vdev *dev;
	size_t i;

	(void)state;
	assert_int_equal(loop_init(&loop, "test", &err), 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		dev = vdev_new(&test_class, NULL, &loop, &loop);
		dev->opt_queue_size = sizes[i];
		assert_true(vdev_realize(dev, &err) < 0);
		assert_non_null(strstr(err.msg, "virtio-test: queue-size="));
		vdev_destroy(dev, NULL);
	}
	dev = vdev_new(&test_class, NULL, &loop, &loop);
	dev->opt_queue_size = 1024;
	dev->opt_event_idx = dev->opt_queue_reset = false;
	dev->opt_packed = dev->opt_in_order = true;
	assert_int_equal(vdev_realize(dev, &err), 0);
	assert_int_equal(dev->queues[0].cfg.num, 1024);
	assert_int_equal(
		dev->device_features.word[0], V1 | 1 << 28 | 1 << 5 | 1ull << 34 | 1ull << 35);
	vdev_destroy(dev, NULL);
	loop_deinit(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_ring_features),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_each_condition),
		cmocka_unit_test(test_reset_while_running),
		cmocka_unit_test(test_running_ring_is_frozen),
		cmocka_unit_test(test_one_breaks_all_stop),
		cmocka_unit_test(test_1024_queues),
		cmocka_unit_test(test_destroy_with_chains_in_flight),
		cmocka_unit_test(test_break_with_the_chain_in_hand),
		cmocka_unit_test(test_queue_start_fails),
		cmocka_unit_test(test_queue_size_option),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
