//! Devices of the original system at the program's own broker: what happens to them in the field, and no crash.

use std::collections::BTreeMap;

use ota_sim::wire::original::{Crash, End, FirmwareHabit, Moment, Original, REVISION_ZERO, Then};
use ota_sim::wire::program::{AT_ONCE, Serving, Shell};
use ota_sim::workshop::SourceFile;

use crate::fleet::{PRODUCT, large, program};

const PASSWORD: &str = "Zk2vXw8s1Qn5Tb7Lr4Yd";
const DEVICE: &str = "original-1";
const PASSWORDS: [&str; 2] = ["--mqtt-clients", "certificates-and-passwords"];
/// As `AT_ONCE`, for devices that get no time: who has not got the whole package after two seconds has to begin anew.
const IMPATIENT: &str = "[[stages]]\nuntil = \"100%\"\npace = \"at_once\"\n\
                         gate = { sample_min = 1, failures_good = \"90%\", failures_bad = \"99%\", silent_max = \"100%\" }\n\
                         [attempts]\ndownload_within = \"2s\"\nretry_after = \"1s\"\nretry_after_max = \"1s\"\n";

struct Scene {
    server: Serving,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Serving::start(program(), folder.path(), &PASSWORDS);
        let shell = server.shell();
        shell.make_product(PRODUCT);
        shell.register(PRODUCT, &[format!("{DEVICE},site=berlin,password={PASSWORD}")]);
        Self { server, _folder: folder }
    }

    fn shell(&self) -> &Shell {
        self.server.shell()
    }

    fn device(&self, names: &[&str]) -> Original {
        let mut device = Original::new(DEVICE, PASSWORD, self.server.broker.unwrap(), names);
        device.tls = Some(self.server.tls());
        device
    }

    fn roll_out(&self, package: &str, files: &[SourceFile], plan: &str) -> String {
        let release = self.shell().release(PRODUCT, package, files);
        self.shell().campaign(PRODUCT, &release, plan)
    }

    /// What the server knows of the device's files: revision by name.
    fn known(&self) -> BTreeMap<String, String> {
        let view = self.shell().json(&["device", "show", DEVICE]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let files = view["installed"].as_array().unwrap().iter();
        files.map(|file| (text(&file["file"]), text(&file["revision"]))).collect()
    }
}

fn firmware(revision: &str, bytes: usize) -> SourceFile {
    SourceFile { name: "firmware.bin".into(), target: "firmware".into(), ..large(revision, bytes).remove(0) }
}

fn application(revision: &str, bytes: usize) -> SourceFile {
    large(revision, bytes).remove(0)
}

/// Goes on until it has the package, then vanishes.
fn until_done(device: &mut Original) -> Result<End, Crash> {
    device.run(|moment| if moment == Moment::Done { Then::Vanish } else { Then::GoOn })
}

/// Checks in, and vanishes when nothing came: there is nothing to be done.
fn nothing_comes(device: &mut Original) -> Result<(), Crash> {
    let before = device.lists.len();
    let mut beats = 0;
    let end = device.run(|moment| {
        beats += u32::from(moment == Moment::Quiet);
        if beats == 10 { Then::Vanish } else { Then::GoOn }
    })?;
    assert_eq!((end, device.lists.len()), (End::Vanished, before));
    Ok(())
}

#[test]
fn a_package_with_firmware_is_confirmed_by_the_check_in_after_the_restart() -> Result<(), Crash> {
    for habit in [FirmwareHabit::Restarts, FirmwareHabit::RestartsEarly] {
        let scene = Scene::new();
        let package = [firmware("2", 70_000), application("2", 3_333)];
        let campaign = scene.roll_out("main", &package, AT_ONCE);
        let mut device = scene.device(&["firmware.bin", "app.bin"]);
        device.firmware = habit;
        assert_eq!(device.run(|_| Then::GoOn)?, End::Restarts);
        assert_eq!(device.lists.len(), 1);
        assert_eq!(device.files["firmware.bin"].bytes, package[0].bytes);
        assert_eq!(device.files["app.bin"].bytes, package[1].bytes);
        nothing_comes(&mut device)?;
        scene.shell().wait_for_confirmed(&campaign, 1);
        assert_eq!(
            scene.known(),
            BTreeMap::from(["app.bin", "firmware.bin"].map(|name| (name.to_owned(), "2".to_owned()))),
            "{habit:?}"
        );
        // The next release finds the device as it is, and changes what it changes.
        scene.shell().wait_for_state(&campaign, "completed");
        let campaign = scene.roll_out("main", &[firmware("2", 70_000), application("3", 2_000)], AT_ONCE);
        assert_eq!(until_done(&mut device)?, End::Vanished);
        assert_eq!(device.lists[1..], [[("app.bin".to_owned(), "3".to_owned())]]);
        scene.shell().wait_for_confirmed(&campaign, 1);
    }
    Ok(())
}

