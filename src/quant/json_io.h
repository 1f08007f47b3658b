/* Small helpers for our own JSON files (stats.json, recipe.json): jansson in, atomic files out. */
#ifndef CR_QUANT_JSON_IO_H
#define CR_QUANT_JSON_IO_H

#include <jansson.h>

#include "crayon/status.h"

/* Parses a file whose root is an object with "format": `format` and "version": 1. */
cr_status cr_json_read(const char *path, const char *format, json_t **root, cr_error *err);
/* Writes `root` through a temporary file. Floats keep 17 digits. */
cr_status cr_json_write(const char *path, const json_t *root, cr_error *err);

/* Arrays of numbers; reading fails (false) unless `a` is an array of exactly n finite numbers. */
json_t *cr_json_floats(const float *v, size_t n);
bool cr_json_get_floats(const json_t *a, float *v, size_t n);

/* Bytes as a string in base64 (RFC 4648, padded), in json_io.c; NULL without memory. Reading fails
 * unless the string is base64 of exactly n bytes. */
json_t *cr_json_bytes(const unsigned char *bytes, size_t n);
bool cr_json_get_bytes(const json_t *text, unsigned char *bytes, size_t n);

#endif
