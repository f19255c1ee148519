/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queries do harm on QEMU: some stop a ring that a guest uses, break a healthy device or end
 * the whole process. What is asked here to find out is harmless in every version. Our own monitor
 * answers all of them without touching anything, so on it nothing is refused.
 */
#ifndef CLIENT_HARM_H
#define CLIENT_HARM_H

#include "base/err.h"
#include "client/qmp_client.h"

enum harm_query {
	HARM_STATUS,
	HARM_QUEUE,
	HARM_VHOST_QUEUE,
	HARM_ELEMENT,
};

/*
 * 0: the query may be sent for the device at @path, as far as can be known. -EPERM: it does harm;
 * the sentence says what would happen and why. Anything else: the connection failed.
 */
int harm_check(struct qmp_client *client, enum harm_query query, const char *path, struct err *err);

/*
 * The part without a conversation, for tests: may a device of QOM type @type be asked? @version is
 * major * 100 + minor. 0, or -EPERM with the sentence's reason. Whether a device that may use a
 * vhost back-end of any kind (*ret_ask_status) really does, its status has to tell.
 */
int harm_check_type(enum harm_query query, const char *type, unsigned int version,
	bool *ret_ask_status, struct err *err);
/* What the status of such a device says about a queue query; as above. */
int harm_check_vhost(struct json_object *status, struct err *err);

#endif
