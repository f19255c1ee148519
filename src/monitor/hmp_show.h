/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replies as text. Those of QEMU's commands have the layout of QEMU's monitor, space for space
 * (its differences are in docs/differences.md); the others are printed member by member. Inside the
 * monitor's room only.
 */
#ifndef MONITOR_HMP_SHOW_H
#define MONITOR_HMP_SHOW_H

#include <stdio.h>

#include <json-c/json.h>

/* @path is what the user gave, NULL where the command takes none. Lines end in "\n". */
void hmp_show_virtio(FILE *out, const char *path, struct json_object *reply);
void hmp_show_status(FILE *out, const char *path, struct json_object *reply);
void hmp_show_queue_status(FILE *out, const char *path, struct json_object *reply);
void hmp_show_vhost_queue_status(FILE *out, const char *path, struct json_object *reply);
void hmp_show_queue_element(FILE *out, const char *path, struct json_object *reply);
void hmp_show_iothreads(FILE *out, const char *path, struct json_object *reply);
void hmp_show_name(FILE *out, const char *path, struct json_object *reply);
void hmp_show_run_status(FILE *out, const char *path, struct json_object *reply);
void hmp_show_version(FILE *out, const char *path, struct json_object *reply);
/* Any reply: a line a member, deeper ones further in; an entry of a list starts with '-'. */
void hmp_show_members(FILE *out, const char *path, struct json_object *reply);

#endif
