//! Where partitions lie: keys, their tokens, and which nodes of a ring keep them.
//!
//! The rules are those of both engines without tablets: a partition belongs to the node with the first token at or after
//! its own, and its other replicas are the next nodes of other racks.

use std::fmt;

use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner as _};
use uuid::Uuid;

/// Replicas of each partition, each in a rack of its own.
pub(super) const REPLICAS: usize = 3;

/// Tokens of a node of a made-up ring: what Cassandra 4 and later give one.
const TOKENS_EACH: usize = 16;

/// One column of a partition key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Uuid(Uuid),
    Big(i64),
    Small(i16),
    Tiny(i8),
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Uuid(value) => value.as_bytes().to_vec(),
            Self::Big(value) => value.to_be_bytes().to_vec(),
            Self::Small(value) => value.to_be_bytes().to_vec(),
            Self::Tiny(value) => value.to_be_bytes().to_vec(),
        }
    }
}

impl fmt::Display for Part {
    /// As CQL writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(value) => value.fmt(f),
            Self::Big(value) => value.fmt(f),
            Self::Small(value) => value.fmt(f),
            Self::Tiny(value) => value.fmt(f),
        }
    }
}

/// The bytes of a partition key: of one column as they are, of several each with its length before it and a zero after.
pub(super) fn key(parts: &[Part]) -> Vec<u8> {
    if let [only] = parts {
        return only.bytes();
    }
    let mut key = Vec::new();
    for part in parts {
        let bytes = part.bytes();
        key.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        key.extend(bytes);
        key.push(0);
    }
    key
}

/// Where a partition lies on the ring.
pub(super) fn token(key: &[u8]) -> i64 {
    Murmur3Partitioner.hash_one(key).value()
}

/// A ring of nodes.
#[derive(Debug)]
pub(super) struct Ring {
    /// In order: a token, and the node that has it.
    tokens: Vec<(i64, usize)>,
    /// The rack of each node.
    racks: Vec<String>,
}

impl Ring {
    /// A ring as a cluster has it.
    pub(super) fn new(mut tokens: Vec<(i64, usize)>, racks: Vec<String>) -> Self {
        tokens.sort_unstable();
        Self { tokens, racks }
    }

    /// A ring of this many nodes in three racks, whose tokens lie as an allocator would have them at best: evenly, and
    /// each round of them in another order.
    pub(super) fn made_up(nodes: usize) -> Self {
        let count = i128::try_from(nodes * TOKENS_EACH).unwrap();
        let place = |at: usize| i128::from(i64::MIN) + (i128::try_from(at).unwrap() << 64) / count;
        let tokens = (0..nodes * TOKENS_EACH).map(|at| {
            let (round, within) = (at / nodes, at % nodes);
            // Neighbours change from round to round, racks keep taking turns.
            let node = (within + 3 * round) % nodes;
            (i64::try_from(place(at)).unwrap(), if round % 2 == 0 { node } else { nodes - 1 - node })
        });
        Self::new(tokens.collect(), (0..nodes).map(|node| format!("rack{}", node % 3 + 1)).collect())
    }

    pub(super) fn nodes(&self) -> usize {
        self.racks.len()
    }

    /// The nodes that keep a partition, the owner of its token first.
    pub(super) fn replicas(&self, token: i64) -> Vec<usize> {
        let first = self.tokens.partition_point(|(of_node, _)| *of_node < token);
        let mut found: Vec<usize> = Vec::new();
        for (_, node) in self.tokens[first..].iter().chain(&self.tokens[..first]) {
            let is_new_rack = found.iter().all(|known| self.racks[*known] != self.racks[*node]);
            if is_new_rack && found.len() < REPLICAS {
                found.push(*node);
            }
        }
        found
    }
}

/// What is where: of all replicas of these (token, amount), the least and the most of one node, and the mean.
pub(super) fn spread(ring: &Ring, amounts: impl IntoIterator<Item = (i64, u64)>) -> (u64, u64, u64) {
    let mut nodes = vec![0_u64; ring.nodes()];
    for (token, amount) in amounts {
        for node in ring.replicas(token) {
            nodes[node] += amount;
        }
    }
    let mean = nodes.iter().sum::<u64>() / nodes.len() as u64;
    (*nodes.iter().min().unwrap(), *nodes.iter().max().unwrap(), mean)
}

#[test]
fn tokens_are_those_of_both_engines() {
    // From the tests of the engines' own drivers. The second has bytes above 127, which Cassandra's Murmur3 takes for
    // negative and others do not.
    let known: [(&[u8], i64); 5] = [
        (b"123", -7468325962851647638),
        (&[0x00, 0xFF, 0x10, 0xFA, 0x99].repeat(10), 5837342703291459765),
        (&[0xFE; 8], -8927430733708461935),
        (&[0x10; 8], 1446172840243228796),
        (b"9223372036854775807", 7162290910810015547),
    ];
    for (bytes, expected) in known {
        assert_eq!(token(bytes), expected, "{bytes:02x?}");
    }
}

#[test]
fn keys_of_several_columns_are_written_with_lengths() {
    let live = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(key(&[Part::Uuid(live)]), live.as_bytes());
    let mut expected = vec![0, 16];
    expected.extend(live.as_bytes());
    expected.extend([0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0xFF, 0, 0, 2, 1, 0, 0]);
    assert_eq!(key(&[Part::Uuid(live), Part::Big(2), Part::Tiny(-1), Part::Small(256)]), expected);
}

#[test]
fn a_partition_belongs_to_the_first_token_at_or_after_its_own_and_the_ring_closes() {
    let racks = ["a", "b", "a", "b", "c"].map(str::to_owned).to_vec();
    let ring = Ring::new(vec![(300, 3), (0, 0), (200, 2), (100, 1), (400, 4)], racks);
    assert_eq!(ring.replicas(1), [1, 2, 4], "the second of rack b is passed by");
    assert_eq!(ring.replicas(100), [1, 2, 4], "a node's own token is its own");
    assert_eq!(ring.replicas(101), [2, 3, 4]);
    assert_eq!(ring.replicas(i64::MAX), [0, 1, 4], "after the last comes the first");
    assert_eq!(ring.replicas(i64::MIN), [0, 1, 4]);
}

#[test]
fn three_jeux_keep_twelve_nodes_busy_and_no_partition_is_twice_on_one() {
    let live = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001);
    for nodes in [3, 6, 12] {
        let ring = Ring::made_up(nodes);
        let owned = |node| ring.tokens.iter().filter(|(_, of)| *of == node).count();
        assert!((0..nodes).all(|node| owned(node) == TOKENS_EACH));
        let mut tokens = Vec::new();
        for (jeu, bucket) in (1..=3).flat_map(|jeu| (0..16).map(move |bucket| (jeu, bucket))) {
            let token = token(&key(&[Part::Uuid(live), Part::Big(jeu), Part::Tiny(bucket)]));
            let racks: std::collections::BTreeSet<_> = ring.replicas(token).iter().map(|node| node % 3).collect();
            assert_eq!(racks.len(), REPLICAS, "each in a rack of its own");
            tokens.push((token, 1));
        }
        let (least, most, mean) = spread(&ring, tokens);
        assert_eq!(mean, 48 * REPLICAS as u64 / nodes as u64, "nothing is forgotten");
        assert!(least > 0 && most <= 2 * mean, "{nodes} nodes: {least} to {most}");
    }
}
