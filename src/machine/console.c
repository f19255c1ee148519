/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves the console's bytes. The guest's bytes are passed on as they are; only the last line of
 * them is kept, made printable, for a message. At the end the chardev is granted a bounded time to
 * take what is left.
 */
#include "machine/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ESCAPE_BYTE 0x01 /* Ctrl-A */

/* For whoever does not read: what is then left of the output is lost. */
#define FINISH_PATIENCE_MS 1000

static const char greeting[] = "ringside: Ctrl-A x ends the guest, Ctrl-A h shows help\r\n";
static const char help[] = "\r\nCtrl-A x       end the guest\r\n"
			   "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n"
			   "Ctrl-A h       this help\r\n";

/* What a person should see, if there is room for it. */
static void say(struct console *con, const char *text)
{
	size_t len = strlen(text);

	if (con->out_end + len > sizeof(con->out))
		return;
	memcpy(con->out + con->out_end, text, len);
	con->out_end += len;
}

static void keep_line(struct console *con, const char *bytes, size_t n)
{
	for (; n; n--, bytes++) {
		if (*bytes == '\n' || *bytes == '\r') {
			con->line_ended = true;
			continue;
		}
		if (con->line_ended)
			con->line_len = 0;
		con->line_ended = false;
		if (con->line_len + 1 < sizeof(con->line))
			con->line[con->line_len++] = *bytes >= ' ' && *bytes < 0x7f ? *bytes : ' ';
		con->line[con->line_len] = '\0';
	}
}

static void patience_over(struct loop_timer *timer)
{
	struct console *con = container_of(timer, struct console, patience);

	con->finishing = false;
	con->finished(con);
}

static void check_finished(struct console *con)
{
	/* By the timer, so that finished() is never called from within a function of this file. */
	if (con->finishing && con->guest_gone && con->out_start == con->out_end)
		loop_timer_set(con->loop, &con->patience, 0);
}

/* Reads the guest while there is room for it, writes to it while there is something. */
static void update_guest(struct console *con)
{
	uint32_t events = 0;

	if (con->guest_gone)
		return;
	if (con->out_end < sizeof(con->out))
		events |= EPOLLIN;
	if (con->in_start < con->in_end)
		events |= EPOLLOUT;
	loop_fd_events(&con->guest, events);
}

static void flush_out(struct console *con)
{
	while (con->out_start < con->out_end) {
		struct iovec iov = { con->out + con->out_start, con->out_end - con->out_start };
		ssize_t n = con->chr ? chardev_writev(con->chr, &iov, 1) : (ssize_t)iov.iov_len;

		if (n <= 0)
			break;
		con->out_start += (size_t)n;
	}
	if (con->out_start == con->out_end)
		con->out_start = con->out_end = 0;
	check_finished(con);
}

static void guest_left(struct console *con)
{
	con->guest_gone = true;
	loop_fd_del(&con->guest);
	close_fd(&con->guest.fd);
	if (con->chr)
		chardev_want_read(con->chr, false);
	check_finished(con);
}

static void read_guest(struct console *con)
{
	ssize_t n;

	if (con->out_end == sizeof(con->out))
		return;
	n = read(con->guest.fd, con->out + con->out_end, sizeof(con->out) - con->out_end);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		guest_left(con);
		return;
	}
	keep_line(con, con->out + con->out_end, (size_t)n);
	con->out_end += (size_t)n;
	flush_out(con);
}

static void flush_in(struct console *con)
{
	while (con->in_start < con->in_end && !con->guest_gone) {
		ssize_t n = send(con->guest.fd, con->in + con->in_start,
			con->in_end - con->in_start, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			n = (ssize_t)(con->in_end - con->in_start);
		if (n < 0)
			break;
		con->in_start += (size_t)n;
	}
	if (con->in_start == con->in_end)
		con->in_start = con->in_end = 0;
	if (con->chr && !con->guest_gone)
		chardev_want_read(con->chr, con->in_end == 0);
}

static void guest_ready(struct loop_fd *node, uint32_t revents)
{
	struct console *con = container_of(node, struct console, guest);

	if (revents & EPOLLOUT)
		flush_in(con);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_guest(con);
	/* Its end is there whether or not it was asked for: no busy loop while the output is stuck.
	 */
	if (!con->guest_gone && (revents & EPOLLHUP) && con->out_end == sizeof(con->out))
		loop_fd_del(&con->guest);
	update_guest(con);
}

/* The byte after Ctrl-A: returns how many bytes to pass on in @to. */
static size_t escaped(struct console *con, char c, char *to)
{
	con->prefixed = false;
	switch (c) {
	case 'x': con->quit(con); return 0;
	case 'h':
	case '?': say(con, help); return 0;
	case ESCAPE_BYTE: to[0] = c; return 1;
	default:
		to[0] = ESCAPE_BYTE;
		to[1] = c;
		return 2;
	}
}

static void chr_readable(void *opaque)
{
	struct console *con = opaque;
	char bytes[CONSOLE_IN_BYTES - 1];
	struct iovec iov = { bytes, sizeof(bytes) };
	ssize_t n, i;

	if (con->in_end != 0 || con->guest_gone)
		return;
	n = chardev_readv(con->chr, &iov, 1);
	for (i = 0; i < n; i++) {
		if (con->prefixed)
			con->in_end += escaped(con, bytes[i], con->in + con->in_end);
		else if (con->escape && bytes[i] == ESCAPE_BYTE)
			con->prefixed = true;
		else
			con->in[con->in_end++] = bytes[i];
	}
	flush_in(con);
	flush_out(con);
	update_guest(con);
}

static void chr_writable(void *opaque)
{
	struct console *con = opaque;

	flush_out(con);
	if (!con->guest_gone && !con->guest.loop)
		loop_fd_add(con->loop, &con->guest, EPOLLIN, NULL);
	update_guest(con);
}

static void chr_event(void *opaque, enum chardev_event event)
{
	struct console *con = opaque;

	if (event == CHARDEV_CLOSED)
		con->closed(con);
	else
		chr_writable(con);
}

static const struct chardev_ops chr_ops = {
	.readable = chr_readable,
	.writable = chr_writable,
	.event = chr_event,
};

int console_init(struct console *con, struct loop *loop, struct chardev *chr, bool escape,
	int *ret_guest_fd, struct err *err)
{
	int pair[2], r;

	con->patience.fn = patience_over;
	con->guest.fn = guest_ready;
	con->escape = escape;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "cannot make a socket pair for the console: %m");
	/* Only our end: the guest sets its own as it wants it. */
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	con->guest.fd = pair[0];
	con->loop = loop;
	r = loop_fd_add(loop, &con->guest, EPOLLIN, err);
	if (r == 0 && chr) {
		r = chardev_attach(chr, loop, &chr_ops, con, err);
		if (r == 0)
			con->chr = chr;
	}
	if (r < 0) {
		close(pair[1]);
		console_deinit(con);
		return r;
	}
	if (chr && escape)
		say(con, greeting);
	flush_out(con);
	flush_in(con);
	*ret_guest_fd = pair[1];
	return 0;
}

void console_deinit(struct console *con)
{
	if (!con->loop)
		return;
	if (con->chr)
		chardev_detach(con->chr);
	con->chr = NULL;
	loop_timer_cancel(&con->patience);
	loop_fd_del(&con->guest);
	close_fd(&con->guest.fd);
	con->loop = NULL;
}

void console_finish(struct console *con)
{
	con->finishing = true;
	loop_timer_set(con->loop, &con->patience, now_ns() + FINISH_PATIENCE_MS * NSEC_PER_MSEC);
	check_finished(con);
}
