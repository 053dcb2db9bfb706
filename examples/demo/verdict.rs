//! The verdict: each file on each device against the package's bytes, what the server says, and what was planned.

use core::fmt;
use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use ota_core::wire::ReportCode;
use ota_server::http::body::{CampaignView, DeviceView};
use ota_server::program::Client;

use crate::Failure;
use crate::device::{Device, Notes, Part};
use crate::fleet::Fleet;
use crate::product::{Content, IDENTITY, Package, Packages};

/// Bytes that a device which lost its power may fetch twice: what was in flight, and what was not yet written down.
const TWICE_MAX: u64 = 64 * 1024;

/// What was rolled out, by the ids that the server has given.
pub(crate) struct Campaigns {
    /// The campaign of the rollout.
    pub(crate) rollout: u64,
    /// The campaign of the wrong certificate.
    pub(crate) renewal: u64,
    /// The release that is a stepping stone.
    pub(crate) former: String,
    /// The release that everybody was to get.
    pub(crate) new: String,
    /// The folder with the certificates that the factory has put into the devices.
    pub(crate) certificates: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Verdict {
    lines: Vec<Line>,
    /// What is not as it should be.
    faults: Vec<String>,
}

/// What was found about one device.
#[derive(Debug)]
struct Line {
    device: String,
    files: Vec<String>,
    server: String,
    remark: String,
}

/// Compares everything with what was planned.
///
/// # Errors
/// [`Failure`] if something cannot be looked at; what is found to be wrong is part of the verdict.
pub(crate) fn judge(
    fleet: &Fleet,
    packages: &Packages,
    client: &Client,
    campaigns: &Campaigns,
) -> Result<Verdict, Failure> {
    let mut verdict = Verdict { lines: Vec::new(), faults: Vec::new() };
    for device in &fleet.devices {
        let report: DeviceView = client.get(&format!("/api/v1/devices/{}", device.id))?;
        let package = expected(device.part, packages);
        let mut files = Vec::new();
        for file in &package.files {
            files.push(verdict.file(device, file, &report));
        }
        files.push(verdict.identity(device, &campaigns.certificates)?);
        let server = verdict.attempts(device, &report, campaigns);
        let remark = verdict.remark(device, &device.notes(), campaigns);
        verdict.lines.push(Line { device: device.id.to_string(), files, server, remark });
    }
    verdict.campaign(client, campaigns.rollout, "completed")?;
    verdict.campaign(client, campaigns.renewal, "paused")?;
    Ok(verdict)
}

/// What a device with this part has in the end.
fn expected(part: Part, packages: &Packages) -> &Package {
    match part {
        Part::FailsSelfTest => &packages.former,
        Part::Plain | Part::Trial | Part::LosesPower | Part::WrongCertificate | Part::Old => &packages.new,
    }
}

impl Verdict {
    fn expect(&mut self, device: &Device, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(format!("{}: {}", device.id, what()));
        }
    }

    /// A file as it lies on the device, and as the server believes it to be.
    fn file(&mut self, device: &Device, file: &Content, report: &DeviceView) -> String {
        let believed = report.installed.iter().find(|installed| installed.file == file.name);
        let believed = believed.map_or("nothing", |installed| installed.revision.as_str());
        self.expect(device, believed == file.revision, || {
            format!("the server believes {} to be {believed}, and not {}", file.name, file.revision)
        });
        self.bytes(device, file.name, file.target, &file.bytes, file.revision)
    }

    /// The device's own certificate: always that of the factory.
    fn identity(&mut self, device: &Device, certificates: &Path) -> Result<String, Failure> {
        let path = certificates.join(format!("{}.pem", device.id));
        let factory = std::fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
        Ok(self.bytes(device, "identity.pem", IDENTITY, &factory, "factory"))
    }

    fn bytes(&mut self, device: &Device, name: &str, target: &str, wanted: &[u8], revision: &str) -> String {
        let is_same = match std::fs::read(device.active(target)) {
            Ok(found) => found == wanted,
            Err(_) => false,
        };
        self.expect(device, is_same, || format!("{name} on its disk is not that of revision {revision}"));
        format!("{revision} {}", if is_same { "ok" } else { "DIFFERS" })
    }

