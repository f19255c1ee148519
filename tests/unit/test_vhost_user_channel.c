/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose configuration changes: the front-end hears of it on the back-end's own channel,
 * once for changes that wait together, and never where it did not ask for it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/vhost_user.h"
#include "transport/vhost_user.h"

#define BIT(n) (1ull << (n))

static int td_realize(struct vdev *dev, struct err *err)
{
	(void)err;
	vdev_set_queues(dev, 1, 8);
	return 0;
}

static void td_get_config(struct vdev *dev, void *config)
{
	memset(config, dev->config_generation, 8);
}

static enum serve_verdict td_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	(void)dev;
	(void)vq;
	(void)c;
	return SERVE_DONE;
}

static const struct vdev_class test_class = {
	.name = "virtio-test",
	.virtio_id = 2,
	.instance_bytes = sizeof(struct vdev),
	.config_bytes = 8,
	.realize = td_realize,
	.get_config = td_get_config,
	.serve = td_serve,
};

struct rig {
	struct loop loop;
	struct vdev *dev;
	int front; /* the front-end's end of the connection */
	int channel; /* and of the back-end's own channel; -1: not opened */
};

static void pump(struct rig *rig)
{
	for (int i = 0; i < 10; i++)
		loop_run_once(&rig->loop, 0);
}

static void send_message(
	struct rig *rig, uint32_t request, const void *payload, uint32_t bytes, int fd)
{
	struct vhu_header header = vhu_header_make(request, 0, bytes);
	struct iovec iov[2] = { { &header, sizeof(header) },
		{ (void *)(uintptr_t)payload, bytes } };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { { 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = bytes ? 2 : 1 };

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(rig->front, &msg, 0), sizeof(header) + bytes);
	pump(rig);
}

static void open_channel(struct rig *rig)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	send_message(rig, VHU_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	close(pair[1]);
	rig->channel = pair[0];
}

static void rig_init(struct rig *rig, uint64_t protocol_features)
{
	struct vhu_u64 features = { le64_make(BIT(VHU_F_PROTOCOL_FEATURES)) };
	struct vhu_u64 protocol = { le64_make(protocol_features) };
	struct err err = { 0 };
	int pair[2];

	assert_int_equal(loop_init(&rig->loop, "test", &err), 0);
	rig->dev = vdev_new(&test_class, "t0", &rig->loop, &rig->loop);
	assert_int_equal(vdev_realize(rig->dev, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vhost_user_attach_fd(rig->dev, pair[1], false, &err), 0);
	rig->front = pair[0];
	rig->channel = -1;
	send_message(rig, VHU_SET_FEATURES, &features, sizeof(features), -1);
	send_message(rig, VHU_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), -1);
}

static void rig_deinit(struct rig *rig)
{
	close(rig->front);
	if (rig->channel >= 0)
		close(rig->channel);
	pump(rig);
	vdev_destroy(rig->dev, NULL);
	pump(rig);
	loop_deinit(&rig->loop);
}

/* How many messages wait on the channel; each is a change and asks for no reply. */
static unsigned int num_changes(struct rig *rig)
{
	struct vhu_header header;
	unsigned int n = 0;

	while (recv(rig->channel, &header, sizeof(header), MSG_DONTWAIT) == sizeof(header)) {
		assert_int_equal(le32_get(header.request), VHU_BACKEND_CONFIG_CHANGE_MSG);
		assert_int_equal(le32_get(header.flags) & VHU_NEED_REPLY, 0);
		assert_int_equal(le32_get(header.size), 0);
		n++;
	}
	return n;
}

static void test_change_is_told(void **state)
{
	struct rig rig;
	uint8_t before[8], after[8];

	(void)state;
	rig_init(&rig, BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_CONFIG));
	open_channel(&rig);
	assert_int_equal(num_changes(&rig), 0);
	vdev_get_config(rig.dev, before);
	vdev_config_changed(rig.dev);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 1);
	vdev_get_config(rig.dev, after);
	assert_memory_not_equal(before, after, sizeof(before));
	vdev_config_changed(rig.dev);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 1);
	rig_deinit(&rig);
}

static void test_unread_changes_become_one(void **state)
{
	struct rig rig;
	unsigned int i, n;

	(void)state;
	rig_init(&rig, BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_CONFIG));
	open_channel(&rig);
	for (i = 0; i < 100000; i++)
		vdev_config_changed(rig.dev);
	pump(&rig);
	/* A full socket holds some; later come the one that did not fit, and one for the rest. */
	n = num_changes(&rig);
	assert_in_range(n, 1, 99999);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 2);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 0);
	assert_true(rig.dev->view.connected);
	rig_deinit(&rig);
}

static void test_not_asked_for(void **state)
{
	struct rig rig;

	(void)state;
	/* No channel; then a channel without CONFIG. */
	rig_init(&rig, BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_CONFIG));
	vdev_config_changed(rig.dev);
	pump(&rig);
	assert_true(rig.dev->view.connected);
	rig_deinit(&rig);
	rig_init(&rig, BIT(VHU_PF_BACKEND_REQ));
	open_channel(&rig);
	vdev_config_changed(rig.dev);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 0);
	rig_deinit(&rig);
}

static void test_channel_is_gone(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_CONFIG));
	open_channel(&rig);
	close(rig.channel);
	rig.channel = -1;
	vdev_config_changed(rig.dev);
	pump(&rig);
	vdev_config_changed(rig.dev);
	pump(&rig);
	/* The connection stays, and a new channel works. */
	assert_true(rig.dev->view.connected);
	open_channel(&rig);
	vdev_config_changed(rig.dev);
	pump(&rig);
	assert_int_equal(num_changes(&rig), 1);
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_change_is_told),
		cmocka_unit_test(test_unread_changes_become_one),
		cmocka_unit_test(test_not_asked_for),
		cmocka_unit_test(test_channel_is_gone),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
