//! The texts that the private Dovecot is given: its configuration, for either version, and the script.

use std::path::Path;

use super::{Caller, Programs, Series};

/// The passdb that asks us, as it is shipped.
const SCRIPT: &str = include_str!("../../../../contrib/dovecot/dovelatch.lua");

/// Its one setting.
const SCRIPT_PATH: &str = "local PATH = \"/run/dovelatch/lua\"";

impl Programs {
    /// What every configuration of this version begins with.
    pub(super) fn head(&self) -> String {
        match self.series {
            Series::V23 => String::new(),
            Series::V24 => format!(
                "dovecot_config_version = {0}\ndovecot_storage_version = {0}\n",
                self.version
            ),
        }
    }

    pub(super) fn config(&self, base: &Path, caller: &Caller, port: u16) -> String {
        let Caller {
            user,
            group,
            uid,
            gid,
        } = caller;
        let base = base.display();
        let head = self.head();
        // Settings that both versions know by the same name.
        let common = format!(
            "base_dir = {base}/run\n\
             state_dir = {base}/state\n\
             log_path = {base}/dovecot.log\n\
             listen = 127.0.0.1\n\
             ssl = no\n\
             default_internal_user = {user}\n\
             default_internal_group = {group}\n\
             default_login_user = {user}\n\
             service anvil {{\n  chroot =\n}}\n\
             service auth-worker {{\n  user = {user}\n}}\n\
             service imap-login {{\n  chroot =\n  \
             inet_listener imap {{\n    port = {port}\n  }}\n  \
             inet_listener imaps {{\n    port = 0\n  }}\n}}\n"
        );
        let own = match self.series {
            Series::V23 => format!(
                "protocols = imap\n\
                 disable_plaintext_auth = no\n\
                 mail_location = maildir:~/Maildir\n\
                 auth_mechanisms = plain login\n\
                 passdb {{\n  driver = lua\n  args = file={base}/dovelatch.lua blocking=yes\n}}\n\
                 userdb {{\n  driver = static\n  \
                 args = uid={uid} gid={gid} home={base}/home/%u allow_all_users=yes\n}}\n"
            ),
            Series::V24 => format!(
                "protocols {{\n  imap = yes\n}}\n\
                 auth_allow_cleartext = yes\n\
                 mail_driver = maildir\n\
                 mail_path = ~/Maildir\n\
                 auth_mechanisms {{\n  plain = yes\n  login = yes\n}}\n\
                 passdb lua {{\n  lua_file = {base}/dovelatch.lua\n}}\n\
                 userdb static {{\n  static_allow_all_users = yes\n  \
                 fields {{\n    uid = {uid}\n    gid = {gid}\n    home = {base}/home/%{{user}}\n  }}\n}}\n"
            ),
        };
        head + &common + &own
    }
}

/// The shipped script with this socket's path.
pub(super) fn script(socket: &Path) -> String {
    SCRIPT.replace(
        SCRIPT_PATH,
        &format!("local PATH = {:?}", socket.to_string_lossy()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_script_has_its_one_setting() {
        assert!(SCRIPT.contains(SCRIPT_PATH));
        let script = script(Path::new("/tmp/x/lua"));
        assert!(script.contains("local PATH = \"/tmp/x/lua\""));
        assert!(!script.contains("/run/dovelatch"));
    }
}
