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
    assert_eq!(watched.poll_order(&cx), Poll::Ready(Order::Rest), "idle for less than its limit");
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

/// Fails when: a connection is never told to rest, is told so again and again, or with something left over.
#[test]
fn an_idle_connection_rests_once() {
    let start = Instant::now();
    let patrol = Patrol::new(start);
    let watched = patrol.watch(IpAddr::from([127, 0, 0, 1]));
    let cx = Context::from_waker(Waker::noop());
    let mut now = start;
    let mut ordered_after = |wait: Duration| {
        now += wait;
        patrol.tick(now, &limits());
        watched.poll_order(&cx)
    };
    assert!(ordered_after(REST_AFTER / 2).is_pending(), "too early");
    assert_eq!(ordered_after(REST_AFTER), Poll::Ready(Order::Rest));
    assert!(ordered_after(REST_AFTER).is_pending(), "once");
    // A request of thirty bytes and the first ten of the next, which stay in the HTTP library's buffer.
    watched.conn.note_place(40);
    watched.conn.note_head_end(30);
    watched.conn.enter(true, Some(0));
    assert!(ordered_after(REST_AFTER).is_pending(), "a request is open");
    watched.conn.leave();
    assert!(ordered_after(REST_AFTER).is_pending(), "part of a head is left over");
    watched.conn.note_place(30);
    watched.conn.is_blocked.store(true, Relaxed);
    assert!(ordered_after(REST_AFTER).is_pending(), "the client has not taken all of its answer");
    watched.conn.is_blocked.store(false, Relaxed);
    assert_eq!(ordered_after(REST_AFTER), Poll::Ready(Order::Rest));
}
