/* SPDX-License-Identifier: BSD-3-Clause */
/* What messages that pass say about a device, and that nothing of it ever runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vhost/shadow.h"

#define RAM_BYTES 0x10000
#define USER	  0x700000000000ull
#define PROTOCOL  (1ull << VHU_F_PROTOCOL_FEATURES)

static int realize(struct vdev *dev, struct err *err)
{
	(void)dev;
	(void)err;
	return 0;
}

static const struct option_spec no_options[] = { { NULL } };

static const struct vdev_class relayed_class = {
	.name = "relayed",
	.instance_bytes = sizeof(struct vdev),
	.options = no_options,
	.relayed = true,
	.realize = realize,
};

struct rig {
	struct loop loop;
	struct vdev *dev;
	struct shadow shadow;
	int ram, event;
};

static int set_up(void **state)
{
	static struct rig rig;
	struct err err = { 0 };

	rig = (struct rig){ 0 };
	assert_int_equal(loop_init(&rig.loop, "test", &err), 0);
	rig.dev = vdev_new(&relayed_class, "r0", &rig.loop, &rig.loop);
	assert_int_equal(vdev_realize(rig.dev, &err), 0);
	shadow_init(&rig.shadow, rig.dev);
	rig.ram = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(rig.ram, RAM_BYTES), 0);
	rig.event = eventfd(0, EFD_CLOEXEC);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	shadow_reset(&rig->shadow);
	shadow_deinit(&rig->shadow);
	shadow_deinit(&rig->shadow);
	vdev_destroy(rig->dev, NULL);
	loop_deinit(&rig->loop);
	close(rig->ram);
	close(rig->event);
	return 0;
}

static bool ask(struct rig *rig, uint32_t request, const void *payload, size_t bytes, int fd)
{
	static union vhu_payload copy;
	const struct vhu_header header = vhu_header_make(request, 0, (uint32_t)bytes);

	memset(&copy, 0xaa, sizeof(copy));
	memcpy(&copy, payload, bytes);
	return shadow_request(&rig->shadow, &header, &copy, &fd, fd >= 0);
}

static bool ask_u64(struct rig *rig, uint32_t request, uint64_t value, int fd)
{
	const le64 wire = le64_make(value);

	return ask(rig, request, &wire, sizeof(wire), fd);
}

static bool ask_state(struct rig *rig, uint32_t request, uint32_t index, uint32_t num)
{
	const le32 words[2] = { le32_make(index), le32_make(num) };

	return ask(rig, request, words, sizeof(words), -1);
}

static void reply(struct rig *rig, uint32_t request, const void *payload, size_t bytes)
{
	static union vhu_payload copy;
	const struct vhu_header header = vhu_header_make(request, VHU_FLAG_REPLY, (uint32_t)bytes);

	memcpy(&copy, payload, bytes);
	shadow_reply(&rig->shadow, &header, &copy, NULL, 0);
}

static void reply_u64(struct rig *rig, uint32_t request, uint64_t value)
{
	const le64 wire = le64_make(value);

	reply(rig, request, &wire, sizeof(wire));
}

static void give_memory(struct rig *rig)
{
	const le64 words[] = { le64_make(1), le64_make(0x1000), le64_make(RAM_BYTES),
		le64_make(USER), le64_make(0) };

	assert_true(ask(rig, VHU_SET_MEM_TABLE, words, sizeof(words), rig->ram));
}

static void place_ring(struct rig *rig, uint32_t index)
{
	const struct vhu_vring_addr addr = {
		.index = le32_make(index),
		.desc = le64_make(USER),
		.used = le64_make(USER + 0x2000),
		.avail = le64_make(USER + 0x1000),
	};

	assert_true(ask_state(rig, VHU_SET_VRING_NUM, index, 64));
	assert_true(ask_state(rig, VHU_SET_VRING_BASE, index, 5));
	assert_true(ask(rig, VHU_SET_VRING_ADDR, &addr, sizeof(addr), -1));
}

static void features(void **state)
{
	struct rig *rig = *state;
	const struct vhost_view *view = rig->dev->view.vhost;

	reply_u64(rig, VHU_GET_FEATURES, PROTOCOL | 3);
	assert_int_equal(rig->dev->device_features.word[0], PROTOCOL | 3);
	assert_int_equal(rig->dev->status, 0);
	reply_u64(rig, VHU_GET_PROTOCOL_FEATURES, 0xff);
	ask_u64(rig, VHU_SET_PROTOCOL_FEATURES, 0xf, -1);
	ask_u64(rig, VHU_SET_FEATURES, PROTOCOL | 6 | 1ull << VHU_F_LOG_ALL, -1);
	assert_int_equal(view->features, PROTOCOL | 3);
	assert_int_equal(view->acked_features, PROTOCOL | 6 | 1ull << VHU_F_LOG_ALL);
	assert_true(view->log_enabled);
	assert_int_equal(view->protocol_offered, 0xff);
	assert_int_equal(view->protocol_acked, 0xf);
	assert_int_equal(rig->dev->view.unoffered_features, 4 | 1ull << VHU_F_LOG_ALL);
	assert_int_equal(rig->dev->status,
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

static void rings(void **state)
{
	struct rig *rig = *state;
	const struct vhost_view_ring *ring = &rig->shadow.rings[2];
	const struct vq_config *cfg;

	ask_u64(rig, VHU_SET_FEATURES, PROTOCOL, -1);
	place_ring(rig, 2);
	assert_int_equal(rig->dev->num_queues, 3);
	cfg = &rig->dev->queues[2].cfg;
	assert_int_equal(cfg->num, 64);
	assert_int_equal(cfg->desc, 0);
	/* The areas are found as soon as there is memory. */
	give_memory(rig);
	assert_int_equal(cfg->desc, 0x1000);
	assert_int_equal(cfg->driver, 0x2000);
	assert_int_equal(cfg->device, 0x3000);
	assert_int_equal(cfg->next_avail, 5);
	ask_u64(rig, VHU_SET_VRING_CALL, 2, rig->event);
	ask_u64(rig, VHU_SET_VRING_KICK, 2, rig->event);
	assert_true(ring->started && ring->ran && !ring->enabled);
	assert_true(ring->kick >= 0 && ring->kick != rig->event);
	assert_false(rig->dev->status & VIRTIO_STATUS_DRIVER_OK);
	ask_state(rig, VHU_SET_VRING_ENABLE, 2, 1);
	assert_true(rig->dev->status & VIRTIO_STATUS_DRIVER_OK);
	reply_u64(rig, VHU_GET_VRING_BASE, 2 | 77ull << 32);
	assert_false(ring->started || ring->ran);
	assert_int_equal(cfg->next_avail, 77);
	assert_false(rig->dev->status & VIRTIO_STATUS_DRIVER_OK);
	/* Polling drivers have no descriptor. */
	ask_u64(rig, VHU_SET_VRING_KICK, 2 | VHU_VRING_NO_FD, -1);
	assert_true(ring->started && ring->kick == -1);
}

