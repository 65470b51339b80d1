//! The addresses of a host name: resolved off the request path, the last good answer kept, taken in turns.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// What a resolver gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Finds the addresses of a host.
pub trait Resolve: fmt::Debug + Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's resolver: hosts file, DNS and whatever else it is set up for.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Shortest time between two resolutions, however many connects fail.
const GAP: Duration = Duration::from_secs(1);

/// A host name and its addresses.
#[derive(Debug)]
pub(super) struct Names {
    host: String,
    port: u16,
    resolver: Arc<dyn Resolve>,
    known: Mutex<Arc<[Address]>>,
    /// Held for the first resolution, so that a burst of requests asks once.
    first: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
    doubted: Notify,
}

/// One address, and whether the last connect to it failed.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) at: SocketAddr,
    failed: AtomicBool,
}

impl Names {
    pub(super) fn new(host: &str, port: u16, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            resolver,
            known: Mutex::new(Arc::new([])),
            first: tokio::sync::Mutex::default(),
            turn: AtomicUsize::new(0),
            doubted: Notify::new(),
        }
    }

    /// Every address, in the order in which they are to be tried; each call begins with another one, and those that
    /// failed last stand at the end. Waits for the resolver only if nothing is known yet.
    pub(super) async fn addresses(&self) -> io::Result<(Arc<[Address]>, Vec<usize>)> {
        let mut known = self.known();
        if known.is_empty() {
            let _first = self.first.lock().await;
            if self.known().is_empty() {
                self.refresh().await?;
            }
            known = self.known();
        }
        let order = self.order(&known);
        Ok((known, order))
    }

    fn order(&self, known: &[Address]) -> Vec<usize> {
        let start = self.turn.fetch_add(1, Relaxed);
        let mut order: Vec<usize> = (0..known.len()).map(|index| (start + index) % known.len()).collect();
        order.sort_by_key(|index| known[*index].failed.load(Relaxed));
        order
    }

    fn known(&self) -> Arc<[Address]> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the resolver. If it fails, or knows nothing, what was known stays.
    pub(super) async fn refresh(&self) -> io::Result<()> {
        let mut found = self.resolver.resolve(&self.host, self.port).await?;
        let mut seen = std::collections::HashSet::new();
        found.retain(|address| seen.insert(*address));
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the resolver gave no address"));
        }
        let known = found.into_iter().map(|at| Address { at, failed: AtomicBool::new(false) }).collect();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// A connect failed: the name may have moved. Whoever keeps it fresh asks soon; nobody waits for that.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Resolves at the interval, and soon after a connect has failed. Never returns.
    pub(super) async fn keep_fresh(&self, interval: Duration) {
        let mut failing = false;
        loop {
            let early = async {
                tokio::time::sleep(GAP).await;
                self.doubted.notified().await;
            };
            // Running out of time is the usual case: nobody was in doubt.
            let _ = tokio::time::timeout(interval, early).await;
            let found = self.refresh().await;
            if let Err(error) = &found
                && !failing
            {
                tracing::warn!(host = self.host, %error, "A name cannot be resolved; the last good addresses are used.");
            }
            failing = found.is_err();
        }
    }
}

impl Address {
    pub(super) fn note(&self, connected: bool) {
        self.failed.store(!connected, Relaxed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A resolver that says what the test says.
    #[derive(Debug, Default)]
    pub(in crate::upstream) struct Fake {
        pub(in crate::upstream) answer: Mutex<Vec<SocketAddr>>,
        pub(in crate::upstream) asked: AtomicUsize,
    }

    impl Fake {
        pub(in crate::upstream) fn say(&self, ports: &[u16]) {
            *self.answer.lock().unwrap() = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        }
    }

    impl Resolve for Fake {
        fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
            self.asked.fetch_add(1, Relaxed);
            let answer = self.answer.lock().unwrap().clone();
            Box::pin(async move {
                // An empty answer of the test is a resolver that is down.
                if answer.is_empty() { Err(io::Error::other("down")) } else { Ok(answer) }
            })
        }
    }

    async fn ports(names: &Names) -> Vec<u16> {
        let (known, order) = names.addresses().await.unwrap();
        order.into_iter().map(|index| known[index].at.port()).collect()
    }

    #[tokio::test]
    async fn addresses_take_turns_and_the_resolver_is_asked_once() {
        let fake = Arc::new(Fake::default());
        let names = Names::new("model", 1, fake.clone());
        assert!(names.addresses().await.is_err(), "the first one has to wait, and is told");
        fake.say(&[1, 2, 2, 3]);
        let firsts = [ports(&names).await[0], ports(&names).await[0], ports(&names).await[0]];
        assert_eq!(firsts, [1, 2, 3]);
        assert_eq!(fake.asked.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn what_failed_is_tried_last_until_it_answers_again() {
        let fake = Arc::new(Fake::default());
        fake.say(&[1, 2]);
        let names = Names::new("model", 1, fake);
        let (known, _) = names.addresses().await.unwrap();
        known[0].note(false);
        assert_eq!([ports(&names).await, ports(&names).await], [[2, 1], [2, 1]]);
        known[0].note(true);
        assert_ne!(ports(&names).await, ports(&names).await);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_resolved_on_a_timer_and_on_doubt_and_the_last_good_answer_stays() {
        let fake = Arc::new(Fake::default());
        fake.say(&[1]);
        let names = Arc::new(Names::new("model", 1, fake.clone()));
        assert_eq!(ports(&names).await, [1]);
        let keeper = tokio::spawn({
            let names = names.clone();
            async move { names.keep_fresh(Duration::from_secs(30)).await }
        });
        fake.say(&[2]);
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(ports(&names).await, [1]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(ports(&names).await, [2], "on the timer");
        fake.say(&[3]);
        names.doubt();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(ports(&names).await, [3], "soon after a failure");
        fake.say(&[]);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(ports(&names).await, [3], "the last good answer");
        keeper.abort();
    }
}
