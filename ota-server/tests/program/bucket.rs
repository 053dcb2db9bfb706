//! `ota serve` with its files in a bucket of an object store.

use crate::moto::{Moto, Tls};
use crate::postgres::{complaint, readiness, wait_until_ready};
use crate::support::Server;

#[test]
fn files_lie_in_a_bucket_and_the_server_outlives_its_absence() {
    let Some(mut moto) = Moto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{}\n", moto.key.1)).unwrap();
    let (endpoint, key) = (moto.endpoint(), moto.key.0.clone());
    let flags = ["--store-s3-endpoint", &endpoint, "--store-s3-key-id", &key, "--store-s3-secret-file"];
    let flags = [&flags[..], &[secret.to_str().unwrap(), "--store-s3-bucket"]].concat();

    let said = complaint(folder.path(), &[&flags[..], &["nowhere"]].concat());
    assert!(said.contains("cannot use the bucket nowhere") && said.contains("NoSuchBucket"), "{said}");
    assert!(said.contains("check store.s3_endpoint"), "{said}");

    let server = Server::start_with(folder.path(), &[&flags[..], &[moto.bucket()]].concat());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.json(&["init", "pump", "--keys", "keys"]);
    std::fs::write(folder.path().join("app.bin"), vec![7; 500]).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.path().join("package.toml"), description).unwrap();
    let upload = ["package", "upload", "--product", "pump", "package.toml"];
    assert_eq!(admin.json(&upload)["status"], "fixed");
    assert!(!folder.path().join("data/files").exists(), "nothing is kept in the data folder");

    moto.kill();
    let said = readiness(&server);
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    let refused = admin.run(&upload);
    assert!(refused.code != 0, "nothing is made up while the bucket is away: {}", refused.stdout);
    moto.start_again();
    wait_until_ready(&server);
    assert_eq!(admin.json(&upload)["status"], "fixed");
    server.stop();
}

#[test]
fn a_bucket_over_tls_is_used_if_its_authority_is_the_one_that_is_set() {
    // The development authority of one server vouches for the store of another.
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    Server::start(folders[0].path()).stop();
    let of = |folder: usize, file: &str| folders[folder].path().join("data/tls").join(file);
    let tls = Tls { certificate: of(0, "server.pem"), key: of(0, "server.key"), authority: of(0, "ca.pem") };
    let Some(moto) = Moto::start_with_tls(tls) else { return };
    let secret = folders[1].path().join("secret");
    std::fs::write(&secret, &moto.key.1).unwrap();
    let (endpoint, key) = (moto.endpoint(), moto.key.0.clone());
    let flags = ["--store-s3-endpoint", &endpoint, "--store-s3-key-id", &key, "--store-s3-secret-file"];
    let flags = [&flags[..], &[secret.to_str().unwrap(), "--store-s3-bucket", moto.bucket()]].concat();

    let said = complaint(folders[1].path(), &flags);
    assert!(said.contains("cannot use the bucket") && said.contains("certificate"), "{said}");

    let ca = of(0, "ca.pem");
    let server = Server::start_with(
        folders[1].path(),
        &[&flags[..], &["--store-s3-ca", ca.to_str().unwrap()]].concat(),
    );
    wait_until_ready(&server);
    server.stop();
}
