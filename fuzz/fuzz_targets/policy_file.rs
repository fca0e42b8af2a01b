//! A policy set in YAML or JSON: what is read and written again reads equal.
#![no_main]

use countersign::pki::name::ShortName;
use countersign::policy::{ClusterRules, Clusters, PolicyFile, PolicySet};
use countersign::time::{Lifetime, Time};
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(file) = in_time(|| PolicyFile::read(body)) else { return };
    let json = serde_json::to_vec(&file).expect("JSON");
    assert_eq!(PolicyFile::read(&json).as_ref(), Ok(&file));
    let yaml = serde_saphyr::to_string(&file).expect("YAML");
    assert_eq!(PolicyFile::read(yaml.as_bytes()).as_ref(), Ok(&file), "{yaml}");
    let set = in_time(|| PolicySet::compile(1, file.policies, &clusters()));
    for error in set.err().into_iter().flatten() {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
});

fn clusters() -> Clusters {
    let rules = ClusterRules {
        name: ShortName::parse("prod").expect("a name"),
        default_ttl: Lifetime::from_seconds(3_600),
        max_ttl: Lifetime::from_seconds(36_000),
        reserved: vec!["corp:".into(), "root".into()],
        node_identities: false,
        trust_group: None,
        ca_not_before: Time::from_unix(0),
        ca_not_after: Time::from_unix(4_000_000_000),
        ca_keys: Vec::new(),
    };
    Clusters { rules: vec![rules] }
}
