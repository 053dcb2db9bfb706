//! What people do with a thing: a command has an address below the thing's own, says there what it will do and to how many
//! devices, and only then does it.

use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};

use super::trouble::Trouble;

/// A command about one kind of thing.
pub(super) trait Command: Copy + 'static {
    /// All of them, in the order of their buttons.
    const ALL: &'static [Self];

    /// The last segment of its address.
    fn word(self) -> &'static str;

    /// What its buttons say.
    fn title(self) -> &'static str;

    /// What is told when it has been done.
    fn done(self) -> &'static str;

    /// How its button looks: `first`, `danger`, or like any other.
    fn class(self) -> &'static str;

    /// The command with this word.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.word() == word)
    }

    /// The command that an address asks for.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    fn of_address(word: &str) -> Result<Self, Trouble> {
        Self::from_word(word).ok_or_else(|| Trouble::not_found(format!("there is no command {word:?}")))
    }

    /// Its address; `path` is the thing's.
    fn address(self, path: &str) -> String {
        format!("{path}/{}", self.word())
    }

    /// The button that leads to it.
    fn link(self, path: &str) -> Markup {
        html! { a.button.(self.class()) id=(format!("verb-{}", self.word())) href=(self.address(path)) { (self.title()) } }
    }

    /// The buttons below its form: do it, or go back to the thing.
    fn form_buttons(self, path: &str) -> Markup {
        html! {
            div.buttons {
                button.button.first.(if self.class() == "danger" { "danger" } else { "" }) { (self.title()) }
                a.button href=(path) { "Leave it as it is" }
            }
        }
    }

    /// Back to the thing, which tells that it has been done.
    fn finished(self, path: &str) -> Response {
        Redirect::to(&format!("{path}?done={}", self.word())).into_response()
    }
}
