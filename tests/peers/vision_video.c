/* Frames of a video as raw RGB on standard output, for tests/peers/vision_video.py:
 *
 *     peers-vision_video FILE            all of them, one after the other
 *     peers-vision_video FILE SECONDS... those at these times */
#include <stdio.h>
#include <stdlib.h>

#include "vision/video.h"

static bool put(cr_image *frame)
{
    const size_t n = 3 * (size_t)frame->width * (size_t)frame->height;
    const bool ok = fwrite(frame->rgb, 1, n, stdout) == n;
    cr_image_free(frame);
    return ok;
}

static cr_status put_all(cr_video *v, cr_error *err)
{
    cr_image frame;
    for (bool more = true; more;) {
        const cr_status st = cr_video_next(v, &frame, &more, err);
        if (st != CR_OK) return st;
        if (more && !put(&frame)) return CR_ERR_IO;
    }
    return CR_OK;
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_video *v = NULL;
    cr_image frame;
    if (argc < 2) return 2;
    cr_status st = cr_video_open(argv[1], &v, &err);
    if (st == CR_OK && argc == 2) st = put_all(v, &err);
    for (int i = 2; st == CR_OK && i < argc; i++) {
        st = cr_video_frame_at(v, atof(argv[i]), &frame, &err);
        if (st == CR_OK && !put(&frame)) st = CR_ERR_IO;
    }
    cr_video_close(&v);
    if (st != CR_OK) fprintf(stderr, "%s\n", err.message);
    return st != CR_OK;
}
