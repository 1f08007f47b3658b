/* Statistics of several processes put together: see crayon/cluster.h. */
#ifndef CR_QUANT_STATS_SHARE_H
#define CR_QUANT_STATS_SHARE_H

#include "quant/stats.h"

/* whole += part of every rank, the same on all of them. `status` and *err: of this rank's part; the
 * first failure of any rank is everyone's. */
cr_status cr_stats_share(cr_stats *whole, const cr_stats *part, cr_status status, cr_error *err);

#endif
