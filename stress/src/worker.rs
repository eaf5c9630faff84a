//! One thread of viewers: its sockets, its timetable, and its [`Audience`] that decides.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use rand_pcg::Pcg64;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::audience::{Audience, Seen, Subject};
use crate::clock::Clock;
use crate::config::Config;
use crate::connect::{self, ConnectError, Opened, Server};
use crate::oracle::Complaints;
use crate::oracle::ledger::Ledger;
use crate::oracle::recount::Row;
use crate::plan::{Stage, What, micros};
use crate::stats::{Counters, Distributions, Second};

/// How long a handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before a connection is tried again, with full jitter, as the pages do it.
const BACKOFF_BASE: Duration = Duration::from_millis(150);
const BACKOFF_CAP: Duration = Duration::from_millis(1500);

/// Things done at once before the sockets get their turn.
const BATCH: usize = 512;

/// Bytes of one read, of all sockets of a thread in turn.
const READ_BYTES: usize = 128 << 10;

/// How often gauges and finished seconds are told.
const TELL: Duration = Duration::from_millis(100);

/// What all workers do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Open sockets, and wait.
    Join,
    /// A jeu is open: its stage of the plan begins.
    Stage {
        /// Which stage.
        number: usize,
        /// Number of the jeu.
        jeu: u32,
        /// When.
        start: Instant,
    },
    /// Nobody taps any more; what is wanted is still sent until it has its answer.
    Rest,
    /// Everybody connects anew and is told their own notes.
    Audit,
    /// The end.
    Stop,
}

/// How a worker stands.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Open sockets.
    pub open: AtomicU64,
    /// Viewers that have had the live on their socket.
    pub joined: AtomicU64,
    /// Notes without a final answer.
    pub wanted: AtomicU64,
    /// Acknowledged notes that were not seen in a frame.
    pub unseen: AtomicU64,
    /// Acknowledged notes whose viewer was not told what counts, during an audit.
    pub unaudited: AtomicU64,
}

/// What a worker needs.
pub struct Setup {
    /// Its number.
    pub number: u32,
    /// The run's clock.
    pub clock: Clock,
    /// The live.
    pub subject: Subject,
    /// Where to connect.
    pub servers: Vec<Server>,
    /// From where; empty: wherever the system likes.
    pub sources: Vec<IpAddr>,
    /// Path of the socket.
    pub path: String,
    /// What its viewers do.
    pub plan: Vec<Stage>,
    /// The run.
    pub config: Config,
    /// What to do.
    pub orders: watch::Receiver<Order>,
    /// Where it says how it stands.
    pub gauges: Arc<Gauges>,
    /// Where it says what was measured.
    pub seconds: mpsc::UnboundedSender<Second>,
}

/// What a worker leaves behind.
#[derive(Default)]
pub struct Outcome {
    /// Every note.
    pub ledger: Ledger,
    /// Every set of numbers that was shown.
    pub seen: Vec<Seen>,
    /// What broke the protocol.
    pub complaints: Complaints,
    /// Counts.
    pub counters: Counters,
    /// Distributions.
    pub distributions: Distributions,
    /// What the server said counts, viewer by viewer.
    pub own_notes: Vec<Row>,
}

impl Outcome {
    /// Takes that of another worker in.
    pub fn merge(&mut self, other: Self) {
        self.ledger.notes.extend(other.ledger.notes);
        self.seen.extend(other.seen);
        self.complaints.merge(other.complaints);
        self.counters.merge(&other.counters);
        self.distributions.merge(&other.distributions);
        self.own_notes.extend(other.own_notes);
    }
}

/// What a socket's task is told.
#[derive(Debug, Clone, Copy)]
enum Bid {
    Nap(Duration),
    Leave,
}

struct Link {
    write: OwnedWriteHalf,
    bid: Cell<Option<Bid>>,
    wake: Notify,
    draining: Cell<bool>,
}

/// Why a socket ended.
enum End {
    Bid(Bid),
    Lost(String),
}

#[derive(Default)]
struct Seat {
    link: RefCell<Option<Rc<Link>>>,
    gone: Cell<bool>,
}

struct Worker {
    audience: RefCell<Audience>,
    seats: Vec<Seat>,
    buffer: RefCell<Vec<u8>>,
    dirty: RefCell<Vec<usize>>,
    leaving: RefCell<Vec<usize>>,
    setup: Setup,
}

