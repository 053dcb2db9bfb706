//! Pages over a large fleet: how long each takes, over HTTP, and what 200 people who watch cost.
//!
//! `-- DEVICES` chooses how many devices to load (1000000 unless said otherwise; 10000000 is the figure to reach). One in
//! ten has taken part in the campaign that is under way.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ota_core::fleet::records::{Attempt, AttemptPhase, Moment, PersonRole, PrincipalRecord, RoleGrant};
use ota_core::fleet::{FleetStore, Key, Record, Unit, Version};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use ota_server::engine::Changes;
use ota_server::http::{Options, token_text};
use ota_server::rules::permission::Principal;
use ota_sim::fleet::scale::{self, NOW, Scale};
use ota_storage::redb::{RedbOptions, RedbStore};
use ureq::Agent;

/// How many devices one commit of the loader registers.
const BATCH: u64 = 16_000;
/// How often each page is asked for.
const TIMES: usize = 20;
/// How many people watch at once.
const VIEWERS: usize = 200;
/// How often all of them look at a page in the same moment.
const ROUNDS: usize = 5;
/// What a page may take of the server's time.
const LIMIT_MS: f64 = 100.0;
/// Every so many minutes the campaign's course is noted, so often: a day and more of it is drawn.
const NOTED: u64 = 300;
const PASSWORD: &str = "correct horse battery staple";

/// Where the devices that take part stand: phase, cause, and how many of a hundred.
const STANDING: [(AttemptPhase, u16, u64); 5] = [
    (AttemptPhase::Confirmed, 0, 90),
    (AttemptPhase::Downloading, 0, 5),
    (AttemptPhase::Silent, 0, 2),
    (AttemptPhase::Failed, 1, 1),
    (AttemptPhase::RolledBack, 13, 2),
];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let devices: u64 =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = RedbStore::open(folder.path().join("fleet.redb"), RedbOptions::default()).expect("a store");
    let store = Arc::new(store);
    let scale = Scale::set_up(Arc::clone(&store) as Arc<dyn FleetStore>).await;
    let server = scale.server.clone();
    let campaign = scale.start_campaign().await;
    let product = server.products(&machine()).await.expect("the product")[0].0.clone();
    let release = server.releases(&machine(), &product).await.expect("releases")[0].0;
    let began = Instant::now();
    for start in (0..devices).step_by(usize::try_from(BATCH).expect("a small number")) {
        let end = (start + BATCH).min(devices);
        let unit = |ordinal| match ordinal % 10 {
            0 => taking_part(&scale, &product, campaign, release, ordinal),
            _ => scale.registration(ordinal),
        };
        store.commit((start..end).map(unit).collect()).await.expect("registrations");
    }
    eprintln!("{devices} devices are loaded, in {:.0} s", began.elapsed().as_secs_f64());
    for times in 1..=NOTED {
        scale.clock.set(Timestamp(NOW.0 + times * 5 * 60_000));
        server.tick().await.expect("a tick");
    }
    server.set_group(&machine(), &product, "nobody", "id = nobody-at-all").await.expect("a group");
    let invitation = somebody(&scale).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a port");
    let router = ota_server::console::router(server, Options::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let pages = pages(&product, campaign, release, devices);
    let measured = tokio::task::spawn_blocking(move || {
        let cookie = sign_in(address, &invitation);
        println!("<!-- bench: pages -->");
        println!(
            "{devices} devices, one in ten of them in the campaign; each page {TIMES} times over HTTP, after once.\n"
        );
        println!("| page | median | slowest |");
        println!("|---|---:|---:|");
        let agent = agent();
        let is_slow = |page: &String| timed(&agent, address, &cookie, page);
        let slow: Vec<String> = pages.into_iter().filter(is_slow).collect();
        watch(address, &cookie, campaign);
        println!("<!-- /bench -->");
        slow
    });
    let slow = measured.await.expect("every page is answered");
    if slow.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("slower than {LIMIT_MS} ms in the median: {slow:?}");
    ExitCode::FAILURE
}

/// What people look at.
fn pages(product: &ProductIdBuf, campaign: CampaignId, release: ReleaseId, devices: u64) -> Vec<String> {
    let device = |ordinal| format!("/devices/{}", scale::device_id(ordinal));
    let inside = |rest: &str| format!("/products/{product}{rest}");
    let of_campaign = |rest: &str| format!("/campaigns/{campaign}{rest}");
    vec![
        "/".to_owned(),
        inside(""),
        inside("/devices"),
        inside("/devices?tag=nowhere"),
        inside("/devices?status=quarantined"),
        inside("/devices?heard=never"),
        inside("/devices?group=nobody"),
        inside("/releases"),
        inside("/releases/new"),
        inside("/campaigns"),
        inside("/campaigns/new"),
        inside("/groups"),
        inside("/enrolments"),
        of_campaign(""),
        of_campaign("/devices?phase=6"),
        of_campaign("/devices?phase=8"),
        of_campaign("/pause"),
        of_campaign("/stop"),
        of_campaign("/retry"),
        device(devices / 2),
        device(1),
        format!("{}/revoke", device(1)),
        format!("/releases/{release}"),
        format!("/releases/{release}/withdraw"),
        "/approvals".to_owned(),
        "/audit".to_owned(),
        "/audit/verify".to_owned(),
        "/administration".to_owned(),
        "/administration/people/ann".to_owned(),
        "/administration/stop-everything".to_owned(),
    ]
}

