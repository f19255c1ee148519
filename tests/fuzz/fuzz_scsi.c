/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands to virtio-scsi, functions on its control queue, units that come and go, disks that get
 * another size, CD-ROMs that get another medium, and buffers for events of that: the input is a
 * list of chains, their contents and how they are cut, of units and of changes. What the guest gave
 * no room for is never written, every command that has room for an answer gets one that makes
 * sense, and the image has the size that it was given, whatever was written.
 */
#include "tests/fuzz/device.h"

#include "base/be.h"
#include "devices/scsi.h"

#define IMAGE_BYTES 0x8000
#define HEAD	    51u
#define ANSWER	    108u
#define EVENT_AT    0x30000u

enum { CONTROL, EVENT, REQUEST };

/* Mostly commands that are known, with small numbers or extremes in them. */
static void make_command(struct guest *g, struct bytes *in)
{
	static const uint8_t opcodes[] = { 0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e,
		0x25, 0x28, 0x2a, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x5a, 0x88, 0x8a, 0x91, 0x93,
		0x9e, 0xa0, 0xa8, 0xaa, 0x55 };
	uint8_t *p = g->ram + DEVICE_IN;
	uint8_t how = take8(in), opcode = take8(in), i;

	memset(p, 0, HEAD + 64);
	p[0] = 1;
	p[1] = how & 1;
	p[2] = how & 2 ? 0x40 : 0;
	p[3] = (how & 12) == 12;
	p[19] = how & 0x40 ? opcode : opcodes[opcode % ARRAY_SIZE(opcodes)];
	/* As many bytes of the block as the input says; the rest stays zero. */
	for (i = take8(in) % 16; i--;) {
		uint8_t at = take8(in);

		p[20 + at % 15] = at & 0x80 ? 0xff : take8(in);
	}
	/* An UNMAP's list, or a pattern. */
	if (how & 0x10) {
		be16_write(p + HEAD + 2, take16(in));
		be64_write(p + HEAD + 8, take8(in));
		be32_write(p + HEAD + 16, take8(in));
		be64_write(p + HEAD + 24, how & 0x20 ? UINT64_MAX : take8(in));
		be32_write(p + HEAD + 32, take8(in));
	} else if (how & 0x20) {
		take_bytes(in, p, HEAD);
	}
}

/* Lengths around what such a command needs. */
static void take_lengths(struct device_request *req, struct bytes *in)
{
	uint8_t how = take8(in);

	device_take_request(req, in);
	if (how & 1)
		req->in += HEAD;
	if (how & 2)
		req->out += ANSWER;
	if (how & 4)
		req->in = HEAD;
	if (how & 8)
		req->out = ANSWER;
	req->in %= DEVICE_LEN_MAX;
	req->out %= DEVICE_LEN_MAX;
}

static void check_answer(struct guest *g, const struct device_request *req, uint32_t used)
{
	const uint8_t *p = g->ram + DEVICE_OUT;

	FUZZ_CHECK(used <= req->out);
	if (req->out < ANSWER) {
		FUZZ_CHECK(used == 0);
		return;
	}
	FUZZ_CHECK(used >= ANSWER);
	FUZZ_CHECK(le32_read(p) == (p[10] == 2 ? 18u : 0u));
	FUZZ_CHECK(p[10] == 0 || (p[10] == 2 && p[11] == 0 && p[12] == 0x70));
	FUZZ_CHECK(p[11] == 0 || p[11] == 1 || p[11] == 3 || p[11] == 9);
	FUZZ_CHECK(le32_read(p + 4) <= req->in + req->out);
}

static void do_command(struct guest *g, struct bytes *in)
{
	struct device_request req;

	make_command(g, in);
	take_lengths(&req, in);
	device_offer(g, REQUEST, &req);
	FUZZ_CHECK(device_wait(g, REQUEST));
	check_answer(g, &req, device_used_len(g, REQUEST));
	device_check_room(g, &req);
}

static void do_function(struct guest *g, struct bytes *in)
{
	struct device_request req;
	uint8_t *p = g->ram + DEVICE_IN;

	memset(p, 0, 64);
	p[0] = take8(in) & 3;
	p[4] = take8(in) & 15;
	p[p[0] ? 4 : 8] = 1;
	p[p[0] ? 5 : 9] = take8(in) & 3;
	device_take_request(&req, in);
	device_offer(g, CONTROL, &req);
	FUZZ_CHECK(device_wait(g, CONTROL));
	FUZZ_CHECK(device_used_len(g, CONTROL) <= MIN(req.out, 5u));
	device_check_room(g, &req);
}

/* Unit 1 of either target, beside the two that stay. */
static struct scsi_unit *units[2];

static void on_removed(void *opaque)
{
	*(struct scsi_unit **)opaque = NULL;
}

/* Adds what is not there, removes what is; an end is waited for, or what comes meets it. */
static void do_unit(struct guest *g, struct bytes *in)
{
	uint8_t how = take8(in);
	struct scsi_unit **unit = &units[how & 1];
	static bool leaving[2];
	struct scsi_unit_config config = { .kind = SCSI_DISK,
		.target = how & 1,
		.lun = how & 2 ? 1 : -1,
		.size_bytes = IMAGE_BYTES << (how >> 6),
		.logical_block_bytes = how & 4 ? 4096 : 512,
		.discard = how & 8,
		.removable = how & 16,
		.aio = 2,
		.label = "unit",
		.removed = on_removed,
		.opaque = unit };

	if (*unit && !leaving[how & 1]) {
		leaving[how & 1] = true;
		scsi_unit_remove(*unit);
	} else if (!*unit) {
		leaving[how & 1] = false;
		FUZZ_CHECK(!scsi_unit_add(g->dev, &config, unit, NULL));
	}
	if (how & 32)
		guest_pump(g);
}

