//! The load generator: one thread, any number of connections, a closed loop on each.
//!
//! The next request of a connection leaves when an answer came in, so a slow server is asked less: what
//! is measured is what it can do, and how long each answer took. All requests that are due after one
//! read leave in one write, as those of Dovecot's login processes do.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::cpu;
use crate::dialogue::{Answer, LogIn, PATIENCE, connect, read};

/// Longest that any run may take: only a server that says *try later* for ever would need more.
const LONGEST: Duration = Duration::from_secs(600);

/// How long a client waits that was told *try later*. Most wait for longer.
const PAUSE: Duration = Duration::from_secs(5);

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub socket: &'a Path,
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    pub until: Until,
}

/// When it ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Log-ins over and over, for that long.
    Time(Duration),
    /// Each log-in has its verdict; whoever is told *try later* asks again after [`PAUSE`].
    AllDecided,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// Verdicts, all of them right.
    pub decided: u32,
    pub later: u32,
    pub took: Duration,
    /// CPU time of this process meanwhile.
    pub own_cpu: Duration,
    /// How long each answer took, shortest first.
    waits: Vec<Duration>,
}

impl Done {
    /// Verdicts in a second.
    pub fn rate(&self) -> f64 {
        f64::from(self.decided) / self.took.as_secs_f64()
    }

    /// What that many of a hundred answers took at most. Panics if there was none.
    pub fn wait(&self, percent: usize) -> Duration {
        let last = self.waits.len() - 1;
        self.waits[last * percent / 100]
    }
}

struct Connection {
    stream: UnixStream,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
    /// What is in flight, by id modulo depth: since when, and which log-in.
    asked: Vec<Option<(Instant, usize)>>,
    next_id: u32,
}

/// Which log-in is next.
struct Order {
    count: usize,
    cursor: usize,
    /// Those that were told *try later*, and when they are due.
    again: VecDeque<(Instant, usize)>,
    until: Until,
    started: Instant,
}

impl Order {
    fn next(&mut self, now: Instant) -> Option<usize> {
        match self.until {
            Until::Time(limit) if now.duration_since(self.started) < limit => {
                let next = self.cursor % self.count;
                self.cursor += 1;
                Some(next)
            }
            Until::Time(_) => None,
            Until::AllDecided if self.cursor < self.count => {
                self.cursor += 1;
                Some(self.cursor - 1)
            }
            Until::AllDecided => {
                let (due, next) = *self.again.front()?;
                let is_due = due <= now;
                if is_due {
                    self.again.pop_front();
                }
                is_due.then_some(next)
            }
        }
    }

    /// It was told *try later*.
    fn later(&mut self, which: usize, now: Instant) {
        match self.until {
            Until::Time(_) => {}
            Until::AllDecided => self.again.push_back((now + PAUSE, which)),
        }
    }

    /// How long until somebody is due who was told *try later*.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let (due, _) = self.again.front()?;
        Some(due.saturating_duration_since(now))
    }
}

impl Load<'_> {
    /// Runs to its end. Panics at a wrong answer, a lost connection, or no answer within [`PATIENCE`].
    pub fn run(&self, log_ins: &[LogIn]) -> Done {
        assert!(!log_ins.is_empty() && self.connections > 0 && self.depth > 0);
        let epoll = Epoll::new(EpollCreateFlags::empty()).expect("a descriptor");
        let mut connections: Vec<Connection> = (0..self.connections)
            .map(|number| self.connection(number, &epoll))
            .collect();
        let (own_cpu, started) = (cpu::own(), Instant::now());
        let mut order = Order {
            count: log_ins.len(),
            cursor: 0,
            again: VecDeque::new(),
            until: self.until,
            started,
        };
        let mut done = Done {
            decided: 0,
            later: 0,
            took: Duration::ZERO,
            own_cpu: Duration::ZERO,
            waits: Vec::with_capacity(1 << 16),
        };
        let mut in_flight = 0;
        for connection in &mut connections {
            in_flight += connection.ask(&mut order, log_ins);
        }
        let mut events = [EpollEvent::empty(); 64];
        while in_flight > 0 || !order.again.is_empty() {
            let pause = order.pause(Instant::now());
            let limit = pause.unwrap_or(PATIENCE).as_millis();
            let limit = u16::try_from(limit).expect("30,000 at most");
            let ready = match epoll.wait(&mut events, limit) {
                // Stopped, and going on.
                Err(Errno::EINTR) => continue,
                ready => ready.expect("epoll"),
            };
            let answered = ready > 0 || pause.is_some();
            assert!(answered, "no answer within {PATIENCE:?}");
            assert!(started.elapsed() < LONGEST, "there is no end of it");
            for event in &events[..ready] {
                let number = usize::try_from(event.data()).expect("what we set");
                let connection = &mut connections[number];
                in_flight -= connection.hear(&mut order, log_ins, &mut done);
                in_flight += connection.ask(&mut order, log_ins);
            }
            if order.pause(Instant::now()) == Some(Duration::ZERO) {
                for connection in &mut connections {
                    in_flight += connection.ask(&mut order, log_ins);
                }
            }
        }
        done.took = started.elapsed();
        done.own_cpu = cpu::own() - own_cpu;
        done.waits.sort_unstable();
        done
    }

    fn connection(&self, number: usize, epoll: &Epoll) -> Connection {
        let stream = connect(self.socket).expect("a server that greets");
        let data = u64::try_from(number).expect("not so many");
        epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, data))
            .expect("a descriptor");
        Connection {
            stream,
            rest: Vec::new(),
            asked: vec![None; self.depth],
            next_id: 1,
        }
    }
}

impl Connection {
    /// Asks as much as may be in flight, in one write; how much that was.
    fn ask(&mut self, order: &mut Order, log_ins: &[LogIn]) -> usize {
        let (mut lines, mut count, now) = (Vec::new(), 0, Instant::now());
        // Ids follow each other, so the place of the next one is free as soon as it was answered.
        while self.asked[self.place(self.next_id)].is_none() {
            let Some(next) = order.next(now) else { break };
            log_ins[next].write(self.next_id, &mut lines);
            let place = self.place(self.next_id);
            self.asked[place] = Some((now, next));
            self.next_id += 1;
            count += 1;
        }
        if count > 0 {
            self.stream.write_all(&lines).expect("a server that reads");
        }
        count
    }

    /// Reads what is there; how many answers that was.
    fn hear(&mut self, order: &mut Order, log_ins: &[LogIn], done: &mut Done) -> usize {
        let mut part = [0; 16 * 1024];
        let read = read(&mut self.stream, &mut part).expect("a server that answers");
        self.rest.extend_from_slice(read);
        let (mut count, mut begin, now) = (0, 0, Instant::now());
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let answer = Answer::parse(&self.rest[begin..begin + length]);
            begin += length + 1;
            let place = self.place(answer.id);
            let (since, which) = self.asked[place].take().expect("something was asked");
            if log_ins[which].is_decided(&answer) {
                done.decided += 1;
                done.waits.push(now - since);
            } else {
                done.later += 1;
                order.later(which, now);
            }
            count += 1;
        }
        self.rest.drain(..begin);
        count
    }

    fn place(&self, id: u32) -> usize {
        usize::try_from(id).expect("32 bits") % self.asked.len()
    }
}
