/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device behind a vhost-user socket: we are the back-end, one front-end at a time. Main loop.
 * What each message does is in docs/vhost-user.md.
 */
#ifndef TRANSPORT_VHOST_USER_H
#define TRANSPORT_VHOST_USER_H

#include "base/option.h"
#include "virtio/vdev.h"

/* Exactly one of listen and connect is given. */
struct vhost_user_config {
	char *listen; /* path of the socket to make, or fd=N for one that listens already */
	char *connect; /* path of a socket at which a front-end waits, or fd=N for a connected one
			*/
	char *mode; /* of the socket to make, octal */
	bool inband; /* offer notifications as messages */
	char *group; /* of the socket to make; NULL: ours */
};

extern const struct option_spec vhost_user_options[];

/*
 * Makes @dev, which is realized, reachable: listens, or dials and goes on dialing, on the device's
 * main loop. Sets dev->transport; its detach() closes everything and removes the socket we made.
 * -errno with a sentence; then nothing is left behind. @cfg is not kept.
 */
int vhost_user_attach(struct vdev *dev, const struct vhost_user_config *cfg, struct err *err);

/*
 * Serves @fd (taken over, also on failure), a connected socket, as the only front-end that @dev
 * will see. For fd=N, for tests and for a guest whose end we hold ourselves; @inband as in the
 * configuration. The rest is as above.
 */
int vhost_user_attach_fd(struct vdev *dev, int fd, bool inband, struct err *err);

#endif
