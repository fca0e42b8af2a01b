//! For tests: the real `openssl` in a folder of its own. Where it is missing, the test fails.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{Authority, AuthorityError, AuthoritySettings};

/// Extensions of an ordinary CA.
pub(super) const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                             subjectKeyIdentifier=hash\n";

/// A folder with keys and certificates.
pub(super) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner reads.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a file");
        set_permissions(self.path(name), Permissions::from_mode(0o600)).expect("its mode");
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    /// Runs openssl with words that are separated by spaces, and returns what it says.
    pub(super) fn openssl(&self, arguments: &str) -> String {
        let output = self.try_openssl(arguments);
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(super) fn try_openssl(&self, arguments: &str) -> Output {
        Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("these tests need the openssl command")
    }

    /// A self-signed certificate `name.crt` for the key `name.key`.
    pub(super) fn root(&self, name: &str, subject: &str, extensions: &str, more: &str) {
        self.write(
            "req.cnf",
            format!("[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\n{extensions}"),
        );
        self.openssl(
            format!(
                "req -x509 -new -config req.cnf -key {name}.key -subj {subject} -days 3650 -out {name}.crt {more}"
            )
            .trim_end(),
        );
    }

    /// A certificate `name.crt` for a new key `name.key`, signed by `issuer`.
    pub(super) fn intermediate(&self, name: &str, issuer: &str, extensions: &str) {
        self.key(name, "ecparam -genkey -name prime256v1 -noout");
        self.write("x.cnf", extensions);
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial -days 300 \
             -extfile x.cnf -out {name}.crt"
        ));
    }

    /// A new private key `name.key`, made by this openssl command.
    pub(super) fn key(&self, name: &str, command: &str) {
        self.openssl(&format!("{command} -out {name}.key"));
        set_permissions(self.path(&format!("{name}.key")), Permissions::from_mode(0o600)).expect("its mode");
    }

    /// A P-256 root with these extensions.
    pub(super) fn p256_root(&self, name: &str, extensions: &str) {
        self.key(name, "ecparam -genkey -name prime256v1 -noout");
        self.root(name, &format!("/CN={name}"), extensions, "");
    }

    pub(super) fn settings(&self, name: &str) -> AuthoritySettings {
        AuthoritySettings {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            key_password_file: None,
        }
    }

    pub(super) fn load(&self, name: &str) -> Result<Authority, AuthorityError> {
        Authority::load(&self.settings(name))
    }

    /// The sentence with which it does not load.
    pub(super) fn refusal(&self, name: &str) -> String {
        self.load(name).expect_err("a refusal").to_string()
    }
}
