//! The keys of a product: its newest root as devices are provisioned with it. Only public halves are known here.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use ota_core::crypto::soft::SoftSha256;
use ota_core::number::KeyId;
use ota_core::time::Timestamp;
use ota_core::trust::{Key, Role, Root};

use super::parts::{Tone, badge, empty, time};
use super::product::{id_of, side_page};
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::PublicKey;

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    let record = api.server.product(&viewer.by, &product).await?;
    let inner = if record.root.0 == 0 {
        let text = "Nothing can be signed for this product before its first root is brought, with ota root on the command line.";
        html! { section.panel { (empty("There is no root of trust yet", text, None)) } }
    } else {
        let body = api.server.root_body(&viewer.by, &product).await?;
        match Root::decode::<SoftSha256>(&body) {
            Ok(root) => panels(&viewer, &root, api.server.time()),
            Err(why) => html! {
                section.panel { div.note.bad { strong { "No device would read this root" } div { (sentence(&why.to_string())) } } }
            },
        }
    };
    let about = "Whose signatures devices of this product trust. The private halves stay where their holders keep them.";
    Ok(side_page("Keys", about, &product, &record, &inner).show(&viewer))
}

fn panels(viewer: &Viewer, root: &Root<'_>, now: Timestamp) -> Markup {
    html! {
        section.panel aria-labelledby="root-title" {
            header { h2 id="root-title" { "Root " (root.version) } }
            dl.facts {
                dt { "Made" } dd { (time(viewer, root.issued)) }
                dt { "Good until" }
                dd {
                    (time(viewer, root.expires))
                    @if root.expires <= now { " " (badge(Tone::Bad, "past: devices install nothing by it")) }
                }
                dt { "Files are checked at least by" } dd { (root.strength_min) }
                @if root.development { dt { "Made with" } dd { (badge(Tone::Warn, "development keys, which release builds of devices refuse")) } }
            }
            p.quiet { "Keys change by a new root, signed by the present one's root keys: see " code { "ota root --help" } "." }
        }
        section.panel aria-labelledby="roles-title" {
            header { h2 id="roles-title" { "Who signs for what" } }
            div.scroll tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Role" } th scope="col" { "Must sign" } th.number scope="col" { "Generation" } th scope="col" { "Keys" }
                    } }
                    tbody {
                        @for (role, keys) in Role::ALL.iter().zip(&root.roles).filter(|(_, keys)| keys.threshold > 0) {
                            tr {
                                th scope="row" { (role.name()) div.quiet.small { (purpose(*role)) } }
                                td { (keys.threshold) " of " (keys.keys.len()) }
                                td.number { (keys.generation) }
                                td { @for id in keys.keys { div { span.mono { (id) } " " (public(root, id)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn purpose(role: Role) -> &'static str {
    match role {
        Role::Root => "who signs for what, and the next root",
        Role::Release => "what packages hold",
        Role::Assignment => "which device gets which package; this server signs it",
        Role::File => "single files",
    }
}

/// A key in full, for whoever compares it with what its holder has.
fn public(root: &Root<'_>, id: KeyId) -> Markup {
    let key: Option<Key<'_>> = root.keys.iter().find(|key| key.id::<SoftSha256>() == id);
    html! {
        @if let Some(key) = key {
            details { summary { "The key" span.visually-hidden { " " (id) } } code { (PublicKey::from(key).to_string()) } }
        }
    }
}
