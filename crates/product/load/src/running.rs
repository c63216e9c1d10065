use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::client::{Client, Failed};
use crate::pacing::Pacer;
use crate::report::{LoadReport, Seen};
use crate::{Endpoint, LoadError, LoadRequests};

/// A client whose request failed waits so long before the next, so that a refusing server is not the only thing measured.
const AFTER_FAILURE: Duration = Duration::from_millis(1);
/// From when all clients are connected until the first request is due: until then each has heard of it.
const ASSEMBLY: Duration = Duration::from_millis(5);

/// How an endpoint is loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPlan {
    /// Clients that send at once, one request each.
    pub concurrency: usize,
    /// For how long it is loaded before it is measured, in the same way.
    pub warm_up: Duration,
    /// For how long it is measured.
    pub seconds: Duration,
    /// Requests a second that are due; none sends as fast as answers come.
    pub rate: Option<f64>,
}

/// What the clients share.
struct Shared {
    endpoint: Endpoint,
    requests: LoadRequests,
    plan: LoadPlan,
    /// The next request.
    next: AtomicU64,
}

/// When the first request is due; none until all are connected.
type Begun = watch::Receiver<Option<Instant>>;

/// What tells the clients of one thread apart from others.
struct Crew {
    shared: Arc<Shared>,
    clients: usize,
    connected: mpsc::Sender<()>,
    begun: Begun,
    stop: watch::Receiver<bool>,
}

/// Loads an endpoint until the time is over, or `stop` becomes true.
///
/// # Errors
/// This machine has no room for as many threads.
pub async fn load(
    endpoint: &Endpoint,
    requests: &LoadRequests,
    plan: LoadPlan,
    stop: watch::Receiver<bool>,
) -> Result<LoadReport, LoadError> {
    let (endpoint, requests) = (endpoint.clone(), requests.clone());
    let shared = Arc::new(Shared { endpoint, requests, plan, next: AtomicU64::new(0) });
    let clients = plan.concurrency.max(1);
    let (connected, mut connections) = mpsc::channel(clients);
    let (begin, begun) = watch::channel(None);
    let (told, mut seen) = mpsc::channel(clients);
    for clients in crews(plan) {
        let (shared, connected, stop) = (Arc::clone(&shared), connected.clone(), stop.clone());
        let crew = Crew { shared, clients, connected, begun: begun.clone(), stop };
        let told = told.clone();
        let thread = thread::Builder::new().name("load".to_owned());
        // Those that are there already end when nobody is left who could let them begin.
        let thread = thread.spawn(move || {
            // Who asked waits for as many as there are.
            let _ = told.try_send(crew.work());
        });
        thread.map_err(|error| LoadError::Threads { clients: plan.concurrency, reason: error.to_string() })?;
    }
    drop((connected, told));
    // Ends when each client has a connection or none.
    while connections.recv().await.is_some() {}
    let first = Instant::now() + ASSEMBLY;
    let _ = begin.send(Some(first));
    let mut all = Seen::new();
    while let Some(seen) = seen.recv().await {
        all.join(seen);
    }
    let interrupted = *stop.borrow();
    Ok(report(&shared, first, &all, interrupted))
}

/// How many clients each thread has: there is a thread for each core.
fn crews(plan: LoadPlan) -> Vec<usize> {
    let clients = plan.concurrency.max(1);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = clients.min(cores);
    (0..threads).map(|place| clients / threads + usize::from(place < clients % threads)).collect()
}

impl Crew {
    fn work(self) -> Seen {
        let mut all = Seen::new();
        match Builder::new_current_thread().enable_all().build() {
            Err(error) => all.failed(Failed::new("client", error.to_string())),
            Ok(runtime) => runtime.block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..self.clients {
                    let (shared, connected) = (Arc::clone(&self.shared), self.connected.clone());
                    clients.spawn(client(shared, connected, self.begun.clone(), self.stop.clone()));
                }
                drop(self.connected);
                while let Some(seen) = clients.join_next().await {
                    match seen {
                        Ok(seen) => all.join(seen),
                        Err(error) => all.failed(Failed::new("client", error.to_string())),
                    }
                }
            }),
        }
        all
    }
}

