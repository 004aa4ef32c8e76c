//! Whether popward shows a user's messages as the old server does.

use crate::listing::Listed;
use serde::Serialize;

/// What differs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// How many messages the old server has.
    pub(crate) messages: usize,
    /// How many of them have another UIDL here, or are missing here.
    pub(crate) uidls_differ: usize,
    /// How many have another size here. Clients that know UIDLs do not mind.
    pub(crate) sizes_differ: usize,
    /// How many messages stand behind those of the old server. They have come since.
    pub(crate) later: usize,
    /// The first message with another UIDL.
    pub(crate) first_difference: Option<Difference>,
}

/// A message with two UIDLs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Its number.
    pub(crate) number: usize,
    /// The UIDL that the old server gives.
    pub(crate) old: Box<str>,
    /// The UIDL that popward gives. `None`: popward has no such message.
    pub(crate) popward: Option<Box<str>>,
}

impl Comparison {
    /// Compares the old server's messages with popward's.
    pub(crate) fn of(old: &[Listed], own: &[Listed]) -> Self {
        let mut found = Self {
            messages: old.len(),
            later: own.len().saturating_sub(old.len()),
            ..Self::default()
        };
        for (index, theirs) in old.iter().enumerate() {
            let ours = own.get(index);
            if ours.is_some_and(|ours| ours.octets != theirs.octets) {
                found.sizes_differ += 1;
            }
            let uidl = ours.map(|ours| ours.uidl.clone());
            if uidl.as_ref() != Some(&theirs.uidl) {
                found.uidls_differ += 1;
                found.first_difference.get_or_insert(Difference {
                    number: index + 1,
                    old: theirs.uidl.clone(),
                    popward: uidl,
                });
            }
        }
        found
    }

    /// Whether clients will know all messages again.
    pub(crate) fn agrees(&self) -> bool {
        self.uidls_differ == 0
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            messages,
            uidls_differ,
            sizes_differ,
            later,
            ..
        } = self;
        write!(
            out,
            "of the old server's {messages} UIDLs {uidls_differ} differ"
        )?;
        if let Some(Difference {
            number,
            old,
            popward,
        }) = &self.first_difference
        {
            let popward = popward.as_deref().unwrap_or("no such message");
            write!(out, " (message {number}: {old} there, {popward} here)")?;
        }
        write!(out, ", and {sizes_differ} sizes")?;
        if *later > 0 {
            write!(out, "; {later} messages have come since")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(all: &[(&str, u64)]) -> Vec<Listed> {
        let one = |(uidl, octets): &(&str, u64)| Listed {
            uidl: (*uidl).into(),
            octets: *octets,
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn uidls_count_in_order_and_later_mail_is_no_difference() {
        let old = listed(&[("a", 1), ("b", 2)]);
        let same = Comparison::of(&old, &listed(&[("a", 1), ("b", 3), ("c", 4)]));
        assert!(same.agrees());
        assert_eq!((same.sizes_differ, same.later), (1, 1));
        let other = Comparison::of(&old, &listed(&[("x", 1)]));
        assert!(!other.agrees());
        assert_eq!(other.uidls_differ, 2);
        let shown = other.to_string();
        assert!(
            shown.contains("2 UIDLs 2 differ (message 1: a there, x here), and 0 sizes"),
            "{shown}"
        );
        let missing = Comparison::of(&old, &old[..1]).to_string();
        assert!(
            missing.contains("message 2: b there, no such message here"),
            "{missing}"
        );
        assert!(Comparison::of(&[], &[]).agrees());
    }
}
