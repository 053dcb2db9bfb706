//! What happens, in order: the server, the people, the package, the fleet, the rollout, a wrong certificate, the verdict.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ota_server::http::body::{CampaignView, DeviceView, DevicesView};
use ota_server::program::Client;
use serde_json::Value;

use crate::Failure;
use crate::device::{KEY_FILE, Part};
use crate::fleet::{Fleet, TRIAL};
use crate::operator::Person;
use crate::options::{AtTheEnd, Options};
use crate::product::{self, Package, Packages};
use crate::server::{EndSignals, Server};
use crate::verdict::{self, Campaigns};
use crate::view::{View, at_work};

/// Below this many devices the fleet is one stage: parts of it would be too small to say anything.
const STAGED_FROM: usize = 24;

/// The people, by what they may do. Nobody has two roles.
struct People {
    developer: Person,
    key_holder: Person,
    operator: Person,
    approver: Person,
}

/// Tells the whole story.
///
/// # Errors
/// [`Failure`] says what is not as it should be.
pub(crate) fn tell(options: &Options, folder: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let mut view = View::new();

    heading("A server with a broker, a store and certificates of its own");
    println!("  $ ota {}", Server::arguments(&folder.join("server")).join(" "));
    let mut server = Server::start(folder)?;
    println!("  the API listens on {}, devices connect to mqtts://{}", server.api, server.broker);

    heading("Keys, a product, and people who share the work");
    let administrator = Person::new("admin", &server, server.token.clone(), folder.to_owned());
    administrator.run(&format!("init {} --keys keys", product::PRODUCT))?;
    let people = People {
        developer: somebody(&administrator, &server, folder, "dora", "developer")?,
        key_holder: somebody(&administrator, &server, folder, "karl", "key_holder")?,
        operator: somebody(&administrator, &server, folder, "otto", "operator")?,
        approver: somebody(&administrator, &server, folder, "anna", "approver")?,
    };
    let client = people.operator.client()?;

    heading("Packages: what devices run, and three files that are to replace it");
    let authority = server.data.join("tls/ca.pem");
    let authority = std::fs::read_to_string(&authority).map_err(|error| Failure::file(&authority, &error))?;
    let packages = Arc::new(Packages::make(&authority)?);
    let former = people.release(&packages.former, folder)?;
    let new = people.release(&packages.new, folder)?;

    heading(&format!("{} devices with client certificates", options.devices));
    let mut fleet = Fleet::plan(options.devices, &folder.join("devices"))?;
    register(&people.operator, &fleet, &server, folder)?;
    let root = folder.join("keys/root.cbor");
    let root = std::fs::read(&root).map_err(|error| Failure::file(&root, &error))?;
    let certificates = folder.join("certificates");
    fleet.switch_on(&server, root, &certificates, &packages)?;
    view.wait(&fleet, || heard(&client, &fleet))?;
    println!("  all {} have been heard: each over TLS, as whom its certificate names", options.devices);

    heading("The rollout: a trial, a second person's consent, the fleet");
    let campaign = people.roll_out(&new, &fleet, folder)?;
    watch_rollout(&mut view, &people, &client, &fleet, campaign)?;

    heading("A certificate that does not work");
    let renewal = people.renew_certificate(&fleet, folder)?;
    watch_renewal(&mut view, &client, &fleet, renewal)?;

    heading("What lies on the devices, byte for byte, and what the server says");
    let campaigns = Campaigns { rollout: campaign, renewal, former, new, certificates };
    let verdict = verdict::judge(&fleet, &packages, &client, &campaigns)?;
    println!("{verdict}\n{:.1} s in all", began.elapsed().as_secs_f64());
    verdict.outcome()?;

    match options.at_the_end {
        AtTheEnd::CleanUp => {
            fleet.switch_off();
            server.stop()
        }
        AtTheEnd::Keep => {
            // Before the address is told: whoever reads it may ask for the end at once.
            let signals = EndSignals::listen()?;
            println!(
                "\nServer and devices go on here, in the foreground, until Ctrl-C ends them.\n  export OTA_SERVER={}\n  export OTA_TOKEN={}\n  \
                 data     {}\n  log      {}\n  keys     {}\n  devices  {}",
                server.api,
                server.token,
                server.data.display(),
                server.log.display(),
                folder.join("keys").display(),
                folder.join("devices").display()
            );
            signals.wait(&mut server)?;
            println!("\nending");
            fleet.switch_off();
            server.stop()
        }
    }
}

fn heading(text: &str) {
    println!("\n{text}");
}

/// Makes somebody with one role, in this product only, and a token.
fn somebody(
    administrator: &Person,
    server: &Server,
    folder: &Path,
    name: &'static str,
    role: &str,
) -> Result<Person, Failure> {
    administrator.run(&format!("person set {name} --role {role} --product {}", product::PRODUCT))?;
    let token = administrator.run_silently(&format!("person token {name}"))?;
    Ok(Person::new(name, server, text(&token, "token")?, folder.to_owned()))
}

