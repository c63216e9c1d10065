/// What an archive may make of this machine's disk and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of an archive.
    pub entries: usize,
    /// Bytes of all entries together, unpacked; also of the parts of one workbook.
    pub total_bytes: u64,
    /// Bytes of what a reader must hold in memory: one part of a workbook that is not a sheet, a whole .xls file.
    pub held_bytes: u64,
    /// How many times larger than packed an entry may be once it is over one mebibyte.
    pub ratio: u64,
    /// Rows in quarantine, over all files.
    pub quarantined_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000, total_bytes: 16 << 30, held_bytes: 512 << 20, ratio: 250, quarantined_rows: 1_000_000 }
    }
}

/// Columns of a table: as many as a sheet of Excel has.
pub(crate) const COLUMNS: usize = 16_384;
