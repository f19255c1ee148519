/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose rings a hostile back-end serves, from its making to its end. Everything runs on
 * one thread and by a clock of its own: the device's thread is the linker's to take away (see
 * meson.build), its loop has its turn here, the back-end has its own whenever somebody waits for
 * it, and where nobody would come any more no time passes. The device ends whatever was said, every
 * queue comes back, and no descriptor is left.
 *
 * The input is pieces: a byte of what it is, a length of two bytes, and that many bytes. The
 * back-end says one for each message that it hears, with all for its channel behind it, and hangs
 * up after the last; enum piece_kind has the kinds. A first piece of OPTIONS says which device it
 * is, and its further bytes what the driver does.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/send.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "proto/vhost_user.h"
#include "tests/fuzz/mutate.h"
#include "vhost/vhost.h"
#include "vhost/vhost_dev.h"

#define RAM_BYTES   0x10000
#define USER_ADDR   0x700000
#define RING_SIZE   8
#define ROUNDS_MAX  1000
#define FDS_PER_MSG 8
#define PIECE_BYTES 3
#define STEPS_MAX   64
#define STEP_NS	    (200 * NSEC_PER_MSEC)

enum piece_kind {
	PIECE_RAW, /* bytes */
	PIECE_CHANNEL, /* bytes on the back-end's own channel */
	PIECE_GOOD, /* the right answer, its payload xor the bytes */
	PIECE_SILENCE, /* nothing, until who waits is tired of it */
	PIECE_END, /* it goes; another may come */
	PIECE_OPTIONS = 6,
	PIECE_KIND_MASK = 7,
	PIECE_FD = 0x80, /* and a file goes along */
};

enum {
	OPTION_RECONNECT = 1,
	OPTION_WATCH = 2,
	OPTION_PACKED = 4, /* offered by good answers */
	OPTION_GOOD = 8, /* after the last piece all answers are good */
	OPTION_NO_REGION = 16, /* good answers offer none for what is in flight */
};

static const struct {
	const char *name, *option, *value;
} classes[] = {
	{ "vhost-user-blk" },
	{ "vhost-user-net" },
	{ "vhost-user-fs", "tag", "t" },
	{ "vhost-user-scsi" },
	{ "vhost-user-device", "virtio-id", "4" },
};

static struct {
	const uint8_t *data;
	size_t size;
	uint8_t options;
	int fd, channel;
	bool silent;
	uint64_t clock_ns; /* 0: no run */
	struct loop *talk;
} run = { .fd = -1, .channel = -1 };

static struct loop main_loop;

/* --- the back-end --- */

static void keep_channel(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t num = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[FDS_PER_MSG], type;
		socklen_t len = sizeof(type);

		memcpy(fds, CMSG_DATA(c), num * sizeof(int));
		for (size_t i = 0; i < num; i++) {
			if (run.channel < 0 &&
				getsockopt(fds[i], SOL_SOCKET, SO_TYPE, &type, &len) == 0)
				run.channel = take_fd(&fds[i]);
			close_fd(&fds[i]);
		}
	}
}

