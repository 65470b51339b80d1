use super::*;

const HEADER: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits {
        header_timeout: HEADER,
        idle_timeout: Duration::from_secs(75),
        body_timeout: None,
        send_timeout: Some(Duration::from_secs(600)),
        header_bytes_max: 0,
        headers_max: 0,
        streams_max: 0,
        resets_max: 0,
        connections_max: 0,
        replay_buffer_total: 0,
    }
}

#[test]
fn each_state_has_its_own_limit() {
    let start = Instant::now();
    let patrol = Patrol::new(start);
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    let cx = Context::from_waker(Waker::noop());
    let at = |seconds| patrol.tick(start + Duration::from_secs(seconds), &limits());
    at(74);
    assert!(watched.poll_order(&cx).is_pending(), "idle for less than its limit");
    watched.conn.note_read();
    at(83);
    assert!(watched.poll_order(&cx).is_pending(), "a head may take ten seconds");
    watched.conn.enter(true, None);
    at(1000);
    assert!(watched.poll_order(&cx).is_pending(), "a request may take as long as it likes");
    watched.conn.leave();
    at(1075);
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Expire));
}

#[test]
fn resets_are_counted_over_ten_seconds() {
    let start = Instant::now();
    let patrol = Patrol::new(start);
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    watched.conn.set_http2(2);
    let at = |seconds| patrol.tick(start + Duration::from_secs(seconds), &limits());
    assert!(!watched.conn.note_reset() && !watched.conn.note_reset(), "as many as may be");
    at(10);
    assert!(!watched.conn.note_reset() && !watched.conn.note_reset(), "ten seconds later they are forgotten");
    assert!(watched.conn.note_reset(), "one too many");
    assert!(!watched.conn.note_reset(), "once");
    patrol.expel(&watched.conn);
    assert_eq!(watched.poll_order(&Context::from_waker(Waker::noop())), Poll::Ready(Order::Sever));
}

#[test]
fn a_half_sent_head_expires() {
    let start = Instant::now();
    let patrol = Patrol::new(start);
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    let cx = Context::from_waker(Waker::noop());
    watched.conn.note_read();
    watched.conn.note_read();
    patrol.tick(start + HEADER, &limits());
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Expire));
}

#[test]
fn a_client_that_takes_nothing_is_let_go_but_not_before_a_try() {
    let start = Instant::now();
    let patrol = Patrol::new(start);
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    let cx = Context::from_waker(Waker::noop());
    let at = |seconds| patrol.tick(start + Duration::from_secs(seconds), &limits());
    watched.conn.enter(true, None);
    watched.conn.note_write(true);
    at(299);
    assert!(watched.poll_order(&cx).is_pending() && !watched.conn.takes_a_try());
    at(300);
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Look));
    assert!(watched.conn.takes_a_try() && !watched.conn.takes_a_try());
    watched.conn.note_write(false);
    watched.conn.note_write(true);
    at(899);
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Look), "what it took gives it the whole time again");
    assert!(!watched.conn.has_stalled());
    at(900);
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Sever));
    assert!(watched.conn.has_stalled());
}

/// Fails when: a task that asks again, or another one, is not woken by the next order.
#[test]
fn an_order_wakes_who_asked_last() {
    let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let (one, other) = (Waker::from(first.clone()), Waker::from(second.clone()));
    let patrol = Patrol::new(Instant::now());
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    for waker in [&one, &one, &other, &other] {
        assert!(watched.poll_order(&Context::from_waker(waker)).is_pending());
    }
    patrol.announce();
    assert_eq!((first.times(), second.times()), (0, 1));
    assert_eq!(watched.poll_order(&Context::from_waker(&other)), Poll::Ready(Order::Announce));
    assert!(watched.poll_order(&Context::from_waker(&other)).is_pending());
    patrol.finish();
    assert_eq!((first.times(), second.times()), (0, 2));
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Woken {
    fn times(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn who_comes_after_shutdown_began_is_told_too() {
    let patrol = Patrol::new(Instant::now());
    patrol.announce();
    patrol.finish();
    let late = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    let cx = Context::from_waker(Waker::noop());
    assert!(late.conn.is_closing());
    assert_eq!(late.poll_order(&cx), Poll::Ready(Order::Finish));
}
