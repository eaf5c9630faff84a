//! Which partitions a live has on a real cluster, how large they are, and which nodes keep them.
//!
//! `cargo xtask cluster partitions` runs this: it takes minutes, and files of the nodes are read, which only that command
//! can do. What is arithmetic is in `bareme::store::cql::bounds` and in [`ring`], with tests that need no cluster.

mod crowd;
mod ring;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bareme::cluster::close::finalise;
use bareme::cluster::env::Env;
use bareme::domain::ballot::Ratings;
use bareme::domain::bareme::presets;
use bareme::domain::jeu::JeuId;
use bareme::domain::live::LiveId;
use bareme::domain::phase::{Phase, Rank};
use bareme::store::cql::bounds::{self, SEGMENT_CHUNKS};
use bareme::store::cql::{CqlStore, CqlUrl};
use bareme::store::{ItemId, LANE_PAGE, MAX_CHUNK_BYTES, Store, WriterId};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::routing::Token;
use uuid::Uuid;

use self::crowd::{fill_a_segment, insist, lane, vote};
use self::ring::{Part, Ring, key, spread, token};
use super::{Breaker, RUNTIME, alone, url, warm};

const NOTES: u64 = 1_000_000;

/// Servers that take the votes, each with a lane of its own for each jeu.
const WRITERS: u64 = 8;

const NOTES_PAGE: usize = 4096;

const MIB: f64 = 1024.0 * 1024.0;

/// A partition, and what the store says is in it.
struct Partition {
    table: &'static str,
    columns: &'static str,
    key: Vec<Part>,
    rows: u64,
    cell_bytes: u64,
    most_bytes: u64,
}

impl Partition {
    fn bytes(&self) -> Vec<u8> {
        key(&self.key)
    }

    fn token(&self) -> i64 {
        token(&self.bytes())
    }

    fn jeu(&self) -> Option<&Part> {
        self.key.get(1)
    }

    /// Its key without the live, the writer by its last digits.
    fn name(&self) -> String {
        let part = |part: &Part| match part {
            Part::Uuid(uuid) => format!("…{}", &uuid.to_string()[32..]),
            other => other.to_string(),
        };
        let parts: Vec<_> = self.key[1..].iter().map(part).collect();
        if parts.is_empty() { "the live".to_owned() } else { parts.join(" ") }
    }
}

const ITEM: &str = "live_id, jeu_id";
const LANE_SEGMENT: &str = "live_id, jeu_id, writer, lane, seg";
const BUCKET: &str = "live_id, jeu_id, bucket";

fn of(item: ItemId) -> Vec<Part> {
    vec![Part::Uuid(item.live.0), Part::Big(i64::from(item.jeu.0))]
}

