/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry: a row a type, by virtio id. Private to describe/; callers use
 * describe_type_by_id().
 */
#ifndef DESCRIBE_TYPES_H
#define DESCRIBE_TYPES_H

#include "describe/describe.h"

#define DESCRIBE_TYPES(X) \
	X(net)            \
	X(blk)            \
	X(console)        \
	X(rng)            \
	X(balloon)        \
	X(iomem)          \
	X(rpmsg)          \
	X(scsi)           \
	X(9p)             \
	X(wlan)           \
	X(rproc_serial)   \
	X(caif)           \
	X(memory_balloon) \
	X(gpu)            \
	X(rtc)            \
	X(input)          \
	X(vsock)          \
	X(crypto)         \
	X(signal_dist)    \
	X(pstore)         \
	X(iommu)          \
	X(mem)            \
	X(sound)          \
	X(fs)             \
	X(pmem)           \
	X(rpmb)           \
	X(hwsim)          \
	X(video_encoder)  \
	X(video_decoder)  \
	X(scmi)           \
	X(nitro)          \
	X(i2c)            \
	X(watchdog)       \
	X(can)            \
	X(dmabuf)         \
	X(param_serv)     \
	X(audio_policy)   \
	X(bt)             \
	X(gpio)           \
	X(rdma)           \
	X(camera)         \
	X(ism)            \
	X(spi)            \
	X(tee)            \
	X(cpu_balloon)    \
	X(media)          \
	X(usb)

#define DESCRIBE_DECLARE(name) extern const struct describe_type describe_##name;
DESCRIBE_TYPES(DESCRIBE_DECLARE)
#undef DESCRIBE_DECLARE

#endif
