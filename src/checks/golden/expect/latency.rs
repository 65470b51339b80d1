//! The time to the answer's last byte.

use std::time::Duration;

use super::{Failure, Node, Reader, View};
use crate::checks::golden::evidence;

#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    max: Duration,
}

impl Latency {
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        reader.duration(node).map(|max| Self { max })
    }

    pub(super) fn judge(self, view: &View<'_>, failures: &mut Vec<Failure>) {
        if view.answer.took > self.max {
            let expected = format!("at most {}", evidence::duration(self.max));
            failures.push(Failure::new("latency", expected, evidence::duration(view.answer.took)));
        }
    }
}