/* Whatever is said and whatever is asked for: no queue of it runs. */
static void nothing_runs(void **state)
{
	struct rig *rig = *state;

	rings(state);
	ask_u64(rig, VHU_SET_STATUS, 0xf, -1);
	rig->dev->queues[2].enabled = rig->dev->queues[2].has_kick = true;
	vdev_set_vm_running(rig->dev, true);
	vdev_sync(rig->dev);
	assert_true(vdev_is_idle(rig->dev));
	assert_int_equal(rig->dev->queues[2].kick_fd, -1);
}

static void status_byte(void **state)
{
	struct rig *rig = *state;

	ask_u64(rig, VHU_SET_FEATURES, 3, -1);
	ask_u64(rig, VHU_SET_STATUS, 0x3, -1);
	assert_true(rig->dev->view.status_known);
	assert_int_equal(rig->dev->status, 3);
	/* It is what was said, and not concluded any more. */
	ask_u64(rig, VHU_SET_VRING_KICK, 0, rig->event);
	assert_int_equal(rig->dev->status, 3);
	reply_u64(rig, VHU_GET_STATUS, 0x4f);
	assert_int_equal(rig->dev->status, 0x4f);
	ask_u64(rig, VHU_SET_STATUS, 0, -1);
	assert_int_equal(rig->dev->status, 0);
	assert_int_equal(rig->dev->driver_features.word[0], 0);
}

/* QEMU's vhost-user-rng says no more than FEATURES_OK while its ring runs. */
static void composed_status(void **state)
{
	static const uint8_t all = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				   VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;
	struct rig *rig = *state;

	ask_u64(rig, VHU_SET_FEATURES, 3, -1);
	ask_u64(rig, VHU_GET_STATUS, 0, -1);
	reply_u64(rig, VHU_GET_STATUS, 0);
	ask_u64(rig, VHU_SET_STATUS, VIRTIO_STATUS_FEATURES_OK, -1);
	assert_false(rig->dev->view.status_known);
	assert_int_equal(rig->dev->driver_features.word[0], 3);
	ask_u64(rig, VHU_SET_VRING_KICK, 0, rig->event);
	assert_int_equal(rig->dev->status, all);
	reply_u64(rig, VHU_GET_STATUS, VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FEATURES_OK);
	assert_int_equal(rig->dev->status, all | VIRTIO_STATUS_NEEDS_RESET);
	ask_u64(rig, VHU_SET_STATUS, 0, -1);
	assert_false(rig->dev->status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET));
}

