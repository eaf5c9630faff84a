//! A real cluster on one machine: three nodes of Apache Cassandra on 127.0.0.1, .2 and .3, for development and tests; or on
//! 127.0.0.11, .12 and .13, guarded as the manifests say.
//!
//! Jars come from Maven by the coordinates in `xtask/cassandra/pom.xml`; everything else is below `target/cluster`, or
//! `target/guarded`.
//!
//! **Invariant**: only processes that this command started are stopped or ended: a node's pid is in its folder, and
//! counts only while that process has the folder in its command line.

mod guarded;
mod native;
mod node;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::guarded::Guard;
use self::node::{NODES, Node, Signal, State};
use crate::steps::{Steps, say};

/// A node may take this long to start on a busy machine; alone it takes 13 s.
const WHOLE_WITHIN: Duration = Duration::from_secs(150);
/// A guarded node that ends instead of joining is started this often.
const STARTS: usize = 5;
/// Pause between two looks at what was started.
const LOOK: Duration = Duration::from_millis(200);

/// What tests and servers use it with.
pub(crate) const URL: &str = "cql://127.0.0.1,127.0.0.2,127.0.0.3/bareme?dc=dc1";

/// The same with a keyspace of one's own.
pub(crate) fn url(keyspace: &str) -> String {
    URL.replace("/bareme?", &format!("/{keyspace}?"))
}

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Starts what does not run, and waits until every node answers for all three
    Up,
    /// Ends the nodes and deletes their data
    Down {
        /// Leaves the data for the next `up`
        #[arg(long)]
        keep_data: bool,
    },
    /// Shows the nodes
    Status,
    /// Ends a node as a power cut would (SIGKILL)
    Kill(Which),
    /// Stops a node where it is (SIGSTOP)
    Stop(Which),
    /// Lets a stopped node go on (SIGCONT)
    Cont(Which),
    /// Starts a node that was killed, and waits until it is back
    Start(Which),
    /// Runs the tests that need a cluster, on one that it starts unless there is one; with --guarded those of signing in
    Test,
    /// Writes the notes of a large live and holds every partition to its bound, on a cluster that it starts unless there
    /// is one; prints the tables of docs/cluster.md
    Partitions {
        /// Notes on the first jeu, each of another viewer
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        notes: u64,
    },
    /// What the files of each node hold of a keyspace, for the tests
    #[command(hide = true)]
    Sizes { keyspace: String },
}

impl Action {
    /// Whether it may start nodes, and so needs what they run on.
    pub(crate) fn starts_nodes(&self) -> bool {
        matches!(self, Self::Up | Self::Start(_) | Self::Test | Self::Partitions { .. })
    }
}

#[derive(clap::Args)]
pub(crate) struct Which {
    /// 1, 2 or 3
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES)))]
    node: u8,
}

/// The three nodes.
pub(crate) struct Cluster {
    folder: PathBuf,
    nodes: Vec<Node>,
    guard: Option<Rc<Guard>>,
}

/// The jars, resolved once and again when the coordinates change.
pub(crate) fn jars(steps: &Steps) -> Result<()> {
    let jars = steps.target().join("cluster/jars");
    let pom = steps.root().join("xtask/cassandra/pom.xml");
    let stamp = jars.join("resolved.xml");
    let wanted = std::fs::read_to_string(&pom)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|resolved| resolved == wanted) {
        return Ok(());
    }
    let _not_there = std::fs::remove_dir_all(&jars);
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "--file"]).arg(&pom).arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", jars.display()));
    steps.run("mvn dependency:copy-dependencies (Apache Cassandra)", &mut maven)?;
    Ok(std::fs::write(stamp, wanted)?)
}

fn listens(node: &Node) -> Result<()> {
    Ok(TcpStream::connect(node.address()).map(drop)?)
}

impl Cluster {
    /// The cluster of this workspace.
    pub(crate) fn new(steps: &Steps) -> Self {
        let folder = steps.target().join("cluster");
        let nodes = (1..=NODES).map(|number| Node::open(&folder, &folder.join("jars"), number)).collect();
        Self { folder, nodes, guard: None }
    }

