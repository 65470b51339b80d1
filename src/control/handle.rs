//! The handle: how admin asks for changes and sees what is. Cloning shares it.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{
    message::{AskMessage, Message},
    overview::{Overview, ServiceView, Shown},
    recording::Recordings,
    refusal,
    trial::Gallery,
};
use crate::{
    api::{
        ChangeOutcome, ChangeReply, DrainRequest, DrainStatus, EndpointSpec, Event, History, Problem, ProblemKind,
        ProxyStatus, ReloadReply, RollbackRequest, ServiceList, ServiceStatus, SlotUpdate, SwitchRequest, WaitFor,
    },
    config::{EndpointSettings, Marks, SlotSettings, parse_duration},
    ids::{Generation, Slot},
    net::tls::TlsListeners,
    shadow::Taps,
    store::Store,
    switch::Ask,
    upstream::Workers,
};

/// How long `wait` waits if the caller does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(600);

/// The control plane's door.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) overview: watch::Receiver<Arc<Overview>>,
    pub(super) gallery: Gallery,
    pub(super) workers: Workers,
    pub(super) store: Arc<Store>,
    pub(super) tls: TlsListeners,
    pub(super) config_path: PathBuf,
    pub(super) started: Instant,
    pub(super) stopping: AtomicBool,
    pub(super) taps: Taps,
    pub(super) recordings: Recordings,
}

/// What a caller wants to wait for.
struct Wait {
    /// Not even for the gate.
    background: bool,
    /// For the drain.
    limit: Option<Duration>,
}

impl Wait {
    fn new(wait: Option<WaitFor>, timeout: Option<&str>) -> Result<Self, Problem> {
        let timeout = timeout.map(|text| duration(text, "timeout")).transpose()?;
        let limit = wait.filter(|wait| *wait == WaitFor::Drained).map(|_| timeout.unwrap_or(WAIT_DEFAULT));
        Ok(Self { background: wait == Some(WaitFor::None), limit })
    }
}

impl Handle {
    fn overview(&self) -> Arc<Overview> {
        self.inner.overview.borrow().clone()
    }

    pub(super) fn view(&self, name: &str) -> Result<Arc<ServiceView>, Problem> {
        let overview = self.overview();
        let found = name.parse().ok().and_then(|name| overview.services.get(&name).map(Shown::view));
        found.ok_or_else(|| refusal::unknown_service(name, overview.services.keys()))
    }

