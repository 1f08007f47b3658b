/* A frame's picture as RGB: for files and terminals. */
#include <libavutil/pixfmt.h>
#include <libswscale/swscale.h>

#include "base/error.h"
#include "crayon/live.h"

cr_status cr_live_picture_to_image(const cr_live_picture *p, cr_image *out, cr_error *err)
{
    CR_TRY(cr_image_create(p->width, p->height, out, err));
    struct SwsContext *convert =
        sws_getContext(p->width, p->height, AV_PIX_FMT_YUV420P, p->width, p->height,
                       AV_PIX_FMT_RGB24, SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!convert) {
        cr_image_free(out);
        return CR_NOMEM(err);
    }
    const int *space = sws_getCoefficients(p->bt709 ? SWS_CS_ITU709 : SWS_CS_ITU601);
    sws_setColorspaceDetails(convert, space, p->full_range, space, 1, 0, 1 << 16, 1 << 16);
    uint8_t *const rows[4] = {out->rgb};
    const int strides[4] = {3 * p->width};
    sws_scale(convert, p->plane, p->stride, 0, p->height, rows, strides);
    sws_freeContext(convert);
    return CR_OK;
}
