/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layouts as tables: a label, the member it shows, and how. Labels are padded as QEMU pads
 * them, each section to its own width.
 */
#include "monitor/hmp_show.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"

enum format { TEXT, ADDRESS, VHOST_NAME, OPTIONAL, BUS };

struct row {
	const char *label, *member;
	enum format format;
};

struct section {
	unsigned int indent, width; /* of the label with its colon */
	const struct row *rows;
	size_t num;
};

#define SECTION(indent_, width_, rows_)                \
	(&(const struct section){ .indent = (indent_), \
		.width = (width_),                     \
		.rows = (rows_),                       \
		.num = ARRAY_SIZE(rows_) })

static const struct row status_rows[] = {
	{ "device_name", "name", VHOST_NAME },
	{ "device_id", "device-id" },
	{ "vhost_started", "vhost-started" },
	{ "bus_name", "bus-name", BUS },
	{ "broken", "broken" },
	{ "disabled", "disabled" },
	{ "disable_legacy_check", "disable-legacy-check" },
	{ "started", "started" },
	{ "use_started", "use-started" },
	{ "start_on_kick", "start-on-kick" },
	{ "use_guest_notifier_mask", "use-guest-notifier-mask" },
	{ "vm_running", "vm-running" },
	{ "num_vqs", "num-vqs" },
	{ "queue_sel", "queue-sel" },
	{ "isr", "isr" },
	{ "endianness", "device-endian" },
};

static const struct row vhost_rows[] = {
	{ "nvqs", "nvqs" },
	{ "vq_index", "vq-index" },
	{ "max_queues", "max-queues" },
	{ "n_mem_sections", "n-mem-sections" },
	{ "n_tmp_sections", "n-tmp-sections" },
	{ "backend_cap", "backend-cap" },
	{ "log_enabled", "log-enabled" },
	{ "log_size", "log-size" },
};

static const struct row queue_rows[] = {
	{ "device_name", "name" },
	{ "queue_index", "queue-index" },
	{ "inuse", "inuse" },
	{ "used_idx", "used-idx" },
	{ "signalled_used", "signalled-used" },
	{ "signalled_used_valid", "signalled-used-valid" },
	{ "last_avail_idx", "last-avail-idx", OPTIONAL },
	{ "shadow_avail_idx", "shadow-avail-idx", OPTIONAL },
};

static const struct row queue_vring_rows[] = {
	{ "num", "vring-num" },
	{ "num_default", "vring-num-default" },
	{ "align", "vring-align" },
	{ "desc", "vring-desc", ADDRESS },
	{ "avail", "vring-avail", ADDRESS },
	{ "used", "vring-used", ADDRESS },
};

static const struct row vhost_queue_rows[] = {
	{ "kick", "kick" },
	{ "call", "call" },
};

static const struct row vhost_vring_rows[] = {
	{ "num", "num" },
	{ "desc", "desc", ADDRESS },
	{ "desc_phys", "desc-phys", ADDRESS },
	{ "desc_size", "desc-size" },
	{ "avail", "avail", ADDRESS },
	{ "avail_phys", "avail-phys", ADDRESS },
	{ "avail_size", "avail-size" },
	{ "used", "used", ADDRESS },
	{ "used_phys", "used-phys", ADDRESS },
	{ "used_size", "used-size" },
};

static const struct row avail_rows[] = { { "flags", "flags" }, { "idx", "idx" },
	{ "ring", "ring" } };
static const struct row used_rows[] = { { "flags", "flags" }, { "idx", "idx" } };

static struct json_object *get(struct json_object *obj, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, member, &value);
	return value;
}

static size_t length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static const char *text(struct json_object *value)
{
	return value ? json_object_get_string(value) : "-";
}

static void show_row(
	FILE *out, const struct section *s, const struct row *row, struct json_object *reply)
{
	struct json_object *value = get(reply, row->member);
	int pad = (int)(s->width - strlen(row->label) - 1);

	if (!value && row->format == OPTIONAL)
		return;
	fprintf(out, "%*s%s:%*s", (int)s->indent, "", row->label, pad, "");
	switch (row->format) {
	case ADDRESS: fprintf(out, "0x%016" PRIx64, json_object_get_uint64(value)); break;
	case VHOST_NAME:
		fprintf(out, "%s %s", text(value),
			json_object_get_boolean(get(reply, "vhost-started")) ? "(vhost)" : "");
		break;
	case BUS: fputs(*text(value) ? text(value) : "(none)", out); break;
	default: fputs(text(value), out);
	}
	putc('\n', out);
}

