/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client of a monitor: its bytes in and out, and the request that is under way. Inside the
 * monitor's room only. Main loop.
 */
#ifndef MONITOR_SESSION_H
#define MONITOR_SESSION_H

#include "monitor/framer.h"
#include "monitor/monitor.h"

/* Bytes that are read at once. */
#define SESSION_READ_BYTES 16384

struct session;

/* What a monitor speaks. */
struct session_protocol {
	void (*greet)(struct session *session);
	/* Takes some of the @len bytes that came, at least one, and answers what they complete. */
	size_t (*feed)(struct session *session, const char *bytes, size_t len);
};

struct session {
	struct session *next;
	struct monitor *monitor;
	/* Two descriptors even where they are one socket, so that each is watched by itself. */
	struct loop_fd in, out;
	bool is_socket;
	char who[48]; /* ", process 812 of user 0", as far as the socket tells; or "" */
	/* qmp_capabilities has run: commands and events flow. */
	bool negotiated;
	/* The client sends no more; the session ends when what it sent is answered. */
	bool eof;
	/* Over. Only session_free() is left, which @work calls. */
	bool dead;
	/* Reads on, or frees a dead session, after the events at hand. */
	struct loop_work work;
	struct loop_timer stall;

	struct framer framer; /* QMP's text at hand */
	struct hmp_line *line; /* the human monitor's, owned */
	char input[SESSION_READ_BYTES];
	size_t input_at, input_len;

	/* What the client has not taken yet. */
	char *output;
	size_t output_at, output_len, output_room;

	/* The request under way: running, or waiting for its handler's answer. */
	bool busy;
	struct qapi_call *call;
	bool has_id;
	struct json_object *id;
};

/* The parts of a monitor that sessions use. */
struct monitor {
	struct monitor_config config;
	const struct session_protocol *protocol;
	/* The config's, with the monitor's own. */
	struct qapi_handlers handlers;
	struct session *sessions;
	unsigned int num_sessions;
	struct listener listener;
	struct loop_fd listening;
	/* Listens again after the process had run out of descriptors. */
	struct loop_timer retry;
	char *address;
	/* Anybody's web browser can reach it: what does not speak JSON at once is thrown out. */
	bool is_tcp;
};

/* Takes the descriptors over and greets the client. */
int session_new(struct monitor *monitor, int *in_fd, int *out_fd, struct err *err);
void session_free(struct session *session);
/* No more input and output; freed when the loop comes round. */
void session_kill(struct session *session);
/* Queues one line; the client is dropped where too much waits. */
void session_send(struct session *session, struct json_object *message);
/* The same with bytes as they are. */
void session_send_text(struct session *session, const char *text, size_t len);
/* The request at hand is answered; goes on with the next one when the loop comes round. */
void session_continue(struct session *session);

#endif
