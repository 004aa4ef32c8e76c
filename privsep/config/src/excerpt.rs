//! Shows the lines of the file that a mistake is in, with a mark under the place.

use crate::mistakes::Mistake;
use crate::sources::Sources;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Returns the lines with a mark under the mistake, and a line end before them. Empty if the
/// mistake is in no line.
pub(crate) fn excerpt(sources: &Sources, mistake: &Mistake) -> String {
    let file = sources.place(mistake.place.start);
    let place = file.offset..file.offset + mistake.place.len();
    if place.is_empty() || file.text.get(place.clone()).is_none() {
        return String::new();
    }
    let mark = AnnotationKind::Primary.span(place);
    let snippet = Snippet::source(file.text).annotation(mark);
    let group = Group::with_level(Level::ERROR).element(snippet);
    format!("\n{}", Renderer::plain().render(&[group]))
}