/* A change under way, of the host's disk and of its CD-ROM. */
static struct pending {
	struct media_change change;
	uint64_t bytes; /* 0: it is no resize */
	bool active;
} pending[2];

static uint64_t image_bytes;
static int image = -1, discs[2] = { -1, -1 };

static void on_changed(struct media_change *change, int result, const struct err *err)
{
	struct pending *p = container_of(change, struct pending, change);

	FUZZ_CHECK(p->active && !result && (!err || !err->msg[0]));
	p->active = false;
	if (p->bytes)
		image_bytes = p->bytes;
	FUZZ_CHECK(lseek(image, 0, SEEK_END) == (off_t)image_bytes);
}

/* Begins one, which is refused where one is under way. */
static void do_change(struct guest *g, struct bytes *in)
{
	uint8_t how = take8(in), kind = how & 3;
	struct scsi_unit *disk = scsi_own_unit(g->dev, SCSI_DISK);
	struct scsi_unit *cd = scsi_own_unit(g->dev, SCSI_CD);
	struct pending *p = &pending[kind != 0];
	bool was_active = p->active;
	uint64_t bytes = kind ? 0 : (take8(in) & 15) * 4096u, bytes_before = p->bytes;
	char name[16];
	int r = 0;

	snprintf(name, sizeof(name), "fd=%d", discs[how >> 7]);
	p->change.done = on_changed;
	p->active = true;
	if (!was_active)
		p->bytes = bytes;
	if (kind == 0)
		r = scsi_unit_resize(disk, bytes, &p->change, NULL);
	else if (kind == 1)
		r = scsi_unit_eject(cd, how & 4, &p->change, NULL);
	else if (kind == 2)
		r = scsi_unit_change_medium(cd, name, how & 4, &p->change, NULL);
	else
		scsi_unit_move_tray(cd, how & 4, how & 8, NULL);
	FUZZ_CHECK(!was_active || kind == 3 || r < 0);
	if ((r < 0 || kind == 3) && !was_active) {
		p->active = false;
		p->bytes = bytes_before;
	}
	if (how & 32)
		guest_pump(g);
}

/* One at a time; it may wait there for long. */
static void do_event(struct guest *g, struct bytes *in)
{
	static uint8_t len;
	uint8_t *p = g->ram + EVENT_AT;
	uint16_t taken = guest_used_idx(g, EVENT);

	if (taken != g->avail_idx[EVENT])
		return;
	if (taken) {
		FUZZ_CHECK(device_used_len(g, EVENT) == (len < 16 ? 0 : 16u));
		FUZZ_CHECK(p[MIN(len, 16)] == DEVICE_MARK);
		FUZZ_CHECK(len < 16 || (le32_read(p) & 0x7fffffff) <= 1 ||
			   ((le32_read(p) & 0x7fffffff) == 3 && le32_read(p + 12) == 0x92a));
	}
	len = take8(in) & 31;
	memset(p, DEVICE_MARK, 64);
	guest_desc(g, GUEST_RING(EVENT), EVENT_AT, len, VRING_DESC_F_WRITE, 0);
	guest_offer(g, EVENT, 0);
	guest_kick(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	uint8_t options = take8(&in);
	char text[256];
	struct guest g;

	if (image < 0) {
		image = memfd_create("image", 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(discs); i++) {
			discs[i] = memfd_create("cd", 0);
			FUZZ_CHECK(ftruncate(discs[i], IMAGE_BYTES << i) == 0);
		}
	}
	image_bytes = IMAGE_BYTES;
	/* The same for every input, so that one says the same again. */
	FUZZ_CHECK(ftruncate(image, 0) == 0 && ftruncate(image, IMAGE_BYTES) == 0);
	snprintf(text, sizeof(text),
		"{\"filename\":\"fd=%d\",\"cdrom\":\"fd=%d\",\"aio\":\"threads\",\"serial\":\"f\","
		"\"read-only\":%s,\"discard\":%s,\"logical_block_size\":%u}",
		image, discs[0], options & 1 ? "true" : "false", options & 2 ? "false" : "true",
		options & 4 ? 4096 : 512);
	guest_new(&g, &virtio_scsi_class, text);
	for (unsigned int i = 0; i < 3; i++)
		guest_queue(&g, i, DEVICE_RING, 0);
	units[0] = units[1] = NULL;
	guest_run(&g, (options & 8 ? 0 : 1 << 1) | (options & 16 ? 0 : 1 << 2));
	while (in.left) {
		uint8_t what = take8(&in);

		if (what & 0xc0)
			do_command(&g, &in);
		else if ((what & 0x30) == 0x30)
			do_unit(&g, &in);
		else if ((what & 0x30) == 0x20)
			do_event(&g, &in);
		else if ((what & 0x30) == 0x10)
			do_change(&g, &in);
		else
			do_function(&g, &in);
	}
	FUZZ_CHECK(!g.dev->broken);
	guest_free(&g);
	FUZZ_CHECK(!pending[0].active && !pending[1].active);
	FUZZ_CHECK(lseek(image, 0, SEEK_END) == (off_t)image_bytes);
	return 0;
}
