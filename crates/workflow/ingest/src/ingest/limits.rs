/// What foreign bytes may make of this machine's disk, memory and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of an archive, with those of the archives inside it.
    pub entries: usize,
    /// Bytes of all entries of an archive together, unpacked, with those of the archives inside it; also of the parts
    /// of one workbook and of one compressed file.
    pub total_bytes: u64,
    /// Bytes of what a reader must hold in memory: one part of a workbook that is not a sheet, a whole .xls file.
    pub held_bytes: u64,
    /// How many times larger than packed an entry may be once it is over one mebibyte.
    pub ratio: u64,
    /// How deep archives may lie in archives: 1 is an archive of files.
    pub archive_depth: u32,
    /// Files of a folder or a pattern.
    pub files: usize,
    /// Rows in quarantine, over all files.
    pub quarantined_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            total_bytes: 16 << 30,
            held_bytes: 512 << 20,
            ratio: 250,
            archive_depth: 2,
            files: 10_000_000,
            quarantined_rows: 1_000_000,
        }
    }
}

/// Columns of a table: as many as a sheet of Excel has.
pub(crate) const COLUMNS: usize = 16_384;
