//! What of the configuration a running service takes over, and what waits for its restart.

use super::Config;

impl Config {
    /// The keys and tables of the file that say something else in `new` than in this one, which runs, and
    /// that are read at start only.
    #[must_use]
    pub fn waiting(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            tls,
            metrics_listen,
            store,
            // For commands, each of which reads the file itself.
            databases: _,
            // Taken over.
            clusters: _,
            auth,
            connections,
            refusals,
            rates,
            failures,
            review,
            retention,
            log_format,
            log,
        } = self;
        let same_ways = auth.oidc == new.auth.oidc
            && auth.kubernetes == new.auth.kubernetes
            && auth.mtls == new.auth.mtls
            && auth.proxies == new.auth.proxies;
        let same_limits = *connections == new.connections
            && *refusals == new.refusals
            && *rates == new.rates
            && *failures == new.failures;
        let sections = [
            ("listen", *listen == new.listen),
            ("tls", *tls == new.tls),
            ("metrics_listen", *metrics_listen == new.metrics_listen),
            ("database", *store == new.store),
            ("auth", same_ways),
            ("roles", auth.roles == new.auth.roles),
            ("trusted_proxies", auth.trusted_proxies == new.auth.trusted_proxies),
            ("limits", same_limits),
            ("review", *review == new.review),
            ("retention", *retention == new.retention),
            ("log_format", *log_format == new.log_format),
            ("log", *log == new.log),
        ];
        sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    const TOP: &str = r#"
        listen = "127.0.0.1:9000"
        database = "sqlite:ledger.db"
        trusted_proxies = ["10.0.0.0/8"]
    "#;

    const TABLES: &str = r#"
        [tls]
        certificate = "tls.crt"
        key = "tls.key"
        [databases.big]
        url = "sqlite:big.db"
        [[clusters]]
        name = "prod"
        server = "https://10.0.0.1:6443"
        server_ca = "ca.crt"
        client_ca = "ca.crt"
        client_ca_key = "ca.key"
        [[auth.mtls]]
        name = "ci"
        ca = "ci.pem"
        [[roles]]
        role = "requester"
        callers = ["proxy:ci:*"]
        [limits]
        connections = 100
        [review]
        lapse = "2h"
    "#;

    fn parse(text: &str) -> Config {
        Config::parse(text, [], Path::new("/etc/countersign")).unwrap()
    }

    /// What waits after `from` became `to` in the file.
    fn after(from: &str, to: &str) -> Vec<&'static str> {
        let text = format!("{TOP}{TABLES}");
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        parse(&text).waiting(&parse(&changed))
    }

    #[test]
    fn each_section_that_waits_for_a_restart_is_named() {
        for (from, to, expected) in [
            ("127.0.0.1:9000", "127.0.0.1:9001", "listen"),
            ("tls.crt", "other.crt", "tls"),
            ("listen =", "metrics_listen = \"127.0.0.1:9\"\nlisten =", "metrics_listen"),
            ("ledger.db", "other.db", "database"),
            ("ci.pem", "other.pem", "auth"),
            ("[[auth.mtls]]", "[[auth.mtls]]\nname = \"x\"\nca = \"x.pem\"\n[[auth.mtls]]", "auth"),
            ("requester", "auditor", "roles"),
            ("[[roles]]\n        role = \"requester\"\n        callers = [\"proxy:ci:*\"]", "", "roles"),
            ("10.0.0.0/8", "10.0.0.0/9", "trusted_proxies"),
            ("connections = 100", "connections = 101", "limits"),
            ("connections = 100", "connections = 100\nreads_per_second = 7", "limits"),
            ("connections = 100", "connections = 100\nrefusals_burst = 7", "limits"),
            ("connections = 100", "connections = 100\nfailed_authentications_per_minute = 7", "limits"),
            ("2h", "3h", "review"),
            ("listen =", "retention = \"90d\"\nlisten =", "retention"),
            ("listen =", "log = \"debug\"\nlisten =", "log"),
            ("listen =", "log_format = \"text\"\nlisten =", "log_format"),
        ] {
            assert_eq!(after(from, to), [expected], "{from}: {to}");
        }
    }

    #[test]
    fn what_means_the_same_or_is_taken_over_does_not_wait() {
        for (from, to) in [
            ("2h", "120m"),
            ("listen =", "log = \"info\"\nlisten ="),
            ("10.0.0.1:6443", "10.0.0.2:6443"),
            ("big.db", "bigger.db"),
        ] {
            assert_eq!(after(from, to), [""; 0], "{from}: {to}");
        }
    }
}
