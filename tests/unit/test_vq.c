/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's descriptors (a peer's, of any kind, swapped at any time), several queues on different
 * loops, and what stops and starts under load look like from inside.
 */
#include "vq_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/unit/skip.h"

static unsigned int drain(int fd)
{
	uint64_t word;
	unsigned int n = 0;

	while (read(fd, &word, 8) == 8)
		n++;
	return n;
}

static void set_call(struct fix *f, int fd)
{
	vq_set_call_fd(f->vq, &fd);
	assert_int_equal(fd, -1);
	pump(f);
}

static void set_kick(struct fix *f, int fd)
{
	vq_set_kick_fd(f->vq, &fd);
	assert_int_equal(fd, -1);
	pump(f);
}

static void test_full_call_socket(void **state)
{
	struct vq_counters before, after;
	unsigned int i, calls = 0;
	struct fix f;
	int pair[2], small = 4096;

	(void)state;
	fix_init(&f, 8, 0);
	/* Blocking, as user-mode Linux hands it over. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	set_call(&f, pair[0]);
	before = view(&f).counters;
	for (i = 0; i < 2000; i++)
		push_one(&f, 0, DATA_AT, 16, WRITE);
	after = view(&f).counters;
	assert_int_equal(used_idx(&f), 2000);
	assert_true(after.calls_full > 0);
	calls = (unsigned int)(after.calls - before.calls);
	assert_int_equal(calls + after.calls_full, 2000);
	assert_int_equal(drain(pair[1]), calls);
	/* Drained, it takes calls again. */
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(drain(pair[1]), 1);
	/* The peer went: its device runs on. */
	close(pair[1]);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 2002);
	assert_int_equal(view(&f).counters.calls_lost, 1);
	assert_int_equal(view(&f).counters.calls_full, after.calls_full);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void test_full_call_eventfd(void **state)
{
	struct fix f;
	uint64_t n;
	int fd;

	(void)state;
	fix_init(&f, 8, 0);
	fd = eventfd(0, 0);
	set_call(&f, dup(fd));
	n = UINT64_MAX - 1;
	assert_int_equal(write(fd, &n, 8), 8);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(view(&f).counters.calls_full, 1);
	assert_int_equal(used_idx(&f), 1);
	set_call(&f, -1);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 2);
	close(fd);
	fix_deinit(&f);
}

/* Kick descriptors that are odd: does the queue still hear kicks, is the loop at rest? */
static int closed_socket(int *other)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	*other = -1;
	return pair[0];
}

static int closed_pipe(int *other)
{
	int pair[2];

	assert_int_equal(pipe(pair), 0);
	close(pair[1]);
	*other = -1;
	return pair[0];
}

static int wrong_end(int *other)
{
	int pair[2];

	assert_int_equal(pipe(pair), 0);
	close(pair[0]);
	*other = -1;
	return pair[1];
}

static int listening(int *other)
{
	*other = -1;
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int datagrams(int *other)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	*other = pair[1];
	return pair[0];
}

static int full_pipe(int *other)
{
	static const char bytes[4096] = { 1 };
	int pair[2];

	assert_int_equal(pipe(pair), 0);
	assert_int_equal(write(pair[1], bytes, sizeof(bytes)), sizeof(bytes));
	*other = pair[1];
	return pair[0];
}

/* Ready for its error queue, with nothing to read: a transmit timestamp waits there. */
static int error_queue(int *other)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int sink = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(to);

	*other = sink;
	assert_int_equal(bind(sink, (void *)&to, len), 0);
	assert_int_equal(getsockname(sink, (void *)&to, &len), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &on, sizeof(on)), 0);
	assert_int_equal(sendto(fd, "x", 1, 0, (void *)&to, len), 1);
	return fd;
}

struct odd_kick {
	const char *name;
	int (*make)(int *other);
	bool hears;
};

static void check_odd_kick(const struct odd_kick *odd)
{
	uint64_t one = 1, served;
	struct fix f;
	int other, fd;

	fix_init(&f, 8, 0);
	set_kick(&f, odd->make(&other));
	assert_false(f.dev->broken);
	assert_int_equal(f.vq->state, VQ_RUNNING);
	/* Watched no more, or at rest: nothing that is always ready burns the loop. */
	if ((f.vq->kick.loop != NULL) != odd->hears)
		fail_msg("%s: %s", odd->name, f.vq->kick.loop ? "watched" : "not");
	served = view(&f).counters.kicks;
	pump(&f);
	assert_int_equal(view(&f).counters.kicks, served);
	set_desc(&f, DESC_AT, 0, DATA_AT, 16, WRITE, 0);
	offer(&f, 0);
	if (odd->hears)
		assert_int_equal(write(other, &one, 8), 8);
	pump(&f);
	assert_int_equal(used_idx(&f), odd->hears);
	/* A new one brings it back, with a look at the ring. */
	fd = dup(f.kick);
	set_kick(&f, fd);
	assert_int_equal(used_idx(&f), 1);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 2);
	if (other >= 0)
		close(other);
	fix_deinit(&f);
}

