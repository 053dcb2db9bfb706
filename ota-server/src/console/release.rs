//! A version of a package: its files, who has signed it, where each revision runs, and what can be done with it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{FileRecord, Hosting, ReleaseRecord, ReleaseStatus, RequirementRecord};
use ota_core::limits::ENVELOPE_BYTES_MAX;
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::ProductIdBuf;
use ota_core::trust::EpochRaise;
use serde::Deserialize;

use super::form::{Fields, Wrong, field};
use super::home;
use super::page::{Area, Page};
use super::parts::{
    Tone, badge, bar, bytes, campaign_badge, campaign_path, count, product_path, release_badge, release_path,
    share, tags, time,
};
use super::trouble::{Trouble, sentence};
use super::verb::Command;
use super::viewer::Viewer;
use crate::http::{Api, Problem, unhex};
use crate::rules::permission::Action;
use crate::server::{CommandError, FleetLine, Outcome, Outcomes, ProgressReport, Server, Signers};

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 10;
/// How many campaigns of a release are shown with their progress.
const CAMPAIGNS_MAX: usize = 20;

fn id_of(text: &str) -> Result<ReleaseId, Trouble> {
    ReleaseId::from_hex(text).ok_or_else(|| Trouble::not_found(format!("there is no release {text:?}")))
}

/// What happened just now.
#[derive(Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let release = server.release(&viewer.by, &id).await?;
    let product = server.product(&viewer.by, &release.product).await?;
    let lines = server.fleet(&viewer.by, &release.product).await?;
    let campaigns = server.campaigns(&viewer.by, &release.product).await?;
    let mut reports = Vec::new();
    for (campaign, _) in campaigns.iter().filter(|(_, one)| one.release == id).take(CAMPAIGNS_MAX) {
        reports.push((*campaign, server.progress(&viewer.by, *campaign).await?));
    }
    let signers = server.signers(&viewer.by, &id).await?;
    let outcomes = outcomes(server, &viewer, &reports).await?;
    let done = done.and_then(|word| Verb::from_word(&word)).map(Verb::done);
    let title = format!("{} {}", release.package, release.version);
    let body = html! {
        @if let Some(done) = done { div.note.good role="status" { (done) } }
        (head(&viewer, &id, &release))
        (next_step(&viewer, &id, &release))
        section.panel id="release-files" data-live aria-labelledby="files-title" {
            header { h2 id="files-title" { "Files, and where each revision runs" } }
            (files(&release, &lines))
        }
        div.columns {
            div.column {
                section.panel id="release-campaigns" data-live aria-labelledby="campaigns-title" {
                    header { h2 id="campaigns-title" { "Campaigns" } }
                    (campaign_list(&viewer, &release.product, &reports))
                }
                @if !outcomes.groups.is_empty() {
                    section.panel id="release-outcomes" data-live aria-labelledby="outcomes-title" {
                        header { h2 id="outcomes-title" { "Success by hardware and former revision" } }
                        (outcome_table(&outcomes))
                    }
                }
            }
            div.column {
                section.panel aria-labelledby="facts-title" {
                    header { h2 id="facts-title" { "About it" } }
                    (facts(&viewer, &id, &release))
                }
                @if release.status != ReleaseStatus::Draft {
                    section.panel id="release-signatures" aria-labelledby="signatures-title" {
                        header { h2 id="signatures-title" { "Signatures" } }
                        (signatures(&signers))
                    }
                }
            }
        }
    };
    let crumbs = [
        ("Fleet".to_owned(), "/".to_owned()),
        (product.title.to_string(), product_path(&release.product)),
        ("Packages".to_owned(), format!("{}/releases", product_path(&release.product))),
    ];
    Ok(Page::new(title, Area::Fleet, body).under(crumbs).live(EVERY_S).show(&viewer))
}

fn head(viewer: &Viewer, id: &ReleaseId, release: &ReleaseRecord) -> Markup {
    let may = |verb: &Verb| verb.fits(release.status) && viewer.may(verb.action(), &release.product);
    html! {
        div.head {
            div {
                h1 { (release.package) " " (release.version) }
                div.line { (release_badge(release.status)) @if release.security { (badge(Tone::Warn, "security")) } span.quiet { "made by " (release.author) ", " (time(viewer, release.created)) } }
            }
            div.buttons {
                @if release.status == ReleaseStatus::Signed && viewer.may(Action::RunCampaign, &release.product) {
                    a.button.first href=(format!("{}/campaigns/new?release={id}", product_path(&release.product))) { "New campaign" }
                }
                @for verb in Verb::ALL.iter().filter(|verb| may(verb)) {
                    // What has its signatures may get more, but that is not what people come for.
                    @if *verb == Verb::Sign && release.status == ReleaseStatus::Signed {
                        a.button id="verb-sign" href=(verb.address(&release_path(id))) { "Bring more signatures" }
                    } @else {
                        (verb.link(&release_path(id)))
                    }
                }
            }
        }
    }
}

