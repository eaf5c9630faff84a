//! How large partitions get: what the layout of `cql/` promises, as arithmetic. `cargo xtask cluster partitions` holds a
//! real cluster to it.
//!
//! **Invariant**: no partition that votes are written to passes [`ADVISED_BYTES`] at [`MOST_VIEWERS`], whatever they send
//! and for as long as a live lasts.
//!
//! Bytes are those of a partition in the data files of one node before compression, which is what both engines count when
//! they warn of large ones.

use super::super::{MAX_CHUNK_BYTES, MAX_PAYLOAD_BYTES};

/// What Cassandra's documents advise and ScyllaDB's log begins to warn of (1,000 MB there): nobody complains below it.
pub const ADVISED_BYTES: u64 = 100 * 1024 * 1024;

/// Viewers on one jeu that the layout is made for.
pub const MOST_VIEWERS: u64 = 1_000_000;

pub(super) const SEGMENT_BITS: u32 = 10;

/// Chunks in one partition of the journal.
pub const SEGMENT_CHUNKS: u64 = 1 << SEGMENT_BITS;

/// Partitions of the notes of one jeu.
pub const BUCKETS: u8 = 16;

/// What a row takes besides its cells, at most: its key, timestamps, lifetimes and lengths. Measured: 30 to 60.
pub const ROW_BYTES: u64 = 80;

/// What a partition takes besides its rows, at most: its key, and where it ends.
pub const PARTITION_BYTES: u64 = 128;

/// What a result takes besides its manifest, at most: 12 criteres of 101 steps, each with a count of up to 20 digits.
const TALLY_BYTES: u64 = 64 * 1024;

/// A lane in a result's manifest, in JSON, at most.
const MANIFEST_LANE_BYTES: u64 = 96;

const fn rows(count: u64, cell_bytes: u64) -> u64 {
    PARTITION_BYTES + count * (ROW_BYTES + cell_bytes)
}

/// Bytes of one partition of `journal` whose chunks are of this size; at most 65 MiB.
pub const fn journal_bytes(chunk_bytes: usize) -> u64 {
    rows(SEGMENT_CHUNKS, chunk_bytes as u64)
}

/// Rows of the fullest bucket of `notes` when this many viewers rate a jeu. Viewers are hashes, so a bucket's share is a
/// throw of dice: the mean, and six standard deviations, which happens to one jeu in tens of millions.
pub const fn bucket_rows(viewers: u64) -> u64 {
    let mean = viewers.div_ceil(BUCKETS as u64);
    // The root itself, rounded up: the mean is more than the variance.
    let most = mean + 6 * (mean.isqrt() + 1);
    if most < viewers { most } else { viewers }
}

/// Bytes of one partition of `notes` when this many viewers rate a jeu with payloads of this size: the cell is the version
/// and the payload.
pub const fn notes_bytes(viewers: u64, payload_bytes: usize) -> u64 {
    rows(bucket_rows(viewers), 8 + payload_bytes as u64)
}

/// Bytes of the partition of `writers` of one jeu that has this many lanes: one for each start of each server.
pub const fn writers_bytes(lanes: u64) -> u64 {
    // Two cells; `mat` has a timestamp of its own.
    rows(lanes, 2 + 8 + 8)
}

/// Bytes of the partition of `jeu_state` of a live of this many jeux.
pub const fn jeu_state_bytes(jeux: u64) -> u64 {
    rows(jeux, 8)
}

/// Bytes of the partition of `results` of one jeu with this many epochs, each with this many lanes.
pub const fn results_bytes(epochs: u64, lanes: u64) -> u64 {
    rows(epochs, TALLY_BYTES + lanes * MANIFEST_LANE_BYTES)
}

const _: () = assert!(journal_bytes(MAX_CHUNK_BYTES) < ADVISED_BYTES);
const _: () = assert!(notes_bytes(MOST_VIEWERS, MAX_PAYLOAD_BYTES) < ADVISED_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::viewer::ViewerSecret;
    use crate::store::cql::{bucket, segment};

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_segment_of_the_journal_stays_below_the_advice_with_every_chunk_full() {
        assert_eq!(journal_bytes(MAX_CHUNK_BYTES) / MIB, 64);
        // And is left after as many chunks as were reckoned with.
        assert_eq!(segment(SEGMENT_CHUNKS - 1), 0);
        assert_eq!(segment(SEGMENT_CHUNKS), 1);
        // Four times the chunks would not do: that is why a segment is not larger.
        assert!(4 * journal_bytes(MAX_CHUNK_BYTES) > ADVISED_BYTES);
    }

    #[test]
    fn the_notes_of_a_million_viewers_stay_below_the_advice_and_those_of_one_partition_would_not() {
        assert_eq!(bucket_rows(MOST_VIEWERS), 64_006);
        assert!(notes_bytes(MOST_VIEWERS, 13) < 7 * MIB);
        assert!(notes_bytes(MOST_VIEWERS, MAX_PAYLOAD_BYTES) < 22 * MIB);
        // By jeu alone, with the longest payload.
        assert!(rows(MOST_VIEWERS, 8 + MAX_PAYLOAD_BYTES as u64) > ADVISED_BYTES);
        // How far the sixteen reach, with notes of twelve criteres.
        assert!(notes_bytes(16_000_000, 13) < ADVISED_BYTES);
    }

    #[test]
    fn no_bucket_of_real_viewers_is_fuller_than_reckoned() {
        let secret = ViewerSecret::new([7; 32]);
        let viewers = 50_000_u64;
        let mut rows = [0_u64; BUCKETS as usize];
        for number in 0..viewers {
            let viewer = secret.viewer(u128::from(number).to_be_bytes());
            rows[usize::try_from(bucket(&viewer)).unwrap()] += 1;
        }
        assert_eq!(rows.iter().sum::<u64>(), viewers);
        assert!(rows.iter().all(|rows| *rows <= bucket_rows(viewers)), "{rows:?}");
        // The bound is not idle: it is a tenth above the mean here, not a multiple of it.
        assert!(bucket_rows(viewers) < viewers / 16 * 5 / 4);
        assert_eq!([0, 1, 5].map(bucket_rows), [0, 1, 5], "never more than there are");
    }

    #[test]
    fn what_grows_with_starts_and_jeux_stays_small() {
        // A server a minute for a day, on one jeu.
        assert!(writers_bytes(1_440) < MIB);
        assert!(jeu_state_bytes(1_000) < MIB);
        assert!(results_bytes(100, 100) < 8 * MIB);
    }
}