/// Runs a worker to its end, on a thread of its own.
///
/// # Errors
/// When the runtime cannot be made.
pub fn run(setup: Setup) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    Ok(runtime.block_on(local.run_until(work(setup))))
}

async fn work(mut setup: Setup) -> Outcome {
    let threads = setup.config.threads.max(1);
    let count = (setup.number..setup.config.viewers).step_by(usize::try_from(threads).unwrap_or(1)).count();
    let random = Pcg64::new(u128::from(setup.config.seed), 1_000_000 + u128::from(setup.number));
    let audience = Audience::new(setup.clock.clone(), &setup.subject, count, (setup.number, threads), random);
    let plan = std::mem::take(&mut setup.plan);
    let orders = setup.orders.clone();
    let worker = Rc::new(Worker {
        audience: RefCell::new(audience),
        seats: (0..count).map(|_| Seat::default()).collect(),
        buffer: RefCell::new(vec![0; READ_BYTES]),
        dirty: RefCell::default(),
        leaving: RefCell::default(),
        setup,
    });
    let start = Instant::now();
    let ramp_us = micros(worker.setup.config.ramp_s);
    for index in 0..count {
        let number = u64::from(worker.audience.borrow().number(index));
        let at = start + Duration::from_micros(ramp_us * number / u64::from(worker.setup.config.viewers.max(1)));
        spawn_local(attend(Rc::clone(&worker), index, at));
    }
    keep_time(&worker, plan, orders).await;
    let now = Instant::now();
    let mut audience = worker.audience.borrow_mut();
    let (seen, seconds) = audience.finish(now);
    for second in seconds {
        // Whoever listened has gone only after an abort.
        let _nobody_left = worker.setup.seconds.send(second);
    }
    let own_notes = audience.own_notes();
    Outcome {
        ledger: std::mem::take(&mut audience.ledger),
        seen,
        complaints: std::mem::take(&mut audience.complaints),
        counters: std::mem::take(&mut audience.counters),
        distributions: std::mem::take(&mut audience.distributions),
        own_notes,
    }
}

/// Does what the plan says, when it says so, until [`Order::Stop`].
async fn keep_time(worker: &Rc<Worker>, plan: Vec<Stage>, mut orders: watch::Receiver<Order>) {
    let mut stages: Vec<Option<Stage>> = plan.into_iter().map(Some).collect();
    let mut current: Option<(Stage, u32, Instant)> = None;
    let mut next_tell = Instant::now();
    let mut auditing = false;
    loop {
        let order = *orders.borrow_and_update();
        match order {
            Order::Stop => {
                worker.say_goodbye();
                return flush(worker);
            }
            Order::Rest | Order::Audit => current = None,
            Order::Stage { number, jeu, start } => {
                if let Some(stage) = stages.get_mut(number).and_then(Option::take) {
                    current = Some((stage, jeu, start));
                }
            }
            Order::Join => {}
        }
        if order == Order::Audit && !std::mem::replace(&mut auditing, true) {
            worker.begin_audit();
        }
        // Until the next order.
        while !orders.has_changed().unwrap_or(true) {
            let now = Instant::now();
            if now >= next_tell {
                worker.tell(now, auditing);
                next_tell = now + TELL;
            }
            let mut due_at = next_tell;
            let mut busy = false;
            if let Some((stage, jeu, start)) = &mut current {
                busy = worker.do_what_is_due(stage, *jeu, *start, now);
                if let Some(at_us) = stage.next_at_us() {
                    due_at = due_at.min(*start + Duration::from_micros(at_us));
                }
            }
            worker.let_go();
            worker.audience.borrow_mut().on_timers(now);
            flush(worker);
            if let Some(at) = worker.audience.borrow().next_timer() {
                due_at = due_at.min(at);
            }
            if busy || due_at <= now {
                yield_now().await;
            } else {
                tokio::select! {
                    () = sleep_until(due_at) => {}
                    _ = orders.changed() => {
                        orders.mark_changed();
                    }
                }
            }
        }
        if orders.has_changed().is_err() {
            return;
        }
    }
}

