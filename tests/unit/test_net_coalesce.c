/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notification coalescing: commands and what they refuse, and when the driver is called: at once,
 * with the last of so many buffers, or when the time is over; and that no call gets lost.
 */
#include "net_rig.h"

#define COAL	6
#define BOTH	(RIG_FEATURES | F(NOTF_COAL) | F(VQ_NOTF_COAL))
#define OPTIONS CARD ",\"notf_coal\":true"
/* Longer than any test: a wait that only so many buffers end. */
#define FOR_EVER 4000000000u

static uint32_t pairs_of(uint8_t *ret, uint8_t command, uint32_t packets, uint32_t usecs)
{
	const le32 data[2] = { le32_make(packets), le32_make(usecs) };

	ret[0] = COAL;
	ret[1] = command;
	memcpy(ret + 2, data, 8);
	return 10;
}

static int set_all(struct rig *r, bool transmit, uint32_t packets, uint32_t usecs)
{
	uint8_t bytes[10];

	return rig_command(r, bytes, pairs_of(bytes, !transmit, packets, usecs), 0);
}

static int set_one(struct rig *r, uint16_t queue, uint32_t packets, uint32_t usecs)
{
	const le16 which[2] = { le16_make(queue), le16_make(0xffff) };
	uint8_t bytes[14], data[10];

	pairs_of(data, 2, packets, usecs);
	memcpy(bytes, data, 2);
	memcpy(bytes + 2, which, 4);
	memcpy(bytes + 6, data + 2, 8);
	return rig_command(r, bytes, 14, 0);
}

static int get_one(struct rig *r, uint16_t queue, uint32_t *packets, uint32_t *usecs)
{
	uint8_t bytes[6] = { COAL, 3, (uint8_t)queue, (uint8_t)(queue >> 8), 0, 0 };
	const uint8_t *reply = ram(&r->f, REPLY_AT);
	int answer = rig_command(r, bytes, 6, 8);

	*packets = le32_read(reply);
	*usecs = le32_read(reply + 4);
	return answer;
}

static void expect(struct rig *r, uint16_t queue, uint32_t packets, uint32_t usecs)
{
	uint32_t got_packets, got_usecs;

	assert_int_equal(get_one(r, queue, &got_packets, &got_usecs), RIG_OK);
	assert_int_equal(got_packets, packets);
	assert_int_equal(got_usecs, usecs);
}

