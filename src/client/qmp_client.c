/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Speaks QMP from the client's side. Messages are cut by their JSON, not by lines: QEMU's monitors
 * can be told to print over several. Refuses what is no QMP server, a message without end, a reply
 * to another request.
 */
#include "client/qmp_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/qmp_connect.h"

#define READ_BYTES 65536
/* How long a server may be silent before we say what we are waiting for. */
#define NOTICE_MS 1000u
/* So much of what was no QMP is quoted. */
#define QUOTE_BYTES 40

struct qmp_client {
	int fd;
	struct qmp_client_options options;
	char *address;
	struct json_tokener *tokener;
	char buf[READ_BYTES];
	size_t pos, len; /* what was read and not yet parsed */
	size_t message_bytes; /* of the message at hand, parsed so far */
	bool heard; /* anything at all */
	uint64_t last_id;
	struct json_object *greeting;
	struct qmp_client_server server;
	char *error_class;
};

void qmp_client_make_printable(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		/* U+0080 to U+009F are control characters too. */
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

/* Waits for @events; -ETIMEDOUT without a sentence. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do {
		uint64_t now = now_ns();
		uint64_t left_ms = now >= deadline_ns ? 0
						      : (deadline_ns - now + NSEC_PER_MSEC - 1) /
								NSEC_PER_MSEC;

		r = poll(&p, 1, (int)MIN(left_ms, (uint64_t)INT32_MAX));
		if (r == 0 && now_ns() >= deadline_ns)
			return -ETIMEDOUT;
	} while (r == 0 || (r < 0 && errno == EINTR));
	return r < 0 ? -errno : 0;
}

static int not_qmp(struct qmp_client *c, const char *at, size_t len, struct err *err)
{
	char quote[QUOTE_BYTES + 1] = "";

	len = MIN(len, (size_t)QUOTE_BYTES);
	for (size_t i = 0; i < len; i++)
		quote[i] = at[i] >= 0x20 && at[i] < 0x7f ? at[i] : '?';
	return err_set(err, -EPROTO,
		"%s does not speak QMP: it sent '%s'; expected the socket of a QMP monitor",
		c->address, quote);
}

/* Parses what is in the buffer. 1: *ret is a message. 0: it wants more bytes. */
static int parse_some(struct qmp_client *c, struct json_object **ret, struct err *err)
{
	const char *at = c->buf + c->pos;
	size_t len = c->len - c->pos, used;
	struct json_object *message;
	enum json_tokener_error error;

	message = json_tokener_parse_ex(c->tokener, at, (int)len);
	error = json_tokener_get_error(c->tokener);
	used = json_tokener_get_parse_end(c->tokener);
	c->pos += used;
	c->message_bytes += used;
	if (c->message_bytes > QMP_CLIENT_MAX_MESSAGE_BYTES) {
		json_object_put(message);
		return err_set(err, -EMSGSIZE,
			"%s sent a message of more than %u bytes; this client reads no longer one",
			c->address, QMP_CLIENT_MAX_MESSAGE_BYTES);
	}
	if (error == json_tokener_continue) {
		c->pos = c->len = 0;
		return 0;
	}
	if (error != json_tokener_success)
		return not_qmp(c, at, len, err);
	if (!json_object_is_type(message, json_type_object)) {
		json_object_put(message);
		return not_qmp(c, at, len, err);
	}
	c->message_bytes = 0;
	json_tokener_reset(c->tokener);
	*ret = message;
	return 1;
}

/* -ETIMEDOUT comes without a sentence: only the caller knows what was awaited. */
static int read_message(
	struct qmp_client *c, uint64_t deadline_ns, struct json_object **ret, struct err *err)
{
	for (;;) {
		ssize_t n;
		int r;

		/* White space between messages is no beginning of one. */
		while (c->pos < c->len && !c->message_bytes && strchr(" \t\r\n", c->buf[c->pos]))
			c->pos++;
		if (c->pos < c->len) {
			r = parse_some(c, ret, err);
			if (r)
				return r < 0 ? r : 0;
			continue;
		}
		r = wait_for(c->fd, POLLIN, deadline_ns);
		if (r == -ETIMEDOUT)
			return r;
		n = r < 0 ? -1 : recv(c->fd, c->buf, sizeof(c->buf), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return err_set(err, -ECONNRESET, "%s closed the connection%s", c->address,
				c->message_bytes ? " within a message"
				: c->heard	 ? ""
						 : " without a greeting");
		c->pos = 0;
		c->len = (size_t)n;
		c->heard = true;
	}
}

static int send_all(
	struct qmp_client *c, const char *text, size_t len, uint64_t deadline_ns, struct err *err)
{
	while (len > 0) {
		ssize_t n = send(c->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			int r = wait_for(c->fd, POLLOUT, deadline_ns);

			if (r < 0)
				return err_set(
					err, r, "%s does not read what is sent to it", c->address);
		} else if (n < 0 && errno != EINTR) {
			return err_set(
				err, -errno, "cannot send to %s: %s", c->address, strerror(errno));
		}
	}
	return 0;
}

static const char *member_string(struct json_object *obj, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(obj, key, &value) &&
			       json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : NULL;
}

/* What the server refused with, as our own failure. */
static int take_refusal(struct qmp_client *c, struct json_object *error, struct err *err)
{
	const char *desc = member_string(error, "desc");
	const char *class = member_string(error, "class");

	free(c->error_class);
	c->error_class = xstrdup(class ? class : "");
	err_set(err, -EREMOTEIO, "%s", desc ? desc : "the server gave no reason");
	if (err)
		qmp_client_make_printable(err->msg);
	return -EREMOTEIO;
}

/* Is @message the reply to request @id? An error without an id is about the bytes that we sent. */
static bool is_reply(struct json_object *message, uint64_t id)
{
	struct json_object *value;

	if (!json_object_object_get_ex(message, "id", &value))
		return json_object_object_get_ex(message, "error", NULL);
	return json_object_is_type(value, json_type_int) && json_object_get_uint64(value) == id;
}

static int read_reply(struct qmp_client *c, const char *command, uint64_t deadline_ns,
	struct json_object **ret, struct err *err)
{
	for (;;) {
		_cleanup_value_ struct json_object *message = NULL;
		struct json_object *value;
		const char *event;
		int r = read_message(c, deadline_ns, &message, err);

		if (r == -ETIMEDOUT)
			return err_set(err, r, "%s gave no reply to '%s' in %u ms", c->address,
				command, c->options.timeout_ms);
		if (r < 0)
			return r;
		event = member_string(message, "event");
		if (event) {
			if (c->options.on_event)
				c->options.on_event(c->options.opaque, event, message);
			/* A stream of events does not prolong the wait. */
			if (now_ns() > deadline_ns)
				return err_set(err, -ETIMEDOUT,
					"%s sent events but no reply to '%s' in %u ms", c->address,
					command, c->options.timeout_ms);
			continue;
		}
		if (!is_reply(message, c->last_id))
			return err_set(err, -EPROTO,
				"%s answered '%s' with a reply to something else", c->address,
				command);
		if (json_object_object_get_ex(message, "error", &value))
			return take_refusal(c, value, err);
		if (!json_object_object_get_ex(message, "return", &value))
			return err_set(err, -EPROTO,
				"%s answered '%s' with neither a result nor an error", c->address,
				command);
		*ret = json_object_get(value);
		return 0;
	}
}

static uint64_t deadline(const struct qmp_client *c)
{
	return now_ns() + c->options.timeout_ms * NSEC_PER_MSEC;
}

int qmp_client_execute(struct qmp_client *c, const char *command, struct json_object *arguments,
	struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *request = json_object_new_object();
	_cleanup_free_ char *text = NULL;
	uint64_t end = deadline(c);
	size_t len;
	int r;

	free(take_ptr(c->error_class));
	if (c->fd < 0)
		return err_set(err, -ENOTCONN, "the connection to %s is lost", c->address);
	json_object_object_add(request, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(request, "arguments", json_object_get(arguments));
	json_object_object_add(request, "id", json_object_new_uint64(++c->last_id));
	text = value_to_text(request, &len);
	text[len] = '\n'; /* in the place of the NUL */
	r = send_all(c, text, len + 1, end, err);
	if (r == 0)
		r = read_reply(c, command, end, ret, err);
	if (r < 0 && r != -EREMOTEIO)
		close_fd(&c->fd);
	return r;
}

static unsigned int version_number(struct json_object *qemu, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(qemu, key, &value)
		       ? (unsigned int)json_object_get_int(value)
		       : 0;
}

/* Keeps the greeting and reads from it who the server is. */
static int take_greeting(struct qmp_client *c, struct json_object *message, struct err *err)
{
	struct json_object *qmp, *version = NULL, *qemu = NULL;
	const char *package;

	c->greeting = message;
	if (!json_object_object_get_ex(message, "QMP", &qmp)) {
		const char *text = json_object_to_json_string(message);

		return not_qmp(c, text, strlen(text), err);
	}
	json_object_object_get_ex(qmp, "version", &version);
	json_object_object_get_ex(version, "qemu", &qemu);
	c->server.major = version_number(qemu, "major");
	c->server.minor = version_number(qemu, "minor");
	c->server.micro = version_number(qemu, "micro");
	package = member_string(version, "package");
	c->server.package = package ? package : "";
	c->server.is_ringside = !strcmp(c->server.package, "ringside") ||
				!strncmp(c->server.package, "ringside ", strlen("ringside "));
	return 0;
}

static int greet(struct qmp_client *c, uint64_t end, struct err *err)
{
	uint64_t notice = now_ns() + MIN(NOTICE_MS, c->options.timeout_ms / 2) * NSEC_PER_MSEC;
	struct json_object *message = NULL;
	int r = read_message(c, MIN(notice, end), &message, err);

	if (r == -ETIMEDOUT && !c->heard && c->options.on_wait) {
		struct err sentence;

		err_set(&sentence, 0,
			"waiting for %s: another client may hold it, and a QEMU monitor serves one "
			"at a time",
			c->address);
		c->options.on_wait(c->options.opaque, sentence.msg);
	}
	if (r == -ETIMEDOUT)
		r = read_message(c, end, &message, err);
	if (r == -ETIMEDOUT)
		return err_set(err, r,
			"no QMP greeting from %s in %u ms: another client may hold it (a QEMU "
			"monitor "
			"serves one at a time), or it is no QMP monitor",
			c->address, c->options.timeout_ms);
	return r < 0 ? r : take_greeting(c, message, err);
}

int qmp_client_open(
	const struct qmp_client_options *options, struct qmp_client **ret, struct err *err)
{
	struct qmp_client *c = xnew(struct qmp_client);
	_cleanup_value_ struct json_object *nothing = NULL;
	uint64_t end;
	int r;

	c->options = *options;
	if (!c->options.timeout_ms)
		c->options.timeout_ms = QMP_CLIENT_TIMEOUT_MS;
	c->address = xstrdup(options->address);
	c->tokener = json_tokener_new_ex(VALUE_MAX_DEPTH);
	end = deadline(c);
	c->fd = qmp_connect(c->address, end, err);
	r = c->fd < 0 ? c->fd : greet(c, end, err);
	if (r == 0)
		r = qmp_client_execute(c, "qmp_capabilities", NULL, &nothing, err);
	if (r < 0) {
		qmp_client_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void qmp_client_close(struct qmp_client *c)
{
	if (!c)
		return;
	close_fd(&c->fd);
	json_tokener_free(c->tokener);
	json_object_put(c->greeting);
	free(c->error_class);
	free(c->address);
	free(c);
}

const char *qmp_client_error_class(const struct qmp_client *c)
{
	return c->error_class ? c->error_class : "";
}

const struct qmp_client_server *qmp_client_server(const struct qmp_client *c)
{
	return &c->server;
}

const char *qmp_client_address(const struct qmp_client *c)
{
	return c->address;
}
