/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to virtio-blk: the input is a list of chains, their contents and how they are cut. What
 * the guest gave no room for is never written, and every request that has room for a status and a
 * whole header gets one that the specification knows.
 */
#include "tests/fuzz/device.h"

#include "devices/blk.h"

#define IMAGE_BYTES 0x8000

/* Mostly requests that mean something: the type and the sector are small numbers or extremes. */
static void make_header(struct guest *g, struct bytes *in)
{
	static const uint8_t types[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
	uint8_t how = take8(in);
	uint8_t *p = g->ram + DEVICE_IN;
	uint64_t sector = take8(in);

	if (!(how & 0x80)) {
		memset(p, 0, 16);
		p[0] = types[how & 7];
		if (how & 0x40)
			sector |= 1ull << 55;
		memcpy(p + 8, &(le64){ htole64(sector) }, 8);
		/* Ranges of discard and write-zeroes lie behind it in the same shape. */
		p[16] = take8(in);
		p[24] = take8(in);
		p[28] = how & 0x10 ? 1 : 0;
	} else {
		take_bytes(in, p, 48);
	}
}

static void check_answer(struct guest *g, const struct device_request *req, uint32_t used)
{
	uint8_t status;

	FUZZ_CHECK(used <= req->out);
	if (!req->out)
		return;
	status = g->ram[DEVICE_OUT + req->out - 1];
	FUZZ_CHECK(status <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int image = -1;
	struct bytes in = { data, size };
	uint8_t options = take8(&in);
	char text[160];
	struct guest g;

	if (image < 0)
		image = memfd_create("image", 0);
	/* The same for every input, so that one says the same again. */
	FUZZ_CHECK(ftruncate(image, 0) == 0 && ftruncate(image, IMAGE_BYTES) == 0);
	snprintf(text, sizeof(text),
		"{\"filename\":\"fd=%d\",\"aio\":\"threads\",\"serial\":\"fuzz\",\"read-only\":%s,"
		"\"discard\":%s,\"logical_block_size\":%u}",
		image, options & 1 ? "true" : "false", options & 2 ? "false" : "true",
		options & 4 ? 4096 : 512);
	guest_new(&g, &virtio_blk_class, text);
	guest_queue(&g, 0, DEVICE_RING, 0);
	guest_run(&g, options & 8 ? 0 : 1ull << 9 | (options & 16 ? 1ull << 11 : 0));
	if (options & 32)
		vdev_set_config(g.dev, 32, "", 1);
	while (in.left) {
		struct device_request req;

		make_header(&g, &in);
		device_take_request(&req, &in);
		device_offer(&g, 0, &req);
		FUZZ_CHECK(device_wait(&g, 0));
		check_answer(&g, &req, device_used_len(&g, 0));
		device_check_room(&g, &req);
	}
	FUZZ_CHECK(!g.dev->broken);
	guest_free(&g);
	return 0;
}