static void memory(void **state)
{
	struct rig *rig = *state;
	struct vhu_mem_region more = { .region = { le64_make(0x100000), le64_make(0x1000),
					       le64_make(USER + 0x100000), le64_make(0) } };
	const le64 too_long[] = { le64_make(1), le64_make(0), le64_make(RAM_BYTES * 2),
		le64_make(USER), le64_make(0) };

	give_memory(rig);
	assert_int_equal(rig->dev->mem->num_regions, 1);
	ask(rig, VHU_ADD_MEM_REG, &more, sizeof(more), rig->ram);
	assert_int_equal(rig->dev->mem->num_regions, 2);
	/* A migration fills it: a look would make pages. */
	ask(rig, VHU_POSTCOPY_LISTEN, "", 0, -1);
	assert_null(rig->dev->mem);
	ask(rig, VHU_POSTCOPY_END, "", 0, -1);
	assert_int_equal(rig->dev->mem->num_regions, 2);
	ask(rig, VHU_REM_MEM_REG, &more, sizeof(more), -1);
	assert_int_equal(rig->dev->mem->num_regions, 1);
	ask(rig, VHU_SET_MEM_TABLE, too_long, sizeof(too_long), rig->ram);
	assert_null(rig->dev->mem);
	assert_non_null(rig->dev->view.vhost->memory_reason);
	give_memory(rig);
	assert_null(rig->dev->view.vhost->memory_reason);
	shadow_reset(&rig->shadow);
	assert_null(rig->dev->mem);
}

/* Addresses that are an IOMMU's are not guest memory's; those of GPA_ADDRESSES are. */
static void address_spaces(void **state)
{
	struct rig *rig = *state;
	const struct vhu_vring_addr addr = {
		.desc = le64_make(0x1000), .used = le64_make(0x3000), .avail = le64_make(0x2000)
	};

	give_memory(rig);
	place_ring(rig, 0);
	assert_int_equal(rig->dev->queues[0].cfg.desc, 0x1000);
	ask_u64(rig, VHU_SET_FEATURES, 1ull << VIRTIO_F_ACCESS_PLATFORM, -1);
	assert_int_equal(rig->dev->queues[0].cfg.desc, 0);
	ask_u64(rig, VHU_SET_FEATURES, 0, -1);
	assert_int_equal(rig->dev->queues[0].cfg.desc, 0x1000);
	ask_u64(rig, VHU_SET_PROTOCOL_FEATURES, 1ull << VHU_PF_GPA_ADDRESSES, -1);
	assert_int_equal(rig->dev->queues[0].cfg.desc, 0);
	ask(rig, VHU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	assert_int_equal(rig->dev->queues[0].cfg.desc, 0x1000);
	assert_int_equal(rig->dev->queues[0].cfg.device, 0x3000);
}

static void configuration(void **state)
{
	struct rig *rig = *state;
	uint8_t message[VHU_CONFIG_HEADER_BYTES + 4] = { 8, 0, 0, 0, 4 };

	memcpy(message + VHU_CONFIG_HEADER_BYTES, "abcd", 4);
	reply(rig, VHU_GET_CONFIG, message, sizeof(message));
	assert_int_equal(rig->shadow.config_bytes, 12);
	assert_memory_equal(rig->shadow.config + 8, "abcd", 4);
	message[12] = 'x';
	assert_true(ask(rig, VHU_SET_CONFIG, message, sizeof(message), -1));
	assert_memory_equal(rig->shadow.config + 8, "xbcd", 4);
	/* A refusal has no bytes; one beyond the space counts for nothing. */
	reply(rig, VHU_GET_CONFIG, message, VHU_CONFIG_HEADER_BYTES);
	message[0] = 253;
	reply(rig, VHU_GET_CONFIG, message, sizeof(message));
	assert_int_equal(rig->shadow.config_bytes, 12);
}

static void what_is_not_well_formed_says_nothing(void **state)
{
	struct rig *rig = *state;
	const struct vhu_header bad_flags = vhu_header_make(VHU_GET_FEATURES, 0, 8);
	const union vhu_payload ones = { .u64 = { le64_make(UINT64_MAX) } };

	assert_false(ask(rig, VHU_SET_FEATURES, "1234567", 7, -1));
	assert_false(ask_u64(rig, VHU_SET_VRING_KICK, 1, -1));
	assert_false(ask_u64(rig, VHU_SET_FEATURES, 1, rig->event));
	assert_int_equal(rig->dev->num_queues, 0);
	assert_int_equal(rig->dev->status, 0);
	shadow_reply(&rig->shadow, &bad_flags, &ones, NULL, 0);
	reply(rig, VHU_GET_FEATURES, "short", 5);
	reply_u64(rig, 4711, 1);
	assert_false(rig->dev->view.vhost->has_offer);
	/* Known to be legal, but not to us. */
	assert_true(ask(rig, 4711, "anything", 8, -1));
	/* No kick can name such a queue. */
	assert_true(ask_state(rig, VHU_SET_VRING_NUM, SHADOW_QUEUES_MAX, 8));
	assert_int_equal(rig->dev->num_queues, 0);
	assert_true(ask_state(rig, VHU_SET_VRING_NUM, SHADOW_QUEUES_MAX - 1, 8));
	assert_int_equal(rig->dev->num_queues, SHADOW_QUEUES_MAX);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(features),
		TEST(rings),
		TEST(nothing_runs),
		TEST(status_byte),
		TEST(composed_status),
		TEST(memory),
		TEST(address_spaces),
		TEST(configuration),
		TEST(what_is_not_well_formed_says_nothing),
	};

	return cmocka_run_group_tests_name("shadow", tests, NULL, NULL);
}