/// Every partition of a jeu, by reading all of it through the store.
async fn partitions_of(store: &dyn Store, item: ItemId, payload_bytes: usize) -> Vec<Partition> {
    let mut found = Vec::new();
    let lanes = store.lanes(item).await.unwrap();
    let count = lanes.len() as u64;
    found.push(Partition {
        table: "writers",
        columns: ITEM,
        key: of(item),
        rows: count,
        cell_bytes: count * 10,
        most_bytes: bounds::writers_bytes(count),
    });
    for lane in lanes {
        let mut segments = BTreeMap::<i64, (u64, u64)>::new();
        let mut next = 0;
        loop {
            let page = insist(|| store.read_lane(item, lane.id, next)).await;
            for (seq, chunk) in &page {
                assert_eq!(*seq, next, "no hole");
                let segment = segments.entry(i64::try_from(seq / SEGMENT_CHUNKS).unwrap()).or_default();
                *segment = (segment.0 + 1, segment.1 + chunk.len() as u64);
                next += 1;
            }
            if page.len() < LANE_PAGE {
                break;
            }
        }
        found.extend(segments.into_iter().map(|(segment, (rows, cell_bytes))| {
            Partition {
                table: "journal",
                columns: LANE_SEGMENT,
                key: [
                    of(item),
                    vec![Part::Uuid(lane.id.writer.0), Part::Small(i16::from(lane.id.lane)), Part::Big(segment)],
                ]
                .concat(),
                rows,
                cell_bytes,
                most_bytes: bounds::journal_bytes(MAX_CHUNK_BYTES),
            }
        }));
    }
    let mut buckets = BTreeMap::<i8, (u64, u64)>::new();
    let mut after = None;
    loop {
        let page = insist(|| store.read_notes(item, after, NOTES_PAGE)).await;
        for row in &page {
            let bucket = buckets.entry((row.viewer.0[0] >> 4).cast_signed()).or_default();
            *bucket = (bucket.0 + 1, bucket.1 + 8 + row.payload.len() as u64);
        }
        after = page.last().map(|row| row.viewer);
        if page.len() < NOTES_PAGE {
            break;
        }
    }
    let viewers = buckets.values().map(|(rows, _)| rows).sum();
    found.extend(buckets.into_iter().map(|(bucket, (rows, cell_bytes))| Partition {
        table: "notes",
        columns: BUCKET,
        key: [of(item), vec![Part::Tiny(bucket)]].concat(),
        rows,
        cell_bytes,
        most_bytes: bounds::notes_bytes(viewers, payload_bytes),
    }));
    if let Some(body) = insist(|| store.result(item, 0)).await {
        found.push(Partition {
            table: "results",
            columns: ITEM,
            key: of(item),
            rows: 1,
            cell_bytes: body.len() as u64,
            most_bytes: bounds::results_bytes(1, count),
        });
    }
    found
}

/// The ring as the driver read it from `system.local` and `system.peers`, and its nodes.
fn ring_of(session: &Session) -> (Ring, Vec<IpAddr>) {
    let state = session.get_cluster_state();
    let mut nodes: Vec<_> = state.get_nodes_info().iter().collect();
    nodes.sort_by_key(|node| node.address.ip());
    let number = |id: Uuid| nodes.iter().position(|node| node.host_id == id).unwrap();
    let tokens = state.replica_locator().ring().iter().map(|(token, node)| (token.value(), number(node.host_id)));
    let racks = nodes.iter().map(|node| node.rack.clone().unwrap()).collect();
    (Ring::new(tokens.collect(), racks), nodes.iter().map(|node| node.address.ip()).collect())
}

/// What the files of the nodes hold: for each table and key the bytes and rows on each node.
type OnDisk = HashMap<(String, Vec<u8>), BTreeMap<usize, (u64, u64)>>;

fn on_disk(xtask: &Breaker, keyspace: &str) -> OnDisk {
    let done = Command::new(&xtask.0).args(["cluster", "sizes", keyspace]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    let mut found = OnDisk::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("partition ")) {
        let fields: Vec<_> = line.split(' ').collect();
        let [node, table, hex, bytes, rows] = fields[..] else { panic!("{line}") };
        let key = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let nodes = found.entry((table.to_owned(), key)).or_default();
        // A partition may be in several files.
        let sum = nodes.entry(node.parse::<usize>().unwrap() - 1).or_default();
        *sum = (sum.0 + bytes.parse::<u64>().unwrap(), sum.1 + rows.parse::<u64>().unwrap());
    }
    found
}

/// Where the cluster itself says that a partition lies.
async fn token_by_cql(session: &Session, keyspace: &str, partition: &Partition) -> i64 {
    let Partition { table, columns, key, .. } = partition;
    let wanted: Vec<_> = columns.split(", ").zip(key).map(|(column, part)| format!("{column} = {part}")).collect();
    let wanted = wanted.join(" AND ");
    let text = format!("SELECT token({columns}) FROM {keyspace}.{table} WHERE {wanted} LIMIT 1");
    let rows = session.query_unpaged(text, ()).await.unwrap().into_rows_result().unwrap();
    rows.single_row::<(i64,)>().unwrap().0
}

