//! Live views: server-sent events that tell how a campaign or a fleet stands, whenever that changes.
//!
//! However many people look at one thing, it is read once every two seconds and written down once; each viewer holds a place in
//! line for the newest text and nothing else. So memory does not grow with slow viewers, and a viewer that falls behind skips.
//! Streams end after a while: the browser comes back by itself, and shows anew who it is. They end earlier for whoever may not
//! look any more: that is asked before each event, so what was taken from somebody shows them nothing.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::time::Duration;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use ota_core::fleet::records::{PersonRole, RoleGrant};
use ota_core::number::CampaignId;
use ota_core::text::ProductIdBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::auth::Caller;
use super::body::{CampaignView, FleetLineView, FleetView};
use super::input::{Ask, Id};
use super::openapi::{Answer, Operation};
use super::{Api, Problem, auth};
use crate::rules::permission::{Action, Principal, Scope, permit};
use crate::server::{CommandError, Server};

/// How often something that somebody looks at is read.
const EVERY: Duration = Duration::from_secs(2);
/// How long a stream lasts, in seconds, unless it is asked for less.
const STREAM_SECONDS_MAX: u64 = 15 * 60;
/// How many streams there may be.
const VIEWERS_MAX: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Campaign(CampaignId),
    Product(ProductIdBuf),
}

/// The newest text of a topic; empty until it was read for the first time.
type Newest = Arc<str>;

/// What is looked at, and by how many.
pub(super) struct Live {
    topics: Mutex<HashMap<Topic, watch::Sender<Newest>>>,
    places: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self { topics: Mutex::default(), places: Arc::new(Semaphore::new(VIEWERS_MAX)) }
    }
}

impl Live {
    /// How many streams are open.
    pub(super) fn viewers(&self) -> usize {
        VIEWERS_MAX.saturating_sub(self.places.available_permits())
    }

    /// A place in line for what is new about a topic. The first one makes somebody read it, until nobody looks any more.
    fn join(self: &Arc<Self>, server: &Server, topic: Topic, life: Duration) -> Result<Viewer, Problem> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Problem::too_many("as many live views are open as the server allows", 30))?;
        let newest = match self.topics().entry(topic) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(Newest::from(""));
                let topic = entry.key().clone();
                entry.insert(sender);
                tokio::spawn(Arc::clone(self).keep_reading(server.clone(), topic));
                receiver
            }
        };
        Ok(Viewer { newest, until: Instant::now() + life, is_first: true, _place: place })
    }

    async fn keep_reading(self: Arc<Self>, server: Server, topic: Topic) {
        let mut beats = tokio::time::interval(EVERY);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let text = match read(&server, &topic).await {
                Ok(text) => text,
                // What cannot be read now is read at the next beat; viewers keep what they have.
                Err(why) => {
                    tracing::warn!(?topic, %why, "a live view cannot be read");
                    continue;
                }
            };
            let mut topics = self.topics();
            let Some(sender) = topics.get(&topic) else { return };
            if sender.receiver_count() == 0 {
                topics.remove(&topic);
                return;
            }
            sender.send_if_modified(|newest| {
                let is_new = **newest != *text;
                if is_new {
                    *newest = text.into();
                }
                is_new
            });
        }
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, watch::Sender<Newest>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(server: &Server, topic: &Topic) -> Result<String, CommandError> {
    // Each viewer has been permitted to see it; what is read is the same for all of them.
    let all = Principal::new("live views", vec![RoleGrant { role: PersonRole::Viewer, products: None }]);
    Ok(match topic {
        Topic::Campaign(id) => {
            let view = CampaignView::from((*id, server.progress(&all, *id).await?));
            json!(view).to_string()
        }
        Topic::Product(product) => {
            let lines = server.fleet(&all, product).await?.into_iter().map(FleetLineView::from).collect();
            let heard = server.heard(&all, product).await?;
            json!(FleetView::new(lines, heard)).to_string()
        }
    })
}