    /// Another one, with passwords, permissions and TLS as `k8s/database/cassandra` says.
    pub(crate) fn guarded(steps: &Steps) -> Self {
        let (folder, jars) = (steps.target().join("guarded"), steps.target().join("cluster/jars"));
        let guard = Rc::new(Guard::new(steps, &folder));
        let node = |number| Node::guarded(&folder, &jars, number, Rc::clone(&guard));
        Self { nodes: (1..=NODES).map(node).collect(), folder, guard: Some(guard) }
    }

    /// Does what was asked.
    pub(crate) fn run(&self, steps: &Steps, action: &Action) -> Result<()> {
        match action {
            Action::Test => self.with(|| self.test(steps)),
            Action::Partitions { .. } | Action::Sizes { .. } if self.guard.is_some() => {
                bail!("that is for the cluster that is not guarded")
            }
            Action::Partitions { notes } => self.with(|| steps.cluster_partitions(URL, *notes)),
            Action::Sizes { keyspace } => self.sizes(keyspace),
            Action::Up => self.up(),
            Action::Down { keep_data } => self.down(*keep_data),
            Action::Status => {
                self.nodes.iter().for_each(|node| say(&node.describe()));
                Ok(())
            }
            Action::Kill(which) => self.signal(which, Signal::Kill),
            Action::Stop(which) => self.signal(which, Signal::Stop),
            Action::Cont(which) => self.signal(which, Signal::Continue),
            Action::Start(which) => {
                let node = self.node(which);
                node.start()?;
                say(&format!("node {}: started, pid {}", node.number(), node.pid().unwrap_or_default()));
                self.wait()
            }
        }
    }

    fn node(&self, which: &Which) -> &Node {
        &self.nodes[usize::from(which.node) - 1]
    }

    /// Whether all nodes run.
    pub(crate) fn is_up(&self) -> bool {
        self.nodes.iter().all(|node| node.state() == State::Running)
    }

    /// Ends a node (0 to 2) as a power cut would.
    pub(crate) fn kill_node(&self, index: usize) -> Result<()> {
        self.nodes[index].signal(Signal::Kill)
    }

    /// Starts a node (0 to 2) that was killed, and waits until the ring is whole.
    pub(crate) fn start_node(&self, index: usize) -> Result<()> {
        self.nodes[index].start()?;
        self.wait()
    }

    /// Lets a node (0 to 2) stand still for a while.
    pub(crate) fn freeze_node(&self, index: usize, length: Duration) -> Result<()> {
        self.nodes[index].signal(Signal::Stop)?;
        std::thread::sleep(length);
        self.nodes[index].signal(Signal::Continue)?;
        self.wait()
    }

    fn signal(&self, which: &Which, signal: Signal) -> Result<()> {
        let node = self.node(which);
        node.signal(signal)?;
        say(&format!("node {}: {}", node.number(), signal.done()));
        Ok(())
    }

