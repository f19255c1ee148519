/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two hostile ends of a relay: bytes become messages with descriptors, of the front-end or of the
 * back-end, and after the first, second, fourth and so on, and the last, somebody looks, by all
 * five commands, at the transcript, at what is remarkable in it and at who negotiated what. Time
 * passes only where somebody would wait for it. Whatever comes, the process lives, no queue ever
 * runs, and once an end has gone neither memory nor a descriptor is left.
 *
 * With bit 6 in the first message's flags the relay reconnects. Then a message whose number is 255
 * is the back-end's death, after which there is another; with bit 5 in its flags one that answers
 * what it is asked, and records in its region what the payload says.
 *
 * A message is: request, flags, payload size (two bytes), how many descriptors (low four bits) of
 * what kind, and at bit 7 of the kinds whose it is; how much the header's size lies (signed),
 * payload. Without bit 6, where the first request is 255, the relay reconnects too, and a back-end
 * that says 254 goes and is followed by another.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/send.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "inspect/findings.h"
#include "inspect/inflight.h"
#include "inspect/negotiation.h"
#include "inspect/ring_list.h"
#include "inspect/sources.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"
#include "proto/vhost_user.h"
#include "tests/fuzz/mutate.h"
#include "vhost/pump.h"
#include "vhost/relay.h"

#define MEMORY_BYTES (1u << 20)
#define PREFIX_BYTES 6
#define FDS_MAX	     16
#define ROUNDS_MAX   1000
#define DEATH	     255
#define DEATHS_MAX   6
#define IS_GOOD	     0x20
#define RECONNECTS   0x40

enum { KIND_EVENT, KIND_MEMORY, KIND_SOCKET, KIND_FILE, NUM_KINDS };

/* What the next file of KIND_MEMORY begins with. */
static const uint8_t *record_at;
static size_t record_bytes;

struct run {
	char folder[32], front_path[64], back_path[64];
	struct loop loop;
	struct vdev *dev;
	struct qom_object *root;
	int listener, front, back; /* the ends are ours */
	bool reconnects;
	bool deaths; /* told by messages of number DEATH */
	bool is_good; /* the back-end answers */
	const uint8_t *record; /* what a good back-end writes into the region that it gives */
	size_t record_bytes;
	unsigned int num_turns;
};

static int new_fd(unsigned int kind)
{
	int pair[2], fd;

	switch (kind) {
	case KIND_EVENT: return eventfd(0, EFD_CLOEXEC);
	case KIND_FILE: return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	case KIND_SOCKET:
		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
		close(pair[1]);
		return pair[0];
	default:
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_CHECK(fd >= 0 && ftruncate(fd, MEMORY_BYTES) == 0);
		if (record_bytes)
			FUZZ_CHECK(pwrite(fd, record_at, record_bytes, 0) > 0);
		record_bytes = 0;
		return fd;
	}
}

/* False where the relay has closed that end. */
static bool send_message(int sock, const uint8_t *prefix, const uint8_t *payload, size_t len)
{
	unsigned int num_fds = prefix[4] & 15, kind = prefix[4] >> 4;
	struct vhu_header header = { le32_make(prefix[0]), le32_make(prefix[1]),
		le32_make((uint32_t)len + (uint32_t)(int8_t)prefix[5]) };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)(uintptr_t)payload, len } };
	int fds[FDS_MAX];
	bool taken;

	for (unsigned int i = 0; i < num_fds; i++)
		fds[i] = new_fd(kind % NUM_KINDS);
	taken = fuzz_send(sock, iov, 2, fds, num_fds);
	for (unsigned int i = 0; i < num_fds; i++)
		close(fds[i]);
	return taken;
}

/* Reads what came and closes what came with it. */
static void drain(int sock)
{
	char bytes[4096];
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control;

	for (;;) {
		struct iovec iov = { bytes, sizeof(bytes) };
		struct msghdr msg = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control) };
		struct cmsghdr *cmsg;

		if (recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return;
		for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
			for (size_t i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
				close(fd);
			}
	}
}

/* One message that a good back-end reads, and answers; false where there is none. */
static bool answer_one(struct run *run)
{
	struct vhu_header header;
	uint8_t payload[PUMP_PAYLOAD_MAX];
	const struct vhu_rule *rule;
	struct vhu_u64 word = { le64_make(0) };
	uint32_t request, size;
	uint8_t prefix[PREFIX_BYTES] = { 0 };

	if (recv(run->back, &header, sizeof(header), MSG_DONTWAIT) != sizeof(header))
		return false;
	request = le32_get(header.request);
	size = le32_get(header.size);
	if (size && recv(run->back, payload, MIN(size, sizeof(payload)), MSG_DONTWAIT) < 0)
		return false;
	rule = vhu_rule(request);
	prefix[0] = (uint8_t)request;
	prefix[1] = VHU_VERSION | VHU_FLAG_REPLY;
	if (request == VHU_GET_INFLIGHT_FD) {
		struct vhu_inflight *in = (struct vhu_inflight *)payload;

		in->mmap_size = le64_make(MEMORY_BYTES);
		prefix[4] = 1 | KIND_MEMORY << 4;
		record_at = run->record;
		record_bytes = run->record_bytes;
		return send_message(run->back, prefix, payload, sizeof(*in));
	}
	if (request == VHU_GET_FEATURES || request == VHU_GET_PROTOCOL_FEATURES)
		word.value = le64_make(UINT64_MAX);
	if (request == VHU_GET_QUEUE_NUM)
		word.value = le64_make(2);
	if ((rule && rule->reply == VHU_REPLY_OWN) || (le32_get(header.flags) & VHU_NEED_REPLY))
		send_message(run->back, prefix, (const uint8_t *)&word, sizeof(word));
	return true;
}

