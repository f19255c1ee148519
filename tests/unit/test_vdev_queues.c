/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues one by one: what rests while others run, and notifications that need no descriptor. */
#include "vq_fixture.h"

#include "virtio/vq_internal.h"

#define SECOND_AT (SPLIT + 0x1000)

/* The test device with two queues; the second one has a ring at SECOND_AT. */
static void init_two(struct fix *f)
{
	int fd;

	fix_num_queues = 2;
	fix_init(f, 8, 0);
	fix_num_queues = 1;
	fd = dup(f->kick);
	memset(ram(f, SECOND_AT), 0, 512);
	f->dev->queues[1].cfg = (struct vq_config){
		.num = 8, .desc = SECOND_AT, .driver = SECOND_AT + 128, .device = SECOND_AT + 256
	};
	vq_set_kick_fd(&f->dev->queues[1], &fd);
	f->dev->queues[1].enabled = true;
	vdev_sync(f->dev);
	pump(f);
}

/* --- one queue of several --- */

static unsigned int num_queue_waits;

static void count_queue_wait(struct vdev_wait *wait)
{
	(void)wait;
	num_queue_waits++;
}

static void test_one_rests_while_others_run(void **state)
{
	struct vdev_wait one = { .fn = count_queue_wait }, all = { .fn = count_queue_wait };
	struct test_device *td;
	struct fix f;

	(void)state;
	num_queue_waits = 0;
	init_two(&f);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	push_one(&f, 1, DATA_AT, 16, WRITE);
	one.vq = f.vq;
	vdev_hold_queue(f.dev, f.vq);
	vdev_when_idle(f.dev, &one);
	pump(&f);
	assert_int_equal(num_queue_waits, 0);
	assert_int_equal(f.vq->state, VQ_STOPPING);
	assert_int_equal(f.dev->queues[1].state, VQ_RUNNING);
	vdev_when_idle(f.dev, &all);
	vq_complete(f.vq, td->held[0]);
	td->num_held = 0;
	pump(&f);
	/* The one who waits for all of them does so still. */
	assert_int_equal(num_queue_waits, 1);
	assert_int_equal(f.vq->state, VQ_IDLE);
	assert_int_equal(f.dev->queues[1].state, VQ_RUNNING);
	vdev_when_idle(f.dev, &one);
	assert_int_equal(num_queue_waits, 2);
	vdev_hold_queue(f.dev, f.vq);
	vdev_release_queue(f.dev, f.vq);
	pump(&f);
	assert_int_equal(f.vq->state, VQ_IDLE);
	vdev_release_queue(f.dev, f.vq);
	pump(&f);
	assert_int_equal(f.vq->state, VQ_RUNNING);
	assert_int_equal(f.dev->queues[1].state, VQ_RUNNING);
	vdev_hold(f.dev);
	pump(&f);
	assert_int_equal(num_queue_waits, 3);
	vdev_release(f.dev);
	fix_deinit(&f);
}

/* --- notifications without descriptors --- */

static unsigned int num_calls_by_message;

static void count_call(struct vdev *dev, unsigned int queue)
{
	(void)dev;
	assert_int_equal(queue, 0);
	num_calls_by_message++;
}

static void test_kicks_and_calls_by_message(void **state)
{
	static const struct vdev_transport_ops calling_transport = { .call = count_call };
	struct fix f;
	int none = -1;

	(void)state;
	num_calls_by_message = 0;
	fix_init(&f, 8, 0);
	f.dev->transport = &calling_transport;
	vq_set_kick_fd(f.vq, &none);
	vq_set_call_fd(f.vq, &none);
	f.vq->has_kick = true;
	vdev_sync(f.dev);
	pump(&f);
	assert_int_equal(f.vq->state, VQ_RUNNING);
	set_desc(&f, DESC_AT, 1, DATA_AT, 16, WRITE, 0);
	offer(&f, 1);
	vq_kick(f.vq);
	vq_kick(f.vq);
	pump(&f);
	assert_int_equal(used_idx(&f), 1);
	/* Nobody wants to be called so far. */
	assert_int_equal(num_calls_by_message, 0);
	vq_set_call_by_message(f.vq, true);
	for (unsigned int i = 0; i < 3; i++) {
		offer(&f, 1);
		vq_kick(f.vq);
		pump(&f);
	}
	assert_int_equal(num_calls_by_message, 3);
	/* One that is on its way stands for those behind it. */
	vq_send_call(f.vq);
	vq_send_call(f.vq);
	pump(&f);
	assert_int_equal(num_calls_by_message, 4);
	/* A descriptor is preferred. */
	vq_set_call_fd(f.vq, &(int){ dup(f.call) });
	pump(&f);
	offer(&f, 1);
	vq_kick(f.vq);
	pump(&f);
	assert_int_equal(num_calls_by_message, 4);
	assert_true(num_calls(&f) > 0);
	/* Idle, it is not kicked: it looks at its ring when it starts. */
	vdev_hold(f.dev);
	pump(&f);
	offer(&f, 1);
	vq_kick(f.vq);
	pump(&f);
	assert_int_equal(used_idx(&f), 5);
	vdev_release(f.dev);
	pump(&f);
	assert_int_equal(used_idx(&f), 6);
	f.dev->transport = NULL;
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_rests_while_others_run),
		cmocka_unit_test(test_kicks_and_calls_by_message),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
