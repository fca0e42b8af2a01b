//! Who is connected, and who must go when there is no room for one more.
//!
//! A connection that waits for its client (for a request, the rest of one, or the end of a dead
//! one) costs the client nothing, so it has no right to a place that somebody else needs: where
//! there is no room, the one that has waited longest is cut. One whose request is being answered is
//! never cut for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::app::failures::network;

/// Waits for its client.
const WAITING: u8 = 0;
/// A request of it is being answered.
const ANSWERING: u8 = 1;
/// Had to make room.
const CUT: u8 = 2;

/// Everybody who is connected to one listener.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    /// Of one address; none where addresses are not counted.
    most_of_one: Option<usize>,
    loopback_counts: bool,
    started: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    latest: u64,
    connections: HashMap<u64, Arc<Connection>>,
    by_network: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    /// None where it is not counted.
    network: Option<IpAddr>,
    state: AtomicU8,
    /// Milliseconds after the start of the table.
    waiting_since: AtomicU64,
    cut: Notify,
}

/// One connection's place in the table, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
}

/// There is no room, and everybody who is in is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// For nobody.
    Everywhere,
    /// For this address.
    OfOneAddress,
}

impl Connections {
    pub(super) fn new(most: usize, most_of_one: Option<usize>, loopback_counts: bool) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { most, most_of_one, loopback_counts, started: Instant::now(), open })
    }

    /// A place for a connection from `address`, if need be that of the one that has waited longest.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let network = self.network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(network), Some(most)) = (network, self.most_of_one)
            && open.of(network) >= most
        {
            open.cut_longest(Some(network)).ok_or(Full::OfOneAddress)?;
        }
        if open.connections.len() >= self.most {
            open.cut_longest(None).ok_or(Full::Everywhere)?;
        }
        let connection = Arc::new(Connection {
            network,
            state: AtomicU8::new(WAITING),
            waiting_since: AtomicU64::new(self.now()),
            cut: Notify::new(),
        });
        let number = open.insert(Arc::clone(&connection));
        Ok(Place { table: Arc::clone(self), number, connection })
    }

    /// Cuts the connection that has waited longest, for want of something else than places.
    pub(super) fn make_room(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).cut_longest(None);
    }

    /// What counts as one address: of IPv6, the 64 bits that one network has to itself.
    fn network(&self, address: IpAddr) -> Option<IpAddr> {
        let counts = self.most_of_one.is_some() && (self.loopback_counts || !address.is_loopback());
        counts.then(|| network(address))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Open {
    fn of(&self, network: IpAddr) -> usize {
        self.by_network.get(&network).copied().unwrap_or_default()
    }

    fn insert(&mut self, connection: Arc<Connection>) -> u64 {
        self.latest = self.latest.wrapping_add(1);
        if let Some(network) = connection.network {
            let count = self.by_network.entry(network).or_default();
            *count = count.saturating_add(1);
        }
        self.connections.insert(self.latest, connection);
        self.latest
    }

    fn remove(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        let Some(network) = connection.network else { return };
        let left = self.of(network).saturating_sub(1);
        if left == 0 {
            self.by_network.remove(&network);
        } else {
            self.by_network.insert(network, left);
        }
    }

    /// Of `network` where one is given. None where nobody waits.
    fn cut_longest(&mut self, network: Option<IpAddr>) -> Option<()> {
        loop {
            let waiting = self.connections.iter().filter(|(_, connection)| {
                connection.is_waiting() && (network.is_none() || connection.network == network)
            });
            let longest = waiting.min_by_key(|(_, connection)| connection.waiting_since());
            let (number, connection) =
                longest.map(|(number, connection)| (*number, Arc::clone(connection)))?;
            // Otherwise its request came in this moment.
            if connection.change(WAITING, CUT) {
                self.remove(number);
                connection.cut.notify_one();
                return Some(());
            }
        }
    }
}

impl Connection {
    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    fn waiting_since(&self) -> u64 {
        self.waiting_since.load(Ordering::Relaxed)
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Place {
    /// Ready once this connection has to make room for another.
    pub(super) async fn cut(&self) {
        self.connection.cut.notified().await;
    }

    /// The client has sent what was waited for. False if its place was given away just before.
    pub(super) fn answer(&self) -> bool {
        self.connection.change(WAITING, ANSWERING)
    }

    /// From here on the connection waits for its client.
    pub(super) fn wait(&self) {
        self.wait_since(self.now());
    }

    /// The same, counted from `since`: who sends a byte now and then is no newer for it.
    pub(super) fn wait_since(&self, since: u64) {
        self.connection.waiting_since.store(since, Ordering::Relaxed);
        self.connection.change(ANSWERING, WAITING);
    }

    /// In milliseconds, for [`Place::wait_since`].
    pub(super) fn now(&self) -> u64 {
        self.table.now()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open.lock().unwrap_or_else(PoisonError::into_inner).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::time::{Duration, timeout};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn is_cut(place: &Place) -> bool {
        timeout(Duration::from_millis(1), place.cut()).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_has_waited_longest_makes_room() {
        let table = Connections::new(2, None, true);
        let first = table.admit(address("10.0.0.1")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let second = table.admit(address("10.0.0.2")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let _third = table.admit(address("10.0.0.3")).unwrap();
        assert!(is_cut(&first).await && !first.answer(), "its request would come too late");
        assert!(!is_cut(&second).await && second.answer());
    }

    #[tokio::test]
    async fn who_is_being_answered_is_never_cut() {
        let table = Connections::new(1, None, true);
        let busy = table.admit(address("10.0.0.1")).unwrap();
        assert!(busy.answer());
        assert_eq!(table.admit(address("10.0.0.2")).unwrap_err(), Full::Everywhere);
        table.make_room();
        assert!(!is_cut(&busy).await);
        busy.wait();
        assert!(table.admit(address("10.0.0.2")).is_ok());
        assert!(is_cut(&busy).await);
    }

    #[tokio::test]
    async fn one_address_takes_places_from_itself_only() {
        let table = Connections::new(10, Some(2), true);
        let other = table.admit(address("10.0.0.9")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let (first, second) =
            (table.admit(address("10.0.0.1")).unwrap(), table.admit(address("10.0.0.1")).unwrap());
        assert!(first.answer() && second.answer());
        assert_eq!(table.admit(address("10.0.0.1")).unwrap_err(), Full::OfOneAddress);
        drop(first);
        assert!(table.admit(address("10.0.0.1")).is_ok());
        assert!(!is_cut(&other).await);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let table = Connections::new(10, Some(1), true);
        let held = table.admit(address("2001:db8::1")).unwrap();
        assert!(held.answer());
        assert!(table.admit(address("2001:db8::ffff:2")).is_err());
        assert!(table.admit(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn loopback_counts_only_where_it_is_asked_for() {
        for (counts, most) in [(false, 5), (true, 1)] {
            let table = Connections::new(5, Some(1), counts);
            let places: Vec<_> =
                (0..6).filter_map(|_| table.admit(address("127.0.0.1")).ok().filter(Place::answer)).collect();
            assert_eq!(places.len(), most, "{counts}");
        }
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let table = Connections::new(2, Some(1), true);
        for number in 0..100 {
            drop(table.admit(address(&format!("10.0.0.{number}"))).unwrap());
        }
        let open = table.open.lock().unwrap();
        assert!(open.connections.is_empty() && open.by_network.is_empty());
    }
}