fn text(value: &Value, field: &str) -> Result<String, Failure> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| Failure::new(format!("the answer has no {field}: {value}")))
}

/// Registers the fleet, and makes a key and a certificate for each device.
fn register(operator: &Person, fleet: &Fleet, server: &Server, folder: &Path) -> Result<(), Failure> {
    let path = folder.join("devices.csv");
    let line = |(index, device): (usize, &Arc<crate::device::Device>)| {
        format!("{},site={}\n", device.id, ["berlin", "oslo", "turin"][index % 3])
    };
    let text: String = fleet.devices.iter().enumerate().map(line).collect();
    std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
    operator.run(&format!("device import --product {} devices.csv", product::PRODUCT))?;
    let (certificates, data) = (folder.join("certificates"), server.data.display());
    std::fs::create_dir_all(&certificates).map_err(|error| Failure::file(&certificates, &error))?;
    let command = format!("device certificate --data {data} --out certificates");
    let ids: Vec<&str> = fleet.devices.iter().map(|device| device.id.as_str()).collect();
    println!("  {:<7} $ ota {command} {} ... {}", "factory", ids[0], ids[ids.len() - 1]);
    operator.run_silently(&format!("{command} {}", ids.join(" ")))?;
    Ok(())
}

/// Whether the server has heard all devices.
fn heard(client: &Client, fleet: &Fleet) -> Result<Result<(), String>, Failure> {
    let path = format!("/api/v1/products/{}/devices?limit=1000", product::PRODUCT);
    let (mut heard, mut after) = (0, None);
    loop {
        let page: DevicesView = client.get(&match &after {
            Some(after) => format!("{path}&after={after}"),
            None => path.clone(),
        })?;
        heard += page.items.iter().filter(|device| device.heard.is_some()).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let count = fleet.devices.len();
    Ok(if heard == count { Ok(()) } else { Err(format!("{heard} of {count} devices have been heard")) })
}

impl People {
    /// Uploads and signs a package; gives its release.
    fn release(&self, package: &Package, folder: &Path) -> Result<String, Failure> {
        package.write(folder)?;
        let upload = format!("package upload --product {} {}.toml", product::PRODUCT, package.title);
        let release = text(&self.developer.run(&upload)?, "id")?;
        let sign = format!("package sign {release} --key keys/release-key.pem --yes");
        let signed = self.key_holder.run(&sign)?;
        if text(&signed, "status")? != "signed" {
            return Err(Failure::new(format!("the release is not signed: {signed}")));
        }
        Ok(release)
    }

    /// Makes the campaign that brings the release to everybody, and starts it once it is approved.
    fn roll_out(&self, release: &str, fleet: &Fleet, folder: &Path) -> Result<u64, Failure> {
        let path = folder.join("plan.toml");
        std::fs::write(&path, plan(fleet.devices.len())).map_err(|error| Failure::file(&path, &error))?;
        let trial: String =
            fleet.devices.iter().take(TRIAL).map(|device| format!(" --trial {}", device.id)).collect();
        let what = format!(
            "--product {} --release {release} --title lamp-2.0 --plan plan.toml{trial}",
            product::PRODUCT
        );
        let dry = self.operator.run(&format!("campaign dry-run {what}"))?;
        println!("  {:>11}{} of {} devices would get it", "", dry["would_get"], dry["fleet"]);
        if dry["would_get"].as_u64() != u64::try_from(fleet.devices.len()).ok() {
            return Err(Failure::new(format!("the dry run leaves devices out: {dry}")));
        }
        self.start(&what)
    }

    /// Makes a campaign, lets somebody else approve it, and starts it.
    fn start(&self, what: &str) -> Result<u64, Failure> {
        let made = self.operator.run(&format!("campaign create {what}"))?;
        let campaign =
            made["id"].as_u64().ok_or_else(|| Failure::new(format!("no campaign was made: {made}")))?;
        if self.operator.run_silently(&format!("campaign approve {campaign}")).is_ok() {
            return Err(Failure::new("the operator could approve a campaign of his own"));
        }
        self.approver.run(&format!("campaign approve {campaign}"))?;
        self.operator.run(&format!("campaign start {campaign}"))?;
        Ok(campaign)
    }

    /// Brings one device a certificate for its own key that comes from the wrong authority.
    fn renew_certificate(&self, fleet: &Fleet, folder: &Path) -> Result<u64, Failure> {
        let device = fleet.playing(Part::WrongCertificate);
        let key = device.folder.join(KEY_FILE);
        let key = std::fs::read_to_string(&key).map_err(|error| Failure::file(&key, &error))?;
        let pem = product::foreign_certificate(device.id.as_str(), &key)?;
        let package = Package {
            title: "certificate",
            name: "identity",
            files: vec![product::identity("renewed", pem)],
            needs_firmware: None,
        };
        let release = self.release(&package, folder)?;
        let path = folder.join("plan-certificate.toml");
        let plan = "[[stages]]\nuntil = \"100%\"\ngate = { sample_min = 1, failures_bad = \"80%\" }\n";
        std::fs::write(&path, plan).map_err(|error| Failure::file(&path, &error))?;
        self.start(&format!(
            "--product {} --release {release} --title certificate --plan plan-certificate.toml --device {}",
            product::PRODUCT,
            device.id
        ))
    }
}

/// The plan of the rollout. What a gate may demand depends on how many devices will stand behind it.
fn plan(devices: usize) -> String {
    let rest = devices - TRIAL;
    let gate = |sample| {
        format!(
            "{{ sample_min = {sample}, failures_good = \"30%\", failures_bad = \"80%\", silent_max = \"20%\" }}"
        )
    };
    let stage = |until: u32, seconds: u32, sample| {
        let gate = gate(sample);
        format!(
            "\n[[stages]]\nuntil = \"{until}%\"\npace = {{ linear = {{ over = \"{seconds}s\" }} }}\ngate = {gate}\n"
        )
    };
    let stages =
        if devices < STAGED_FROM { stage(100, 2, rest) } else { stage(40, 3, TRIAL) + &stage(100, 3, TRIAL) };
    format!(
        "approvals = 1\non_failure = \"pause\"\n\n[trial]\npromotion = \"by_person\"\ngate = {}\n{stages}",
        gate(TRIAL)
    )
}

/// Devices of a campaign that stand in this phase.
fn count(campaign: &CampaignView, phase: &str) -> u64 {
    campaign.phases.iter().filter(|count| count.phase == phase).map(|count| count.devices).sum()
}

fn show(client: &Client, campaign: u64) -> Result<CampaignView, Failure> {
    Ok(client.get(&format!("/api/v1/campaigns/{campaign}"))?)
}

/// One line about a campaign.
fn line(campaign: &CampaignView, fleet: &Fleet) -> String {
    let back = count(campaign, "rolled_back");
    let went_back = if back == 0 { String::new() } else { format!(", {back} went back") };
    format!(
        "{} (stage {}): {} of {} confirmed{went_back}; {}",
        campaign.state,
        campaign.stage,
        count(campaign, "confirmed"),
        campaign.fleet,
        at_work(fleet)
    )
}

/// A campaign that stands still for a reason that nobody has planned.
fn unless_stopped(campaign: &CampaignView) -> Result<(), Failure> {
    if matches!(campaign.state.as_str(), "paused" | "stopped") {
        return Err(Failure::new(format!("the campaign is {}: {}", campaign.state, campaign.reason)));
    }
    Ok(())
}

/// The trial, its promotion by a person, and the stages, until every device has come to its end.
fn watch_rollout(
    view: &mut View,
    people: &People,
    client: &Client,
    fleet: &Fleet,
    campaign: u64,
) -> Result<(), Failure> {
    let trial = view.wait(fleet, || {
        let seen = show(client, campaign)?;
        unless_stopped(&seen)?;
        Ok(if seen.state == "trialled" { Ok(seen) } else { Err(line(&seen, fleet)) })
    })?;
    view.say(&format!("  the trial has passed its gate: {} devices confirmed", count(&trial, "confirmed")));
    people.approver.run(&format!("campaign promote {campaign}"))?;
    let all = u64::try_from(fleet.devices.len()).unwrap_or(u64::MAX);
    let end = view.wait(fleet, || {
        let seen = show(client, campaign)?;
        unless_stopped(&seen)?;
        let has_ended = count(&seen, "confirmed") + count(&seen, "rolled_back") == all;
        Ok(if has_ended && seen.state == "completed" { Ok(seen) } else { Err(line(&seen, fleet)) })
    })?;
    view.say(&format!("  {}", line(&end, fleet)));
    Ok(())
}

/// The device tries its new certificate, is turned away, and goes back to the old one; the gate stops the campaign.
fn watch_renewal(view: &mut View, client: &Client, fleet: &Fleet, campaign: u64) -> Result<(), Failure> {
    let device = fleet.playing(Part::WrongCertificate);
    let (attempt, seen) = view.wait(fleet, || {
        let seen = show(client, campaign)?;
        let path = format!("/api/v1/devices/{}", device.id);
        let report: DeviceView = client.get(&path)?;
        let attempt = report.attempts.into_iter().find(|attempt| attempt.campaign == campaign);
        let phase = attempt.as_ref().map_or("waiting", |attempt| attempt.phase.as_str());
        Ok(if phase == "rolled_back" && seen.state == "paused" {
            Ok((attempt, seen))
        } else {
            let notes = device.notes();
            let turned_away = match notes.turned_away {
                0 => String::new(),
                times => format!(", turned away {times} times: {}", notes.turned_away_because),
            };
            Err(format!("{}: {phase}{turned_away}", device.id))
        })
    })?;
    let notes = device.notes();
    let cause = attempt.map_or_else(String::new, |attempt| attempt.cause);
    view.say(&format!(
        "  {}: turned away {} times, then back to its old certificate by itself ({cause})\n  campaign {campaign} is \
         paused: {}",
        device.id, notes.turned_away, seen.reason
    ));
    Ok(())
}
