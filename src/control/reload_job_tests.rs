use std::{
    fs,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    api::{Event, Problem, ProblemKind, ReloadReply, SwitchRequest},
    control::{
        overview::ServiceView,
        reload::tests::{Control, GOOD, announced},
    },
    ids::Slot,
};

const HELD: &str = "{\"name\": \"held\", \"request\": {\"path\": \"/held\"}, \"expect\": {}}\n";
const WATCH: &str = "file watch";

/// A server that answers `/held` only when it is let, and everything else at once.
struct Server {
    url: String,
    /// Requests for `/held` so far.
    held: watch::Receiver<usize>,
    /// Closed: they are answered.
    places: Arc<Semaphore>,
    is_wrong: Arc<AtomicBool>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, places) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(Semaphore::new(0)));
        let ((count, held), is_wrong) = (watch::channel(0), Arc::new(AtomicBool::new(false)));
        let (wait, wrong) = (places.clone(), is_wrong.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, count.clone(), wait.clone(), wrong.clone()));
            }
        });
        Self { url, held, places, is_wrong }
    }

    async fn until_held(&self, requests: usize) {
        within(self.held.clone().wait_for(|held| *held >= requests)).await.unwrap();
    }

    /// Whatever is held, and whatever else comes, is answered.
    fn let_go(&self) {
        self.places.close();
    }
}

async fn answer(mut stream: TcpStream, held: watch::Sender<usize>, places: Arc<Semaphore>, is_wrong: Arc<AtomicBool>) {
    let mut status = "200 OK";
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    if head.starts_with(b"GET /held") {
        held.send_modify(|held| *held += 1);
        assert!(places.acquire().await.is_err(), "it is only ever closed");
        status = if is_wrong.load(SeqCst) { "500 Wrong" } else { status };
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // The gate may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it takes far too long")
}

/// A config file with one service whose green slot is this server.
fn file(green: &Server, active: Slot, more: &str) -> String {
    let blue = GOOD.replace("\"iris\"", &format!("\"iris\"\nactive = \"{active}\""));
    format!("{blue}[service.green]\nendpoints = [\"{}\"]\n{GATE}{more}", green.url)
}

const GATE: &str = "[service.gate]\ngolden = \"golden.jsonl\"\nwarm_up = \"0s\"\n";

/// A controller, and a file that waits for its gate: it moves traffic to green, whose golden request is held.
struct Waiting {
    control: Control,
    green: Server,
    first: Reload,
}

type Reload = JoinHandle<Result<ReloadReply, Problem>>;

impl Waiting {
    async fn start() -> Self {
        let (mut control, green) = (Control::start().await, Server::start().await);
        control.drop_orders();
        golden(&control, HELD);
        control.write(&file(&green, Slot::Green, ""));
        let first = reload(&control, "first");
        green.until_held(1).await;
        Self { control, green, first }
    }
}

fn golden(control: &Control, text: &str) {
    fs::write(control.path().with_file_name("golden.jsonl"), text).unwrap();
}

fn reload(control: &Control, actor: &str) -> Reload {
    let (handle, actor) = (control.handle.clone(), actor.to_owned());
    tokio::spawn(async move { handle.reload(actor).await })
}

/// What was sent to the controller before has been received.
async fn received(control: &Control) {
    let unknown = control.handle.switch("none", SwitchRequest::default(), "test".to_owned()).await;
    assert_eq!(unknown.unwrap_err().error, ProblemKind::NotFound);
}

fn what(view: &ServiceView) -> Option<String> {
    view.preparing.as_ref().map(|preparing| preparing.what.clone())
}

async fn until_view(control: &Control, service: &str, fits: impl Fn(&ServiceView) -> bool) {
    let mut overview = control.handle.inner.overview.clone();
    let name = service.parse().unwrap();
    within(overview.wait_for(|overview| overview.services.get(&name).is_some_and(|shown| fits(&shown.view()))))
        .await
        .unwrap();
}

/// Fails when: in `receive`, what a reload is to read anew is noted where the one under way overwrites it; in
/// `reload_gated`, the next one is not taken up.
#[tokio::test]
async fn a_named_file_that_changes_while_another_reload_waits_is_read_after_it() {
    let Waiting { control, green, first } = Waiting::start().await;
    let mut events = control.handle.events();
    let second = HELD.replace("\"held\"", "\"other\"");
    golden(&control, &format!("{HELD}{second}"));
    control.handle.named_file_changed(WATCH.to_owned()).await;
    received(&control).await;
    assert_eq!(announced(&mut events), [false; 0], "it waits for the one under way");
    green.let_go();
    within(first).await.unwrap().unwrap();
    let mut reloads = 0;
    while reloads < 2 {
        if let Event::Reload { ok, .. } = within(events.recv()).await.unwrap() {
            assert!(ok);
            reloads += 1;
        }
    }
    let request = SwitchRequest { to: Some(Slot::Blue), ..SwitchRequest::default() };
    let plan = control.handle.dry_run("iris", request).await.unwrap();
    assert!(plan.steps.iter().any(|step| step.what.starts_with("2 golden requests")), "{:?}", plan.steps);
}

/// Fails when: one that waits is dropped when another comes, when the one before it is applied, refused or given up.
#[tokio::test]
async fn each_reload_that_waits_is_answered() {
    for ending in ["applied", "refused", "given up"] {
        let Waiting { control, green, first } = Waiting::start().await;
        green.is_wrong.store(ending == "refused", SeqCst);
        let (second, third) = (reload(&control, "second"), reload(&control, "signal SIGHUP"));
        // Both tasks run before this one goes on, and each sends without waiting for room.
        tokio::task::yield_now().await;
        received(&control).await;
        assert!(!first.is_finished() && !second.is_finished() && !third.is_finished(), "{ending}");
        if ending == "given up" {
            control.write(GOOD);
            control.watched().await;
        }
        green.let_go();
        let answers = [first, second, third].map(within);
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(answer.await.unwrap().map_err(|problem| problem.error).err());
        }
        let expected = match ending {
            "applied" => [None, None, None],
            "refused" => [const { Some(ProblemKind::Invalid) }; 3],
            _ => [Some(ProblemKind::Cancelled), None, None],
        };
        assert_eq!(outcomes, expected, "{ending}");
    }
}

