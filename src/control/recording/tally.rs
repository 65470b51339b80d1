//! What is not in a file, by reason.

use crate::api::RecordLeftOut;

/// In the order in which the reasons came up.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<RecordLeftOut>);

impl Tally {
    /// One request that has a name, if it has.
    pub(super) fn add(&mut self, reason: String, name: Option<String>) {
        self.add_many(reason, 1, name);
    }

    pub(super) fn add_many(&mut self, reason: String, count: u64, example: Option<String>) {
        if count == 0 {
            return;
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.reason == reason) {
            known.count += count;
        } else if self.0.len() < REASONS_MAX {
            self.0.push(RecordLeftOut { reason, count, example });
        } else if let Some(last) = self.0.last_mut() {
            *last = RecordLeftOut { reason: OTHERS.to_owned(), count: last.count + count, example: None };
        }
    }

    pub(super) fn into_list(self) -> Vec<RecordLeftOut> {
        self.0
    }
}

/// Some reasons have a detail of the request in them.
const REASONS_MAX: usize = 50;
const OTHERS: &str = "other reasons";

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: counts of one reason are not summed, or endless reasons make an endless list.
    #[test]
    fn reasons_are_summed_up() {
        let mut tally = Tally::default();
        tally.add("a".to_owned(), Some("one".to_owned()));
        tally.add_many("b".to_owned(), 0, None);
        tally.add_many("a".to_owned(), 2, None);
        for index in 0..100 {
            tally.add(index.to_string(), None);
        }
        let list = tally.into_list();
        assert_eq!((list[0].count, list[0].example.as_deref(), list.len()), (3, Some("one"), REASONS_MAX));
        assert_eq!(list.iter().map(|one| one.count).sum::<u64>(), 103);
    }
}
