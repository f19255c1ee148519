/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's bytes to the driver's rings. The first byte chooses format and features; then each
 * byte is a step: add a chain, publish, take back, ask for calls, or write bytes of the input into
 * what the device can write. Whatever it wrote: a token that comes back was out, once, its length
 * is not above what was writable, and a ring that refused is not used again.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "driver/ring.h"

#define RING_SIZE 16
#define TOKENS	  64

struct state {
	struct dmem mem;
	struct dring ring;
	uint64_t buffer;
	uint32_t writable[TOKENS];
	bool out[TOKENS];
	uint32_t next;
};

static void add(struct state *s, unsigned int how)
{
	unsigned int num_out = how & 3, num_in = how >> 2 & 3;
	uint32_t token = s->next % TOKENS;
	struct dring_buf bufs[6];

	if (num_out + num_in == 0 || s->out[token])
		return;
	for (unsigned int i = 0; i < num_out + num_in; i++)
		bufs[i] = (struct dring_buf){ s->buffer + i, 100 + i };
	if (!dring_add(&s->ring, bufs, num_out, num_in, token))
		return;
	s->writable[token] = 0;
	for (unsigned int i = num_out; i < num_out + num_in; i++)
		s->writable[token] += bufs[i].len;
	s->out[token] = true;
	s->next++;
}

/* False: the ring refused what the device wrote. */
static bool take_back(struct state *s)
{
	uint32_t token, len;
	int r = dring_get(&s->ring, &token, &len);

	if (r > 0) {
		FUZZ_CHECK(token < TOKENS && s->out[token] && len <= s->writable[token]);
		s->out[token] = false;
	}
	FUZZ_CHECK(r >= 0 || (r == -EPROTO && s->ring.err.msg[0]));
	return r >= 0;
}

/* How many bytes of the input were taken. */
static size_t write_device(struct state *s, const uint8_t *data, size_t size)
{
	bool packed = s->ring.cfg.packed;
	size_t room = packed ? RING_SIZE * 16 : 4 + RING_SIZE * 8 + 2, at, len;
	uint8_t *area = packed ? s->ring.desc : s->ring.device;

	if (size < 2)
		return size;
	at = data[0] % room;
	len = MIN(data[1] % 17u, room - at);
	len = MIN(len, size - 2);
	memcpy(area + at, data + 2, len);
	/* Whatever it asks for is answered with yes or no. */
	if (packed && len >= 4)
		memcpy(s->ring.device, data + 2, 4);
	return 2 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int how = size ? data[0] : 0;
	const struct dring_config cfg = { .num = RING_SIZE,
		.packed = how & 1,
		.event_idx = how & 2,
		.indirect = how & 4,
		.in_order = how & 8,
		.max_bufs = 6 };
	struct err err = { { 0 } };
	static struct state s;
	bool good = true;

	memset(&s, 0, sizeof(s));
	FUZZ_CHECK(dmem_init(&s.mem, dring_memory_bytes(&cfg), 1, &err) == 0);
	FUZZ_CHECK(dring_init(&s.ring, &cfg, &s.mem, &err) == 0);
	FUZZ_CHECK(dmem_alloc(&s.mem, 4096, 64, &s.buffer, &err));
	for (size_t i = 1; i < size && good; i++) {
		switch (data[i] & 7) {
		case 0:
		case 1: add(&s, data[i] >> 3); break;
		case 2: dring_publish(&s.ring); break;
		case 3:
		case 4: good = take_back(&s); break;
		case 5: dring_ask_calls(&s.ring, data[i] & 8); break;
		default: i += write_device(&s, data + i + 1, size - i - 1); break;
		}
		FUZZ_CHECK(s.ring.num_free <= RING_SIZE);
	}
	dring_deinit(&s.ring);
	dmem_deinit(&s.mem);
	return 0;
}