/// P4. Fails when: in `reload_gated`, a gate that has passed is forgotten before the file is applied.
#[tokio::test]
async fn a_service_is_in_preparation_until_the_file_is_applied() {
    let (mut control, held, quick) = (Control::start().await, Server::start().await, Server::start().await);
    control.drop_orders();
    quick.let_go();
    golden(&control, HELD);
    let second = file(&held, Slot::Green, "").replace("version = 1\n", "");
    let second = second.replace("\"iris\"", "\"rose\"\nmatch = { path_prefix = \"/rose\" }");
    let both = |active| file(&quick, active, &second.replace("active = \"green\"", &format!("active = \"{active}\"")));
    control.write(&both(Slot::Blue));
    assert!(control.asked().await);
    assert_eq!((what(&control.view("iris")), control.view("iris").drain(Slot::Green).safe_to_delete), (None, true));

    control.write(&both(Slot::Green));
    let reload = reload(&control, "test");
    held.until_held(1).await;
    until_view(&control, "iris", |view| view.status(Instant::now()).slots.green.tested.is_some()).await;
    let iris = control.view("iris");
    assert_eq!(what(&iris).as_deref(), Some("switch to green by the config file"), "rose's gate still runs");
    let drain = iris.drain(Slot::Green);
    assert!(!drain.safe_to_delete && drain.why.contains("a change is under way"), "{drain:?}");
    assert!(!iris.drain(Slot::Blue).serves_on, "{:?}", iris.drain(Slot::Blue));
    held.let_go();
    within(reload).await.unwrap().unwrap();
    assert_eq!((control.view("iris").active, what(&control.view("iris"))), (Slot::Green, None));
}

/// Fails when: `give_up_outdated` does not show that what was under way has ended.
#[tokio::test]
async fn a_file_that_is_taken_back_is_under_way_no_more() {
    let Waiting { control, green: _green, first } = Waiting::start().await;
    assert_eq!(what(&control.view("iris")).as_deref(), Some("switch to green by the config file"));
    control.write(GOOD);
    // The watch finds what is in force already: nothing else is shown for it.
    control.watched().await;
    assert_eq!(what(&control.view("iris")), None);
    assert_eq!(within(first).await.unwrap().unwrap_err().error, ProblemKind::Cancelled);
}

/// Fails when: in `ask`, the older change is told that it was superseded though the newer one was refused.
#[tokio::test]
async fn what_a_refused_request_would_have_superseded_ends_with_its_own_reason() {
    let (mut control, green) = (Control::start().await, Server::start().await);
    control.drop_orders();
    golden(&control, HELD);
    control.write(&file(&green, Slot::Blue, ""));
    assert!(control.asked().await);
    let request = || SwitchRequest { to: Some(Slot::Green), ..SwitchRequest::default() };
    let handle = control.handle.clone();
    let first = tokio::spawn(async move { handle.switch("iris", request(), "alice".to_owned()).await });
    green.until_held(1).await;
    let late = SwitchRequest { supersede: true, if_generation: Some(99), ..request() };
    let refused = control.handle.switch("iris", late, "bob".to_owned()).await.unwrap_err();
    assert_eq!(refused.error, ProblemKind::GenerationDiffers);
    control.write(GOOD);
    assert!(control.asked().await);
    let ended = within(first).await.unwrap().unwrap_err();
    let said = serde_json::to_string(&ended).unwrap();
    assert!(said.contains("given up: the config file changed the service meanwhile"), "{said}");
    assert!(!said.contains("superseded"), "{said}");
}