/// A live of three jeux, and a fourth whose journal is as full as one can be.
async fn load(store: &Arc<dyn Store>, live: LiveId, notes: u64) -> Vec<ItemId> {
    let item = |jeu| ItemId { live, jeu: JeuId(jeu) };
    let env = Env::system();
    let writers: Vec<_> = (0..WRITERS).map(|_| WriterId(env.uuid())).collect();
    let ballot = Arc::new(Ratings::new(Arc::new(presets().remove(0))));
    for (jeu, viewers) in [(1, notes), (2, notes / 20), (3, notes / 1000)] {
        let item = item(jeu);
        let started = Instant::now();
        insist(|| store.raise_rank(item, Rank::new(0, Phase::Open))).await;
        vote(store, &ballot, item, &writers, viewers).await;
        let voted = started.elapsed();
        insist(|| store.raise_rank(item, Rank::new(0, Phase::Closing))).await;
        let closing = Instant::now();
        let finalised = finalise(&**store, &env, &ballot, item, 0).await.unwrap();
        assert_eq!(finalised.result.viewers, viewers, "everybody is counted once");
        assert!(!finalised.differs);
        println!(
            "jeu {jeu}: {viewers} notes by {WRITERS} writers in {:.0} s; read again and closed in {:.1} s",
            voted.as_secs_f64(),
            closing.elapsed().as_secs_f64()
        );
    }
    let full = item(4);
    let started = Instant::now();
    insist(|| store.raise_rank(full, Rank::new(0, Phase::Open))).await;
    fill_a_segment(store, full, lane(writers[0])).await;
    println!("jeu 4: {} chunks of 64 KiB in {:.0} s", SEGMENT_CHUNKS + 1, started.elapsed().as_secs_f64());
    vec![item(1), item(2), item(3), full]
}

/// Holds what is on disk to the bounds, and prints it.
fn check_and_print(found: &[Partition], disk: &OnDisk, ring: &Ring, nodes: &[IpAddr]) {
    println!(
        "\ntable      key                        token                 owner       rows      values     on disk  nodes"
    );
    for partition in found {
        let (table, token) = (partition.table, partition.token());
        let replicas = ring.replicas(token);
        let name = partition.name();
        let Some(kept) = disk.get(&(table.to_owned(), partition.bytes())) else {
            panic!("{table} {name} is on no disk");
        };
        let largest = kept.values().map(|(bytes, _)| *bytes).max().unwrap();
        let on: Vec<_> = kept.keys().map(|node| (node + 1).to_string()).collect();
        println!(
            "{table:<10} {name:<26} {token:>20}  {:<10} {:>6} {:>11} {largest:>11}  {}",
            nodes[replicas[0]].to_string(),
            partition.rows,
            partition.cell_bytes,
            on.join(" ")
        );
        assert!(kept.keys().all(|node| replicas.contains(node)), "{table} {name} is where it does not belong");
        assert!(
            kept.values().all(|(_, rows)| *rows <= partition.rows),
            "{table} {name} has more rows than were written"
        );
        let copies: u64 = kept.values().map(|(_, rows)| rows).sum();
        assert!(copies >= 2 * partition.rows, "{table} {name}: {copies} copies of {} rows", partition.rows);
        assert!(largest <= partition.most_bytes, "{table} {name}: {largest} of {} bytes", partition.most_bytes);
        assert!(largest < bounds::ADVISED_BYTES);
    }
}

