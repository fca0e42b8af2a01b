//! Names that are never issued, and names that only a row that spells them out gives.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::pki::name::{Name, fold, other_folds};

/// How a name stands to the reserved ones. Each of the first four asks for more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameClass {
    /// Any matching row gives it.
    Ordinary,
    /// Only a pattern that spells it out gives it.
    Reserved,
    /// As [`NameClass::Reserved`], and the cluster must take node identities.
    NodeIdentity,
    /// No row gives it.
    NeverIssued,
    /// Its folded form is reserved while its bytes are not.
    LooksReserved,
}

/// What is reserved on one cluster: the built-in names and those of its configuration.
///
/// An entry of the configuration that ends in `*`, in `:` or in another character that is neither
/// letter nor digit reserves every name that begins so; any other entry reserves that one name.
#[derive(Clone, Debug)]
pub struct ReservedNames {
    entries: Vec<Entry>,
    /// The first octets of every entry as it is written and as it folds; none where one is empty, since
    /// that covers every name.
    starts: Option<BTreeSet<u8>>,
}

/// What each ASCII character folds to; they fold one by one.
static ASCII: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..128_u8).map(|octet| fold(&char::from(octet).to_string())).collect());

#[derive(Clone, Debug)]
struct Entry {
    text: String,
    folded: String,
    /// See [`other_folds`].
    others: [String; 2],
    prefix: bool,
    class: NameClass,
}

/// kube-apiserver's authorizers let `system:masters` pass whatever RBAC says; the others are given by
/// the API server itself (k8s.io/apiserver/pkg/authentication/user and serviceaccount).
const NEVER_ISSUED: [&str; 6] = [
    "system:masters",
    "system:anonymous",
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccount:*",
    "system:serviceaccounts*",
];

/// The Node authorizer and the bootstrap signer act on these
/// (k8s.io/kubernetes/pkg/auth/nodeidentifier, k8s.io/cluster-bootstrap/token/api).
const NODE_IDENTITIES: [&str; 3] = ["system:node:*", "system:nodes", "system:bootstrappers*"];

const RESERVED: [&str; 2] = ["system:*", "kubeadm:*"];

impl ReservedNames {
    /// The built-in names and `configured`, the cluster's own.
    #[must_use]
    pub fn new(configured: &[String]) -> Self {
        let built_in =
            |list: &'static [&'static str], class| list.iter().map(move |text| Entry::new(text, class));
        let entries = built_in(&NEVER_ISSUED, NameClass::NeverIssued)
            .chain(built_in(&NODE_IDENTITIES, NameClass::NodeIdentity))
            .chain(built_in(&RESERVED, NameClass::Reserved))
            .chain(configured.iter().map(|text| Entry::new(text, NameClass::Reserved)))
            .collect::<Vec<_>>();
        let written = entries.iter().flat_map(|entry| [&entry.text, &entry.folded]);
        let starts = written.map(|text| text.bytes().next()).collect();
        Self { entries, starts }
    }

    /// How `name` stands to them. A name that is reserved by its bytes and by its folded form is
    /// what its bytes say, unless the folded form is more strictly reserved: `system:Masters`
    /// begins with `system:`, and looks like a name that is never issued.
    #[must_use]
    pub fn class(&self, name: &Name) -> NameClass {
        let text = name.as_str();
        if self.begins_like_none(text) { NameClass::Ordinary } else { self.compared(text) }
    }

    fn compared(&self, text: &str) -> NameClass {
        let by_bytes = self.strictest(|entry| covers(&entry.text, entry.prefix, text));
        let folded = quick_fold(text);
        let mut by_look = self.strictest(|entry| covers(&entry.folded, entry.prefix, &folded));
        if !text.is_ascii() {
            let others = other_folds(text);
            let reads_so = |entry: &Entry| {
                entry.others.iter().zip(&others).any(|(reserved, name)| covers(reserved, entry.prefix, name))
            };
            by_look = by_look.max(self.strictest(reads_so));
        }
        if by_look > by_bytes { NameClass::LooksReserved } else { by_bytes }
    }

    /// Whether neither the name nor its folded form begins as any entry does, which is true of most.
    fn begins_like_none(&self, text: &str) -> bool {
        let Some(starts) = self.starts.as_ref().filter(|_| text.is_ascii()) else { return false };
        let folds = text.bytes().filter_map(|octet| ASCII.get(usize::from(octet)));
        let folded = folds.flat_map(|fold| fold.bytes()).next();
        text.bytes().next().into_iter().chain(folded).all(|start| !starts.contains(&start))
    }

    /// Whether every name that begins with `start` is reserved, by its bytes.
    #[must_use]
    pub fn reserve_all(&self, start: &str) -> bool {
        self.entries.iter().any(|entry| entry.prefix && start.starts_with(&entry.text))
    }

    fn strictest(&self, matches: impl Fn(&Entry) -> bool) -> NameClass {
        self.entries
            .iter()
            .filter(|entry| matches(entry))
            .map(|entry| entry.class)
            .max()
            .unwrap_or(NameClass::Ordinary)
    }
}

impl Entry {
    fn new(text: &str, class: NameClass) -> Self {
        let stem = text.trim_end_matches('*');
        let prefix = text.ends_with(|last: char| !last.is_alphanumeric());
        Self { text: stem.to_owned(), folded: fold(stem), others: other_folds(stem), prefix, class }
    }
}