    /// Starts what does not run and waits until the ring is whole.
    pub(crate) fn up(&self) -> Result<()> {
        let started = Instant::now();
        match &self.guard {
            None => node::make_keys(&self.folder)?,
            Some(guard) => guard.secrets()?,
        }
        for node in &self.nodes {
            match node.state() {
                State::Absent => {
                    node.start()?;
                    say(&format!("node {}: started, pid {}", node.number(), node.pid().unwrap_or_default()));
                    if self.guard.is_some() {
                        Self::join(node)?;
                    }
                }
                State::Stopped => {
                    node.signal(Signal::Continue)?;
                    say(&format!("node {}: {}", node.number(), Signal::Continue.done()));
                }
                State::Running => {}
            }
        }
        self.wait()?;
        let url = match &self.guard {
            None => URL.to_owned(),
            Some(guard) => {
                // As a Job does that failed, because the nodes have made no role to begin with yet.
                Self::wait_for(self.nodes.first().context("no node")?, &|_| guard.roles())?;
                guard.urls()?[0].clone()
            }
        };
        say(&format!("the ring is whole after {:.0} s: {url}", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Ends all nodes. Their disks were synced before they acknowledged anything, so nobody has to be asked first.
    pub(crate) fn down(&self, keep_data: bool) -> Result<()> {
        for node in &self.nodes {
            if node.state() != State::Absent {
                node.signal(Signal::Kill)?;
                say(&format!("node {}: {}", node.number(), Signal::Kill.done()));
            }
            if !keep_data {
                node.forget()?;
            }
        }
        if !keep_data {
            self.guard.as_ref().map_or(Ok(()), |guard| guard.forget())?;
            say(&format!("deleted the data in {}/node*", self.folder.display()));
        }
        Ok(())
    }

    /// The tests of the store on these nodes, some of which they break; or those of being guarded.
    pub(crate) fn test(&self, steps: &Steps) -> Result<()> {
        let Some(guard) = &self.guard else {
            return steps.cluster_tests(URL, &self.folder.join(node::CERTIFICATE), &[]);
        };
        let [servers, migration] = guard.urls()?;
        let variables = [
            ("BAREME_CQL_GUARDED", Path::new(&servers)),
            ("BAREME_CQL_GUARDED_MIGRATION", Path::new(&migration)),
            ("BAREME_CQL_GUARDED_FOLDER", &self.folder),
        ];
        steps.it_tests("a cluster that is guarded as the manifests say", "guarded::", &variables, false)
    }

    /// Those that break none: every promise of the store, migrations, partitions' layouts. After the others, nodes that are
    /// starting leave a machine with two cores little for whatever comes next.
    pub(crate) fn test_whole(&self, steps: &Steps) -> Result<()> {
        steps.cluster_tests(URL, &self.folder.join(node::CERTIFICATE), &["--skip", "cql::faults"])
    }

    /// Does what needs a cluster. One that was up stays up.
    pub(crate) fn with(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let was_up = self.is_up();
        let outcome = self.up().and_then(|()| work());
        let ended = if was_up { Ok(()) } else { self.down(false) };
        outcome.and(ended)
    }

    /// Lines `partition NODE TABLE KEY BYTES ROWS`.
    fn sizes(&self, keyspace: &str) -> Result<()> {
        for node in &self.nodes {
            for (table, key, bytes, rows) in node.sizes(keyspace)? {
                say(&format!("partition {} {table} {key} {bytes} {rows}", node.number()));
            }
        }
        Ok(())
    }

    /// Waits until each running node answers: for all three while all run, else for itself. A guarded one answers those who
    /// sign in; here it is enough that it listens.
    fn wait(&self) -> Result<()> {
        let running: Vec<_> = self.nodes.iter().filter(|node| node.state() == State::Running).collect();
        let whole = running.len() == self.nodes.len();
        for node in running {
            match self.guard {
                None => Self::wait_for(node, &|node| native::answers(node.address(), whole))?,
                Some(_) => Self::wait_for(node, &listens)?,
            }
        }
        Ok(())
    }

    /// Waits as Kubernetes does, by what it looks at, before the next one is started: nodes join those that are there. One
    /// that ends is started again, since it may have come before the others knew of the last one.
    fn join(node: &Node) -> Result<()> {
        for _ in 0..STARTS {
            match Self::wait_for(node, &listens) {
                Err(error) if node.state() == State::Absent => {
                    say(&format!("{error:#}"));
                    node.start()?;
                }
                outcome => return outcome,
            }
        }
        bail!("node {} ended {STARTS} times", node.number())
    }

    fn wait_for(node: &Node, is_ready: &dyn Fn(&Node) -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + WHOLE_WITHIN;
        while let Err(error) = is_ready(node) {
            if node.state() == State::Absent {
                bail!("node {} ended: {}", node.number(), node.last_words());
            }
            if Instant::now() > deadline {
                bail!("node {} is not ready ({error:#}): {}", node.number(), node.last_words());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