/// A device that the campaign has reached: its registration and its attempt.
fn taking_part(
    scale: &Scale,
    product: &ProductIdBuf,
    campaign: CampaignId,
    release: ReleaseId,
    ordinal: u64,
) -> Unit {
    let mut place = ordinal / 10 % 100;
    let standing = STANDING.iter().find(|(_, _, share)| match place.checked_sub(*share) {
        None => true,
        Some(rest) => {
            place = rest;
            false
        }
    });
    let (phase, cause, _) = *standing.expect("the shares make up a hundred");
    let attempt = Attempt {
        product: product.clone(),
        stage: 1,
        phase,
        cause,
        release,
        offer: None,
        nonce: None,
        offered: NOW,
        changed: NOW,
        due: None,
        retries: 0,
        sequence: None,
        done: 0,
        asked: true,
        former: 2,
        hardware: 0,
        site: "".into(),
        moments: vec![
            Moment { at: NOW, phase: AttemptPhase::Offered, cause: 0 },
            Moment { at: NOW, phase, cause },
        ],
        detail: "".into(),
        attested: false,
        dialect: 1,
        files: None,
        missed: None,
    };
    let mut changes = Changes::default();
    assert!(changes.join(scale.registration(ordinal)), "nothing is in it yet");
    let key = Key::Attempt(campaign, scale::device_id(ordinal));
    changes.write(key, Version(0), None, Some(Record::Attempt(attempt)));
    changes.into_unit()
}

fn machine() -> Principal {
    Principal::new("the machine", grants())
}

fn grants() -> Vec<RoleGrant> {
    let roles = [
        PersonRole::Administrator,
        PersonRole::Operator,
        PersonRole::Developer,
        PersonRole::Approver,
        PersonRole::KeyHolder,
    ];
    roles.map(|role| RoleGrant { role, products: None }).to_vec()
}

/// A person, and the invitation with which they set a password.
async fn somebody(scale: &Scale) -> String {
    let record = PrincipalRecord { title: "Ann".into(), roles: grants(), disabled: false, password: None };
    scale.server.set_principal(&machine(), "ann", record).await.expect("a person");
    let issued = scale.server.invite(&machine(), "ann").await.expect("an invitation");
    token_text(&issued.name, &issued.secret)
}

fn agent() -> Agent {
    Agent::config_builder().max_redirects(0).build().new_agent()
}

/// Sets a password and signs in; the cookie of the session.
fn sign_in(address: SocketAddr, invitation: &str) -> String {
    let post = |path: &str, body: String| {
        let request =
            agent().post(format!("http://{address}{path}")).header("content-type", "application/json");
        request.send(body).expect("it is taken")
    };
    post("/api/v1/accept-invitation", format!(r#"{{"invitation":"{invitation}","password":"{PASSWORD}"}}"#));
    let answer = post("/api/v1/sign-in", format!(r#"{{"name":"ann","password":"{PASSWORD}"}}"#));
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    cookie.split(';').next().unwrap_or_default().to_owned()
}

fn ask(agent: &Agent, address: SocketAddr, cookie: &str, page: &str) -> f64 {
    let before = Instant::now();
    let request = agent.get(format!("http://{address}{page}")).header("cookie", cookie);
    let text = request.call().expect(page).body_mut().read_to_string().expect("text");
    let took = before.elapsed().as_secs_f64() * 1e3;
    assert!(text.contains("Signed in as"), "{page} is no page for somebody who is signed in");
    took
}

/// Asks for a page again and again, and prints what it took. Whether it took too long.
fn timed(agent: &Agent, address: SocketAddr, cookie: &str, page: &str) -> bool {
    ask(agent, address, cookie, page);
    let mut took: Vec<f64> = (0..TIMES).map(|_| ask(agent, address, cookie, page)).collect();
    took.sort_by(f64::total_cmp);
    let median = took[TIMES / 2];
    // What is random in an address says nothing.
    let shown: String =
        page.split('/').map(|part| if part.len() > 40 { "..." } else { part }).collect::<Vec<_>>().join("/");
    println!("| `{shown}` | {median:.1} ms | {:.1} ms |", took[TIMES - 1]);
    median > LIMIT_MS
}

/// Many people watch a campaign at once: some by its stream, as programs do, and all by its page, as browsers do.
fn watch(address: SocketAddr, cookie: &str, campaign: CampaignId) {
    let before = memory_kib();
    let streams: Vec<TcpStream> = (0..VIEWERS).map(|_| stream(address, cookie, campaign)).collect();
    let each = memory_kib().saturating_sub(before) / u64::try_from(streams.len()).unwrap_or(1);
    println!(
        "\n{VIEWERS} streams of one campaign: {each} KiB of memory each, both ends in this process, which has {} MiB.",
        memory_kib() / 1024
    );
    let page = format!("/campaigns/{campaign}");
    let rounds: Vec<(f64, u64)> =
        (0..ROUNDS).map(|_| (all_at_once(address, cookie, &page), memory_kib() / 1024)).collect();
    let ((first_ms, first_mib), (last_ms, last_mib)) = (rounds[0], rounds[ROUNDS - 1]);
    println!(
        "{VIEWERS} browsers that look at its page in the same moment all have it after {first_ms:.0} ms, and in the \
         {ROUNDS}th round after {last_ms:.0} ms; memory after these rounds: {first_mib} and {last_mib} MiB."
    );
    drop(streams);
}

/// How long it takes until everybody has the page.
fn all_at_once(address: SocketAddr, cookie: &str, page: &str) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..VIEWERS {
            scope.spawn(|| ask(&agent(), address, cookie, page));
        }
    });
    began.elapsed().as_secs_f64() * 1e3
}

fn stream(address: SocketAddr, cookie: &str, campaign: CampaignId) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let head = format!(
        "GET /api/v1/campaigns/{campaign}/events HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a request");
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    // The first event has come when its data has.
    while !seen.windows(5).any(|part| part == b"data:") {
        let read = stream.read(&mut buffer).expect("an event");
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
    }
    stream
}

/// The memory that this process has now, as Linux tells it; 0 elsewhere.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