/* Calls since the last look; all queues share one descriptor. */
static uint64_t calls(struct rig *r)
{
	uint64_t n = 0;

	return read(r->f.call, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void receive(struct rig *r, unsigned int num)
{
	uint8_t frame[60];

	rig_frame(frame, card, sizeof(frame));
	while (num--) {
		rig_buffer(r, r->avail[0], 200);
		rig_kick(r, 0);
		rig_peer_sends(r, frame, sizeof(frame));
	}
}

static void wait_call(struct rig *r)
{
	while (!calls(r))
		loop_run_once(&r->f.loop, 10);
}

/* --- commands --- */

static void test_commands(void **state)
{
	uint8_t bytes[40] = { COAL };
	uint32_t packets, usecs, len;
	struct rig r;
	unsigned int q;

	(void)state;
	rig_start(&r, "null", ",\"queues\":2,\"notf_coal\":true", BOTH | F(MQ));
	/* The specification's own example, and what there is before. */
	for (q = 0; q < 4; q++)
		expect(&r, (uint16_t)q, 0, 0);
	assert_int_equal(set_all(&r, false, 1, 11), RIG_OK);
	assert_int_equal(set_one(&r, 0, 2, 22), RIG_OK);
	expect(&r, 0, 2, 22);
	expect(&r, 2, 1, 11);
	assert_int_equal(set_one(&r, 1, 4, 44), RIG_OK);
	expect(&r, 3, 0, 0);
	assert_int_equal(set_all(&r, true, UINT32_MAX, UINT32_MAX), RIG_OK);
	expect(&r, 1, UINT32_MAX, UINT32_MAX);
	expect(&r, 3, UINT32_MAX, UINT32_MAX);
	/* The control queue, and none. */
	for (q = 4; q < 0x20000; q = q * 2 + 1) {
		assert_int_equal(set_one(&r, (uint16_t)MIN(q, 0xffffu), 1, 1), RIG_ERR);
		assert_int_equal(get_one(&r, (uint16_t)MIN(q, 0xffffu), &packets, &usecs), RIG_ERR);
	}
	for (bytes[1] = 0; bytes[1] < 5; bytes[1]++)
		for (len = 0; len < 30; len++) {
			static const uint32_t good[] = { 8, 8, 12, 4, 99 };

			assert_int_equal(rig_command(&r, bytes, 2 + len, 8),
				len == good[bytes[1]] ? RIG_OK : RIG_ERR);
		}
	/* A reply that has no room. */
	bytes[1] = 3;
	assert_int_equal(rig_command(&r, bytes, 6, 7), RIG_ERR);
	/* A queue that rests is none that is enabled. */
	vdev_hold_queue(r.f.dev, &r.f.dev->queues[2]);
	pump(&r.f);
	assert_int_equal(set_one(&r, 2, 1, 1), RIG_ERR);
	assert_int_equal(get_one(&r, 2, &packets, &usecs), RIG_ERR);
	vdev_release_queue(r.f.dev, &r.f.dev->queues[2]);
	pump(&r.f);
	assert_int_equal(set_one(&r, 2, 7, 8), RIG_OK);
	/* A reset forgets. */
	vdev_hold(r.f.dev);
	pump(&r.f);
	vdev_reset(r.f.dev);
	vdev_release(r.f.dev);
	rig_run(&r, BOTH | F(MQ));
	expect(&r, 2, 0, 0);
	rig_stop(&r);
}

/* Each command belongs to one of the two features, and to a card that offered it. */
static void test_features(void **state)
{
	uint32_t packets, usecs;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, RIG_FEATURES | F(NOTF_COAL));
	assert_int_equal(set_all(&r, true, 1, 1), RIG_OK);
	assert_int_equal(set_one(&r, 0, 1, 1), RIG_ERR);
	assert_int_equal(get_one(&r, 0, &packets, &usecs), RIG_ERR);
	rig_stop(&r);
	rig_start(&r, "stream", OPTIONS, RIG_FEATURES | F(VQ_NOTF_COAL));
	assert_int_equal(set_all(&r, true, 1, 1), RIG_ERR);
	assert_int_equal(set_one(&r, 0, 1, 1), RIG_OK);
	rig_stop(&r);
	rig_start(&r, "stream", CARD, BOTH);
	assert_int_equal(set_all(&r, false, 1, 1), RIG_ERR);
	assert_int_equal(set_one(&r, 0, 1, 1), RIG_ERR);
	assert_null(r.f.dev->queues[0].coalescing);
	rig_stop(&r);
}

/* --- calls --- */

static void test_by_number(void **state)
{
	struct vq_view view = { 0 };
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, BOTH);
	calls(&r);
	receive(&r, 1);
	assert_int_equal(calls(&r), 1);
	assert_int_equal(set_all(&r, false, 5, FOR_EVER), RIG_OK);
	assert_int_equal(calls(&r), 1);
	receive(&r, 4);
	assert_int_equal(calls(&r), 0);
	assert_int_equal(rig_used_idx(&r, 0), 5);
	vq_read_view(&r.f.dev->queues[0], &view);
	assert_int_equal(view.last_call, VQ_CALL_HELD);
	receive(&r, 1);
	assert_int_equal(calls(&r), 1);
	vq_read_view(&r.f.dev->queues[0], &view);
	assert_int_equal(view.last_call, VQ_CALL_SENT);
	receive(&r, 5);
	assert_int_equal(calls(&r), 1);
	/* Of one direction nothing is said about the other. */
	memset(ram(&r.f, TX_AT), 0, HEADER);
	rig_transmit(&r, HEADER + 20, NULL);
	assert_int_equal(calls(&r), 1);
	assert_int_equal(set_one(&r, 1, 2, FOR_EVER), RIG_OK);
	calls(&r);
	rig_transmit(&r, HEADER + 20, NULL);
	assert_int_equal(calls(&r), 0);
	rig_transmit(&r, HEADER + 20, NULL);
	assert_int_equal(calls(&r), 1);
	/* Either of the two being 0 means at once. */
	assert_int_equal(set_all(&r, false, 0, FOR_EVER), RIG_OK);
	calls(&r);
	receive(&r, 1);
	assert_int_equal(calls(&r), 1);
	assert_int_equal(set_all(&r, false, 5, 0), RIG_OK);
	calls(&r);
	receive(&r, 1);
	assert_int_equal(calls(&r), 1);
	rig_stop(&r);
}

static void test_by_time(void **state)
{
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, BOTH);
	assert_int_equal(set_all(&r, false, 1000, 2000), RIG_OK);
	calls(&r);
	receive(&r, 1);
	wait_call(&r);
	receive(&r, 2);
	wait_call(&r);
	rig_stop(&r);
}

/* A call that waits when the parameters change is judged by the new ones. */
static void test_changes(void **state)
{
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, BOTH);
	assert_int_equal(set_all(&r, false, 100, FOR_EVER), RIG_OK);
	calls(&r);
	receive(&r, 10);
	assert_int_equal(calls(&r), 0);
	/* Each command is answered by a call of its own. */
	assert_int_equal(set_all(&r, false, 11, FOR_EVER), RIG_OK);
	assert_int_equal(calls(&r), 1);
	assert_int_equal(set_all(&r, false, 8, FOR_EVER), RIG_OK);
	assert_int_equal(calls(&r), 2);
	receive(&r, 1);
	assert_int_equal(calls(&r), 0);
	assert_int_equal(set_all(&r, false, 0, 0), RIG_OK);
	assert_int_equal(calls(&r), 2);
	assert_int_equal(set_all(&r, false, 100, FOR_EVER), RIG_OK);
	receive(&r, 1);
	calls(&r);
	assert_int_equal(set_all(&r, false, 100, 1000), RIG_OK);
	calls(&r);
	receive(&r, 1);
	wait_call(&r);
	rig_stop(&r);
}

