//! The frame of every page: who is signed in, where one is, and what is shown.

use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::ADDRESSES;
use super::viewer::Viewer;

/// Where in the console a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Fleet,
    Approvals,
    Audit,
    Administration,
    Nowhere,
}

/// A page in the making.
pub(super) struct Page {
    title: String,
    area: Area,
    crumbs: Vec<(String, String)>,
    every_s: u32,
    body: Markup,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, area: Area, body: Markup) -> Self {
        Self { title: title.into(), area, crumbs: Vec::new(), every_s: 0, body }
    }

    /// The way to this page: text and address of each page above it, outermost first.
    pub(super) fn under<const N: usize>(mut self, crumbs: [(String, String); N]) -> Self {
        self.crumbs = crumbs.into();
        self
    }

    /// Parts of the page that are marked `data-live` are asked for again after so many seconds.
    pub(super) const fn live(mut self, every_s: u32) -> Self {
        self.every_s = every_s;
        self
    }

    /// The whole page for whoever looks.
    pub(super) fn show(self, viewer: &Viewer) -> Response {
        document(&self, Some(viewer)).into_response()
    }

    /// The whole page for somebody who is not signed in.
    pub(super) fn show_anybody(self) -> Response {
        document(&self, None).into_response()
    }
}

const MARK: &str = r#"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M20 12a8 8 0 1 1-2.3-5.6"/><path d="M20 3v4h-4"/><path d="M12 8v6m-3-2.6 3 3 3-3"/></svg>"#;

fn document(page: &Page, viewer: Option<&Viewer>) -> Markup {
    let entries = [
        (Area::Fleet, "/", "Fleet"),
        (Area::Approvals, "/approvals", "Approvals"),
        (Area::Audit, "/audit", "Audit"),
        (Area::Administration, "/administration", "Administration"),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (page.title) " · Updates" }
                link rel="stylesheet" href=(ADDRESSES.style);
                link rel="icon" type="image/svg+xml" href=(ADDRESSES.icon);
                script src=(ADDRESSES.script) defer {}
            }
            body data-every=(page.every_s) data-zone=[viewer.map(Viewer::zone_name)] {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    div.top-in {
                        a.brand href="/" { (PreEscaped(MARK)) "Updates" }
                        @if let Some(viewer) = viewer {
                            nav aria-label="Main" {
                                @for (area, address, text) in entries {
                                    a href=(address) aria-current=[(area == page.area).then_some("page")] { (text) }
                                }
                            }
                            div.who {
                                span { "Signed in as " strong { (viewer.name()) } }
                                form method="post" action="/sign-out" {
                                    (viewer.proof())
                                    button.link { "Sign out" }
                                }
                            }
                        }
                    }
                }
                main id="content" tabindex="-1" {
                    @if !page.crumbs.is_empty() {
                        nav.crumbs aria-label="Where you are" {
                            ol { @for (text, address) in &page.crumbs { li { a href=(address) { (text) } } } }
                        }
                    }
                    (page.body)
                }
                footer {
                    span { "ota " (env!("CARGO_PKG_VERSION")) }
                    @if let Some(viewer) = viewer { span { "Times in " span data-zone-name { (viewer.zone_name()) } } }
                    @if page.every_s > 0 { span.live data-live-sign { "Reload to see changes" } }
                }
            }
        }
    }
}