    /// Everything that is.
    pub async fn list(&self) -> ServiceList {
        let overview = self.overview();
        let mut services = Vec::with_capacity(overview.services.len());
        for shown in overview.services.values() {
            services.push(self.status_of(&shown.view()).await);
        }
        let proxy = ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: self.inner.started.elapsed().as_millis() as u64,
            config: self.inner.config_path.display().to_string(),
            reload: overview.reload.clone(),
            certificate_problems: self.inner.tls.troubles(),
        };
        ServiceList { proxy, services }
    }

    /// One service.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn service(&self, name: &str) -> Result<ServiceStatus, Problem> {
        let view = self.view(name)?;
        Ok(self.status_of(&view).await)
    }

    async fn status_of(&self, view: &ServiceView) -> ServiceStatus {
        let mut status = view.status(Instant::now());
        for slot in Slot::BOTH {
            status.slots[slot].drain.oldest_ms = self.oldest_ms(view, slot).await;
        }
        status
    }

    pub(super) async fn oldest_ms(&self, view: &ServiceView, slot: Slot) -> Option<u64> {
        let held: Vec<_> =
            view.slots[slot].tenures.iter().filter(|tenure| tenure.in_flight().total > 0).cloned().collect();
        if held.is_empty() {
            return None;
        }
        let ages = self.inner.workers.oldest(held).await;
        ages.into_iter().flatten().max().map(|age| age.as_millis() as u64)
    }

    /// Moves traffic, after the gate; waits for the drain if asked to. `dry_run` is not looked at here.
    ///
    /// Cancelling the future gives up the answer, not the change.
    ///
    /// # Errors
    /// Nothing changed; the problem says why.
    pub async fn switch(&self, name: &str, request: SwitchRequest, actor: String) -> Result<ChangeReply, Problem> {
        self.change(name, Ask::Switch { to: request.to }, None, request, actor).await
    }

    /// Moves traffic back to the slot that served before.
    ///
    /// # Errors
    /// Nothing changed; the problem says why.
    pub async fn rollback(&self, name: &str, request: RollbackRequest, actor: String) -> Result<ChangeReply, Problem> {
        let RollbackRequest { if_generation, force, supersede, reason, wait, timeout } = request;
        let terms = SwitchRequest { if_generation, force, supersede, reason, wait, timeout, ..Default::default() };
        self.change(name, Ask::Rollback, None, terms, actor).await
    }

    /// Puts other endpoints, and another version, into a slot.
    ///
    /// # Errors
    /// Nothing changed; the problem says why.
    pub async fn replace_slot(
        &self,
        name: &str,
        slot: Slot,
        update: SlotUpdate,
        actor: String,
    ) -> Result<ChangeReply, Problem> {
        let contents = contents(&update)?;
        let ask = Ask::Replace { slot, empty: contents.endpoints.is_empty() };
        let SlotUpdate { endpoints: _, version: _, if_generation, force, supersede, reason } = update;
        let terms = SwitchRequest { if_generation, force, supersede, reason, ..Default::default() };
        self.change(name, ask, Some(contents), terms, actor).await
    }

    /// Asks for a change on terms that are the same for all; `to` and `dry_run` are not looked at here.
    async fn change(
        &self,
        name: &str,
        ask: Ask,
        contents: Option<SlotSettings>,
        terms: SwitchRequest,
        actor: String,
    ) -> Result<ChangeReply, Problem> {
        let SwitchRequest { to: _, if_generation, force, dry_run: _, supersede, reason, wait, timeout } = terms;
        let Wait { background, limit } = Wait::new(wait, timeout.as_deref())?;
        needs_reason(force, reason.as_deref())?;
        let (reply, answer) = oneshot::channel();
        let (service, if_generation) = (name.to_owned(), if_generation.map(Generation));
        let message =
            AskMessage { service, ask, contents, if_generation, force, supersede, background, reason, actor, reply };
        self.send(Message::Ask(Box::new(message))).await?;
        let reply = answer.await.unwrap_or_else(|_gone| Err(refusal::shutting_down()))?;
        self.after_change(name, reply, limit).await
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), Problem> {
        self.inner.inbox.send(message).await.map_err(|_gone| refusal::shutting_down())
    }

    async fn after_change(
        &self,
        name: &str,
        mut reply: ChangeReply,
        wait: Option<Duration>,
    ) -> Result<ChangeReply, Problem> {
        if reply.outcome == ChangeOutcome::UnderWay {
            return Ok(reply);
        }
        let left = reply.active.other();
        if let Some(limit) = wait {
            let drain = self.drain_status(name, left, Some(limit)).await?;
            reply.message = if drain.safe_to_delete {
                format!("{}; {left} is drained and safe to delete", reply.message)
            } else {
                format!("{}; {left} is not drained yet: {}", reply.message, drain.why)
            };
            reply.drain = Some(drain);
        } else if reply.outcome == ChangeOutcome::Switched {
            reply.drain = Some(self.drain_status(name, left, None).await?);
        }
        Ok(reply)
    }

    /// How a slot's drain stands; with `wait`, when it is safe to delete or the time is over.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn drain_status(&self, name: &str, slot: Slot, wait: Option<Duration>) -> Result<DrainStatus, Problem> {
        if let Some(limit) = wait {
            // Running out of time is not an error: the status says that the slot is not drained.
            let _ = tokio::time::timeout(limit, self.drained(name, slot)).await;
        }
        let view = self.view(name)?;
        let mut drain = view.drain(slot);
        drain.oldest_ms = self.oldest_ms(&view, slot).await;
        Ok(drain)
    }

    /// Returns when the slot is safe to delete, or the service is gone.
    async fn drained(&self, name: &str, slot: Slot) {
        let mut overview = self.inner.overview.clone();
        loop {
            // Marked first: what changes while the view is read is not to be missed.
            overview.mark_unchanged();
            let Ok(view) = self.view(name) else { return };
            // What takes previews drains only when it is emptied; to wait for that leads nowhere.
            let only_previews = view.takes_previews(slot) && !view.slots[slot].is_draining();
            if view.drain(slot).safe_to_delete || only_previews {
                return;
            }
            let pending: Vec<_> =
                view.slots[slot].tenures.iter().filter(|tenure| !tenure.is_drained()).cloned().collect();
            let serves = view.active == slot;
            let all_drained = async {
                for tenure in &pending {
                    tenure.drained().await;
                }
                if serves || pending.is_empty() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = all_drained => {}
                changed = overview.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Cuts what still runs on a slot after a while; without `cut_after`, only says how the drain stands.
    ///
    /// # Errors
    /// `not_found`; `refused` for the active slot and for one that takes previews; `invalid` for a bad duration.
    pub async fn begin_drain(
        &self,
        name: &str,
        slot: Slot,
        request: DrainRequest,
        actor: String,
    ) -> Result<DrainStatus, Problem> {
        let view = self.view(name)?;
        if view.active == slot {
            let message = format!("slot {slot} of service {name} is active; what runs there is not to be drained");
            let hint = format!("switch to {} first", slot.other());
            return Err(Problem::new(ProblemKind::Refused, message).hint(hint));
        }
        if request.cut_after.is_some() && view.takes_previews(slot) && !view.slots[slot].is_draining() {
            let message = format!("slot {slot} of service {name} stands by and takes previews; it does not drain");
            return Err(Problem::new(ProblemKind::Refused, message).hint("empty the slot first"));
        }
        if let Some(text) = &request.cut_after {
            let limit = duration(text, "cut_after")?;
            if limit.is_zero() || !self.drain_status(name, slot, Some(limit)).await?.safe_to_delete {
                let tenures: Vec<_> =
                    view.slots[slot].tenures.iter().filter(|tenure| tenure.is_retired()).cloned().collect();
                let service = view.settings.name.clone();
                self.send(Message::Cut { service, slot, tenures, actor }).await?;
                // What was cut gives its leases back within moments, when its tasks have run.
                return self.drain_status(name, slot, Some(Duration::from_secs(1))).await;
            }
        }
        self.drain_status(name, slot, None).await
    }

    /// The journal's entries about a service, newest first. Removed services are found too.
    ///
    /// # Errors
    /// `not_found`; `internal` if the journal cannot be read.
    pub async fn history(&self, name: &str, limit: usize) -> Result<History, Problem> {
        let unknown = || refusal::unknown_service(name, self.overview().services.keys());
        let service = name.parse().map_err(|_bad| unknown())?;
        let (store, wanted) = (self.inner.store.clone(), service);
        let read = tokio::task::spawn_blocking(move || store.history(&wanted, limit)).await;
        let entries = match read {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => return Err(Problem::new(ProblemKind::Internal, error.to_string())),
            Err(_ended) => return Err(refusal::shutting_down()),
        };
        if entries.is_empty() && self.view(name).is_err() {
            return Err(unknown());
        }
        Ok(History { entries })
    }

    /// Events from here on. A receiver that is too slow misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.gallery.events.subscribe()
    }

    /// Reads the config file and does what it says.
    ///
    /// # Errors
    /// The file is refused; nothing changed.
    pub async fn reload(&self, actor: String) -> Result<ReloadReply, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Reload { actor, named_file: false, reply: Some(reply) }).await?;
        answer.await.unwrap_or_else(|_gone| Err(refusal::shutting_down()))
    }

    /// The file's content has changed: read it, but nobody waits for the answer.
    pub async fn file_changed(&self, actor: String) {
        // A controller that has ended reads no files.
        let _ = self.send(Message::Reload { actor, named_file: false, reply: None }).await;
    }

    /// The same for a file that the config file names.
    pub async fn named_file_changed(&self, actor: String) {
        let _ = self.send(Message::Reload { actor, named_file: true, reply: None }).await;
    }

    /// The files that the gates in force name, as they stood when they were read.
    pub fn golden_files(&self) -> Arc<Marks> {
        self.overview().golden_files.clone()
    }

    /// Why `/ready` is 503, if it is.
    ///
    /// # Errors
    /// The reason.
    pub fn readiness(&self) -> Result<(), String> {
        if self.inner.stopping.load(Relaxed) {
            return Err("shutting down".to_owned());
        }
        if self.inner.inbox.is_closed() {
            return Err("the control plane ended unexpectedly; see the log, and restart".to_owned());
        }
        match (self.inner.workers.ended(), self.inner.workers.len()) {
            (0, _) => Ok(()),
            (ended, all) => Err(format!("{ended} of {all} workers ended unexpectedly; see the log, and restart")),
        }
    }

    /// From here on `/ready` is 503.
    pub fn announce_shutdown(&self) {
        self.inner.stopping.store(true, Relaxed);
    }

    /// Ends the controller when all changes that were asked for are done.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.send(Message::Stop { reply }).await.is_ok() {
            // An error only says that the controller has ended already.
            let _ = done.await;
        }
    }
}