/// The tables of the document: the largest partitions, and how they spread.
fn print_summary(found: &[Partition], disk: &OnDisk, ring: &Ring) {
    let bytes = |partition: &Partition| -> u64 {
        let kept = &disk[&(partition.table.to_owned(), partition.bytes())];
        kept.values().map(|(bytes, _)| *bytes).max().unwrap_or_default()
    };
    println!("\n| table, jeu | partitions | rows of the largest | its bytes on disk | a row | bound |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let kinds: BTreeSet<_> = found.iter().map(|one| (one.table, one.jeu().map(Part::to_string))).collect();
    for (table, jeu) in kinds {
        let of_kind: Vec<_> =
            found.iter().filter(|one| one.table == table && one.jeu().map(Part::to_string) == jeu).collect();
        let Some(largest) = of_kind.iter().max_by_key(|one| bytes(one)) else { continue };
        println!(
            "| `{table}`, {} | {} | {} | {:.2} MiB | {:.0} B | {:.2} MiB |",
            jeu.map_or("all".to_owned(), |jeu| format!("jeu {jeu}")),
            of_kind.len(),
            largest.rows,
            bytes(largest) as f64 / MIB,
            bytes(largest) as f64 / largest.rows as f64,
            largest.most_bytes as f64 / MIB,
        );
    }
    println!("\n| nodes | notes of jeu 1, MiB on one node: least, mean, most | journals of jeu 1: least, mean, most |");
    println!("| --- | --- | --- |");
    let made_up = [6, 12].map(Ring::made_up);
    for ring in std::iter::once(ring).chain(&made_up) {
        let of_table = |table: &str| {
            let of_jeu = |one: &&Partition| one.table == table && one.jeu() == Some(&Part::Big(1));
            let amounts = found.iter().filter(of_jeu).map(|one| (one.token(), bytes(one)));
            let (least, most, mean) = spread(ring, amounts);
            [least, mean, most].map(|bytes| format!("{:.1}", bytes as f64 / MIB)).join(", ")
        };
        println!("| {} | {} | {} |", ring.nodes(), of_table("notes"), of_table("journal"));
    }
}

#[test]
#[ignore = "takes minutes: `cargo xtask cluster partitions` runs it"]
fn no_partition_of_a_live_passes_its_bound_and_each_is_on_the_nodes_of_its_token() {
    let (Some(url), Some(xtask)) = (url(), Breaker::find()) else { return };
    let _alone = alone();
    let notes = std::env::var("BAREME_PARTITIONS_NOTES").map_or(NOTES, |notes| notes.parse().unwrap());
    let url = CqlUrl { keyspace: format!("bareme_partitions_{}", std::process::id()), ..url };
    RUNTIME.block_on(async {
        CqlStore::migrate(&url, |_| {}).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(CqlStore::connect(&url).await.unwrap());
        warm(&*store).await;
        let live = LiveId(Env::system().uuid());
        let items = load(&store, live, notes).await;

        let payload_bytes = 1 + presets().remove(0).criteres.len();
        let jeux = items.len() as u64;
        let mut found = vec![Partition {
            table: "jeu_state",
            columns: "live_id",
            key: vec![Part::Uuid(live.0)],
            rows: jeux,
            cell_bytes: jeux * 8,
            most_bytes: bounds::jeu_state_bytes(jeux),
        }];
        for item in items {
            found.extend(partitions_of(&*store, item, payload_bytes).await);
        }
        let counted = |table: &str, jeu: i64| -> u64 {
            let of_jeu = |one: &&Partition| one.table == table && one.jeu() == Some(&Part::Big(jeu));
            found.iter().filter(of_jeu).map(|one| one.rows).sum()
        };
        assert_eq!(counted("notes", 1), notes);
        assert_eq!(counted("journal", 4), SEGMENT_CHUNKS + 1);

        let session = SessionBuilder::new().known_nodes(&url.nodes).build().await.unwrap();
        let (ring, nodes) = ring_of(&session);
        let state = session.get_cluster_state();
        for partition in &found {
            let token = partition.token();
            assert_eq!(token_by_cql(&session, &url.keyspace, partition).await, token, "{}", partition.name());
            let endpoints = state.get_token_endpoints(&url.keyspace, partition.table, Token::new(token));
            let endpoints: BTreeSet<_> = endpoints.iter().map(|(node, _)| node.address.ip()).collect();
            let replicas: BTreeSet<_> = ring.replicas(token).into_iter().map(|node| nodes[node]).collect();
            assert_eq!(endpoints, replicas, "the driver asks the nodes that keep it");
        }

        let disk = on_disk(&xtask, &url.keyspace);
        check_and_print(&found, &disk, &ring, &nodes);
        print_summary(&found, &disk, &ring);
        session.query_unpaged(format!("DROP KEYSPACE {}", url.keyspace), ()).await.unwrap();
    });
}