static void look_at_ring(struct run *run, const char *path, uint16_t q)
{
	struct VirtqueueRequestList requests = { 0 };
	struct VirtqueueElements *ring = NULL;
	struct err err;

	if (inspect_inflight(run->root, path, &q, NULL, &requests, &err) == 0)
		FUZZ_CHECK(requests.num <= VQ_SIZE_MAX);
	qapi_clear_VirtqueueRequestList(&requests);
	if (inspect_elements(run->root, path, q, 0, 64, &ring, &err) == 0)
		qapi_free_VirtqueueElements(ring);
}

static void look(struct run *run)
{
	static const char path[] = "/machine/r0";
	struct VhostUserMessageList messages = { 0 };
	struct VirtioMemberInfoList sources = { 0 };
	struct VirtioNegotiation *negotiation = NULL;
	struct VhostUserFindingList findings = { 0 };
	struct VirtioStatus *status = NULL;
	struct err err;
	uint16_t index = 3;

	FUZZ_CHECK(vdev_is_idle(run->dev));
	FUZZ_CHECK(inspect_status(run->root, path, &status, &err) == 0);
	qapi_free_VirtioStatus(status);
	for (uint16_t q = 0; q < 3; q++) {
		struct VirtQueueStatus *queue = NULL;
		struct VirtVhostQueueStatus *vhost = NULL;
		struct VirtioQueueElement *element = NULL;

		if (inspect_queue_status(run->root, path, q, &queue, &err) == 0)
			qapi_free_VirtQueueStatus(queue);
		if (inspect_vhost_queue_status(run->root, path, q, &vhost, &err) == 0)
			qapi_free_VirtVhostQueueStatus(vhost);
		if (inspect_queue_element(run->root, path, q, NULL, &element, &err) == 0)
			qapi_free_VirtioQueueElement(element);
		element = NULL;
		if (inspect_queue_element(run->root, path, q, &index, &element, &err) == 0)
			qapi_free_VirtioQueueElement(element);
		look_at_ring(run, path, q);
	}
	FUZZ_CHECK(inspect_transcript(run->root, path, 0, &messages, &err) == 0);
	qapi_clear_VhostUserMessageList(&messages);
	FUZZ_CHECK(inspect_findings(run->root, path, 0, &findings, &err) == 0);
	qapi_clear_VhostUserFindingList(&findings);
	FUZZ_CHECK(inspect_negotiation(run->root, path, &negotiation, &err) == 0);
	qapi_free_VirtioNegotiation(negotiation);
	if (run->dev->num_queues < 8)
		FUZZ_CHECK(inspect_sources(run->root, path, &sources, &err) == 0);
	qapi_clear_VirtioMemberInfoList(&sources);
}

static void turn(struct run *run)
{
	for (int i = 0; i < 4; i++) {
		loop_run_once(&run->loop, 0);
		drain(run->front);
		while (run->is_good && answer_one(run))
			;
		if (!run->is_good)
			drain(run->back);
	}
	/* A look costs more than many messages: at the first ones, and then less and less often. */
	run->num_turns++;
	if (!(run->num_turns & (run->num_turns - 1)))
		look(run);
}

/* --- time --- */

/* What the relay believes that it is; 0: no run. It passes where somebody would wait for it. */
static uint64_t clock_ns;

FUZZ_WRAPPED(int, clock_gettime, clockid_t clock, struct timespec *ts)
{
	if (!clock_ns || clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ts);
	ts->tv_sec = (time_t)(clock_ns / NSEC_PER_SEC);
	ts->tv_nsec = (long)(clock_ns % NSEC_PER_SEC);
	return 0;
}

FUZZ_WRAPPED(int, epoll_wait, int fd, struct epoll_event *events, int max, int timeout)
{
	int r = __real_epoll_wait(fd, events, max, 0);

	if (r == 0 && timeout > 0)
		clock_ns += (uint64_t)timeout * NSEC_PER_MSEC;
	return r;
}

/* --- a run --- */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

