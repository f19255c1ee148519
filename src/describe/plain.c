/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The types whose ids the specification reserves and says no more about, and for which no driver
 * settled a format: names only, and where a Linux driver has it, a bit or the queues. A type that
 * gains more moves to a file of its own.
 */
#include "describe/types.h"

static const struct describe_bit rpmsg_features[] = {
	DESCRIBE_BIT(0, "VIRTIO_RPMSG_F_NS", "Name service notifications supported"),
};

static const struct describe_queue rpmsg_queues[] = { { .name = "input" }, { .name = "output" } };
static const struct describe_queue hwsim_queues[] = { { .name = "tx" }, { .name = "rx" } };
static const struct describe_queue port_queues[] = { { .name = "receiveq" },
	{ .name = "transmitq" } };

#define PLAIN(symbol, virtio_id, text) \
	const struct describe_type describe_##symbol = { .id = virtio_id, .name = text }

PLAIN(iomem, 6, "virtio-iomem");

const struct describe_type describe_rpmsg = {
	.id = 7,
	.name = "virtio-rpmsg",
	.features = rpmsg_features,
	.num_features = ARRAY_SIZE(rpmsg_features),
	.queues = rpmsg_queues,
	.num_queues = ARRAY_SIZE(rpmsg_queues),
};

PLAIN(wlan, 10, "virtio-mac-wlan");

const struct describe_type describe_rproc_serial = {
	.id = 11,
	.name = "virtio-rproc-serial",
	.queues = port_queues,
	.num_queues = ARRAY_SIZE(port_queues),
};

PLAIN(caif, 12, "virtio-caif");
PLAIN(memory_balloon, 13, "virtio-mem-balloon");
PLAIN(signal_dist, 21, "virtio-signal");
PLAIN(pstore, 22, "virtio-pstore");

const struct describe_type describe_hwsim = {
	.id = 29,
	.name = "virtio-mac-hwsim",
	.queues = hwsim_queues,
	.num_queues = ARRAY_SIZE(hwsim_queues),
};

PLAIN(video_encoder, 30, "virtio-vid-encoder");
PLAIN(video_decoder, 31, "virtio-vid-decoder");
PLAIN(nitro, 33, "virtio-nitro-sec-mod");
PLAIN(watchdog, 35, "virtio-watchdog");
PLAIN(dmabuf, 37, "virtio-dmabuf");
PLAIN(param_serv, 38, "virtio-param-serv");
PLAIN(audio_policy, 39, "virtio-audio-pol");
PLAIN(rdma, 42, "virtio-rdma");
PLAIN(camera, 43, "virtio-camera");
PLAIN(ism, 44, "virtio-ism");
PLAIN(tee, 46, "virtio-tee");
PLAIN(cpu_balloon, 47, "virtio-cpu-balloon");
PLAIN(usb, 49, "virtio-usb");
