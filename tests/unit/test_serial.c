/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial through its two rings, with a socket at the other end: partial writes keep their
 * place, whatever stops in between; empty chains come back.
 */
#include "dev_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "devices/serial.h"

#define RX_AT	 (DATA_AT + 0x1000)
#define TX_BYTES 0x80000

struct console {
	struct fix f; /* its ring is the transmit queue's */
	int peer;
};

static void start_console(struct console *con, int buffer_bytes)
{
	static char options[64];
	struct fix *f = &con->f;
	struct vq *rx;
	int pair[2], fd;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (buffer_bytes)
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
	con->peer = pair[0];
	snprintf(options, sizeof(options), "{\"chardev\":\"connect:fd=%d\"}", pair[1]);
	fix_class = &virtio_serial_class;
	fix_options = options;
	fix_init(f, 0, 0);
	close(pair[1]);
	/* Receive: queue 0, a ring of 8 at RX_AT. */
	rx = f->vq;
	fd = dup(f->kick);
	rx->cfg = (struct vq_config){ 8, RX_AT, RX_AT + 0x100, RX_AT + 0x200, 0, 0 };
	memset(ram(f, RX_AT), 0, 0x400);
	vq_set_kick_fd(rx, &fd);
	rx->enabled = true;
	f->vq = &f->dev->queues[1];
	fix_start_ring(f, 64, 0);
	vdev_sync(f->dev);
	pump(f);
	assert_int_equal(rx->state, VQ_RUNNING);
}

static void stop_console(struct console *con)
{
	if (con->peer >= 0)
		close(con->peer);
	fix_deinit(&con->f);
}

static void offer_rx(struct console *con, uint16_t i, uint32_t len)
{
	struct fix *f = &con->f;
	struct vring_avail *ring = ram(f, RX_AT + 0x100);

	set_desc(f, RX_AT, i % 8u, OUT_AT + i % 8u * 64, len, WRITE, 0);
	ring->ring[i % 8] = le16_make(i % 8);
	ring->idx = le16_make((uint16_t)(i + 1));
	kick(f);
}

static uint16_t rx_used(struct console *con)
{
	return le16_get(((struct vring_used *)ram(&con->f, RX_AT + 0x200))->idx);
}

static uint32_t rx_len(struct console *con, uint16_t i)
{
	return le32_get(((struct vring_used *)ram(&con->f, RX_AT + 0x200))->ring[i % 8].len);
}

static uint8_t tx_byte(size_t i)
{
	return (uint8_t)(i * 7 >> 3);
}

static void fill_tx(struct fix *f, size_t len)
{
	uint8_t *p = ram(f, OUT_AT);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = tx_byte(i);
}

/* Offers one chain of @len bytes from OUT_AT in three descriptors. */
static void offer_tx(struct fix *f, uint32_t len)
{
	struct descs d = { .f = f };
	const uint32_t cuts[CUTS_MAX] = { 1, len / 2 };

	add_part(&d, OUT_AT, len, cuts, 0);
	if (!d.n)
		add_desc(&d, 0, 0, 0);
	offer(f, 0);
	kick(f);
}

/* Takes up to @max bytes at the peer, which have to be those from @at on. */
static size_t take(struct console *con, size_t at, size_t max)
{
	static uint8_t got[TX_BYTES];
	ssize_t n = read(con->peer, got, MIN(max, sizeof(got)));
	ssize_t i;

	for (i = 0; i < n; i++)
		if (got[i] != tx_byte(at + (size_t)i))
			fail_msg("byte %zu is wrong", at + (size_t)i);
	return n > 0 ? (size_t)n : 0;
}

static void test_transmit(void **state)
{
	struct console con;
	uint32_t len;

	(void)state;
	start_console(&con, 0);
	fill_tx(&con.f, 4096);
	for (len = 0; len < 40; len++) {
		uint16_t idx = used_idx(&con.f);

		offer_tx(&con.f, len);
		assert_int_equal(used_idx(&con.f), (uint16_t)(idx + 1));
		assert_int_equal(le32_get(used(&con.f)->ring[idx % 64].len), 0);
		assert_int_equal(take(&con, 0, 4096), len);
	}
	stop_console(&con);
}

/* The peer is slow, and the machine stops and goes on between its reads. */
static void partial_writes(bool stopping)
{
	struct console con;
	size_t at = 0, n;
	int idle = 0;

	start_console(&con, 4096);
	fill_tx(&con.f, TX_BYTES);
	offer_tx(&con.f, TX_BYTES);
	assert_int_equal(used_idx(&con.f), 0);
	while (at < TX_BYTES && idle < 100) {
		if (stopping) {
			/* Nothing is in flight while it waits: a stop never waits for the peer. */
			vdev_set_vm_running(con.f.dev, false);
			pump(&con.f);
			assert_true(vdev_is_idle(con.f.dev));
			assert_int_equal(con.f.vq->cfg.next_avail, used_idx(&con.f));
		}
		n = take(&con, at, 3000);
		idle = n ? 0 : idle + 1;
		at += n;
		if (stopping)
			vdev_set_vm_running(con.f.dev, true);
		pump(&con.f);
	}
	assert_int_equal(at, TX_BYTES);
	assert_int_equal(used_idx(&con.f), 1);
	assert_int_equal(take(&con, 0, 1), 0);
	/* The next chain begins at its beginning. */
	offer_tx(&con.f, 10);
	assert_int_equal(used_idx(&con.f), 2);
	assert_int_equal(take(&con, 0, 100), 10);
	stop_console(&con);
}

