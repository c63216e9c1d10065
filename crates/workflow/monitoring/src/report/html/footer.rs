use maud::{Markup, html};

use crate::report::format::percent;
use crate::report::{MonitoringReport, moment};

/// How the figures came about, for those who have to trust them.
pub(super) fn footer(report: &MonitoringReport) -> Markup {
    let settings = &report.drift.settings;
    html! {
        footer {
            h2 { "How this was computed" }
            dl {
                dt { "Numeric columns" }
                dd {
                    "Wasserstein distance between the two distributions over the standard deviation of the reference; drift from "
                    (settings.numeric_threshold) ". Distributions with more than 500 different values are summed up by a t-digest, which places "
                    "a share of rows to within about 1 %."
                }
                dt { "Categorical columns" }
                dd { "Jensen-Shannon distance (base 2) between the shares of each value; drift from " (settings.categorical_threshold) "." }
                dt { "Chance" }
                dd {
                    "With few rows two samples of the same thing differ too. “Needed” is the greater of the threshold and what chance alone reaches "
                    "about once in a hundred times. Columns with fewer than " (settings.minimum_rows) " values on a side are not tested."
                }
                dt { "Missing values" }
                dd {
                    "A drift of their own: shares that differ by " (percent(settings.missing_effect)) " or more, with |z| of at least "
                    (settings.missing_z) " (two proportions, pooled)."
                }
                dt { "PSI" }
                dd { "Population stability index over tenths of the reference, or over values; shown for comparison, it decides nothing." }
                @if let Some(quality) = &report.quality {
                    dt { "Quality" }
                    dd {
                        "AUC with DeLong's 95 % interval. Degraded: the whole interval is below the AUC of training by more than "
                        (quality.settings.auc_tolerance) ", or the mean score is off the positive rate by "
                        (quality.settings.calibration_tolerance) " or more and not by chance. Periods are in UTC; those with fewer than "
                        (quality.settings.minimum_labelled) " labels are not judged."
                    }
                }
            }
            p { "Made " (moment(report.generated_at)) " by Ropewalk " (env!("CARGO_PKG_VERSION")) "." }
        }
    }
}