impl Worker {
    /// Does what is due; whether there is more of it.
    fn do_what_is_due(&self, stage: &mut Stage, jeu: u32, start: Instant, now: Instant) -> bool {
        let threads = self.setup.config.threads.max(1);
        for _ in 0..BATCH {
            let due = stage.next_at_us().map(|at_us| start + Duration::from_micros(at_us));
            let Some(due) = due.filter(|due| *due <= now) else { return false };
            let Some(intent) = stage.next_intent() else { return false };
            let index = usize::try_from((intent.viewer - self.setup.number) / threads).unwrap_or(usize::MAX);
            let Some(seat) = self.seats.get(index) else { continue };
            match intent.what {
                What::Vote(steps) => self.audience.borrow_mut().tap(index, jeu, steps, due, now),
                What::Nap(length_us) => self.bid(seat, Bid::Nap(Duration::from_micros(length_us))),
                What::Leave => self.leaving.borrow_mut().push(index),
            }
        }
        true
    }

    /// Lets those go who want to and have their answers: nobody leaves before "enregistré".
    fn let_go(&self) {
        self.leaving.borrow_mut().retain(|&index| {
            let stays = self.audience.borrow().has_wanted(index);
            if !stays {
                self.seats[index].gone.set(true);
                self.bid(&self.seats[index], Bid::Leave);
            }
            stays
        });
    }

    fn bid(&self, seat: &Seat, bid: Bid) {
        if let Some(link) = &*seat.link.borrow() {
            link.bid.set(Some(bid));
            link.wake.notify_one();
        }
    }

    fn tell(&self, now: Instant, auditing: bool) {
        let mut audience = self.audience.borrow_mut();
        let gauges = &self.setup.gauges;
        let (open, joined, wanted) = audience.gauges();
        gauges.open.store(open, Ordering::Relaxed);
        gauges.joined.store(joined, Ordering::Relaxed);
        gauges.wanted.store(wanted, Ordering::Relaxed);
        gauges.unseen.store(u64::try_from(audience.unseen()).unwrap_or(0), Ordering::Relaxed);
        if auditing {
            gauges.unaudited.store(u64::try_from(audience.unaudited()).unwrap_or(0), Ordering::Relaxed);
        }
        for second in audience.take_seconds(now) {
            // Whoever listened has gone only after an abort.
            let _nobody_left = self.setup.seconds.send(second);
        }
    }

    fn begin_audit(&self) {
        let mut audience = self.audience.borrow_mut();
        audience.forget_own_notes();
        self.setup.gauges.unaudited.store(u64::try_from(audience.unaudited()).unwrap_or(0), Ordering::Relaxed);
        drop(audience);
        // Some time apart, so that the audit is not the greatest load of the run.
        for (seat, at) in self.seats.iter().zip(0_u64..) {
            self.bid(seat, Bid::Nap(Duration::from_micros(500 * at)));
        }
    }

    fn say_goodbye(&self) {
        for index in 0..self.seats.len() {
            if self.seats[index].link.borrow().is_some() {
                self.audience.borrow_mut().say_goodbye(index);
            }
        }
    }

    /// Writes what fits; whether all of it did. A broken connection is noticed by the one who reads.
    fn write(&self, index: usize, link: &Link) -> bool {
        let mut audience = self.audience.borrow_mut();
        let out = audience.outgoing(index);
        if out.is_empty() {
            return true;
        }
        match link.write.try_write(out) {
            Ok(count) => {
                out.drain(..count);
                let all = out.is_empty();
                audience.on_written(count);
                all
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                out.clear();
                true
            }
        }
    }
}

/// Writes what viewers want to say.
fn flush(worker: &Rc<Worker>) {
    let mut dirty = worker.dirty.borrow_mut();
    worker.audience.borrow_mut().take_dirty(&mut dirty);
    for index in dirty.drain(..) {
        if let Some(link) = &*worker.seats[index].link.borrow()
            && !worker.write(index, link)
            && !link.draining.replace(true)
        {
            spawn_local(drain(Rc::clone(worker), index, Rc::clone(link)));
        }
    }
}

/// Writes what did not fit, when there is room.
async fn drain(worker: Rc<Worker>, index: usize, link: Rc<Link>) {
    while link.write.writable().await.is_ok() {
        let is_current = worker.seats[index].link.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, &link));
        if !is_current || worker.write(index, &link) {
            break;
        }
    }
    link.draining.set(false);
}