    /// How its attempts ended, as the server says.
    fn attempts(&mut self, device: &Device, report: &DeviceView, campaigns: &Campaigns) -> String {
        let rollout = match device.part {
            Part::FailsSelfTest => ("rolled_back", "self_test_failed"),
            _ => ("confirmed", "ok"),
        };
        let mut wanted = vec![(campaigns.rollout, rollout)];
        if device.part == Part::WrongCertificate {
            wanted.push((campaigns.renewal, ("rolled_back", "connectivity_lost")));
        }
        let attempts = report.attempts.iter();
        let found: Vec<_> =
            attempts.map(|one| (one.campaign, (one.phase.as_str(), one.cause.as_str()))).collect();
        self.expect(device, found == wanted, || format!("the server says {found:?}, and not {wanted:?}"));
        let words = found.iter().map(|(_, (phase, cause))| match *cause {
            "ok" => phase.replace('_', " "),
            cause => format!("{}: {}", phase.replace('_', " "), cause.replace('_', " ")),
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// What was planned for the device, and how that went.
    fn remark(&mut self, device: &Device, notes: &Notes, campaigns: &Campaigns) -> String {
        let confirmed: Vec<String> = notes.confirmed.iter().map(ToString::to_string).collect();
        let way: &[&String] = match device.part {
            Part::FailsSelfTest => &[],
            Part::Old => &[&campaigns.former, &campaigns.new],
            _ => &[&campaigns.new],
        };
        self.expect(device, confirmed.iter().eq(way.iter().copied()), || {
            format!("it has confirmed {confirmed:?}, and not {way:?}")
        });
        let reverted: &[ReportCode] = match device.part {
            Part::FailsSelfTest => &[ReportCode::SelfTestFailed],
            Part::WrongCertificate => &[ReportCode::ConnectivityLost],
            _ => &[],
        };
        self.expect(device, notes.reverted == reverted, || {
            format!("it went back for {:?}, and not for {reverted:?}", notes.reverted)
        });
        self.expect(device, notes.failed.is_empty(), || format!("attempts failed: {:?}", notes.failed));
        let title = device.part.title();
        match device.part {
            Part::Plain | Part::Trial | Part::FailsSelfTest => title.to_owned(),
            Part::LosesPower => {
                let (before, twice) = notes.cut.map_or((0, u64::MAX), |cut| (cut.before, cut.twice));
                self.expect(device, before > 0 && twice <= TWICE_MAX, || {
                    format!("cut off after {before} bytes, it fetched {twice} bytes of them again")
                });
                format!("{title} after {} KiB, fetched {} KiB of them again", before / 1024, twice / 1024)
            }
            Part::WrongCertificate => {
                self.expect(device, notes.turned_away > 0, || "no broker has turned it away".to_owned());
                format!("{title}, was turned away {} times", notes.turned_away)
            }
            Part::Old => format!("{title}: 1.0, 1.5, 2.0"),
        }
    }

    fn campaign(&mut self, client: &Client, id: u64, wanted: &str) -> Result<(), Failure> {
        let view: CampaignView = client.get(&format!("/api/v1/campaigns/{id}"))?;
        if view.state != wanted {
            self.faults.push(format!("campaign {id} is {}, and not {wanted}: {}", view.state, view.reason));
        }
        Ok(())
    }

    /// Whether everything is as it should be.
    ///
    /// # Errors
    /// [`Failure`] lists what is not.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("not as planned:\n  {}", self.faults.join("\n  "))))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings =
            ["DEVICE", "authority.pem", "firmware.bin", "settings.json", "identity.pem", "SERVER", ""];
        let rows: Vec<Vec<&str>> = core::iter::once(headings.to_vec())
            .chain(self.lines.iter().map(|line| {
                let mut row = vec![line.device.as_str()];
                row.extend(line.files.iter().map(String::as_str));
                row.extend([line.server.as_str(), line.remark.as_str()]);
                row
            }))
            .collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max().unwrap_or(0)
            })
            .collect();
        for row in &rows {
            let mut text = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                write!(text, " {cell:<width$} ")?;
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        let (devices, faults) = (self.lines.len(), self.faults.len());
        let files: usize = self.lines.iter().map(|line| line.files.len()).sum();
        match faults {
            0 => write!(f, "\n{devices} devices, {files} files: everything is as planned"),
            _ => write!(f, "\n{devices} devices, {files} files: {faults} things are not as planned"),
        }
    }
}