/* A queue that stops calls for what waits; and begins to wait anew when it goes on. */
static void test_stop(void **state)
{
	struct vq_view view = { 0 };
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, BOTH);
	assert_int_equal(set_all(&r, false, 100, FOR_EVER), RIG_OK);
	receive(&r, 3);
	calls(&r);
	vdev_hold_queue(r.f.dev, &r.f.dev->queues[0]);
	pump(&r.f);
	assert_int_equal(calls(&r), 1);
	vq_read_view(&r.f.dev->queues[0], &view);
	assert_int_equal(view.last_call, VQ_CALL_SENT);
	vdev_release_queue(r.f.dev, &r.f.dev->queues[0]);
	pump(&r.f);
	/* A ring that goes on calls once: whoever served it before may not have. */
	calls(&r);
	receive(&r, 3);
	assert_int_equal(calls(&r), 0);
	expect(&r, 0, 100, FOR_EVER);
	calls(&r);
	vdev_break(r.f.dev, "a test");
	pump(&r.f);
	assert_true(vdev_is_idle(r.f.dev));
	rig_stop(&r);
}

/* With EVENT_IDX a call is due once for a place; it is not lost while it waits. */
static void test_event_idx(void **state)
{
	struct vring_avail *avail;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", OPTIONS, BOTH | 1ull << VIRTIO_F_EVENT_IDX);
	avail = ram(&r.f, QUEUE_AT(0) + 0x1000);
	assert_int_equal(set_all(&r, false, 4, FOR_EVER), RIG_OK);
	/* It wants to be called for the second one. */
	avail->ring[RIG_RING] = le16_make(1);
	calls(&r);
	receive(&r, 5);
	assert_int_equal(rig_used_idx(&r, 0), 5);
	assert_int_equal(calls(&r), 1);
	/* Nothing waits for who does not want to be called. */
	receive(&r, 10);
	assert_int_equal(calls(&r), 0);
	assert_false(r.net->rx[0].coalescing.held);
	rig_stop(&r);
}

/* Queues on loops of other threads, whose parameters change while they run. */
static void test_on_loops(void **state)
{
	struct loop loops[4];
	struct err err = { 0 };
	unsigned int i;
	struct rig r;

	(void)state;
	memset(loops, 0, sizeof(loops));
	for (i = 0; i < 4; i++) {
		assert_int_equal(loop_init(&loops[i], "queue", &err), 0);
		assert_int_equal(loop_thread_start(&loops[i], &err), 0);
	}
	rig_open(&r, "null", ",\"source\":60,\"queues\":2,\"notf_coal\":true");
	for (i = 0; i < 4; i++)
		vdev_set_queue_loop(r.f.dev, i, &loops[i]);
	rig_run(&r, BOTH | F(MQ));
	for (i = 0; i < 40; i++) {
		unsigned int q = rig_ctrl(&r);
		uint16_t before = rig_used_idx(&r, q), head;

		pairs_of(ram(&r.f, CTRL_AT), i & 1, i % 7, i % 3 ? 1000 : FOR_EVER);
		set_desc(&r.f, QUEUE_AT(q), 0, CTRL_AT, 10, NEXT, 1);
		set_desc(&r.f, QUEUE_AT(q), 1, REPLY_AT, 1, WRITE, 0);
		head = r.avail[0] % RIG_RING;
		if (r.avail[0] < RIG_RING) {
			set_desc(&r.f, QUEUE_AT(0), head, RX_AT + head * 0x100, 0x100, WRITE, 0);
			rig_offer(&r, 0, head);
			rig_kick(&r, 0);
		}
		rig_offer(&r, q, 0);
		rig_kick(&r, q);
		while (load_le16(&rig_used(&r, q)->idx) == before)
			loop_run_once(&r.f.loop, 10);
		assert_int_equal(*(uint8_t *)ram(&r.f, REPLY_AT), RIG_OK);
	}
	vdev_hold(r.f.dev);
	while (!vdev_is_idle(r.f.dev))
		loop_run_once(&r.f.loop, 10);
	for (i = 0; i < 4; i++)
		fix_settle(&loops[i]);
	rig_stop(&r);
	for (i = 0; i < 4; i++) {
		loop_thread_join(&loops[i]);
		loop_deinit(&loops[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_by_number),
		cmocka_unit_test(test_by_time),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_event_idx),
		cmocka_unit_test(test_on_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
