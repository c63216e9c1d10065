use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::categorical::{CategoricalColumn, CategoricalSummary, VALUES_LIMIT};
use super::column::Column;
use super::distribution::Distribution;
use super::moments::Moments;
use super::numeric::{NumericColumn, NumericSummary, in_range};
use super::{MAXIMUM_COLUMNS, Profile};

/// A profile as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredProfile {
    format: Format,
    rows: u64,
    columns: BTreeMap<String, StoredColumn>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "ropewalk.profile/1")]
    V1,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum StoredColumn {
    Numeric {
        count: u64,
        beyond: u64,
        minimum: Option<f64>,
        maximum: Option<f64>,
        mean: f64,
        variance: f64,
        distribution: Distribution,
    },
    Categorical {
        count: u64,
        exact: bool,
        values: BTreeMap<String, u64>,
    },
    Other {
        data_type: String,
        count: u64,
    },
}

impl From<Profile> for StoredProfile {
    fn from(profile: Profile) -> Self {
        let columns = profile.columns.into_iter().map(|(name, column)| (name, column.into())).collect();
        Self { format: Format::V1, rows: profile.rows, columns }
    }
}

impl From<Column> for StoredColumn {
    fn from(column: Column) -> Self {
        match column {
            Column::Numeric(column) => {
                let summary = column.summary();
                Self::Numeric {
                    count: summary.count(),
                    beyond: summary.beyond,
                    minimum: summary.minimum(),
                    maximum: summary.maximum(),
                    mean: summary.moments.mean,
                    variance: summary.moments.variance(),
                    distribution: summary.distribution,
                }
            }
            Column::Categorical(column) => {
                let CategoricalSummary { count, exact, values } = column.summary();
                Self::Categorical { count, exact, values }
            }
            Column::Other { data_type, count } => Self::Other { data_type, count },
        }
    }
}

impl TryFrom<StoredProfile> for Profile {
    type Error = String;

    fn try_from(stored: StoredProfile) -> Result<Self, String> {
        let StoredProfile { format: Format::V1, rows, columns } = stored;
        if columns.len() > MAXIMUM_COLUMNS {
            return Err(format!("{} columns are more than the {MAXIMUM_COLUMNS} allowed", columns.len()));
        }
        let mut read = BTreeMap::new();
        for (name, stored) in columns {
            let column = Column::try_from(stored).map_err(|why| format!("column `{name}`: {why}"))?;
            if column.present() > rows {
                return Err(format!("column `{name}`: {} values in {rows} rows", column.present()));
            }
            read.insert(name, column);
        }
        Ok(Self { rows, columns: read })
    }
}

impl TryFrom<StoredColumn> for Column {
    type Error = String;

    fn try_from(stored: StoredColumn) -> Result<Self, String> {
        match stored {
            StoredColumn::Numeric { count, beyond, minimum, maximum, mean, variance, distribution } => {
                if distribution.weight() != count || count.checked_add(beyond).is_none() {
                    return Err(format!("{count} values, but a distribution of {}", distribution.weight()));
                }
                let range = range(count, minimum, maximum)?;
                if !in_range(mean) || !variance.is_finite() || variance < 0.0 {
                    return Err(format!("mean {mean} and variance {variance} are not those of {count} values"));
                }
                let moments = Moments { count, mean, squares: variance * count as f64 };
                Ok(Self::Numeric(NumericColumn::from_summary(NumericSummary { moments, beyond, range, distribution })))
            }
            StoredColumn::Categorical { count, exact, values } => {
                let listed = values.values().try_fold(0_u64, |sum, rows| sum.checked_add(*rows));
                let adds_up = listed.is_some_and(|listed| listed == count || (!exact && listed < count));
                if values.len() > VALUES_LIMIT || !adds_up {
                    return Err(format!("{} values do not add up to {count} rows", values.len()));
                }
                Ok(Self::Categorical(CategoricalColumn::from_summary(CategoricalSummary { count, exact, values })))
            }
            StoredColumn::Other { data_type, count } => Ok(Self::Other { data_type, count }),
        }
    }
}

fn range(count: u64, minimum: Option<f64>, maximum: Option<f64>) -> Result<Option<(f64, f64)>, String> {
    match (count, minimum, maximum) {
        (0, None, None) => Ok(None),
        (1.., Some(least), Some(greatest)) if in_range(least) && in_range(greatest) && least <= greatest => {
            Ok(Some((least, greatest)))
        }
        _ => Err(format!("least {minimum:?} and greatest {maximum:?} are not those of {count} values")),
    }
}