/* One message, whole; keeps the first socket that comes along. False where none is there. */
static bool take(struct vhu_header *header, union vhu_payload *payload)
{
	union {
		char bytes[CMSG_SPACE(FDS_PER_MSG * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { header, sizeof(*header) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	size_t bytes;

	if (run.fd < 0 || recvmsg(run.fd, &msg, MSG_DONTWAIT) != (ssize_t)sizeof(*header))
		return false;
	keep_channel(&msg);
	bytes = le32_get(header->size);
	FUZZ_CHECK(bytes <= sizeof(*payload));
	memset(payload, 0, sizeof(*payload));
	return !bytes || recv(run.fd, payload, bytes, MSG_DONTWAIT) == (ssize_t)bytes;
}

static void say(int fd, const void *bytes, size_t len, bool with_file)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	_cleanup_fd_ int file = -1;

	if (fd < 0 || !len)
		return;
	if (with_file) {
		file = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_CHECK(file >= 0 && ftruncate(file, RAM_BYTES) == 0);
	}
	fuzz_send(fd, &iov, 1, &file, with_file);
}

static uint64_t good_word(uint32_t request)
{
	switch (request) {
	case VHU_GET_FEATURES:
		return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_EVENT_IDX |
		       1ull << VHU_F_PROTOCOL_FEATURES | 1ull << VHU_F_LOG_ALL | 0x7f |
		       (run.options & OPTION_PACKED ? 1ull << VIRTIO_F_RING_PACKED : 0);
	case VHU_GET_PROTOCOL_FEATURES:
		return run.options & OPTION_NO_REGION ? ~(1ull << VHU_PF_INFLIGHT_SHMFD)
						      : UINT64_MAX;
	case VHU_GET_QUEUE_NUM: return 2;
	case VHU_GET_MAX_MEM_SLOTS: return 8;
	default: return 0;
	}
}

/* What to answer, and how long it is; 0: nothing is expected. The request is in @payload. */
static size_t good_answer(
	const struct vhu_header *header, union vhu_payload *payload, bool *with_file)
{
	uint32_t request = le32_get(header->request);
	const struct vhu_rule *rule = vhu_rule(request);

	*with_file = request == VHU_GET_INFLIGHT_FD;
	if (request == VHU_GET_CONFIG)
		return le32_get(header->size);
	if (request == VHU_GET_INFLIGHT_FD) {
		payload->inflight.mmap_size = le64_make(RAM_BYTES);
		return sizeof(payload->inflight);
	}
	if (request == VHU_GET_VRING_BASE) {
		payload->state.num = le32_make(0);
		return sizeof(payload->state);
	}
	payload->u64.value = le64_make(good_word(request));
	return (rule && rule->reply == VHU_REPLY_OWN) || (le32_get(header->flags) & VHU_NEED_REPLY)
		       ? sizeof(payload->u64)
		       : 0;
}

static void say_good(const struct vhu_header *header, const union vhu_payload *payload,
	const uint8_t *flip, size_t num_flips)
{
	struct {
		struct vhu_header header;
		union vhu_payload payload;
	} answer = { .payload = *payload };
	bool with_file;
	size_t len = good_answer(header, &answer.payload, &with_file);

	if (!len)
		return;
	answer.header = vhu_header_make(le32_get(header->request), VHU_FLAG_REPLY, (uint32_t)len);
	for (size_t i = 0; i < MIN(len, num_flips); i++)
		answer.payload.bytes[i] ^= flip[i];
	say(run.fd, &answer, offsetof(__typeof__(answer), payload) + len, with_file);
}

/* The next pieces, to the first that is said on the connection. False after the last. */
static bool answer(const struct vhu_header *header, const union vhu_payload *payload)
{
	while (run.size >= PIECE_BYTES) {
		const uint8_t *bytes = run.data + PIECE_BYTES;
		uint8_t kind = run.data[0] & PIECE_KIND_MASK;
		bool with_file = run.data[0] & PIECE_FD;
		size_t len = MIN((size_t)(run.data[1] | run.data[2] << 8), run.size - PIECE_BYTES);

		run.data += PIECE_BYTES + len;
		run.size -= PIECE_BYTES + len;
		if (kind == PIECE_CHANNEL) {
			say(run.channel, bytes, len, with_file);
			continue;
		}
		if (kind == PIECE_GOOD && header)
			say_good(header, payload, bytes, len);
		else if (kind == PIECE_SILENCE)
			run.silent = true;
		else if (kind == PIECE_END)
			return false;
		else
			say(run.fd, bytes, len, with_file);
		return true;
	}
	if (!header || !(run.options & OPTION_GOOD))
		return false;
	say_good(header, payload, NULL, 0);
	return true;
}

static void hang_up(void)
{
	close_fd(&run.fd);
	close_fd(&run.channel);
}

static void hear(void)
{
	union vhu_payload payload;
	struct vhu_header header;

	while (take(&header, &payload))
		if (!answer(&header, &payload))
			hang_up();
}

/* --- in the place of what would wait --- */

FUZZ_WRAPPED(int, clock_gettime, clockid_t clock, struct timespec *ts)
{
	if (!run.clock_ns || clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ts);
	ts->tv_sec = (time_t)(run.clock_ns / NSEC_PER_SEC);
	ts->tv_nsec = (long)(run.clock_ns % NSEC_PER_SEC);
	return 0;
}

/* Only who waits for the back-end waits at all. */
FUZZ_WRAPPED(int, poll, struct pollfd *fds, nfds_t num, int timeout)
{
	int r;

	if (!run.clock_ns || timeout <= 0)
		return __real_poll(fds, num, timeout);
	hear();
	while ((r = __real_poll(fds, num, 0)) == 0 && !run.silent)
		if (!answer(NULL, NULL))
			hang_up();
	if (r == 0)
		run.clock_ns += (uint64_t)timeout * NSEC_PER_MSEC;
	run.silent = false;
	return r;
}

FUZZ_WRAPPED(int, loop_thread_start, struct loop *loop, struct err *err)
{
	(void)err;
	run.talk = loop;
	return 0;
}

FUZZ_WRAPPED(void, loop_thread_join, struct loop *loop)
{
	for (int i = 0; i < 3; i++)
		loop_run_once(loop, 0);
	run.talk = NULL;
}

FUZZ_WRAPPED(int, sem_timedwait, sem_t *sem, const struct timespec *end)
{
	(void)end;
	for (int i = 0; i < ROUNDS_MAX && run.talk; i++) {
		if (sem_trywait(sem) == 0)
			return 0;
		loop_run_once(run.talk, 0);
	}
	FUZZ_CHECK(sem_trywait(sem) == 0);
	return 0;
}

FUZZ_WRAPPED(int, host_connect_unix, const char *spec, struct err *err)
{
	int pair[2];

	(void)spec;
	(void)err;
	hang_up();
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	run.fd = pair[0];
	return pair[1];
}

/* --- the driver --- */

/* Until nothing is under way. No job waits for time to pass. */
static void settle(struct vdev *dev)
{
	struct vhost_dev *vd = vhost_dev_of(dev);
	int rest = 2;

	for (int i = 0; i < ROUNDS_MAX && rest; i++) {
		loop_run_once(run.talk, 0);
		hear();
		loop_run_once(&main_loop, 0);
		rest = atomic_load(&vd->talk->num_refs) > 1 ? 2 : rest - 1;
	}
	FUZZ_CHECK(!rest);
}

static struct gmem *make_memory(void)
{
	const struct gmem_region_desc desc = { .size = RAM_BYTES, .user_addr = USER_ADDR };
	_cleanup_fd_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct gmem_region *region;
	struct gmem *mem;

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, RAM_BYTES) == 0);
	FUZZ_CHECK(gmem_region_new(&desc, fd, &region, NULL) == 0);
	FUZZ_CHECK(gmem_region_keep_fd(region, fd, NULL) == 0);
	FUZZ_CHECK(gmem_new(&region, 1, &mem, NULL) == 0);
	gmem_region_unref(region);
	return mem;
}

static void give_fds(struct vq *vq)
{
	int kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	vq_set_kick_fd(vq, &kick);
	vq_set_call_fd(vq, &call);
}

static void start(struct vdev *dev)
{
	struct gmem *mem = make_memory();

	vdev_set_mem(dev, mem);
	gmem_unref(mem);
	vdev_set_driver_features(dev, dev->device_features);
	for (unsigned int i = 0; i < dev->num_queues && i < 2; i++) {
		struct vq *vq = &dev->queues[i];

		give_fds(vq);
		vq_set_num(vq, RING_SIZE, NULL);
		vq_set_areas(
			vq, 0x1000 + 0x4000 * i, 0x2000 + 0x4000 * i, 0x3000 + 0x4000 * i, NULL);
		vq->enabled = true;
	}
	vdev_derive_status(dev, VIRTIO_STATUS_DRIVER_OK, 0);
}

/* As a transport would. */
static void stop(struct vdev *dev)
{
	vdev_hold(dev);
	settle(dev);
	FUZZ_CHECK(vdev_is_idle(dev));
	vdev_reset(dev);
	vdev_release(dev);
}

static void restart(struct vdev *dev)
{
	stop(dev);
	start(dev);
}

static void change_fds(struct vdev *dev)
{
	give_fds(&dev->queues[0]);
}

static void pause_queue(struct vdev *dev)
{
	struct vq *vq = &dev->queues[0];

	vdev_hold_queue(dev, vq);
	settle(dev);
	FUZZ_CHECK(vq->state == VQ_IDLE);
	vdev_release_queue(dev, vq);
}

static void write_config(struct vdev *dev)
{
	vdev_set_config(dev, 0, "x", 1);
}

static void read_config(struct vdev *dev)
{
	uint8_t config[VDEV_CONFIG_MAX];

	vdev_get_config(dev, config);
}

/* For a timer that is due, a dial among them. */
static void pass_time(struct vdev *dev)
{
	(void)dev;
	run.clock_ns += STEP_NS;
}

/* The ring goes on: an index of one that is split, a descriptor of one that is packed. */
static void move_ring(struct vdev *dev, uint64_t gpa)
{
	uint8_t *at = gmem_ptr(dev->mem, gpa, 1);

	FUZZ_CHECK(at);
	++*at;
}

static void make_available(struct vdev *dev)
{
	move_ring(dev, 0x2002);
}

static void make_used(struct vdev *dev)
{
	move_ring(dev, 0x3002);
}

static void (*const steps[])(struct vdev *dev) = {
	pass_time,
	write_config,
	read_config,
	change_fds,
	pause_queue,
	restart,
	make_available,
	make_used,
};

/* What is done where the input says nothing of it. */
static const uint8_t usual[] = { 1, 3, 2 };

static void drive(struct vdev *dev, const uint8_t *script, size_t len)
{
	start(dev);
	settle(dev);
	for (size_t i = 0; i < MIN(len, (size_t)STEPS_MAX); i++) {
		steps[script[i] % ARRAY_SIZE(steps)](dev);
		/* Bit 7: the next one comes before anything of this is done. */
		if (!(script[i] & 0x80))
			settle(dev);
	}
	stop(dev);
}

/* --- one run --- */

static struct vdev *make_device(unsigned int which)
{
	const struct vdev_class *cls = vhost_class_find(classes[which].name);
	struct vdev *dev = vdev_new(cls, "d", &main_loop, &main_loop);
	_cleanup_value_ struct json_object *args = json_object_new_object();
	struct err err;

	json_object_object_add(args, "connect", json_object_new_string("/back-end"));
	json_object_object_add(
		args, "reconnect", json_object_new_boolean(run.options & OPTION_RECONNECT ? 1 : 0));
	json_object_object_add(
		args, "watch", json_object_new_boolean(run.options & OPTION_WATCH ? 1 : 0));
	if (classes[which].option)
		json_object_object_add(
			args, classes[which].option, json_object_new_string(classes[which].value));
	FUZZ_CHECK(options_take(cls->options, dev, args, &err) == 0);
	return dev;
}

static void on_gone(struct vdev_wait *wait)
{
	wait->fn = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vdev_wait gone = { .fn = on_gone };
	const uint8_t *script = usual;
	size_t script_bytes = sizeof(usual);
	unsigned int which = 0;
	struct vdev *dev;
	unsigned int before = fuzz_open_fds();

	log_set_level((enum log_level) - 1);
	run.clock_ns = NSEC_PER_SEC;
	run.options = 0;
	run.silent = false;
	if (size >= PIECE_BYTES + 2 && (data[0] & PIECE_KIND_MASK) == PIECE_OPTIONS) {
		size_t len = MIN((size_t)(data[1] | data[2] << 8), size - PIECE_BYTES);

		run.options = len ? data[PIECE_BYTES] : 0;
		which = len > 1 ? data[PIECE_BYTES + 1] % ARRAY_SIZE(classes) : 0;
		script = data + PIECE_BYTES + MIN(len, (size_t)2);
		script_bytes = len - MIN(len, (size_t)2);
		data += PIECE_BYTES + len;
		size -= PIECE_BYTES + len;
	}
	run.data = data;
	run.size = size;
	FUZZ_CHECK(loop_init(&main_loop, "main", NULL) == 0);
	dev = make_device(which);
	if (vdev_realize(dev, NULL) == 0 && dev->num_queues)
		drive(dev, script, script_bytes);
	vdev_destroy(dev, &gone);
	for (int i = 0; i < ROUNDS_MAX && gone.fn; i++) {
		if (run.talk)
			loop_run_once(run.talk, 0);
		loop_run_once(&main_loop, 0);
	}
	FUZZ_CHECK(!gone.fn);
	/* What came back from the thread after its owner had left. */
	loop_run_once(&main_loop, 0);
	loop_deinit(&main_loop);
	hang_up();
	FUZZ_CHECK(fuzz_open_fds() == before);
	run.clock_ns = 0;
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return mutate_pieces((struct piece_format){ PIECE_BYTES, 1 }, data, size, max_size, seed);
}