#[test]
fn firmware_that_rolls_back_is_not_offered_again_for_ever() -> Result<(), Crash> {
    let scene = Scene::new();
    scene.roll_out("main", &[firmware("2", 5_000)], AT_ONCE);
    let mut device = scene.device(&["firmware.bin"]);
    device.firmware = FirmwareHabit::RollsBack;
    assert_eq!(device.run(|_| Then::GoOn)?, End::Restarts);
    assert_eq!(device.files["firmware.bin"].revision, REVISION_ZERO);
    for _ in 0..3 {
        nothing_comes(&mut device)?;
    }
    Ok(())
}

#[test]
fn a_lost_connection_means_that_the_file_begins_anew_and_nothing_else() -> Result<(), Crash> {
    let scene = Scene::new();
    let package =
        [application("2", 30_000), SourceFile { name: "data.bin".into(), ..application("2b", 9_000) }];
    let campaign = scene.roll_out("main", &package, AT_ONCE);
    let mut device = scene.device(&["app.bin", "data.bin"]);
    for lost_in in ["app.bin", "data.bin"] {
        let end = device.run(|moment| match moment {
            Moment::Got(file, 3_072..) if file == lost_in => Then::Vanish,
            _ => Then::GoOn,
        })?;
        assert_eq!(end, End::Vanished);
    }
    assert_eq!(until_done(&mut device)?, End::Vanished);
    for file in &package {
        assert_eq!(device.files[&file.name].bytes, file.bytes);
    }
    scene.shell().wait_for_confirmed(&campaign, 1);
    // What it has got is not offered again.
    let last = device.lists.last().unwrap();
    assert_eq!(last[..], [("data.bin".to_owned(), "2b".to_owned())]);
    Ok(())
}

#[test]
fn a_package_that_is_replaced_in_mid_download_costs_a_connection_and_no_crash() -> Result<(), Crash> {
    let scene = Scene::new();
    let campaign = scene.roll_out("main", &[application("2", 400_000)], AT_ONCE);
    let mut device = scene.device(&["app.bin"]);
    let mut second = String::new();
    let mut run = |device: &mut Original| {
        device.run(|moment| match moment {
            Moment::Got(_, 10_240) if second.is_empty() => {
                scene.shell().good(&["campaign", "stop", &campaign, "--reason", "a better one"]);
                second = scene.roll_out("main", &[application("3", 20_000)], AT_ONCE);
                Then::GoOn
            }
            Moment::Done => Then::Vanish,
            _ => Then::GoOn,
        })
    };
    assert_eq!(run(&mut device)?, End::Closed, "there is no other way to tell it");
    while run(&mut device)? == End::Closed {}
    assert_eq!(device.files["app.bin"].revision, "3");
    assert_eq!(device.lists.last().unwrap()[..], [("app.bin".to_owned(), "3".to_owned())]);
    scene.shell().wait_for_confirmed(&second, 1);
    Ok(())
}

#[test]
fn a_device_that_is_stuck_is_disconnected_and_gets_its_offer_again() -> Result<(), Crash> {
    let scene = Scene::new();
    let campaign = scene.roll_out("main", &[application("2", 30_000)], IMPATIENT);
    let mut device = scene.device(&["app.bin"]);
    let end = device.run(|moment| match moment {
        Moment::Got(_, 5_120..) => Then::Hang,
        _ => Then::GoOn,
    })?;
    assert_eq!(end, End::Closed, "it would wait for ever");
    let mut end = End::Closed;
    while end == End::Closed || device.lists.len() < 2 {
        let mut beats = 0;
        end = device.run(|moment| {
            beats += u32::from(moment == Moment::Quiet);
            if moment == Moment::Done || beats == 50 { Then::Vanish } else { Then::GoOn }
        })?;
    }
    assert_eq!(device.files["app.bin"].revision, "2");
    scene.shell().wait_for_confirmed(&campaign, 1);
    Ok(())
}

#[test]
fn a_wrong_password_and_a_foreign_name_let_nobody_in() -> Result<(), Crash> {
    let scene = Scene::new();
    scene.shell().register(PRODUCT, &["original-2".to_owned()]);
    for (name, password) in [
        (DEVICE, "Zk2vXw8s1Qn5Tb7Lr4Ye"),
        (DEVICE, ""),
        ("original-2", PASSWORD),
        ("original-2", ""),
        ("original-3", PASSWORD),
        ("ota/server", PASSWORD),
    ] {
        let mut device = scene.device(&["app.bin"]);
        (device.id, device.password) = (name.to_owned(), password.to_owned());
        assert_eq!(device.run(|_| Then::Vanish)?, End::Closed, "{name} {password}");
    }
    scene.server.wait_for_log(&["client refused", DEVICE, "no valid credentials"]);
    assert_eq!(scene.device(&["app.bin"]).run(|_| Then::Vanish)?, End::Vanished);
    let short = scene.shell().clone();
    std::fs::write(scene.server.data().join("../short.csv"), "original-4,password=short\n").unwrap();
    let refused = short.run(&["device", "import", "--product", PRODUCT, "short.csv"]);
    assert!(refused.code == 1 && refused.stderr.contains("at least 16 bytes"), "{}", refused.stderr);
    Ok(())
}