/// A viewer's life: connects, stays, comes back.
async fn attend(worker: Rc<Worker>, index: usize, at: Instant) {
    sleep_until(at).await;
    let seat = &worker.seats[index];
    let (mut since, mut attempt) = (at, 0_u32);
    while !seat.gone.get() {
        match dial(&worker, index).await {
            Ok(opened) => {
                let (end, was_ready) = serve(&worker, index, opened, since).await;
                since = Instant::now();
                if was_ready {
                    attempt = 0;
                }
                match end {
                    End::Bid(Bid::Leave) => return,
                    End::Bid(Bid::Nap(length)) => {
                        worker.audience.borrow_mut().on_nap();
                        sleep(length).await;
                        since = Instant::now();
                        continue;
                    }
                    End::Lost(why) => worker.audience.borrow_mut().on_error(why, since),
                }
            }
            Err(error) => worker.audience.borrow_mut().on_error(format!("connect: {}", error.kind()), Instant::now()),
        }
        let longest = BACKOFF_CAP.min(BACKOFF_BASE * 2_u32.saturating_pow(attempt.min(10)));
        let jitter: f64 = worker.audience.borrow_mut().random();
        sleep(longest.mul_f64(jitter)).await;
        attempt += 1;
    }
}

async fn dial(worker: &Worker, index: usize) -> Result<Opened, ConnectError> {
    let (number, key) = {
        let mut audience = worker.audience.borrow_mut();
        (usize::try_from(audience.number(index)).unwrap_or(0), audience.random())
    };
    let setup = &worker.setup;
    let server = &setup.servers[number % setup.servers.len()];
    let source = setup.sources.get(number % setup.sources.len().max(1)).copied();
    let opening = connect::open(server, &setup.path, source, key, "");
    let timed_out = || ConnectError::Io(io::ErrorKind::TimedOut.into());
    timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Reads a socket until it ends; why it did, and whether the live ever was on it.
async fn serve(worker: &Rc<Worker>, index: usize, opened: Opened, since: Instant) -> (End, bool) {
    let (mut read, write) = opened.stream.into_split();
    let link = Rc::new(Link { write, bid: Cell::new(None), wake: Notify::new(), draining: Cell::new(false) });
    *worker.seats[index].link.borrow_mut() = Some(Rc::clone(&link));
    worker.audience.borrow_mut().on_open(index, since, Instant::now());
    let mut end = take(worker, index, &opened.rest);
    while end.is_none() {
        flush(worker);
        end = tokio::select! {
            biased;
            end = read_once(worker, index, &mut read) => end,
            () = link.wake.notified() => link.bid.take().map(End::Bid),
        };
    }
    let mut audience = worker.audience.borrow_mut();
    if matches!(end, Some(End::Bid(Bid::Leave))) {
        audience.on_leave(index);
        drop(audience);
        flush(worker);
        audience = worker.audience.borrow_mut();
    }
    let was_ready = audience.is_ready(index);
    audience.on_closed(index);
    *worker.seats[index].link.borrow_mut() = None;
    (end.unwrap_or_else(|| End::Lost("closed".to_owned())), was_ready)
}

/// One read, into the buffer that all sockets of the thread share.
async fn read_once(worker: &Worker, index: usize, read: &mut OwnedReadHalf) -> Option<End> {
    poll_fn(|context| {
        let mut buffer = worker.buffer.borrow_mut();
        let mut bytes = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *read).poll_read(context, &mut bytes) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(End::Lost(error.kind().to_string()))),
            Poll::Ready(Ok(())) if bytes.filled().is_empty() => {
                Poll::Ready(Some(End::Lost("ended without a goodbye".to_owned())))
            }
            Poll::Ready(Ok(())) => Poll::Ready(take(worker, index, bytes.filled())),
        }
    })
    .await
}

/// Hands bytes to the audience; says whether that ended the socket.
fn take(worker: &Worker, index: usize, bytes: &[u8]) -> Option<End> {
    match worker.audience.borrow_mut().on_bytes(index, bytes, Instant::now()) {
        Ok(None) => None,
        Ok(Some(code)) => Some(End::Lost(format!("closed with {code}"))),
        Err(error) => Some(End::Lost(error.to_string())),
    }
}