static void test_partial_writes(void **state)
{
	(void)state;
	partial_writes(false);
}

static void test_partial_writes_and_stops(void **state)
{
	(void)state;
	partial_writes(true);
}

static void test_reset_forgets_the_place(void **state)
{
	struct console con;
	size_t at = 0;

	(void)state;
	start_console(&con, 4096);
	fill_tx(&con.f, TX_BYTES);
	offer_tx(&con.f, TX_BYTES);
	fix_reset(&con.f);
	while (read(con.peer, ram(&con.f, DATA_AT + 0x20000), 4096) > 0)
		;
	fix_start_ring(&con.f, 64, 0);
	/* As long as the one before: its first bytes come first. */
	offer_tx(&con.f, TX_BYTES);
	while (at < TX_BYTES) {
		at += take(&con, at, 3000);
		pump(&con.f);
	}
	assert_int_equal(used_idx(&con.f), 1);
	stop_console(&con);
}

static void test_chain_shrinks_while_it_waits(void **state)
{
	struct console con;

	(void)state;
	start_console(&con, 4096);
	fill_tx(&con.f, TX_BYTES);
	offer_tx(&con.f, TX_BYTES);
	assert_int_equal(used_idx(&con.f), 0);
	/* More is out already than the chain has now. */
	set_desc(&con.f, DESC_AT, 0, OUT_AT, 1, 0, 0);
	while (read(con.peer, ram(&con.f, DATA_AT + 0x20000), 4096) > 0)
		pump(&con.f);
	pump(&con.f);
	assert_int_equal(used_idx(&con.f), 1);
	assert_false(con.f.dev->broken);
	stop_console(&con);
}

static void test_peer_leaves(void **state)
{
	struct console con;

	(void)state;
	start_console(&con, 4096);
	fill_tx(&con.f, TX_BYTES);
	offer_tx(&con.f, TX_BYTES);
	assert_int_equal(used_idx(&con.f), 0);
	close(con.peer);
	con.peer = -1;
	/* Nobody is there: what waits is dropped, and the guest goes on. */
	while (!used_idx(&con.f))
		loop_run_once(&con.f.loop, 50);
	offer_tx(&con.f, 100);
	assert_int_equal(used_idx(&con.f), 2);
	assert_false(con.f.dev->broken);
	stop_console(&con);
}

static void test_receive(void **state)
{
	struct console con;

	(void)state;
	start_console(&con, 0);
	/* No room: answered with nothing, however long nothing comes. */
	offer_rx(&con, 0, 0);
	assert_int_equal(rx_used(&con), 1);
	assert_int_equal(rx_len(&con, 0), 0);
	offer_rx(&con, 1, 5);
	assert_int_equal(rx_used(&con), 1);
	assert_int_equal(write(con.peer, "hello world", 11), 11);
	while (rx_used(&con) != 2)
		loop_run_once(&con.f.loop, 50);
	assert_int_equal(rx_len(&con, 1), 5);
	assert_memory_equal(ram(&con.f, OUT_AT + 64), "hello", 5);
	/* The rest waits in the socket for room. */
	pump(&con.f);
	assert_int_equal(rx_used(&con), 2);
	offer_rx(&con, 2, 50);
	while (rx_used(&con) != 3)
		loop_run_once(&con.f.loop, 50);
	assert_int_equal(rx_len(&con, 2), 6);
	assert_memory_equal(ram(&con.f, OUT_AT + 128), " world", 6);
	stop_console(&con);
}

static void test_config(void **state)
{
	struct console con;
	uint8_t config[12], byte = 7;

	(void)state;
	start_console(&con, 0);
	vdev_get_config(con.f.dev, config);
	assert_int_equal(le32_read(config + 4), 1);
	/* emerg_wr, the last field: not offered, so nothing comes of it. */
	assert_true(vdev_set_config(con.f.dev, 8, &byte, 1));
	assert_false(vdev_set_config(con.f.dev, 12, &byte, 1));
	pump(&con.f);
	assert_int_equal(take(&con, 0, 1), 0);
	stop_console(&con);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transmit),
		cmocka_unit_test(test_partial_writes),
		cmocka_unit_test(test_partial_writes_and_stops),
		cmocka_unit_test(test_reset_forgets_the_place),
		cmocka_unit_test(test_chain_shrinks_while_it_waits),
		cmocka_unit_test(test_peer_leaves),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_config),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