static void set_up(struct run *run)
{
	_cleanup_value_ struct json_object *args = json_object_new_object();
	struct sockaddr_un addr;
	struct err err = { { 0 } };

	strcpy(run->folder, "/tmp/fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(run->folder));
	snprintf(run->front_path, sizeof(run->front_path), "%s/f", run->folder);
	snprintf(run->back_path, sizeof(run->back_path), "%s/b", run->folder);
	addr = address(run->back_path);
	run->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	FUZZ_CHECK(bind(run->listener, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	FUZZ_CHECK(listen(run->listener, 1) == 0);
	FUZZ_CHECK(loop_init(&run->loop, "fuzz", NULL) == 0);
	run->dev = vdev_new(&relay_class, "r0", &run->loop, &run->loop);
	json_object_object_add(args, "listen", json_object_new_string(run->front_path));
	json_object_object_add(args, "connect", json_object_new_string(run->back_path));
	json_object_object_add(args, "reconnect", json_object_new_boolean(run->reconnects));
	json_object_object_add(args, "outage-ms", json_object_new_int(200));
	FUZZ_CHECK(options_take(relay_class.options, run->dev, args, &err) == 0);
	relay_set_virtio_id(run->dev, 2);
	FUZZ_CHECK(vdev_realize(run->dev, &err) == 0);
	run->root = qom_new_root();
	qom_add(qom_add(run->root, "machine", "container"), "r0", "relay")->vdev = run->dev;
	addr = address(run->front_path);
	run->front = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(connect(run->front, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	for (int i = 0; i < ROUNDS_MAX && !run->dev->view.connected; i++)
		loop_run_once(&run->loop, 0);
	run->back = accept(run->listener, NULL, NULL);
	fcntl(run->listener, F_SETFL, O_NONBLOCK);
	FUZZ_CHECK(run->back >= 0);
}

/* The relay dials at once where somebody listens; it has not always done so yet. */
static void change_back(struct run *run)
{
	int fd = -1;

	close_fd(&run->back);
	for (int i = 0; i < ROUNDS_MAX && fd < 0; i++) {
		loop_run_once(&run->loop, 1);
		drain(run->front);
		fd = accept4(run->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	run->back = fd;
}

/* The back-end goes, and another comes where the relay wants one. */
static void die(struct run *run, bool is_good)
{
	close_fd(&run->back);
	for (int i = 0; i < ROUNDS_MAX && run->dev->view.connected && run->back < 0; i++) {
		loop_run_once(&run->loop, 1);
		drain(run->front);
		run->back = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC);
	}
	run->is_good = is_good && run->back >= 0;
	for (int i = 0; i < ROUNDS_MAX && run->is_good; i++) {
		bool any = answer_one(run);

		loop_run_once(&run->loop, 0);
		drain(run->front);
		if (!any && !answer_one(run))
			break;
	}
	look(run);
}

static void tear_down(struct run *run, bool front_goes)
{
	close_fd(front_goes ? &run->front : &run->back);
	for (int i = 0; i < ROUNDS_MAX && run->dev->view.connected; i++) {
		loop_run_once(&run->loop, 0);
		drain(front_goes ? run->back : run->front);
	}
	FUZZ_CHECK(!run->dev->view.connected && !run->dev->mem && !run->dev->num_queues);
	look(run);
	close_fd(&run->front);
	close_fd(&run->back);
	close_fd(&run->listener);
	qom_free(run->root);
	vdev_destroy(run->dev, NULL);
	loop_deinit(&run->loop);
	unlink(run->back_path);
	FUZZ_CHECK(rmdir(run->folder) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int before = fuzz_open_fds();
	struct run run = { .front = -1, .back = -1 };
	unsigned int num_deaths = 0;

	run.deaths = size >= PREFIX_BYTES && (data[1] & RECONNECTS);
	run.reconnects = run.deaths || (size && data[0] == 255);
	log_set_level((enum log_level) - 1);
	clock_ns = NSEC_PER_SEC;
	set_up(&run);
	while (size >= PREFIX_BYTES) {
		const uint8_t *prefix = data;
		size_t len = MIN((size_t)(prefix[2] | prefix[3] << 8), size - PREFIX_BYTES);

		if (run.deaths && prefix[0] == DEATH) {
			run.record = data + PREFIX_BYTES;
			run.record_bytes = len;
			if (++num_deaths > DEATHS_MAX)
				break;
			die(&run, prefix[1] & IS_GOOD);
			if (run.back < 0)
				break;
		} else if (!send_message(prefix[4] & 0x80 ? run.back : run.front, prefix,
				   data + PREFIX_BYTES, len))
			break;
		turn(&run);
		if (run.reconnects && !run.deaths && prefix[0] == 254 && prefix[4] & 0x80)
			change_back(&run);
		if (run.back < 0)
			break;
		data += PREFIX_BYTES + len;
		size -= PREFIX_BYTES + len;
	}
	look(&run);
	tear_down(&run, run.reconnects || size & 1);
	FUZZ_CHECK(fuzz_open_fds() == before);
	clock_ns = 0;
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return mutate_pieces((struct piece_format){ PREFIX_BYTES, 2 }, data, size, max_size, seed);
}
