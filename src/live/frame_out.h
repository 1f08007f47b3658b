/* What happens to a frame once it has been looked at: drawn, encoded, shown. One thread. */
#ifndef CR_LIVE_FRAME_OUT_H
#define CR_LIVE_FRAME_OUT_H

#include "live/frame_queue.h"

struct cr_video;

typedef struct cr_frame_out cr_frame_out;

/* `source`: its name; `live`: frames get the time of the clock, not of the source. The options and
 * the name must live as long. */
cr_status cr_frame_out_create(const cr_live_options *o, const char *source, bool live,
                              cr_frame_out **out, cr_error *err);
/* A file, before its first frame: its clock and sound. It must stay open until the commit. */
void cr_frame_out_set_video(cr_frame_out *w, const struct cr_video *video);
/* Draws and writes the slot's frame; f->picture points to it where pictures are wanted. */
cr_status cr_frame_out_put(cr_frame_out *w, cr_slot *s, cr_live_frame *f, cr_error *err);
/* Completes the files and fills codec, audio_left_out and clips. */
cr_status cr_frame_out_commit(cr_frame_out *w, cr_live_report *report, cr_error *err);
void cr_frame_out_free(cr_frame_out **w);

#endif
