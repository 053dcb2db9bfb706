//! Permission comes first: whoever may not do something learns nothing about whether it could be done.

use ota_core::fleet::Version;
use ota_core::fleet::records::{Amended, AttemptPhase, PersonRole, PrincipalRecord, RoleGrant, Target};
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Millis;
use ota_server::rules::campaign::Draft;
use ota_server::rules::filter::Filter;
use ota_server::rules::permission::Principal;
use ota_server::{CommandError, NewDevice, NewEnrolment, NewProduct, NewToken, Proof};

use crate::support::*;

/// Everything there is to do, in another product.
fn stranger() -> Principal {
    use PersonRole::{Administrator, Approver, Developer, KeyHolder, Operator, Viewer};
    let products = Some(vec![ProductIdBuf::new("toaster").unwrap()]);
    let roles = [Viewer, Developer, Operator, Approver, KeyHolder, Administrator];
    Principal::new("stranger", roles.map(|role| RoleGrant { role, products: products.clone() }).to_vec())
}

/// The commands and questions of these sources that take a principal.
fn names() -> Vec<&'static str> {
    let sources = [
        include_str!("../../src/server/commands/amendments.rs"),
        include_str!("../../src/server/commands/campaigns.rs"),
        include_str!("../../src/server/commands/content.rs"),
        include_str!("../../src/server/commands/devices.rs"),
        include_str!("../../src/server/commands/enrolments.rs"),
        include_str!("../../src/server/commands/groups.rs"),
        include_str!("../../src/server/commands/people.rs"),
        include_str!("../../src/server/commands/products.rs"),
        include_str!("../../src/server/commands/releases.rs"),
        include_str!("../../src/server/commands/upkeep.rs"),
        include_str!("../../src/server/commands/retries.rs"),
        include_str!("../../src/server/courses.rs"),
        include_str!("../../src/server/lists.rs"),
        include_str!("../../src/server/queries.rs"),
    ];
    let of = |source: &'static str| {
        source.split("\n    pub async fn ").skip(1).filter_map(|rest| {
            let (head, _) = rest.split_once(" {\n")?;
            let (name, arguments) = head.split_once('(')?;
            arguments.contains("&Principal").then_some(name)
        })
    };
    sources.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn every_command_is_denied_before_anything_else_is_looked_at() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let unfixed = world.release_draft(vec![world.file("app.bin", "1.2", &[2; 100]).await]);
    let unfixed = world.server.draft_release(&developer(), unfixed).await.unwrap();
    let entries = world.server.audit_entries(&approver(), 1, 1000).await.unwrap().len();

    // Everything named is there, and what is wanted of it is wrong: the only answer must be that it is denied.
    let (by, server, product) = (stranger(), &world.server, &world.product);
    let id = DeviceIdBuf::new("lamp-1").unwrap();
    let no_hash = Sha256Digest([0; 32]);
    let nonsense = Draft {
        target: Target::Devices { ids: Vec::new() },
        ..draft(&world, unfixed, ota_core::fleet::records::Plan { stages: Vec::new(), ..plan() })
    };
    let toaster = ProductIdBuf::new("toaster").unwrap();
    let moved = Draft { product: toaster, ..nonsense.clone() };
    let person = PrincipalRecord { title: "x".into(), roles: Vec::new(), disabled: false, password: None };
    let new_product = NewProduct {
        id: product.clone(),
        title: "again".into(),
        approvals_min: 0,
        quarantine_after: 0,
        attested_only: false,
        dialects: 0,
    };
    let nobody = ota_core::fleet::AuditHash([0; 32]);
    let too_many = vec![NewDevice::named(id.clone()); 5_000];
    let release_draft = || world.release_draft(Vec::new());
    let mut tried: Vec<&str> = Vec::new();
    macro_rules! denied {
        ($($name:ident($($argument:expr),*);)+) => {$(
            let outcome = server.$name(&by $(, $argument)*).await.map(|_| ());
            assert!(matches!(outcome, Err(CommandError::Denied(_))), "{}: {outcome:?}", stringify!($name));
            tried.push(stringify!($name));
        )+};
    }
    denied! {
        amend_campaign(campaign, Amended::Soak, "");
        consent_to_amendment(campaign, &no_hash);
        drop_amendment(campaign);
        draft_campaign(nonsense.clone());
        edit_campaign(campaign, moved);
        approve_campaign(campaign, &no_hash);
        start_campaign(campaign);
        prepare_campaign(campaign);
        promote_campaign(campaign);
        pause_campaign(campaign, "");
        resume_campaign(campaign);
        stop_campaign(campaign, "");
        stop_everything(None, "");
        upload(product, 1);
        register_devices(product, &too_many);
        tag_device(&id, &["not a tag"]);
        tag_device_of_version(&id, Version(77), &["not a tag"]);
        device_tags(&id);
        revoke_device(&id, "");
        erase_device(&id, "");
        release_device(&id);
        quarantine_device(&id, "");
        pin_device(&id, "");
        unpin_device(&id);
        retry_device(campaign, &id, "");
        retry_failed(campaign, "");
        set_principal("admin", person.clone());
        create_token("nobody", NewToken::default());
        remove_token("nothing");
        tokens("nobody");
        audit_entries(1, 1);
        verify_audit(Some((1, nobody)));
        verify_audit_checkpoints(&[], &[]);
        enrol(product, &[Proof::Token(b""); 5_000], &NewEnrolment::default());
        enrolments(product);
        remove_enrolment(product, &no_hash);
        set_group(product, "", "no expression");
        set_group_of_version(product, "", Version(77), "no expression");
        group_version(product, "");
        remove_group(product, "");
        groups(product);
        group(product, "");
        edit_campaign_of_version(campaign, Version(77), nonsense.clone());
        set_principal_of_version("admin", Version(77), person.clone());
        devices_that(product, &Filter::parse("tag = a").unwrap(), None, 0);
        campaign_version(campaign);
        principal("nobody");
        create_product(&new_product);
        add_root(product, b"", b"");
        draft_release(release_draft());
        fix_release(&release, None);
        release_body(&unfixed);
        sign_release(&unfixed, b"");
        withdraw_release(&release, "");
        remove_unreferenced(Millis(0));
        compact_store();
        back_up_store("../no name");
        fleet_course(product);
        product(product);
        root_body(product);
        devices(product, None, None, 0);
        releases(product);
        release(&release);
        campaigns(product);
        principals();
        progress(campaign);
        fleet(product);
        heard(product);
        device(&id);
        why_not(&id, CampaignId(77));
        failures(campaign, None, 0);
        attempts(campaign, AttemptPhase::Offered, None, 0);
        dry_run(&nonsense);
        recount();
    }
    // These answer everybody, with what each may see.
    assert_eq!(server.products(&by).await.unwrap(), []);
    assert_eq!(server.fleet_sizes(&by).await.unwrap(), []);
    tried.extend(["products", "fleet_sizes"]);

    for name in names() {
        assert!(tried.contains(&name), "nobody tried to {name} without permission");
    }
    let after = world.server.audit_entries(&approver(), 1, 1000).await.unwrap().len();
    assert_eq!(after, entries, "what was denied has changed nothing");
}
