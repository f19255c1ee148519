/* SPDX-License-Identifier: BSD-3-Clause */
/* A SCSI host with a disk (target 0) and a CD-ROM (target 1) on real files, and its commands. */
#ifndef TESTS_SCSI_RIG_H
#define TESTS_SCSI_RIG_H

#include "dev_fixture.h"

#include <fcntl.h>

#include "base/be.h"
#include "devices/scsi.h"
#include "tmpdir.h"

#define BLOCKS	  1024
#define BYTES	  (BLOCKS * 512)
#define CD_BLOCKS 40
#define HEAD	  51 /* before the data of a command */
#define ANSWER	  108 /* before the data that comes back */

enum { OK, OVERRUN, BAD_TARGET = 3, FAILURE = 9, NOTHING = -1 };

/* Sense data as key, code and qualifier; 0 is GOOD. */
enum {
	STOPPED = 0x20402,
	READ_ERROR = 0x31100,
	BAD_LIST_LENGTH = 0x51a00,
	BAD_OPCODE = 0x52000,
	BAD_LBA = 0x52100,
	BAD_FIELD = 0x52400,
	NO_LUN = 0x52500,
	BAD_LIST = 0x52600,
	CANNOT_SAVE = 0x53900,
	POWERED_ON = 0x62900,
	WAS_RESET = 0x62903,
	PROTECTED = 0x72700,
};

static int image_fd = -1;

/* What the images have at @at before anybody writes; those of the CD differ. */
static inline uint8_t image_byte(size_t at, bool cd)
{
	return (uint8_t)(at / 512 * 3 + at % 251 + (cd ? 77 : 1));
}

static inline void make_image(const char *name, size_t len, bool cd)
{
	static uint8_t bytes[BYTES];
	int fd = open(tmpdir_file(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (size_t i = 0; i < len; i++)
		bytes[i] = image_byte(i, cd);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	if (cd) {
		close(fd);
		return;
	}
	if (image_fd >= 0)
		close(image_fd);
	image_fd = fd;
}

static inline void make_images(void)
{
	make_image("disk", BYTES, false);
	make_image("cd", CD_BLOCKS * 2048, true);
}

/* Of a group; tmpdir_teardown() ends it. */
static inline int scsi_rig_setup(void **state)
{
	if (tmpdir_setup(state) < 0)
		return -1;
	make_images();
	return 0;
}

/* Runs queue @queue alone. */
static inline void start_host(struct fix *f, unsigned int queue, const char *more)
{
	static char options[512];
	char disk[256];

	snprintf(disk, sizeof(disk), "%s", tmpdir_file("disk"));
	snprintf(options, sizeof(options),
		"{\"filename\":\"%s\",\"cdrom\":\"%s\",\"serial\":\"SN42\"%s}", disk,
		tmpdir_file("cd"), more);
	fix_class = &virtio_scsi_class;
	fix_options = options;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[queue];
	fix_start_ring(f, 64, 0);
}

/* "28 00 00 00 00 05 ..." */
static inline size_t from_hex(const char *text, uint8_t *ret)
{
	size_t n = 0;
	unsigned int byte;
	int used = 0;

	for (; sscanf(text, " %2x%n", &byte, &used) == 1; text += used)
		ret[n++] = (uint8_t)byte;
	return n;
}

static inline void put_command(struct fix *f, uint8_t target, uint16_t lun, const char *cdb)
{
	uint8_t *p = ram(f, IN_AT);

	memset(p, 0, HEAD);
	p[0] = 1;
	p[1] = target;
	be16_write(p + 2, 0x4000 | lun);
	p[8] = 0x77;
	from_hex(cdb, p + 19);
}

/* What came back: the response, or sense data shifted over it. */
static inline int response_of(struct fix *f)
{
	return ((uint8_t *)ram(f, OUT_AT))[11];
}

static inline uint32_t residual_of(struct fix *f)
{
	return le32_read((uint8_t *)ram(f, OUT_AT) + 4);
}

static inline int sense_of(struct fix *f)
{
	const uint8_t *p = ram(f, OUT_AT);

	if (!p[10])
		return le32_read(p) ? -1 : 0;
	if (p[10] != 2 || le32_read(p) != 18 || p[12] != 0x70 || p[19] != 10)
		return -1;
	return p[14] << 16 | p[24] << 8 | p[25];
}

/* A command with @out bytes of data for the device and room for @in: its sense. */
static inline int command(struct fix *f, uint8_t target, const char *cdb, uint32_t out, uint32_t in)
{
	put_command(f, target, 0, cdb);
	request(f, HEAD + out, ANSWER + in, NULL);
	return response_of(f) ? 0x1000000 | response_of(f) : sense_of(f);
}

/* Every unit tells first that it was powered on. */
static inline void settle(struct fix *f)
{
	assert_int_equal(command(f, 0, "00", 0, 0), POWERED_ON);
	assert_int_equal(command(f, 1, "00", 0, 0), POWERED_ON);
}

static inline const uint8_t *data_of(struct fix *f)
{
	return (uint8_t *)ram(f, OUT_AT) + ANSWER;
}

static inline uint8_t *data_for(struct fix *f)
{
	return (uint8_t *)ram(f, IN_AT) + HEAD;
}

#endif