static void show_section(FILE *out, const struct section *s, struct json_object *reply)
{
	for (size_t i = 0; i < s->num; i++)
		show_row(out, s, &s->rows[i], reply);
}

/* The entries one below the other, between commas; a line in any case. */
static void show_names(FILE *out, struct json_object *names)
{
	size_t num = length(names);

	for (size_t i = 0; i < num; i++)
		fprintf(out, "\t%s%s", text(json_object_array_get_idx(names, i)),
			i + 1 < num ? ",\n" : "");
	putc('\n', out);
}

static void show_unknown(
	FILE *out, const char *label, struct json_object *reply, const char *member)
{
	struct json_object *bits = get(reply, member);

	if (bits)
		fprintf(out, "  unknown-%s(0x%016" PRIx64 ")\n", label,
			json_object_get_uint64(bits));
}

static void show_features(FILE *out, const char *heading, struct json_object *features)
{
	struct json_object *own = get(features, "dev-features");

	fprintf(out, "%s:\n", heading);
	show_names(out, get(features, "transports"));
	if (length(own))
		show_names(out, own);
	show_unknown(out, "features", features, "unknown-dev-features");
}

void hmp_show_virtio(FILE *out, _unused_ const char *path, struct json_object *reply)
{
	for (size_t i = 0; i < length(reply); i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);

		fprintf(out, "%s [%s]\n", text(get(entry, "path")), text(get(entry, "name")));
	}
	if (!length(reply))
		fputs("No VirtIO devices\n", out);
}

void hmp_show_status(FILE *out, const char *path, struct json_object *reply)
{
	struct json_object *status = get(reply, "status"), *vhost = get(reply, "vhost-dev");
	struct json_object *protocols = get(vhost, "protocol-features");

	fprintf(out, "%s:\n", path);
	show_section(out, SECTION(2, 25, status_rows), reply);
	fputs("  status:\n", out);
	show_names(out, get(status, "statuses"));
	show_unknown(out, "statuses", status, "unknown-statuses");
	show_features(out, "  Guest features", get(reply, "guest-features"));
	show_features(out, "  Host features", get(reply, "host-features"));
	show_features(out, "  Backend features", get(reply, "backend-features"));
	if (!vhost)
		return;
	fputs("  VHost:\n", out);
	show_section(out, SECTION(4, 16, vhost_rows), vhost);
	show_features(out, "    Features", get(vhost, "features"));
	show_features(out, "    Acked features", get(vhost, "acked-features"));
	show_features(out, "    Backend features", get(vhost, "backend-features"));
	fputs("    Protocol features:\n", out);
	show_names(out, get(protocols, "protocols"));
	show_unknown(out, "protocols", protocols, "unknown-protocols");
}

void hmp_show_queue_status(FILE *out, const char *path, struct json_object *reply)
{
	fprintf(out, "%s:\n", path);
	show_section(out, SECTION(2, 22, queue_rows), reply);
	fputs("  VRing:\n", out);
	show_section(out, SECTION(4, 14, queue_vring_rows), reply);
}

void hmp_show_vhost_queue_status(FILE *out, const char *path, struct json_object *reply)
{
	fprintf(out, "%s:\n", path);
	fprintf(out, "  device_name:          %s (vhost)\n", text(get(reply, "name")));
	show_section(out, SECTION(2, 22, vhost_queue_rows), reply);
	fputs("  VRing:\n", out);
	show_section(out, SECTION(4, 13, vhost_vring_rows), reply);
}

static void show_descriptor(FILE *out, struct json_object *desc)
{
	struct json_object *flags = get(desc, "flags");
	size_t num = length(flags);

	fprintf(out, "        addr 0x%" PRIx64 " len %" PRIu64,
		json_object_get_uint64(get(desc, "addr")),
		json_object_get_uint64(get(desc, "len")));
	for (size_t i = 0; i < num; i++)
		fprintf(out, "%s%s%s", i ? ", " : " (", text(json_object_array_get_idx(flags, i)),
			i + 1 < num ? "" : ")");
}