/// # Errors
/// Something is to be overruled without a word why.
pub(super) fn needs_reason(force: bool, reason: Option<&str>) -> Result<(), Problem> {
    let blank = reason.is_none_or(|reason| reason.trim().is_empty());
    if force && blank { Err(refusal::reason_missing()) } else { Ok(()) }
}

pub(super) fn duration(text: &str, key: &str) -> Result<Duration, Problem> {
    parse_duration(text)
        .map_err(|error| Problem::new(ProblemKind::Invalid, format!("{key}: {error}")).hint(error.hint()))
}

/// A slot's contents, as an update names them.
fn contents(update: &SlotUpdate) -> Result<SlotSettings, Problem> {
    let mut endpoints = Vec::with_capacity(update.endpoints.len());
    let mut seen = HashSet::with_capacity(update.endpoints.len());
    for (index, spec) in update.endpoints.iter().enumerate() {
        let parsed = match spec {
            EndpointSpec::Url(url) => EndpointSettings::from_url(url),
            EndpointSpec::Pair { http, grpc } => EndpointSettings::parse(http.as_deref(), grpc.as_deref()),
        };
        let endpoint = parsed.map_err(|error| {
            Problem::new(ProblemKind::Invalid, format!("endpoints[{index}]: {error}")).hint(error.hint())
        })?;
        if !seen.insert(endpoint.clone()) {
            return Err(Problem::new(
                ProblemKind::Invalid,
                format!("endpoints[{index}]: {endpoint} stands there twice"),
            ));
        }
        endpoints.push(endpoint);
    }
    if let Some(version) = &update.version
        && (version.is_empty() || version.len() > 128 || !version.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
    {
        let message = "version: 1 to 128 printable ASCII characters, because it stands in a header field";
        return Err(Problem::new(ProblemKind::Invalid, message));
    }
    Ok(SlotSettings { endpoints, version: update.version.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(urls: &[&str]) -> SlotUpdate {
        let endpoints = urls.iter().map(|url| EndpointSpec::Url((*url).to_owned())).collect();
        SlotUpdate { endpoints, version: None, if_generation: None, force: false, supersede: false, reason: None }
    }

    /// Fails when: `contents` overlooks one of the two, mixes up their order, or tells of the wrong place.
    #[test]
    fn an_endpoint_stands_in_a_slot_once() {
        let good = ["http://127.0.0.1:2", "http://127.0.0.1:1", "h2c://127.0.0.1:1"];
        let endpoints = contents(&update(&good)).unwrap().endpoints;
        assert_eq!(endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), good, "in the order given");
        for (urls, words) in [
            (
                &["http://a:1", "http://b:1", "http://A:1/", "ftp://c"][..],
                "endpoints[2]: http://a:1 stands there twice",
            ),
            (&["http://a:1", "ftp://c", "http://a:1"], "endpoints[1]: "),
        ] {
            let problem = contents(&update(urls)).unwrap_err();
            assert!(problem.error == ProblemKind::Invalid && problem.message.starts_with(words), "{problem}");
        }
    }
}