/// As [`fold`], which is slow for what most names are.
fn quick_fold(text: &str) -> String {
    if !text.is_ascii() {
        return fold(text);
    }
    let mut folded = String::with_capacity(text.len());
    text.bytes().filter_map(|octet| ASCII.get(usize::from(octet))).for_each(|fold| folded.push_str(fold));
    folded
}

fn covers(reserved: &str, prefix: bool, name: &str) -> bool {
    if prefix { name.starts_with(reserved) } else { name == reserved }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(text: &str, configured: &[&str]) -> NameClass {
        let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
        ReservedNames::new(&configured).class(&Name::parse(text).expect("a name"))
    }

    #[test]
    fn never_issued_names_are_known() {
        for text in [
            "system:masters",
            "system:anonymous",
            "system:authenticated",
            "system:unauthenticated",
            "system:serviceaccount:kube-system:x",
            "system:serviceaccount:",
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
        ] {
            assert_eq!(class(text, &[]), NameClass::NeverIssued, "{text}");
        }
    }

    #[test]
    fn node_and_bootstrap_identities_are_known() {
        for text in ["system:node:a", "system:nodes", "system:bootstrappers", "system:bootstrappers:kubeadm"]
        {
            assert_eq!(class(text, &[]), NameClass::NodeIdentity, "{text}");
        }
        assert_eq!(class("system:node-proxier", &[]), NameClass::Reserved);
    }

    #[test]
    fn everything_under_a_reserved_prefix_is_reserved() {
        for text in ["system:x", "system:", "kubeadm:cluster-admins", "kubeadm:"] {
            assert_eq!(class(text, &[]), NameClass::Reserved, "{text}");
        }
        for text in ["dev", "systems", "system", "kubeadmin", "my-system:x"] {
            assert_eq!(class(text, &[]), NameClass::Ordinary, "{text}");
        }
    }

    #[test]
    fn a_look_alike_is_no_way_around() {
        for text in [
            "System:masters",
            "system:Masters",
            "SYSTEM:MASTERS",
            "system :masters",
            "sys tem:masters",
            "systern:masters",
            "ѕystem:masters",
            "system\u{ff1a}masters",
            "ｓｙｓｔｅｍ:masters",
            "system:mаsters",
            "KubeAdm:cluster-admins",
            "system:Node:a",
        ] {
            assert_eq!(class(text, &[]), NameClass::LooksReserved, "{text}");
        }
    }

    #[test]
    fn a_cluster_reserves_prefixes_and_names() {
        let configured = ["corp:", "ops-", "root", "adm*"];
        for text in ["corp:x", "ops-1", "root", "adm", "admin"] {
            assert_eq!(class(text, &configured), NameClass::Reserved, "{text}");
        }
        for text in ["corpx", "ops", "root2", "a"] {
            assert_eq!(class(text, &configured), NameClass::Ordinary, "{text}");
        }
        for text in ["Root", "CORP:x", "ϲorp:x", "ϹORP:x", "r o o t", "Adm-x"] {
            assert_eq!(class(text, &configured), NameClass::LooksReserved, "{text}");
        }
    }

    #[test]
    fn everything_with_one_start_is_reserved_by_a_prefix_only() {
        let reserved = ReservedNames::new(&["corp:".to_owned(), "root".to_owned()]);
        assert!(["system:", "kubeadm:x", "corp:"].iter().all(|start| reserved.reserve_all(start)));
        assert!(["", "sys", "root", "corp"].iter().all(|start| !reserved.reserve_all(start)));
    }

    #[test]
    fn case_makes_no_name_pass_whatever_its_alphabet() {
        for (reserved, name) in [
            ("ναύτες", "ΝΑΎΤΕΣ"),
            ("ΥΠΕΥΘΥΝΟΣ", "υπευθυνος"),
            ("зона", "Зона"),
            ("Зона", "зона"),
            ("ВЛАДЕЛЕЦ", "владелец"),
            ("ադմին", "ԱԴՄԻՆ"),
            ("gebühren", "GEBÜHREN"),
            ("straße", "STRASSE"),
        ] {
            assert_eq!(class(reserved, &[reserved]), NameClass::Reserved, "{reserved}");
            assert_eq!(class(name, &[reserved]), NameClass::LooksReserved, "{name}");
        }
    }

    #[test]
    fn two_reserved_names_that_look_alike_are_both_what_they_are() {
        assert_eq!(class("root", &["root", "Root"]), NameClass::Reserved);
        assert_eq!(class("Root", &["root", "Root"]), NameClass::Reserved);
    }

    proptest! {
        #[test]
        fn ascii_folds_one_character_at_a_time(text in "[ -~]{1,24}") {
            prop_assert_eq!(quick_fold(&text), fold(&text));
        }

        #[test]
        fn what_begins_like_no_entry_is_none_of_them(
            text in "[ -~\u{e9}\u{ff53}]{1,6}",
            configured in proptest::collection::vec("[a-c0-1l:*-]{0,3}", 0..3),
        ) {
            let names = ReservedNames::new(&configured);
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(names.class(&name), names.compared(name.as_str()));
            }
        }
    }
}
