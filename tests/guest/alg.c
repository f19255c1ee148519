/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs in a test's guest, alone in its initramfs: AES-CBC by the kernel's AF_ALG, with a driver of
 * one's choice, against published answers and against the kernel's own software.
 *
 *	alg check DRIVER		published vectors, and sizes from a block to 32 KiB
 *	alg load DRIVER SEED FILE	random requests until FILE exists; a new key every few
 *	alg keys DRIVER COUNT		as many keys one after the other, none of them used
 *
 * Ends with `fine NUMBER`, the requests or keys that were right, and status 0.
 */
#include <errno.h>
#include <linux/if_alg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOFTWARE   "cbc(aes-generic)"
#define BLOCK	   16
#define DATA_MAX   32768
#define KEY_ROUNDS 5

static uint8_t input[DATA_MAX], output[DATA_MAX], expected[DATA_MAX];

static void give_up(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_driver(const char *name)
{
	struct sockaddr_alg addr = { .salg_family = AF_ALG, .salg_type = "skcipher" };
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	snprintf((char *)addr.salg_name, sizeof(addr.salg_name), "%s", name);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		give_up(name);
	return fd;
}

static int set_key(int fd, const uint8_t *key, size_t len)
{
	int op;

	if (setsockopt(fd, SOL_ALG, ALG_SET_KEY, key, (socklen_t)len) < 0)
		give_up("key");
	op = accept(fd, NULL, NULL);
	if (op < 0)
		give_up("accept");
	return op;
}

static void transform(
	int op, uint32_t how, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
	union {
		char bytes[CMSG_SPACE(4) + CMSG_SPACE(sizeof(struct af_alg_iv) + BLOCK)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)in, len };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct af_alg_iv *alg_iv;
	size_t got = 0;

	c->cmsg_level = SOL_ALG;
	c->cmsg_type = ALG_SET_OP;
	c->cmsg_len = CMSG_LEN(4);
	memcpy(CMSG_DATA(c), &how, 4);
	c = CMSG_NXTHDR(&msg, c);
	c->cmsg_level = SOL_ALG;
	c->cmsg_type = ALG_SET_IV;
	c->cmsg_len = CMSG_LEN(sizeof(*alg_iv) + BLOCK);
	alg_iv = (struct af_alg_iv *)CMSG_DATA(c);
	alg_iv->ivlen = BLOCK;
	memcpy(alg_iv->iv, iv, BLOCK);
	if (sendmsg(op, &msg, 0) != (ssize_t)len)
		give_up("send");
	while (got < len) {
		ssize_t n = read(op, out + got, len - got);

		if (n <= 0)
			give_up("request");
		got += (size_t)n;
	}
}

static void compare(const uint8_t *a, const uint8_t *b, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i++)
		if (a[i] != b[i]) {
			printf("%s: byte %zu of %zu is %02x and not %02x\n", what, i, len, a[i],
				b[i]);
			exit(1);
		}
}

static size_t from_hex(const char *text, uint8_t *ret)
{
	size_t n = strlen(text) / 2;
	unsigned int byte;

	for (size_t i = 0; i < n; i++) {
		sscanf(text + 2 * i, "%2x", &byte);
		ret[i] = (uint8_t)byte;
	}
	return n;
}

/* NIST SP 800-38A, F.2 */
#define PLAIN                                                              \
	"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" \
	"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"

static const struct {
	const char *key, *cipher;
} vectors[] = {
	{ "2b7e151628aed2a6abf7158809cf4f3c",
		"7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
		"73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7" },
	{ "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
		"4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
		"571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd" },
	{ "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
		"f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
		"39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b" },
};

static unsigned int check_vectors(const char *driver)
{
	uint8_t key[32], plain[64], cipher[64], iv[BLOCK];
	unsigned int done = 0;

	for (unsigned int i = 0; i < BLOCK; i++)
		iv[i] = (uint8_t)i;
	for (size_t v = 0; v < sizeof(vectors) / sizeof(vectors[0]); v++) {
		int fd = open_driver(driver), op;

		op = set_key(fd, key, from_hex(vectors[v].key, key));
		from_hex(PLAIN, plain);
		from_hex(vectors[v].cipher, cipher);
		transform(op, ALG_OP_ENCRYPT, iv, plain, output, sizeof(plain));
		compare(output, cipher, sizeof(cipher), vectors[v].key);
		transform(op, ALG_OP_DECRYPT, iv, cipher, output, sizeof(cipher));
		compare(output, plain, sizeof(plain), vectors[v].key);
		done += 2;
		close(op);
		close(fd);
	}
	return done;
}

static void fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(rand() >> 7);
}

/* One key's sockets: the driver's and the software's. */
struct pair {
	int fd[2], op[2];
};

static void pair_open(struct pair *p, const char *driver)
{
	uint8_t key[32];
	size_t len = 16 + 8 * (size_t)(rand() % 3);

	fill(key, len);
	for (unsigned int i = 0; i < 2; i++) {
		p->fd[i] = open_driver(i ? SOFTWARE : driver);
		p->op[i] = set_key(p->fd[i], key, len);
	}
}

static void pair_close(struct pair *p)
{
	for (unsigned int i = 0; i < 2; i++) {
		close(p->op[i]);
		close(p->fd[i]);
	}
}

static void pair_check(const struct pair *p, size_t len)
{
	uint8_t iv[BLOCK];

	fill(iv, sizeof(iv));
	fill(input, len);
	transform(p->op[0], ALG_OP_ENCRYPT, iv, input, output, len);
	transform(p->op[1], ALG_OP_ENCRYPT, iv, input, expected, len);
	compare(output, expected, len, "encrypted");
	transform(p->op[0], ALG_OP_DECRYPT, iv, expected, output, len);
	compare(output, input, len, "decrypted");
}

static unsigned int check_sizes(const char *driver)
{
	static const size_t sizes[] = { 16, 32, 48, 64, 240, 256, 272, 512, 1024, 2048, 4080, 4096,
		4112, 8176, 8192, 12288, 16384, 20000 / 16 * 16, 32752, DATA_MAX };
	unsigned int done = 0;

	for (unsigned int turn = 0; turn < 3; turn++) {
		struct pair p;

		pair_open(&p, driver);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++, done += 2)
			pair_check(&p, sizes[i]);
		pair_close(&p);
	}
	return done;
}

static unsigned int load(const char *driver, const char *until)
{
	unsigned int done = 0;

	while (access(until, F_OK) < 0) {
		struct pair p;

		pair_open(&p, driver);
		for (unsigned int i = 0; i < KEY_ROUNDS; i++, done += 2)
			pair_check(&p, BLOCK * (size_t)(1 + rand() % 300));
		pair_close(&p);
	}
	return done;
}

static unsigned int set_keys(const char *driver, unsigned int count)
{
	int fd = open_driver(driver);

	for (unsigned int i = 0; i < count; i++) {
		uint8_t key[32];

		fill(key, sizeof(key));
		close(set_key(fd, key, sizeof(key)));
	}
	close(fd);
	return count;
}

int main(int argc, char **argv)
{
	unsigned int done = 0;

	if (argc == 3 && !strcmp(argv[1], "check")) {
		done = check_vectors(argv[2]) + check_sizes(argv[2]);
	} else if (argc == 5 && !strcmp(argv[1], "load")) {
		srand((unsigned int)atoi(argv[3]));
		done = load(argv[2], argv[4]);
	} else if (argc == 4 && !strcmp(argv[1], "keys")) {
		done = set_keys(argv[2], (unsigned int)atoi(argv[3]));
	} else {
		return 2;
	}
	printf("fine %u\n", done);
	return 0;
}
