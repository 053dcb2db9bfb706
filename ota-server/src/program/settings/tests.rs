//! What is a setting, where it comes from, and what is said of one that is wrong.

use super::*;

fn with(key: &str, value: &str) -> Result<Settings, SettingError> {
    let mut layers = Layers::default();
    layers.flags([(Setting::by_key(key).unwrap(), value.to_owned())]);
    layers.settings()
}

#[test]
fn the_defaults_are_allowed() {
    let settings = Layers::default().settings().unwrap();
    assert_eq!(settings.http_listen.to_string(), "127.0.0.1:8480");
    assert!(matches!(settings.broker, BrokerSettings::Embedded(_)));
}

#[test]
fn a_wrong_value_is_named_with_its_source_and_what_is_allowed() {
    let wrong = [
        ("data", ""),
        ("http.listen", "8480"),
        ("http.listen", "0.0.0.0:8480"),
        ("http.beyond_loopback", "yes"),
        ("http.public_url", "ota.example"),
        ("http.public_url", "https://"),
        ("http.public_url", "https://ota.example/ota"),
        ("http.file_mib_max", "0"),
        ("mqtt.broker", "broker"),
        ("mqtt.broker", "broker:0"),
        ("mqtt.listen", "8883"),
        ("mqtt.prefix", "a/#"),
        ("mqtt.names", "localhost,"),
        ("mqtt.names", "two words"),
        ("mqtt.clients", "anybody"),
        ("mqtt.ca", "no-such-file.pem"),
        ("devices.check_in", "8d"),
        ("devices.check_ins_per_second", "many"),
        ("devices.assignment_life", "1s"),
        ("webhook.url", "ftp://x"),
        ("calls.inside_networks", "maybe"),
        ("cache_mib", "-1"),
        ("log", "loud"),
        ("store.postgres_ca", "no such file"),
        ("store.upgrade", "yes"),
        ("store.s3_bucket", "a bucket"),
        ("store.wrapping_key_file", "no such file"),
        ("store.secrets", "hidden"),
    ];
    for (key, value) in wrong {
        let message = with(key, value).unwrap_err().to_string();
        let setting = Setting::by_key(key).unwrap();
        assert!(
            message.contains(&format!("`{key}` is {value:?}, from the flag --{}", setting.flag())),
            "{message}"
        );
        assert!(message.contains("; allowed is "), "{message}");
    }
}

#[test]
fn each_layer_covers_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ota.toml");
    std::fs::write(
        &file,
        "cache_mib = 1\nlog = \"warn\"\n[http]\nfile_mib_max = 2\nlisten = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    let mut layers = Layers::default();
    layers.file(&file).unwrap();
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    layers.environment([
        of("OTA_HTTP_LISTEN", "127.0.0.1:2"),
        of("OTA_LOG", "debug"),
        of("OTA_SERVICE_HOST", "x"),
    ]);
    layers.flags([(Setting::by_key("log").unwrap(), "error".to_owned())]);
    let settings = layers.settings().unwrap();
    assert_eq!((settings.cache_bytes, settings.file_bytes_max), (1 << 20, 2 << 20));
    assert_eq!(settings.http_listen.port(), 2);
    assert_eq!(settings.log, LevelFilter::ERROR);
}

#[test]
fn an_unknown_key_in_the_file_is_an_error_that_lists_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ota.toml");
    std::fs::write(&file, "[http]\nlissten = \"127.0.0.1:1\"\n").unwrap();
    let message = Layers::default().file(&file).unwrap_err().to_string();
    assert!(message.contains("`http.lissten`") && message.contains("http.listen"), "{message}");
}

#[test]
fn a_broker_elsewhere_is_asked_by_a_request_that_names_the_device() {
    let read = |value: &str| {
        let mut layers = Layers::default();
        let flags = [("mqtt.broker", "[::1]:8883"), ("mqtt.disconnect", value)];
        layers.flags(flags.map(|(key, value)| (Setting::by_key(key).unwrap(), value.to_owned())));
        layers.settings()
    };
    for right in ["", "DELETE https://b/clients/{device}", "POST http://127.0.0.1:1/kick"] {
        assert!(read(right).is_ok(), "{right}");
    }
    for wrong in [
        "https://b/clients/{device}",
        "DELETE https://b/clients",
        "GET https://b/{device}",
        "DELETE b/{device}",
        "POST https://b/ x",
    ] {
        assert!(read(wrong).unwrap_err().to_string().contains("mqtt.disconnect"), "{wrong}");
    }
}

#[test]
fn a_broker_needs_both_halves_of_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, "").unwrap();
    let mut layers = Layers::default();
    let flag = |key: &str, value: &str| (Setting::by_key(key).unwrap(), value.to_owned());
    layers.flags([flag("mqtt.broker", "[::1]:8883"), flag("mqtt.key", file.to_str().unwrap())]);
    let message = layers.settings().unwrap_err().to_string();
    assert!(message.contains("`mqtt.certificate`"), "{message}");
}

#[test]
fn a_bucket_needs_the_secret_of_its_key_and_an_address_that_is_one() {
    let bucket = |key: &str, value: &str| {
        let mut layers = Layers::default();
        let flags = [("store.s3_bucket", "files"), (key, value)];
        layers.flags(flags.map(|(key, value)| (Setting::by_key(key).unwrap(), value.to_owned())));
        layers.settings().map(|settings| settings.files)
    };
    for (key, value, named) in [
        ("store.s3_key_id", "AKIA", "`store.s3_secret_file`"),
        ("store.s3_endpoint", "files.example", "`store.s3_endpoint`"),
        ("store.s3_ca", "no such file", "`store.s3_ca`"),
    ] {
        let message = bucket(key, value).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
    let files = bucket("store.s3_endpoint", "http://127.0.0.1:9000").unwrap();
    assert!(matches!(files, FileSettings::S3(S3Settings { key: None, endpoint: Some(_), .. })));
}