/// What has to happen before devices can get it.
fn next_step(viewer: &Viewer, id: &ReleaseId, release: &ReleaseRecord) -> Markup {
    match release.status {
        ReleaseStatus::Draft => html! {
            div.note.busy { strong { "A draft" } div { "Nobody can sign it yet. A developer fixes its content, and from then on only signatures are added." } }
        },
        ReleaseStatus::Fixed => html! {
            div.note.warn {
                strong { "It waits for signatures" }
                div { "Key holders sign where their keys are; the server never has them." }
                pre tabindex="0" { "ota package sign " (id) " --key release-key.pem" }
                @if viewer.may(Action::BringSignatures, &release.product) {
                    div { "Or sign " a href=(format!("/api/v1/releases/{id}/body")) download=(format!("{}-{}.cbor", release.package, release.version)) { "the bytes of its body" } " elsewhere and bring the envelope with the button above." }
                }
            }
        },
        ReleaseStatus::Withdrawn => html! {
            div.note.bad { strong { "Withdrawn: it is offered to nobody" } div { (sentence(release.withdrawn.as_deref().unwrap_or_default())) } }
        },
        ReleaseStatus::Signed => html! {},
    }
}

fn files(release: &ReleaseRecord, lines: &[FleetLine]) -> Markup {
    let running = |file: &FileRecord| -> (u64, u64) {
        let of_file = lines.iter().filter(|line| *line.file == *file.name.as_str());
        let all = of_file.clone().map(|line| line.devices).sum();
        let is_it = |line: &&FleetLine| line.revision.as_deref() == Some(file.revision.as_str());
        (of_file.filter(is_it).map(|line| line.devices).sum(), all)
    };
    html! {
        div.scroll tabindex="0" {
            table data-sortable {
                thead { tr {
                    th scope="col" data-sort { "File" } th scope="col" data-sort { "Revision" } th scope="col" data-sort { "Goes to" } th.number scope="col" { "Size" }
                    th scope="col" { "Runs on" } th scope="col" { "Checked by" }
                } }
                tbody {
                    @for file in &release.files {
                        @let (devices, all) = running(file);
                        tr {
                            th.mono scope="row" { (file.name) @if file.hosting == Hosting::Elsewhere { " " (badge(Tone::Plain, "kept elsewhere")) } }
                            td.mono { (file.revision) }
                            td.mono { (file.target) }
                            td.number { (bytes(file.size.0)) }
                            td { (bar(&[("confirmed", devices)], all, "")) span.small { (count(devices)) " (" (share(devices, all)) ")" } }
                            td {
                                details { summary { (file.integrity.len()) " integrity strings" }
                                    @for string in &file.integrity { div.mono.small { (string) } }
                                    @if let Some(map) = &file.block_map { div.small.quiet { "Block map of " (bytes(u64::from(map.unit))) " units" } }
                                    @for url in &file.urls { div.mono.small { (url) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn campaign_list(
    viewer: &Viewer,
    product: &ProductIdBuf,
    reports: &[(CampaignId, ProgressReport)],
) -> Markup {
    html! {
        @if reports.is_empty() {
            p.quiet { "No campaign brings it to devices yet." }
            @if viewer.may(Action::RunCampaign, product) { p.quiet { "Once it is signed, a campaign can." } }
        } @else {
            div.scroll tabindex="0" {
                table {
                    thead { tr { th scope="col" { "Campaign" } th scope="col" { "State" } th scope="col" { "Progress" } } }
                    tbody {
                        @for (id, report) in reports {
                            tr {
                                th scope="row" { a href=(campaign_path(*id)) { (report.campaign.title) } }
                                td { (campaign_badge(report.campaign.state)) }
                                td { (home::progress(report)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How devices have fared in all campaigns of the release that are shown.
async fn outcomes(
    server: &Server,
    viewer: &Viewer,
    reports: &[(CampaignId, ProgressReport)],
) -> Result<Outcomes, Trouble> {
    let mut all = Outcomes { groups: Vec::new(), looked_at: 0, is_partial: false };
    for (campaign, _) in reports {
        // One campaign that is large is looked at for as long as a page may take.
        if all.is_partial {
            break;
        }
        let Outcomes { groups, looked_at, is_partial } = server.outcomes(&viewer.by, *campaign).await?;
        all.looked_at += looked_at;
        all.is_partial |= is_partial;
        for group in groups {
            let is_it = |one: &&mut Outcome| (&one.hardware, &one.former) == (&group.hardware, &group.former);
            match all.groups.iter_mut().find(is_it) {
                Some(one) => {
                    one.confirmed += group.confirmed;
                    one.failed += group.failed;
                }
                None => all.groups.push(group),
            }
        }
    }
    // What fails most is what people look for.
    all.groups.sort_by_key(|group| core::cmp::Reverse(group.failed));
    Ok(all)
}

fn outcome_table(outcomes: &Outcomes) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr {
                    th scope="col" { "Hardware" } th scope="col" { "Came from" } th.number scope="col" { "Updated" } th.number scope="col" { "Failed" } th scope="col" { "Success" }
                } }
                tbody {
                    @for group in &outcomes.groups {
                        @let ended = group.confirmed + group.failed;
                        tr {
                            th.mono scope="row" { (group.hardware.as_deref().unwrap_or("not told")) }
                            td.mono { (group.former.as_deref().unwrap_or("never released")) }
                            td.number { (count(group.confirmed)) }
                            td.number { (count(group.failed)) }
                            td { (bar(&[("confirmed", group.confirmed), ("failed", group.failed)], ended, "")) span.small { (share(group.confirmed, ended)) } }
                        }
                    }
                }
            }
        }
        @if outcomes.is_partial {
            p.quiet.small { "Of the first " (super::parts::devices(home::as_u64(outcomes.looked_at))) " in the order of their ids." }
        }
    }
}

/// Whose signatures count, and how many are wanted.
fn signatures(signers: &Signers) -> Markup {
    let (found, needed) = (signers.keys.len(), usize::from(signers.needed));
    html! {
        p {
            @if found >= needed { (badge(Tone::Good, "enough")) } @else { (badge(Tone::Warn, "too few")) }
            " " (found) " of " (needed) " that root " (signers.root) " wants."
        }
        @if found > 0 { ul.plain { @for key in &signers.keys { li { "Key " span.mono { (key) } } } } }
        @if found < needed { p.quiet.small { "Signatures by keys that the newest root does not name do not count: devices that have taken it install nothing by them." } }
    }
}

fn facts(viewer: &Viewer, id: &ReleaseId, release: &ReleaseRecord) -> Markup {
    html! {
        dl.facts {
            dt { "Identity" } dd.mono { @if release.status == ReleaseStatus::Draft { span.quiet { "not fixed yet" } } @else { (id) } }
            dt { "Hardware" } dd { (tags(&release.hardware)) }
            dt { "Security epoch" } dd { (release.epoch) }
            dt { "May be installed until" } dd { (time(viewer, release.expires)) }
            dt { "Needs" }
            dd {
                @if release.requirements.is_empty() { "nothing" }
                @for requirement in &release.requirements {
                    div {
                        @match requirement {
                            RequirementRecord::FileRevision { file, revision } => { span.mono { (file) " " (revision) } }
                            RequirementRecord::EpochAtLeast { epoch } => { "security epoch " (epoch) " or later" }
                        }
                    }
                }
            }
            @if release.body_size > 0 { dt { "Signed metadata" } dd { (bytes(u64::from(release.body_size))) } }
            @if let Some(notes) = &release.notes { dt { "What changed" } dd { a href=(notes.as_str()) rel="noreferrer" { (notes) } } }
        }
    }
}

/// What people do with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Fix,
    Sign,
    Withdraw,
}

impl Command for Verb {
    const ALL: &'static [Self] = &[Self::Fix, Self::Sign, Self::Withdraw];

    fn word(self) -> &'static str {
        match self {
            Self::Fix => "fix",
            Self::Sign => "sign",
            Self::Withdraw => "withdraw",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Fix => "Fix its content",
            Self::Sign => "Bring signatures",
            Self::Withdraw => "Withdraw",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Fix => "The content is fixed; it can be signed now.",
            Self::Sign => "The signatures were checked and taken in.",
            Self::Withdraw => "The release is offered to nobody any more.",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Fix | Self::Sign => "first",
            Self::Withdraw => "danger",
        }
    }
}

impl Verb {
    const fn action(self) -> Action {
        match self {
            Self::Fix => Action::DraftRelease,
            Self::Sign => Action::BringSignatures,
            Self::Withdraw => Action::WithdrawRelease,
        }
    }

    fn fits(self, status: ReleaseStatus) -> bool {
        match self {
            Self::Fix => status == ReleaseStatus::Draft,
            Self::Sign => matches!(status, ReleaseStatus::Fixed | ReleaseStatus::Signed),
            Self::Withdraw => status != ReleaseStatus::Withdrawn,
        }
    }

    fn effects(self, at_work: u64, campaigns: usize) -> Vec<String> {
        match self {
            Self::Fix => vec![
                "The release gets its identity: the hash of everything that is to be signed.".to_owned(),
                "Nothing about it can be changed afterwards, but for adding signatures and withdrawing it."
                    .to_owned(),
                "No device gets anything by it.".to_owned(),
            ],
            Self::Sign => vec![
                "Each signature is checked as a device would check it.".to_owned(),
                "With enough of them campaigns can bring it to devices; none does by itself.".to_owned(),
            ],
            Self::Withdraw => vec![
                format!(
                    "{} of it, those that are under way: stopped for good.",
                    super::parts::campaigns(home::as_u64(campaigns))
                ),
                format!("{} that are at work on it are told to give up.", super::parts::devices(at_work)),
                "Devices that have installed it keep it; a new campaign takes them back.".to_owned(),
                "It cannot be offered again.".to_owned(),
            ],
        }
    }
}

/// Says what a command would do.
pub(super) async fn confirm(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    Ok(page(&api, &viewer, id, verb, &Fields::default(), &Wrong::default()).await?.show(&viewer))
}

/// Does what was confirmed, or shows the form again with what is wrong.
pub(super) async fn perform(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    let (server, by) = (&api.server, &viewer.by);
    let mut wrong = Wrong::default();
    let done: Option<Result<ReleaseId, CommandError>> = match verb {
        Verb::Fix => {
            let raise = fields.has("raise").then_some(EpochRaise::Unlimited);
            Some(server.fix_release(by, &id, raise).await)
        }
        Verb::Sign => match wrong.take("envelope", envelope(fields.text("envelope"))) {
            Some(envelope) => Some(server.sign_release(by, &id, &envelope).await.map(|_| id)),
            None => None,
        },
        Verb::Withdraw => match wrong.take("reason", fields.reason("reason")) {
            Some(reason) => Some(server.withdraw_release(by, &id, reason).await.map(|()| id)),
            None => None,
        },
    };
    match done {
        Some(Ok(id)) => {
            return Ok(verb.finished(&release_path(&id)));
        }
        Some(Err(error)) => wrong.refuse(error),
        None => {}
    }
    let page = page(&api, &viewer, id, verb, &fields, &wrong).await?;
    Ok((wrong.status(), page.show(&viewer)).into_response())
}

/// The bytes of an envelope in hexadecimal digits.
fn envelope(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.split_whitespace().collect();
    let bytes = unhex("envelope", &digits).map_err(|problem: Problem| problem.detail)?;
    if bytes.is_empty() || bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(format!("expected an envelope of 1 to {ENVELOPE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

async fn page(
    api: &Api,
    viewer: &Viewer,
    id: ReleaseId,
    verb: Verb,
    fields: &Fields,
    wrong: &Wrong,
) -> Result<Page, Trouble> {
    let release = api.server.release(&viewer.by, &id).await?;
    let (mut at_work, mut campaigns) = (0, 0);
    if verb == Verb::Withdraw {
        for (campaign, record) in api.server.campaigns(&viewer.by, &release.product).await? {
            use ota_core::fleet::records::CampaignState as S;
            if record.release == id && !matches!(record.state, S::Draft | S::Stopped) {
                let report = api.server.progress(&viewer.by, campaign).await?;
                at_work += home::Counts::of(&report).working;
                campaigns += 1;
            }
        }
    }
    let name = format!("{} {}", release.package, release.version);
    let body = html! {
        section.panel.form {
            h1 { (verb.title()) ": " (name) }
            (wrong.summary())
            h2 { "What it does" }
            ul { @for effect in verb.effects(at_work, campaigns) { li { (effect) } } }
            form.form method="post" action=(verb.address(&release_path(&id))) {
                (viewer.proof())
                @match verb {
                    Verb::Fix => {
                        (field("raise", "Let the security epoch rise by more than one").hint("Devices that install it refuse everything below for ever.").tick(fields))
                    }
                    Verb::Sign => {
                        div.field hidden data-hex-file="envelope" {
                            label for="envelope-file" { "Envelope as a file" }
                            input id="envelope-file" type="file";
                        }
                        (field("envelope", "Envelope").hint("The COSE envelope with the signatures, in hexadecimal digits.").area(fields, wrong))
                    }
                    Verb::Withdraw => { (field("reason", "Why").hint("Whoever looks at the release and the audit log reads it.").text(fields, wrong)) }
                }
                (verb.form_buttons(&release_path(&id)))
            }
        }
    };
    let crumbs = [("Fleet".to_owned(), "/".to_owned()), (name.clone(), release_path(&id))];
    Ok(Page::new(format!("{} {name}", verb.title()), Area::Fleet, body).under(crumbs))
}