void hmp_show_queue_element(FILE *out, const char *path, struct json_object *reply)
{
	struct json_object *descs = get(reply, "descs");
	size_t num = length(descs);

	fprintf(out, "%s:\n", path);
	fprintf(out, "  device_name: %s\n", text(get(reply, "name")));
	fprintf(out, "  index:   %s\n", text(get(reply, "index")));
	fputs("  desc:\n    descs:\n", out);
	for (size_t i = 0; i < num; i++) {
		show_descriptor(out, json_object_array_get_idx(descs, i));
		fputs(i + 1 < num ? ",\n" : "", out);
	}
	fputs("\n  avail:\n", out);
	show_section(out, SECTION(4, 7, avail_rows), get(reply, "avail"));
	fputs("  used:\n", out);
	show_section(out, SECTION(4, 7, used_rows), get(reply, "used"));
}

void hmp_show_name(FILE *out, _unused_ const char *path, struct json_object *reply)
{
	struct json_object *name = get(reply, "name");

	if (name)
		fprintf(out, "%s\n", text(name));
}

void hmp_show_run_status(FILE *out, _unused_ const char *path, struct json_object *reply)
{
	bool running = json_object_get_boolean(get(reply, "running"));
	const char *status = text(get(reply, "status"));
	bool said = running || !strcmp(status, "paused");

	fprintf(out, "VM status: %s%s%s%s\n", running ? "running" : "paused", said ? "" : " (",
		said ? "" : status, said ? "" : ")");
}

void hmp_show_version(FILE *out, _unused_ const char *path, struct json_object *reply)
{
	struct json_object *qemu = get(reply, "qemu");

	fprintf(out, "%s.%s.%s (%s)\n", text(get(qemu, "major")), text(get(qemu, "minor")),
		text(get(qemu, "micro")), text(get(reply, "package")));
}

void hmp_show_iothreads(FILE *out, _unused_ const char *path, struct json_object *reply)
{
	static const char *const members[] = { "poll-max-ns", "poll-grow", "poll-shrink",
		"aio-max-batch" };

	for (size_t i = 0; i < length(reply); i++) {
		struct json_object *iothread = json_object_array_get_idx(reply, i);

		fprintf(out, "%s:\n  thread_id=%s\n", text(get(iothread, "id")),
			text(get(iothread, "thread-id")));
		for (size_t m = 0; m < ARRAY_SIZE(members); m++)
			fprintf(out, "  %s=%s\n", members[m], text(get(iothread, members[m])));
	}
}

static void show_value(FILE *out, struct json_object *value, int indent);

static void show_object(FILE *out, struct json_object *obj, int indent, bool first_is_placed)
{
	json_object_object_foreach(obj, name, value)
	{
		fprintf(out, "%*s%s:", first_is_placed ? 0 : indent, "", name);
		first_is_placed = false;
		show_value(out, value, indent + 2);
	}
	if (first_is_placed)
		putc('\n', out);
}

static void show_array(FILE *out, struct json_object *list, int indent)
{
	for (size_t i = 0; i < length(list); i++) {
		struct json_object *entry = json_object_array_get_idx(list, i);

		fprintf(out, "%*s- ", indent, "");
		if (json_object_is_type(entry, json_type_object))
			show_object(out, entry, indent + 2, true);
		else
			fprintf(out, "%s\n", text(entry));
	}
}

/* Behind "name:". */
static void show_value(FILE *out, struct json_object *value, int indent)
{
	switch (json_object_get_type(value)) {
	case json_type_object:
		putc('\n', out);
		show_object(out, value, indent, false);
		break;
	case json_type_array:
		fputs(length(value) ? "\n" : " none\n", out);
		show_array(out, value, indent);
		break;
	default: fprintf(out, " %s\n", text(value));
	}
}

void hmp_show_members(FILE *out, const char *path, struct json_object *reply)
{
	int indent = path ? 2 : 0;

	if (path)
		fprintf(out, "%s:\n", path);
	if (json_object_is_type(reply, json_type_object))
		show_object(out, reply, indent, false);
	else if (length(reply))
		show_array(out, reply, indent);
	else
		fprintf(out, "%*snone\n", indent, "");
}