async fn client(
    shared: Arc<Shared>,
    connected: mpsc::Sender<()>,
    mut begun: Begun,
    mut stop: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen::new();
    let work = async {
        let client = shared.endpoint.client().await;
        drop(connected);
        // Nobody lets it begin: then there is nobody to tell.
        let Ok(Some(first)) = begun.wait_for(Option::is_some).await.map(|first| *first) else { return };
        match client {
            Ok(client) => asks(&shared, client, first, &mut seen).await,
            Err(failed) => seen.failed(failed),
        }
    };
    tokio::select! {
        () = work => {}
        // Whoever could stop it is gone: then nobody does.
        () = async { if stop.wait_for(|stop| *stop).await.is_err() { std::future::pending::<()>().await } } => {}
    }
    seen
}

async fn asks(shared: &Shared, mut client: Client, first: Instant, seen: &mut Seen) {
    let (counted, has_rate) = (first + shared.plan.warm_up, shared.plan.rate.is_some());
    let (pacer, mut free) = (if has_rate { Pacer::precise() } else { Pacer::default() }, first);
    while let Some((number, due)) = shared.next(first) {
        let Some(request) = shared.requests.at(number) else { return };
        pacer.until(due).await;
        let sent = Instant::now();
        let result = client.send(&request.body).await;
        let is_counted = (if has_rate { due } else { sent }) >= counted;
        match result {
            Ok(()) if is_counted => {
                let answered = Instant::now();
                seen.rows += request.rows as u64;
                if has_rate {
                    seen.latency.add(answered - due);
                    seen.from_send.add(answered - sent);
                    seen.lateness.add(sent.saturating_duration_since(due.max(free)));
                } else {
                    seen.latency.add(answered - sent);
                }
            }
            Ok(()) => {}
            Err(failed) => {
                if is_counted {
                    seen.failed(failed);
                }
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
        free = Instant::now();
    }
}

impl Shared {
    /// The next request and when it is to be sent; none after the end.
    fn next(&self, first: Instant) -> Option<(u64, Instant)> {
        let end = first + self.plan.warm_up + self.plan.seconds;
        let now = Instant::now();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.plan.rate.map_or(first.max(now), |rate| first + Duration::from_secs_f64(number as f64 / rate));
        if now >= end || due >= end { None } else { Some((number, due)) }
    }
}

/// Requests that are due from after the warm-up until the end.
fn due(plan: LoadPlan) -> u64 {
    let until = |time: Duration| plan.rate.map_or(0.0, |rate| (rate * time.as_secs_f64()).ceil()) as u64;
    until(plan.warm_up + plan.seconds) - until(plan.warm_up)
}

fn report(shared: &Shared, first: Instant, seen: &Seen, interrupted: bool) -> LoadReport {
    let plan = shared.plan;
    let seconds = Instant::now().saturating_duration_since(first + plan.warm_up).as_secs_f64();
    let answered = seen.latency.count();
    let each = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let unsent = if interrupted { 0 } else { due(plan).saturating_sub(answered + seen.failures()) };
    LoadReport {
        concurrency: plan.concurrency,
        rate: plan.rate,
        requests: shared.requests.count(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        seconds,
        answered,
        per_second: each(answered),
        rows_per_second: each(seen.rows),
        latency_ms: seen.latency.latency(),
        from_send_ms: plan.rate.map(|_| seen.from_send.latency()),
        lateness_ms: plan.rate.map(|_| seen.lateness.latency()),
        errors: seen.errors.clone(),
        said: seen.said.clone(),
        unsent,
        interrupted,
    }
}

#[cfg(test)]
mod tests;