static void test_odd_kick_descriptors(void **state)
{
	static const struct odd_kick rows[] = {
		{ "socket whose peer went", closed_socket, false },
		{ "pipe whose writer went", closed_pipe, false },
		{ "the writer's end of a pipe", wrong_end, false },
		{ "a socket that is nobody's", listening, false },
		{ "packets", datagrams, true },
		{ "pipe with much in it", full_pipe, true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check_odd_kick(&rows[i]);
}

static void test_kick_with_an_error_queue(void **state)
{
	static const struct odd_kick row = { "a socket with an error queue", error_queue, false };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 0;
	int r = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &on, sizeof(on));

	(void)state;
	close(fd);
	if (r < 0)
		skip_because("sockets have no timestamps here: %s", strerror(errno));
	check_odd_kick(&row);
}

static void test_kick_that_cannot_be_watched(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	set_kick(&f, open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	assert_true(f.dev->broken);
	assert_non_null(strstr(f.dev->broken_reason, "kick descriptor: cannot wait for"));
	assert_true(vdev_is_idle(f.dev));
	fix_deinit(&f);
}

static int num_open_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* CVE-2019-14818, CVE-2020-10726: whoever hands over descriptors again and again leaks nothing. */
static void test_swapping_descriptors(void **state)
{
	static const enum vq_state states[] = { VQ_RUNNING, VQ_STOPPING, VQ_IDLE };
	struct test_device *td;
	struct fix f;
	int i, k, before = 0, state_nr;

	(void)state;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	for (state_nr = 0; state_nr < 3; state_nr++) {
		if (state_nr == 1) {
			td->verdict = SERVE_HELD;
			push_one(&f, 1, DATA_AT, 16, WRITE);
			td->verdict = SERVE_DONE;
			vdev_hold(f.dev);
			pump(&f);
		} else if (state_nr == 2) {
			fix_complete_held(&f);
			pump(&f);
		}
		assert_int_equal(f.vq->state, states[state_nr]);
		for (i = 0; i < 100; i++) {
			int fds[3] = { dup(f.call), dup(f.kick), dup(f.call) };

			vq_set_call_fd(f.vq, &fds[0]);
			vq_set_kick_fd(f.vq, &fds[1]);
			vq_set_err_fd(f.vq, &fds[2]);
			for (k = 0; k < 3; k++)
				assert_int_equal(fds[k], -1);
			if (i % 3)
				pump(&f);
			if (!i)
				before = num_open_fds();
		}
		pump(&f);
		assert_true(num_open_fds() <= before + 1);
	}
	vdev_release(f.dev);
	pump(&f);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 2);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void test_new_call_is_signalled(void **state)
{
	struct fix f;
	int fd;

	(void)state;
	fix_init(&f, 8, 0);
	fd = eventfd(0, EFD_NONBLOCK);
	set_call(&f, dup(fd));
	assert_int_equal(drain(fd), 0);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(drain(fd), 1);
	close(fd);
	/* What went to the old one may have been lost: the new one gets it once more. */
	fd = eventfd(0, EFD_NONBLOCK);
	set_call(&f, dup(fd));
	assert_int_equal(drain(fd), 1);
	close(fd);
	fix_deinit(&f);
}

/* --- several loops --- */

#define LOOPS  3
#define ROUNDS 300

static _Atomic unsigned int num_wrong_loop;

static enum serve_verdict check_loop(struct vdev *dev, struct vq *vq, struct chain *c)
{
	(void)dev;
	if (loop_self() != vq->loop)
		num_wrong_loop++;
	chain_put(c, "ok", 2);
	return SERVE_DONE;
}

struct ring {
	struct vring_avail *avail;
	volatile struct vring_used *used;
};

static struct ring make_ring(struct fix *f, unsigned int i, struct loop *loop)
{
	uint64_t at = DATA_AT + i * 0x4000;
	struct vq *vq = &f->dev->queues[i];
	int fd = eventfd(0, EFD_NONBLOCK);

	memset(ram(f, at), 0, 0x4000);
	set_desc(f, at, 0, at + 0x3000, 16, WRITE, 0);
	vq->loop = loop;
	vq->cfg = (struct vq_config){ 8, at, at + 0x1000, at + 0x2000, 0, 0 };
	vq_set_kick_fd(vq, &fd);
	vq->enabled = true;
	return (struct ring){ ram(f, at + 0x1000), ram(f, at + 0x2000) };
}

static void wait_for_used(struct fix *f, volatile struct vring_used *ring, uint16_t idx)
{
	while (load_le16(&ring->idx) != idx && !f->dev->broken)
		loop_run_once(&f->loop, 1);
}

/* Each queue on a loop of its own; stopped and started again and again while chains come. */
static void test_queues_on_several_loops(void **state)
{
	static struct vdev_class cls;
	struct loop loops[LOOPS];
	struct ring rings[LOOPS];
	struct err err = { 0 };
	struct fix f;
	unsigned int i, round;

	(void)state;
	cls = test_class;
	cls.serve = check_loop;
	fix_class = &cls;
	fix_num_queues = LOOPS;
	fix_init(&f, 0, 0);
	fix_num_queues = 1;
	vdev_set_mem(f.dev, f.mem);
	for (i = 0; i < LOOPS; i++) {
		assert_int_equal(loop_init(&loops[i], "io", &err), 0);
		assert_int_equal(loop_thread_start(&loops[i], &err), 0);
		rings[i] = make_ring(&f, i, &loops[i]);
	}
	vdev_write_status(f.dev, 0xf);
	for (round = 1; round <= ROUNDS; round++) {
		for (i = 0; i < LOOPS; i++) {
			uint64_t one = 1;

			store_le16(&rings[i].avail->idx, (uint16_t)round);
			/* kick_fd is the loop's while it runs; its number does not change here. */
			assert_int_equal(write(f.dev->queues[i].kick_fd, &one, 8), 8);
		}
		if (round % 3 == 0)
			vdev_hold(f.dev);
		if (round % 3 == 1 && round > 1)
			vdev_release(f.dev);
		if (round % 3)
			for (i = 0; i < LOOPS; i++)
				wait_for_used(&f, rings[i].used, (uint16_t)round);
	}
	vdev_release(f.dev);
	for (i = 0; i < LOOPS; i++)
		wait_for_used(&f, rings[i].used, ROUNDS);
	assert_false(f.dev->broken);
	assert_int_equal(num_wrong_loop, 0);
	fix_deinit(&f);
	for (i = 0; i < LOOPS; i++) {
		loop_thread_join(&loops[i]);
		loop_deinit(&loops[i]);
	}
}

static unsigned int served_before_other;

static enum serve_verdict note_turns(struct vq *vq, struct chain *c)
{
	struct test_device *td = container_of(vq->dev, struct test_device, dev);

	(void)c;
	if (vq->index == 1)
		served_before_other = td->num_served - 1;
	return SERVE_DONE;
}

/* A queue with much to do gives the others their turn. */
static void test_turns(void **state)
{
	struct ring other;
	struct fix f;
	unsigned int i;

	(void)state;
	fix_class = &test_class;
	fix_num_queues = 2;
	fix_init(&f, 1024, 0);
	fix_num_queues = 1;
	test_device(&f)->serve = note_turns;
	other = make_ring(&f, 1, &f.loop);
	vdev_sync(f.dev);
	pump(&f);
	for (i = 0; i < 1000; i++) {
		set_desc(&f, DESC_AT, i, DATA_AT, 16, WRITE, 0);
		offer(&f, (uint16_t)i);
	}
	other.avail->idx = le16_make(1);
	assert_int_equal(eventfd_write(f.kick, 1), 0);
	assert_int_equal(eventfd_write(f.dev->queues[1].kick_fd, 1), 0);
	wait_for_used(&f, used(&f), 1000);
	assert_true(served_before_other <= VQ_BUDGET);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_call_socket),
		cmocka_unit_test(test_full_call_eventfd),
		cmocka_unit_test(test_odd_kick_descriptors),
		cmocka_unit_test(test_kick_with_an_error_queue),
		cmocka_unit_test(test_kick_that_cannot_be_watched),
		cmocka_unit_test(test_swapping_descriptors),
		cmocka_unit_test(test_new_call_is_signalled),
		cmocka_unit_test(test_queues_on_several_loops),
		cmocka_unit_test(test_turns),
	};

	/* As the program does. */
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