struct Viewer {
    newest: watch::Receiver<Newest>,
    until: Instant,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The newest text once there is one that was not told yet; `None` when time is up or nobody reads it any more.
    async fn next(&mut self) -> Option<Newest> {
        // Whoever joins later finds a text that has been there before.
        let is_first = core::mem::take(&mut self.is_first);
        if is_first && !self.newest.borrow_and_update().is_empty() {
            return Some(Newest::clone(&self.newest.borrow()));
        }
        tokio::time::timeout_at(self.until, self.newest.changed()).await.ok()?.ok()?;
        Some(Newest::clone(&self.newest.borrow_and_update()))
    }
}

/// Who looks at what, by what they have shown.
struct Pass {
    api: Api,
    shown: HeaderMap,
    product: ProductIdBuf,
}

impl Pass {
    fn new(api: Api, headers: &HeaderMap, product: ProductIdBuf) -> Self {
        let proofs = [header::AUTHORIZATION, header::COOKIE];
        let shown = headers.iter().filter(|(name, _)| proofs.contains(name));
        Self { api, shown: shown.map(|(name, value)| (name.clone(), value.clone())).collect(), product }
    }

    /// Whether it is still good. A store that cannot tell ends the stream like one that says no: its viewer comes again.
    async fn is_good(&self) -> bool {
        let Ok(Some(by)) = auth::shown_by(&self.api, &self.shown).await else { return false };
        permit(&by, Action::View, Scope::Product(&self.product)).is_ok()
    }
}

/// A stream of events named `state`, each with a whole `V` in JSON.
pub(super) struct Events<V> {
    viewer: Viewer,
    pass: Pass,
    content: PhantomData<V>,
}

impl<V> IntoResponse for Events<V> {
    fn into_response(self) -> Response {
        let events = stream::unfold((self.viewer, self.pass), |(mut viewer, pass)| async move {
            let text = viewer.next().await?;
            if !pass.is_good().await {
                return None;
            }
            Some((Ok::<_, Infallible>(Event::default().event("state").data(&*text)), (viewer, pass)))
        });
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }
}

impl<V: JsonSchema> Answer for Events<V> {
    fn describe(operation: &mut Operation<'_>) {
        let view = operation.schema::<V>();
        // What describes a stream, which has no end, describes each of its events.
        let event = json!({
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "event": { "const": "state" },
                "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": view },
            },
        });
        let about = "Events named `state`, each with the whole of what is looked at in JSON";
        operation.answer("200", about, Some(json!({ "text/event-stream": { "schema": event } })));
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Watching {
    /// After how many seconds the stream ends. Behind a proxy that breaks off what lasts longer, ask for less than that, and
    /// again at its end.
    #[serde(default = "stream_seconds_max")]
    #[schemars(range(min = 1, max = 900))]
    seconds: u64,
}

const fn stream_seconds_max() -> u64 {
    STREAM_SECONDS_MAX
}

impl Watching {
    fn life(&self) -> Result<Duration, Problem> {
        if !(1..=STREAM_SECONDS_MAX).contains(&self.seconds) {
            return Err(Problem::invalid(format!("seconds: expected 1 to {STREAM_SECONDS_MAX}")));
        }
        Ok(Duration::from_secs(self.seconds))
    }
}

pub(super) async fn campaign(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<CampaignId>,
    Ask(watching): Ask<Watching>,
    headers: HeaderMap,
) -> Result<Events<CampaignView>, Problem> {
    let life = watching.life()?;
    let product = api.server.progress(&by, id).await?.campaign.product;
    let viewer = api.live.join(&api.server, Topic::Campaign(id), life)?;
    Ok(Events { viewer, pass: Pass::new(api, &headers, product), content: PhantomData })
}

pub(super) async fn product(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<ProductIdBuf>,
    Ask(watching): Ask<Watching>,
    headers: HeaderMap,
) -> Result<Events<FleetView>, Problem> {
    let life = watching.life()?;
    permit(&by, Action::View, Scope::Product(&id)).map_err(CommandError::from)?;
    api.server.product(&by, &id).await?;
    let viewer = api.live.join(&api.server, Topic::Product(id.clone()), life)?;
    Ok(Events { viewer, pass: Pass::new(api, &headers, id), content: PhantomData })
}
