//! What a device password is limited to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::{Services, Timestamp};

/// Most networks that one device password may list: the row stays small, and the check stays cheap.
pub(super) const MAX_NETWORKS: usize = 32;

/// Limits of one device password. The default opens everything, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// `None`: every service.
    pub services: Option<Services>,
    /// `None`: from everywhere.
    pub networks: Option<Networks>,
    /// Refused from this time on.
    pub expires: Option<Timestamp>,
    /// Refused after so many days without use.
    pub expires_unused_days: Option<u32>,
}

/// For the audit log: `services imap,smtp; networks 192.0.2.0/24; expires …`, or `none`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut write = |name: &str, value: &dyn fmt::Display| {
            write!(f, "{separator}{name} {value}")?;
            separator = "; ";
            Ok(())
        };
        if let Some(services) = self.services {
            write("services", &services.names().collect::<Vec<_>>().join(","))?;
        }
        if let Some(networks) = &self.networks {
            write("networks", networks)?;
        }
        if let Some(expires) = self.expires {
            write("expires", &format_args!("{expires:#}"))?;
        }
        if let Some(days) = self.expires_unused_days {
            write("expires-unused", &format_args!("{days}d"))?;
        }
        if *self == Self::default() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

/// At least one network, at most [`MAX_NETWORKS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    #[error("{0:?} is no network; write an address, or one with a prefix length like 192.0.2.0/24")]
    Network(String),
    #[error("a list of networks has 1 to {MAX_NETWORKS} of them")]
    Number,
}

impl Networks {
    /// An IPv4 address that arrives in IPv6 clothes (`::ffff:192.0.2.1`) counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
    }
}

/// Networks between commas; a bare address is a network of one.
impl FromStr for Networks {
    type Err = NetworksError;

    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let network = |part: &str| {
            let part = part.trim();
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map(|network| network.trunc())
                .map_err(|_| NetworksError::Network(part.to_owned()))
        };
        let networks: Vec<IpNet> = text.split(',').map(network).collect::<Result<_, _>>()?;
        if networks.is_empty() || networks.len() > MAX_NETWORKS {
            return Err(NetworksError::Number);
        }
        Ok(Self(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_read_back() {
        let networks: Networks = "192.0.2.7/24, 2001:db8::1".parse().unwrap();
        assert_eq!(networks.to_string(), "192.0.2.0/24,2001:db8::1/128");
        assert_eq!(networks.to_string().parse::<Networks>().unwrap(), networks);
    }

    #[test]
    fn an_ipv4_address_is_found_in_ipv6_clothes() {
        let networks: Networks = "192.0.2.0/24".parse().unwrap();
        assert!(networks.contains("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!networks.contains("192.0.3.9".parse().unwrap()));
        assert!(!networks.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn no_list_is_empty_or_endless() {
        assert!("".parse::<Networks>().is_err());
        assert_eq!(
            "192.0.2.1,"
                .repeat(33)
                .trim_end_matches(',')
                .parse::<Networks>(),
            Err(NetworksError::Number)
        );
    }
}
