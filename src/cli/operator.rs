//! Who works on the command line, for the audit log.

use anyhow::Result;

use crate::audit::{Origin, RequestId};
use crate::random;

/// `cli:NAME` of the operating system's user. The name comes from the user database, not from the
/// environment, which anybody can set.
///
/// # Errors
/// No random bytes are to be had.
pub(super) fn origin() -> Result<Origin> {
    Ok(Origin {
        caller: format!("cli:{}", user_name()),
        caller_groups: Vec::new(),
        request_id: RequestId(random::octets()?),
        client_request_id: None,
        address: None,
    })
}

fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named.unwrap_or(uid)
}
