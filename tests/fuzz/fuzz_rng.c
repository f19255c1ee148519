/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to virtio-rng, from the kernel's generator, from a source that never ends and from one
 * that ends soon: every one is answered, with no more than there was room for.
 */
#include "tests/fuzz/device.h"

#include "devices/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int ends = -1;
	struct bytes in = { data, size };
	uint8_t source = take8(&in) % 3;
	char options[64];
	struct guest g;

	if (ends < 0) {
		ends = memfd_create("bytes", 0);
		FUZZ_CHECK(ftruncate(ends, 5000) == 0);
	}
	FUZZ_CHECK(lseek(ends, 0, SEEK_SET) == 0);
	snprintf(options, sizeof(options), "{\"filename\":\"fd=%d\"}", ends);
	guest_new(&g, &virtio_rng_class,
		source == 0   ? NULL
		: source == 1 ? options
			      : "{\"filename\":\"/dev/zero\"}");
	guest_queue(&g, 0, DEVICE_RING, 0);
	guest_run(&g, 0);
	while (in.left) {
		struct device_request req;

		device_take_request(&req, &in);
		device_offer(&g, 0, &req);
		FUZZ_CHECK(device_wait(&g, 0));
		FUZZ_CHECK(device_used_len(&g, 0) <= req.out);
		FUZZ_CHECK(source == 1 || !req.out || device_used_len(&g, 0));
		device_check_room(&g, &req);
	}
	FUZZ_CHECK(!g.dev->broken);
	guest_free(&g);
	return 0;
}
